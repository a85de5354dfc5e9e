-- One schema, two drivers: {{bigint}}, {{identity}} and {{strict}} are the only places where they
-- differ. Times are UTC milliseconds since the epoch, money is integer cents, JSON is text that
-- only the program reads. Limits that must hold whatever the program does are CHECKs.

CREATE TABLE agents (
  agent_id    TEXT PRIMARY KEY,
  owner       TEXT NOT NULL,
  tier        TEXT NOT NULL,
  stage       TEXT NOT NULL CHECK (stage IN ('simulator', 'hardware')),
  active      {{bigint}} NOT NULL CHECK (active IN (0, 1)),
  roles       TEXT NOT NULL,
  attributes  TEXT NOT NULL,
  created_ms  {{bigint}} NOT NULL
) {{keyed}};

CREATE TABLE operators (
  operator_id TEXT PRIMARY KEY,
  active      {{bigint}} NOT NULL CHECK (active IN (0, 1)),
  roles       TEXT NOT NULL,
  created_ms  {{bigint}} NOT NULL
) {{strict}};

-- Public keys by which clients prove who they are. client_id is an agent id, or 'operator:' and
-- an operator id; no agent id contains a colon.
CREATE TABLE client_keys (
  client_id   TEXT NOT NULL,
  kid         TEXT NOT NULL,
  jwk         TEXT NOT NULL,
  created_ms  {{bigint}} NOT NULL,
  PRIMARY KEY (client_id, kid)
) {{keyed}};

-- One use of a client assertion (RFC 7523 section 3, point 7).
CREATE TABLE used_assertions (
  client_id   TEXT NOT NULL,
  jti         TEXT NOT NULL,
  expires_ms  {{bigint}} NOT NULL,
  PRIMARY KEY (client_id, jti)
) {{keyed}};
CREATE INDEX used_assertions_by_expiry ON used_assertions (expires_ms);

CREATE TABLE experiments (
  experiment_id    TEXT PRIMARY KEY,
  purpose          TEXT NOT NULL,
  classification   TEXT NOT NULL CHECK (classification IN ('poc', 'production', 'sensitive')),
  owner            TEXT NOT NULL,
  cost_center      TEXT NOT NULL,
  opens_ms         {{bigint}} NOT NULL,
  closes_ms        {{bigint}} NOT NULL CHECK (closes_ms > opens_ms),
  closed           {{bigint}} NOT NULL CHECK (closed IN (0, 1)),
  allowed_agents   TEXT NOT NULL,
  allowed_backends TEXT NOT NULL,
  release          TEXT NOT NULL CHECK (release IN ('none', 'aggregates', 'raw')),
  created_ms       {{bigint}} NOT NULL
) {{keyed}};

-- held is promised to jobs in flight, spent is settled. spent may pass the limit (a vendor's bill
-- above its estimate is still owed), but nothing can be held once it has.
CREATE TABLE budgets (
  experiment_id TEXT PRIMARY KEY REFERENCES experiments (experiment_id),
  currency      TEXT NOT NULL,
  limit_cents   {{bigint}} NOT NULL CHECK (limit_cents >= 0),
  held_cents    {{bigint}} NOT NULL CHECK (held_cents >= 0),
  spent_cents   {{bigint}} NOT NULL CHECK (spent_cents >= 0),
  limit_shots   {{bigint}} NOT NULL CHECK (limit_shots >= 0),
  held_shots    {{bigint}} NOT NULL CHECK (held_shots >= 0),
  spent_shots   {{bigint}} NOT NULL CHECK (spent_shots >= 0)
) {{keyed}};

-- A token's bounds and what has been used of them (held and spent together: a token's allowance
-- comes back only when a hold is released, never when it is settled).
CREATE TABLE tokens (
  token_id        TEXT PRIMARY KEY,
  agent_id        TEXT NOT NULL,
  owner           TEXT NOT NULL,
  experiment_id   TEXT NOT NULL,
  issued_ms       {{bigint}} NOT NULL,
  expires_ms      {{bigint}} NOT NULL,
  confirmation    TEXT NOT NULL,
  exp_params      TEXT NOT NULL,
  policy_digest   TEXT NOT NULL,
  max_jobs        {{bigint}} NOT NULL,
  max_total_shots {{bigint}} NOT NULL,
  max_cost_cents  {{bigint}} NOT NULL,
  used_jobs       {{bigint}} NOT NULL CHECK (used_jobs BETWEEN 0 AND max_jobs),
  used_shots      {{bigint}} NOT NULL CHECK (used_shots BETWEEN 0 AND max_total_shots),
  used_cents      {{bigint}} NOT NULL CHECK (used_cents >= 0)
) {{keyed}};
CREATE INDEX tokens_by_agent ON tokens (agent_id, issued_ms);

CREATE TABLE sessions (
  session_id    TEXT PRIMARY KEY,
  token_id      TEXT NOT NULL,
  agent_id      TEXT NOT NULL,
  experiment_id TEXT NOT NULL,
  backends      TEXT NOT NULL,
  max_jobs      {{bigint}} NOT NULL,
  used_jobs     {{bigint}} NOT NULL CHECK (used_jobs BETWEEN 0 AND max_jobs),
  opened_ms     {{bigint}} NOT NULL,
  expires_ms    {{bigint}} NOT NULL,
  state         TEXT NOT NULL CHECK (state IN ('open', 'closed'))
) {{keyed}};
CREATE INDEX sessions_by_agent ON sessions (agent_id, opened_ms);

