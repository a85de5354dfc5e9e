-- Human decisions. A state only moves by an UPDATE that names the state it moves from.

-- name: lock_approving_agent
UPDATE agents SET active = active WHERE agent_id = :agent_id AND active = 1

-- name: open_approval
INSERT INTO approvals (approval_id, state, terms, terms_digest, agent_id, owner, experiment_id,
                       job_id, reason, requested_ms, expires_ms)
SELECT CAST(:approval_id AS TEXT), 'pending', CAST(:terms AS TEXT), CAST(:terms_digest AS TEXT),
       CAST(:agent_id AS TEXT), CAST(:owner AS TEXT), CAST(:experiment_id AS TEXT),
       CAST(:job_id AS TEXT), CAST(:reason AS TEXT), CAST(:requested_ms AS BIGINT),
       CAST(:expires_ms AS BIGINT)
WHERE (SELECT count(*) FROM approvals
       WHERE state = 'pending' AND agent_id = :agent_id AND expires_ms > :requested_ms)
      < CAST(:cap AS BIGINT)

-- name: grant_approval
INSERT INTO approvals (approval_id, state, terms, terms_digest, agent_id, owner, experiment_id,
                       job_id, reason, requested_ms, expires_ms, decided_by, decided_ms,
                       decision_note)
VALUES (:approval_id, 'approved', :terms, :terms_digest, :agent_id, :owner, :experiment_id,
        NULL, :reason, :requested_ms, :expires_ms, :decided_by, :decided_ms, :note)

-- name: find_approved
SELECT approval_id, state, terms, terms_digest, owner, job_id, reason, requested_ms, expires_ms,
       decided_by, decided_ms, decision_note
FROM approvals
WHERE terms_digest = :terms_digest AND state = 'approved' AND expires_ms > :now_ms
ORDER BY expires_ms, approval_id LIMIT 1

-- name: use_approval
UPDATE approvals SET state = 'used'
WHERE approval_id = :approval_id AND state = 'approved' AND terms_digest = :terms_digest
  AND expires_ms > :now_ms

-- name: decide_approval
UPDATE approvals
SET state = :state, decided_by = :decided_by, decided_ms = :now_ms, decision_note = :note
WHERE approval_id = :approval_id AND state = 'pending' AND terms_digest = :terms_digest
  AND expires_ms > :now_ms

-- name: withdraw_approval
UPDATE approvals SET state = 'withdrawn', decided_ms = :now_ms
WHERE approval_id = :approval_id AND state = 'pending'

-- name: unpark_approved_job
UPDATE jobs SET state = 'queued', updated_ms = :now_ms
WHERE job_id = :job_id AND approval_id = :approval_id AND state = 'parked' AND hold = 'held'
  AND agent_id = :agent_id AND experiment_id = :experiment_id
  AND circuit_sha256 = :circuit_sha256 AND backend = :backend AND shots = :shots
  AND currency = :currency AND cost_bound_cents <= :cost_ceiling_cents

-- name: end_parked_job
UPDATE jobs SET state = :state, failure = :failure, updated_ms = :now_ms
WHERE job_id = :job_id AND approval_id = :approval_id AND state = 'parked'

-- name: parked_job
SELECT job_id, state, experiment_id, token_id, session_id, currency, cost_bound_cents, shots, hold
FROM jobs WHERE job_id = :job_id

-- name: approval_by_id
SELECT approval_id, state, terms, terms_digest, owner, job_id, reason, requested_ms, expires_ms,
       decided_by, decided_ms, decision_note
FROM approvals WHERE approval_id = :approval_id

-- name: approvals_page
SELECT approval_id, state, terms, terms_digest, owner, job_id, reason, requested_ms, expires_ms,
       decided_by, decided_ms, decision_note
FROM approvals
WHERE requested_ms < :before_ms OR (requested_ms = :before_ms AND approval_id < :before_id)
ORDER BY requested_ms DESC, approval_id DESC LIMIT :limit

-- name: approvals_page_in_state
SELECT approval_id, state, terms, terms_digest, owner, job_id, reason, requested_ms, expires_ms,
       decided_by, decided_ms, decision_note
FROM approvals
WHERE state = :state AND expires_ms > :open_after_ms
  AND (requested_ms < :before_ms OR (requested_ms = :before_ms AND approval_id < :before_id))
ORDER BY requested_ms DESC, approval_id DESC LIMIT :limit

-- name: approvals_page_expired
SELECT approval_id, state, terms, terms_digest, owner, job_id, reason, requested_ms, expires_ms,
       decided_by, decided_ms, decision_note
FROM approvals
WHERE (state = 'expired' OR (state IN ('pending', 'approved') AND expires_ms <= :now_ms))
  AND (requested_ms < :before_ms OR (requested_ms = :before_ms AND approval_id < :before_id))
ORDER BY requested_ms DESC, approval_id DESC LIMIT :limit
