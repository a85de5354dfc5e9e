-- What an agent did so far: the evidence for its promotion to hardware.

-- name: promotion_runs
SELECT backend, state, COUNT(*) AS jobs, CAST(SUM(shots) AS BIGINT) AS shots,
       COUNT(DISTINCT circuit_sha256) AS circuits
FROM jobs WHERE agent_id = :agent_id
GROUP BY backend, state ORDER BY backend, state

-- name: promotion_jobs
SELECT backend, shots, facts FROM jobs
WHERE agent_id = :agent_id AND state = 'done' AND created_ms >= :since_ms
ORDER BY created_ms DESC LIMIT :limit

-- name: promotion_denials
SELECT body FROM events
WHERE agent_id = :agent_id AND action IN ('job.refused', 'token.refused', 'estimate.refused')
ORDER BY event_id DESC LIMIT :limit

-- name: promotion_waiting
SELECT approval_id FROM approvals
WHERE agent_id = :agent_id AND kind = 'promotion' AND state = 'pending' AND expires_ms > :now_ms
LIMIT 1

-- name: promotion_backends
SELECT allowed_backends, allowed_agents FROM experiments
WHERE closed = 0 AND closes_ms > :now_ms AND allowed_agents LIKE :agent_pattern
LIMIT 100
