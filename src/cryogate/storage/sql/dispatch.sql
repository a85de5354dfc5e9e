-- Dispatch: claims with fencing tokens, and the moves of claimed and of waiting jobs. In every
-- statement the condition on the state repeats the partial index's, so that SQLite may use it.
-- A write by a claimant names its fence: once another replica has claimed the job, it cannot match.

-- name: dispatch_due
SELECT job_id FROM jobs
WHERE state IN ('queued', 'dispatching', 'running') AND state = 'queued'
  AND claim_until_ms <= :now_ms
LIMIT 1

-- name: dispatch_claim_queued [sqlite]
UPDATE jobs SET claimed_by = :owner, claim_fence = claim_fence + 1, claim_until_ms = :until_ms
WHERE job_id IN (
  SELECT job_id FROM jobs
  WHERE state IN ('queued', 'dispatching', 'running') AND state = 'queued'
    AND claim_until_ms <= :now_ms
    AND substr(backend, 1, instr(backend, ':') - 1) NOT IN (SELECT value FROM json_each(:busy))
  ORDER BY created_ms LIMIT :most)
RETURNING job_id, agent_id, owner, experiment_id, token_id, token_issued_ms, session_id, backend,
          shots, state, circuit_sha256, results, currency, cost_bound_cents, policy_digest,
          approval_id, vendor_id, failure, claim_fence, price_currency, rate, updated_ms,
          CASE WHEN length(program) <= CAST(:inline AS BIGINT) THEN program END AS program

-- name: dispatch_claim_queued [postgres]
UPDATE jobs SET claimed_by = :owner, claim_fence = claim_fence + 1, claim_until_ms = :until_ms
WHERE job_id IN (
  SELECT job_id FROM jobs
  WHERE state IN ('queued', 'dispatching', 'running') AND state = 'queued'
    AND claim_until_ms <= :now_ms
    AND split_part(backend, ':', 1) NOT IN (SELECT jsonb_array_elements_text(:busy::text::jsonb))
  ORDER BY created_ms LIMIT :most
  FOR UPDATE SKIP LOCKED)
RETURNING job_id, agent_id, owner, experiment_id, token_id, token_issued_ms, session_id, backend,
          shots, state, circuit_sha256, results, currency, cost_bound_cents, policy_digest,
          approval_id, vendor_id, failure, claim_fence, price_currency, rate, updated_ms,
          CASE WHEN length(program) <= CAST(:inline AS BIGINT) THEN program END AS program

-- name: dispatch_claim_orphans [sqlite]
-- Jobs whose claimant stopped renewing its claim. The vendor may have them.
UPDATE jobs SET claimed_by = :owner, claim_fence = claim_fence + 1, claim_until_ms = :until_ms
WHERE job_id IN (
  SELECT job_id FROM jobs
  WHERE state IN ('queued', 'dispatching', 'running') AND state IN ('dispatching', 'running')
    AND claim_until_ms <= :expired_ms
  ORDER BY created_ms LIMIT :most)
RETURNING job_id, agent_id, owner, experiment_id, token_id, token_issued_ms, session_id, backend,
          shots, state, circuit_sha256, results, currency, cost_bound_cents, policy_digest,
          approval_id, vendor_id, failure, claim_fence, price_currency, rate, updated_ms,
          CASE WHEN length(program) <= CAST(:inline AS BIGINT) THEN program END AS program

-- name: dispatch_claim_orphans [postgres]
UPDATE jobs SET claimed_by = :owner, claim_fence = claim_fence + 1, claim_until_ms = :until_ms
WHERE job_id IN (
  SELECT job_id FROM jobs
  WHERE state IN ('queued', 'dispatching', 'running') AND state IN ('dispatching', 'running')
    AND claim_until_ms <= :expired_ms
  ORDER BY created_ms LIMIT :most
  FOR UPDATE SKIP LOCKED)
RETURNING job_id, agent_id, owner, experiment_id, token_id, token_issued_ms, session_id, backend,
          shots, state, circuit_sha256, results, currency, cost_bound_cents, policy_digest,
          approval_id, vendor_id, failure, claim_fence, price_currency, rate, updated_ms,
          CASE WHEN length(program) <= CAST(:inline AS BIGINT) THEN program END AS program

