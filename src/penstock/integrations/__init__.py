"""Agents of other frameworks under the gates. Each module imports its framework; nothing here is imported by itself."""
