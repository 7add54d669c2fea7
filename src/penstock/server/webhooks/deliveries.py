"""The loop that delivers. Every server has one: they share the work by taking deliveries for the length of a lease."""

import asyncio
import contextlib
import logging
import ssl
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from penstock.kernel.clock import Clock
from penstock.kernel.errors import JournalError, WebhookTargetRefused
from penstock.kernel.randomness import jitter
from penstock.ports.journal import Journal
from penstock.ports.webhooks import Attempted, State, Taken
from penstock.server.webhooks.message import message_body
from penstock.server.webhooks.sending import Answer, NotHttp, post
from penstock.server.webhooks.signing import signed_headers
from penstock.server.webhooks.targets import parse_networks, parse_target, resolve
from penstock.settings import Settings

LEASE_MARGIN_SECONDS = 20.0
"""Beyond the time-out of an attempt, before another server takes the delivery."""
HOLD_MAX_SECONDS = 86_400.0
"""The longest that a target may ask to be left alone."""
STOP_SECONDS = 3.0
"""How long attempts under way have to come to an end when the server stops. Others make those that do not."""
TIDY_SECONDS = 60.0
FORGOTTEN_AT_ONCE = 1_000
STATUS_MAX_CHARS = 200
SLOW_MAX = 10_000
"""Endpoints that ran out of time that a server remembers."""
_GONE = 410
_BUSY = (429, 503)

_logger = logging.getLogger("penstock.server")


