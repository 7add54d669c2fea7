"""``penstock environments``: what is in force here, and what would be missing."""
