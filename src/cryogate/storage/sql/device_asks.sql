-- Approvals put to people on their own devices.

-- name: device_people
-- Who can be asked: active operators that the issuer knows, with the name it knows them by.
SELECT o.operator_id, o.person, o.active, o.roles
FROM federated_people p JOIN operators o ON o.operator_id = p.operator_id
WHERE p.issuer = :issuer AND o.active = 1 AND o.person <> ''
ORDER BY o.operator_id LIMIT 50

-- name: device_asks_of
SELECT operator_id, state, expires_ms FROM device_asks WHERE approval_id = :approval_id

-- name: device_ask_put
INSERT INTO device_asks (approval_id, operator_id, request_id, state, interval_s, next_ms,
                         expires_ms)
VALUES (:approval_id, :operator_id, :request_id, 'waiting', :interval_s, :next_ms, :expires_ms)
ON CONFLICT (approval_id, operator_id) DO UPDATE
SET request_id = excluded.request_id, state = 'waiting', interval_s = excluded.interval_s,
    next_ms = excluded.next_ms, expires_ms = excluded.expires_ms

-- name: device_asks_due
SELECT approval_id, operator_id, request_id, interval_s, next_ms, expires_ms FROM device_asks
WHERE state = 'waiting' AND next_ms <= :now_ms ORDER BY next_ms LIMIT 20

-- name: device_ask_claim
UPDATE device_asks SET next_ms = :later_ms
WHERE approval_id = :approval_id AND operator_id = :operator_id AND state = 'waiting'
  AND request_id = :request_id AND next_ms = :next_ms

-- name: device_ask_again
UPDATE device_asks SET interval_s = :interval_s, next_ms = :next_ms
WHERE approval_id = :approval_id AND operator_id = :operator_id AND request_id = :request_id
  AND state = 'waiting'

-- name: device_ask_end
UPDATE device_asks SET state = :state
WHERE approval_id = :approval_id AND operator_id = :operator_id AND request_id = :request_id
  AND state = 'waiting'

-- name: device_person
SELECT operator_id FROM federated_people WHERE issuer = :issuer AND subject = :subject
