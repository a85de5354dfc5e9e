-- One-time codes by which an agent's own machine registers a key that was made there.
CREATE TABLE invitations (
  invitation_id TEXT PRIMARY KEY,
  digest        TEXT NOT NULL,
  agent_id      TEXT NOT NULL,
  invited_by    TEXT NOT NULL,
  created_ms    {{bigint}} NOT NULL,
  expires_ms    {{bigint}} NOT NULL,
  used_ms       {{bigint}}
) {{strict}};
CREATE INDEX invitations_by_agent ON invitations (agent_id);

-- Device flow (RFC 8628): a key that waits for a person to say whose it is. Only digests of the
-- device's code are kept. interval_s grows with every poll that comes too soon.
CREATE TABLE device_enrolments (
  digest      TEXT PRIMARY KEY,
  user_code   TEXT NOT NULL UNIQUE,
  client_id   TEXT NOT NULL,
  jwk         TEXT NOT NULL,
  kid         TEXT NOT NULL,
  address     TEXT NOT NULL,
  created_ms  {{bigint}} NOT NULL,
  expires_ms  {{bigint}} NOT NULL,
  interval_s  {{bigint}} NOT NULL,
  polled_ms   {{bigint}} NOT NULL,
  state       TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'used')),
  agent_id    TEXT NOT NULL,
  decided_by  TEXT NOT NULL
) {{strict}};
CREATE INDEX device_enrolments_by_expiry ON device_enrolments (expires_ms);
