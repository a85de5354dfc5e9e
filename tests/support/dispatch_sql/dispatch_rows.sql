-- Rows that other parts of the program write, for tests of dispatch.

-- name: dispatch_test_program
UPDATE jobs SET program = :program, circuit_sha256 = :circuit_sha256, backend = :backend
WHERE job_id = :job_id

-- name: dispatch_test_revoke
INSERT INTO revocations (kind, subject, until_ms, reason, revoked_by, created_ms)
VALUES (:kind, :subject, CAST(:now_ms AS BIGINT) + 1000000000, 'r', 'operator:admin', :now_ms)

-- name: dispatch_test_steal
UPDATE jobs SET claim_fence = claim_fence + 1, claimed_by = 'another' WHERE job_id = :job_id

-- name: dispatch_test_reopen
UPDATE experiments SET closes_ms = :until_ms

-- name: dispatch_test_disable
UPDATE agents SET active = 0 WHERE agent_id = :agent_id
