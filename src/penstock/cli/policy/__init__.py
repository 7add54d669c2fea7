"""``penstock policy``: what agents may do with tools."""
