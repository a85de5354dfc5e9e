-- Used DPoP proofs, where several processes share an address. {{unlogged}}: PostgreSQL empties both
-- tables together after a crash, and the program copes (cryogate.broker.shared_proofs).
CREATE {{unlogged}} TABLE proof_place (
  only_row   {{bigint}} PRIMARY KEY CHECK (only_row = 1),
  place      TEXT NOT NULL,
  sealed     TEXT NOT NULL,
  created_ms {{bigint}} NOT NULL
) {{strict}};
CREATE {{unlogged}} TABLE proof_uses (
  digest     TEXT PRIMARY KEY,
  expires_ms {{bigint}} NOT NULL
) {{strict}};
CREATE INDEX proof_uses_by_expiry ON proof_uses (expires_ms);
