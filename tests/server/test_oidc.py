"""Sign-in with a real identity provider: npm's ``oidc-provider``, started by the test, and a browser played by it.

Node and the provider's packages are needed; a machine without them skips this with a line that says so.
"""

import asyncio
import hashlib
import json
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2 as httpx
import platformdirs
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from tests.server.conftest import BASE, Api, served

from penstock.adapters.memory import MemoryJournal
from penstock.kernel.errors import ProviderUnavailable, SignInFailed
from penstock.server.access import oidc
from penstock.server.access.credentials import new_secret, token_for
from penstock.server.access.doorkeeper import COOKIE
from penstock.server.access.oidc import Oidc, roles_of

FOLDER = Path(__file__).parent / "oidc"
CALLBACK = f"{BASE}/v1/sign-in/oidc/callback"
SECRET = "a secret: 100% & more"
ROLES = "chiefs=admin, desk=approver, desk = operator"


@pytest.fixture(scope="session")
def provider_program() -> Path:
    """The provider's program with its packages, which are installed once for all sessions."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("NOT TESTED: sign-in with an identity provider needs Node.js and npm")
    lock = (FOLDER / "package-lock.json").read_bytes()
    place = platformdirs.user_cache_path("penstock-tests") / f"oidc-{hashlib.sha256(lock).hexdigest()[:12]}"
    if not (place / "node_modules" / ".package-lock.json").is_file():
        place.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(FOLDER / name, place / name)
        done = subprocess.run([npm, "ci"], cwd=place, capture_output=True, text=True, timeout=200, check=False)
        if done.returncode != 0:
            pytest.skip(f"NOT TESTED: oidc-provider could not be installed: {done.stderr.strip()[-200:]}")
    shutil.copy(FOLDER / "provider.mjs", place / "provider.mjs")
    return place / "provider.mjs"


class Provider:
    """One that runs. `start` again: the same issuer with other signing keys."""

    def __init__(self, program: Path, method: str) -> None:
        self._program = program
        self._method = method
        self._process: subprocess.Popen[str] | None = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.stop()
        command = ["node", str(self._program), str(self.port), CALLBACK, self._method]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "listening\n"

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@pytest.fixture(scope="module")
def provider(provider_program: Path) -> Iterator[Provider]:
    """One that all share."""
    running = Provider(provider_program, "client_secret_basic")
    running.start()
    yield running
    running.stop()


@pytest.fixture
def own_provider(provider_program: Path) -> Iterator[Provider]:
    """One to be stopped and started again."""
    running = Provider(provider_program, "client_secret_post")
    running.start()
    yield running
    running.stop()


def settings_for(provider: Provider, **more: Any) -> dict[str, Any]:
    return {
        "oidc_issuer": provider.issuer,
        "oidc_client_id": "penstock",
        "oidc_client_secret": SECRET,
        "oidc_scope": "openid profile groups",
        "oidc_roles": ROLES,
        **more,
    }


@pytest.fixture
async def api(provider: Provider) -> AsyncIterator[Api]:
    """The application with the provider set up."""
    async with served(MemoryJournal(), worker=False, **settings_for(provider)) as api:
        yield api


async def consent(place: str, login: str) -> str:
    """Play the browser at the provider: sign in there, agree, and say where it sends the browser back to."""
    async with httpx.AsyncClient(timeout=20, trust_env=False) as browser:
        page = await browser.get(place)
        for _ in range(12):
            while page.is_redirect:
                place = urljoin(str(page.url), page.headers["location"])
                if place.startswith(BASE):
                    return place
                page = await browser.get(place)
            assert page.status_code == 200, page.text
            form = re.search(r'action="([^"]+)"', page.text)
            assert form is not None, page.text
            prompt = re.search(r'name="prompt" value="(\w+)"', page.text)
            fields = {"prompt": prompt[1] if prompt else "", "login": login, "password": "any"}
            page = await browser.post(urljoin(str(page.url), form[1]), data=fields)
    raise AssertionError("the provider never sent the browser back")


async def begin(browser: httpx.AsyncClient, to: str = "/") -> str:
    answer = await browser.get("/v1/sign-in/oidc", params={"to": to})
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


async def sign_in(api: Api, login: str, to: str = "/") -> tuple[httpx.AsyncClient, httpx.Response]:
    browser = api.client("")
    back = await consent(await begin(browser, to), login)
    return browser, await browser.get(back)


async def test_somebody_signs_in_and_gets_the_roles_of_their_groups(api: Api) -> None:
    assert (await api.get("/v1/sign-in", "")).json() == {"key": True, "oidc": "127.0.0.1"}
    browser, answer = await sign_in(api, "agent-7", to="/runs?q=a")
    assert (answer.status_code, answer.headers["location"]) == (303, "/runs?q=a")
    me = (await browser.get("/v1/me")).json()
    assert me["name"] == "Name of agent-7"
    assert me["roles"] == ["operator", "approver"]
    assert {"runs:steer", "approvals:decide"} <= set(me["permissions"])
    assert "keys:manage" not in me["permissions"]
    assert (me["signed_in"], me["tenant"]) == ("session", "default")
    assert re.fullmatch(r"oidc:[a-z2-7]{16}", me["actor"])
    assert "agent" not in me["actor"]
    _, again = await sign_in(api, "agent-7")
    other, _ = await sign_in(api, "boss")
    actions = (await api.get("/v1/actions?action=session.begin", "admin")).json()["items"]
    assert [item["actor"] for item in actions][1:] == [me["actor"]] * 2, "the same person is the same actor"
    assert (await other.get("/v1/me")).json()["roles"] == ["admin"]
    assert "agent-7" not in json.dumps(actions)
    assert COOKIE in again.headers["set-cookie"]
    assert (await browser.post("/v1/sign-out", headers={"X-CSRF-Token": me["csrf"]})).status_code == 204


async def test_a_provider_that_wants_the_secret_in_the_body_and_rotates_its_keys(
    own_provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc, "REFRESH_NS", 0)
    async with served(MemoryJournal(), worker=False, **settings_for(own_provider)) as api:
        metadata = await api.server.oidc._discover()
        metadata["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
        for _ in range(2):
            assert (await sign_in(api, "boss"))[1].status_code == 303
            own_provider.start()
        monkeypatch.setattr(oidc, "REFRESH_NS", 3_600_000_000_000)
        answer = (await sign_in(api, "boss"))[1]
        assert (answer.status_code, answer.json()["code"]) == (403, "sign_in_failed")
        own_provider.stop()
        assert (await api.get("/v1/sign-in/oidc", "")).status_code == 303, "what it said of itself is remembered"


async def test_a_public_client_has_no_secret(provider_program: Path) -> None:
    public = Provider(provider_program, "none")
    public.start()
    try:
        async with served(MemoryJournal(), worker=False, **settings_for(public, oidc_client_secret="")) as api:
            assert (await sign_in(api, "boss"))[1].status_code == 303
    finally:
        public.stop()


async def test_without_a_group_that_has_a_role_there_is_no_session(api: Api) -> None:
    browser, answer = await sign_in(api, "visitor")
    assert (answer.status_code, answer.json()["code"]) == (403, "sign_in_failed")
    assert COOKIE not in browser.cookies
    page = api.client("")
    back = await consent(await begin(page), "visitor")
    shown = await page.get(back, headers={"Accept": "text/html"})
    assert (shown.status_code, shown.headers["location"]) == (303, "/sign-in?problem=sign_in_failed")


async def test_an_answer_is_for_the_browser_that_asked_and_once(api: Api) -> None:
    """Login CSRF, a stolen code, a code used twice, an answer of another provider."""
    browser = api.client("")
    back = await consent(await begin(browser), "boss")
    victim = api.client("")
    assert (await victim.get(back)).status_code == 403
    await begin(victim)
    assert (await victim.get(back)).status_code == 403
    other = back.replace("iss=", "iss=x")
    assert (await browser.get(other)).status_code == 403
    back = await consent(await begin(browser), "boss")
    assert (await browser.get(back)).status_code == 303
    await begin(browser)
    assert (await browser.get(back)).status_code == 403
    for query in ("", "?code=x", "?state=x&code=y", "?error=access_denied"):
        assert (await browser.get(f"/v1/sign-in/oidc/callback{query}")).status_code == 403


async def test_an_answer_without_this_browsers_state_is_not_even_passed_on(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PKCE and the nonce would stop it too, after the code was used up."""
    redeemed = []

    async def finish(*arguments: Any) -> None:
        redeemed.append(arguments)
        raise SignInFailed("no")

    monkeypatch.setattr(api.server.oidc, "finish", finish)
    browser, victim = api.client(""), api.client("")
    back = await consent(await begin(browser), "boss")
    await begin(victim)
    for somebody, state in ((victim, back), (browser, re.sub(r"state=[^&]+", "state=x", back))):
        assert (await somebody.get(state)).status_code == 403
    assert redeemed == []
    assert (await browser.get(back)).status_code == 403
    assert len(redeemed) == 1


