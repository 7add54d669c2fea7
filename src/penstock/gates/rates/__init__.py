"""Shared rate limits: a call waits for its turn before its intent is written."""
