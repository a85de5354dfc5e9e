-- One signed in-toto statement for each result, made when it is first read; never changed.
CREATE TABLE provenance (
  job_id     TEXT PRIMARY KEY REFERENCES jobs (job_id),
  envelope   TEXT NOT NULL,
  salt       TEXT NOT NULL,
  created_ms {{bigint}} NOT NULL
) {{strict}};
