-- What policy was asked when it refused, for explaining and replaying. Accepted jobs and issued
-- tokens need no copy: their rows say it. `question` is JSON that only the program reads.

CREATE TABLE refused_questions (
  question_id   {{identity}},
  agent_id      TEXT NOT NULL,
  experiment_id TEXT NOT NULL,
  question      TEXT NOT NULL,
  policy_digest TEXT NOT NULL,
  created_ms    {{bigint}} NOT NULL
) {{strict}};
CREATE INDEX refused_questions_by_time ON refused_questions (created_ms);
CREATE INDEX refused_questions_by_agent ON refused_questions (agent_id, question_id);
