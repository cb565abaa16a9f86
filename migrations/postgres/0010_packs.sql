-- Packs: objects in which many short contents are. What `blobs.place` says of one of those is the
-- 32 bytes of the pack and, behind them, where in it the content's entry begins, in four bytes, the
-- highest first; what shares its object with nothing has 32 bytes as before. A larder that knows of
-- no packs can read no such place, so it fails with an error where it meets one, and never takes a
-- pack for the object of one content.
--
-- How many bytes of a pack the contents take that files need, their entries' heads included; none
-- where the object is no pack. `size` is the length of all of it.
ALTER TABLE places ADD COLUMN live bigint;
-- Until when somebody has a pack to itself who moves what lives there to another.
ALTER TABLE places ADD COLUMN moving_until timestamptz;

CREATE INDEX places_sparse ON places (live) WHERE state = 'l' AND live * 2 < size;
