-- What others have said about the log's heads: witnesses.

-- name: cosigned_head
SELECT size, note, asked_ms FROM cosigned_heads WHERE origin = :origin

-- name: cosigned_put
-- Never a smaller head than the one that is there.
INSERT INTO cosigned_heads (origin, size, note, asked_ms) VALUES (:origin, :size, :note, :asked_ms)
ON CONFLICT (origin) DO UPDATE
SET size = excluded.size, note = excluded.note, asked_ms = excluded.asked_ms
WHERE cosigned_heads.size < excluded.size

-- The second copy of the log's head, in a database of its own.

-- name: log_head
SELECT note FROM log_heads WHERE origin = :origin

-- name: log_head_first
INSERT INTO log_heads (origin, size, note) VALUES (:origin, :size, :note) ON CONFLICT DO NOTHING

-- name: log_head_advance
-- Only by who knows the present head, and only forward.
UPDATE log_heads SET size = :size, note = :note
WHERE origin = :origin AND note = :expected AND size < :size
