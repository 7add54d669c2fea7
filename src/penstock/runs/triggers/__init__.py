"""Event triggers: declared, and turned into runs."""
