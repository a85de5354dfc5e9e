-- Messages to people: followed from the log, sent in their turn, never lost and never in the way.

-- name: cursor_begin
-- A reader that is new here begins at the present end of the log, not with all of history.
INSERT INTO cursors (name, position)
SELECT CAST(:name AS TEXT), COALESCE((SELECT MAX(seq) + 1 FROM events), 0)
WHERE NOT EXISTS (SELECT 1 FROM cursors WHERE name = :name)
ON CONFLICT DO NOTHING

-- name: cursor_of
SELECT position FROM cursors WHERE name = :name

-- name: cursor_move
UPDATE cursors SET position = :position WHERE name = :name AND position = :seen

-- name: log_end
SELECT COALESCE(MAX(seq) + 1, 0) AS size FROM events

-- name: events_to_tell
SELECT seq, body FROM events
WHERE seq >= :first AND seq < :past
  AND (action LIKE 'approval.%' OR action LIKE 'alert.%' OR action LIKE 'message.%'
       OR (CAST(:jobs AS BIGINT) = 1
           AND action IN ('job.done', 'job.failed', 'job.cancelled', 'job.expired', 'job.revoked')))
ORDER BY seq

-- name: hooks_of_jobs [sqlite]
-- Which of these jobs are to be told about, and by which of the two channels.
SELECT job_id, 'hook:job' AS channel FROM job_webhooks
WHERE job_id IN (SELECT value FROM json_each(:jobs))
UNION ALL
SELECT j.job_id, 'hook:experiment' AS channel
FROM jobs j JOIN experiments e ON e.experiment_id = j.experiment_id
WHERE j.job_id IN (SELECT value FROM json_each(:jobs)) AND e.webhook <> ''

-- name: hooks_of_jobs [postgres]
SELECT job_id, 'hook:job' AS channel FROM job_webhooks
WHERE job_id IN (SELECT jsonb_array_elements_text(:jobs::text::jsonb))
UNION ALL
SELECT j.job_id, 'hook:experiment' AS channel
FROM jobs j JOIN experiments e ON e.experiment_id = j.experiment_id
WHERE j.job_id IN (SELECT jsonb_array_elements_text(:jobs::text::jsonb)) AND e.webhook <> ''

-- name: hook_of
SELECT url FROM job_webhooks
WHERE job_id = :job_id AND CAST(:channel AS TEXT) = 'hook:job'
UNION ALL
SELECT e.webhook AS url FROM jobs j JOIN experiments e ON e.experiment_id = j.experiment_id
WHERE j.job_id = :job_id AND CAST(:channel AS TEXT) = 'hook:experiment' AND e.webhook <> ''

-- name: outbox_add
-- What was said after quiet_ms is not said again.
INSERT INTO outbox (channel, about, kind, body, state, attempts, due_ms, created_ms)
SELECT CAST(:channel AS TEXT), CAST(:about AS TEXT), CAST(:kind AS TEXT), CAST(:body AS TEXT),
       'waiting', 0, CAST(:now_ms AS BIGINT), CAST(:now_ms AS BIGINT)
WHERE NOT EXISTS (SELECT 1 FROM outbox WHERE about = :about AND channel = :channel
                  AND kind = :kind AND created_ms > CAST(:quiet_ms AS BIGINT))

-- name: outbox_due
-- People come before programs, however many of those are due.
SELECT message_id, channel, about, kind, body, attempts, created_ms FROM outbox
WHERE state = 'waiting' AND due_ms <= :now_ms
ORDER BY CASE WHEN channel LIKE 'hook:%' THEN 1 ELSE 0 END, due_ms, message_id LIMIT :limit

-- name: outbox_claim
UPDATE outbox SET attempts = attempts + 1, due_ms = :lease_ms
WHERE message_id = :message_id AND state = 'waiting' AND attempts = :attempts

-- name: outbox_done
UPDATE outbox SET state = :state, trouble = :trouble, done_ms = :now_ms
WHERE message_id = :message_id AND state = 'waiting' AND attempts = :attempts

-- name: outbox_retry
UPDATE outbox SET due_ms = :due_ms, trouble = :trouble
WHERE message_id = :message_id AND state = 'waiting' AND attempts = :attempts

-- name: outbox_of
SELECT message_id, channel, about, kind, body, state, attempts, due_ms, trouble, created_ms
FROM outbox WHERE about = :about ORDER BY message_id

-- name: outbox_prune
DELETE FROM outbox WHERE state IN ('sent', 'dropped') AND done_ms < :before_ms

-- name: approvals_to_prompt
SELECT approval_id, state, terms, terms_digest, owner, job_id, reason, requested_ms, expires_ms,
       decided_by, decided_ms, decision_note, kind, quorum, approver_role, requested_by,
       COALESCE(evidence, '{}') AS evidence, version, prompts
FROM approvals
WHERE state = 'pending' AND prompt_ms <= :now_ms AND expires_ms > :now_ms
ORDER BY prompt_ms LIMIT 50

-- name: approval_prompted
UPDATE approvals SET prompts = prompts + 1, prompt_ms = :next_ms
WHERE approval_id = :approval_id AND state = 'pending' AND prompts = :prompts

-- name: approvals_run_out
-- Those of parked jobs end with their job, in the dispatcher's sweep.
SELECT approval_id, state, terms, terms_digest, owner, job_id, reason, requested_ms, expires_ms,
       decided_by, decided_ms, decision_note, kind, quorum, approver_role, requested_by,
       COALESCE(evidence, '{}') AS evidence, version
FROM approvals
WHERE state IN ('pending', 'approved') AND expires_ms <= :now_ms AND job_id IS NULL
ORDER BY expires_ms LIMIT 50

-- name: approval_run_out
UPDATE approvals SET state = 'expired', version = version + 1
WHERE approval_id = :approval_id AND state IN ('pending', 'approved') AND expires_ms <= :now_ms
