"""Layer 2: the chain, the payloads, and the one writer of a process that commits the events of many runs together."""
