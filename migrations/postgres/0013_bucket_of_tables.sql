-- Where the content is that these tables tell of: the URL by which a node first made a bucket its own, and whether
-- that has come to its end, so that no other place becomes theirs beside it, also while there are no files.
ALTER TABLE sweeps ADD COLUMN bucket text;
ALTER TABLE sweeps ADD COLUMN has_bucket boolean NOT NULL DEFAULT false;
