"""Finds out who asks: by a key in the header Authorization, or by the cookie of a session."""

import asyncio
import hmac
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import Request

from penstock.kernel.clock import Clock
from penstock.kernel.errors import CrossSite, KeyExpired, KeyRevoked, Unauthenticated
from penstock.ports.access import Access, FoundKey, SessionRecord
from penstock.server.access.caller import Caller
from penstock.server.access.credentials import digest_of, split_key, token_for
from penstock.server.access.failures import Failures
from penstock.server.access.roles import OF_THE_OWNER, permissions_of
from penstock.server.exchange import exchange_of
from penstock.settings import Settings

CACHED_MAX = 10_000
"""Credentials whose look-up is remembered."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
COOKIE = "penstock_session"
SECURE_COOKIE = "__Host-penstock_session"
"""Over https: browsers accept that prefix only from the host itself, over https, and for all its paths."""
TOUCH_NS = 60_000_000_000
_NOBODY = bytes(32)


@dataclass(slots=True)
class _Known:
    """A credential that was found. ``until_ns``: when it has to be looked up again."""

    caller: Caller
    until_ns: int
    touched_ns: int


class Doorkeeper:
    """Looks credentials up, and remembers them for ``key_cache_seconds``: that is how long a key that was revoked, or
    has expired, goes on in a server other than the one that revoked it."""

    def __init__(self, access: Access, clock: Clock, settings: Settings) -> None:
        self.access = access
        self.failures = Failures(clock, settings.auth_failures_per_minute)
        self._clock = clock
        self._settings = settings
        self._known: dict[bytes, _Known] = {}
        self._looking: dict[bytes, asyncio.Task[Caller]] = {}
        self._welcome: dict[bytes, None] = {}
        """Credentials that were good before: looked up also for an address that has failed too often, which may be that
        of a proxy or of many people."""

    async def caller(self, request: Request) -> Caller:
        """Who makes a request.

        Raises:
            Unauthenticated: nobody that is known.
            CrossSite: a browser that may have been made to ask by another site.
            TooManyFailures: the address has failed too often.
        """
        header = request.headers.get("authorization", "")
        if header:
            scheme, _, text = header.partition(" ")
            if scheme.lower() != "bearer":
                raise Unauthenticated("the header Authorization holds no bearer key")
            found = await self.by_key(text.strip(), address_of(request))
        elif cookie := session_cookie(request):
            found = await self._by_cookie(cookie, address_of(request))
            if request.method not in SAFE_METHODS:
                check_same_site(request)
                if not hmac.compare_digest(request.headers.get("x-csrf-token", "").encode(), found.csrf.encode()):
                    raise CrossSite("the header X-CSRF-Token does not hold the token of the session")
        else:
            raise Unauthenticated("the request has no key")
        exchange = exchange_of(request.scope)
        exchange.actor = found.actor
        return replace(found, request=exchange.id)

    async def by_key(self, text: str, address: str) -> Caller:
        """Whose key it is.

        Raises:
            Unauthenticated: nobody's, or it is revoked or expired.
            TooManyFailures: the address has failed too often.
        """
        parts = split_key(text)
        digest = digest_of(parts[1] if parts else text)
        mark = digest_of(text)
        if (caller := self._remembered(mark)) is not None:
            await self._touch(mark)
            return caller
        if mark not in self._welcome:
            self.failures.check(address)
        return await self._looked_up(mark, lambda: self._find_key(parts, mark, digest, address))

    async def _find_key(self, parts: tuple[str, str] | None, mark: bytes, digest: bytes, address: str) -> Caller:
        found = await self.access.find_key(parts[0]) if parts else None
        if not hmac.compare_digest(found.digest if found else _NOBODY, digest) or found is None:
            self.failures.note(address)
            raise Unauthenticated("the key is not known")
        self._check_usable(found)
        key = found.key
        caller = Caller(
            actor=f"key:{key.name}",
            name=key.name,
            tenant=key.tenant,
            roles=key.roles,
            permissions=self.permissions(key.tenant, key.roles, key.permissions),
            signed_in="key",
            credential=key.id,
            key=key.id,
            expires_at=key.expires_at,
        )
        await self._remember(mark, caller, found.now)
        return caller

    async def _by_cookie(self, secret: str, address: str) -> Caller:
        mark = digest_of(secret)
        if (caller := self._remembered(mark)) is not None:
            await self._touch(mark)
            return caller
        if mark not in self._welcome:
            self.failures.check(address)
        return await self._looked_up(mark, lambda: self._find_session(mark, secret))

    async def _find_session(self, mark: bytes, secret: str) -> Caller:
        found = await self.access.find_session(mark, self._settings.session_idle_seconds)
        if found is None:
            self._welcome.pop(mark, None)
            raise Unauthenticated("the session is over", hint="sign in again")
        session, now = found
        caller = session_caller(session, secret)
        await self._remember(mark, caller, now)
        return caller

    def permissions(self, tenant: str, roles: Iterable[str], only: Iterable[str] | None = None) -> frozenset[str]:
        """What a tenant's key or person with these roles may do here."""
        given = permissions_of(roles, only)
        return given if tenant == self._settings.tenant else given - OF_THE_OWNER

    def forget(self, credential: UUID) -> None:
        """Look this key or session, and the sessions of this key, up again at the next request."""
        gone = [mark for mark, item in self._known.items() if credential in (item.caller.credential, item.caller.key)]
        for mark in gone:
            del self._known[mark]
        self._looking.clear()  # what was asked before may not be answered to those who come after

    def _check_usable(self, found: FoundKey) -> None:
        if found.key.revoked_at is not None:
            raise KeyRevoked(f"the key {found.key.handle} was revoked")
        if found.key.expires_at is not None and found.key.expires_at <= found.now:
            raise KeyExpired(f"the key {found.key.handle} has expired")

    def _remembered(self, mark: bytes) -> Caller | None:
        known = self._known.get(mark)
        return known.caller if known is not None and known.until_ns > self._clock.boot_ns() else None

    async def _looked_up(self, mark: bytes, look: Callable[[], Coroutine[Any, Any, Caller]]) -> Caller:
        """What ``look`` finds. Those who come with a credential that was good before share one look-up: a thousand
        streams of one person ask whether they may go on, and the answer is the same for all."""
        if mark not in self._welcome:
            return await look()
        task = self._looking.get(mark)
        if task is None:
            task = self._looking[mark] = asyncio.create_task(look())
            task.add_done_callback(lambda done: self._has_looked(mark, done))
        return await asyncio.shield(task)  # whoever leaves does not take the others' answer along

    def _has_looked(self, mark: bytes, done: "asyncio.Task[Caller]") -> None:
        if self._looking.get(mark) is done:
            del self._looking[mark]
        if not done.cancelled():
            done.exception()  # so that nobody is told of an error that all who waited have left

    async def _remember(self, mark: bytes, caller: Caller, now: int) -> None:
        seconds = self._settings.key_cache_seconds
        if caller.expires_at is not None:
            seconds = min(seconds, (caller.expires_at - now) / 1e6)
        for cache in (self._known, self._welcome):
            if len(cache) >= CACHED_MAX:
                cache.clear()
        before = self._known.get(mark)
        boot = self._clock.boot_ns()
        self._known[mark] = _Known(caller, boot + int(seconds * 1e9), before.touched_ns if before else boot - TOUCH_NS)
        self._welcome[mark] = None
        await self._touch(mark)

    async def _touch(self, mark: bytes) -> None:
        """Once a minute, note that it is used."""
        known = self._known[mark]
        boot = self._clock.boot_ns()
        if boot - known.touched_ns < TOUCH_NS:
            return
        known.touched_ns = boot
        caller = known.caller
        if caller.signed_in == "session":
            await self.access.used(caller.tenant, session=caller.credential)
        else:
            await self.access.used(caller.tenant, key=caller.credential)


def session_caller(session: SessionRecord, secret: str) -> Caller:
    """The caller that a session stands for."""
    return Caller(
        actor=session.actor,
        name=session.name,
        tenant=session.tenant,
        roles=session.roles,
        permissions=frozenset(session.permissions),
        signed_in="session",
        credential=session.id,
        key=session.key,
        expires_at=session.expires_at,
        csrf=token_for(secret, "csrf"),
    )


def session_cookie(request: Request) -> str:
    """The secret in the request's cookie; '' = there is none. Over https only the name that no other site can set."""
    if request.url.scheme == "https":
        return request.cookies.get(SECURE_COOKIE, "")
    return request.cookies.get(COOKIE, "")


def check_same_site(request: Request) -> None:
    """Refuse a change that a browser was made to ask for by another site's page.

    Raises:
        CrossSite: the browser says so.
    """
    fetched = request.headers.get("sec-fetch-site")
    if fetched is not None and fetched != "same-origin":
        raise CrossSite("the browser says that another site asks for this")
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host", ""):
        raise CrossSite(f"the request comes from {origin[:200]}, another site")


def address_of(request: Request) -> str:
    """The address that the request comes from, as a trusted proxy says it; '' = not known."""
    return request.client.host if request.client else ""
