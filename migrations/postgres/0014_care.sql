-- What one of the nodes does for all: reading everything again, and bringing anew what is not whole.
CREATE TABLE care (
    care text PRIMARY KEY,
    -- Whose turn it is, and until when nobody else takes it.
    node uuid,
    until timestamptz,
    -- How often `state` was written: whoever has not seen the last one writes none.
    version bigint NOT NULL DEFAULT 0,
    -- How far it is, in the words of `node::scrub`.
    state bytea NOT NULL DEFAULT ''
);

INSERT INTO care (care) VALUES ('scrub'), ('repair');
