-- An approval of kind 'job' is about one job's exact terms; 'promotion' lets an agent on hardware,
-- and 'release' lets raw results out. `evidence` is what its human was shown, bound by its digest.

ALTER TABLE approvals ADD COLUMN kind TEXT NOT NULL DEFAULT 'job'
  CHECK (kind IN ('job', 'promotion', 'release'));
ALTER TABLE approvals ADD COLUMN evidence TEXT;

-- Which circuits ran, for "on a simulator first". Only finished jobs are in it, so that accepting
-- a job does not touch it.
CREATE INDEX jobs_done_by_circuit ON jobs (circuit_sha256, experiment_id) WHERE state = 'done';
