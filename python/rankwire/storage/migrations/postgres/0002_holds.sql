-- Legal holds: while there is one, nothing of the journal is dropped.
CREATE TABLE holds (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reason    text NOT NULL,
    placed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
