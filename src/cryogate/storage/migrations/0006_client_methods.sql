-- Ways to prove who a client is beside keys of its own: certificates, and other issuers' tokens.
-- Such a credential is a row of client_keys, so that whatever holds for keys holds for it: one
-- client only, removed in one place, asked for by the insert of every token.
ALTER TABLE client_keys ADD COLUMN kind TEXT NOT NULL DEFAULT 'jwk'
  CHECK (kind IN ('jwk', 'certificate', 'subject', 'federated'));

-- Which key used a federated assertion first.
CREATE TABLE federated_uses (
  digest        TEXT PRIMARY KEY,
  client_id     TEXT NOT NULL,
  confirmation  TEXT NOT NULL,
  expires_ms    {{bigint}} NOT NULL
) {{strict}};
CREATE INDEX federated_uses_by_expiry ON federated_uses (expires_ms);
