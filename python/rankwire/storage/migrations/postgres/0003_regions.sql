-- Regions: databases whose journals come to hold the same batches.

-- Whose database this is; NULL while there are no regions.
ALTER TABLE cluster ADD COLUMN region text;

-- Where the node runs; NULL for this region. Of a run in another region, `last` is NULL or the
-- number of the last batch that is here.
ALTER TABLE origins ADD COLUMN region text;

-- The same, of runs that no longer stand in origins.
ALTER TABLE vector ADD COLUMN region text;

-- What is kept of the keyed writes in the batch, for the other regions: a MessagePack list of (key,
-- request, answer). NULL if there are none.
ALTER TABLE journal ADD COLUMN answers bytea;

-- What this database has of every run of a node: batches up to that number.
CREATE VIEW reached AS
SELECT origin,
       coalesce(origins.region, vector.region, (SELECT region FROM cluster)) AS region,
       greatest(
           vector.number,
           origins.last,
           CASE WHEN origins.last IS NULL THEN
               (SELECT max(number) FROM journal WHERE journal.origin = origins.origin)
           END,
           0
       ) AS number
FROM origins FULL JOIN vector USING (origin);

-- Who is primary, as far as this region knows; one row. Every append that only the primary may do
-- looks at it, and what ends a primary's term changes it under the lock of `close_fence`.
CREATE TABLE region_state (
    single         boolean PRIMARY KEY DEFAULT true CHECK (single),
    epoch          bigint NOT NULL DEFAULT 0,      -- grows with every change of the primary
    -- In the order of its bytes: of two primaries of one epoch the later name counts.
    primary_region text COLLATE "C" NOT NULL DEFAULT '',
    is_open        boolean NOT NULL DEFAULT false, -- whether this region, as the primary, may begin
    lease_until    timestamptz NOT NULL DEFAULT '-infinity', -- and until when it may go on
    out_reason     text,                           -- why an operator has taken the region out
    stable         jsonb NOT NULL DEFAULT '{}',    -- what all regions have: {origin: number}
    -- Whether this database has ever had all that each other region had.
    was_level      boolean NOT NULL DEFAULT false
);

INSERT INTO region_state DEFAULT VALUES;

-- The other regions as the node that pulls from them sees them. Times in milliseconds since 1970.
CREATE TABLE region_links (
    region     text PRIMARY KEY,
    level_ms   bigint,            -- when this region last had all that the other had
    contact_ms bigint,            -- when the other last answered
    drift_ms   double precision,  -- how far its clock is ahead
    behind     bigint,            -- batches of this region that it did not have then
    lacking    bigint,            -- batches of it that this region did not have then
    trouble    text,
    epoch      bigint             -- that it answered with
);

CREATE FUNCTION fence_key() RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT hashtext('primary of ' || id) FROM cluster
$$;

-- Waits for the transactions that have passed the fence, and lets no other pass until this one ends.
CREATE FUNCTION close_fence() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1918987883, fence_key());
END
$$;

-- Raises RW003 unless this region is the primary of that epoch now.
CREATE FUNCTION pass_fence(its_epoch bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(1918987883, fence_key());
    -- A statement of its own: it sees all that was committed before the lock was given.
    PERFORM FROM region_state, cluster
    WHERE epoch = its_epoch AND primary_region = region AND is_open
      AND lease_until > clock_timestamp();
    IF NOT FOUND THEN
        RAISE 'this region is not the primary' USING ERRCODE = 'RW003';
    END IF;
END
$$;

-- Stores a batch of records if this region is the primary.
CREATE FUNCTION append_fenced(
    its_origin bigint, its_number bigint, its_batch bytea, its_epoch bigint
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pass_fence(its_epoch);
    INSERT INTO journal (origin, number, batch) VALUES (its_origin, its_number, its_batch);
END
$$;

-- As append_batch, with the answers in the journal as well; fenced if there is an epoch.
CREATE FUNCTION append_in_region(
    its_origin bigint, its_number bigint, its_batch bytea,
    new_keys bytea[], new_requests bytea[], new_answers bytea[], doubted bytea[],
    new_names text[], new_boards bigint[], gone bigint[],
    its_answers bytea, its_epoch bigint
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF its_epoch IS NOT NULL THEN
        PERFORM pass_fence(its_epoch);
    END IF;
    PERFORM append_batch(
        its_origin, its_number, '', new_keys, new_requests, new_answers, doubted,
        new_names, new_boards, gone
    );
    IF length(its_batch) > 0 THEN
        INSERT INTO journal (origin, number, batch, answers)
        VALUES (its_origin, its_number, its_batch, its_answers);
    END IF;
END
$$;
