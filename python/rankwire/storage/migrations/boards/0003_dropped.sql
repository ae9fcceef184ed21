-- Boards that had ended where this storage was restored from: whatever is still told of them there means
-- nothing. A server alone has no need of it, as its journal has one order.
CREATE TABLE dropped (
    board INTEGER PRIMARY KEY
) STRICT;
