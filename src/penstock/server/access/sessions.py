"""Signing in and out of the console: the session and its cookie."""

import hashlib
import hmac
from base64 import b32encode
from dataclasses import dataclass
from uuid import UUID

from fastapi import Request
from starlette.responses import Response

from penstock.kernel.clock import Clock
from penstock.kernel.ids import new_id
from penstock.kernel.randomness import token_bytes
from penstock.ports.access import SessionRecord
from penstock.ports.journal import Journal
from penstock.server.access.caller import Caller
from penstock.server.access.credentials import digest_of, new_secret
from penstock.server.access.doorkeeper import COOKIE, SECURE_COOKIE, Doorkeeper, session_caller, session_cookie
from penstock.settings import Settings

PSEUDONYMS = "penstock:oidc"
"""The subject whose key pseudonyms are made with: without it nobody can tell from an actor who it was."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is to be signed in."""

    tenant: str
    actor: str
    name: str
    roles: tuple[str, ...]
    permissions: frozenset[str]
    key: UUID | None = None


class Sessions:
    """Begins and ends sessions."""

    def __init__(self, journal: Journal, doorkeeper: Doorkeeper, clock: Clock, settings: Settings) -> None:
        self._journal = journal
        self._doorkeeper = doorkeeper
        self._clock = clock
        self._settings = settings

    async def begin(self, request: Request, person: Person) -> tuple[Caller, str]:
        """Sign somebody in: a new session with a new secret, whatever cookie the browser had; that one's session ends.
        The caller it stands for, and the secret for the cookie."""
        await self._end_earlier(request)
        secret = new_secret()
        asked = SessionRecord(
            person.tenant,
            new_id(self._clock),
            person.actor,
            person.name,
            person.roles,
            tuple(sorted(person.permissions)),
            person.key,
        )
        settings = self._settings
        opened = await self._journal.access.open_session(
            asked, digest_of(secret), settings.session_seconds, settings.sessions_max
        )
        return session_caller(opened, secret), secret

    async def end(self, caller: Caller) -> None:
        """Sign a session out."""
        await self._journal.access.end_session(caller.tenant, caller.credential)
        self._doorkeeper.forget(caller.credential)

    async def _end_earlier(self, request: Request) -> None:
        if not (secret := session_cookie(request)):
            return
        found = await self._journal.access.find_session(digest_of(secret), self._settings.session_idle_seconds)
        if found is not None:
            await self._journal.access.end_session(found[0].tenant, found[0].id)
            self._doorkeeper.forget(found[0].id)

    async def pseudonym(self, tenant: str, issuer: str, subject: str) -> str:
        """The actor that stands for a person of an identity provider: the same each time, and nobody without the
        tenant's secret can find out or guess who."""
        key = await self._journal.ensure_subject(tenant, PSEUDONYMS, token_bytes(32))
        digest = hmac.new(key, f"{issuer}\x00{subject}".encode(), hashlib.sha256).digest()
        return "oidc:" + b32encode(digest[:10]).decode().lower()


def set_cookie(request: Request, response: Response, secret: str, seconds: float) -> None:
    """Give the browser its session's secret."""
    secure = request.url.scheme == "https"
    response.set_cookie(
        SECURE_COOKIE if secure else COOKIE,
        secret,
        max_age=int(seconds),
        path="/",
        secure=secure,
        httponly=True,
        samesite="strict",
    )


def drop_cookie(request: Request, response: Response) -> None:
    """Take it back."""
    secure = request.url.scheme == "https"
    response.delete_cookie(
        SECURE_COOKIE if secure else COOKIE, path="/", secure=secure, httponly=True, samesite="strict"
    )
