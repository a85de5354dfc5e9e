-- Messages to people and their systems. The audit log is the source: a reader follows it by seq
-- and writes what is to be said, together with the place it has read up to.

CREATE TABLE cursors (
  name     TEXT PRIMARY KEY,
  position {{bigint}} NOT NULL
) {{strict}};

-- due_ms is when the next try is due; whoever claims a message moves it and counts the attempt.
CREATE TABLE outbox (
  message_id {{identity}},
  channel    TEXT NOT NULL,
  about      TEXT NOT NULL,
  kind       TEXT NOT NULL,
  body       TEXT NOT NULL,
  state      TEXT NOT NULL CHECK (state IN ('waiting', 'sent', 'dropped', 'dead')),
  attempts   {{bigint}} NOT NULL CHECK (attempts >= 0),
  due_ms     {{bigint}} NOT NULL,
  trouble    TEXT,
  created_ms {{bigint}} NOT NULL,
  done_ms    {{bigint}}
) {{strict}};
CREATE INDEX outbox_due ON outbox (due_ms) WHERE state = 'waiting';
CREATE INDEX outbox_about ON outbox (about);
