"""Filters at the gates: what is taken out, what stands for it, and what comes from outside."""
