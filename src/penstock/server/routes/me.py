"""The caller; signing in and out."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from penstock import __version__
from penstock.kernel.errors import PenstockError, RouteUnknown, SignInFailed
from penstock.server.access.caller import Caller, open_to_all, signed_in
from penstock.server.access.credentials import new_secret, token_for
from penstock.server.access.doorkeeper import address_of, check_same_site
from penstock.server.access.oidc import roles_of
from penstock.server.access.roles import check_roles
from penstock.server.access.sessions import Person, drop_cookie, set_cookie
from penstock.server.context import Here, Server
from penstock.server.exchange import exchange_of
from penstock.server.schemas.access import Me, SignIn, SignInWays

router = APIRouter(prefix="/v1", tags=["access"])

OPEN = {"x-open": True}
ROUND_TRIP_SECONDS = 600
"""How long somebody may take at the identity provider."""
ROUND_TRIP_COOKIE = "penstock_oidc"
PLACE_MAX_CHARS = 2_000


@router.get("/me")
async def me_show(server: Here, caller: Annotated[Caller, signed_in]) -> Me:
    """Who asks, and what they may do."""
    return shown(server, caller)


@router.get("/sign-in", dependencies=[open_to_all], openapi_extra=OPEN)
async def sign_in_ways(server: Here) -> SignInWays:
    """How one may sign in to the console. Open to all."""
    return SignInWays(key=True, oidc=server.oidc.shown)


@router.post("/sign-in", dependencies=[open_to_all], openapi_extra=OPEN)
async def sign_in_key(server: Here, request: Request, response: Response, body: SignIn) -> Me:
    """Sign in to the console with a key: the answer sets the session's cookie. Open to all."""
    check_same_site(request)
    found = await server.doorkeeper.by_key(body.key.strip(), address_of(request))
    person = Person(found.tenant, found.actor, found.name, found.roles, found.permissions, found.key)
    return await _signed_in(server, request, response, person)


@router.post("/sign-out", status_code=204)
async def sign_out(server: Here, request: Request, response: Response, caller: Annotated[Caller, signed_in]) -> None:
    """End the session, on every server within ``PENSTOCK_KEY_CACHE_SECONDS``. For a key there is nothing to end."""
    if caller.signed_in == "session":
        await server.sessions.end(caller)
        await server.actions.record(caller, "session.end", str(caller.credential))
        drop_cookie(request, response)


@router.get("/sign-in/oidc", status_code=303, dependencies=[open_to_all], openapi_extra=OPEN)
async def sign_in_oidc(server: Here, request: Request, to: str = "/") -> Response:
    """Send the browser to the identity provider. Open to all.

    ``to`` is the page of the console to come back to.
    """
    if not server.oidc.issuer:
        raise RouteUnknown("no identity provider is set up", hint="sign in with a key, or set PENSTOCK_OIDC_ISSUER")
    server.doorkeeper.failures.check(address_of(request))
    secret = new_secret()
    place = urlsafe_b64encode(_local(to).encode()).decode()
    answer = RedirectResponse(await server.oidc.begin(secret, _callback(server, request)), 303)
    secure = request.url.scheme == "https"
    # Lax, for the browser comes back from another site; it is of no use to anybody who has not begun here.
    answer.set_cookie(
        _round_trip(request),
        f"{secret}.{place}",
        max_age=ROUND_TRIP_SECONDS,
        path="/",
        secure=secure,
        httponly=True,
        samesite="lax",
    )
    return answer


@router.get("/sign-in/oidc/callback", status_code=303, dependencies=[open_to_all], openapi_extra=OPEN)
async def sign_in_oidc_back(
    server: Here, request: Request, state: str = "", code: str = "", error: str = "", iss: str = ""
) -> Response:
    """Where the identity provider sends the browser back to. Open to all."""
    root = request.scope.get("root_path", "")
    secret, _, place = request.cookies.get(_round_trip(request), "").partition(".")
    try:
        person = await _vouched(server, request, secret, state, code, error, iss)
        answer = RedirectResponse(f"{root}{_local(urlsafe_b64decode(place).decode())}", 303)
        await _signed_in(server, request, answer, person)
    except PenstockError as failed:
        if isinstance(failed, SignInFailed):
            server.doorkeeper.failures.note(address_of(request))
        if "text/html" not in request.headers.get("accept", ""):
            raise
        answer = RedirectResponse(f"{root}/sign-in?problem={failed.code}", 303)
    answer.delete_cookie(_round_trip(request), path="/", secure=request.url.scheme == "https", httponly=True)
    return answer


async def _vouched(
    server: Server, request: Request, secret: str, state: str, code: str, error: str, issuer: str
) -> Person:
    """Whom the provider vouches for, with the roles that the settings give."""
    settings = server.settings
    if not server.oidc.issuer:
        raise RouteUnknown("no identity provider is set up")
    server.doorkeeper.failures.check(address_of(request))
    if not secret or not hmac.compare_digest(state.encode(), token_for(secret, "oidc-state").encode()):
        raise SignInFailed("this browser did not begin the sign-in, or began it too long ago", hint="try again")
    if error:
        raise SignInFailed(f"the provider refused: {error[:100]}")
    if issuer and issuer != server.oidc.issuer:  # RFC 9207: another provider's answer is not for us
        raise SignInFailed("the answer is from another provider")
    identity = await server.oidc.finish(secret, code, _callback(server, request))
    roles = roles_of(settings.oidc_roles, identity.groups)
    if not roles:
        raise SignInFailed(
            "the provider vouches for you, but nothing here gives you a role",
            hint=f"have one of your groups named in PENSTOCK_OIDC_ROLES; the claim is {settings.oidc_roles_claim!r}",
        )
    tenant = settings.oidc_tenant or settings.tenant
    actor = await server.sessions.pseudonym(tenant, identity.issuer, identity.subject)
    given = check_roles(roles)
    return Person(tenant, actor, identity.name or actor, given, server.doorkeeper.permissions(tenant, given))


async def _signed_in(server: Server, request: Request, response: Response, person: Person) -> Me:
    caller, secret = await server.sessions.begin(request, person)
    exchange = exchange_of(request.scope)
    exchange.actor = caller.actor
    await server.actions.record_as(
        caller.tenant, caller.actor, "session.begin", str(caller.credential), request=exchange.id
    )
    set_cookie(request, response, secret, server.settings.session_seconds)
    return shown(server, caller)


def shown(server: Server, caller: Caller) -> Me:
    """The caller as the API shows them."""
    return Me.model_validate(
        {
            "actor": caller.actor,
            "name": caller.name,
            "tenant": caller.tenant,
            "environment": server.settings.environment,
            "roles": list(caller.roles),
            "permissions": sorted(caller.permissions),
            "signed_in": caller.signed_in,
            "expires_at": caller.expires_at,
            "csrf": caller.csrf,
            "sign_out": caller.signed_in == "session",
            "version": __version__,
        }
    )


def _callback(server: Server, request: Request) -> str:
    base = server.settings.public_url.rstrip("/") or str(request.base_url).rstrip("/")
    return f"{base}/v1/sign-in/oidc/callback"


def _round_trip(request: Request) -> str:
    return f"__Host-{ROUND_TRIP_COOKIE}" if request.url.scheme == "https" else ROUND_TRIP_COOKIE


def _local(place: str) -> str:
    """A path of this site; anything else becomes ``/``, so that nobody is sent elsewhere from here."""
    fits = place.startswith("/") and not place.startswith("//") and "\\" not in place and place.isprintable()
    return place if fits and len(place) <= PLACE_MAX_CHARS else "/"
