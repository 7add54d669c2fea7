"""``penstock queue``: what is queued, who comes first, what is blocked."""