CREATE TABLE jobs (
  job_id            TEXT PRIMARY KEY,
  agent_id          TEXT NOT NULL,
  owner             TEXT NOT NULL,
  experiment_id     TEXT NOT NULL,
  token_id          TEXT NOT NULL,
  token_issued_ms   {{bigint}} NOT NULL,
  session_id        TEXT,
  backend           TEXT NOT NULL,
  shots             {{bigint}} NOT NULL CHECK (shots > 0),
  state             TEXT NOT NULL CHECK (state IN ('parked', 'queued', 'dispatching', 'running',
                      'done', 'failed', 'cancelled', 'expired', 'revoked')),
  circuit_sha256    TEXT NOT NULL,
  program           TEXT NOT NULL,
  facts             TEXT NOT NULL,
  results           TEXT NOT NULL CHECK (results IN ('none', 'aggregates', 'raw')),
  currency          TEXT NOT NULL,
  cost_bound_cents  {{bigint}} NOT NULL CHECK (cost_bound_cents >= 0),
  cost_actual_cents {{bigint}},
  hold              TEXT NOT NULL CHECK (hold IN ('held', 'settled', 'released')),
  policy_digest     TEXT NOT NULL,
  approval_id       TEXT,
  idempotency_key   TEXT,
  request_sha256    TEXT NOT NULL,
  metadata          TEXT NOT NULL,
  vendor_id         TEXT,
  runtime_ms        {{bigint}},
  failure           TEXT,
  claimed_by        TEXT,
  claim_fence       {{bigint}} NOT NULL,
  claim_until_ms    {{bigint}} NOT NULL,
  created_ms        {{bigint}} NOT NULL,
  updated_ms        {{bigint}} NOT NULL
) {{strict}};
CREATE UNIQUE INDEX jobs_idempotency ON jobs (agent_id, idempotency_key)
  WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_by_state ON jobs (created_ms) WHERE state IN ('queued', 'dispatching', 'running');
CREATE INDEX jobs_parked ON jobs (approval_id) WHERE state = 'parked';
CREATE INDEX jobs_by_agent ON jobs (agent_id, created_ms);
CREATE INDEX jobs_by_experiment ON jobs (experiment_id, created_ms);

CREATE TABLE results (
  job_id     TEXT PRIMARY KEY REFERENCES jobs (job_id),
  counts     TEXT NOT NULL,
  memory     TEXT,
  metadata   TEXT NOT NULL,
  created_ms {{bigint}} NOT NULL
) {{keyed}};

CREATE TABLE approvals (
  approval_id   TEXT PRIMARY KEY,
  state         TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'expired', 'used',
                  'withdrawn')),
  terms         TEXT NOT NULL,
  terms_digest  TEXT NOT NULL,
  agent_id      TEXT NOT NULL,
  owner         TEXT NOT NULL,
  experiment_id TEXT NOT NULL,
  job_id        TEXT,
  reason        TEXT NOT NULL,
  requested_ms  {{bigint}} NOT NULL,
  expires_ms    {{bigint}} NOT NULL,
  decided_by    TEXT,
  decided_ms    {{bigint}},
  decision_note TEXT
) {{strict}};
CREATE INDEX approvals_by_terms ON approvals (terms_digest) WHERE state = 'approved';
CREATE INDEX approvals_by_state ON approvals (state, requested_ms);

-- rev_seq orders the feed that every process follows.
CREATE TABLE revocations (
  rev_seq    {{identity}},
  kind       TEXT NOT NULL CHECK (kind IN ('token', 'session', 'agent', 'experiment', 'owner',
               'key', 'all')),
  subject    TEXT NOT NULL,
  until_ms   {{bigint}} NOT NULL,
  reason     TEXT NOT NULL,
  revoked_by TEXT NOT NULL,
  created_ms {{bigint}} NOT NULL
) {{strict}};
CREATE INDEX revocations_by_subject ON revocations (kind, subject);

-- Private keys, sealed by the deployment's master key.
CREATE TABLE signing_keys (
  kid        TEXT PRIMARY KEY,
  purpose    TEXT NOT NULL CHECK (purpose IN ('token', 'checkpoint')),
  public_jwk TEXT NOT NULL,
  sealed     TEXT NOT NULL,
  created_ms {{bigint}} NOT NULL,
  retired_ms {{bigint}}
) {{strict}};

-- The audit log. A row is written in the transaction of the state change it describes; the
-- sequencer gives it its place (seq) and leaf hash, after which it never changes again.
CREATE TABLE events (
  event_id      {{identity}},
  seq           {{bigint}} UNIQUE,
  leaf_hash     TEXT,
  body          TEXT NOT NULL,
  action        TEXT NOT NULL,
  agent_id      TEXT,
  experiment_id TEXT,
  job_id        TEXT,
  timestamp_ms  {{bigint}} NOT NULL
) {{strict}};
CREATE INDEX events_unsequenced ON events (event_id) WHERE seq IS NULL;
CREATE INDEX events_by_job ON events (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX events_by_agent ON events (agent_id, event_id) WHERE agent_id IS NOT NULL;

-- Full nodes of the Merkle tree (RFC 6962) above the leaves: (level, position) → hash.
CREATE TABLE log_nodes (
  level    {{bigint}} NOT NULL,
  position {{bigint}} NOT NULL,
  hash     TEXT NOT NULL,
  PRIMARY KEY (level, position)
) {{strict}};

CREATE TABLE checkpoints (
  size       {{bigint}} PRIMARY KEY,
  root       TEXT NOT NULL,
  note       TEXT NOT NULL,
  created_ms {{bigint}} NOT NULL
) {{strict}};