-- name: dispatch_expire_predecessor
-- Claims of an earlier process of this replica: it is dead, so nobody renews them.
UPDATE jobs SET claim_until_ms = 0
WHERE state IN ('queued', 'dispatching', 'running')
  AND substr(claimed_by, 1, CAST(CAST(:prefix_length AS BIGINT) AS INTEGER)) = :prefix AND claimed_by <> :owner

-- name: dispatch_free_dead
-- Claims of other replicas that have not told for a while that they live, or that nobody knows.
UPDATE jobs SET claim_until_ms = 0
WHERE state IN ('queued', 'dispatching', 'running') AND claim_until_ms > 0
  AND substr(claimed_by, 1, CAST(CAST(:prefix_length AS BIGINT) AS INTEGER)) <> :prefix
  AND NOT EXISTS (
    SELECT 1 FROM replicas r
    WHERE r.replica_id || '/' = substr(jobs.claimed_by, 1, length(r.replica_id) + 1)
      AND r.seen_ms > :silent_ms)

-- name: dispatch_program
SELECT program FROM jobs WHERE job_id = :job_id

-- name: dispatch_renew [sqlite]
UPDATE jobs SET claim_until_ms = :until_ms
WHERE job_id IN (SELECT value FROM json_each(:jobs)) AND claimed_by = :owner
  AND state IN ('queued', 'dispatching', 'running')
RETURNING job_id, failure, claim_fence

-- name: dispatch_renew [postgres]
-- Rows that somebody is changing right now are left out: waiting for them while holding others
-- could deadlock. Their claim lasts for several more renewals.
UPDATE jobs SET claim_until_ms = :until_ms
WHERE job_id IN (
  SELECT job_id FROM jobs
  WHERE job_id IN (SELECT jsonb_array_elements_text(:jobs::text::jsonb)) AND claimed_by = :owner
    AND state IN ('queued', 'dispatching', 'running')
  FOR UPDATE SKIP LOCKED)
RETURNING job_id, failure, claim_fence

-- name: dispatch_let_go [sqlite]
UPDATE jobs SET claim_until_ms = 0
WHERE job_id IN (SELECT value FROM json_each(:jobs)) AND claimed_by = :owner
  AND state IN ('queued', 'dispatching', 'running')

-- name: dispatch_let_go [postgres]
UPDATE jobs SET claim_until_ms = 0
WHERE job_id IN (
  SELECT job_id FROM jobs
  WHERE job_id IN (SELECT jsonb_array_elements_text(:jobs::text::jsonb)) AND claimed_by = :owner
    AND state IN ('queued', 'dispatching', 'running')
  FOR UPDATE SKIP LOCKED)

-- name: dispatch_postpone
-- Nothing was sent: the claim is given back and the job may be claimed again from until_ms on.
UPDATE jobs SET claim_until_ms = :until_ms
WHERE job_id = :job_id AND claimed_by = :owner AND claim_fence = :fence AND state = 'queued'

-- name: dispatch_intend
-- The last gate before a vendor call. Whatever revokes the job, and is committed, stops it here.
UPDATE jobs SET state = 'dispatching', claim_until_ms = :until_ms, updated_ms = :now_ms
WHERE job_id = :job_id AND claimed_by = :owner AND claim_fence = :fence AND state = 'queued'
  AND NOT EXISTS (
    SELECT 1 FROM revocations r
    WHERE (r.kind = 'token' AND r.subject = jobs.token_id)
       OR (r.kind = 'session' AND r.subject = jobs.session_id)
       OR (r.kind = 'agent' AND r.subject = jobs.agent_id
           AND r.created_ms >= jobs.token_issued_ms)
       OR (r.kind = 'experiment' AND r.subject = jobs.experiment_id
           AND r.created_ms >= jobs.token_issued_ms)
       OR (r.kind = 'owner' AND r.subject = jobs.owner
           AND r.created_ms >= jobs.token_issued_ms)
       OR (r.kind = 'all' AND r.created_ms >= jobs.token_issued_ms))
  AND EXISTS (
    SELECT 1 FROM experiments e
    WHERE e.experiment_id = jobs.experiment_id AND e.closed = 0
      AND e.opens_ms <= :now_ms AND e.closes_ms > :now_ms)
  AND NOT EXISTS (SELECT 1 FROM agents a WHERE a.agent_id = jobs.agent_id AND a.active = 0)

