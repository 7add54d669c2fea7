"""Gates to other runs and to the world's events: waiting, sending, delegating, going on elsewhere."""
