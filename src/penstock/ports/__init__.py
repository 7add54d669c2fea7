"""Protocols between the layers, and the plain values that pass through them."""
