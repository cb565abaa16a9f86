-- Until when whoever makes a file of an upload has it to itself; none where nobody does.
ALTER TABLE uploads ADD COLUMN ending_until timestamptz;
