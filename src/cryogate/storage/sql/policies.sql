-- Policy bundles and which of them is in force: the newest activation's.

-- name: policy_bundle_insert
INSERT INTO policy_bundles (digest, version, files, created_ms)
VALUES (:digest, :version, :files, :now_ms)
ON CONFLICT (digest) DO NOTHING

-- name: policy_activation_insert
INSERT INTO policy_activations (previous_seq, digest, version, kind, signer, actor, note,
                                created_ms)
VALUES (:previous_seq, :digest, :version, :kind, :signer, :actor, :note, :now_ms)
RETURNING activation_seq

-- name: policy_newest
SELECT activation_seq, digest, version FROM policy_activations
ORDER BY activation_seq DESC LIMIT 1

-- name: policy_highest_version
SELECT COALESCE(MAX(version), 0) AS version FROM policy_activations

-- name: policy_bundle
SELECT digest, version, files FROM policy_bundles WHERE digest = :digest

-- name: policy_activations_page
SELECT activation_seq, digest, version, kind, signer, actor, note, created_ms
FROM policy_activations WHERE activation_seq < :before_seq
ORDER BY activation_seq DESC LIMIT :limit

-- name: policy_earlier
SELECT activation_seq, digest, version FROM policy_activations
WHERE version = :version ORDER BY activation_seq DESC LIMIT 1
