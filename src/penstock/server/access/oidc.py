"""Sign-in with an identity provider: OpenID Connect, authorization code with PKCE (OpenID Connect Core 1.0, RFC 7636,
RFC 9700).

The browser carries one secret in a cookie from the start to the return. State, nonce and PKCE verifier are made of it,
so nothing is stored meanwhile, and only the browser that began can end it.
"""

import asyncio
import hashlib
import json
import urllib.error
import urllib.request
from base64 import b64encode, urlsafe_b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from penstock.kernel.clock import Clock
from penstock.kernel.errors import ProviderUnavailable, SignInFailed
from penstock.server.access.credentials import token_for
from penstock.settings import Settings

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures that are accepted: asymmetric ones, whatever the token or the provider says."""
SECONDS = 10.0
ANSWER_MAX_BYTES = 1024 * 1024
KEPT_NS = 3_600_000_000_000
REFRESH_NS = 10_000_000_000
"""From one look for a signing key that is not known to the next: made-up tokens must not become a flood of requests."""
LEEWAY_SECONDS = 60
"""By how much the provider's clock may differ from ours."""
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom the provider vouches for. ``groups``: the values of the roles' claim."""

    issuer: str
    subject: str
    name: str
    groups: tuple[str, ...]


@dataclass(slots=True)
class _Kept:
    """Something fetched, and when."""

    value: Any
    at_ns: int


