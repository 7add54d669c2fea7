"""`Run`: what an agent's code holds. Every way out of it is a gate."""

import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from uuid import UUID

from pydantic_core import to_jsonable_python

from penstock.agents.budget import Budget
from penstock.agents.caching import checked_cache
from penstock.agents.document import Document
from penstock.agents.tool import Tool
from penstock.events import BudgetRecord, Fact
from penstock.events.messages import Message, say
from penstock.gates import primitives
from penstock.gates.document_gate import Place
from penstock.gates.limits.timeout import timeout
from penstock.gates.model.conversation import Conversation
from penstock.gates.model.gate import call_model
from penstock.gates.model.plan import ModelCall
from penstock.gates.run.context import RunContext
from penstock.gates.run.ledger import Seen
from penstock.gates.tool.gate import ToolCallAsked, call_tool
from penstock.gates.tool.help import ask_person
from penstock.gates.waits import continue_gate, event_gate
from penstock.gates.waits.child_gate import ChildAsked, call_child
from penstock.gates.waits.message_gate import send_event
from penstock.kernel.canonical import check_name
from penstock.kernel.errors import AgentInvalid, CallDenied, Escalation, GateMisused, ToolFailed
from penstock.kernel.randomness import seeded
from penstock.ports.agents import AgentDef
from penstock.ports.cache import Cache
from penstock.ports.model import Model, ModelSettings

if TYPE_CHECKING:
    from penstock.agents.agent import AgentTool
    from penstock.agents.chat import Chat

T = TypeVar("T")


@dataclass(slots=True, frozen=True)
class Revision:
    """Why the agent works once more: its ``consequence`` sent ``result`` back with these words; counted from 1."""

    number: int
    words: str
    result: Any


