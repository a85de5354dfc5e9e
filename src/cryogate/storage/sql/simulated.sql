-- name: backends_that_ran
SELECT DISTINCT backend FROM jobs
WHERE circuit_sha256 = :circuit_sha256 AND experiment_id = :experiment_id AND state = 'done'
LIMIT 100
