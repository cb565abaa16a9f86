-- Until when others wait for whoever receives bytes of an upload, so that all that has come counts for
-- them, too; none where nobody does.
ALTER TABLE uploads ADD COLUMN receiving_until timestamptz;
-- Whether somebody waits, so that whoever receives makes way.
ALTER TABLE uploads ADD COLUMN is_asked boolean NOT NULL DEFAULT false;
