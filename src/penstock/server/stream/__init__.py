"""Streams of server-sent events: what many look at is read once."""
