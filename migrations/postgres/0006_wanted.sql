-- Copies that these nodes are to have together. Whoever fetches one has the turn at it.
CREATE SEQUENCE wanted_numbers;
CREATE SEQUENCE wanted_changes;

CREATE TABLE wanted (
    -- A hash, or the id of a file of a peer that tells none.
    id bytea PRIMARY KEY,
    -- By what turns name it, which is another one when the same is asked for again.
    turn uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(),
    -- Whose turn it is: whoever takes it counts it up, and those before write nothing more.
    epoch bigint NOT NULL DEFAULT 0,
    -- The node that had the turn last, and until when it is its own unless that is renewed.
    node uuid,
    until timestamptz,
    -- In the order in which they were asked for.
    number bigint NOT NULL DEFAULT nextval('wanted_numbers'),
    -- From whom and by which names, in the words of `fetch`; and how many names.
    names bytea NOT NULL,
    places bigint NOT NULL,
    -- Counts the changes of the names, and the turns.
    version bigint NOT NULL DEFAULT 0,
    -- To whose share it counts; empty where that is nobody's.
    client bytea NOT NULL,
    -- Whether a user has asked for it, and not the setting that everything is kept.
    is_asked boolean NOT NULL,
    -- 'o': it is on its way; 'k': it is kept; 'f': it will not be tried again.
    stage text NOT NULL DEFAULT 'o' CHECK (stage IN ('o', 'k', 'f')),
    is_fetching boolean NOT NULL DEFAULT false,
    -- The file that was made of it last.
    copy uuid,
    size bigint NOT NULL,
    fetched bigint NOT NULL DEFAULT 0,
    error bytea,
    -- When to try next, and how many seconds after a further failure.
    due timestamptz NOT NULL DEFAULT now(),
    pause float8 NOT NULL DEFAULT 1,
    -- Counts the changes of all, for those who look whether there are any.
    changed bigint NOT NULL DEFAULT nextval('wanted_changes')
);

CREATE INDEX wanted_by_number ON wanted (number);

-- Which of the nodes looks for all that is announced, where they keep everything.
CREATE TABLE keeping_all (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    epoch bigint NOT NULL,
    until timestamptz NOT NULL
);

INSERT INTO keeping_all VALUES (true, 0, now());

-- The contents that users have removed, which are not fetched again because everything is kept.
CREATE TABLE removed_contents (
    hash bytea PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX removed_contents_by_time ON removed_contents (at);

-- The hashes of files of peers that tell none.
CREATE TABLE kept_without_hash (
    id uuid PRIMARY KEY,
    hash bytea NOT NULL
);
