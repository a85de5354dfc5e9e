-- Signed statements about results, made once a job.

-- name: provenance_subject
SELECT j.job_id, j.agent_id, j.owner, j.experiment_id, j.token_id, j.session_id, j.backend,
       j.shots, j.circuit_sha256, j.program, j.facts, j.currency, j.cost_bound_cents,
       j.cost_actual_cents, j.policy_digest, j.approval_id, j.request_sha256, j.runtime_ms,
       j.created_ms, r.counts, r.created_ms AS result_ms
FROM jobs j JOIN results r ON r.job_id = j.job_id
WHERE j.job_id = :job_id

-- name: provenance_of_job
SELECT envelope, salt FROM provenance WHERE job_id = :job_id

-- name: provenance_insert
INSERT INTO provenance (job_id, envelope, salt, created_ms)
VALUES (:job_id, :envelope, :salt, :now_ms)
