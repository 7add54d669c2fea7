"""Layer 4: the only ways out. A gate asks the rules, writes the intent, makes the call, writes the outcome.

A call that the tape holds returns its outcome without acting: recovery, going on after an approval and debugging
replay are this one path.
"""
