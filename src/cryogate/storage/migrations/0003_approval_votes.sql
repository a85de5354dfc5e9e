-- Approvals by as many people as the terms demand.

-- The human behind an account, when it is not the account's own name: two accounts with one
-- person are one voice.
ALTER TABLE operators ADD COLUMN person TEXT NOT NULL DEFAULT '';

-- version moves with every vote, withdrawal and decision: who votes names the votes it has seen.
-- prompts counts the reminders that were sent; prompt_ms is when the next one is due.
ALTER TABLE approvals ADD COLUMN quorum {{bigint}} NOT NULL DEFAULT 1
  CHECK (quorum BETWEEN 1 AND 9);
ALTER TABLE approvals ADD COLUMN approver_role TEXT NOT NULL DEFAULT 'approver';
ALTER TABLE approvals ADD COLUMN requested_by TEXT;
ALTER TABLE approvals ADD COLUMN version {{bigint}} NOT NULL DEFAULT 0;
ALTER TABLE approvals ADD COLUMN prompts {{bigint}} NOT NULL DEFAULT 0;
ALTER TABLE approvals ADD COLUMN prompt_ms {{bigint}} NOT NULL DEFAULT 0;
CREATE INDEX approvals_by_agent ON approvals (agent_id, requested_ms);
CREATE INDEX approvals_to_prompt ON approvals (prompt_ms) WHERE state = 'pending';

-- One row is one person's yes. A yes that was taken back stays, marked.
CREATE TABLE approval_votes (
  approval_id  TEXT NOT NULL REFERENCES approvals (approval_id),
  person       TEXT NOT NULL,
  operator_id  TEXT NOT NULL,
  note         TEXT NOT NULL,
  voted_ms     {{bigint}} NOT NULL,
  withdrawn_ms {{bigint}},
  PRIMARY KEY (approval_id, person)
) {{strict}};
