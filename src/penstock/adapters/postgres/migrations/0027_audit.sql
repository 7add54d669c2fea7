-- The audit log: the Merkle tree over what was recorded, its checkpoints and their signatures.
SELECT;
