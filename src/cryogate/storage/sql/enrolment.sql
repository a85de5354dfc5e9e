-- How new keys come to agents: one-time codes, the device flow, and an agent's own rotation.

-- name: invitation_insert
INSERT INTO invitations (invitation_id, digest, agent_id, invited_by, created_ms, expires_ms, used_ms)
SELECT :invitation_id, :digest, :agent_id, :invited_by, :created_ms, :expires_ms, NULL
WHERE (SELECT COUNT(*) FROM invitations
       WHERE agent_id = :agent_id AND used_ms IS NULL AND expires_ms > :created_ms) < :most

-- name: invitation_by_id
SELECT invitation_id, digest, agent_id, expires_ms, used_ms
FROM invitations WHERE invitation_id = :invitation_id

-- Single use is decided here: of several at once, one finds the code unused. An agent that was
-- disabled meanwhile gets no key.
-- name: invitation_use
UPDATE invitations SET used_ms = :now_ms
WHERE invitation_id = :invitation_id AND used_ms IS NULL AND expires_ms > :now_ms
  AND EXISTS (SELECT 1 FROM agents a WHERE a.agent_id = invitations.agent_id AND a.active = 1)

-- name: client_key_replace
DELETE FROM client_keys WHERE client_id = :client_id AND kid = :kid AND kind = 'jwk'

-- name: device_insert
INSERT INTO device_enrolments (digest, user_code, client_id, jwk, kid, address, created_ms,
                               expires_ms, interval_s, polled_ms, state, agent_id, decided_by)
SELECT :digest, :user_code, :client_id, :jwk, :kid, :address, :created_ms,
       :expires_ms, :interval_s, :created_ms, 'pending', '', ''
WHERE (SELECT COUNT(*) FROM device_enrolments
       WHERE state = 'pending' AND expires_ms > :created_ms) < :most

-- name: device_by_digest
SELECT digest, user_code, client_id, jwk, kid, address, created_ms, expires_ms, interval_s,
       polled_ms, state, agent_id, decided_by
FROM device_enrolments WHERE digest = :digest

-- name: device_by_user_code
SELECT digest, user_code, client_id, jwk, kid, address, created_ms, expires_ms, interval_s,
       polled_ms, state, agent_id, decided_by
FROM device_enrolments
WHERE user_code = :user_code AND state = 'pending' AND expires_ms > :now_ms

-- name: devices_pending
SELECT digest, user_code, client_id, jwk, kid, address, created_ms, expires_ms, interval_s,
       polled_ms, state, agent_id, decided_by
FROM device_enrolments WHERE state = 'pending' AND expires_ms > :now_ms
ORDER BY created_ms, digest LIMIT :limit

-- name: device_polled
UPDATE device_enrolments SET polled_ms = :now_ms
WHERE digest = :digest AND polled_ms + interval_s * 1000 <= :now_ms

-- name: device_slow_down
UPDATE device_enrolments
SET polled_ms = :now_ms,
    interval_s = CASE WHEN interval_s < :most_s THEN interval_s + 5 ELSE interval_s END
WHERE digest = :digest

-- name: device_decide
UPDATE device_enrolments SET state = :state, agent_id = :agent_id, decided_by = :decided_by
WHERE digest = :digest AND state = 'pending' AND expires_ms > :now_ms

-- name: device_use
UPDATE device_enrolments SET state = 'used'
WHERE digest = :digest AND state = 'approved' AND expires_ms > :now_ms

-- name: devices_sweep
DELETE FROM device_enrolments WHERE digest IN (
  SELECT digest FROM device_enrolments WHERE expires_ms < :before_ms ORDER BY expires_ms LIMIT 200)
