-- Whose turn it is to look through the bucket for objects that no row knows.
CREATE TABLE sweeps (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    -- What the bucket has in it where these rows are what is known of it.
    owner uuid NOT NULL DEFAULT gen_random_uuid(),
    -- When somebody was through with it the last time; at first when this began.
    ended timestamptz NOT NULL DEFAULT now(),
    -- Who has the turn, and until when nobody else takes it; none where nobody has.
    sweeper uuid,
    until timestamptz
);

INSERT INTO sweeps DEFAULT VALUES;
