-- Status lists: which there are, and the tokens in them.

-- name: status_list_open
INSERT INTO status_lists (created_ms) VALUES (:created_ms) RETURNING list_id

-- name: status_list
SELECT list_id FROM status_lists WHERE list_id = :list_id

-- name: status_lists
SELECT DISTINCT status_list AS list_id FROM tokens
WHERE status_list IS NOT NULL AND expires_ms > :now_ms ORDER BY list_id LIMIT 10000

-- name: status_tokens
SELECT status_place, token_id, agent_id, owner, experiment_id, issued_ms, confirmation
FROM tokens WHERE status_list = :list_id AND expires_ms > :now_ms
