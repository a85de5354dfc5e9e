-- A request for approval that was put to one person on a device of their own.
CREATE TABLE device_asks (
  approval_id TEXT NOT NULL REFERENCES approvals (approval_id),
  operator_id TEXT NOT NULL REFERENCES operators (operator_id),
  request_id  TEXT NOT NULL,
  state       TEXT NOT NULL CHECK (state IN ('waiting', 'agreed', 'declined', 'over', 'moot')),
  interval_s  {{bigint}} NOT NULL,
  next_ms     {{bigint}} NOT NULL,
  expires_ms  {{bigint}} NOT NULL,
  PRIMARY KEY (approval_id, operator_id)
) {{strict}};
CREATE INDEX device_asks_due ON device_asks (next_ms) WHERE state = 'waiting';
