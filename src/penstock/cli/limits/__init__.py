"""``penstock limits``: rate limits that all workers share."""
