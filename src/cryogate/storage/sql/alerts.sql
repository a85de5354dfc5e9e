-- Alerts, folded by kind and subject, and the networks that clients are known from.

-- name: alert_fold
INSERT INTO alerts (alert_id, kind, subject, severity, evidence, state, count, first_ms, last_ms)
VALUES (:alert_id, :kind, :subject, :severity, :evidence, 'open', :count, :first_ms, :last_ms)
ON CONFLICT (kind, subject) WHERE state <> 'closed' DO UPDATE
SET count = alerts.count + excluded.count, severity = excluded.severity,
    evidence = excluded.evidence,
    last_ms = CASE WHEN excluded.last_ms > alerts.last_ms THEN excluded.last_ms
                   ELSE alerts.last_ms END

-- name: alert_by_id
SELECT alert_id, kind, subject, severity, evidence, state, count, first_ms, last_ms, handled_by,
       handled_ms, note
FROM alerts WHERE alert_id = :alert_id

-- name: alerts_page
SELECT alert_id, kind, subject, severity, evidence, state, count, first_ms, last_ms, handled_by,
       handled_ms, note
FROM alerts
WHERE (state = :state OR (CAST(:state AS TEXT) IS NULL AND state <> 'closed'))
  AND (last_ms < :before_ms OR (last_ms = :before_ms AND alert_id < :before_id))
ORDER BY last_ms DESC, alert_id DESC LIMIT :limit

-- name: alert_acknowledge
UPDATE alerts SET state = 'acknowledged', handled_by = :handled_by, handled_ms = :handled_ms,
                  note = :note
WHERE alert_id = :alert_id AND state = 'open'

-- name: alert_close
UPDATE alerts SET state = 'closed', handled_by = :handled_by, handled_ms = :handled_ms,
                  note = :note
WHERE alert_id = :alert_id AND state <> 'closed'

-- name: client_networks
SELECT network FROM client_networks WHERE client_id = :client_id ORDER BY first_ms LIMIT :limit

-- name: client_network_add
INSERT INTO client_networks (client_id, network, first_ms) VALUES (:client_id, :network, :first_ms)
ON CONFLICT (client_id, network) DO NOTHING