async def test_what_the_provider_is_asked_for(api: Api) -> None:
    asked = {name: values[0] for name, values in parse_qs(urlsplit(await begin(api.client(""))).query).items()}
    assert asked["code_challenge_method"] == "S256"
    assert (asked["response_type"], asked["redirect_uri"]) == ("code", CALLBACK)
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3


@pytest.mark.parametrize("to", ["//evil.test", "https://evil.test", "/\\evil.test", "javascript:x", "/\n/evil", "x"])
async def test_nobody_is_sent_elsewhere_after_signing_in(api: Api, to: str) -> None:
    _, answer = await sign_in(api, "boss", to=to)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


async def test_a_provider_that_is_away_is_said_to_be(provider_program: Path) -> None:
    away = Provider(provider_program, "none")
    async with served(MemoryJournal(), worker=False, **settings_for(away)) as api:
        answer = await api.get("/v1/sign-in/oidc", "")
        assert (answer.status_code, answer.json()["code"]) == (502, "identity_provider_unavailable")
    async with served(MemoryJournal(), worker=False) as without:
        assert (await without.get("/v1/sign-in/oidc", "")).status_code == 404
        assert (await without.get("/v1/sign-in", "")).json()["oidc"] == ""


KEY = RSAKey.generate_key(2048, {"kid": "1", "use": "sig"})
OTHER_KEY = RSAKey.generate_key(2048, {"kid": "1", "use": "sig"})
CLAIMS: dict[str, Any] = {"iss": "https://idp.test", "aud": "penstock", "sub": "ada", "exp": 2_000, "iat": 1_000}


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({}, True),
        ({"aud": ["penstock", "other"], "azp": "penstock"}, True),
        ({"aud": ["penstock", "other"]}, False),
        ({"aud": "other"}, False),
        ({"azp": "other"}, False),
        ({"iss": "https://other.test"}, False),
        ({"exp": 900}, False),
        ({"exp": None}, False),
        ({"iat": 3_000}, False),
        ({"nonce": "other"}, False),
        ({"nonce": None}, False),
        ({"sub": ""}, False),
        ({"sub": 7}, False),
    ],
)
@pytest.mark.parametrize("signed", ["right", "other", "none", "hmac"])
async def test_tokens_that_cannot_be_trusted(change: dict[str, Any], fits: bool, signed: str) -> None:
    """Made here: a provider that behaves does not send them."""

    class Clock:
        def now_us(self) -> int:
            return 1_500 * 1_000_000

        def boot_ns(self) -> int:
            return 1

        async def sleep(self, seconds: float) -> None: ...

    from penstock import Settings

    secret = new_secret()
    client = Oidc(Settings(oidc_issuer="https://idp.test", oidc_client_id="penstock"), Clock())

    async def answers(address: str, **_: Any) -> dict[str, Any]:
        return {"keys": [KEY.as_dict(private=False)]}

    client._ask = answers  # type: ignore[method-assign]
    claims = {**CLAIMS, "nonce": token_for(secret, "oidc-nonce"), **change}
    claims = {name: value for name, value in claims.items() if value is not None}
    token = jwt.encode({"alg": "RS256", "kid": "1"}, claims, KEY if signed == "right" else OTHER_KEY)
    if signed in ("none", "hmac"):
        header = {"alg": "none" if signed == "none" else "HS256", "kid": "1"}
        token = ".".join((*(_part(item) for item in (header, claims)), "" if signed == "none" else "c2ln"))
    metadata = {"jwks_uri": "https://idp.test/keys"}
    if fits and signed == "right":
        found = await client._claims(metadata, token, token_for(secret, "oidc-nonce"))
        assert found["sub"] == "ada"
    else:
        with pytest.raises(SignInFailed):
            await client._claims(metadata, token, token_for(secret, "oidc-nonce"))


