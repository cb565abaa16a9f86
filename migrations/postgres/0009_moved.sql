-- The storage directory whose files are moved into these tables, or were.
CREATE TABLE moved (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    -- The public key of the node that has kept them.
    source bytea NOT NULL CHECK (length(source) = 32),
    -- When all of them were here; none until then, and no node serves what is here before.
    ended timestamptz
);
