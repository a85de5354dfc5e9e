-- People: local passwords, identities at a provider, and sessions.

-- name: local_account
SELECT a.operator_id, a.password, a.one_time, a.good_until_ms, a.failures, a.retry_ms,
       a.changed_ms, o.active, o.roles, o.created_ms
FROM local_accounts a JOIN operators o ON o.operator_id = a.operator_id
WHERE a.operator_id = :operator_id

-- name: local_accounts_any
SELECT operator_id FROM local_accounts LIMIT 1

-- name: local_account_insert
INSERT INTO local_accounts (operator_id, password, one_time, good_until_ms, failures, retry_ms,
                            changed_ms)
VALUES (:operator_id, :password, 1, :good_until_ms, 0, 0, :now_ms)

-- A new one-time password, whatever was there before.
-- name: local_account_reset
UPDATE local_accounts
SET password = :password, one_time = 1, good_until_ms = :good_until_ms, failures = 0, retry_ms = 0,
    changed_ms = :now_ms
WHERE operator_id = :operator_id

-- A try is counted before it is looked at: parallel guesses are one guess.
-- name: local_account_try
UPDATE local_accounts SET failures = failures + 1, retry_ms = :retry_ms
WHERE operator_id = :operator_id AND failures = :failures AND retry_ms <= :now_ms

-- name: local_account_signed_in
UPDATE local_accounts SET failures = 0, retry_ms = 0
WHERE operator_id = :operator_id AND password = :password AND one_time = 0

-- name: local_account_spend
UPDATE local_accounts SET failures = 0, retry_ms = 0, password = 'spent'
WHERE operator_id = :operator_id AND password = :password AND one_time = 1
  AND good_until_ms > :now_ms

-- name: local_account_set
UPDATE local_accounts
SET password = :password, one_time = 0, failures = 0, retry_ms = 0, changed_ms = :now_ms
WHERE operator_id = :operator_id AND password = :old_password

-- name: federated_person
SELECT p.operator_id, o.person, o.active, o.roles, o.created_ms
FROM federated_people p JOIN operators o ON o.operator_id = p.operator_id
WHERE p.issuer = :issuer AND p.subject = :subject

-- name: federated_person_insert
INSERT INTO federated_people (issuer, subject, operator_id, created_ms, seen_ms)
VALUES (:issuer, :subject, :operator_id, :now_ms, :now_ms)

-- name: federated_person_seen
UPDATE federated_people SET seen_ms = :now_ms
WHERE issuer = :issuer AND subject = :subject

-- The human behind the account: votes and ownership are compared by it (H3).
-- name: operator_is_person
UPDATE operators SET person = :person WHERE operator_id = :operator_id

-- name: human_session_insert
INSERT INTO human_sessions (session_id, secret_sha256, operator_id, method, created_ms, seen_ms,
                            expires_ms, ended_ms)
VALUES (:session_id, :secret_sha256, :operator_id, :method, :now_ms, :now_ms, :expires_ms, NULL)

-- name: human_session_by_secret
SELECT s.session_id, s.operator_id, s.method, s.created_ms AS began_ms, s.seen_ms, s.expires_ms,
       o.active, o.roles, o.created_ms
FROM human_sessions s JOIN operators o ON o.operator_id = s.operator_id
WHERE s.secret_sha256 = :secret_sha256 AND s.ended_ms IS NULL AND s.expires_ms > :now_ms
  AND s.seen_ms > :idle_before_ms

-- name: human_session_seen
UPDATE human_sessions SET seen_ms = :now_ms WHERE session_id = :session_id AND seen_ms < :now_ms

-- name: human_session_end
UPDATE human_sessions SET ended_ms = :now_ms
WHERE session_id = :session_id AND operator_id = :operator_id AND ended_ms IS NULL

-- name: human_sessions_end
UPDATE human_sessions SET ended_ms = :now_ms
WHERE operator_id = :operator_id AND ended_ms IS NULL

-- What is long over is forgotten when somebody signs in.
-- name: human_sessions_forget
DELETE FROM human_sessions WHERE operator_id = :operator_id AND expires_ms < :before_ms

-- name: human_sessions_open
SELECT session_id, operator_id, method, created_ms AS began_ms, seen_ms, expires_ms
FROM human_sessions
WHERE operator_id = :operator_id AND ended_ms IS NULL AND expires_ms > :now_ms
  AND seen_ms > :idle_before_ms
ORDER BY created_ms DESC, session_id DESC
LIMIT 50
