-- Budgets of experiments and the allowances of tokens and sessions. Every UPDATE carries its own
-- limit in its WHERE, so the database decides whether there is room, not what was read before.

-- name: insert_budget [sqlite]
INSERT INTO budgets (experiment_id, currency, limit_cents, held_cents, spent_cents,
                     limit_shots, held_shots, spent_shots, epoch)
SELECT :experiment_id, :currency, :limit_cents, 0, 0, :limit_shots, 0, 0, epoch
FROM budget_book

-- name: insert_budget [postgres]
-- The lock: a change of the book comes wholly before this row, which then knows of it, or wholly
-- after it, and then tells this row too.
INSERT INTO budgets (experiment_id, currency, limit_cents, held_cents, spent_cents,
                     limit_shots, held_shots, spent_shots, epoch)
SELECT :experiment_id, :currency, :limit_cents, 0, 0, :limit_shots, 0, 0, epoch
FROM budget_book FOR SHARE

-- name: set_budget_limit
UPDATE budgets SET limit_cents = :limit_cents, limit_shots = :limit_shots,
                   soft_percent = :soft_percent, told = 0
WHERE experiment_id = :experiment_id
  AND limit_cents = :old_limit_cents AND limit_shots = :old_limit_shots
  AND soft_percent = :old_soft_percent

-- name: unblock_budget
UPDATE budgets SET blocked = '' WHERE experiment_id = :experiment_id AND blocked <> ''

-- name: block_budget
UPDATE budgets SET blocked = :why WHERE experiment_id = :experiment_id AND blocked = ''

-- name: budget_by_experiment
SELECT currency, limit_cents, held_cents, spent_cents, limit_shots, held_shots, spent_shots,
       blocked, soft_percent, epoch
FROM budgets WHERE experiment_id = :experiment_id

-- name: budgets_page
SELECT experiment_id, currency, limit_cents, held_cents, spent_cents,
       limit_shots, held_shots, spent_shots, blocked, soft_percent, epoch
FROM budgets WHERE experiment_id > :after ORDER BY experiment_id LIMIT :limit

-- name: reserve_budget
-- The epoch: whoever reserves must know every limit that is set, or nothing is reserved.
UPDATE budgets SET held_cents = held_cents + :cost_cents, held_shots = held_shots + :shots
WHERE experiment_id = :experiment_id AND currency = :currency
  AND epoch = :epoch AND blocked = ''
  AND held_cents + spent_cents + :cost_cents <= limit_cents
  AND held_shots + spent_shots + :shots <= limit_shots

-- name: reserve_token
UPDATE tokens SET used_jobs = used_jobs + :jobs, used_shots = used_shots + :shots,
                  used_cents = used_cents + :cost_cents
WHERE token_id = :token_id AND experiment_id = :experiment_id
  AND used_jobs + :jobs <= max_jobs
  AND used_shots + :shots <= max_total_shots
  AND used_cents + :cost_cents <= max_cost_cents

-- name: reserve_session
UPDATE sessions SET used_jobs = used_jobs + :jobs
WHERE session_id = :session_id AND token_id = :token_id AND experiment_id = :experiment_id
  AND state = 'open' AND expires_ms > :now_ms AND used_jobs + :jobs <= max_jobs

-- name: settle_hold
UPDATE jobs SET hold = 'settled', cost_actual_cents = :actual_cents
WHERE job_id = :job_id AND hold = 'held' AND experiment_id = :experiment_id
  AND cost_bound_cents = :cost_cents AND currency = :currency AND shots = :shots

-- name: settle_budget
UPDATE budgets SET held_cents = held_cents - :cost_cents, spent_cents = spent_cents + :actual_cents,
                   held_shots = held_shots - :shots, spent_shots = spent_shots + :shots
WHERE experiment_id = :experiment_id AND currency = :currency
  AND held_cents >= :cost_cents AND held_shots >= :shots

-- What was reserved on a token was reserved on every token that it was delegated from.
-- name: settle_token
UPDATE tokens SET used_cents = used_cents - :cost_cents + :actual_cents
WHERE token_id IN (
  WITH RECURSIVE up (token_id, parent_token_id) AS (
    SELECT token_id, parent_token_id FROM tokens WHERE token_id = :token_id
    UNION
    SELECT t.token_id, t.parent_token_id FROM up JOIN tokens t ON t.token_id = up.parent_token_id)
  SELECT token_id FROM up)

-- name: release_hold
UPDATE jobs SET hold = 'released'
WHERE job_id = :job_id AND hold = 'held' AND experiment_id = :experiment_id
  AND cost_bound_cents = :cost_cents AND currency = :currency AND shots = :shots

-- name: release_budget
UPDATE budgets SET held_cents = held_cents - :cost_cents, held_shots = held_shots - :shots
WHERE experiment_id = :experiment_id AND currency = :currency
  AND held_cents >= :cost_cents AND held_shots >= :shots

-- name: release_token
UPDATE tokens SET used_jobs = used_jobs - 1, used_shots = used_shots - :shots,
                  used_cents = used_cents - :cost_cents
WHERE token_id IN (
  WITH RECURSIVE up (token_id, parent_token_id) AS (
    SELECT token_id, parent_token_id FROM tokens WHERE token_id = :token_id
    UNION
    SELECT t.token_id, t.parent_token_id FROM up JOIN tokens t ON t.token_id = up.parent_token_id)
  SELECT token_id FROM up)

-- name: release_session
UPDATE sessions SET used_jobs = used_jobs - 1 WHERE session_id = :session_id

-- name: token_allowance
SELECT experiment_id, max_jobs, max_total_shots, max_cost_cents, used_jobs, used_shots, used_cents
FROM tokens WHERE token_id = :token_id

-- name: session_allowance
SELECT token_id, experiment_id, max_jobs, used_jobs, expires_ms, state
FROM sessions WHERE session_id = :session_id