def _part(value: dict[str, Any]) -> str:
    from base64 import urlsafe_b64encode

    return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def test_groups_become_roles() -> None:
    assert roles_of("a=admin, b=viewer,*=operator", ("b",)) == ["viewer", "operator"]
    assert roles_of("cn=desk=admin", ("cn=desk",)) == ["admin"]
    assert roles_of("", ("a",)) == []
    with pytest.raises(SignInFailed):
        roles_of("admin", ())


async def test_only_https_is_asked_beyond_this_machine() -> None:
    from penstock import Settings
    from penstock.kernel.clock import SystemClock

    client = Oidc(Settings(oidc_issuer="http://idp.test", oidc_client_id="penstock"), SystemClock())
    with pytest.raises(ProviderUnavailable, match="not https"):
        await client.begin(new_secret(), CALLBACK)


async def test_an_answer_of_a_provider_is_bounded_and_not_followed() -> None:
    """A provider that redirects elsewhere, answers without end, or with something else."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readline()).split(b" ")[1]
        if path.startswith(b"/redirects"):
            writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 2\r\n\r\n{}")
        elif path.startswith(b"/endless"):
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (oidc.ANSWER_MAX_BYTES + 10))
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")
        writer.close()

    from penstock import Settings
    from penstock.kernel.clock import SystemClock

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        for path, words in (("redirects", "status 302"), ("endless", "more than"), ("list", "an object")):
            settings = Settings(oidc_issuer=f"http://127.0.0.1:{port}/{path}", oidc_client_id="penstock")
            with pytest.raises(ProviderUnavailable, match=words):
                await Oidc(settings, SystemClock()).begin(new_secret(), CALLBACK)
