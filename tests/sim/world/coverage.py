"""What many seeds exercised, so that nobody believes in seeds that do nothing."""

from collections import Counter

GROUPS = {
    "what ran": (
        "runs",
        "top runs",
        "claims",
        "events",
        "effects",
        "virtual seconds",
        "model calls",
        "runs that waited for their session",
    ),
    "how runs ended": ("outcome: ",),
    "faults of workers": (
        "crash",
        "crash at a step",
        "stall",
        "stall at a step",
        "stalled between intent and call",
        "wall clock jump",
        "drain",
    ),
    "faults of the database": (
        "line: ",
        "database crash",
        "outage",
        "disk full",
        "append: ",
    ),
    "faults outside": ("outside: ",),
    "people": (
        "cancel",
        "kill",
        "kill of: ",
        "pause of: ",
        "not sealed",
        "pause",
        "decided: ",
        "decision that came second",
        "preview: ",
    ),
    "what runs share": (
        "wait: ",
        "time-outs that fired",
        "continued",
        "compensated",
        "document writes",
        "limited calls",
        "scheduled runs",
        "triggered runs",
        "deployed",
        "adopted",
        "store: ",
    ),
    "set aside": ("set aside: ",),
    "events": ("event: ",),
}


def table(counts: Counter[str]) -> str:
    """Everything that was counted, in groups."""
    lines = []
    for title, names in GROUPS.items():
        lines.append(title)
        for name in names:
            keys = sorted(key for key in counts if key.startswith(name)) if name.endswith(": ") else [name]
            lines += [f"  {key:<44} {counts[key]:>12,}" for key in keys]
    return "\n".join(lines)
