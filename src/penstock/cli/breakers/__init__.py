"""``penstock breakers``: circuit breakers."""
