-- Whom a job's end is told: what its agent has named for it, and what is named for its experiment.
CREATE TABLE job_webhooks (
  job_id TEXT PRIMARY KEY REFERENCES jobs (job_id),
  url    TEXT NOT NULL
) {{strict}};
ALTER TABLE experiments ADD COLUMN webhook TEXT NOT NULL DEFAULT '';
