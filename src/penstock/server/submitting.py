"""Single submissions that come at the same time go to the journal together.

Letting a run into its queue and storing it take a commit each, and those of one queue wait for each other: alone, so
many can be made a second as the disk can flush. While one group is being stored the next one gathers.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from penstock.kernel.errors import PenstockError, QueueFull, UsageError
from penstock.ports.records import Submitted
from penstock.runs.client import Penstock
from penstock.runs.submit import Request, check_conflict

TOGETHER_MAX = 200


@dataclass(slots=True)
class _Waiting:
    request: Request
    done: "asyncio.Future[Submitted]"


class Submitter:
    """One for a server process."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._storing: asyncio.Task[None] | None = None

    async def submit(self, platform: Penstock, request: Request) -> Submitted:
        """Submit one run; durable when this returns. Whoever gives up waiting does not take it back.

        Raises:
            PenstockError: as `Penstock.submit`, for this request alone.
        """
        waiting = _Waiting(request, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._storing is None or self._storing.done():
            self._storing = asyncio.create_task(self._store(platform))
        done = await waiting.done
        check_conflict(request, done)
        return done

    async def _store(self, platform: Penstock) -> None:
        while self._waiting:
            group, self._waiting = self._waiting[:TOGETHER_MAX], self._waiting[TOGETHER_MAX:]
            await self._store_group(platform, group)

    async def _store_group(self, platform: Penstock, group: Sequence[_Waiting]) -> None:
        try:
            submitted = await platform.submit_together([item.request for item in group])
        except (UsageError, QueueFull) as error:
            # Nothing was submitted. One of them is the cause, or together they are too many: each for itself.
            if len(group) > 1:
                for item in group:
                    await self._store_group(platform, [item])
                return
            _fail(group, error)
        except PenstockError as error:  # the journal's: what became of them is not known, so none is sent again
            _fail(group, error)
        except BaseException as error:  # whatever it is, those who wait must be told
            _fail(group, error)
            if not isinstance(error, Exception):
                raise
        else:
            for item, done in zip(group, submitted, strict=True):
                if not item.done.done():
                    item.done.set_result(done)


def _fail(group: Sequence[_Waiting], error: BaseException) -> None:
    for item in group:
        if not item.done.done():
            item.done.set_exception(error)
            item.done.exception()  # whoever waited may be gone, which is no stray error
