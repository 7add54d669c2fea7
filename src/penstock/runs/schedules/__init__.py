"""Schedules: declared, and fired."""
