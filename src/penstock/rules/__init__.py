"""Layer 3: pure decisions. A rule is a function of plain values; it reads no clock, calls nothing and keeps nothing.

One rule a file; `penstock.rules.default` lists them in the order in which the gates ask them.
"""
