-- Security events: what was received, and how far each receiver of ours has been told.

-- name: set_received
SELECT jti FROM used_assertions WHERE client_id = :client_id AND jti = :jti

-- name: person_of_issuer
SELECT operator_id FROM federated_people WHERE issuer = :issuer AND subject = :subject

-- name: ssf_cursor_begin
INSERT INTO cursors (name, position)
SELECT :name, COALESCE((SELECT MAX(rev_seq) FROM revocations), 0)
WHERE NOT EXISTS (SELECT 1 FROM cursors WHERE name = :name)
ON CONFLICT (name) DO NOTHING

-- name: ssf_feed
SELECT rev_seq, kind, subject, reason, created_ms
FROM revocations WHERE rev_seq > :after ORDER BY rev_seq LIMIT :limit
