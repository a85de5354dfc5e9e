-- What others have said about the log's heads: witnesses.

-- name: cosigned_head
SELECT size, note, asked_ms FROM cosigned_heads WHERE origin = :origin

-- name: cosigned_put
-- Never a smaller head than the one that is there.
INSERT INTO cosigned_heads (origin, size, note, asked_ms) VALUES (:origin, :size, :note, :asked_ms)
ON CONFLICT (origin) DO UPDATE
SET size = excluded.size, note = excluded.note, asked_ms = excluded.asked_ms
WHERE cosigned_heads.size < excluded.size
