"""`Gateway`: takes requests, finds or makes their runs, and passes them through the model gate."""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from typing import NoReturn, Protocol

import msgspec

from penstock.adapters.upstream import Answer
from penstock.adapters.upstream.client import Headers
from penstock.gates.model.conversation import Conversation
from penstock.gates.model.gate import Turn
from penstock.gates.model.plan import ModelCall
from penstock.integrations.gateway.again.collector import Collector
from penstock.integrations.gateway.exchange import Client, Exchange, PassThrough
from penstock.integrations.gateway.filtering import WITHHELD, Filtering, Passing
from penstock.integrations.gateway.keeping import WireKeeping, cache_for, stream_of, temperature_of
from penstock.integrations.gateway.lost import LostRuns
from penstock.integrations.gateway.problems import problem_of, rendered
from penstock.integrations.gateway.prompts import Prompt
from penstock.integrations.gateway.run import GatewayRun, Stopped
from penstock.integrations.gateway.runs import HeldRuns, Who, Wishes
from penstock.integrations.gateway.shapes import Shape, Unfit
from penstock.integrations.gateway.shapes.base import OUTPUT_MAX
from penstock.integrations.gateway.targets import Provider, Targets
from penstock.kernel.errors import ModelFailed, PenstockError
from penstock.kernel.money import NANO
from penstock.ports.model import ModelSettings
from penstock.runs.client import Penstock
from penstock.runs.work.ending import Ending

JOURNAL_SECONDS = 10.0
"""How long a client is kept waiting for its call to be recorded before it is told that it was not made."""

_logger = logging.getLogger("penstock.gateway")