class Oidc:
    """One provider."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.issuer = settings.oidc_issuer
        self._settings = settings
        self._clock = clock
        self._metadata: _Kept | None = None
        self._keys: _Kept | None = None

    @property
    def shown(self) -> str:
        """What people call it: its host; '' = none is set up."""
        return urlsplit(self.issuer).hostname or ""

    async def begin(self, secret: str, redirect_uri: str) -> str:
        """The address at the provider that the browser is sent to.

        Args:
            secret: what the browser keeps in its cookie; 256 random bits.
            redirect_uri: where the provider sends it back to.

        Raises:
            ProviderUnavailable: it cannot be reached or is no provider.
        """
        metadata = await self._discover()
        challenge = hashlib.sha256(token_for(secret, "oidc-verifier").encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self._settings.oidc_client_id,
            "redirect_uri": redirect_uri,
            "scope": self._settings.oidc_scope,
            "state": token_for(secret, "oidc-state"),
            "nonce": token_for(secret, "oidc-nonce"),
            "code_challenge": urlsafe_b64encode(challenge).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        address: str = metadata["authorization_endpoint"]
        return address + ("&" if "?" in address else "?") + urlencode(asked)

    async def finish(self, secret: str, code: str, redirect_uri: str) -> Identity:
        """Whom the provider vouches for, from the code that the browser came back with. The caller has compared the
        state (`token_for(secret, "oidc-state")`).

        Raises:
            SignInFailed: the provider refuses the code, or its token cannot be trusted.
            ProviderUnavailable: it cannot be reached or does not answer as it should.
        """
        metadata = await self._discover()
        tokens = await self._redeem(metadata, secret, code, redirect_uri)
        claims = await self._claims(metadata, str(tokens.get("id_token", "")), token_for(secret, "oidc-nonce"))
        if self._settings.oidc_roles_claim and _at(claims, self._settings.oidc_roles_claim) is None:
            claims = {**await self._userinfo(metadata, tokens, claims["sub"]), **claims}
        name = next((claims[key] for key in ("name", "preferred_username", "email") if claims.get(key)), "")
        groups = _at(claims, self._settings.oidc_roles_claim)
        listed = groups if isinstance(groups, list) else [] if groups is None else [groups]
        return Identity(self.issuer, claims["sub"], str(name)[:200], tuple(str(item) for item in listed))

    async def _discover(self) -> dict[str, Any]:
        if self._metadata is None or self._is_old(self._metadata):
            address = self.issuer.rstrip("/") + "/.well-known/openid-configuration"
            found = await self._ask(address)
            if found.get("issuer") != self.issuer:
                raise ProviderUnavailable(f"{address} describes the issuer {str(found.get('issuer'))[:200]!r}")
            for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                if not isinstance(found.get(name), str):
                    raise ProviderUnavailable(f"{address} names no {name}")
            self._metadata = _Kept(found, self._clock.boot_ns())
        metadata: dict[str, Any] = self._metadata.value
        return metadata

    async def _redeem(self, metadata: dict[str, Any], secret: str, code: str, redirect_uri: str) -> dict[str, Any]:
        settings = self._settings
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": token_for(secret, "oidc-verifier"),
        }
        headers = {}
        ways = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if not settings.oidc_client_secret:
            form["client_id"] = settings.oidc_client_id
        elif "client_secret_basic" in ways:
            pair = f"{quote(settings.oidc_client_id, safe='')}:{quote(settings.oidc_client_secret, safe='')}"
            headers["Authorization"] = "Basic " + b64encode(pair.encode()).decode()
        else:
            form |= {"client_id": settings.oidc_client_id, "client_secret": settings.oidc_client_secret}
        return await self._ask(metadata["token_endpoint"], form=form, headers=headers)

    async def _claims(self, metadata: dict[str, Any], token: str, nonce: str) -> dict[str, Any]:
        """The claims of an ID token, checked as OpenID Connect Core 3.1.3.7 has it."""
        from joserfc import jwt
        from joserfc.errors import JoseError

        client = self._settings.oidc_client_id
        registry = jwt.JWTClaimsRegistry(
            now=self._clock.now_us() // 1_000_000,
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": self.issuer},
            sub={"essential": True},
            aud={"essential": True, "value": client},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        keys = await self._signing_keys(metadata, fresh=False)
        for fresh in (False, True):
            try:
                if fresh:
                    keys = await self._signing_keys(metadata, fresh=True)
                claims = jwt.decode(token, keys, algorithms=list(ALGORITHMS)).claims
                registry.validate(claims)
            except (JoseError, ValueError) as error:  # a signing key that is not known is a ValueError
                if fresh or getattr(error, "error", "") not in ("", "bad_signature", "missing_key", "invalid_key_id"):
                    raise SignInFailed(f"the provider's token cannot be trusted: {_words(error)}") from error
            else:
                several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
                if claims.get("azp", None if several else client) != client:
                    raise SignInFailed("the provider's token is meant for another client")
                if not isinstance(claims["sub"], str) or not 1 <= len(claims["sub"]) <= 255:
                    raise SignInFailed("the provider's token names no subject")
                return claims
        raise AssertionError

    async def _signing_keys(self, metadata: dict[str, Any], *, fresh: bool) -> "KeySet":
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        kept = self._keys
        wanted = kept is None or self._is_old(kept) or (fresh and self._clock.boot_ns() - kept.at_ns > REFRESH_NS)
        if kept is None or wanted:
            found = await self._ask(metadata["jwks_uri"])
            try:
                kept = self._keys = _Kept(KeySet.import_key_set(found), self._clock.boot_ns())  # type: ignore[arg-type]
            except (JoseError, ValueError, KeyError, TypeError) as error:
                raise ProviderUnavailable(f"the provider's keys cannot be read: {_words(error)}") from error
        keys: KeySet = kept.value
        return keys

    async def _userinfo(self, metadata: dict[str, Any], tokens: dict[str, Any], subject: str) -> dict[str, Any]:
        """What the provider says besides: some name groups only there."""
        address, token = metadata.get("userinfo_endpoint"), tokens.get("access_token")
        if not isinstance(address, str) or not isinstance(token, str):
            return {}
        found = await self._ask(address, headers={"Authorization": f"Bearer {token}"})
        if found.get("sub") != subject:
            raise SignInFailed("the provider speaks of somebody else than its token does")
        return found

    def _is_old(self, kept: _Kept) -> bool:
        return self._clock.boot_ns() - kept.at_ns > KEPT_NS

    async def _ask(
        self, address: str, *, form: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """A JSON object from the provider."""
        parts = urlsplit(address)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
            raise ProviderUnavailable(f"{address[:200]} is not https")
        try:
            status, data = await asyncio.to_thread(_fetch, address, form, headers or {})
            found = json.loads(data)
        except (OSError, ValueError) as error:
            raise ProviderUnavailable(f"{parts.hostname} did not answer as it should: {_words(error)}") from error
        if not isinstance(found, dict):
            raise ProviderUnavailable(f"{parts.hostname} did not answer with an object")
        if 400 <= status < 500 and form is not None:
            raise SignInFailed(f"the provider refused the sign-in: {str(found.get('error', status))[:100]}")
        if status != 200:
            raise ProviderUnavailable(f"{parts.hostname} answered with status {status}")
        return found


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: what is sent along is only for whom it was addressed to."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


_opener = urllib.request.build_opener(_Stay)


def _fetch(address: str, form: dict[str, str] | None, headers: dict[str, str]) -> tuple[int, bytes]:
    body = None if form is None else urlencode(form).encode()
    request = urllib.request.Request(  # noqa: S310 - the scheme was checked
        address, body, {"Accept": "application/json", **headers}
    )
    try:
        with _opener.open(request, timeout=SECONDS) as answer:
            data = answer.read(ANSWER_MAX_BYTES + 1)
            status = answer.status
    except urllib.error.HTTPError as error:
        with error:
            data, status = error.read(ANSWER_MAX_BYTES + 1), error.code
    if len(data) > ANSWER_MAX_BYTES:
        raise ValueError(f"its answer has more than {ANSWER_MAX_BYTES:,} bytes")
    return status, data


def _at(claims: dict[str, Any], path: str) -> Any:
    """A claim by name; dots lead into objects, unless a claim is named so: ``realm_access.roles``."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:200].rstrip(": ")


def roles_of(mapping: str, groups: tuple[str, ...]) -> list[str]:
    """The roles that the setting ``oidc_roles`` gives: ``admins=admin, support=approver, *=viewer``; ``*`` = everybody.

    Raises:
        SignInFailed: the setting cannot be read.
    """
    found: list[str] = []
    for part in filter(None, (part.strip() for part in mapping.split(","))):
        group, equals, role = part.rpartition("=")
        if not equals or not group.strip() or not role.strip():
            raise SignInFailed(f"PENSTOCK_OIDC_ROLES has {part!r}", hint="write it as group=role, group=role")
        if group.strip() == "*" or group.strip() in groups:
            found.append(role.strip())
    return found
