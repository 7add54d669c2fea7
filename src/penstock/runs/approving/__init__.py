"""Deciding what waits for people: alone, by several, in batches, for others, and by taking a case over."""
