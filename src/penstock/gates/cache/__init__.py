"""The cache in front of the calls of models and of tools that read: who may be served, and who waits for whom."""
