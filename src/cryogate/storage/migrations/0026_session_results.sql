-- What a session's jobs may give at most. Raw results only where that was asked for at its opening.
ALTER TABLE sessions ADD COLUMN results TEXT NOT NULL DEFAULT 'aggregates'
  CHECK (results IN ('none', 'aggregates', 'raw'));