class Asker(Client, Protocol):
    """A client that an answer can be given to."""

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer."""
        ...

    async def finish(self) -> None:
        """The end of a streamed one."""
        ...

    def on_gone(self, act: Callable[[], None]) -> None:
        """Do this when the client leaves."""
        ...

    def give_up(self) -> None:
        """It was answered already: whatever comes now finds it gone."""
        ...


class Gateway:
    """One gateway on an open platform, which works under a worker's lease. `going` has to be entered."""

    def __init__(self, platform: Penstock, targets: Targets) -> None:
        self.services = platform.services
        self.targets = targets
        self.config = targets.config
        self.filtering = Filtering(self.config.filters, platform.journal.cache)
        self._platform = platform
        self.runs = HeldRuns(platform, self.config)
        platform.registry.add_release(LostRuns())

    async def start(self, name: str) -> None:
        """Begin to hold runs, as the worker of that name when the platform has none yet.

        Raises:
            WorkerNameTaken: another live worker has it.
        """
        if self._platform.worker is None:
            self._platform.start_worker(name)
        await self._platform.enlisted()
        await self.runs.start()

    async def close(self) -> None:
        """Take no more calls; wait for those under way for ``drain_seconds``, then cut them short."""
        await self.runs.close()
        await self.targets.close()

    async def serve(self, who: Who, shape: Shape, data: bytes, wishes: Wishes, client: Asker) -> None:
        """Pass one request on, and its answer back; whatever happens, the client is answered."""
        try:
            body = self._decoded(data)
            run, exchange, asked = await self._prepared(who, shape, body, len(data), wishes, client)
        except (Unfit, Stopped, PenstockError) as error:
            await client.respond(*rendered(problem_of(error), shape.api))
            return
        path = exchange.path = run.path_of_next()
        exchange.own = lambda: self._headers(run, path)
        client.on_gone(lambda: self._has_left(run, exchange))
        made = run.begin_call(asked)
        await self._answered(run, exchange, client, made)
        if not run.name:
            await run.put_away.wait()
        elif wishes.end:
            run.end(Ending("succeeded", "", "the client ended it"))

    async def _answered(self, run: GatewayRun, exchange: Exchange, client: Asker, made: "asyncio.Future[Turn]") -> None:
        """Wait for the call, and tell the client what came of it."""
        patience = _Patience(run, exchange.path, made)
        failure: Exception | None = None
        try:
            await made
        except Exception as error:  # noqa: BLE001 - the client is told, whatever it is
            failure = error
        finally:
            patience.end()
        if failure is None and exchange.wire is not None and exchange.wire.blocked:
            failure = exchange.wire.failure()
        if not run.name:  # before the answer, which a slow client may take long for
            run.end(_how_it_ended(made))
        if failure is not None:
            await self._told(exchange, client, failure)
            return
        self._learn(run, exchange)
        if exchange.served is not None:
            await self._give_again(run, exchange, exchange.served, client)
        elif exchange.reader is not None:
            run.settled(exchange.path)  # nobody is told
            await client.finish()
        elif exchange.answer is not None:
            whole, headers = exchange.answer
            whole = whole if exchange.wire is None else exchange.wire.told(whole)
            await client.respond(200, [*headers, *exchange.headers(), *_spent(run, exchange)], whole)

    async def _give_again(self, run: GatewayRun, exchange: Exchange, whole: bytes, client: Asker) -> None:
        """Answer with what was answered before."""
        headers = [*exchange.headers(), *_spent(run, exchange)]
        whole = whole if exchange.wire is None else exchange.wire.told(whole)
        if not exchange.ask.stream:
            await client.respond(200, [(b"content-type", b"application/json"), *headers], whole)
            return
        await client.start(200, [(b"content-type", b"text/event-stream; charset=utf-8"), *headers])
        await client.write(stream_of(exchange, whole))
        await client.finish()

    async def _told(self, exchange: Exchange, client: Asker, error: Exception) -> None:
        """Tell the client that there is no answer, or no more of it."""
        if exchange.is_cut:
            await client.finish()
            return
        if exchange.reader is not None:
            problem = problem_of(error)
            await client.write(
                exchange.reader.last_words(problem.code, problem.words, because_of_limit=problem.is_limit)
            )
            await client.finish()
            return
        if isinstance(error, ModelFailed) and exchange.refused is not None:
            refused = exchange.refused
            await client.respond(refused.status, [*refused.headers, *exchange.headers()], refused.body)
            return
        status, headers, body = rendered(problem_of(error), exchange.shape.api)
        await client.respond(status, [*headers, *exchange.headers()], body)
        if isinstance(error, TimeoutError):
            client.give_up()

    async def _prepared(
        self, who: Who, shape: Shape, body: dict[str, object], size: int, wishes: Wishes, client: Asker
    ) -> tuple[GatewayRun, Exchange, ModelCall]:
        passing = await self.filtering.passing(who, shape, body) if self.config.filters else None
        if passing is not None:
            body, size = passing.body, max(size, len(msgspec.json.encode(passing.body)))
            if passing.blocked:
                await self._withheld(who, wishes, passing)
        ask = shape.ask(body)
        targets = self.targets.find(shape, ask.model)
        if ask.media:
            targets = [self.targets.with_context(target) for target in targets]
        run = await self.runs.find(who, wishes)
        exchange = Exchange(shape, body, ask, size, client, list)
        exchange.passed = wishes.passed
        if passing is not None:
            exchange.wire, run.context.facts.filters = passing.wire, passing.recorded
        conversation = Conversation(ask.messages)
        conversation.commit(run.log)
        frame = hashlib.sha256(msgspec.json.encode(ask.rest)).hexdigest()[:32]
        if run.name:
            exchange.size = len(msgspec.json.encode(body))
            exchange.learnt = run.prompts.continue_from(conversation, frame)
            exchange.frame = frame
        exchange.refs = conversation.refs
        exchange.keeps_for_an_hour = shape.api == "anthropic" and _asks_for_an_hour(body)
        models = [PassThrough(exchange, target, self.targets.prices) for target in targets]
        cache = cache_for(self.config.cache, who.agent, ask) if wishes.store else None
        keeping = None if cache is None else WireKeeping(exchange, targets[0])
        if cache is not None and ask.stream:
            exchange.collector = Collector()
        most = min(OUTPUT_MAX, ask.choices * (ask.most or targets[0].max_output_tokens))
        asked = ModelCall(
            models[0],
            conversation,
            tools_digest=frame,
            settings=ModelSettings(
                max_tokens=most,
                temperature=None if cache is None else temperature_of(exchange),
                timeout_seconds=targets[0].provider.config.timeout_seconds,
            ),
            purpose=shape.name,
            attempts=1,
            can_answer_last=False,
            fallbacks=models[1:],
            optional=True,
            cache=cache,
            keeping=keeping,
            filtered=passing.found if passing is not None else (),
        )
        return run, exchange, asked

    async def _withheld(self, who: Who, wishes: Wishes, passing: Passing) -> NoReturn:
        """Refuse a request that may not be sent. That it came is on record as a run of its own, or not at all when the
        client names one."""
        words = f"the request holds what may not leave: {passing.blocked}"
        if not wishes.run:
            run = await self.runs.find(who, wishes)
            run.end(Ending("refused", WITHHELD, words))
        raise Unfit(WITHHELD, words)

    def _decoded(self, data: bytes) -> dict[str, object]:
        try:
            body = msgspec.json.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Unfit("invalid_json", "the body is not JSON") from error
        if not isinstance(body, dict):
            raise Unfit("invalid_json", "the body must be a JSON object")
        return body

    def _headers(self, run: GatewayRun, path: str) -> Headers:
        """What every answer says: which run and call it was, and what the run's own budget leaves."""
        facts, budget = run.context.facts, run.context.facts.budget
        headers: Headers = [(b"penstock-run", str(run.claim.run).encode()), (b"penstock-call", path.encode())]
        left = []
        if budget.nano:
            left.append(f"usd={max(0, budget.nano - facts.nano - facts.held_nano) / NANO:.9f}")
        if budget.tokens:
            left.append(f"tokens={max(0, budget.tokens - facts.tokens - facts.held_tokens)}")
        if left:
            headers.append((b"penstock-left", "; ".join(left).encode()))
        return headers

    def _learn(self, run: GatewayRun, exchange: Exchange) -> None:
        """Keep what the provider said of the prompt, for the next one that goes on from it."""
        if run.name and (exchange.reply is not None or exchange.served is not None):
            used = exchange.reply.usage if exchange.reply is not None else None
            tokens = used.tokens_in if used is not None else 0
            run.prompts.add(Prompt(exchange.path, exchange.refs, exchange.frame, exchange.size, tokens))

    def _has_left(self, run: GatewayRun, exchange: Exchange) -> None:
        """The client is gone: what is under way for it is given up."""
        exchange.leave()
        if not exchange.has_called and not run.name:
            run.context.end("cancelled", "client_gone", "the client left before the call was made")

    async def pass_through(
        self, who: Who, provider: Provider, method: str, path: str, data: bytes, passed: Headers
    ) -> Answer:
        """A request that costs nothing and is no call: the list of models, the count of a prompt's tokens.

        Raises:
            UpstreamFailed: the provider does not answer.
            Unfit: it holds what may not leave.
        """
        if data and self.config.filters:
            passing = await self.filtering.passing(who, None, self._decoded(data))
            if passing is not None and passing.blocked:
                raise Unfit(WITHHELD, f"the request holds what may not leave: {passing.blocked}")
            data = data if passing is None else msgspec.json.encode(passing.body)
        return await provider.upstream.send(method, path, [*provider.headers, *passed], data)


