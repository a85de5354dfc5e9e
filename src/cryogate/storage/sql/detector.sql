-- The detector follows the log, and what it finds holds agents until somebody closes the alert.

-- name: events_to_watch
SELECT seq, body FROM events
WHERE seq >= :first AND seq < :past
  AND action IN ('job.accepted', 'job.parked', 'job.refused', 'token.refused', 'session.refused',
                 'alert.raised', 'alert.closed')
ORDER BY seq

-- name: profile_of
SELECT profile FROM agent_profiles WHERE agent_id = :agent_id

-- name: profile_put
INSERT INTO agent_profiles (agent_id, profile) VALUES (:agent_id, :profile)
ON CONFLICT (agent_id) DO UPDATE SET profile = excluded.profile

-- name: alert_fold_held
-- A suspension is never weakened by a later occurrence; only closing ends it.
INSERT INTO alerts (alert_id, kind, subject, severity, evidence, state, count, first_ms, last_ms,
                    hold)
VALUES (:alert_id, :kind, :subject, :severity, :evidence, 'open', 1, :at_ms, :at_ms, :hold)
ON CONFLICT (kind, subject) WHERE state <> 'closed' DO UPDATE
SET count = alerts.count + 1, severity = excluded.severity, evidence = excluded.evidence,
    last_ms = CASE WHEN excluded.last_ms > alerts.last_ms THEN excluded.last_ms
                   ELSE alerts.last_ms END,
    hold = CASE WHEN alerts.hold = 'suspend' THEN alerts.hold
                ELSE COALESCE(excluded.hold, alerts.hold) END

-- name: alert_hold
UPDATE alerts SET hold = :hold WHERE kind = :kind AND subject = :subject AND state <> 'closed'

-- name: holds_in_force
SELECT alert_id, kind, subject, hold FROM alerts WHERE hold IS NOT NULL AND state <> 'closed'
UNION ALL
-- An agent whose vendor credential could not be ended yet (R6); it lifts itself.
SELECT lease_id AS alert_id, 'lease_not_revoked' AS kind, agent_id AS subject, 'suspend' AS hold
FROM vendor_leases WHERE state = 'revoking' AND attempts > 0 AND agent_id <> ''

-- name: jobs_in_flight [sqlite]
-- Left to itself SQLite walks all jobs there ever were, in the order of another index, to save itself
-- sorting the few that are alive.
SELECT agent_id, backend, count(*) AS jobs FROM jobs INDEXED BY jobs_by_state
WHERE state IN ('queued', 'dispatching', 'running')
GROUP BY agent_id, backend

-- name: jobs_in_flight [postgres]
SELECT agent_id, backend, count(*) AS jobs FROM jobs
WHERE state IN ('queued', 'dispatching', 'running')
GROUP BY agent_id, backend
