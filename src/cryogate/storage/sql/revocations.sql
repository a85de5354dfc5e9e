-- Revocations: the feed that every process follows.

-- Taken before a rev_seq is drawn and held until the commit is visible, so rows become visible in
-- the order of their rev_seq. SQLite has one writer at a time and needs nothing.
-- name: revocation_order [postgres]
SELECT 1 AS held FROM pg_advisory_xact_lock(726576)

-- name: revocation_order [sqlite]
SELECT 1 AS held

-- Every insert tells the other replicas in PostgreSQL, with all that they need to enforce it. The
-- notice leaves with the commit or not at all; a lost one costs time, not safety.
-- name: revocation_insert [sqlite]
INSERT INTO revocations (kind, subject, until_ms, reason, revoked_by, created_ms)
VALUES (:kind, :subject, :until_ms, :reason, :revoked_by, :created_ms)
RETURNING rev_seq, created_ms

-- name: revocation_insert [postgres]
WITH made AS (
  INSERT INTO revocations (kind, subject, until_ms, reason, revoked_by, created_ms)
  VALUES (:kind, :subject, :until_ms, :reason, :revoked_by, :created_ms)
  RETURNING rev_seq, kind, subject, until_ms, created_ms)
SELECT made.rev_seq, made.created_ms
FROM made, pg_notify('cryogate_revocations',
  json_build_array(made.rev_seq, made.kind, made.subject, made.created_ms, made.until_ms)::text) told

-- Ends every token there is now: a token that another process stamped a moment ahead of our clock,
-- but that committed before us, is issued "up to" this revocation as well.
-- name: revocation_insert_covering [sqlite]
INSERT INTO revocations (kind, subject, until_ms, reason, revoked_by, created_ms)
SELECT :kind, :subject, :until_ms, :reason, :revoked_by,
       CASE WHEN latest.ms > :created_ms THEN latest.ms ELSE :created_ms END
FROM (SELECT COALESCE(MAX((SELECT MAX(t.issued_ms) FROM tokens t WHERE t.agent_id = c.client_id)), 0)
               AS ms
      FROM (SELECT agent_id AS client_id FROM agents
            UNION ALL SELECT 'operator:' || operator_id FROM operators) c) latest
RETURNING rev_seq, created_ms

-- name: revocation_insert_covering [postgres]
WITH made AS (
  INSERT INTO revocations (kind, subject, until_ms, reason, revoked_by, created_ms)
  SELECT :kind, :subject, :until_ms, :reason, :revoked_by,
         CASE WHEN latest.ms > :created_ms THEN latest.ms ELSE :created_ms END
  FROM (SELECT COALESCE(MAX((SELECT MAX(t.issued_ms) FROM tokens t WHERE t.agent_id = c.client_id)), 0)
                 AS ms
        FROM (SELECT agent_id AS client_id FROM agents
              UNION ALL SELECT 'operator:' || operator_id FROM operators) c) latest
  RETURNING rev_seq, kind, subject, until_ms, created_ms)
SELECT made.rev_seq, made.created_ms
FROM made, pg_notify('cryogate_revocations',
  json_build_array(made.rev_seq, made.kind, made.subject, made.created_ms, made.until_ms)::text) told

-- Tokens that were asked for with a key or are bound to it: those that live, and those whose jobs
-- do, because jobs follow the revocation of their token.
-- name: revoke_tokens_of_key [sqlite]
INSERT INTO revocations (kind, subject, until_ms, reason, revoked_by, created_ms)
SELECT 'token', t.token_id,
       CASE WHEN t.expires_ms > :until_ms THEN t.expires_ms ELSE :until_ms END,
       :reason, :revoked_by, :created_ms
FROM tokens t
WHERE (t.confirmation = :kid OR t.client_kid = :kid) AND t.revoked_ms IS NULL
  AND (CAST(:client_id AS TEXT) IS NULL OR t.agent_id = :client_id)
  AND (t.expires_ms > :created_ms
    OR EXISTS (SELECT 1 FROM jobs j WHERE j.token_id = t.token_id
                 AND j.state IN ('parked', 'queued', 'dispatching', 'running')))

