-- The audit log. An event's row is written by the driver, beside the change it describes; from
-- then on only sequence_events touches it, once.

-- name: log_unsequenced
SELECT event_id, body FROM events WHERE seq IS NULL ORDER BY event_id LIMIT :count

-- name: log_sequence [sqlite]
-- rows: [[event_id, leaf_hash], …] in log order. NOT INDEXED: looked up by key, one by one; the
-- planner would otherwise walk all waiting events for each row.
UPDATE events NOT INDEXED
SET seq = r.seq, leaf_hash = r.leaf_hash
FROM (SELECT value ->> 0 AS event_id, :first_seq + key AS seq, value ->> 1 AS leaf_hash
      FROM json_each(:rows)) AS r
WHERE events.event_id = r.event_id AND events.seq IS NULL

-- name: log_sequence [postgres]
UPDATE events
SET seq = r.seq, leaf_hash = r.leaf_hash
FROM (SELECT (value ->> 0)::bigint AS event_id, :first_seq::bigint + place - 1 AS seq,
             value ->> 1 AS leaf_hash
      FROM jsonb_array_elements(:rows::text::jsonb) WITH ORDINALITY AS e (value, place)) AS r
WHERE events.event_id = r.event_id AND events.seq IS NULL

-- One sequencer at a time: the second waits here instead of doing all the work to lose it. What keeps
-- the log from contradicting itself are the guards and unique numbers, not this. SQLite has one writer.
-- name: log_order [postgres]
SELECT 1 AS held FROM pg_advisory_xact_lock(726577)

-- name: log_order [sqlite]
SELECT 1 AS held

-- name: log_add_node
INSERT INTO log_nodes (level, position, hash) VALUES (:level, :position, :hash)

-- name: log_size
SELECT COALESCE(MAX(seq) + 1, 0) AS size FROM events

-- name: log_misnumbered
-- Rows that no honest program writes: the sequence starts at 0.
SELECT COUNT(*) AS rows FROM events WHERE seq < 0

-- name: log_leaf_hashes
SELECT seq AS position, leaf_hash AS hash FROM events
WHERE seq >= :first AND seq < :past ORDER BY seq

-- name: log_node_hashes
SELECT position, hash FROM log_nodes
WHERE level = :level AND position >= :first AND position < :past ORDER BY position

-- name: log_entries
SELECT seq, leaf_hash, body FROM events WHERE seq >= :first AND seq < :past ORDER BY seq

-- name: log_add_checkpoint
INSERT INTO checkpoints (size, root, note, created_ms) VALUES (:size, :root, :note, :now_ms)
ON CONFLICT DO NOTHING

-- name: log_newest_checkpoint
SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1

-- name: log_checkpoints
SELECT size, note FROM checkpoints WHERE size >= :first AND size < :past ORDER BY size

-- name: log_key
SELECT public_jwk, sealed FROM signing_keys WHERE kid = :kid AND purpose = 'checkpoint'

-- name: log_add_key
INSERT INTO signing_keys (kid, purpose, public_jwk, sealed, created_ms, retired_ms)
VALUES (:kid, 'checkpoint', :public_jwk, :sealed, :now_ms, NULL)

-- name: log_of_job
-- Bounded: a result can be read any number of times, and each reading is an event of the job.
SELECT seq, action, body FROM events WHERE job_id = :job_id ORDER BY event_id LIMIT 500

-- name: log_of_agent
SELECT event_id, seq, action, body FROM events
WHERE agent_id = :agent_id AND event_id > :after ORDER BY event_id LIMIT :count

-- name: log_about_job
-- What led to a job as well: its token's and its approval's events. The patterns only narrow the
-- agent's rows down; the reader compares the fields.
SELECT seq, action, body FROM events
WHERE agent_id = :agent_id
  AND (job_id = :job_id OR body LIKE :token OR body LIKE :approval)
ORDER BY event_id LIMIT 2000

-- name: log_jobs_of_circuit
SELECT job_id FROM jobs WHERE circuit_sha256 = :circuit_sha256 ORDER BY created_ms, job_id LIMIT 200
