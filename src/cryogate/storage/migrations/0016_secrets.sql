-- Vendors' long-lived secrets, sealed. An empty experiment is all that have none of their own.
CREATE TABLE vendor_secrets (
  scheme        TEXT NOT NULL,
  experiment_id TEXT NOT NULL,
  sealed        TEXT NOT NULL,
  version       {{bigint}} NOT NULL CHECK (version > 0),
  created_ms    {{bigint}} NOT NULL,
  changed_ms    {{bigint}} NOT NULL,
  changed_by    TEXT NOT NULL,
  PRIMARY KEY (scheme, experiment_id)
) {{strict}};

-- Leases of vendors' credentials; the credentials themselves are never stored.
CREATE TABLE vendor_leases (
  lease_id      TEXT PRIMARY KEY,
  scheme        TEXT NOT NULL,
  backend       TEXT NOT NULL,
  experiment_id TEXT NOT NULL,
  agent_id      TEXT NOT NULL,
  session_id    TEXT NOT NULL,
  holder        TEXT NOT NULL,
  handle        TEXT NOT NULL,
  state         TEXT NOT NULL CHECK (state IN ('active', 'revoking', 'revoked', 'expired', 'failed')),
  issued_ms     {{bigint}} NOT NULL,
  expires_ms    {{bigint}} NOT NULL,
  attempts      {{bigint}} NOT NULL,
  next_ms       {{bigint}} NOT NULL
) {{strict}};
CREATE INDEX vendor_leases_open ON vendor_leases (state, expires_ms)
  WHERE state IN ('active', 'revoking');
CREATE INDEX vendor_leases_by_time ON vendor_leases (issued_ms);
