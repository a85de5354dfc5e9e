-- People sign in with a password of ours or at an identity provider; both lead to an operator, and
-- an operator's roles are the only rights there are.

-- `password` is a salted scrypt hash; 'spent' when the one-time password has been used.
CREATE TABLE local_accounts (
  operator_id   TEXT PRIMARY KEY REFERENCES operators (operator_id),
  password      TEXT NOT NULL,
  one_time      {{bigint}} NOT NULL CHECK (one_time IN (0, 1)),
  good_until_ms {{bigint}} NOT NULL,
  failures      {{bigint}} NOT NULL CHECK (failures >= 0),
  retry_ms      {{bigint}} NOT NULL,
  changed_ms    {{bigint}} NOT NULL
) {{strict}};

-- One person of one issuer is one operator, for good: a name that changes hands at the provider
-- does not change hands here.
CREATE TABLE federated_people (
  issuer      TEXT NOT NULL,
  subject     TEXT NOT NULL,
  operator_id TEXT NOT NULL UNIQUE REFERENCES operators (operator_id),
  created_ms  {{bigint}} NOT NULL,
  seen_ms     {{bigint}} NOT NULL,
  PRIMARY KEY (issuer, subject)
) {{strict}};

-- The cookie's secret is not here, only its SHA-256: who reads the database cannot sign in.
CREATE TABLE human_sessions (
  session_id    TEXT PRIMARY KEY,
  secret_sha256 TEXT NOT NULL UNIQUE,
  operator_id   TEXT NOT NULL REFERENCES operators (operator_id),
  method        TEXT NOT NULL CHECK (method IN ('one-time', 'password', 'oidc')),
  created_ms    {{bigint}} NOT NULL,
  seen_ms       {{bigint}} NOT NULL,
  expires_ms    {{bigint}} NOT NULL,
  ended_ms      {{bigint}}
) {{strict}};
CREATE INDEX human_sessions_by_operator ON human_sessions (operator_id, created_ms);
