-- The boards as of the last checkpoint. What is newer stands in the journal.
CREATE TABLE boards (
    id      INTEGER PRIMARY KEY,
    name    TEXT NOT NULL UNIQUE,
    score   TEXT NOT NULL,     -- int64 | float64
    "order" TEXT NOT NULL,     -- desc | asc
    policy  TEXT NOT NULL,     -- best | last | sum
    ties    TEXT NOT NULL,     -- first | last | member
    seed    BLOB NOT NULL,
    version INTEGER NOT NULL
) STRICT;

CREATE TABLE members (
    board      INTEGER NOT NULL,
    member     TEXT NOT NULL,
    score      ANY,            -- for people; NULL for a member that was removed
    code       INTEGER,        -- the score as an integer that sorts best first
    stamp      INTEGER,        -- when it was reached: milliseconds since the year 1, times 65536
    generation INTEGER NOT NULL,
    PRIMARY KEY (board, member)
) STRICT, WITHOUT ROWID;

-- Which batches the rows include: the last one of every origin, and where the journal goes on.
CREATE TABLE vector (
    origin INTEGER PRIMARY KEY,
    number INTEGER NOT NULL
) STRICT;

CREATE TABLE progress (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    journal_seq INTEGER NOT NULL
) STRICT;

INSERT INTO progress VALUES (1, 0);

-- The boards as an analyst wants them.
CREATE VIEW standings AS
SELECT boards.name AS board,
       row_number() OVER (
           PARTITION BY boards.id
           ORDER BY members.code,
                    CASE boards.ties WHEN 'first' THEN members.stamp
                                     WHEN 'last' THEN -members.stamp END,
                    members.member
       ) AS rank,
       members.member,
       members.score
FROM members JOIN boards ON boards.id = members.board
WHERE members.code IS NOT NULL;
