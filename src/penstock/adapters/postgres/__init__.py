"""PostgreSQL: the journal, the queue, the payload store, and the embedded server."""