-- name: revoke_tokens_of_key [postgres]
WITH made AS (
  INSERT INTO revocations (kind, subject, until_ms, reason, revoked_by, created_ms)
  SELECT 'token', t.token_id, GREATEST(t.expires_ms, :until_ms), :reason, :revoked_by, :created_ms
  FROM tokens t
  WHERE (t.confirmation = :kid OR t.client_kid = :kid) AND t.revoked_ms IS NULL
    AND (CAST(:client_id AS TEXT) IS NULL OR t.agent_id = :client_id)
    AND (t.expires_ms > :created_ms
      OR EXISTS (SELECT 1 FROM jobs j WHERE j.token_id = t.token_id
                   AND j.state IN ('parked', 'queued', 'dispatching', 'running')))
  RETURNING rev_seq, kind, subject, until_ms, created_ms)
SELECT made.rev_seq
FROM made, pg_notify('cryogate_revocations',
  json_build_array(made.rev_seq, made.kind, made.subject, made.created_ms, made.until_ms)::text) told

-- A delegation under way holds its parent's row, so this waits for it; a later one finds the mark.
-- name: mark_tokens_of_key
UPDATE tokens SET revoked_ms = :created_ms
WHERE (confirmation = :kid OR client_kid = :kid) AND revoked_ms IS NULL
  AND (CAST(:client_id AS TEXT) IS NULL OR agent_id = :client_id)

-- Tokens delegated from what is being revoked, at any depth: a child dies with its parent (T9).
-- A delegation under way holds a lock on its parent and on the parent's agent and key, which the
-- statements before this one needed too, so it is here or it will find its parent dead.
-- name: revoke_descendants [sqlite]
INSERT INTO revocations (kind, subject, until_ms, reason, revoked_by, created_ms)
WITH RECURSIVE down (token_id, expires_ms) AS (
  SELECT c.token_id, c.expires_ms
  FROM tokens c JOIN tokens p ON p.token_id = c.parent_token_id
  WHERE c.parent_token_id IS NOT NULL
    AND (p.token_id = :token_id OR p.agent_id = :agent_id OR p.owner = :owner
      OR p.confirmation = :kid OR p.client_kid = :kid)
  UNION
  SELECT c.token_id, c.expires_ms FROM down d JOIN tokens c ON c.parent_token_id = d.token_id)
SELECT 'token', d.token_id,
       CASE WHEN d.expires_ms > :until_ms THEN d.expires_ms ELSE :until_ms END,
       :reason, :revoked_by, :created_ms
FROM down d
WHERE NOT EXISTS (SELECT 1 FROM revocations r WHERE r.kind = 'token' AND r.subject = d.token_id)

-- name: revoke_descendants [postgres]
WITH RECURSIVE down (token_id, expires_ms) AS (
  SELECT c.token_id, c.expires_ms
  FROM tokens c JOIN tokens p ON p.token_id = c.parent_token_id
  WHERE c.parent_token_id IS NOT NULL
    AND (p.token_id = :token_id OR p.agent_id = :agent_id OR p.owner = :owner
      OR p.confirmation = :kid OR p.client_kid = :kid)
  UNION
  SELECT c.token_id, c.expires_ms FROM down d JOIN tokens c ON c.parent_token_id = d.token_id),
made AS (
  INSERT INTO revocations (kind, subject, until_ms, reason, revoked_by, created_ms)
  SELECT 'token', d.token_id, GREATEST(d.expires_ms, :until_ms), :reason, :revoked_by, :created_ms
  FROM down d
  WHERE NOT EXISTS (SELECT 1 FROM revocations r WHERE r.kind = 'token' AND r.subject = d.token_id)
  RETURNING rev_seq, kind, subject, until_ms, created_ms)
SELECT made.rev_seq
FROM made, pg_notify('cryogate_revocations',
  json_build_array(made.rev_seq, made.kind, made.subject, made.created_ms, made.until_ms)::text) told

-- name: revoke_token
UPDATE tokens SET revoked_ms = :now_ms WHERE token_id = :subject AND revoked_ms IS NULL

-- name: revoke_key
DELETE FROM client_keys WHERE kid = :subject

-- name: revocation_target_key
SELECT client_id FROM client_keys WHERE kid = :subject

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

-- What is over need not be known, but the newest is always among them: by it a reader knows how
-- far it has come.
-- name: revocations_after
SELECT rev_seq, kind, subject, until_ms, created_ms
FROM revocations
WHERE rev_seq > :after
  AND (until_ms > :now_ms OR rev_seq = (SELECT MAX(rev_seq) FROM revocations))
ORDER BY rev_seq LIMIT :limit

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
