-- The journal, the windows of scoped limits, and the close of months. Entries are only ever
-- inserted. In PostgreSQL an entry comes after the update of its experiment's budget row, whose
-- lock a close takes too: a month that is closed can get no entry any more.

-- name: post_reserve
INSERT INTO ledger_entries (ref, phase, kind, period, posted_ms, experiment_id, agent_id, owner,
                            cost_center, token_id, session_id, backend, currency,
                            granted_cents, available_cents, held_cents, spent_cents,
                            granted_shots, available_shots, held_shots, spent_shots, note)
SELECT :job_id, 0, 'reserve', CASE WHEN open_period > :period THEN open_period ELSE :period END,
       :now_ms, :experiment_id, :agent_id, :owner, :cost_center, :token_id, :session_id, :backend,
       :currency, 0, 0 - CAST(:cost_cents AS BIGINT), :cost_cents, 0,
       0, 0 - CAST(:shots AS BIGINT), :shots, 0, ''
FROM budget_book

-- name: jobs_accepted [sqlite]
-- One row if all of these jobs are there: what a merged reservation checks in place of row counts.
SELECT x.found FROM (
  SELECT count(*) AS found FROM jobs WHERE job_id IN (SELECT value FROM json_each(:jobs))) x
WHERE x.found = :number

-- name: jobs_accepted [postgres]
SELECT x.found FROM (
  SELECT count(*) AS found FROM jobs
  WHERE job_id IN (SELECT jsonb_array_elements_text(:jobs::text::jsonb))) x
WHERE x.found = :number

-- name: post_settle
INSERT INTO ledger_entries (ref, phase, kind, period, posted_ms, experiment_id, agent_id, owner,
                            cost_center, token_id, session_id, backend, currency,
                            granted_cents, available_cents, held_cents, spent_cents,
                            granted_shots, available_shots, held_shots, spent_shots, note)
SELECT r.ref, 1, 'settle', CASE WHEN b.open_period > :period THEN b.open_period ELSE :period END,
       :now_ms, r.experiment_id, r.agent_id, r.owner, r.cost_center, r.token_id, r.session_id,
       r.backend, r.currency, 0, r.held_cents - CAST(:actual_cents AS BIGINT), 0 - r.held_cents,
       :actual_cents, 0, 0, 0 - r.held_shots, r.held_shots, ''
FROM ledger_entries r, budget_book b
WHERE r.ref = :job_id AND r.phase = 0 AND r.held_cents = :cost_cents AND r.held_shots = :shots

-- name: post_release
INSERT INTO ledger_entries (ref, phase, kind, period, posted_ms, experiment_id, agent_id, owner,
                            cost_center, token_id, session_id, backend, currency,
                            granted_cents, available_cents, held_cents, spent_cents,
                            granted_shots, available_shots, held_shots, spent_shots, note)
SELECT r.ref, 1, 'release', CASE WHEN b.open_period > :period THEN b.open_period ELSE :period END,
       :now_ms, r.experiment_id, r.agent_id, r.owner, r.cost_center, r.token_id, r.session_id,
       r.backend, r.currency, 0, r.held_cents, 0 - r.held_cents, 0, 0, r.held_shots,
       0 - r.held_shots, 0, ''
FROM ledger_entries r, budget_book b
WHERE r.ref = :job_id AND r.phase = 0 AND r.held_cents = :cost_cents AND r.held_shots = :shots

-- name: post_grant
-- A limit that is set moves room from the grantor to what is available, or back.
INSERT INTO ledger_entries (ref, phase, kind, period, posted_ms, experiment_id, agent_id, owner,
                            cost_center, token_id, session_id, backend, currency,
                            granted_cents, available_cents, held_cents, spent_cents,
                            granted_shots, available_shots, held_shots, spent_shots, note)
SELECT :ref, 0, 'grant', CASE WHEN b.open_period > :period THEN b.open_period ELSE :period END,
       :now_ms, e.experiment_id, '', e.owner, e.cost_center, '', NULL, '', :currency,
       0 - CAST(:cents AS BIGINT), :cents, 0, 0, 0 - CAST(:shots AS BIGINT), :shots, 0, 0, :note
FROM budget_book b, experiments e WHERE e.experiment_id = :experiment_id

-- name: correct_budget
UPDATE budgets SET spent_cents = spent_cents + :cents, spent_shots = spent_shots + :shots
WHERE experiment_id = :experiment_id AND currency = :currency