class Deliveries:
    """Makes the deliveries of all tenants.

    Args:
        context: how targets' certificates are checked; by default against those that the system trusts.
    """

    def __init__(
        self, journal: Journal, clock: Clock, settings: Settings, context: ssl.SSLContext | None = None
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._settings = settings
        self._context = context or ssl.create_default_context()
        self._allowed = parse_networks(settings.webhook_allowed_networks)
        self._under_way: dict[asyncio.Task[None], UUID] = {}
        self._freed = asyncio.Event()
        # Endpoints whose last attempt here ran out of time. Together they have half of the places at most, so that
        # however many targets hang, those that answer are not delayed.
        self._slow: OrderedDict[UUID, None] = OrderedDict()
        # A resolver that hangs must not keep the process's other threads busy.
        self._resolving = ThreadPoolExecutor(settings.webhook_concurrency, "webhook-names")
        self._tidied_at = -(10**18)

    @contextlib.asynccontextmanager
    async def going(self) -> AsyncIterator[None]:
        """Deliver as long as the block runs."""
        looking = asyncio.create_task(self._run())
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.wait([looking])
            if self._under_way:
                await asyncio.wait(self._under_way, timeout=STOP_SECONDS)
            await self._cut_off()

    async def _cut_off(self) -> None:
        left = list(self._under_way)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        self._resolving.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        while True:
            self._freed.clear()
            pause = self._settings.poll_seconds
            try:
                await self.look()
                await self._tidy()
            except JournalError as error:
                _logger.warning("webhooks cannot be looked at: %s", error.what)
                pause += jitter(0, pause)
            except Exception:  # whatever it is, deliveries go on
                _logger.exception("looking at webhooks failed")
            await self._pause(pause)

    async def _pause(self, seconds: float) -> None:
        """Until there is room for an endpoint that had none, or for so long."""
        ways = [asyncio.create_task(self._freed.wait()), asyncio.create_task(self._clock.sleep(seconds))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()

    async def look(self) -> int:
        """Begin to attempt what is due and for what there is room; how many.

        Raises:
            JournalError: the store cannot be reached.
        """
        settings = self._settings
        room = settings.webhook_concurrency - len(self._under_way)
        if room <= 0:
            return 0
        each = settings.webhook_endpoint_concurrency
        busy = Counter(self._under_way.values())
        taken = await self._take({**busy, **dict.fromkeys(self._slow, each)}, room)
        slow_room = max(1, settings.webhook_concurrency // 2) - sum(busy[endpoint] for endpoint in self._slow)
        if self._slow and (left := min(room - len(taken), slow_room)) > 0:
            taken += await self._take(busy + Counter(item.delivery.endpoint for item in taken), left)
        for item in taken:
            task = asyncio.create_task(self._deliver(item))
            self._under_way[task] = item.delivery.endpoint
            task.add_done_callback(self._done)
        return len(taken)

    async def _take(self, under_way: Mapping[UUID, int], limit: int) -> list[Taken]:
        settings = self._settings
        each, lease = settings.webhook_endpoint_concurrency, settings.webhook_timeout_seconds + LEASE_MARGIN_SECONDS
        return await self._journal.webhooks.take(under_way, each, limit, lease)

    async def settled(self) -> None:
        """Wait until nothing is under way."""
        while self._under_way:
            await asyncio.wait(list(self._under_way))

    def _done(self, task: "asyncio.Task[None]") -> None:
        del self._under_way[task]
        self._freed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("what became of a webhook is not known, it will be attempted again", exc_info=error)

    async def _deliver(self, taken: Taken) -> None:
        attempted = await self._attempt(taken)
        try:
            await self._journal.webhooks.settle(attempted, self._settings.webhook_failing_after)
        except JournalError as error:
            _logger.warning("what became of webhook %s is not recorded: %s", taken.delivery.id, error.what)

    async def _attempt(self, taken: Taken) -> Attempted:
        """Send it once. Whatever happens is an outcome, in words without anything that the target said."""
        limit = self._settings.webhook_timeout_seconds
        try:
            async with asyncio.timeout(limit):
                answer = await self._send(taken)
        except TimeoutError:
            self._remember_slow(taken.delivery.endpoint)
            words = f"no answer within {limit:g} s"
        except WebhookTargetRefused as error:
            words = f"refused: {error.what}"
        except ssl.SSLError as error:
            words = f"TLS: {getattr(error, 'verify_message', '') or error.reason or 'failed'}"
        except OSError as error:
            words = f"no connection: {error.strerror or error}"
        except NotHttp as error:
            words = f"no answer: {error}"
        except Exception:  # a bug: the delivery must not be attempted for ever without being counted
            _logger.exception("sending webhook %s failed", taken.delivery.id)
            words = "the server failed to send it"
        else:
            self._slow.pop(taken.delivery.endpoint, None)
            return self._judge(taken, answer)
        return self._failed(taken, words)

    def _remember_slow(self, endpoint: UUID) -> None:
        self._slow[endpoint] = None
        while len(self._slow) > SLOW_MAX:
            self._slow.popitem(last=False)

    async def _send(self, taken: Taken) -> Answer:
        target = parse_target(taken.url, allow_http=bool(self._settings.webhook_allow_http))
        addresses = await resolve(target, self._allowed, self._resolving)
        body = message_body(taken.delivery, self._settings.public_url)
        headers = signed_headers(taken.secrets, taken.delivery.id, self._clock.now_us() // 1_000_000, body)
        return await post(target, addresses, headers, body, self._context)

    def _judge(self, taken: Taken, answer: Answer) -> Attempted:
        if 200 <= answer.status < 300:
            return Attempted(taken, "delivered", str(answer.status))
        asked = min(answer.retry_seconds(self._clock.now_us()), HOLD_MAX_SECONDS)
        hold = asked if answer.status in _BUSY else 0.0
        return self._failed(taken, str(answer.status), asked, hold, gone=answer.status == _GONE)

    def _failed(
        self, taken: Taken, words: str, asked: float = 0.0, hold: float = 0.0, *, gone: bool = False
    ) -> Attempted:
        """``asked``: seconds after which it may be attempted again; ``hold``: in which nothing else may be either."""
        settings = self._settings
        attempts = taken.delivery.attempts
        # Full jitter: AWS Architecture Blog, "Exponential Backoff And Jitter".
        most = min(
            settings.webhook_backoff_max_seconds, settings.webhook_backoff_seconds * 2.0 ** min(attempts - 1, 60)
        )
        again = max(jitter(0, most), asked)
        is_last = attempts >= settings.webhook_attempts and not gone
        state: State = "dead" if is_last else "waiting"
        return Attempted(taken, state, words[:STATUS_MAX_CHARS], again, hold, gone)

    async def _tidy(self) -> None:
        now = self._clock.boot_ns()
        if now - self._tidied_at < TIDY_SECONDS * 1e9:
            return
        found = await self._journal.webhooks.forget(self._settings.webhook_keep_seconds, FORGOTTEN_AT_ONCE)
        if found < FORGOTTEN_AT_ONCE:
            self._tidied_at = now
