-- Agents, operators and the public keys by which they prove who they are.

-- name: agent_insert
INSERT INTO agents (agent_id, owner, tier, stage, active, roles, attributes, created_ms)
VALUES (:agent_id, :owner, :tier, :stage, 1, :roles, :attributes, :created_ms)

-- An update names what it was made from, so two operators never undo each other unseen.
-- name: agent_update
UPDATE agents
SET tier = :tier, stage = :stage, active = :active, roles = :roles, attributes = :attributes
WHERE agent_id = :agent_id AND tier = :old_tier AND stage = :old_stage AND active = :old_active
  AND roles = :old_roles AND attributes = :old_attributes

-- name: agent_by_id
SELECT agent_id, owner, tier, stage, active, roles, attributes, created_ms
FROM agents WHERE agent_id = :agent_id

-- name: agents_page
SELECT agent_id, owner, tier, stage, active, roles, attributes, created_ms
FROM agents WHERE agent_id > :after ORDER BY agent_id LIMIT :limit

-- name: operator_insert
INSERT INTO operators (operator_id, active, roles, created_ms)
VALUES (:operator_id, 1, :roles, :created_ms)

-- name: operator_update
UPDATE operators SET active = :active, roles = :roles
WHERE operator_id = :operator_id AND active = :old_active AND roles = :old_roles

-- name: operator_by_id
SELECT operator_id, active, roles, created_ms FROM operators WHERE operator_id = :operator_id

-- name: operators_page
SELECT operator_id, active, roles, created_ms
FROM operators WHERE operator_id > :after ORDER BY operator_id LIMIT :limit

-- One key is one client's: a shared key would let either speak for the other.
-- name: client_key_insert
INSERT INTO client_keys (client_id, kid, jwk, created_ms)
SELECT :client_id, :kid, :jwk, :created_ms
WHERE NOT EXISTS (SELECT 1 FROM client_keys WHERE kid = :kid AND client_id <> :client_id)
  AND (SELECT COUNT(*) FROM client_keys WHERE client_id = :client_id) < :max_keys
  AND NOT EXISTS (SELECT 1 FROM revocations WHERE kind = 'key' AND subject = :kid)

-- name: client_key_delete
DELETE FROM client_keys WHERE client_id = :client_id AND kid = :kid

-- name: client_keys_by_client
SELECT kid, jwk, created_ms FROM client_keys
WHERE client_id = :client_id AND kind = 'jwk' ORDER BY created_ms, kid

-- name: client_credential_insert
INSERT INTO client_keys (client_id, kid, kind, jwk, created_ms)
SELECT :client_id, :kid, :kind, :jwk, :created_ms
WHERE NOT EXISTS (SELECT 1 FROM client_keys WHERE kid = :kid AND client_id <> :client_id)
  AND (SELECT COUNT(*) FROM client_keys WHERE client_id = :client_id) < :max_keys
  AND NOT EXISTS (SELECT 1 FROM revocations WHERE kind = 'key' AND subject = :kid)

-- name: client_credentials_by_client
SELECT kid, jwk, created_ms FROM client_keys
WHERE client_id = :client_id AND kind <> 'jwk' ORDER BY created_ms, kid

-- name: certificates_registered
SELECT kid, jwk FROM client_keys WHERE kind = 'certificate' ORDER BY kid
