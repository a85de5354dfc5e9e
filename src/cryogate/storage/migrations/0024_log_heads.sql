-- The second copy of a log's head, when it is kept in another database than the log itself.

CREATE TABLE log_heads (
  origin TEXT PRIMARY KEY,
  size   {{bigint}} NOT NULL,
  note   TEXT NOT NULL
) {{strict}};
