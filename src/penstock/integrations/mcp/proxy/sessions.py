"""Sessions of the proxy: each is a run; its clients' calls go to its inbox, and what comes of them comes back here."""

import asyncio
import contextlib
from typing import Any, Self
from uuid import UUID

from penstock.gates.order.branches import outside_runs
from penstock.gates.tool.gate import ToolReturn
from penstock.integrations.mcp.proxy.agent import CALL, SessionAgent
from penstock.integrations.mcp.proxy.session import OpenSession, Principal, Reply, SentCall, Where, reply_of, wake
from penstock.integrations.mcp.proxy.tape import SessionTape
from penstock.kernel.canonical import check_name, check_plain, stable_json, stored_digest
from penstock.kernel.errors import (
    InboxFull,
    JournalError,
    PenstockError,
    RunUnknown,
    TagInvalid,
    UsageError,
)
from penstock.kernel.ids import new_id
from penstock.ports.records import Status
from penstock.runs.client import Penstock
from penstock.runs.submit import Request

FIRST_LOOK_SECONDS, LAST_LOOK_SECONDS = 0.1, 1.0
"""Between two looks at the tape for a call that has not ended here."""
WAITING_MAX = 64
"""Calls of one session that have not ended, at most, those that wait for people among them."""
END_SECONDS = 5.0
LINGER_SECONDS = 15.0
"""How long a session's run is kept in memory after a call: as long as a model takes to think of the next one."""
SESSION_TAG = "x_mcp_session"


_Key = tuple[str, str, str, str]


