-- Experiments. Lists are JSON text that only the program reads.

-- name: insert_experiment
INSERT INTO experiments (experiment_id, purpose, classification, owner, cost_center, opens_ms,
                         closes_ms, closed, allowed_agents, allowed_backends, release, created_ms)
VALUES (:experiment_id, :purpose, :classification, :owner, :cost_center, :opens_ms,
        :closes_ms, 0, :allowed_agents, :allowed_backends, :release, :created_ms)

-- name: update_experiment
UPDATE experiments
SET closed = :closed, closes_ms = :closes_ms, allowed_agents = :allowed_agents,
    allowed_backends = :allowed_backends, release = :release,
    min_count = :min_count, top_k = :top_k, webhook = :webhook
WHERE experiment_id = :experiment_id
  AND closed = :old_closed AND closes_ms = :old_closes_ms AND allowed_agents = :old_allowed_agents
  AND allowed_backends = :old_allowed_backends AND release = :old_release
  AND min_count = :old_min_count AND top_k = :old_top_k AND webhook = :old_webhook
  AND NOT EXISTS (SELECT 1 FROM scope_keys WHERE scope = :experiment_id AND shredded_ms IS NOT NULL)

-- name: experiment_more
UPDATE experiments SET min_count = :min_count, top_k = :top_k, webhook = :webhook
WHERE experiment_id = :experiment_id

-- name: experiment_with_budget
SELECT e.experiment_id, e.purpose, e.classification, e.owner, e.cost_center, e.opens_ms,
       e.closes_ms, e.closed, e.allowed_agents, e.allowed_backends, e.release, e.created_ms,
       e.min_count, e.top_k, e.webhook,
       b.currency, b.limit_cents, b.held_cents, b.spent_cents,
       b.limit_shots, b.held_shots, b.spent_shots, b.blocked, b.soft_percent, b.epoch
FROM experiments e JOIN budgets b ON b.experiment_id = e.experiment_id
WHERE e.experiment_id = :experiment_id

-- name: experiments_page
SELECT e.experiment_id, e.purpose, e.classification, e.owner, e.cost_center, e.opens_ms,
       e.closes_ms, e.closed, e.allowed_agents, e.allowed_backends, e.release, e.created_ms,
       e.min_count, e.top_k, e.webhook,
       b.currency, b.limit_cents, b.held_cents, b.spent_cents,
       b.limit_shots, b.held_shots, b.spent_shots, b.blocked, b.soft_percent, b.epoch
FROM experiments e JOIN budgets b ON b.experiment_id = e.experiment_id
WHERE e.experiment_id > :after ORDER BY e.experiment_id LIMIT :limit
