"""Managed releases: drafted from the code, signed, reviewed, rolled out by a canary, and rolled back.

`manifest` is what a release is, `signing` who vouches for it, `states` what may follow upon what, `releasing` what
people do with it, `routing` how a process acts by it, `sessions` how memory is taken back.
"""
