-- How much of an aggregated result an experiment releases, and what was decided for each job.

-- Outcomes seen fewer than min_count times stay in; at most top_k go out (0: all of them).
ALTER TABLE experiments ADD COLUMN min_count {{bigint}} NOT NULL DEFAULT 1 CHECK (min_count >= 1);
ALTER TABLE experiments ADD COLUMN top_k {{bigint}} NOT NULL DEFAULT 0 CHECK (top_k >= 0);

-- Written with the first aggregates of a job that go out, and never changed.
CREATE TABLE releases (
  job_id     TEXT PRIMARY KEY REFERENCES jobs (job_id),
  min_count  {{bigint}} NOT NULL CHECK (min_count >= 1),
  top_k      {{bigint}} NOT NULL CHECK (top_k >= 0),
  decided_ms {{bigint}} NOT NULL
) {{strict}};
