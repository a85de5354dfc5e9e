-- What others have said about this log's heads. Every row is verified again when it is read.

CREATE TABLE cosigned_heads (
  origin   TEXT PRIMARY KEY,
  size     {{bigint}} NOT NULL,
  note     TEXT NOT NULL,
  asked_ms {{bigint}} NOT NULL
) {{strict}};
