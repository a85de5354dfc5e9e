-- Human decisions. A state only moves by an UPDATE that names the state it moves from.

-- name: lock_approving_agent
UPDATE agents SET active = active WHERE agent_id = :agent_id AND active = 1

-- name: approval_rate
UPDATE agents SET active = active
WHERE agent_id = :agent_id
  AND (SELECT count(*) FROM approvals WHERE agent_id = :agent_id AND requested_ms > :after_ms)
      < CAST(:cap AS BIGINT)

-- name: open_approval
INSERT INTO approvals (approval_id, state, terms, terms_digest, agent_id, owner, experiment_id,
                       job_id, reason, requested_ms, expires_ms, kind, quorum, approver_role,
                       requested_by, evidence, prompt_ms)
SELECT CAST(:approval_id AS TEXT), 'pending', CAST(:terms AS TEXT), CAST(:terms_digest AS TEXT),
       CAST(:agent_id AS TEXT), CAST(:owner AS TEXT), CAST(:experiment_id AS TEXT),
       CAST(:job_id AS TEXT), CAST(:reason AS TEXT), CAST(:requested_ms AS BIGINT),
       CAST(:expires_ms AS BIGINT), CAST(:kind AS TEXT), CAST(:quorum AS BIGINT),
       CAST(:approver_role AS TEXT), CAST(:requested_by AS TEXT), CAST(:evidence AS TEXT),
       CAST(:prompt_ms AS BIGINT)
WHERE (SELECT count(*) FROM approvals
       WHERE state = 'pending' AND agent_id = :agent_id AND expires_ms > :requested_ms)
      < CAST(:cap AS BIGINT)

-- name: grant_approval
-- Asked for by an operator ahead of any job; its votes follow in the same unit of work.
INSERT INTO approvals (approval_id, state, terms, terms_digest, agent_id, owner, experiment_id,
                       job_id, reason, requested_ms, expires_ms, kind, quorum, approver_role,
                       requested_by, evidence, prompt_ms)
VALUES (:approval_id, 'pending', :terms, :terms_digest, :agent_id, :owner, :experiment_id,
        NULL, :reason, :requested_ms, :expires_ms, :kind, :quorum, :approver_role, :requested_by,
        :evidence, :prompt_ms)

-- name: find_approved
SELECT approval_id, state, terms, terms_digest, owner, job_id, reason, requested_ms, expires_ms,
       decided_by, decided_ms, decision_note, kind, quorum, approver_role, requested_by,
       COALESCE(evidence, '{}') AS evidence, version
FROM approvals
WHERE terms_digest = :terms_digest AND state = 'approved' AND expires_ms > :now_ms
  AND quorum >= :quorum AND (approver_role = :role OR CAST(:role AS TEXT) = 'approver')
  AND quorum <= (
    SELECT count(DISTINCT lower(CASE WHEN o.person = '' THEN o.operator_id ELSE o.person END))
    FROM approval_votes v
    JOIN operators o ON o.operator_id = v.operator_id
    WHERE v.approval_id = approvals.approval_id AND v.withdrawn_ms IS NULL AND o.active = 1
      AND (o.roles LIKE '%"' || approvals.approver_role || '"%'
        OR (approvals.approver_role = 'approver' AND o.roles LIKE '%"admin"%')))
ORDER BY expires_ms, approval_id LIMIT 1

-- name: use_approval
-- The votes are counted again here: a yes of somebody who may not approve any more is none (H3).
UPDATE approvals SET state = 'used', version = version + 1
WHERE approval_id = :approval_id AND state = 'approved' AND terms_digest = :terms_digest
  AND expires_ms > :now_ms
  AND quorum <= (
    SELECT count(DISTINCT lower(CASE WHEN o.person = '' THEN o.operator_id ELSE o.person END))
    FROM approval_votes v
    JOIN operators o ON o.operator_id = v.operator_id
    WHERE v.approval_id = approvals.approval_id AND v.withdrawn_ms IS NULL AND o.active = 1
      AND (o.roles LIKE '%"' || approvals.approver_role || '"%'
        OR (approvals.approver_role = 'approver' AND o.roles LIKE '%"admin"%')))

-- name: touch_approval
-- Takes the row's lock, so that votes are counted one after the other, and fails for a voter who
-- has not seen the newest votes.
UPDATE approvals SET version = version + 1
WHERE approval_id = :approval_id AND state = 'pending' AND terms_digest = :terms_digest
  AND expires_ms > :now_ms AND version = :version

-- name: cast_vote
INSERT INTO approval_votes (approval_id, person, operator_id, note, voted_ms)
SELECT CAST(:approval_id AS TEXT), CAST(:person AS TEXT), o.operator_id, CAST(:note AS TEXT),
       CAST(:now_ms AS BIGINT)
FROM operators o WHERE o.operator_id = :operator_id AND o.active = 1
ON CONFLICT (approval_id, person) DO UPDATE
SET operator_id = excluded.operator_id, note = excluded.note, voted_ms = excluded.voted_ms,
    withdrawn_ms = NULL
WHERE approval_votes.withdrawn_ms IS NOT NULL

-- name: withdraw_vote
UPDATE approval_votes SET withdrawn_ms = :now_ms
WHERE approval_id = :approval_id AND operator_id = :operator_id AND withdrawn_ms IS NULL

