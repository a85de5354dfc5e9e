-- Replicas, and the revocation that each of them enforces.

-- A row comes into being only here, before its replica reads the feed and accepts anything.
-- name: replica_beat
INSERT INTO replicas (replica_id, enforced_seq, bound_ms, beats, started_ms, seen_ms)
VALUES (:replica_id, :enforced_seq, :bound_ms, 1, :now_ms, :now_ms)
ON CONFLICT (replica_id) DO UPDATE
SET enforced_seq = excluded.enforced_seq, beats = replicas.beats + 1, seen_ms = excluded.seen_ms

-- name: replica_confirm
UPDATE replicas SET enforced_seq = :enforced_seq, beats = beats + 1, seen_ms = :now_ms
WHERE replica_id = :replica_id

-- name: replica_leave
DELETE FROM replicas WHERE replica_id = :replica_id

-- name: replica_forget
DELETE FROM replicas WHERE replica_id = :replica_id AND beats = :beats

-- name: replicas
SELECT replica_id, enforced_seq, bound_ms, beats, started_ms, seen_ms
FROM replicas ORDER BY replica_id