-- name: correct_charges
UPDATE budget_windows
SET spent_cents = budget_windows.spent_cents
      + (:cents / c.rate_den) * c.rate_num + ((:cents % c.rate_den) * c.rate_num) / c.rate_den,
    spent_shots = budget_windows.spent_shots + :shots
FROM ledger_charges c
WHERE c.job_id = :job_id AND c.budget_id = budget_windows.budget_id
  AND c.subject = budget_windows.subject AND c.period = budget_windows.period

-- name: post_correct
INSERT INTO ledger_entries (ref, phase, kind, period, posted_ms, experiment_id, agent_id, owner,
                            cost_center, token_id, session_id, backend, currency,
                            granted_cents, available_cents, held_cents, spent_cents,
                            granted_shots, available_shots, held_shots, spent_shots, note,
                            corrects)
SELECT :ref, 0, 'correct', CASE WHEN b.open_period > :period THEN b.open_period ELSE :period END,
       :now_ms, r.experiment_id, r.agent_id, r.owner, r.cost_center, r.token_id, r.session_id,
       r.backend, r.currency, 0, 0 - CAST(:cents AS BIGINT), 0, :cents,
       0, 0 - CAST(:shots AS BIGINT), 0, :shots, :note, r.ref
FROM ledger_entries r, budget_book b
WHERE r.ref = :job_id AND r.phase = 1 AND r.kind = 'settle'

-- name: entries_of_job
SELECT ref, phase, kind, period, posted_ms, experiment_id, currency, granted_cents,
       available_cents, held_cents, spent_cents, granted_shots, available_shots, held_shots,
       spent_shots, note
FROM ledger_entries WHERE ref = :job_id OR corrects = :job_id
ORDER BY CASE WHEN ref = :job_id THEN phase ELSE 2 END, posted_ms, ref

-- name: settled_entry
SELECT experiment_id, currency, spent_cents, spent_shots FROM ledger_entries
WHERE ref = :job_id AND phase = 1 AND kind = 'settle'

-- name: reserve_window
-- Makes the period's row when it is the first to be charged to it. The limit is in both arms.
INSERT INTO budget_windows (budget_id, subject, period, held_cents, spent_cents, held_shots,
                            spent_shots, told)
SELECT s.budget_id, :subject, :period, :cost_cents, 0, :shots, 0, 0
FROM scoped_budgets s
WHERE s.budget_id = :budget_id AND s.active = 1 AND s.blocked = '' AND s.currency = :currency
  AND (s.limit_cents IS NULL OR CAST(:cost_cents AS BIGINT) <= s.limit_cents)
  AND (s.limit_shots IS NULL OR CAST(:shots AS BIGINT) <= s.limit_shots)
ON CONFLICT (budget_id, subject, period) DO UPDATE
SET held_cents = budget_windows.held_cents + excluded.held_cents,
    held_shots = budget_windows.held_shots + excluded.held_shots
WHERE EXISTS (
  SELECT 1 FROM scoped_budgets s
  WHERE s.budget_id = excluded.budget_id
    AND (s.limit_cents IS NULL OR
         budget_windows.held_cents + budget_windows.spent_cents + excluded.held_cents
           <= s.limit_cents)
    AND (s.limit_shots IS NULL OR
         budget_windows.held_shots + budget_windows.spent_shots + excluded.held_shots
           <= s.limit_shots))

-- name: insert_charge
INSERT INTO ledger_charges (job_id, budget_id, subject, period, cost_cents, rate_num, rate_den)
VALUES (:job_id, :budget_id, :subject, :period, :cost_cents, :rate_num, :rate_den)

-- name: settle_charges
-- A figure is converted upwards: quotient and remainder apart, so that nothing passes 64 bits.
UPDATE budget_windows
SET held_cents = budget_windows.held_cents - c.cost_cents,
    spent_cents = budget_windows.spent_cents + (:actual_cents / c.rate_den) * c.rate_num
      + ((:actual_cents % c.rate_den) * c.rate_num + c.rate_den - 1) / c.rate_den,
    held_shots = budget_windows.held_shots - :shots,
    spent_shots = budget_windows.spent_shots + :shots
FROM ledger_charges c
WHERE c.job_id = :job_id AND c.budget_id = budget_windows.budget_id
  AND c.subject = budget_windows.subject AND c.period = budget_windows.period

-- name: release_charges
UPDATE budget_windows
SET held_cents = budget_windows.held_cents - c.cost_cents,
    held_shots = budget_windows.held_shots - :shots
