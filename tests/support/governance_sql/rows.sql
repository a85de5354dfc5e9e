-- Rows that other parts of the program write, for tests of money and approvals.

-- name: governance_test_agent
INSERT INTO agents (agent_id, owner, tier, stage, active, roles, attributes, created_ms)
VALUES (:agent_id, :owner, 'low', 'simulator', :active, '[]', '{}', 0)

-- name: governance_test_operator
INSERT INTO operators (operator_id, active, roles, created_ms, person)
VALUES (:operator_id, :active, :roles, 0, :person)
ON CONFLICT (operator_id) DO UPDATE
SET active = excluded.active, roles = excluded.roles, person = excluded.person

-- name: governance_test_token
INSERT INTO tokens (token_id, agent_id, owner, experiment_id, issued_ms, expires_ms, confirmation,
                    exp_params, policy_digest, max_jobs, max_total_shots, max_cost_cents,
                    used_jobs, used_shots, used_cents)
VALUES (:token_id, :agent_id, 'alice@example.com', :experiment_id, 0, :expires_ms, 'jkt', '{}',
        'd', :max_jobs, :max_total_shots, :max_cost_cents, 0, 0, 0)

-- name: governance_test_session
INSERT INTO sessions (session_id, token_id, agent_id, experiment_id, backends, max_jobs, used_jobs,
                      opened_ms, expires_ms, state)
VALUES (:session_id, :token_id, :agent_id, :experiment_id, '[]', :max_jobs, 0, 0, :expires_ms,
        'open')

-- name: governance_test_job
INSERT INTO jobs (job_id, agent_id, owner, experiment_id, token_id, token_issued_ms, session_id,
                  backend, shots, state, circuit_sha256, program, facts, results, currency,
                  cost_bound_cents, hold, policy_digest, approval_id, request_sha256, metadata,
                  claim_fence, claim_until_ms, created_ms, updated_ms)
VALUES (:job_id, :agent_id, 'alice@example.com', :experiment_id, :token_id, 0, :session_id,
        :backend, :shots, :state, :circuit_sha256, '', '{}', 'none', :currency,
        :cost_bound_cents, 'held', 'd', :approval_id, 'r', '{}', 0, 0, 0, 0)

-- name: governance_test_end_job
UPDATE jobs SET state = 'cancelled' WHERE job_id = :job_id

-- name: governance_test_tamper_job
UPDATE jobs SET circuit_sha256 = :circuit_sha256, shots = :shots, backend = :backend,
                cost_bound_cents = :cost_bound_cents
WHERE job_id = :job_id

-- name: governance_test_tamper_approval
UPDATE approvals SET terms = :terms WHERE approval_id = :approval_id

-- name: governance_test_remove_token
DELETE FROM tokens WHERE token_id = :token_id

-- name: governance_test_job_row
SELECT state, hold, failure, cost_actual_cents FROM jobs WHERE job_id = :job_id

-- name: governance_test_token_row
SELECT used_jobs, used_shots, used_cents FROM tokens WHERE token_id = :token_id

-- name: governance_test_session_row
SELECT used_jobs FROM sessions WHERE session_id = :session_id

-- name: governance_test_jobs
SELECT job_id, hold, cost_bound_cents, cost_actual_cents, shots FROM jobs ORDER BY job_id

-- name: governance_test_spent
-- What each window should have seen: jobs reserved in its period, at their cost and corrections.
SELECT w.budget_id, w.subject, w.period, w.spent_cents,
       (SELECT CAST(COALESCE(SUM(e.spent_cents), 0) AS BIGINT)
        FROM ledger_entries e JOIN ledger_charges c ON c.job_id = COALESCE(e.corrects, e.ref)
        WHERE c.budget_id = w.budget_id AND c.subject = w.subject AND c.period = w.period) AS due
FROM budget_windows w

-- name: governance_test_events
SELECT body FROM events ORDER BY event_id

-- name: governance_test_agent_row
SELECT stage, active FROM agents WHERE agent_id = :agent_id

-- name: governance_test_tamper_evidence
UPDATE approvals SET evidence = :evidence WHERE approval_id = :approval_id

-- name: governance_test_backends
UPDATE experiments SET allowed_backends = :backends

-- name: governance_test_finished_job
INSERT INTO jobs (job_id, agent_id, owner, experiment_id, token_id, token_issued_ms, session_id,
                  backend, shots, state, circuit_sha256, program, facts, results, currency,
                  cost_bound_cents, hold, policy_digest, approval_id, request_sha256, metadata,
                  claim_fence, claim_until_ms, created_ms, updated_ms)
VALUES (:job_id, 'a1', 'alice@example.com', 'e1', 't1', 0, NULL,
        :backend, :shots, :state, 'aa', '', :facts, 'none', 'USD',
        1, 'settled', 'd', NULL, 'r', '{}', 0, 0, :now_ms, :now_ms)

-- name: governance_test_retire_agent
UPDATE agents SET active = 0 WHERE agent_id = :agent_id

-- name: governance_test_tamper_entry
UPDATE ledger_entries SET spent_cents = spent_cents - 1, available_cents = available_cents + 1
WHERE ref = :job_id AND phase = 1

-- name: governance_test_done
UPDATE jobs SET state = 'done', results = :results WHERE job_id = :job_id

-- name: leases_test_disable
UPDATE agents SET active = 0 WHERE agent_id = :agent_id

-- name: leases_test_revoke
INSERT INTO revocations (kind, subject, until_ms, reason, revoked_by, created_ms)
VALUES (:kind, :subject, CAST(:now_ms AS BIGINT) + 1000000000, 'r', 'operator:admin', :now_ms)
