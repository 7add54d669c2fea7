"""An environment's own: what acts in the place of tools, what tools may know, and that neither is told on.

bindings.py    which function a tool's name stands for here, and what there is against calling it
secrets.py     the values that a tool has declared, and their names in place of them in what it says
admission.py   both at the tool gate
"""
