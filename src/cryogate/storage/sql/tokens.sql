-- Issuing access tokens: what is read for the decision, and the one insert that makes it true.

-- name: experiment_for_token
SELECT e.experiment_id, e.purpose, e.classification, e.owner, e.cost_center, e.opens_ms,
       e.closes_ms, e.closed, e.allowed_agents, e.allowed_backends, e.release, e.created_ms,
       b.limit_cents - b.held_cents - b.spent_cents AS left_cents,
       b.limit_shots - b.held_shots - b.spent_shots AS left_shots
FROM experiments e JOIN budgets b ON b.experiment_id = e.experiment_id
WHERE e.experiment_id = :experiment_id

-- name: assertion_use
INSERT INTO used_assertions (client_id, jti, expires_ms) VALUES (:client_id, :jti, :expires_ms)

-- name: assertions_sweep
DELETE FROM used_assertions WHERE (client_id, jti) IN (
  SELECT client_id, jti FROM used_assertions WHERE expires_ms < :before_ms
  ORDER BY expires_ms LIMIT 200)

-- A use by a key that is known already changes nothing. A new key takes the next free place, if
-- there is one; of two at once that reach for the same place, one fails.
-- name: federated_use
INSERT INTO federated_keys (digest, place, client_id, confirmation, expires_ms)
SELECT CAST(:digest AS TEXT), u.used, CAST(:client_id AS TEXT), CAST(:confirmation AS TEXT),
       CAST(:expires_ms AS BIGINT)
FROM (SELECT COUNT(*) AS used,
             COALESCE(SUM(CASE WHEN confirmation = :confirmation THEN 1 ELSE 0 END), 0) AS known,
             COALESCE(SUM(CASE WHEN client_id <> :client_id THEN 1 ELSE 0 END), 0) AS others
      FROM federated_keys WHERE digest = :digest) u
WHERE u.others = 0 AND (u.known > 0 OR u.used < CAST(:max_keys AS BIGINT))
ON CONFLICT (digest, confirmation) DO UPDATE SET expires_ms = excluded.expires_ms

-- name: federated_sweep
DELETE FROM federated_keys WHERE digest IN (
  SELECT digest FROM federated_keys WHERE expires_ms < :before_ms ORDER BY expires_ms LIMIT 200)

-- Whether agent, key and experiment are still good is decided here once more, under locks that a
-- revocation needs too: it comes wholly before this insert, which then touches no row, or wholly
-- after it, and then finds the token (R5).
-- name: token_insert [sqlite]
INSERT INTO tokens (token_id, agent_id, owner, experiment_id, issued_ms, expires_ms, confirmation,
                    exp_params, policy_digest, max_jobs, max_total_shots, max_cost_cents,
                    used_jobs, used_shots, used_cents, client_kid, status_list, status_place)
SELECT :token_id, a.agent_id, a.owner, e.experiment_id, :issued_ms, :expires_ms, :confirmation,
       :exp_params, :policy_digest, :max_jobs, :max_total_shots, :max_cost_cents, 0, 0, 0, k.kid,
       :status_list, :status_place
FROM agents a, client_keys k, experiments e
WHERE a.agent_id = :client_id AND a.active = 1
  AND k.client_id = a.agent_id AND k.kid = :client_kid
  AND e.experiment_id = :experiment_id AND e.closed = 0
  AND e.opens_ms <= :now_ms AND e.closes_ms >= :expires_ms

-- name: token_insert [postgres]
INSERT INTO tokens (token_id, agent_id, owner, experiment_id, issued_ms, expires_ms, confirmation,
                    exp_params, policy_digest, max_jobs, max_total_shots, max_cost_cents,
                    used_jobs, used_shots, used_cents, client_kid, status_list, status_place)
SELECT :token_id, a.agent_id, a.owner, e.experiment_id, :issued_ms, :expires_ms, :confirmation,
       :exp_params, :policy_digest, :max_jobs, :max_total_shots, :max_cost_cents, 0, 0, 0, k.kid,
       :status_list, :status_place
FROM agents a, client_keys k, experiments e
WHERE a.agent_id = :client_id AND a.active = 1
  AND k.client_id = a.agent_id AND k.kid = :client_kid
  AND e.experiment_id = :experiment_id AND e.closed = 0
  AND e.opens_ms <= :now_ms AND e.closes_ms >= :expires_ms
FOR SHARE

-- A sub-agent's token. What must still be good besides: the token it comes from and the agent that
-- delegates, under locks that their revocation needs too (T9).
-- name: delegated_token_insert [sqlite]
INSERT INTO tokens (token_id, agent_id, owner, experiment_id, issued_ms, expires_ms, confirmation,
                    exp_params, policy_digest, max_jobs, max_total_shots, max_cost_cents,
                    used_jobs, used_shots, used_cents, client_kid, status_list, status_place,
                    parent_token_id)
SELECT :token_id, a.agent_id, a.owner, e.experiment_id, :issued_ms, :expires_ms, :confirmation,
       :exp_params, :policy_digest, :max_jobs, :max_total_shots, :max_cost_cents, 0, 0, 0, k.kid,
       :status_list, :status_place, p.token_id
