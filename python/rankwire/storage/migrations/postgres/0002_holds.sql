-- Legal holds: while there is one, nothing of the journal is dropped.
CREATE TABLE holds (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reason    text NOT NULL,
    placed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Whether this journal is archived; one row if it is. Then no node drops what is not.
CREATE TABLE archived (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    since  timestamptz NOT NULL DEFAULT clock_timestamp()
);
