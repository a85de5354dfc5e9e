-- Bundles that were in force, and the order in which they were. A bundle's files never change;
-- `previous_seq` is unique, so of two activations made at once only one can follow the same one.

CREATE TABLE policy_bundles (
  digest     TEXT PRIMARY KEY,
  version    {{bigint}} NOT NULL CHECK (version >= 0),
  files      TEXT NOT NULL,
  created_ms {{bigint}} NOT NULL
) {{strict}};

CREATE TABLE policy_activations (
  activation_seq {{identity}},
  previous_seq   {{bigint}} NOT NULL UNIQUE,
  digest         TEXT NOT NULL REFERENCES policy_bundles (digest),
  version        {{bigint}} NOT NULL,
  kind           TEXT NOT NULL CHECK (kind IN ('first', 'activate', 'rollback')),
  signer         TEXT NOT NULL,
  actor          TEXT NOT NULL,
  note           TEXT NOT NULL,
  created_ms     {{bigint}} NOT NULL
) {{strict}};
