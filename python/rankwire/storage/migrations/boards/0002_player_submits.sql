-- Whether players may submit for themselves: 0 | 1. On boards from before they may not.
ALTER TABLE boards ADD COLUMN player_submits INTEGER NOT NULL DEFAULT 0;
