"""Snapshots of a long run's state."""
