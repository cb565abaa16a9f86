-- How often something was heard of what a peer holds, by whichever node, so that the others ask it.
ALTER TABLE known_peers ADD COLUMN news bigint NOT NULL DEFAULT 0;
-- When a node has told the others that, or of the peer, last.
ALTER TABLE known_peers ADD COLUMN told timestamptz NOT NULL DEFAULT now();

CREATE INDEX known_peers_told ON known_peers (told);
