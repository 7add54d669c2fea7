"""Circuit breakers as the gates see them."""
