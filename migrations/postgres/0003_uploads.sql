-- Uploads in parts, with which any node goes on.
CREATE TABLE uploads (
    id uuid PRIMARY KEY,
    -- Whose turn it is: each node that comes counts it up, and those before it write nothing more.
    epoch bigint NOT NULL DEFAULT 0,
    -- What it will be, and how many of its bytes count, in the words of `resumable`.
    state bytea NOT NULL,
    -- To whose share it counts; empty where that is nobody's.
    client bytea NOT NULL,
    -- Whether any of its bytes have come.
    is_begun boolean NOT NULL DEFAULT false,
    -- The file that it has become, and the hash of its content.
    file uuid,
    hash bytea,
    -- The final upload that it is a part of.
    joined uuid,
    -- When something of it was last written.
    written timestamptz NOT NULL DEFAULT now(),
    -- Since when it is none any more; what has come of it goes before this row does.
    removed timestamptz
);

CREATE INDEX uploads_by_time ON uploads (written) WHERE removed IS NULL;
CREATE INDEX uploads_joined ON uploads (joined) WHERE joined IS NOT NULL;
CREATE INDEX uploads_removed ON uploads (removed) WHERE removed IS NOT NULL;

-- Where the bytes of uploads are that count: each object has those from `start` on, and its key has the
-- epoch in which it was written, so that none is written twice.
CREATE TABLE upload_parts (
    upload uuid NOT NULL REFERENCES uploads ON DELETE CASCADE,
    start bigint NOT NULL,
    size bigint NOT NULL,
    epoch bigint NOT NULL,
    -- The chaining values of its pieces; none of the last part, which grows.
    tree bytea NOT NULL,
    PRIMARY KEY (upload, start)
);
