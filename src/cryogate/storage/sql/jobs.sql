-- name: standing
-- Everything the checks need to know of a caller, in one read. A session counts only under the
-- very token that opened it.
SELECT a.agent_id, a.owner, a.tier, a.stage, a.active, a.roles, a.attributes,
       a.created_ms AS agent_created_ms,
       e.experiment_id, e.purpose, e.classification, e.owner AS experiment_owner, e.cost_center,
       e.opens_ms, e.closes_ms, e.closed, e.allowed_agents, e.allowed_backends, e.release,
       e.created_ms AS experiment_created_ms,
       b.currency, b.limit_cents, b.held_cents, b.spent_cents,
       b.limit_shots, b.held_shots, b.spent_shots, b.blocked, b.soft_percent, b.epoch,
       t.used_jobs, t.used_shots, t.used_cents,
       s.session_id, s.token_id AS session_token_id, s.backends AS session_backends,
       s.expires_ms AS session_expires_ms, s.state AS session_state,
       s.results AS session_results
FROM tokens t
JOIN agents a ON a.agent_id = t.agent_id
JOIN experiments e ON e.experiment_id = t.experiment_id
JOIN budgets b ON b.experiment_id = t.experiment_id
LEFT JOIN sessions s ON s.session_id = :session_id AND s.token_id = t.token_id
WHERE t.token_id = :token_id

-- name: accept_job
-- The row exists only if, in this very transaction, nothing that could revoke the caller has been
-- recorded and the experiment is open: a revocation acknowledged before can not be overtaken.
INSERT INTO jobs (job_id, agent_id, owner, experiment_id, token_id, token_issued_ms, session_id,
                  backend, shots, state, circuit_sha256, program, facts, results, currency,
                  cost_bound_cents, hold, policy_digest, approval_id, idempotency_key,
                  request_sha256, metadata, claimed_by, claim_fence, claim_until_ms, created_ms,
                  updated_ms, price_currency, rate)
SELECT :job_id, :agent_id, :owner, :experiment_id, :token_id, :token_issued_ms, :session_id,
       :backend, :shots, :state, :circuit_sha256, :program, :facts, :results, :currency,
       :cost_bound_cents, 'held', :policy_digest, :approval_id, :idempotency_key,
       :request_sha256, :metadata, :claimed_by, :claim_fence, :claim_until_ms, :now_ms, :now_ms,
       :price_currency, :rate
WHERE NOT EXISTS (
        SELECT 1 FROM revocations r
        WHERE r.until_ms > :now_ms
          AND ((r.kind = 'token' AND r.subject = :token_id)
            OR (r.kind = 'session' AND r.subject = :session_id)
            OR (r.created_ms >= :token_issued_ms
                AND ((r.kind = 'agent' AND r.subject = :agent_id)
                  OR (r.kind = 'experiment' AND r.subject = :experiment_id)
                  OR (r.kind = 'owner' AND r.subject = :owner)
                  OR r.kind = 'all'))))
  AND EXISTS (
        SELECT 1 FROM experiments e
        WHERE e.experiment_id = :experiment_id AND e.closed = 0
          AND e.opens_ms <= :now_ms AND e.closes_ms > :now_ms)
  AND NOT EXISTS (SELECT 1 FROM agents a WHERE a.agent_id = :agent_id AND a.active = 0)

-- name: job_webhook
INSERT INTO job_webhooks (job_id, url) VALUES (:job_id, :url)

-- name: job_by_key
SELECT job_id, request_sha256 FROM jobs
WHERE agent_id = :agent_id AND idempotency_key = :idempotency_key

-- name: job_view
SELECT j.job_id, j.agent_id, j.owner, j.experiment_id, j.token_id, j.session_id, j.backend,
       j.shots, j.state, j.circuit_sha256, j.results, j.currency, j.cost_bound_cents,
       j.cost_actual_cents, j.approval_id, j.metadata, j.runtime_ms, j.failure, j.created_ms,
       j.updated_ms, p.state AS approval_state, p.expires_ms AS approval_expires_ms
FROM jobs j LEFT JOIN approvals p ON p.approval_id = j.approval_id
WHERE j.job_id = :job_id

-- name: jobs_of_agent
SELECT j.job_id, j.agent_id, j.owner, j.experiment_id, j.token_id, j.session_id, j.backend,
       j.shots, j.state, j.circuit_sha256, j.results, j.currency, j.cost_bound_cents,
       j.cost_actual_cents, j.approval_id, j.metadata, j.runtime_ms, j.failure, j.created_ms,
       j.updated_ms, p.state AS approval_state, p.expires_ms AS approval_expires_ms
FROM jobs j LEFT JOIN approvals p ON p.approval_id = j.approval_id
WHERE j.agent_id = :agent_id AND j.experiment_id = :experiment_id
  AND (j.created_ms < :before_ms OR (j.created_ms = :before_ms AND j.job_id < :before_id))
ORDER BY j.created_ms DESC, j.job_id DESC
LIMIT :limit

-- name: jobs_for_operator
SELECT j.job_id, j.agent_id, j.owner, j.experiment_id, j.token_id, j.session_id, j.backend,
       j.shots, j.state, j.circuit_sha256, j.results, j.currency, j.cost_bound_cents,
       j.cost_actual_cents, j.approval_id, j.metadata, j.runtime_ms, j.failure, j.created_ms,
       j.updated_ms, p.state AS approval_state, p.expires_ms AS approval_expires_ms
FROM jobs j LEFT JOIN approvals p ON p.approval_id = j.approval_id
WHERE (CAST(:agent_id AS TEXT) IS NULL OR j.agent_id = :agent_id)
  AND (CAST(:experiment_id AS TEXT) IS NULL OR j.experiment_id = :experiment_id)
  AND (CAST(:state AS TEXT) IS NULL OR j.state = :state)
  AND (j.created_ms < :before_ms OR (j.created_ms = :before_ms AND j.job_id < :before_id))
ORDER BY j.created_ms DESC, j.job_id DESC
LIMIT :limit

-- name: result_of_job
SELECT r.counts, r.memory, r.metadata, r.created_ms, j.agent_id, j.experiment_id, j.token_id,
       j.session_id, j.backend, j.shots, j.state, j.circuit_sha256, j.results,
       e.release, e.purpose, e.min_count, e.top_k,
       d.min_count AS decided_min_count, d.top_k AS decided_top_k
FROM jobs j
JOIN experiments e ON e.experiment_id = j.experiment_id
LEFT JOIN results r ON r.job_id = j.job_id
LEFT JOIN releases d ON d.job_id = j.job_id
WHERE j.job_id = :job_id

-- name: decide_release
-- Once for each job: a second decision is refused by the key.
INSERT INTO releases (job_id, min_count, top_k, decided_ms)
VALUES (:job_id, :min_count, :top_k, :now_ms)
