-- Rows past their life: tokens, revocations, leases. The audit log keeps what happened.

-- name: swept_clients
SELECT agent_id AS client_id FROM agents
UNION ALL
SELECT 'operator:' || operator_id AS client_id FROM operators

-- name: tokens_old
-- A walk by the index that there is: an index by expiry would cost every token one more write.
SELECT token_id, issued_ms FROM tokens
WHERE agent_id = :client_id AND issued_ms >= :from_ms AND issued_ms < :before_ms
ORDER BY issued_ms LIMIT :most

-- name: tokens_sweep [sqlite]
-- Kept: one that a job was reserved on (its terms are looked up by replays), and one that another
-- was delegated from, until that one is gone.
DELETE FROM tokens
WHERE token_id IN (SELECT value FROM json_each(:tokens))
  AND expires_ms < :before_ms AND used_jobs = 0
  AND NOT EXISTS (SELECT 1 FROM tokens c WHERE c.parent_token_id = tokens.token_id)

-- name: tokens_sweep [postgres]
DELETE FROM tokens
WHERE token_id IN (SELECT jsonb_array_elements_text(:tokens::text::jsonb))
  AND expires_ms < :before_ms AND used_jobs = 0
  AND NOT EXISTS (SELECT 1 FROM tokens c WHERE c.parent_token_id = tokens.token_id)

-- name: revocations_sweep
-- Kept: the newest, by which readers know how far they have come; and all that could still stop a
-- job which is not over, since a job is looked up against them however old they are.
DELETE FROM revocations WHERE rev_seq IN (
  SELECT r.rev_seq FROM revocations r
  WHERE r.until_ms < :before_ms
    AND r.rev_seq < (SELECT MAX(rev_seq) FROM revocations)
    AND r.created_ms < COALESCE((SELECT MIN(token_issued_ms) FROM jobs
                                 WHERE state IN ('queued', 'dispatching', 'running')), :before_ms)
    AND r.created_ms < COALESCE((SELECT MIN(token_issued_ms) FROM jobs
                                 WHERE state = 'parked'), :before_ms)
  ORDER BY r.rev_seq LIMIT :most)
RETURNING rev_seq

-- name: leases_sweep
DELETE FROM vendor_leases WHERE lease_id IN (
  SELECT lease_id FROM vendor_leases
  WHERE issued_ms < :before_ms AND expires_ms < :before_ms
    AND state IN ('revoked', 'expired', 'failed')
  ORDER BY issued_ms LIMIT :most)
RETURNING lease_id
