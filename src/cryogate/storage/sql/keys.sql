-- Signing keys. `sealed` is only ever opened by the process's master key.

-- name: signing_key_insert
INSERT INTO signing_keys (kid, purpose, public_jwk, sealed, created_ms, retired_ms)
VALUES (:kid, :purpose, :public_jwk, :sealed, :created_ms, NULL)

-- name: signing_keys_retire
UPDATE signing_keys SET retired_ms = :retired_ms
WHERE purpose = :purpose AND kid <> :kid AND (retired_ms IS NULL OR retired_ms > :retired_ms)

-- name: signing_keys_by_purpose
SELECT kid, purpose, public_jwk, sealed, created_ms, retired_ms
FROM signing_keys
WHERE purpose = :purpose AND (retired_ms IS NULL OR retired_ms > :after_ms)
ORDER BY created_ms, kid
