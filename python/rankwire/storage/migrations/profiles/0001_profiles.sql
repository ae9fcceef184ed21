-- What is told of a member beside its scores, the same on all boards.
CREATE TABLE profiles (
    member     TEXT PRIMARY KEY,
    name       TEXT,
    avatar     TEXT,               -- where its picture is
    attributes TEXT NOT NULL,      -- a flat JSON object
    updated_us INTEGER NOT NULL    -- microseconds since 1970
) STRICT, WITHOUT ROWID;

-- What writes with a key were answered, for those that come again. Key and request are hashes.
CREATE TABLE answers (
    key      BLOB PRIMARY KEY,
    request  BLOB NOT NULL,
    answer   BLOB NOT NULL,
    given_ms INTEGER NOT NULL      -- milliseconds since 1970
) STRICT, WITHOUT ROWID;

CREATE INDEX answers_by_age ON answers (given_ms);
