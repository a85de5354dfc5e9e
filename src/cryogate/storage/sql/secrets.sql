-- Vendors' secrets and the leases of them. `sealed` is only ever opened by the master key.

-- name: vendor_secret_add
INSERT INTO vendor_secrets (scheme, experiment_id, sealed, version, created_ms, changed_ms,
                            changed_by)
VALUES (:scheme, :experiment_id, :sealed, 1, :now_ms, :now_ms, :actor)

-- name: vendor_secret_rotate
UPDATE vendor_secrets
SET sealed = :sealed, version = version + 1, changed_ms = :now_ms, changed_by = :actor
WHERE scheme = :scheme AND experiment_id = :experiment_id AND version = :version

-- name: vendor_secret_remove
DELETE FROM vendor_secrets WHERE scheme = :scheme AND experiment_id = :experiment_id

-- name: vendor_secrets
SELECT scheme, experiment_id, version, created_ms, changed_ms, changed_by
FROM vendor_secrets ORDER BY scheme, experiment_id

-- name: vendor_secret_value
-- The experiment's own comes before the one for all.
SELECT scheme, experiment_id, sealed, version, created_ms, changed_ms, changed_by
FROM vendor_secrets
WHERE scheme = :scheme AND experiment_id IN (:experiment_id, '')
ORDER BY experiment_id DESC LIMIT 1

-- name: lease_cost_center
SELECT cost_center FROM experiments WHERE experiment_id = :experiment_id

-- name: lease_add
INSERT INTO vendor_leases (lease_id, scheme, backend, experiment_id, agent_id, session_id, holder,
                           handle, state, issued_ms, expires_ms, attempts, next_ms)
VALUES (:lease_id, :scheme, :backend, :experiment_id, :agent_id, :session_id, :holder,
        '', 'active', :now_ms, :expires_ms, 0, 0)

-- name: lease_minted
UPDATE vendor_leases SET handle = :handle, expires_ms = :expires_ms
WHERE lease_id = :lease_id AND state = 'active'

-- name: lease_came_late
-- A credential came when its lease had been ended already: it is to be ended too.
UPDATE vendor_leases
SET handle = :handle, expires_ms = :expires_ms, state = 'revoking', next_ms = :next_ms
WHERE lease_id = :lease_id

-- name: lease_try
-- One replica takes a try at ending it; the others find another time in the row.
UPDATE vendor_leases SET next_ms = :next_ms
WHERE lease_id = :lease_id AND state = 'revoking' AND next_ms = :seen_ms

-- name: lease_failed
UPDATE vendor_leases SET state = 'failed' WHERE lease_id = :lease_id AND state = 'active'

-- name: lease_revoking
-- On disk before the vendor is told: a crash in between is taken up by the sweep.
UPDATE vendor_leases SET state = 'revoking', next_ms = :next_ms
WHERE lease_id = :lease_id AND state = 'active'

-- name: lease_not_revoked
UPDATE vendor_leases SET attempts = attempts + 1, next_ms = :next_ms
WHERE lease_id = :lease_id AND state = 'revoking'

-- name: lease_revoked
UPDATE vendor_leases SET state = 'revoked' WHERE lease_id = :lease_id AND state = 'revoking'

-- name: lease_expired
UPDATE vendor_leases SET state = 'expired'
WHERE lease_id = :lease_id AND state IN ('active', 'revoking') AND expires_ms <= :now_ms

-- name: lease_by_id
SELECT lease_id, scheme, backend, experiment_id, agent_id, session_id, handle, state, issued_ms,
       expires_ms, attempts
FROM vendor_leases WHERE lease_id = :lease_id

-- name: leases_page
SELECT lease_id, scheme, backend, experiment_id, agent_id, session_id, handle, state, issued_ms,
       expires_ms, attempts
FROM vendor_leases WHERE (CAST(:state AS TEXT) IS NULL OR state = :state)
ORDER BY issued_ms DESC, lease_id DESC LIMIT :limit

