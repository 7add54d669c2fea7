"""Stops of tools: what the gate asks before a call, and what the writer asks before an intent is sent."""
