-- Profiles among regions: what was deleted is remembered for a time, as another region may still
-- have the profile, and regions ask each other for what has changed.
--
-- With now(), which is one value, the rows that are there need not be written again.
ALTER TABLE profiles
    ADD COLUMN is_deleted boolean NOT NULL DEFAULT false,
    ADD COLUMN changed_at timestamptz NOT NULL DEFAULT now();  -- when this region came to know it

ALTER TABLE profiles ALTER COLUMN changed_at SET DEFAULT clock_timestamp();

CREATE INDEX profiles_changed ON profiles (changed_at, member);
CREATE INDEX profiles_deleted ON profiles (updated_at) WHERE is_deleted;
