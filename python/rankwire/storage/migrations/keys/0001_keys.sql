-- API keys. The secret of a key is not here: only its hash is, which cannot be turned back.
CREATE TABLE keys (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,     -- for people
    hash       BLOB NOT NULL,     -- SHA-256 of the secret
    scopes     TEXT NOT NULL,     -- words with spaces between them
    boards     TEXT NOT NULL,     -- names and prefixes* with spaces between them; empty for all
    created_ms INTEGER NOT NULL,
    revoked_ms INTEGER            -- NULL while the key is good
) STRICT;
