"""Layer 6: the life of runs: submit, claim, execute, recover, park, end; stops and approvals."""
