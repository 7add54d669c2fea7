"""Retention: what is archived, and the archives."""