FROM ledger_charges c
WHERE c.job_id = :job_id AND c.budget_id = budget_windows.budget_id
  AND c.subject = budget_windows.subject AND c.period = budget_windows.period

-- name: block_charged
UPDATE scoped_budgets SET blocked = :why
WHERE blocked = '' AND budget_id IN (SELECT budget_id FROM ledger_charges WHERE job_id = :job_id)

-- name: book
SELECT epoch, open_period FROM budget_book

-- name: active_scoped_budgets
SELECT budget_id, scope, subject, span, currency, limit_cents, limit_shots, soft_percent, blocked,
       created_ms
FROM scoped_budgets WHERE active = 1 ORDER BY scope, subject, span

-- name: turn_book
UPDATE budget_book SET epoch = epoch + 1 WHERE epoch = :epoch

-- name: tell_budgets
-- Every budget row, so that nothing can be reserved under the book as it was (see `reserve_budget`).
UPDATE budgets SET epoch = CAST(:epoch AS BIGINT) + 1

-- name: insert_scoped_budget
INSERT INTO scoped_budgets (budget_id, scope, subject, span, currency, limit_cents, limit_shots,
                            soft_percent, blocked, active, created_ms)
VALUES (:budget_id, :scope, :subject, :span, :currency, :limit_cents, :limit_shots,
        :soft_percent, '', 1, :now_ms)

-- name: set_scoped_limit
UPDATE scoped_budgets SET limit_cents = :limit_cents, limit_shots = :limit_shots,
                          soft_percent = :soft_percent
WHERE budget_id = :budget_id AND active = 1

-- name: retell_windows
UPDATE budget_windows SET told = 0 WHERE budget_id = :budget_id

-- name: remove_scoped_budget
UPDATE scoped_budgets SET active = 0 WHERE budget_id = :budget_id AND active = 1

-- name: unblock_scoped_budget
UPDATE scoped_budgets SET blocked = '' WHERE budget_id = :budget_id AND active = 1 AND blocked <> ''

-- name: opening_charges
-- Jobs of the present period when a limit is set are charged to it from then on, whether they hold
-- money still or may be corrected later.
INSERT INTO ledger_charges (job_id, budget_id, subject, period, cost_cents, rate_num, rate_den)
SELECT r.ref, :budget_id,
       CASE :scope WHEN 'experiment' THEN r.experiment_id WHEN 'agent' THEN r.agent_id
                   WHEN 'owner' THEN r.owner WHEN 'cost_center' THEN r.cost_center
                   WHEN 'token' THEN r.token_id ELSE r.session_id END,
       :period, r.held_cents, 1, 1
FROM ledger_entries r
WHERE r.phase = 0 AND r.kind = 'reserve' AND r.currency = :currency
  AND r.posted_ms >= :from_ms AND r.posted_ms < :until_ms
  AND CASE :scope WHEN 'experiment' THEN r.experiment_id WHEN 'agent' THEN r.agent_id
                  WHEN 'owner' THEN r.owner WHEN 'cost_center' THEN r.cost_center
                  WHEN 'token' THEN r.token_id ELSE r.session_id END
      = CASE WHEN :subject = '*'
        THEN CASE :scope WHEN 'experiment' THEN r.experiment_id WHEN 'agent' THEN r.agent_id
                         WHEN 'owner' THEN r.owner WHEN 'cost_center' THEN r.cost_center
                         WHEN 'token' THEN r.token_id ELSE r.session_id END
        ELSE :subject END

-- name: opening_windows
-- What was reserved in the present period, as it stands: held, or settled at its actual cost.
INSERT INTO budget_windows (budget_id, subject, period, held_cents, spent_cents, held_shots,
                            spent_shots, told)
SELECT CAST(:budget_id AS TEXT), x.subject, CAST(:period AS BIGINT),
       CAST(SUM(x.held_cents) AS BIGINT), CAST(SUM(x.spent_cents) AS BIGINT),
       CAST(SUM(x.held_shots) AS BIGINT), CAST(SUM(x.spent_shots) AS BIGINT), 0
