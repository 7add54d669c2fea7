"""``penstock audit``: check what was recorded, and let others check it."""
