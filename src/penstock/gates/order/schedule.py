"""Who moves next in a run: one outcome released at a time, the tape before anything live, doubts before the rest."""

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from penstock.gates.order.branches import CURRENT, UNWOUND, Branch
from penstock.gates.order.group import Group
from penstock.gates.order.tape import Tape
from penstock.kernel.errors import Divergence, GateMisused

Turn = asyncio.Future[None]
Release = Turn | Callable[[], None]
"""What the release of an outcome lets go on: a branch in a gate, or something of the engine's own."""


class Schedule:
    """The branches of one run and the order of its outcomes.

    The owner sets the hooks: ``on_idle`` (every branch is bound, nothing is in flight, nothing to release: the
    run can park), ``on_diverged`` (the tape holds an outcome whose call the code does not make), ``on_quiet`` (a stop
    was asked for, and nothing is in flight any more), ``on_cancelled`` (something other than the engine cancelled a
    branch inside a gate).
    """

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.loop = asyncio.get_running_loop()
        self.branches: list[Branch] = []
        self.loose = 0
        self.busy = 0  # live calls in flight
        self.loading = 0  # calls on their way to their turn: bound, but still reading what the tape refers to
        self.stopping = False
        self.replaying = bool(tape.order)
        self.doubts = set(tape.doubts)
        self._foreign: set[Branch] = set()
        self._ready: deque[tuple[Branch, Release]] = deque()
        self._recorded: dict[str, tuple[Branch, Release]] = {}
        self._live: list[tuple[str, Turn]] = []
        self._when_live: list[tuple[Branch, Callable[[], None]]] = []
        self._opening = False  # the last doubt is settled, and what waits for that goes on in a moment
        self._over: set[str] = set()  # outcomes on the tape that nobody waits for any more, by path
        self._cut: tuple[str, ...] = ()  # and by the beginning of their path
        self.on_idle: Callable[[], None] = _nothing
        self.on_quiet: Callable[[], None] = _nothing
        self.on_cancelled: Callable[[], None] = _nothing
        self.on_diverged: Callable[[Divergence], None] = _nothing

    def begin(self, prefix: str, context: contextvars.Context) -> Branch:
        """A new loose branch."""
        branch = Branch(self, prefix, context)
        self.branches.append(branch)
        self.loose += 1
        return branch

    def finish(self, branch: Branch) -> None:
        """The branch has returned."""
        self.branches.remove(branch)
        self.loose -= 1
        self.step()

    def bind(self) -> Branch:
        """The calling branch enters a gate.

        Raises:
            GateMisused: the caller is no branch of this run.
        """
        branch = CURRENT.get()
        if branch is not None and branch.closed:
            raise GateMisused("a gate was called while the run was being put away", hint="`finally` blocks cannot act")
        if branch is None or branch.run is not self or branch.task is not asyncio.current_task(self.loop):
            raise GateMisused("a gate was called from a task that is no branch of the run")
        # Loose until it waits for its turn: a gate that still reads the tape's payloads is yet to say where it stands.
        branch.bound = True
        return branch

    def unbind(self, branch: Branch) -> None:
        """The branch leaves a gate at once, without an outcome."""
        branch.bound = False

    def hold(self, branch: Branch) -> None:
        """A branch that had its turn does not go on after all; it counts as a call in flight."""
        branch.bound = True
        self.loose -= 1
        self.busy += 1

    async def turn(self, branch: Branch) -> None:
        """A live call is done: wait until its outcome is the one to be released, then let agent code go on."""
        self.busy -= 1
        if self.loose or self._ready or self.stopping:
            turn = self.loop.create_future()
            self._ready.append((branch, turn))
            self.step()
            await self._wait(turn)
        else:
            self.loose += 1
        branch.bound = False
        branch.call = None

    async def recorded_turn(self, branch: Branch, path: str) -> None:
        """The same for an outcome on the tape."""
        self.loose -= 1
        turn = self.loop.create_future()
        self._recorded[path] = (branch, turn)
        self.step()
        await self._wait(turn)
        branch.bound = False
        branch.call = None

    async def live(self, path: str) -> None:
        """Wait until the tape is consumed and, for calls that are not in doubt themselves, all doubts are settled."""
        self.loose -= 1
        if self.replaying or self.stopping or (self.doubts and path not in self.doubts):
            turn = self.loop.create_future()
            self._live.append((path, turn))
            self.step()
            await self._wait(turn)
        else:
            self.busy += 1
            if self._ready:
                self.step()

    async def _wait(self, turn: Turn) -> None:
        """Await a turn. A cancellation that is not the engine's is misuse: it is reported; the branch stays here."""
        try:
            await turn
        except asyncio.CancelledError:
            self.on_cancelled()
            await self.loop.create_future()

    def settled(self, path: str) -> None:
        """The call at ``path`` is no longer in doubt."""
        self.doubts.discard(path)
        if not self.doubts and not self._opening:
            # Not from here: its own outcome is on the tape already, and comes before whatever is recorded next.
            self._opening = True
            self.loop.call_soon(self._open_settled)

    def _open_settled(self) -> None:
        self._opening = False
        self._open_live()

    def rest(self) -> None:
        """A live call stops being in flight without being done: it waits for something outside."""
        self.busy -= 1
        self.step()

    def wake(self) -> None:
        """It is in flight again."""
        self.busy += 1

    async def join(self, branch: Branch, coros: Sequence[Coroutine[Any, Any, Any]], path: str, limit: int) -> list[Any]:
        """Run coroutines as branches, at most ``limit`` at a time; results or exceptions in their order."""
        if not coros:
            branch.bound = False
            return []
        self.loose -= 1
        group = Group(self, coros, path)
        for _ in range(min(limit, len(coros))):
            group.start()
        try:
            await self._wait(group.done)
        finally:
            group.close()
        branch.bound = False
        return group.results

    async def enclose(
        self, branch: Branch, coro: Coroutine[Any, Any, Any], path: str, done: "asyncio.Future[Any]"
    ) -> Any:
        """Run a coroutine as a branch until it ends, or until somebody else sets ``done`` and counts ``branch`` loose.

        ``done`` is set to what the coroutine returned, or to the exception it raised.
        """
        self.loose -= 1
        context = contextvars.copy_context()
        child = self.begin(f"{path}.0.", context)

        async def drive() -> None:
            try:
                result = await child.drive(coro)
            except (Exception, SystemExit, asyncio.CancelledError) as error:
                result = error
            if result is UNWOUND:
                return
            self.loose += 1
            done.set_result(result)
            self.finish(child)

        child.coro = coro
        child.task = self.loop.create_task(drive(), context=context)
        await self._wait(done)
        branch.bound = False
        return done.result()

    def when_live(self, branch: Branch, act: Callable[[], None]) -> None:
        """Do this now, or once the tape is consumed and all doubts are settled, unless the branch was cut by then."""
        self._when_live.append((branch, act))
        self._open_live()

    def post(self, branch: Branch, act: Callable[[], None]) -> None:
        """Something that was just recorded, for ``branch``: ``act`` when it is its turn among the outcomes."""
        self._ready.append((branch, act))
        self.step()

    def post_recorded(self, branch: Branch, path: str, act: Callable[[], None]) -> None:
        """The same for what the tape holds."""
        self._recorded[path] = (branch, act)

    def forget(self, path: str) -> None:
        """Whatever the tape still has at this path makes no difference any more."""
        self._over.add(path)
        self._recorded.pop(path, None)

    def cut(self, prefix: str, kept: Callable[[Branch], bool]) -> list[Branch]:
        """Release nothing more to the branches of that prefix; those branches.

        Calls that wait to go live are dropped, but for those of branches that ``kept`` names. A branch that waits for
        a future of its own is closed at once: that future may be done at any time.
        """
        self._cut = (*self._cut, prefix)
        under = [branch for branch in self.branches if branch.prefix.startswith(prefix)]
        for branch in under:
            branch.cut = True
        self._ready = deque(entry for entry in self._ready if not entry[0].cut)
        self._over |= {path for path, (branch, _) in self._recorded.items() if branch.cut}
        self._recorded = {path: entry for path, entry in self._recorded.items() if not entry[0].cut}
        keeping = {branch.call.path for branch in under if branch.call is not None and kept(branch)}
        self._live = [entry for entry in self._live if not entry[0].startswith(prefix) or entry[0] in keeping]
        return under

    def sever(self, branches: Sequence[Branch]) -> list[BaseException]:
        """Close branches, leaves first, and forget them; the objections of those that refused."""
        gone = set(branches)
        objections = [branch.close() for branch in reversed(self.branches) if branch in gone]
        self.branches = [branch for branch in self.branches if branch not in gone]
        self.loose -= len(self._foreign & gone)
        self._foreign -= gone
        return [objection for objection in objections if objection is not None]

    def waits_to_go_live(self, path: str) -> bool:
        """Whether the call at that path is held up by the tape or by doubts."""
        return any(path == waiting for waiting, _ in self._live)

    def suspended(self, branch: Branch, on: "asyncio.Future[Any]") -> None:
        self._foreign.add(branch)
        self.step()

    def resumed(self, branch: Branch) -> None:
        self._foreign.discard(branch)

    def step(self) -> None:
        """Release the next outcome if nobody is loose; else leave it to whoever is."""
        if self.loading or (self.loose and not self._all_suspended()):
            return
        if self.stopping:
            if self.busy == 0:
                self.loop.call_soon(self.on_quiet)
            return
        if self.replaying:
            self._step_tape()
        elif self._ready:
            self._release(self._ready.popleft()[1])
        elif self.busy == 0 and not self._foreign:
            self.loop.call_soon(self.on_idle)

    def stop(self) -> None:
        """Release nothing more; call ``on_quiet`` once nothing is in flight."""
        self.stopping = True
        self.step()

    def quiet(self) -> bool:
        """Whether nothing moves: agent code stands still and no call is in flight."""
        return self.busy == 0 and self.loading == 0 and (self.loose == 0 or self._all_suspended())

    def idle(self) -> bool:
        """Whether nothing will move without something from outside."""
        waits = self._ready or self._foreign or self._opening
        return self.quiet() and not (waits or self.replaying or self.stopping)

    def let_go(self) -> None:
        """The run was put away: nobody is told of anything any more, and no branch is known."""
        self.on_idle = self.on_quiet = self.on_cancelled = self.on_diverged = _nothing
        for branch in self.branches:
            branch.call = None
        self.branches.clear()

    def close(self) -> list[BaseException]:
        """Close all branches, leaves first; the objections of those that refused."""
        objections = [branch.close() for branch in reversed(self.branches)]
        return [objection for objection in objections if objection is not None]

    def _step_tape(self) -> None:
        order = self.tape.order
        while order and (order[0] in self._over or order[0].startswith(self._cut)):
            order.popleft()
        if order:
            recorded = self._recorded.pop(order[0], None)
            if recorded is not None:
                order.popleft()
                self._release(recorded[1])
            elif not self._foreign:
                self.on_diverged(self.leftover(order[0]))
            return
        self.replaying = False
        for path in self.doubts:
            if all(path != waiting for waiting, _ in self._live) and not self._foreign:
                self.on_diverged(self.leftover(path))
                return
        self._open_live()
        self.step()

    def _open_live(self) -> None:
        if self.replaying or self.stopping:
            return
        held: list[tuple[str, Turn]] = []
        for path, turn in self._live:
            if self.doubts and path not in self.doubts:
                held.append((path, turn))
            else:
                self.busy += 1
                turn.set_result(None)
        self._live = held
        if not self.doubts:
            due, self._when_live = self._when_live, []
            for branch, act in due:
                if not branch.cut:
                    act()

    def _release(self, turn: Release) -> None:
        if isinstance(turn, asyncio.Future):
            self.loose += 1
            turn.set_result(None)
        else:
            # Not from here: whatever it closes may be what is running now. Until then it counts as loose.
            self.loose += 1
            self.loop.call_soon(self._act, turn)

    def _act(self, act: Callable[[], None]) -> None:
        self.loose -= 1
        if not self.stopping:
            act()
        self.step()

    def _all_suspended(self) -> bool:
        """Whether every loose branch waits for an unfinished future of its own."""
        if len(self._foreign) < self.loose:
            return False
        return all(branch.suspended_on is None or not branch.suspended_on.done() for branch in self._foreign)

    def leftover(self, path: str) -> Divergence:
        """The error for a call on the tape that the code did not make."""
        event = self.tape.calls[path][0]
        name = getattr(event, "tool", None) or getattr(event, "model", None) or getattr(event, "name", "")
        made = [waiting for waiting, _ in self._live] + list(self._recorded)
        return Divergence(
            f"the tape has a call at {path} ({type(event).__name__} {name}, seq {event.seq}) that the agent's code did "
            f"not make; it is waiting at {', '.join(sorted(made)) or 'nothing'}",
            path=path,
            recorded=name,
            attempted="",
        )


def _nothing(*_: object) -> None:
    """Nobody is to be told."""