FROM (
  SELECT CASE :scope WHEN 'experiment' THEN r.experiment_id WHEN 'agent' THEN r.agent_id
                     WHEN 'owner' THEN r.owner WHEN 'cost_center' THEN r.cost_center
                     WHEN 'token' THEN r.token_id ELSE r.session_id END AS subject,
         r.held_cents + COALESCE(s.held_cents, 0) AS held_cents,
         COALESCE(s.spent_cents, 0) + COALESCE(c.spent_cents, 0) AS spent_cents,
         r.held_shots + COALESCE(s.held_shots, 0) AS held_shots,
         COALESCE(s.spent_shots, 0) + COALESCE(c.spent_shots, 0) AS spent_shots
  FROM ledger_entries r LEFT JOIN ledger_entries s ON s.ref = r.ref AND s.phase = 1
  LEFT JOIN (SELECT corrects, CAST(SUM(spent_cents) AS BIGINT) AS spent_cents,
                    CAST(SUM(spent_shots) AS BIGINT) AS spent_shots
             FROM ledger_entries WHERE corrects IS NOT NULL GROUP BY corrects) c
    ON c.corrects = r.ref
  WHERE r.phase = 0 AND r.kind = 'reserve' AND r.currency = :currency
    AND r.posted_ms >= :from_ms AND r.posted_ms < :until_ms) x
WHERE x.subject <> '' AND x.subject = CASE WHEN :subject = '*' THEN x.subject ELSE :subject END
GROUP BY x.subject

-- name: windows_of_budget
SELECT subject, period, held_cents, spent_cents, held_shots, spent_shots
FROM budget_windows WHERE budget_id = :budget_id
ORDER BY period DESC, subject LIMIT :limit

-- name: window
SELECT s.blocked, COALESCE(w.held_cents, 0) AS held_cents,
       COALESCE(w.spent_cents, 0) AS spent_cents, COALESCE(w.held_shots, 0) AS held_shots,
       COALESCE(w.spent_shots, 0) AS spent_shots
FROM scoped_budgets s
LEFT JOIN budget_windows w
  ON w.budget_id = s.budget_id AND w.subject = :subject AND w.period = :period
WHERE s.budget_id = :budget_id

-- name: insert_history
INSERT INTO budget_history (at_ms, actor, scope, subject, span, action, detail)
VALUES (:now_ms, :actor, :scope, :subject, :span, :action, :detail)

-- name: history
SELECT history_id, at_ms, actor, scope, subject, span, action, detail FROM budget_history
WHERE scope = :scope AND subject = :subject AND history_id < :before
ORDER BY history_id DESC LIMIT :limit

-- name: soft_budgets
SELECT experiment_id, currency, limit_cents, held_cents, spent_cents, limit_shots, held_shots,
       spent_shots, soft_percent
FROM budgets
WHERE soft_percent > 0 AND told = 0
  AND ((held_cents + spent_cents) * 100 >= limit_cents * soft_percent
    OR (held_shots + spent_shots) * 100 >= limit_shots * soft_percent)
LIMIT 100

-- name: soft_windows
SELECT s.budget_id, s.scope, s.span, s.currency, s.limit_cents, s.limit_shots, s.soft_percent,
       w.subject, w.period, w.held_cents, w.spent_cents, w.held_shots, w.spent_shots
FROM scoped_budgets s JOIN budget_windows w ON w.budget_id = s.budget_id
WHERE s.active = 1 AND s.soft_percent > 0 AND w.told = 0 AND w.period IN (:day, :month, 0)
  AND ((w.held_cents + w.spent_cents) * 100 >= s.limit_cents * s.soft_percent
    OR (w.held_shots + w.spent_shots) * 100 >= s.limit_shots * s.soft_percent)
LIMIT 100

-- name: tell_soft_budget
UPDATE budgets SET told = 1 WHERE experiment_id = :experiment_id AND told = 0

-- name: tell_soft_window
UPDATE budget_windows SET told = 1
WHERE budget_id = :budget_id AND subject = :subject AND period = :period AND told = 0

-- name: close_book
UPDATE budget_book SET epoch = epoch + 1, open_period = :open_period
WHERE epoch = :epoch AND open_period < :open_period

-- name: insert_closing
INSERT INTO ledger_closings (period, currency, entries, spent_cents, spent_shots, closed_ms,
                             closed_by)
SELECT period, currency, count(*), CAST(SUM(spent_cents) AS BIGINT),
       CAST(SUM(spent_shots) AS BIGINT), CAST(:now_ms AS BIGINT), CAST(:actor AS TEXT)
FROM ledger_entries
WHERE kind IN ('settle', 'correct') AND period >= :from_period AND period < :open_period
GROUP BY period, currency

-- name: closings
SELECT period, currency, entries, spent_cents, spent_shots, closed_ms, closed_by
FROM ledger_closings ORDER BY period DESC, currency LIMIT 500

