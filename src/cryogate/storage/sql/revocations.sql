-- Revocations: the feed that every process follows.

-- Taken before a rev_seq is drawn and held until the commit is visible, so rows become visible in
-- the order of their rev_seq. SQLite has one writer at a time and needs nothing.
-- name: revocation_order [postgres]
SELECT 1 AS held FROM pg_advisory_xact_lock(726576)

-- name: revocation_order [sqlite]
SELECT 1 AS held

-- name: revocation_insert
INSERT INTO revocations (kind, subject, until_ms, reason, revoked_by, created_ms)
VALUES (:kind, :subject, :until_ms, :reason, :revoked_by, :created_ms)
RETURNING rev_seq, created_ms

-- Ends every token there is now: a token that another process stamped a moment ahead of our clock,
-- but that committed before us, is issued "up to" this revocation as well.
-- name: revocation_insert_covering
INSERT INTO revocations (kind, subject, until_ms, reason, revoked_by, created_ms)
SELECT :kind, :subject, :until_ms, :reason, :revoked_by,
       CASE WHEN latest.ms > :created_ms THEN latest.ms ELSE :created_ms END
FROM (SELECT COALESCE(MAX((SELECT MAX(t.issued_ms) FROM tokens t WHERE t.agent_id = c.client_id)), 0)
               AS ms
      FROM (SELECT agent_id AS client_id FROM agents
            UNION ALL SELECT 'operator:' || operator_id FROM operators) c) latest
RETURNING rev_seq, created_ms

-- name: revoke_tokens_of_key
INSERT INTO revocations (kind, subject, until_ms, reason, revoked_by, created_ms)
SELECT 'token', token_id, expires_ms, :reason, :revoked_by, :created_ms
FROM tokens
WHERE agent_id = :client_id AND confirmation = :kid AND expires_ms > :created_ms

-- name: revoke_agent
UPDATE agents SET active = 0 WHERE agent_id = :subject AND active = 1

-- name: revoke_operator
UPDATE operators SET active = 0 WHERE operator_id = :subject AND active = 1

-- name: revoke_owner
UPDATE agents SET active = 0 WHERE owner = :subject AND active = 1

-- name: revoke_experiment
UPDATE experiments SET closed = 1 WHERE experiment_id = :subject AND closed = 0

-- name: revoke_all
UPDATE agents SET active = 0 WHERE active = 1

-- name: revocation_target_session
SELECT session_id, agent_id, experiment_id, expires_ms FROM sessions WHERE session_id = :subject

-- name: revocation_target_experiment
SELECT experiment_id FROM experiments WHERE experiment_id = :subject

-- name: revocations_after
SELECT rev_seq, kind, subject, until_ms, created_ms
FROM revocations WHERE rev_seq > :after AND until_ms > :now_ms ORDER BY rev_seq LIMIT :limit

-- name: revocation_latest
SELECT MAX(created_ms) AS ms FROM revocations
WHERE until_ms > :now_ms AND (
     (kind = 'agent' AND subject = :agent_id)
  OR (kind = 'owner' AND subject = :owner)
  OR (kind = 'experiment' AND subject = :experiment_id)
  OR (kind = 'all' AND subject = '*'))

-- name: revocations_page
SELECT rev_seq, kind, subject, until_ms, reason, revoked_by, created_ms
FROM revocations WHERE rev_seq < :before ORDER BY rev_seq DESC LIMIT :limit
