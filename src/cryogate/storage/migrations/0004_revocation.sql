-- What revocation needs to know of a token: the key that asked for it, the token that it was
-- delegated from, and its place in a status list. revoked_ms serializes the revocation of a token
-- with delegations from it: both need the row.
ALTER TABLE tokens ADD COLUMN client_kid TEXT NOT NULL DEFAULT '';
ALTER TABLE tokens ADD COLUMN parent_token_id TEXT;
ALTER TABLE tokens ADD COLUMN revoked_ms {{bigint}};
CREATE INDEX tokens_by_parent ON tokens (parent_token_id) WHERE parent_token_id IS NOT NULL;

-- Who must have heard of a revocation before it is in force everywhere. A replica writes its row
-- before it accepts anything, and refuses when it could not renew it within bound_ms.
CREATE TABLE replicas (
  replica_id   TEXT PRIMARY KEY,
  enforced_seq {{bigint}} NOT NULL,
  bound_ms     {{bigint}} NOT NULL,
  beats        {{bigint}} NOT NULL,
  started_ms   {{bigint}} NOT NULL,
  seen_ms      {{bigint}} NOT NULL
) {{strict}};
