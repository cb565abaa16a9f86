-- How many bytes of the quota an upload takes: those that have come, and while more come those for which
-- there was room.
ALTER TABLE uploads ADD COLUMN room bigint NOT NULL DEFAULT 0;
ALTER TABLE uploads ADD COLUMN promised bigint NOT NULL DEFAULT 0;
-- Whether there was none, but that its content may be kept already.
ALTER TABLE uploads ADD COLUMN is_beyond boolean NOT NULL DEFAULT false;
-- Whether that may be.
CREATE INDEX blobs_by_size ON blobs (size);
