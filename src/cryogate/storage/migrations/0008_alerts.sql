-- Alerts: one that is not closed for each kind and subject, with a count.
CREATE TABLE alerts (
  alert_id   TEXT PRIMARY KEY,
  kind       TEXT NOT NULL,
  subject    TEXT NOT NULL,
  severity   TEXT NOT NULL CHECK (severity IN ('low', 'medium', 'high', 'critical')),
  evidence   TEXT NOT NULL,
  state      TEXT NOT NULL CHECK (state IN ('open', 'acknowledged', 'closed')),
  count      {{bigint}} NOT NULL CHECK (count > 0),
  first_ms   {{bigint}} NOT NULL,
  last_ms    {{bigint}} NOT NULL,
  handled_by TEXT,
  handled_ms {{bigint}},
  note       TEXT
) {{strict}};
CREATE UNIQUE INDEX alerts_folded ON alerts (kind, subject) WHERE state <> 'closed';
CREATE INDEX alerts_by_time ON alerts (last_ms);

-- Networks from which a client has proven itself before.
CREATE TABLE client_networks (
  client_id TEXT NOT NULL,
  network   TEXT NOT NULL,
  first_ms  {{bigint}} NOT NULL,
  PRIMARY KEY (client_id, network)
) {{strict}};