-- name: leases_due
-- What has lapsed, and what is to be revoked and due for another try.
SELECT lease_id, scheme, backend, experiment_id, agent_id, session_id, handle, state, issued_ms,
       expires_ms, attempts, next_ms
FROM vendor_leases
WHERE (state IN ('active', 'revoking') AND expires_ms <= :now_ms)
   OR (state = 'revoking' AND next_ms <= :now_ms)
ORDER BY expires_ms LIMIT :most

-- name: leases_disown
-- One without a handle was never minted, or its process died meanwhile: it lapses.
UPDATE vendor_leases SET state = 'revoking', next_ms = :now_ms
WHERE state IN ('active', 'revoking') AND state = 'active' AND holder = :holder AND handle <> ''

-- name: leases_over [sqlite]
-- Which of these somebody else has ended, or begun to.
SELECT lease_id FROM vendor_leases
WHERE lease_id IN (SELECT value FROM json_each(:leases)) AND state <> 'active'

-- name: leases_over [postgres]
SELECT lease_id FROM vendor_leases
WHERE lease_id IN (SELECT jsonb_array_elements_text(:leases::text::jsonb)) AND state <> 'active'

-- name: leases_unneeded [sqlite]
-- What is over, of that for which leases are held: nobody may use those again.
SELECT 'session' AS kind, session_id AS name FROM sessions
WHERE session_id IN (SELECT value FROM json_each(:sessions))
  AND (state <> 'open' OR expires_ms <= :now_ms)
UNION ALL
SELECT 'experiment' AS kind, experiment_id AS name FROM experiments
WHERE experiment_id IN (SELECT value FROM json_each(:experiments))
  AND (closed = 1 OR closes_ms <= :now_ms)
UNION ALL
SELECT 'agent' AS kind, agent_id AS name FROM agents
WHERE agent_id IN (SELECT value FROM json_each(:agents)) AND active = 0

-- name: leases_unneeded [postgres]
SELECT 'session' AS kind, session_id AS name FROM sessions
WHERE session_id IN (SELECT jsonb_array_elements_text(:sessions::text::jsonb))
  AND (state <> 'open' OR expires_ms <= :now_ms)
UNION ALL
SELECT 'experiment' AS kind, experiment_id AS name FROM experiments
WHERE experiment_id IN (SELECT jsonb_array_elements_text(:experiments::text::jsonb))
  AND (closed = 1 OR closes_ms <= :now_ms)
UNION ALL
SELECT 'agent' AS kind, agent_id AS name FROM agents
WHERE agent_id IN (SELECT jsonb_array_elements_text(:agents::text::jsonb)) AND active = 0

-- name: leases_of_secret
SELECT lease_id FROM vendor_leases
WHERE state = 'active' AND scheme = :scheme
  AND (:experiment_id = '' OR experiment_id = :experiment_id)

-- name: sealed_values
-- Everything that the master key seals, for a re-key.
SELECT 'signing_key' AS place, kid AS name, '' AS part, sealed FROM signing_keys
UNION ALL
SELECT 'vendor_secret' AS place, scheme AS name, experiment_id AS part, sealed FROM vendor_secrets
UNION ALL
SELECT 'proof_place' AS place, '1' AS name, '' AS part, sealed FROM proof_place
UNION ALL
SELECT 'scope_key' AS place, scope AS name, '' AS part, sealed FROM scope_keys
WHERE shredded_ms IS NULL

-- name: signing_key_rewrap
UPDATE signing_keys SET sealed = :sealed WHERE kid = :item AND :part = '' AND sealed = :was

-- name: vendor_secret_rewrap
UPDATE vendor_secrets SET sealed = :sealed
WHERE scheme = :item AND experiment_id = :part AND sealed = :was

-- name: proof_place_rewrap
UPDATE proof_place SET sealed = :sealed WHERE :item = '1' AND :part = '' AND sealed = :was

-- name: scope_key_rewrap
UPDATE scope_keys SET sealed = :sealed WHERE scope = :item AND :part = '' AND sealed = :was
