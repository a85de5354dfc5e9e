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

-- Heads that a time-stamping authority has stamped.

-- name: timestamp_newest
SELECT size, at_ms FROM log_timestamps ORDER BY size DESC LIMIT 1

-- name: timestamp_put
INSERT INTO log_timestamps (size, note, token, at_ms) VALUES (:size, :note, :token, :at_ms)
ON CONFLICT DO NOTHING

-- name: timestamps_from
-- Bounded: one an hour makes this the stamps of eleven years.
SELECT size, note, token FROM log_timestamps WHERE size >= :size ORDER BY size LIMIT 100000

-- name: timestamp_over
-- The first stamp after these entries.
SELECT size, note, token FROM log_timestamps WHERE size >= :size ORDER BY size LIMIT 1
