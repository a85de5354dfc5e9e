-- The journal of money and shots, limits of every scope, and the close of months. A month is a
-- number like 202611, a day one like 20261125, and 0 is the period without an end.

-- epoch is the state of the book of limits that this row was last told of; a reservation names the
-- epoch it knows, so it can never be made without a limit that was set meanwhile.
ALTER TABLE budgets ADD COLUMN epoch {{bigint}} NOT NULL DEFAULT 0;
ALTER TABLE budgets ADD COLUMN blocked TEXT NOT NULL DEFAULT '';
ALTER TABLE budgets ADD COLUMN soft_percent {{bigint}} NOT NULL DEFAULT 0
  CHECK (soft_percent BETWEEN 0 AND 100);
ALTER TABLE budgets ADD COLUMN told {{bigint}} NOT NULL DEFAULT 0;

CREATE TABLE budget_book (
  one         {{bigint}} PRIMARY KEY CHECK (one = 1),
  epoch       {{bigint}} NOT NULL,
  open_period {{bigint}} NOT NULL
) {{strict}};
INSERT INTO budget_book (one, epoch, open_period) VALUES (1, 0, 0);

-- A limit on what an agent, owner, cost center, token, session or experiment may spend in a span of
-- time. NULL limits nothing. The subject '*' is every subject, each by itself.
CREATE TABLE scoped_budgets (
  budget_id    TEXT PRIMARY KEY,
  scope        TEXT NOT NULL CHECK (scope IN ('experiment', 'agent', 'owner', 'cost_center',
                 'token', 'session')),
  subject      TEXT NOT NULL,
  span         TEXT NOT NULL CHECK (span IN ('day', 'month', 'total')),
  currency     TEXT NOT NULL,
  limit_cents  {{bigint}} CHECK (limit_cents >= 0),
  limit_shots  {{bigint}} CHECK (limit_shots >= 0),
  soft_percent {{bigint}} NOT NULL CHECK (soft_percent BETWEEN 0 AND 100),
  blocked      TEXT NOT NULL,
  active       {{bigint}} NOT NULL CHECK (active IN (0, 1)),
  created_ms   {{bigint}} NOT NULL
) {{strict}};
CREATE UNIQUE INDEX scoped_budgets_named ON scoped_budgets (scope, subject, span)
  WHERE active = 1;

CREATE TABLE budget_windows (
  budget_id   TEXT NOT NULL,
  subject     TEXT NOT NULL,
  period      {{bigint}} NOT NULL,
  held_cents  {{bigint}} NOT NULL CHECK (held_cents >= 0),
  spent_cents {{bigint}} NOT NULL CHECK (spent_cents >= 0),
  held_shots  {{bigint}} NOT NULL CHECK (held_shots >= 0),
  spent_shots {{bigint}} NOT NULL CHECK (spent_shots >= 0),
  told        {{bigint}} NOT NULL,
  PRIMARY KEY (budget_id, subject, period)
) {{keyed}};

CREATE INDEX budget_windows_by_period ON budget_windows (budget_id, period);

-- Which windows a job was charged to: what was held there is given back there, whatever the limits
-- have become since.
CREATE TABLE ledger_charges (
  job_id     TEXT NOT NULL,
  budget_id  TEXT NOT NULL,
  subject    TEXT NOT NULL,
  period     {{bigint}} NOT NULL,
  cost_cents {{bigint}} NOT NULL CHECK (cost_cents >= 0),
  rate_num   {{bigint}} NOT NULL CHECK (rate_num > 0),
  rate_den   {{bigint}} NOT NULL CHECK (rate_den > 0),
  PRIMARY KEY (job_id, budget_id, subject)
) {{keyed}};

