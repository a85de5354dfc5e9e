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
