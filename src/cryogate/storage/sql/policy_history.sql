-- What policy was asked: from jobs, tokens and refusals.

-- name: refused_question_insert
INSERT INTO refused_questions (agent_id, experiment_id, question, policy_digest, created_ms)
VALUES (:agent_id, :experiment_id, :question, :policy_digest, :now_ms)

-- name: refused_questions_sweep
DELETE FROM refused_questions WHERE created_ms < :before_ms

-- name: refused_questions_since
SELECT question_id, agent_id, question, created_ms FROM refused_questions
WHERE created_ms >= :since_ms AND (CAST(:agent_id AS TEXT) IS NULL OR agent_id = :agent_id)
ORDER BY created_ms DESC, question_id DESC LIMIT :limit

-- name: refused_question_newest
SELECT question_id, question, created_ms FROM refused_questions
WHERE agent_id = :agent_id ORDER BY question_id DESC LIMIT 1

-- name: asked_jobs_since
SELECT j.job_id, j.token_id, j.backend, j.shots, j.circuit_sha256, j.facts, j.currency,
       j.cost_bound_cents, j.approval_id, j.created_ms, t.exp_params, t.issued_ms, t.expires_ms,
       a.agent_id, a.owner, a.tier, a.stage, a.roles, a.attributes,
       e.experiment_id, e.purpose, e.classification, e.owner AS experiment_owner, e.cost_center,
       e.closes_ms, e.allowed_agents, e.allowed_backends, e.release,
       b.limit_cents - b.held_cents - b.spent_cents AS left_cents,
       b.limit_shots - b.held_shots - b.spent_shots AS left_shots
FROM jobs j
JOIN tokens t ON t.token_id = j.token_id
JOIN agents a ON a.agent_id = j.agent_id
JOIN experiments e ON e.experiment_id = j.experiment_id
JOIN budgets b ON b.experiment_id = j.experiment_id
WHERE j.created_ms >= :since_ms AND (CAST(:agent_id AS TEXT) IS NULL OR j.agent_id = :agent_id)
ORDER BY j.created_ms DESC, j.job_id DESC LIMIT :limit

-- name: asked_job
SELECT j.job_id, j.token_id, j.backend, j.shots, j.circuit_sha256, j.facts, j.currency,
       j.cost_bound_cents, j.approval_id, j.created_ms, t.exp_params, t.issued_ms, t.expires_ms,
       a.agent_id, a.owner, a.tier, a.stage, a.roles, a.attributes,
       e.experiment_id, e.purpose, e.classification, e.owner AS experiment_owner, e.cost_center,
       e.closes_ms, e.allowed_agents, e.allowed_backends, e.release,
       b.limit_cents - b.held_cents - b.spent_cents AS left_cents,
       b.limit_shots - b.held_shots - b.spent_shots AS left_shots
FROM jobs j
JOIN tokens t ON t.token_id = j.token_id
JOIN agents a ON a.agent_id = j.agent_id
JOIN experiments e ON e.experiment_id = j.experiment_id
JOIN budgets b ON b.experiment_id = j.experiment_id
WHERE j.job_id = :job_id

-- name: asked_tokens_since
SELECT t.token_id, t.issued_ms, t.expires_ms, t.exp_params,
       a.agent_id, a.owner, a.tier, a.stage, a.roles, a.attributes,
       e.experiment_id, e.purpose, e.classification, e.owner AS experiment_owner, e.cost_center,
       e.closes_ms, e.allowed_agents, e.allowed_backends, e.release,
       b.limit_cents - b.held_cents - b.spent_cents AS left_cents,
       b.limit_shots - b.held_shots - b.spent_shots AS left_shots
FROM tokens t
JOIN agents a ON a.agent_id = t.agent_id
JOIN experiments e ON e.experiment_id = t.experiment_id
JOIN budgets b ON b.experiment_id = t.experiment_id
WHERE t.issued_ms >= :since_ms AND (CAST(:agent_id AS TEXT) IS NULL OR t.agent_id = :agent_id)
ORDER BY t.issued_ms DESC, t.token_id DESC LIMIT :limit

-- name: did_read_or_open
SELECT DISTINCT action, experiment_id FROM events
WHERE agent_id = :agent_id AND action IN ('session.opened', 'result.read')