-- name: dispatch_gate
-- Why `dispatch_intend` touched nothing.
SELECT j.state, j.claimed_by, j.claim_fence,
       (SELECT count(*) FROM revocations r
        WHERE (r.kind = 'token' AND r.subject = j.token_id)
           OR (r.kind = 'session' AND r.subject = j.session_id)
           OR (r.kind = 'agent' AND r.subject = j.agent_id
               AND r.created_ms >= j.token_issued_ms)
           OR (r.kind = 'experiment' AND r.subject = j.experiment_id
               AND r.created_ms >= j.token_issued_ms)
           OR (r.kind = 'owner' AND r.subject = j.owner
               AND r.created_ms >= j.token_issued_ms)
           OR (r.kind = 'all' AND r.created_ms >= j.token_issued_ms)) AS revocations,
       (SELECT count(*) FROM experiments e
        WHERE e.experiment_id = j.experiment_id AND e.closed = 0
          AND e.opens_ms <= :now_ms AND e.closes_ms > :now_ms) AS open_experiments,
       (SELECT count(*) FROM agents a
        WHERE a.agent_id = j.agent_id AND a.active = 0) AS inactive_agents
FROM jobs j WHERE j.job_id = :job_id

-- name: dispatch_attempts
SELECT count(*) AS attempts FROM events WHERE job_id = :job_id AND action = 'job.dispatching'

-- name: dispatch_submitted
UPDATE jobs SET state = 'running', vendor_id = :vendor_id, updated_ms = :now_ms
WHERE job_id = :job_id AND claimed_by = :owner AND claim_fence = :fence
  AND state IN ('dispatching', 'running')

-- name: dispatch_requeue
-- Only after the vendor is known not to have the job.
UPDATE jobs SET state = 'queued', claim_until_ms = :until_ms, updated_ms = :now_ms
WHERE job_id = :job_id AND claimed_by = :owner AND claim_fence = :fence AND state = 'dispatching'

-- name: dispatch_resend
-- A running job that a simulator forgot, which cost nothing and is about to be sent again.
UPDATE jobs SET vendor_id = NULL, updated_ms = :now_ms
WHERE job_id = :job_id AND claimed_by = :owner AND claim_fence = :fence AND state = 'running'
  AND cost_bound_cents = 0

-- name: dispatch_finish
UPDATE jobs SET state = :state, vendor_id = COALESCE(:vendor_id, vendor_id),
                runtime_ms = :runtime_ms, failure = :failure, updated_ms = :now_ms
WHERE job_id = :job_id AND claimed_by = :owner AND claim_fence = :fence
  AND state IN ('queued', 'dispatching', 'running')

-- name: dispatch_result
INSERT INTO results (job_id, counts, memory, metadata, created_ms)
VALUES (:job_id, :counts, :memory, :metadata, :now_ms)

-- name: dispatch_withdraw
-- Ends a job that no vendor has seen. A claimant that was about to send it fails at its gate.
UPDATE jobs SET state = :state, failure = :failure, updated_ms = :now_ms
WHERE job_id = :job_id AND state IN ('parked', 'queued')

-- name: dispatch_withdraw_approval
UPDATE approvals SET state = 'withdrawn', decided_ms = :now_ms
WHERE approval_id = :approval_id AND job_id = :job_id AND state = 'pending'

-- name: dispatch_ask_stop
-- A mark that outlives this process; the claimant acts on it.
UPDATE jobs SET failure = :failure, updated_ms = :now_ms
WHERE job_id = :job_id AND state IN ('dispatching', 'running') AND failure IS NULL

