-- The peers that have answered any of these nodes, so that one that is new begins with them.
CREATE TABLE known_peers (
    id bytea PRIMARY KEY,
    -- When it was heard of last.
    heard timestamptz NOT NULL,
    -- What it told of itself, in the words of `peer`.
    registration bytea NOT NULL
);