FROM agents a, client_keys k, experiments e, tokens p, agents d
WHERE a.agent_id = :client_id AND a.active = 1
  AND k.client_id = a.agent_id AND k.kid = :client_kid
  AND d.agent_id = :parent_id AND d.active = 1
  AND p.token_id = :parent_token_id AND p.agent_id = d.agent_id AND p.revoked_ms IS NULL
  AND p.expires_ms >= :expires_ms AND p.experiment_id = e.experiment_id
  AND e.experiment_id = :experiment_id AND e.closed = 0
  AND e.opens_ms <= :now_ms AND e.closes_ms >= :expires_ms
  AND NOT EXISTS (
    SELECT 1 FROM revocations r
    WHERE r.until_ms > :now_ms
      AND ((r.kind = 'token' AND r.subject = p.token_id)
        OR (r.kind = 'key' AND r.subject IN (p.confirmation, p.client_kid, k.kid))
        OR (r.created_ms >= p.issued_ms
            AND ((r.kind = 'agent' AND r.subject = p.agent_id)
              OR (r.kind = 'owner' AND r.subject = p.owner)
              OR (r.kind = 'experiment' AND r.subject = p.experiment_id)
              OR r.kind = 'all'))))

-- name: delegated_token_insert [postgres]
INSERT INTO tokens (token_id, agent_id, owner, experiment_id, issued_ms, expires_ms, confirmation,
                    exp_params, policy_digest, max_jobs, max_total_shots, max_cost_cents,
                    used_jobs, used_shots, used_cents, client_kid, status_list, status_place,
                    parent_token_id)
SELECT :token_id, a.agent_id, a.owner, e.experiment_id, :issued_ms, :expires_ms, :confirmation,
       :exp_params, :policy_digest, :max_jobs, :max_total_shots, :max_cost_cents, 0, 0, 0, k.kid,
       :status_list, :status_place, p.token_id
FROM agents a, client_keys k, experiments e, tokens p, agents d
WHERE a.agent_id = :client_id AND a.active = 1
  AND k.client_id = a.agent_id AND k.kid = :client_kid
  AND d.agent_id = :parent_id AND d.active = 1
  AND p.token_id = :parent_token_id AND p.agent_id = d.agent_id AND p.revoked_ms IS NULL
  AND p.expires_ms >= :expires_ms AND p.experiment_id = e.experiment_id
  AND e.experiment_id = :experiment_id AND e.closed = 0
  AND e.opens_ms <= :now_ms AND e.closes_ms >= :expires_ms
  AND NOT EXISTS (
    SELECT 1 FROM revocations r
    WHERE r.until_ms > :now_ms
      AND ((r.kind = 'token' AND r.subject = p.token_id)
        OR (r.kind = 'key' AND r.subject IN (p.confirmation, p.client_kid, k.kid))
        OR (r.created_ms >= p.issued_ms
            AND ((r.kind = 'agent' AND r.subject = p.agent_id)
              OR (r.kind = 'owner' AND r.subject = p.owner)
              OR (r.kind = 'experiment' AND r.subject = p.experiment_id)
              OR r.kind = 'all'))))
FOR SHARE

-- name: operator_token_insert [sqlite]
INSERT INTO tokens (token_id, agent_id, owner, experiment_id, issued_ms, expires_ms, confirmation,
                    exp_params, policy_digest, max_jobs, max_total_shots, max_cost_cents,
                    used_jobs, used_shots, used_cents, client_kid, status_list, status_place)
SELECT :token_id, k.client_id, o.operator_id, '', :issued_ms, :expires_ms, :confirmation,
       '{}', '', 0, 0, 0, 0, 0, 0, k.kid,
       :status_list, :status_place
FROM operators o, client_keys k
WHERE o.operator_id = :operator_id AND o.active = 1
  AND k.client_id = :client_id AND k.kid = :client_kid

-- name: operator_token_insert [postgres]
INSERT INTO tokens (token_id, agent_id, owner, experiment_id, issued_ms, expires_ms, confirmation,
                    exp_params, policy_digest, max_jobs, max_total_shots, max_cost_cents,
                    used_jobs, used_shots, used_cents, client_kid, status_list, status_place)
SELECT :token_id, k.client_id, o.operator_id, '', :issued_ms, :expires_ms, :confirmation,
       '{}', '', 0, 0, 0, 0, 0, 0, k.kid,
       :status_list, :status_place
FROM operators o, client_keys k
WHERE o.operator_id = :operator_id AND o.active = 1
  AND k.client_id = :client_id AND k.kid = :client_kid
FOR SHARE

-- name: token_by_id
SELECT token_id, agent_id, owner, experiment_id, issued_ms, expires_ms, confirmation, exp_params,
       policy_digest, max_jobs, max_total_shots, max_cost_cents, used_jobs, used_shots, used_cents
FROM tokens WHERE token_id = :token_id

-- name: tokens_by_agent
SELECT token_id, agent_id, owner, experiment_id, issued_ms, expires_ms, confirmation, exp_params,
       policy_digest, max_jobs, max_total_shots, max_cost_cents, used_jobs, used_shots, used_cents
FROM tokens WHERE agent_id = :agent_id AND issued_ms <= :before_ms
ORDER BY issued_ms DESC, token_id LIMIT :limit
