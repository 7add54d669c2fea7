"""Layer 2: the outside world: PostgreSQL, model providers, embeddings, sandboxes."""
