"""The policy language: what agents may do with tools, in small typed YAML files, compiled to closures.

``source`` reads YAML with places and bounds, ``reading`` makes rules of it, ``conditions`` and ``measures`` are what a
rule can ask, ``policy_set`` decides, ``explaining`` says why. ``cases`` runs the tests beside a policy, ``comparing``
says what a change changes, ``proving`` proves it with a solver, for which ``encoding`` writes it as formulas.
"""