class Run:
    """One run, as its agent sees it. All its methods replay. ``context`` is the engine's side of it.

    ``stage`` is '' for the agent's own work. Each stage draws random numbers of its own, so that one that a recovery
    passes over does not move those of the others.
    """

    def __init__(self, context: RunContext, stage: str = "") -> None:
        self.context = context
        self.stage = stage
        self.revision: Revision | None = None
        self.heard: str | None = None
        """What an agent with the standard loop was asked."""
        self._draws = 0
        self._session: Document | None = None

    @property
    def seen(self) -> Seen:
        """Time and use as this run may see them."""
        return self.context.seen

    @property
    def budget(self) -> BudgetRecord:
        """The limits it was given; 0 = none of that kind."""
        return self.context.facts.budget

    @property
    def id(self) -> UUID:
        return self.context.run_id

    @property
    def tenant(self) -> str:
        return self.context.claim.tenant

    @property
    def tags(self) -> dict[str, str]:
        return dict(self.context.tape.submitted.tags)

    @property
    def session(self) -> Document:
        """What the session of this run holds. Its runs go one at a time, so they do not overtake each other's writes.

        Raises:
            GateMisused: the run was submitted without a session.
        """
        submitted = self.context.tape.submitted
        if not submitted.session:
            raise GateMisused("the run belongs to no session", hint="submit it with session=...")
        if self._session is None:
            self._session = Document(self.context, Place("session", submitted.session, submitted.subject))
        return self._session

    def document(self, name: str, *, subject: str = "") -> Document:
        """A document that all runs of the tenant share. What is written is erased with ``subject``, if one is named.

        Raises:
            InputInvalid: a name that cannot stand in an index.
        """
        check_name(name, "name of a document")
        if subject:
            check_name(subject, "subject")
        return Document(self.context, Place("shared", name, subject))

    def now(self) -> datetime:
        """The time of the latest outcome this run has seen (UTC): the same live and in replay."""
        return datetime.fromtimestamp(self.context.seen.at / 1e6, UTC)

    def random(self) -> random.Random:
        """A generator seeded by this run and by how often it was asked for: the same live and in replay.

        Ask for it outside `gather` branches, or hand each branch its own.
        """
        self._draws += 1
        of = [self.stage] if self.stage else []
        return seeded("run", str(self.id), *of, self._draws)

    async def call(
        self, what: "Tool[..., Any] | AgentDef", *args: Any, budget: Budget | None = None, **kwargs: Any
    ) -> Any:
        """Call a tool, or another agent as a child run, through the gate.

        With ``session`` a child belongs to that session and waits its turn in it; otherwise to none.

        Raises:
            CallDenied: a rule or a person said no; nothing was done.
            ToolFailed: the tool was called and failed.
            ChildFailed: the child run ended without success.
            WaitCycle: the child would wait in its session behind a run that waits for this one.
        """
        if isinstance(what, Tool):
            return await self._call_tool(what, args, kwargs)
        if not hasattr(what, "invoke"):
            raise GateMisused(f"run.call takes a tool or an agent, not {what!r}", hint="use run.record for functions")
        session = kwargs.pop("session", "")
        if session != "":
            check_name(session, "session")
        if len(args) != 1 or kwargs:
            raise AgentInvalid(f"the agent {what.name} takes one input; it was given {len(args) + len(kwargs)}")
        self.context.services.agents.add(what)
        limits = budget.record() if budget else what.budget
        asked = ChildAsked(what, what.plain_input(args[0]), limits, session=session)
        return what.read_output(await call_child(self.context, asked))

    async def _call_tool(self, what: "Tool[..., Any]", args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tool = what.definition
        names = list(tool.spec.schema.get("properties", {}))
        if len(args) > len(names):
            raise ToolFailed(f"{tool.name} takes {len(names)} arguments; it was given {len(args)}")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        try:
            plain: Any = to_jsonable_python(given, inf_nan_mode="constants")
        except (ValueError, TypeError, RecursionError):
            plain = "arguments without a JSON form"  # which the gate refuses, on the record
        returned = await call_tool(self.context, ToolCallAsked(tool.name, tool, plain))
        if returned.code == "happened":
            return None
        if returned.status == "ok":
            return tool.read_result(returned.value)
        if returned.status == "denied":
            raise CallDenied(f"{tool.name}: {returned.words}", tool=tool.name, rule=returned.code)
        raise ToolFailed(f"{tool.name}: {returned.words}", tool=tool.name, failure=returned.code)

    async def ask_person(self, question: str, *, seconds: float = 0) -> str:
        """Ask a person what to do; their words. The run parks until somebody answers in the inbox of approvals.

        ``seconds``: how long there is; 0 = the setting ``approval_expiry_seconds``.

        Raises:
            CallDenied: nobody answered in time.
        """
        found = await ask_person(self.context, question, seconds=seconds)
        if found.status != "answered":
            raise CallDenied("nobody answered in time", tool="escalate", rule=f"approval_{found.status}")
        return found.words

    async def ask(
        self,
        model: "Model | str | Sequence[Model | str]",
        prompt: str | Sequence[Message],
        *,
        instructions: str = "",
        max_tokens: int = 1024,
        temperature: float | None = None,
        purpose: str = "step",
        hedge_after_seconds: float | None = None,
        cache: Cache | None = None,
    ) -> str:
        """One model call without tools; the words of the answer. Of several models, each is asked when the one before
        has failed for good. Without an answer after ``hedge_after_seconds`` a second attempt is made beside the first.
        With ``cache`` it may be an answer that the same request was given before.

        Raises:
            AgentInvalid: the cache and the temperature contradict each other.
            CallDenied: a rule said no.
            ModelFailed: all attempts failed.
        """
        check_name(purpose, "purpose")
        opening = [say("system", instructions)] if instructions else []
        messages = [say("user", prompt)] if isinstance(prompt, str) else list(prompt)
        first, *others = [model] if isinstance(model, str) or not isinstance(model, Sequence) else model
        turn = await call_model(
            self.context,
            ModelCall(
                self.model(first),
                Conversation([*opening, *messages]),
                settings=ModelSettings(max_tokens, temperature),
                purpose=purpose,
                can_answer_last=False,
                fallbacks=[self.model(other) for other in others],
                hedge_after=hedge_after_seconds,
                cache=checked_cache("the call", cache, temperature) if cache is not None else None,
            ),
        )
        return turn.message.text

    def chat(
        self,
        model: "Model | str",
        *,
        instructions: str = "",
        tools: "Sequence[Tool[..., Any] | AgentTool]" = (),
        max_tokens: int = 1024,
        temperature: float | None = None,
        cache: Cache | None = None,
    ) -> "Chat":
        """Begin a conversation of many turns with a model that may call tools; see `Chat`. With ``cache`` its answers
        may be those that the same conversation was given before.

        Raises:
            AgentInvalid: two tools of one name; the cache and the temperature contradict each other.
        """
        from penstock.agents.chat import Chat

        settings = ModelSettings(max_tokens, temperature)
        kept = checked_cache("the chat", cache, temperature) if cache is not None else None
        return Chat(self, self.model(model), instructions, tools, settings, kept)

    def model(self, model: "Model | str") -> Model:
        """The model of that name."""
        return self.context.services.models.find(model) if isinstance(model, str) else model

    async def gather(self, *calls: Coroutine[Any, Any, Any], limit: int | None = None) -> list[Any]:
        """Run coroutines side by side as branches of this run; their results in order.

        All are awaited, also when one fails; then the first failure, in their order, is raised.
        """
        return await self._join(calls, limit or len(calls) or 1)

    async def map(
        self, function: Callable[[T], Coroutine[Any, Any, Any]], items: Iterable[T], *, limit: int = 10
    ) -> list[Any]:
        """``function(item)`` for every item, at most ``limit`` at a time; results in order. Fails like `gather`."""
        return await self._join([function(item) for item in items], limit)

    async def _join(self, coros: Sequence[Coroutine[Any, Any, Any]], limit: int) -> list[Any]:
        schedule = self.context.schedule
        fanout = self.context.services.settings.fanout_max
        if len(coros) > fanout or limit < 1:
            for coro in coros:
                coro.close()
            raise GateMisused(
                f"{len(coros)} branches, {limit} at a time; at most {fanout} are allowed", hint="use smaller groups"
            )
        try:
            branch = schedule.bind()
        except GateMisused:
            for coro in coros:
                coro.close()
            raise
        results = await schedule.join(branch, coros, branch.next_path(), limit)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return results

    async def timeout(self, seconds: float, work: Coroutine[Any, Any, T]) -> T:
        """What ``work`` returns, if it ends within so many seconds; time in which the run is parked counts.

        When it does not, its calls in flight are cut short: a model call is charged, a child is cancelled, a question
        to a person is withdrawn, and a write whose effect is in doubt is settled first. So the error can come later
        than the time. The code inside is closed where it stands; its ``except`` blocks do not see it.

        Raises:
            TimedOut: it took longer.
            InputInvalid: the time is not from 0 seconds to 366 days.
        """
        result: T = await timeout(self.context, seconds, work)
        return result

    async def sleep(self, seconds: float) -> None:
        """Sleep without holding a worker: the run parks when nothing else goes on."""
        await primitives.sleep(self.context, seconds)

    async def wait_event(
        self,
        name: str,
        *,
        key: str = "",
        from_run: UUID | None = None,
        timeout_seconds: float | None = None,
    ) -> Any:
        """The value of the next event of that name, as plain JSON; waits without holding a worker.

        Events that came before are taken in the order in which they came, each once. Without ``key`` they are those
        sent to this run; with it, those sent to that name and key, each of which one run gets. ``from_run``: only
        those that this other run sends.

        Raises:
            TimedOut: none came in time.
            WaitCycle: ``from_run`` waits for this run, directly or through others.
            WaitFailed: ``from_run`` is not known, or has ended without sending it.
        """
        return await event_gate.wait_event(self.context, name, key, from_run, timeout_seconds)

    async def wait_run(self, run: UUID, *, timeout_seconds: float | None = None) -> event_gate.Awaited:
        """How another run of this tenant ended, once it has; waits without holding a worker.

        Raises:
            TimedOut: it has not ended in time.
            WaitCycle: it waits for this run, directly or through others.
            WaitFailed: there is no such run.
        """
        return await event_gate.wait_run(self.context, run, timeout_seconds)

    async def send_event(self, run: UUID, name: str, value: Any = None) -> bool:
        """Send an event to another run of this tenant, once; False when it has ended or does not exist.

        Raises:
            InboxFull: that run was sent as many events as it takes.
        """
        return await send_event(self.context, run, name, to_jsonable_python(value, inf_nan_mode="constants"))

    async def record(self, name: str, function: Callable[[], Any | Awaitable[Any]]) -> Any:
        """Take a value from outside once (I/O that is neither model nor tool); replay gives it back, as plain JSON.

        Raises:
            ToolFailed: the function raised.
        """
        return await primitives.record(self.context, name, function)

    async def continue_as(self, value: Any) -> NoReturn:
        """Go on with ``value`` in a new run of this agent, with a fresh history: for work without an end.

        Does not return. This run ends as ``succeeded`` with the code ``continued``; whoever waits for it gets what the
        new run comes to. What is left of the budget, the session, priority, deadline, tags and subject go along. Call
        it from the agent's own line, not inside a branch.

        Raises:
            GateMisused: inside a branch.
            InputInvalid, InputTooLarge: the value is no input of this agent.
        """
        await continue_gate.continue_as(self.context, value)

    async def patched(self, patch: str) -> bool:
        """Whether this run takes the new branch of changed code; False for runs that were past this point before."""
        return await primitives.patched(self.context, patch)

    async def decide(
        self,
        name: str,
        options: Sequence[str],
        chosen: int,
        *,
        why: str,
        confidence: float | None = None,
        facts: Sequence[Fact] = (),
    ) -> None:
        """Put a decision on the record: what there was to choose from, what was chosen, and why."""
        await primitives.decide(self.context, name, options, chosen, why, confidence, facts)

    def keep_partial(self, value: Any) -> None:
        """What to hand over, labelled partial, if the run is stopped before its end."""
        self.context.partial = value


def escalate(reason: str, **fields: Any) -> NoReturn:
    """Hand the case to a person: the run ends as ``escalated``.

    Raises:
        Escalation: always.
    """
    raise Escalation(reason, **fields)
