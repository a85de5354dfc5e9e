-- What each agent usually does, and what an alert does to its agent until somebody closes it.

CREATE TABLE agent_profiles (
  agent_id TEXT PRIMARY KEY,
  profile  TEXT NOT NULL
) {{strict}};

ALTER TABLE alerts ADD COLUMN hold TEXT CHECK (hold IN ('require_approval', 'suspend'));
CREATE INDEX alerts_holding ON alerts (subject) WHERE hold IS NOT NULL AND state <> 'closed';
