-- Dead letters may be asked for again: how often each was tried, and since when it waits.

ALTER TABLE sink_dead_letters ADD COLUMN tries {{bigint}} NOT NULL DEFAULT 1;
ALTER TABLE sink_dead_letters ADD COLUMN asked_ms {{bigint}};
CREATE INDEX sink_dead_letters_asked ON sink_dead_letters (sink, seq) WHERE asked_ms IS NOT NULL;
