"""What workers do for the platform besides executing runs, whatever agents they offer."""

from collections.abc import Callable, Coroutine
from typing import Any

from penstock.gates.run.services import Services
from penstock.runs.caching import CacheKeeping
from penstock.runs.retention.retention import Keeper
from penstock.runs.sealing import Sealing
from penstock.runs.usage import Counting


def upkeep(services: Services) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    """Retention, sums of what was spent, the cache, the audit log."""
    return [duty.run for duty in (Keeper(services), Counting(services), CacheKeeping(services), Sealing(services))]
