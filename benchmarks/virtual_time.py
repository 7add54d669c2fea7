"""An event loop whose time stands still while anything is left to do, and then leaps to whatever is due next: hours on
its clock take as long as the work in them."""

import asyncio
import selectors

EPOCH_US = 1_800_000_000_000_000
BOOT_NS = 10**12


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time is ``seconds``. It is for what asks neither sockets nor threads."""

    def __init__(self) -> None:
        self.seconds = 0.0
        super().__init__(_Leap(self))

    def time(self) -> float:
        return self.seconds


class _Leap(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everybody waits, and nothing is left that could happen")
        self._loop.seconds += max(0.0, timeout)
        return []


class VirtualClock:
    """Implements `penstock.kernel.clock.Clock` by such a loop."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now_us(self) -> int:
        return EPOCH_US + int(self._loop.seconds * 1e6)

    def boot_ns(self) -> int:
        return BOOT_NS + int(self._loop.seconds * 1e9)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