-- name: closings_that_differ
-- A closed month whose entries are not what they were.
SELECT x.period, x.currency FROM (
  SELECT c.period, c.currency, c.entries, c.spent_cents, c.spent_shots,
         (SELECT count(*) FROM ledger_entries e WHERE e.kind IN ('settle', 'correct')
            AND e.period = c.period AND e.currency = c.currency) AS found,
         (SELECT CAST(COALESCE(SUM(e.spent_cents), 0) AS BIGINT) FROM ledger_entries e
          WHERE e.kind IN ('settle', 'correct')
            AND e.period = c.period AND e.currency = c.currency) AS found_cents,
         (SELECT CAST(COALESCE(SUM(e.spent_shots), 0) AS BIGINT) FROM ledger_entries e
          WHERE e.kind IN ('settle', 'correct')
            AND e.period = c.period AND e.currency = c.currency) AS found_shots
  FROM ledger_closings c) x
WHERE x.entries <> x.found OR x.spent_cents <> x.found_cents OR x.spent_shots <> x.found_shots
LIMIT 100

-- name: balances_that_differ
-- The trial balance: each budget against the sum of its entries.
SELECT b.experiment_id, b.limit_cents, b.held_cents, b.spent_cents, b.limit_shots, b.held_shots,
       b.spent_shots, x.limit_cents AS entry_limit_cents, x.held_cents AS entry_held_cents,
       x.spent_cents AS entry_spent_cents, x.limit_shots AS entry_limit_shots,
       x.held_shots AS entry_held_shots, x.spent_shots AS entry_spent_shots
FROM budgets b LEFT JOIN (
  SELECT experiment_id, currency, CAST(0 - SUM(granted_cents) AS BIGINT) AS limit_cents,
         CAST(SUM(held_cents) AS BIGINT) AS held_cents,
         CAST(SUM(spent_cents) AS BIGINT) AS spent_cents,
         CAST(0 - SUM(granted_shots) AS BIGINT) AS limit_shots,
         CAST(SUM(held_shots) AS BIGINT) AS held_shots,
         CAST(SUM(spent_shots) AS BIGINT) AS spent_shots
  FROM ledger_entries GROUP BY experiment_id, currency) x
  ON x.experiment_id = b.experiment_id AND x.currency = b.currency
WHERE x.experiment_id IS NULL
   OR b.limit_cents <> x.limit_cents OR b.held_cents <> x.held_cents
   OR b.spent_cents <> x.spent_cents OR b.limit_shots <> x.limit_shots
   OR b.held_shots <> x.held_shots OR b.spent_shots <> x.spent_shots
LIMIT 100

-- name: windows_that_differ
-- What is held in a window against the jobs that were charged to it and still hold money.
SELECT x.budget_id, x.subject, x.period FROM (
  SELECT w.budget_id, w.subject, w.period, w.held_cents, w.held_shots,
         (SELECT CAST(COALESCE(SUM(c.cost_cents), 0) AS BIGINT)
          FROM ledger_charges c JOIN jobs j ON j.job_id = c.job_id
          WHERE c.budget_id = w.budget_id AND c.subject = w.subject AND c.period = w.period
            AND j.hold = 'held') AS cents,
         (SELECT CAST(COALESCE(SUM(j.shots), 0) AS BIGINT)
          FROM ledger_charges c JOIN jobs j ON j.job_id = c.job_id
          WHERE c.budget_id = w.budget_id AND c.subject = w.subject AND c.period = w.period
            AND j.hold = 'held') AS shots
  FROM budget_windows w) x
WHERE x.held_cents <> x.cents OR x.held_shots <> x.shots
LIMIT 100

-- name: usage_of_month
SELECT day, experiment_id, agent_id, owner, cost_center, backend, currency, kind, count(*) AS jobs,
       CAST(SUM(spent_cents) AS BIGINT) AS cents, CAST(SUM(spent_shots) AS BIGINT) AS shots
FROM (SELECT posted_ms / 86400000 AS day, experiment_id, agent_id, owner, cost_center, backend,
             currency, kind, spent_cents, spent_shots
      FROM ledger_entries WHERE kind IN ('settle', 'correct') AND period = :period) x
GROUP BY day, experiment_id, agent_id, owner, cost_center, backend, currency, kind
ORDER BY day, experiment_id, agent_id, owner, cost_center, backend, currency, kind
LIMIT :limit
