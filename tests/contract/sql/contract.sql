-- Statements of the store's contract suite, on the real tables.

-- name: ct_insert
INSERT INTO used_assertions (client_id, jti, expires_ms) VALUES (:client_id, :jti, :value)

-- name: ct_insert_quietly
INSERT INTO used_assertions (client_id, jti, expires_ms) VALUES (:client_id, :jti, :value)
ON CONFLICT DO NOTHING

-- name: ct_insert_returning
INSERT INTO used_assertions (client_id, jti, expires_ms) VALUES (:client_id, :jti, :value)
RETURNING jti, expires_ms AS value

-- name: ct_add
UPDATE used_assertions SET expires_ms = expires_ms + :value
WHERE client_id = :client_id AND jti = :jti

-- name: ct_raise_all
UPDATE used_assertions SET expires_ms = expires_ms + 1 WHERE client_id = :client_id
RETURNING jti, expires_ms AS value

-- name: ct_delete_all
DELETE FROM used_assertions WHERE client_id = :client_id

-- name: ct_check_present
SELECT jti FROM used_assertions WHERE client_id = :client_id AND jti = :jti

-- name: ct_lock_present [postgres]
SELECT jti FROM used_assertions WHERE client_id = :client_id AND jti = :jti FOR UPDATE
-- name: ct_lock_present [sqlite]
SELECT jti FROM used_assertions WHERE client_id = :client_id AND jti = :jti

-- name: ct_all
SELECT jti, expires_ms AS value FROM used_assertions WHERE client_id = :client_id
ORDER BY expires_ms, jti

-- name: ct_odd_text
SELECT ':none' AS "a:b", CAST(:value AS TEXT) AS value

-- name: ct_agent
INSERT INTO agents (agent_id, owner, tier, stage, active, roles, attributes, created_ms)
VALUES (:agent_id, :owner, 'low', :stage, :active, '[]', '{}', 0)

-- name: ct_experiment
INSERT INTO experiments (experiment_id, purpose, classification, owner, cost_center, opens_ms,
  closes_ms, closed, allowed_agents, allowed_backends, release, created_ms)
VALUES (:experiment_id, '', 'poc', 'o', '', 0, 1, 0, '[]', '[]', 'none', 0)

-- name: ct_budget
INSERT INTO budgets (experiment_id, currency, limit_cents, held_cents, spent_cents, limit_shots,
  held_shots, spent_shots)
VALUES (:experiment_id, 'EUR', :limit_cents, 0, 0, 0, 0, 0)

-- name: ct_hold
UPDATE budgets SET held_cents = held_cents + :cents
WHERE experiment_id = :experiment_id AND held_cents + spent_cents + :cents <= limit_cents

-- name: ct_hold_unguarded
UPDATE budgets SET held_cents = held_cents + :cents WHERE experiment_id = :experiment_id

-- name: ct_held
SELECT held_cents FROM budgets WHERE experiment_id = :experiment_id

-- name: ct_key
INSERT INTO signing_keys (kid, purpose, public_jwk, sealed, created_ms, retired_ms)
VALUES (:kid, 'token', '', '', 0, :retired_ms)

-- name: ct_keys
SELECT kid, retired_ms FROM signing_keys ORDER BY created_ms, kid

-- name: ct_revoke
INSERT INTO revocations (kind, subject, until_ms, reason, revoked_by, created_ms)
VALUES ('token', :subject, 0, '', '', 0)
RETURNING rev_seq

-- name: ct_events
SELECT event_id, seq, leaf_hash, body, action, agent_id, experiment_id, job_id, timestamp_ms
FROM events ORDER BY event_id
