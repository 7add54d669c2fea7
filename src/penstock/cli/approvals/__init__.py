"""``penstock approvals``: decide what waits for a person."""
