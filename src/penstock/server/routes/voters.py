"""By which right a caller decides."""

from penstock.ports.questions import Voter
from penstock.server.access.caller import Caller


def voter_of(caller: Caller) -> Voter:
    """A caller as one who decides: by the key they came with, or signed in with; else by what their session says."""
    return Voter(caller.actor, caller.roles, str(caller.key) if caller.key is not None else "")
