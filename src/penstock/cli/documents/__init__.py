"""``penstock documents``: what sessions hold, and what agents share."""
