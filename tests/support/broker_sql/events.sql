-- name: broker_test_events
SELECT body FROM events WHERE action = :action ORDER BY event_id

-- name: broker_test_assertions
SELECT client_id, jti FROM used_assertions

-- name: broker_test_reopen
UPDATE experiments SET closed = 0 WHERE experiment_id = :experiment_id

-- name: broker_test_prolong
UPDATE experiments SET closes_ms = :closes_ms

-- name: broker_test_admit
UPDATE experiments SET allowed_agents = :agents WHERE experiment_id = :experiment_id

-- name: broker_test_swap_seals
UPDATE signing_keys SET sealed = (SELECT sealed FROM signing_keys WHERE kid <> :kid)
WHERE kid = :kid

-- name: broker_test_token
INSERT INTO tokens (token_id, agent_id, owner, experiment_id, issued_ms, expires_ms, confirmation,
                    exp_params, policy_digest, max_jobs, max_total_shots, max_cost_cents,
                    used_jobs, used_shots, used_cents, parent_token_id)
VALUES (:token_id, :agent_id, 'alice@example.com', 'e1', :issued_ms, :expires_ms, 'jkt', '{}', 'd',
        10, 10, 10, :used_jobs, 0, 0, :parent)

-- name: broker_test_job
INSERT INTO jobs (job_id, agent_id, owner, experiment_id, token_id, token_issued_ms, session_id,
                  backend, shots, state, circuit_sha256, program, facts, results, currency,
                  cost_bound_cents, hold, policy_digest, approval_id, request_sha256, metadata,
                  claim_fence, claim_until_ms, created_ms, updated_ms)
VALUES (:job_id, 'a1', 'alice@example.com', 'e1', 't', :token_issued_ms, NULL, 'local:null', 1,
        :state, 's', '', '{}', 'raw', 'USD', 0, 'held', 'd', NULL, 'r', '{}', 0, 0, 0, 0)

-- name: broker_test_job_ends
UPDATE jobs SET state = 'done', hold = 'settled', cost_actual_cents = 0 WHERE job_id = :job_id
