-- Signing keys. `sealed` is only ever opened by the process's master key.

-- name: signing_key_insert [sqlite]
INSERT INTO signing_keys (kid, purpose, public_jwk, sealed, created_ms, retired_ms)
VALUES (:kid, :purpose, :public_jwk, :sealed, :created_ms, NULL)

-- Other processes look at the keys as soon as this is committed.
-- name: signing_key_insert [postgres]
WITH made AS (
  INSERT INTO signing_keys (kid, purpose, public_jwk, sealed, created_ms, retired_ms)
  VALUES (:kid, :purpose, :public_jwk, :sealed, :created_ms, NULL)
  RETURNING kid)
SELECT made.kid FROM made, pg_notify('cryogate_keys', made.kid) told

-- name: signing_keys_retire
UPDATE signing_keys SET retired_ms = :retired_ms
WHERE purpose = :purpose AND kid <> :kid AND (retired_ms IS NULL OR retired_ms > :retired_ms)

-- name: signing_keys_by_purpose
SELECT kid, purpose, public_jwk, sealed, created_ms, retired_ms
FROM signing_keys
WHERE purpose = :purpose AND (retired_ms IS NULL OR retired_ms > :after_ms)
ORDER BY created_ms, kid
