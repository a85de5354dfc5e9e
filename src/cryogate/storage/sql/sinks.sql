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

-- name: sink_dead
SELECT sink, seq, reason, at_ms FROM sink_dead_letters WHERE sink = :name ORDER BY seq LIMIT :limit

-- name: sink_dead_counts
SELECT sink, COUNT(*) AS letters FROM sink_dead_letters GROUP BY sink
