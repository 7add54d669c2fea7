"""Working: a worker's claims, their execution, and the duties beside them."""
