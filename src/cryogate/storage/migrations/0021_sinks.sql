-- Copies of the log in other systems: how far each has acknowledged, and what it will never take.
-- One process at a time feeds a sink; it says so until lease_ms.

CREATE TABLE sink_places (
  name     TEXT PRIMARY KEY,
  position {{bigint}} NOT NULL,
  holder   TEXT NOT NULL,
  lease_ms {{bigint}} NOT NULL
) {{strict}};

CREATE TABLE sink_dead_letters (
  sink   TEXT NOT NULL,
  seq    {{bigint}} NOT NULL,
  reason TEXT NOT NULL,
  at_ms  {{bigint}} NOT NULL,
  PRIMARY KEY (sink, seq)
) {{strict}};
