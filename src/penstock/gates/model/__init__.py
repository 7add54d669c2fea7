"""The model gate."""
