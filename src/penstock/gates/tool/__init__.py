"""The tool gate, with the questions it asks people and the doubts it settles."""
