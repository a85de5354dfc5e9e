-- Texts of old entries, and heads that nobody needs; see audit/pruning.py and audit/sweeping.py.

-- name: log_pruned
SELECT pruned FROM log_pruned WHERE place = 1

-- name: log_first_young
-- The first entry that may not go yet. Walks the old ones in order and stops there.
SELECT seq FROM events
WHERE seq >= :first AND seq < :past AND timestamp_ms >= :cutoff_ms ORDER BY seq LIMIT 1

-- name: log_first_held
SELECT seq FROM events
WHERE seq >= :first AND seq < :past AND experiment_id = :experiment_id ORDER BY seq LIMIT 1

-- name: log_prune_texts
UPDATE events
SET body = '', action = '', agent_id = NULL, experiment_id = NULL, job_id = NULL
WHERE seq >= :first AND seq < :past

-- name: log_prune_mark
UPDATE log_pruned SET pruned = :past WHERE place = 1 AND pruned = :first

-- name: log_oldest_text
SELECT MIN(timestamp_ms) AS timestamp_ms FROM events WHERE seq >= :first AND seq < :past

-- name: sink_positions
SELECT name, position FROM sink_places

-- name: scopes_of_months
SELECT scope FROM scope_keys
WHERE scope >= '~' AND scope < :month AND shredded_ms IS NULL ORDER BY scope

-- name: scope_end
UPDATE scope_keys SET sealed = '', shredded_ms = :now_ms WHERE scope = :scope AND shredded_ms IS NULL

-- name: heads_oldest
SELECT MIN(created_ms) AS created_ms FROM checkpoints WHERE created_ms >= :since_ms

-- name: heads_sweep
-- Of the heads of one span the last stays.
DELETE FROM checkpoints
WHERE created_ms >= :first_ms AND created_ms < :past_ms
  AND size < (SELECT MAX(size) FROM checkpoints
              WHERE created_ms >= :first_ms AND created_ms < :past_ms)
