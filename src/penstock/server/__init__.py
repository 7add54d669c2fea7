"""Layer 9: the HTTP server: API, streams, webhooks, the console's files."""
