-- A token's place in a status list, which verifiers that are offline fetch.
CREATE TABLE status_lists (
  list_id    {{identity}},
  created_ms {{bigint}} NOT NULL
) {{strict}};

ALTER TABLE tokens ADD COLUMN status_list {{bigint}};
ALTER TABLE tokens ADD COLUMN status_place {{bigint}};
CREATE INDEX tokens_by_status ON tokens (status_list, expires_ms);