class _Patience:
    """How long a client is kept waiting for its call's intent to be durable; then it is told so, and the call is not
    made any more when it is. Waiting for a limit, or for an equal call, is not the journal's fault."""

    def __init__(self, run: GatewayRun, path: str, made: "asyncio.Future[Turn]") -> None:
        self._since = run.log.waiting_since
        self._path = path
        self._made = made
        self._loop = run.context.schedule.loop
        self._timer = self._loop.call_later(JOURNAL_SECONDS, self._look)

    def end(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        since = self._since.get(self._path)
        left = JOURNAL_SECONDS / 4 if since is None else since + JOURNAL_SECONDS - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        elif not self._made.done():
            self._made.set_exception(TimeoutError())


def _asks_for_an_hour(value: object) -> bool:
    """Whether something in a body is to be cached for an hour."""
    if isinstance(value, dict):
        control = value.get("cache_control")
        if isinstance(control, dict) and control.get("ttl") not in (None, "5m"):
            return True
        return any(map(_asks_for_an_hour, value.values()))
    return isinstance(value, list) and any(map(_asks_for_an_hour, value))


def _how_it_ended(made: "asyncio.Future[Turn]") -> Ending:
    """The end of a run of one call."""
    error = made.exception()
    if error is None:
        return Ending("succeeded")
    problem = problem_of(error)
    outcome = "exhausted" if problem.is_limit else "refused" if problem.status in (400, 403) else "failed"
    return Ending(outcome, problem.code, problem.words)


def _spent(run: GatewayRun, exchange: Exchange) -> Headers:
    """What the call cost, in dollars."""
    used = run.settled(exchange.path)
    return [] if used is None else [(b"penstock-cost", f"{used.nano / NANO:.9f}".encode())]