class Sessions:
    """The sessions that this process has to do with. The platform's own worker, or any other that offers the same
    release, makes their calls."""

    def __init__(self, platform: Penstock) -> None:
        self._platform = platform
        self._settings = platform.services.settings
        self._clock = platform.services.clock
        self._agents: dict[str, SessionAgent] = {}
        self._open: dict[_Key, OpenSession] = {}
        self._sent: dict[str, SentCall] = {}
        self._by_run: dict[UUID, OpenSession] = {}

    def offer(self, agent: SessionAgent) -> None:
        """Take calls for this agent, and work on its runs.

        Raises:
            AgentInvalid: another of that name is offered already.
        """
        self._platform.registry.add(agent)
        self._agents[agent.name] = agent

    async def stay(self, run: UUID) -> None:
        """Until the session of that run has had no call for a while, or is not one of this process."""
        loop = asyncio.get_running_loop()
        most = min(LINGER_SECONDS, self._settings.mcp_session_idle_seconds / 2)
        while (session := self._by_run.get(run)) is not None and not session.leaving and self._has_room():
            left = most - (self._clock.boot_ns() - session.used_ns) / 1e9
            if left <= 0:
                return
            over = session.stirred = loop.create_future()
            timer = loop.call_later(left, wake, over, context=outside_runs())
            try:
                await over
            finally:
                timer.cancel()

    def _has_room(self) -> bool:
        """Whether sessions that only wait may take up places of the worker."""
        worker = self._platform.worker
        return worker is not None and 2 * len(worker.running) <= self._settings.worker_concurrency

    def deliver(self, call_id: str, returned: ToolReturn) -> None:
        """A session's run has come to a call's end in this process."""
        call = self._sent.get(call_id)
        if call is not None and not call.done.done():
            call.done.set_result(returned)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        """End the sessions that have no name: their clients are gone. A call that waits for a person is withdrawn."""
        own = [session for session in self._open.values() if not session.name and session.run is not None]
        await asyncio.gather(*(self._end(session) for session in own), return_exceptions=True)

    async def call(self, who: Principal, where: Where, tool: str, args: dict[str, Any]) -> Reply:
        """Make a call in a session, and wait for its end, or so long.

        Never raises for what a client does; what is wrong is said in the reply.
        """
        try:
            check_plain(args, "arguments")
            key = tool, stored_digest(stable_json(args))
            session, call = await self._taken(who, where, key, args)
            if call is None:
                return session.over or Reply("mcp_session_over", "the session has ended", run=session.run)
            return await self._wait(session, key, call)
        except JournalError as error:
            return Reply(error.code, "the journal cannot be reached; it is not known whether the call was taken")
        except UsageError as error:
            return Reply(error.code, error.what)

    async def _taken(
        self, who: Principal, where: Where, key: tuple[str, str], args: dict[str, Any]
    ) -> tuple[OpenSession, SentCall | None]:
        """The session, and the call that it has taken; None when it is over.

        Raises:
            InboxFull: it has as many calls as may wait.
        """
        session, call = await self._session(who, where), None
        for _ in range(2):  # one that has ended while nobody called is begun again
            call = None if session.over is not None else self._known(session, key)
            if session.over is not None or call is not None:
                break
            if session.waiting >= WAITING_MAX:
                raise InboxFull(f"{WAITING_MAX} calls of this session have not ended", hint="wait for some of them")
            call = await self._send(who, session, key, args)
            if call is not None:
                break
            session = await self._session(who, where)
        return session, call

    def _known(self, session: OpenSession, key: tuple[str, str]) -> SentCall | None:
        """A call like this one whose client was told to come again."""
        return next((call for call in session.calls.get(key, ()) if call.adrift), None)

    async def _session(self, who: Principal, where: Where) -> OpenSession:
        if where.name:
            check_name(where.name, "name of a session")
        key = (who.tenant, who.agent.name, who.holder, f"n:{where.name}" if where.name else f"c:{where.connection}")
        session = self._open.get(key)
        if session is None:
            self._make_room()
            session = self._open[key] = OpenSession(where.name, self._agents[who.agent.name])
        session.used_ns = self._clock.boot_ns()
        async with session.lock:
            if session.run is None or (session.over is not None and await self._may_begin_again(session)):
                await self._begin(who, where, session)
        return session

    def _make_room(self) -> None:
        """Forget sessions that have long ended by themselves.

        Raises:
            InboxFull: all that there may be are in use.
        """
        if len(self._open) < self._settings.mcp_sessions_max:
            return
        before = self._clock.boot_ns() - int(self._settings.mcp_session_idle_seconds * 1e9)
        for key in [key for key, session in self._open.items() if session.used_ns < before and not session.waiting]:
            session = self._open.pop(key)
            if session.run is not None:
                self._by_run.pop(session.run, None)
        if len(self._open) >= self._settings.mcp_sessions_max:
            raise InboxFull(f"{len(self._open):,} sessions are open, as many as this proxy may have")

    async def _may_begin_again(self, session: OpenSession) -> bool:
        """Whether a session that is over was only idle: one that was stopped, or used up, stays so."""
        ended = session.tape.over if session.tape is not None else None
        return not session.name and ended is not None and ended.outcome == "succeeded"

    async def _begin(self, who: Principal, where: Where, session: OpenSession) -> None:
        given = {**who.agent.tags, **who.tags}
        if differing := sorted(name for name in given if where.tags.get(name, given[name]) != given[name]):
            raise TagInvalid(f"the tag {differing[0]} is set for {who.owner or who.agent.name}, and cannot be another")
        tags = {**where.tags, **given}
        if where.name:
            tags[SESSION_TAG] = where.name
        opening = {
            "lanes": self._settings.mcp_calls_at_once,
            "idle": self._settings.mcp_session_idle_seconds,
            "session": where.name,
            "tags": tags,
        }
        request = Request(
            session.agent,
            opening,
            key=f"mcp:{who.agent.name}:{who.holder}:{where.name}" if where.name else None,
            tags=tags,
            budget=who.budget,
            tenant=who.tenant,
            behalf=who.owner,
            actor=who.actor,
        )
        (made,) = await self._platform.submit_each([request])
        if session.run is not None:
            self._by_run.pop(session.run, None)
        session.run, session.over = made.id, None
        self._by_run[made.id] = session
        session.tape = SessionTape(self._platform.services, who.tenant, made.id)
        session.calls.clear()
        if where.name:
            await self._take_up(session)

    async def _take_up(self, session: OpenSession) -> None:
        """Know the calls again that a proxy before this one left open, or to a person: their clients come again."""
        tape = session.tape
        assert tape is not None
        await self._look(session)
        for standing in tape.calls.values():
            if standing.asked or standing.last is None:
                call = self._sent[standing.id] = SentCall(standing.id, self._future(), adrift=True)
                session.calls.setdefault((standing.tool, standing.digest), []).append(call)

    def _future(self) -> "asyncio.Future[ToolReturn]":
        return asyncio.get_running_loop().create_future()

    async def _send(
        self, who: Principal, session: OpenSession, key: tuple[str, str], args: dict[str, Any]
    ) -> SentCall | None:
        """Put the call into the inbox; None when the session has ended."""
        assert session.run is not None
        call = SentCall(new_id(self._clock).hex, self._future())
        until = self._clock.now_us() + int(self._settings.mcp_wait_seconds * 1e6)
        said = {"id": call.id, "tool": key[0], "args": args, "until": until}
        self._let_go(session)
        self._sent[call.id] = call
        session.calls.setdefault(key, []).append(call)
        try:
            await self._platform.send_event(session.run, CALL, said, dedup=call.id, sender=who.actor, tenant=who.tenant)
        except (RunUnknown, InboxFull):
            self._forget(session, key, call)
            await self._look(session)
            if session.over is None:
                session.over = Reply("mcp_session_full", "the session has had as many calls as it may", run=session.run)
            return None
        except BaseException:
            self._forget(session, key, call)
            raise
        await self._nudge(who.tenant, session.run)
        return call

    async def _nudge(self, tenant: str, run: UUID) -> None:
        """Let the worker of this process look at once; others are woken by the store."""
        worker = self._platform.worker
        if worker is None:
            return
        execution = worker.running.get((tenant, run))
        if execution is not None:
            await execution.fetch_letters()
        else:
            worker.wake()

    async def _wait(self, session: OpenSession, key: tuple[str, str], call: SentCall) -> Reply:
        settings, began = self._settings, self._clock.boot_ns()
        pause = FIRST_LOOK_SECONDS
        call.adrift = False
        try:
            while True:
                await asyncio.wait({call.done}, timeout=pause)
                if not call.done.done():
                    await self._look(session)
                if call.done.done():
                    self._forget(session, key, call)
                    return reply_of(call, session.run)
                if session.over is not None:
                    return session.over
                waited = (self._clock.boot_ns() - began) / 1e9
                standing = session.tape.calls.get(call.id) if session.tape is not None else None
                approval = (standing.approval or standing.doubt) if standing is not None else ""
                if approval and waited >= settings.mcp_approval_wait_seconds:
                    return self._later(session, call, approval, is_doubt=not (standing and standing.approval))
                if waited >= settings.mcp_wait_seconds:
                    return self._later(session, call, "", is_doubt=False)
                pause = min(LAST_LOOK_SECONDS, pause * 1.5, max(0.01, settings.mcp_wait_seconds - waited))
        finally:
            call.adrift = True  # also of a client that has gone: it may come again

    def _later(self, session: OpenSession, call: SentCall, approval: str, *, is_doubt: bool) -> Reply:
        again = "Call again with the same arguments to get its result; do not try another way meanwhile."
        if is_doubt:
            words = f"It is not known whether the call took effect; a person is asked (approval {approval}). {again}"
            return Reply("mcp_in_doubt", words, run=session.run, call=call.id, approval=approval)
        if approval:
            words = f"A person has to approve this call first (approval {approval}); then it is made. {again}"
            return Reply("approval_required", words, run=session.run, call=call.id, approval=approval)
        return Reply("mcp_still_running", f"The call has not ended yet. {again}", run=session.run, call=call.id)

    async def _look(self, session: OpenSession) -> None:
        """What the tape says meanwhile: of calls that another process has in hand, of questions, of the end."""
        tape = session.tape
        assert tape is not None
        async with session.looking:
            await tape.look()
        for calls in list(session.calls.values()):
            for call in calls:
                standing = tape.calls.get(call.id)
                if standing is None or call.done.done() or standing.last is None:
                    continue
                returned = await tape.returned(standing)
                if returned is not None and not call.done.done():
                    call.done.set_result(returned)
        if tape.over is not None:
            words = f"the session has ended: {tape.over.outcome}" + (
                f" ({tape.over.reason})" if tape.over.reason else ""
            )
            session.over = Reply(tape.over.code or "mcp_session_over", words, run=tape.run)
            return
        row = await self._platform.journal.get_run(tape.tenant, tape.run)
        if row is not None and row.status is Status.QUARANTINED:
            session.over = Reply("run_quarantined", f"the session was set aside for a person: {row.code}", run=tape.run)

    def _let_go(self, session: OpenSession) -> None:
        """Forget the oldest results that nobody has come again for."""
        kept = [
            (key, call) for key, calls in session.calls.items() for call in calls if call.adrift and call.done.done()
        ]
        for key, call in kept[:-WAITING_MAX]:
            self._forget(session, key, call)

    def _forget(self, session: OpenSession, key: tuple[str, str], call: SentCall) -> None:
        self._sent.pop(call.id, None)
        calls = session.calls.get(key, [])
        if call in calls:
            calls.remove(call)
        if not calls:
            session.calls.pop(key, None)

    async def _end(self, session: OpenSession) -> None:
        """End a session's run: in order, or where it waits for something, as cancelled."""
        run, tape = session.run, session.tape
        assert run is not None
        assert tape is not None
        session.leaving = True
        wake(session.stirred)
        with contextlib.suppress(PenstockError, TimeoutError):
            if session.waiting:
                await self._platform.cancel(run, actor="mcp", reason="the client has gone", tenant=tape.tenant)
            else:
                for lane in range(self._settings.mcp_calls_at_once):
                    await self._platform.send_event(run, CALL, {"end": lane}, dedup=f"end-{lane}", tenant=tape.tenant)
            await self._nudge(tape.tenant, run)
            await self._platform.ended(run, tenant=tape.tenant, timeout_seconds=END_SECONDS)
