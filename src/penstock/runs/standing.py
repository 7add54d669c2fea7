"""What every worker does beside its runs, as long as it takes on work. A new duty is one line."""

from collections.abc import Callable, Coroutine
from typing import Any

from penstock.gates.run.services import Services
from penstock.runs.registry import Registry
from penstock.runs.rollouts.routing import Following
from penstock.runs.schedules.firing import Firing
from penstock.runs.triggers.triggering import Triggering
from penstock.runs.upkeep import upkeep
from penstock.runs.work.worker import Worker


def standing_duties(
    services: Services, registry: Registry, worker: Worker
) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    """The duties of a worker, to be started with its lease."""
    return [
        Firing(services, lambda: registry.names).run,
        Triggering(services, lambda: registry.names).run,
        *upkeep(services),
        Following(services, worker.name, worker.wake).run,
    ]
