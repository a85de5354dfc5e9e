-- Entries before `pruned` have no text any more; their hashes stay. One row.
CREATE TABLE log_pruned (
  place  {{bigint}} PRIMARY KEY CHECK (place = 1),
  pruned {{bigint}} NOT NULL CHECK (pruned >= 0)
) {{strict}};
INSERT INTO log_pruned (place, pruned) VALUES (1, 0);

-- For the sweep of old heads.
CREATE INDEX checkpoints_by_time ON checkpoints (created_ms);
