-- Keys of scopes and the texts under them; see audit/seals.py.

-- name: scope_key
SELECT sealed, shredded_ms FROM scope_keys WHERE scope = :scope

-- name: scope_any
SELECT scope FROM scope_keys LIMIT 1

-- name: scope_key_add
INSERT INTO scope_keys (scope, sealed, created_ms, shredded_ms)
VALUES (:scope, :sealed, :now_ms, NULL) ON CONFLICT DO NOTHING

-- name: scopes_shredded
SELECT scope FROM scope_keys WHERE shredded_ms IS NOT NULL

-- name: scope_seal
-- A scope that was shredded meanwhile gets no new text.
INSERT INTO sealed_texts (scope, token, text)
SELECT CAST(:scope AS TEXT), CAST(:token AS TEXT), CAST(:text AS TEXT)
WHERE EXISTS (SELECT 1 FROM scope_keys WHERE scope = :scope AND shredded_ms IS NULL)
ON CONFLICT DO NOTHING

-- name: scope_texts
SELECT token, text FROM sealed_texts
WHERE scope = :scope AND token > :after ORDER BY token LIMIT :count

-- name: scope_open [sqlite]
SELECT token, text FROM sealed_texts
WHERE scope = :scope AND token IN (SELECT value FROM json_each(:tokens))

-- name: scope_open [postgres]
SELECT token, text FROM sealed_texts
WHERE scope = :scope AND token IN (SELECT jsonb_array_elements_text(:tokens::text::jsonb))

-- name: scope_circuits [sqlite]
SELECT job_id, circuit_sha256 FROM jobs WHERE job_id IN (SELECT value FROM json_each(:jobs))

-- name: scope_circuits [postgres]
SELECT job_id, circuit_sha256 FROM jobs
WHERE job_id IN (SELECT jsonb_array_elements_text(:jobs::text::jsonb))

-- Shredding an experiment: the first statement is the guard of all others.

-- name: shred_key
UPDATE scope_keys SET sealed = '', shredded_ms = :now_ms
WHERE scope = :scope AND shredded_ms IS NULL
  AND EXISTS (SELECT 1 FROM experiments WHERE experiment_id = :scope AND (closed = 1 OR closes_ms <= :now_ms))
  AND NOT EXISTS (SELECT 1 FROM jobs WHERE experiment_id = :scope
                  AND state IN ('parked', 'queued', 'dispatching', 'running'))

-- name: shred_texts
DELETE FROM sealed_texts WHERE scope = :scope

-- name: shred_experiment
-- It stays closed: what comes after would be sealed under no key.
UPDATE experiments SET closed = 1, purpose = '(shredded)', owner = '(shredded)',
                       webhook = ''
WHERE experiment_id = :scope

-- name: shred_jobs
UPDATE jobs SET program = '', circuit_sha256 = '', request_sha256 = '', metadata = '{}',
                owner = '(shredded)', failure = NULL
WHERE experiment_id = :scope

-- name: shred_results
DELETE FROM results WHERE job_id IN (SELECT job_id FROM jobs WHERE experiment_id = :scope)

-- name: shred_provenance
DELETE FROM provenance WHERE job_id IN (SELECT job_id FROM jobs WHERE experiment_id = :scope)

-- name: shred_webhooks
DELETE FROM job_webhooks WHERE job_id IN (SELECT job_id FROM jobs WHERE experiment_id = :scope)

-- name: shred_questions
DELETE FROM refused_questions WHERE experiment_id = :scope

-- name: shred_asks
DELETE FROM device_asks
WHERE approval_id IN (SELECT approval_id FROM approvals WHERE experiment_id = :scope)

-- name: shred_votes
DELETE FROM approval_votes
WHERE approval_id IN (SELECT approval_id FROM approvals WHERE experiment_id = :scope)

-- name: shred_approvals
DELETE FROM approvals WHERE experiment_id = :scope

-- name: shred_tokens
UPDATE tokens SET owner = '(shredded)' WHERE experiment_id = :scope
