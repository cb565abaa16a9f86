-- Who all nodes over this database are to others: one peer, whose key the first of them has made.
CREATE TABLE fleet_key (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    -- The secret ed25519 key: whoever reads it can pose as these nodes.
    secret bytea NOT NULL CHECK (length(secret) = 32)
);
