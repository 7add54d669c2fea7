"""Classifiers of others behind the port."""
