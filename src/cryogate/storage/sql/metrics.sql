-- What is counted when the metrics are read; never on a request.

-- name: metrics_events
-- The log is read once: each answer continues where the last one ended.
SELECT action, COUNT(*) AS events FROM events WHERE seq >= :first AND seq < :past GROUP BY action

-- name: metrics_unsequenced
SELECT COUNT(*) AS entries, MIN(timestamp_ms) AS oldest_ms FROM events WHERE seq IS NULL

-- name: metrics_first_after
SELECT timestamp_ms FROM events WHERE seq = :seq

-- name: metrics_jobs
SELECT state, COUNT(*) AS jobs FROM jobs
WHERE state IN ('queued', 'dispatching', 'running') GROUP BY state
UNION ALL
SELECT 'parked' AS state, COUNT(*) AS jobs FROM jobs WHERE state = 'parked'

-- name: metrics_budgets
SELECT currency, COUNT(*) AS budgets, SUM(CASE WHEN blocked <> '' THEN 1 ELSE 0 END) AS blocked,
       CAST(SUM(limit_cents) AS BIGINT) AS limit_cents,
       CAST(SUM(held_cents) AS BIGINT) AS held_cents,
       CAST(SUM(spent_cents) AS BIGINT) AS spent_cents
FROM budgets GROUP BY currency

-- name: metrics_alerts
SELECT severity, COUNT(*) AS alerts FROM alerts WHERE state <> 'closed' GROUP BY severity
