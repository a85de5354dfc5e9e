-- Heads that a time-stamping authority has stamped (RFC 3161), and its tokens in base64.

CREATE TABLE log_timestamps (
  size  {{bigint}} PRIMARY KEY,
  note  TEXT NOT NULL,
  token TEXT NOT NULL,
  at_ms {{bigint}} NOT NULL
) {{strict}};
