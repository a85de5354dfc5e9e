-- Which experiment does a circuit come from: the newest programs of each experiment, by index.

-- name: likeness_program
SELECT experiment_id, circuit_sha256, program FROM jobs WHERE job_id = :job_id

-- name: likeness_experiments
SELECT experiment_id, purpose, owner, classification FROM experiments
ORDER BY created_ms DESC, experiment_id
LIMIT :limit

-- name: likeness_jobs
SELECT job_id, circuit_sha256, LENGTH(program) AS size, created_ms FROM jobs
WHERE experiment_id = :experiment_id AND job_id <> :job_id
ORDER BY created_ms DESC
LIMIT :limit
