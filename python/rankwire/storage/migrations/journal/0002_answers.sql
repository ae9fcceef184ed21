-- What writes with idempotency keys were answered, stored with what they changed.
CREATE TABLE answers (
    key         BLOB PRIMARY KEY,   -- hash of whose key it is and its text
    request     BLOB NOT NULL,      -- digest of what was asked for
    answer      BLOB NOT NULL,      -- a byte that tells its kind, then the JSON
    answered_ms INTEGER NOT NULL    -- milliseconds since 1970
) STRICT, WITHOUT ROWID;

CREATE INDEX answers_by_time ON answers (answered_ms);