-- The journal. One row is one entry: what it posts to each of an experiment's four accounts, which
-- sums to zero or is not written. Rows are never changed and never removed.
CREATE TABLE ledger_entries (
  ref             TEXT NOT NULL,
  phase           {{bigint}} NOT NULL CHECK (phase IN (0, 1)),
  kind            TEXT NOT NULL CHECK (kind IN ('grant', 'reserve', 'settle', 'release',
                    'correct')),
  period          {{bigint}} NOT NULL,
  posted_ms       {{bigint}} NOT NULL,
  experiment_id   TEXT NOT NULL,
  agent_id        TEXT NOT NULL,
  owner           TEXT NOT NULL,
  cost_center     TEXT NOT NULL,
  token_id        TEXT NOT NULL,
  session_id      TEXT,
  backend         TEXT NOT NULL,
  currency        TEXT NOT NULL,
  granted_cents   {{bigint}} NOT NULL,
  available_cents {{bigint}} NOT NULL,
  held_cents      {{bigint}} NOT NULL,
  spent_cents     {{bigint}} NOT NULL,
  granted_shots   {{bigint}} NOT NULL,
  available_shots {{bigint}} NOT NULL,
  held_shots      {{bigint}} NOT NULL,
  spent_shots     {{bigint}} NOT NULL,
  note            TEXT NOT NULL,
  corrects        TEXT,
  PRIMARY KEY (ref, phase),
  CHECK (granted_cents + available_cents + held_cents + spent_cents = 0),
  CHECK (granted_shots + available_shots + held_shots + spent_shots = 0)
) {{keyed}};
CREATE INDEX ledger_spending ON ledger_entries (period) WHERE kind IN ('settle', 'correct');
CREATE INDEX ledger_corrections ON ledger_entries (corrects) WHERE corrects IS NOT NULL;

CREATE TABLE ledger_closings (
  period      {{bigint}} NOT NULL,
  currency    TEXT NOT NULL,
  entries     {{bigint}} NOT NULL,
  spent_cents {{bigint}} NOT NULL,
  spent_shots {{bigint}} NOT NULL,
  closed_ms   {{bigint}} NOT NULL,
  closed_by   TEXT NOT NULL,
  PRIMARY KEY (period, currency)
) {{strict}};

-- Who set which limit when. Rows are only added.
CREATE TABLE budget_history (
  history_id {{identity}},
  at_ms      {{bigint}} NOT NULL,
  actor      TEXT NOT NULL,
  scope      TEXT NOT NULL,
  subject    TEXT NOT NULL,
  span       TEXT NOT NULL,
  action     TEXT NOT NULL,
  detail     TEXT NOT NULL
) {{strict}};
CREATE INDEX budget_history_by_subject ON budget_history (scope, subject, history_id);

-- What a job's price was in where that is not its budget's currency, and the rate of conversion.
ALTER TABLE jobs ADD COLUMN price_currency TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN rate TEXT NOT NULL DEFAULT '';

-- What was there before the journal enters it as it stands.
INSERT INTO ledger_entries
SELECT 'opening:' || b.experiment_id, 0, 'grant', 197001, 0, b.experiment_id, '', e.owner,
       e.cost_center, '', NULL, '', b.currency,
       0 - b.limit_cents, b.limit_cents, 0, 0, 0 - b.limit_shots, b.limit_shots, 0, 0, 'opening',
       NULL
FROM budgets b JOIN experiments e ON e.experiment_id = b.experiment_id;
INSERT INTO ledger_entries
SELECT j.job_id, 0, 'reserve', 197001, j.created_ms, j.experiment_id, j.agent_id, j.owner,
       e.cost_center, j.token_id, j.session_id, j.backend, j.currency,
       0, 0 - j.cost_bound_cents, j.cost_bound_cents, 0, 0, 0 - j.shots, j.shots, 0, 'opening',
       NULL
FROM jobs j JOIN experiments e ON e.experiment_id = j.experiment_id;
INSERT INTO ledger_entries
SELECT j.job_id, 1, CASE j.hold WHEN 'settled' THEN 'settle' ELSE 'release' END, 197001,
       j.updated_ms, j.experiment_id, j.agent_id, j.owner, e.cost_center, j.token_id,
       j.session_id, j.backend, j.currency, 0,
       j.cost_bound_cents - CASE j.hold WHEN 'settled' THEN j.cost_actual_cents ELSE 0 END,
       0 - j.cost_bound_cents,
       CASE j.hold WHEN 'settled' THEN j.cost_actual_cents ELSE 0 END, 0,
       CASE j.hold WHEN 'settled' THEN 0 ELSE j.shots END, 0 - j.shots,
       CASE j.hold WHEN 'settled' THEN j.shots ELSE 0 END, 'opening', NULL
FROM jobs j JOIN experiments e ON e.experiment_id = j.experiment_id
WHERE j.hold IN ('settled', 'released');