-- name: dispatch_job
SELECT job_id, agent_id, owner, experiment_id, token_id, token_issued_ms, session_id, backend,
       shots, state, circuit_sha256, results, currency, cost_bound_cents, policy_digest,
       approval_id, vendor_id, failure, claim_fence, price_currency, rate,
       updated_ms, NULL AS program
FROM jobs WHERE job_id = :job_id

-- name: dispatch_revoked
-- Jobs that have not ended although something revokes them. Two arms, one per partial index.
SELECT j.job_id, j.agent_id, j.owner, j.experiment_id, j.token_id, j.token_issued_ms,
       j.session_id, j.backend, j.shots, j.state, j.circuit_sha256, j.results, j.currency,
       j.cost_bound_cents, j.policy_digest, j.approval_id, j.vendor_id, j.failure, j.claim_fence,
       j.price_currency, j.rate, j.updated_ms, NULL AS program
FROM jobs j
WHERE j.state IN ('queued', 'dispatching', 'running')
  AND (j.state = 'queued' OR j.failure IS NULL)
  AND EXISTS (
    SELECT 1 FROM revocations r
    WHERE (r.kind = 'token' AND r.subject = j.token_id)
       OR (r.kind = 'session' AND r.subject = j.session_id)
       OR (r.kind = 'agent' AND r.subject = j.agent_id
           AND r.created_ms >= j.token_issued_ms)
       OR (r.kind = 'experiment' AND r.subject = j.experiment_id
           AND r.created_ms >= j.token_issued_ms)
       OR (r.kind = 'owner' AND r.subject = j.owner
           AND r.created_ms >= j.token_issued_ms)
       OR (r.kind = 'all' AND r.created_ms >= j.token_issued_ms))
UNION ALL
SELECT j.job_id, j.agent_id, j.owner, j.experiment_id, j.token_id, j.token_issued_ms,
       j.session_id, j.backend, j.shots, j.state, j.circuit_sha256, j.results, j.currency,
       j.cost_bound_cents, j.policy_digest, j.approval_id, j.vendor_id, j.failure, j.claim_fence,
       j.price_currency, j.rate, j.updated_ms, NULL AS program
FROM jobs j
WHERE j.state = 'parked'
  AND EXISTS (
    SELECT 1 FROM revocations r
    WHERE (r.kind = 'token' AND r.subject = j.token_id)
       OR (r.kind = 'session' AND r.subject = j.session_id)
       OR (r.kind = 'agent' AND r.subject = j.agent_id
           AND r.created_ms >= j.token_issued_ms)
       OR (r.kind = 'experiment' AND r.subject = j.experiment_id
           AND r.created_ms >= j.token_issued_ms)
       OR (r.kind = 'owner' AND r.subject = j.owner
           AND r.created_ms >= j.token_issued_ms)
       OR (r.kind = 'all' AND r.created_ms >= j.token_issued_ms))
LIMIT :most

-- name: dispatch_overdue_parked
-- Parked jobs that can no longer be approved: the time for it is over, or the experiment is.
SELECT j.job_id, j.agent_id, j.owner, j.experiment_id, j.token_id, j.token_issued_ms,
       j.session_id, j.backend, j.shots, j.state, j.circuit_sha256, j.results, j.currency,
       j.cost_bound_cents, j.policy_digest, j.approval_id, j.vendor_id, j.failure, j.claim_fence,
       j.price_currency, j.rate, j.updated_ms, NULL AS program, p.state AS approval_state, p.expires_ms
FROM jobs j
JOIN experiments e ON e.experiment_id = j.experiment_id
LEFT JOIN approvals p ON p.approval_id = j.approval_id
WHERE j.state = 'parked'
  AND (p.approval_id IS NULL
    OR (p.state = 'pending' AND p.expires_ms <= :now_ms)
    OR p.state IN ('expired', 'withdrawn', 'denied')
    OR e.closed = 1 OR e.closes_ms <= :now_ms)
LIMIT :most

-- name: dispatch_expire_approval
UPDATE approvals SET state = 'expired', decided_ms = :now_ms
WHERE approval_id = :approval_id AND job_id = :job_id AND state = 'pending'

-- name: dispatch_newest_revocation
SELECT COALESCE(max(rev_seq), 0) AS newest FROM revocations
