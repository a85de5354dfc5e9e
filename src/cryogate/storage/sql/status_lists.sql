-- Status lists: which there are, and the tokens in them.

-- name: status_list_open
INSERT INTO status_lists (created_ms) VALUES (:created_ms) RETURNING list_id

-- name: status_list
SELECT list_id FROM status_lists WHERE list_id = :list_id

-- name: status_lists
SELECT l.list_id FROM status_lists l
WHERE EXISTS (SELECT 1 FROM tokens t WHERE t.status_list = l.list_id AND t.expires_ms > :now_ms)
ORDER BY l.list_id LIMIT 10000

-- The places of tokens that something revokes, as `RevocationView.revoked` would say. It begins
-- with the revocations, which are few, and not with the tokens, which are many; only one of an
-- owner, an experiment, a key or everything looks at the whole list.
-- name: status_revoked
SELECT t.status_place
FROM revocations r JOIN tokens t ON t.token_id = r.subject
WHERE r.kind = 'token' AND r.until_ms > :now_ms AND t.status_list = :list_id
UNION
SELECT t.status_place
FROM revocations r JOIN tokens t ON t.agent_id = r.subject AND t.issued_ms <= r.created_ms
WHERE r.kind = 'agent' AND r.until_ms > :now_ms
  AND t.status_list = :list_id AND t.expires_ms > :now_ms
UNION
SELECT t.status_place
FROM revocations r JOIN tokens t ON t.status_list = :list_id AND t.expires_ms > :now_ms
WHERE r.until_ms > :now_ms AND r.kind IN ('owner', 'experiment', 'key', 'all')
  AND ((r.kind = 'key' AND r.subject = t.confirmation)
    OR (t.issued_ms <= r.created_ms
        AND ((r.kind = 'owner' AND r.subject = t.owner)
          OR (r.kind = 'experiment' AND r.subject = t.experiment_id)
          OR r.kind = 'all')))
