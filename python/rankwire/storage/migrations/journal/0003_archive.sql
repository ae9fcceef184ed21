-- Which storage this is; one row. Names of archives are made from it.
CREATE TABLE cluster (
    single INTEGER PRIMARY KEY CHECK (single = 1),
    id     TEXT NOT NULL
) STRICT;

INSERT INTO cluster VALUES (1, lower(hex(randomblob(16))));

-- Legal holds: while there is one, nothing of the journal is dropped.
CREATE TABLE holds (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,  -- an id is never used again
    reason    TEXT NOT NULL,
    placed_ms INTEGER NOT NULL                    -- milliseconds since 1970
) STRICT;

-- Whether this journal is archived; one row if it is. Then a server drops nothing that is not.
CREATE TABLE archived (
    single   INTEGER PRIMARY KEY CHECK (single = 1),
    since_ms INTEGER NOT NULL                     -- milliseconds since 1970
) STRICT;
