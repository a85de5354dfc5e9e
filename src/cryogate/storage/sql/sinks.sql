-- Copies of the log in other systems. The log is the source and is only read.

-- name: sink_begin
INSERT INTO sink_places (name, position, holder, lease_ms) VALUES (:name, :position, '', 0)
ON CONFLICT DO NOTHING

-- name: sink_place
SELECT position, holder, lease_ms FROM sink_places WHERE name = :name

-- name: sink_places
SELECT name, position FROM sink_places ORDER BY name

-- name: sink_hold
UPDATE sink_places SET holder = :holder, lease_ms = :lease_ms
WHERE name = :name AND (holder = :holder OR lease_ms <= :now_ms)

-- name: sink_move
UPDATE sink_places SET position = :position, lease_ms = :lease_ms
WHERE name = :name AND holder = :holder AND position = :seen

-- name: sink_bury
INSERT INTO sink_dead_letters (sink, seq, reason, at_ms) VALUES (:name, :seq, :reason, :now_ms)
ON CONFLICT DO NOTHING

-- name: sink_letters
SELECT sink, seq, reason, at_ms, tries, asked_ms FROM sink_dead_letters
WHERE sink = :name AND seq > :after ORDER BY seq LIMIT :limit

-- name: sink_letters_asked
SELECT seq FROM sink_dead_letters
WHERE sink = :name AND asked_ms IS NOT NULL ORDER BY seq LIMIT :limit

-- name: sink_letter_ask
UPDATE sink_dead_letters SET asked_ms = :now_ms WHERE sink = :name AND seq = :seq

-- name: sink_letters_ask
UPDATE sink_dead_letters SET asked_ms = :now_ms WHERE sink = :name

-- name: sink_letter_forget
DELETE FROM sink_dead_letters WHERE sink = :name AND seq = :seq

-- name: sink_letter_delivered
-- Only whoever feeds the sink may say so.
DELETE FROM sink_dead_letters WHERE sink = :name AND seq = :seq
  AND EXISTS (SELECT 1 FROM sink_places WHERE name = :name AND holder = :holder)

-- name: sink_letter_refused
UPDATE sink_dead_letters SET reason = :reason, tries = tries + 1, asked_ms = NULL
WHERE sink = :name AND seq = :seq
  AND EXISTS (SELECT 1 FROM sink_places WHERE name = :name AND holder = :holder)

-- name: sink_dead_counts
SELECT sink, COUNT(*) AS letters FROM sink_dead_letters GROUP BY sink
