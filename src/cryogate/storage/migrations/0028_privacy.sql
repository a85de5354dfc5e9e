-- What the log only commits to. A scope is an experiment, or empty for what belongs to none. Without
-- its key none of a scope's texts can be opened, so a deleted key is a deleted text, in every copy.

CREATE TABLE scope_keys (
  scope       TEXT PRIMARY KEY,
  sealed      TEXT NOT NULL,
  created_ms  {{bigint}} NOT NULL,
  shredded_ms {{bigint}}
) {{strict}};
CREATE INDEX scopes_shredded ON scope_keys (scope) WHERE shredded_ms IS NOT NULL;

CREATE TABLE sealed_texts (
  scope  TEXT NOT NULL,
  token  TEXT NOT NULL,
  text   TEXT NOT NULL,
  PRIMARY KEY (scope, token)
) {{strict}};
