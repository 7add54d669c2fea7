"""Thresholds of a budget that a run has crossed."""

from penstock.events.envelope import Event


class LimitReached(Event, tag="limit.reached"):
    """70: a wrap-up message was sent. 90: tools were removed, the next step must answer. 100: the run stops."""

    limit: str  # tokens | usd | steps | calls | attempts | seconds | loop
    level: int  # 70 | 90 | 100
    used: float = 0
    of: float = 0
