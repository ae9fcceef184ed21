-- Everything that nodes share. Times of the journal are the database's own.

-- Which database this is; one row. Names in Redis are made from it.
CREATE TABLE cluster (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    id     text NOT NULL DEFAULT replace(gen_random_uuid()::text, '-', '')
);

INSERT INTO cluster DEFAULT VALUES;

-- The runs of nodes whose batches may be in the journal.
CREATE TABLE origins (
    origin     bigint PRIMARY KEY,
    node       text NOT NULL,         -- for people: where it runs
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    proved_at  timestamptz NOT NULL DEFAULT clock_timestamp(),  -- when it last proved that it can write
    last       bigint                 -- its last batch; NULL while there may be more
);

-- Every batch of records. seq grows with every row: what a batch builds on has a smaller one.
CREATE TABLE journal (
    seq          bigint GENERATED ALWAYS AS IDENTITY,
    origin       bigint NOT NULL,
    number       bigint NOT NULL,     -- 1, 2, 3 … of that origin
    committed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    batch        bytea NOT NULL,      -- records, in the journal's format
    PRIMARY KEY (origin, number, committed_at)
) PARTITION BY RANGE (committed_at);

-- lz4 makes a batch of 10,000 scores 2.7 times smaller and its insert no slower. The other method,
-- pglz, takes 4 ms more for it, so without lz4 batches are stored as they are.
DO $$
BEGIN
    ALTER TABLE journal ALTER COLUMN batch SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    ALTER TABLE journal ALTER COLUMN batch SET STORAGE EXTERNAL;
END
$$;

CREATE INDEX journal_seq ON journal (seq);

-- What no week has room for: the clock was set, or nobody made weeks for too long.
CREATE TABLE journal_rest PARTITION OF journal DEFAULT;

