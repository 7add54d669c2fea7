"""``penstock triggers``: events that start runs."""
