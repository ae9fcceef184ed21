-- Boards that have ended: whatever is still told of them means nothing.
CREATE TABLE dropped (
    board INTEGER PRIMARY KEY
) STRICT;
