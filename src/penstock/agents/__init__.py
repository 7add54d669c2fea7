"""Layer 5: what users write agents with."""
