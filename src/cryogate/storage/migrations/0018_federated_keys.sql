-- Which keys used a federated assertion, each in a place of its own: a workload that starts anew with
-- the same assertion has another key.
DROP TABLE federated_uses;
CREATE TABLE federated_keys (
  digest        TEXT NOT NULL,
  place         {{bigint}} NOT NULL,
  client_id     TEXT NOT NULL,
  confirmation  TEXT NOT NULL,
  expires_ms    {{bigint}} NOT NULL,
  PRIMARY KEY (digest, place),
  UNIQUE (digest, confirmation)
) {{strict}};
CREATE INDEX federated_keys_by_expiry ON federated_keys (expires_ms);
