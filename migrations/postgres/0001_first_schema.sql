-- Everything that nodes over one database share. Texts are bytes, since those of users may hold what a
-- text of SQL cannot; hashes are 32 bytes, and so are places, which are random and given out once.
-- All times are the server's, but for those that files show.

-- One row: under its lock ids are given out and changes are made, one batch after the other.
CREATE TABLE heads (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    -- The last id that was given out.
    last_id uuid NOT NULL,
    -- How many changes of files there were.
    changes bigint NOT NULL,
    -- Up to which of them `removed` tells nothing any more.
    forgotten bigint NOT NULL,
    files bigint NOT NULL,
    bytes bigint NOT NULL,
    blobs bigint NOT NULL,
    blob_bytes bigint NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

INSERT INTO heads VALUES (true, '00000000-0000-0000-0000-000000000000', 0, 0, 0, 0, 0, 0);

CREATE TABLE files (
    id uuid PRIMARY KEY,
    -- Milliseconds since 1970, UTC.
    uploaded_at bigint NOT NULL,
    name bytea NOT NULL,
    -- The first half of the hash of the name in NFC, by which it is found.
    name_key uuid NOT NULL,
    content_type bytea,
    description bytea NOT NULL,
    size bigint NOT NULL,
    hash bytea NOT NULL
);

CREATE INDEX files_by_name ON files (name_key, id);

-- The contents that files need.
CREATE TABLE blobs (
    hash bytea PRIMARY KEY,
    place bytea NOT NULL UNIQUE,
    size bigint NOT NULL,
    -- How many files need it.
    users bigint NOT NULL CHECK (users > 0),
    -- When it was found whole the last time, in milliseconds since 1970.
    checked_at bigint,
    is_damaged boolean NOT NULL DEFAULT false
);

CREATE INDEX blobs_damaged ON blobs (hash) WHERE is_damaged;

-- Every place in which something is or may be.
CREATE TABLE places (
    place bytea PRIMARY KEY,
    -- 'w': somebody writes there, until its lease ends; 'l': the content of files is there;
    -- 'g': garbage from `until` on; 'd': somebody has begun to delete what is there, and another may
    -- from `until` on. Nothing leads back from 'd'.
    state text NOT NULL CHECK (state IN ('w', 'l', 'g', 'd')),
    -- None of what is needed.
    until timestamptz CHECK ((until IS NULL) = (state = 'l')),
    size bigint NOT NULL
);

CREATE INDEX places_due ON places (until) WHERE state <> 'l';

-- Which files were removed by which change, for those who have them in memory.
CREATE TABLE removed (
    change bigint PRIMARY KEY,
    id uuid NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX removed_by_time ON removed (at);

-- Which batches of changes stand, for those whose COMMIT was not answered.
CREATE TABLE batches (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX batches_by_time ON batches (at);
