-- Every batch of records, in the order in which it was committed.
CREATE TABLE journal (
    seq          INTEGER PRIMARY KEY,  -- 1, 2, 3 … without gaps
    origin       INTEGER NOT NULL,     -- the run of a server that wrote it
    number       INTEGER NOT NULL,     -- 1, 2, 3 … of that origin
    committed_ms INTEGER NOT NULL,     -- milliseconds since 1970
    batch        BLOB NOT NULL         -- records, in the journal's format
) STRICT;

-- One row that is written to find out whether the journal can be written to. The padding makes sure
-- that there is room for more than that.
CREATE TABLE probe (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    probed_ms INTEGER NOT NULL,
    padding   BLOB NOT NULL
) STRICT;
