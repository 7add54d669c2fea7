"""``penstock audit``: check what was recorded."""