-- Makes the weeks of the journal from this one on, as far as they are not there. One whose time has
-- rows in journal_rest stays there.
CREATE FUNCTION make_weeks(weeks integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    monday timestamptz;
    sunday timestamptz;
    week   text;
BEGIN
    FOR ahead IN 0 .. weeks LOOP
        monday := date_trunc('week', clock_timestamp(), 'UTC') + ahead * interval '7 days';
        sunday := monday + interval '7 days';
        week := 'journal_' || to_char(monday AT TIME ZONE 'UTC', 'YYYYMMDD');
        CONTINUE WHEN to_regclass(week) IS NOT NULL;
        CONTINUE WHEN EXISTS (
            SELECT FROM journal_rest WHERE committed_at >= monday AND committed_at < sunday
        );
        -- Attaching does not hold up those who write, which creating it as a partition would.
        EXECUTE format(
            'CREATE TABLE %I '
            '(LIKE journal INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING COMPRESSION)',
            week
        );
        EXECUTE format(
            'ALTER TABLE journal ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            week, monday, sunday
        );
    END LOOP;
END
$$;

SELECT make_weeks(4);

-- The boards as of the last checkpoint. What is newer stands in the journal.
CREATE TABLE boards (
    id             bigint PRIMARY KEY,
    name           text NOT NULL UNIQUE,
    score          text NOT NULL,     -- int64 | float64
    "order"        text NOT NULL,     -- desc | asc
    policy         text NOT NULL,     -- best | last | sum
    ties           text NOT NULL,     -- first | last | member
    seed           bytea NOT NULL,
    version        bigint NOT NULL,
    player_submits boolean NOT NULL   -- whether players may submit for themselves
);

CREATE TABLE members (
    board      bigint NOT NULL,
    member     text COLLATE "C" NOT NULL,
    score      double precision,      -- for people, see standings; NULL for a member that was removed
    code       bigint,                -- the score as an integer that sorts best first
    stamp      bigint,                -- when it was reached: milliseconds since the year 1, times 65536
    generation bigint NOT NULL,
    PRIMARY KEY (board, member)
) WITH (fillfactor = 90);             -- a changed row finds room beside its old self

-- Boards that are gone for good. What still comes for them is ignored.
CREATE TABLE dropped (
    board      bigint PRIMARY KEY,
    dropped_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Which batches the rows include: the last one of every origin. Rows here stay for ever, so that a
-- batch which comes late once more is recognised.
CREATE TABLE vector (
    origin bigint PRIMARY KEY,
    number bigint NOT NULL
);

-- Names that boards have now, checkpoint or not.
CREATE TABLE names (
    name  text COLLATE "C" PRIMARY KEY,
    board bigint NOT NULL UNIQUE
);

-- What writes with an idempotency key were answered.
CREATE TABLE answers (
    key        bytea PRIMARY KEY,     -- hash of who calls and of the text of the key
    request    bytea NOT NULL,        -- digest of the request
    answer     bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0.05);

-- Grows at its end only, so it costs little, and finds what is too old.
CREATE INDEX answers_created_at ON answers (created_at);

CREATE TABLE profiles (
    member     text COLLATE "C" PRIMARY KEY,
    name       text,
    avatar     text,
    attributes json NOT NULL,
    updated_at timestamptz NOT NULL
);

-- API keys. The secret of a key is not here: only its hash is, which cannot be turned back.
CREATE TABLE keys (
    id         text COLLATE "C" PRIMARY KEY,
    name       text NOT NULL,         -- for people
    hash       bytea NOT NULL,        -- SHA-256 of the secret
    scopes     text NOT NULL,         -- words with spaces between them
    boards     text NOT NULL,         -- names and prefixes* with spaces between them; empty for all
    created_ms bigint NOT NULL,
    revoked_ms bigint                 -- NULL while the key is good
);

-- Stores a batch with what belongs to it, all or nothing. Raises RW001 when a key has an answer
-- already, RW002 when a board has a name already. Keys and names are taken in order, so that nodes
-- which take the same ones wait for each other and never in a circle.
CREATE FUNCTION append_batch(
    its_origin bigint, its_number bigint, its_batch bytea,
    new_keys bytea[], new_requests bytea[], new_answers bytea[], doubted bytea[],
    new_names text[], new_boards bigint[], gone bigint[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    stored  bigint;
    missing bigint;
BEGIN
    INSERT INTO answers (key, request, answer)
    SELECT * FROM unnest(new_keys, new_requests, new_answers) AS given (key)
    ORDER BY given.key
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS stored = ROW_COUNT;
    IF stored < cardinality(new_keys)
        OR EXISTS (SELECT FROM answers WHERE key = ANY (doubted))
    THEN
        RAISE 'a key is known' USING ERRCODE = 'RW001';
    END IF;

    DELETE FROM names WHERE board = ANY (gone);
    -- A board that begins and ends within the batch leaves no name.
    WITH given AS (
        SELECT * FROM unnest(new_names, new_boards) AS given (name, board)
        WHERE board <> ALL (gone)
    ), taken AS (
        INSERT INTO names SELECT * FROM given ORDER BY name ON CONFLICT DO NOTHING RETURNING 1
    )
    SELECT (SELECT count(*) FROM given) - (SELECT count(*) FROM taken) INTO missing;
    IF missing > 0 THEN
        RAISE 'a name is taken' USING ERRCODE = 'RW002';
    END IF;

    IF length(its_batch) > 0 THEN
        INSERT INTO journal (origin, number, batch) VALUES (its_origin, its_number, its_batch);
    END IF;
END
$$;

-- The boards as an analyst wants them. Scores are exact: those of int64 boards come from the code.
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
       CASE WHEN boards.score = 'float64' THEN members.score::text::numeric
            WHEN boards."order" = 'asc' THEN members.code::numeric
            ELSE (~members.code)::numeric END AS score
FROM members JOIN boards ON boards.id = members.board
WHERE members.code IS NOT NULL;
