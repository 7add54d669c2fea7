"""Who moves next: the tape of what happened, branches, and one outcome released at a time."""
