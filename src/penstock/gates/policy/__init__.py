"""The policy in force, and what it needs to know of a run."""