-- name: accept_approval
-- The yes of enough people, each of whom may still approve.
UPDATE approvals
SET state = :state, decided_by = :decided_by, decided_ms = :now_ms, decision_note = :note
WHERE approval_id = :approval_id AND state = 'pending' AND terms_digest = :terms_digest
  AND expires_ms > :now_ms
  AND quorum <= (
    SELECT count(DISTINCT lower(CASE WHEN o.person = '' THEN o.operator_id ELSE o.person END))
    FROM approval_votes v
    JOIN operators o ON o.operator_id = v.operator_id
    WHERE v.approval_id = approvals.approval_id AND v.withdrawn_ms IS NULL AND o.active = 1
      AND (o.roles LIKE '%"' || approvals.approver_role || '"%'
        OR (approvals.approver_role = 'approver' AND o.roles LIKE '%"admin"%')))

-- name: deny_approval
UPDATE approvals
SET state = 'denied', decided_by = :decided_by, decided_ms = :now_ms, decision_note = :note,
    version = version + 1
WHERE approval_id = :approval_id AND state = 'pending' AND terms_digest = :terms_digest
  AND expires_ms > :now_ms

-- name: withdraw_approval
UPDATE approvals
SET state = 'withdrawn', decided_by = :decided_by, decided_ms = :now_ms, version = version + 1
WHERE approval_id = :approval_id AND state IN ('pending', 'approved')

-- name: withdraw_own_approval
UPDATE approvals
SET state = 'withdrawn', decided_ms = :now_ms, version = version + 1
WHERE approval_id = :approval_id AND agent_id = :agent_id AND job_id IS NULL
  AND state IN ('pending', 'approved')

-- name: approval_votes
SELECT v.person, v.operator_id, v.note, v.voted_ms, o.person AS operator_person, o.active, o.roles
FROM approval_votes v JOIN operators o ON o.operator_id = v.operator_id
WHERE v.approval_id = :approval_id AND v.withdrawn_ms IS NULL
ORDER BY v.voted_ms, v.operator_id

-- name: approver
SELECT operator_id, person, active, roles FROM operators WHERE operator_id = :operator_id

-- name: promote_approved_agent
UPDATE agents SET stage = :to_stage
WHERE agent_id = :agent_id AND stage = :from_stage AND active = 1

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
       decided_by, decided_ms, decision_note, kind, quorum, approver_role, requested_by,
       COALESCE(evidence, '{}') AS evidence, version
FROM approvals WHERE approval_id = :approval_id

-- name: approvals_page
SELECT approval_id, state, terms, terms_digest, owner, job_id, reason, requested_ms, expires_ms,
       decided_by, decided_ms, decision_note, kind, quorum, approver_role, requested_by,
       COALESCE(evidence, '{}') AS evidence, version
FROM approvals
WHERE requested_ms < :before_ms OR (requested_ms = :before_ms AND approval_id < :before_id)
ORDER BY requested_ms DESC, approval_id DESC LIMIT :limit

-- name: approvals_page_in_state
SELECT approval_id, state, terms, terms_digest, owner, job_id, reason, requested_ms, expires_ms,
       decided_by, decided_ms, decision_note, kind, quorum, approver_role, requested_by,
       COALESCE(evidence, '{}') AS evidence, version
FROM approvals
WHERE state = :state AND expires_ms > :open_after_ms
  AND (requested_ms < :before_ms OR (requested_ms = :before_ms AND approval_id < :before_id))
ORDER BY requested_ms DESC, approval_id DESC LIMIT :limit

-- name: approvals_page_expired
SELECT approval_id, state, terms, terms_digest, owner, job_id, reason, requested_ms, expires_ms,
       decided_by, decided_ms, decision_note, kind, quorum, approver_role, requested_by,
       COALESCE(evidence, '{}') AS evidence, version
FROM approvals
WHERE (state = 'expired' OR (state IN ('pending', 'approved') AND expires_ms <= :now_ms))
  AND (requested_ms < :before_ms OR (requested_ms = :before_ms AND approval_id < :before_id))
ORDER BY requested_ms DESC, approval_id DESC LIMIT :limit

-- name: find_waiting_approval
SELECT approval_id, state, terms, terms_digest, owner, job_id, reason, requested_ms, expires_ms,
       decided_by, decided_ms, decision_note, kind, quorum, approver_role, requested_by,
       COALESCE(evidence, '{}') AS evidence, version
FROM approvals
WHERE terms_digest = :terms_digest AND state = 'pending' AND expires_ms > :now_ms
  AND job_id IS NULL
ORDER BY requested_ms, approval_id LIMIT 1

-- name: approvals_of_agent
SELECT approval_id, state, terms, terms_digest, owner, job_id, reason, requested_ms, expires_ms,
       decided_by, decided_ms, decision_note, kind, quorum, approver_role, requested_by,
       COALESCE(evidence, '{}') AS evidence, version
FROM approvals
WHERE agent_id = :agent_id AND experiment_id IN (:experiment_id, '')
  AND (requested_ms < :before_ms OR (requested_ms = :before_ms AND approval_id < :before_id))
ORDER BY requested_ms DESC, approval_id DESC LIMIT :limit
