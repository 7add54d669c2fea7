"""Keys, sessions, CSRF, brute force: what a credential is worth, and for how long."""

import asyncio
from typing import Any

import httpx2 as httpx
import pytest
from tests.server.conftest import Api, served

from penstock.adapters.memory import MemoryJournal
from penstock.server.access.credentials import SECRET_CHARS, key_text, new_handle, new_secret, split_key
from penstock.server.access.doorkeeper import COOKIE, SECURE_COOKIE
from penstock.server.access.roles import ROLES
from penstock.views.audit import verify_everything

SITE = "http://penstock.test"


async def signed_in(api: Api, key: str = "operator", base: str = SITE) -> tuple[httpx.AsyncClient, dict[str, Any]]:
    """A browser that has signed in, and what it was told."""
    browser = api.client("", base=base)
    answer = await browser.post("/v1/sign-in", json={"key": api.keys.get(key, key)}, headers={"Origin": base})
    assert answer.status_code == 200, answer.text
    return browser, answer.json()


def test_a_keys_text_is_taken_apart_as_it_was_put_together() -> None:
    text = ""
    for _ in range(300):  # secrets hold _ and - too
        handle, secret = new_handle(), new_secret()
        text = key_text(handle, secret)
        assert len(secret) == SECRET_CHARS
        assert split_key(text) == (handle, secret)
    for wrong in ("", "pk_", text[:-1], text + "x", text.replace("pk_", "sk_", 1), "é" * len(text)):
        assert split_key(wrong) is None


async def test_a_key_that_is_revoked_here_ends_at_once_and_elsewhere_within_a_second(api: Api) -> None:
    """Elsewhere: another server on the same journal, which had seen the key just before."""
    key = await api.make_key("viewer")
    async with served(api.journal, worker=False, key_cache_seconds=0.3) as other:
        for server in (api, other):
            assert (await server.get("/v1/me", key)).status_code == 200
        assert (await api.delete(f"/v1/keys/{api.ids[key]}")).status_code == 200
        assert (await api.get("/v1/me", key)).json()["code"] == "key_revoked"
        async with asyncio.timeout(5):
            while (await other.get("/v1/me", key)).status_code == 200:
                await asyncio.sleep(0.02)
        other_answer = await other.get("/v1/me", key)
        assert other_answer.json()["code"] == "key_revoked"


async def test_an_expired_key_is_not_remembered_beyond_its_end(api: Api) -> None:
    key = await api.make_key("viewer", expires_seconds=0.2)
    assert (await api.get("/v1/me", key)).status_code == 200
    async with asyncio.timeout(5):
        while (answer := await api.get("/v1/me", key)).status_code == 200:
            await asyncio.sleep(0.01)
    assert answer.json()["code"] == "key_expired"
    made = await api.journal.access.get_key("default", api.ids[key])
    assert made is not None
    assert made.expires_at is not None
    assert await api.journal.now() >= made.expires_at


async def test_a_key_is_remembered_so_that_not_each_request_asks_the_journal(api: Api) -> None:
    asked = []
    find = api.journal.access.find_key

    async def counted(handle: str) -> Any:
        asked.append(handle)
        return await find(handle)

    api.journal.access.find_key = counted  # type: ignore[method-assign]
    for _ in range(20):
        assert (await api.get("/v1/me", "viewer")).status_code == 200
    assert len(asked) == 1


async def test_many_who_come_at_once_with_one_key_share_a_look_up(api: Api) -> None:
    access = api.server.doorkeeper.access
    looked = 0
    find, may = access.find_key, asyncio.Event()

    async def counted(handle: str) -> Any:
        nonlocal looked
        looked += 1
        await may.wait()
        return await find(handle)

    await api.ask("GET", "/v1/me")
    api.server.doorkeeper.forget(api.ids[api.keys["operator"]])
    access.find_key = counted  # type: ignore[method-assign]
    asked = [asyncio.create_task(api.ask("GET", "/v1/me")) for _ in range(50)]
    await asyncio.sleep(0.05)
    asked[0].cancel()
    await asyncio.sleep(0)
    may.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [answer.status_code for answer in answers if isinstance(answer, httpx.Response)] == [200] * 49
    assert looked == 1
    api.server.doorkeeper.forget(api.ids[api.keys["operator"]])
    await api.journal.access.revoke_key("default", api.ids[api.keys["operator"]])
    refused = await asyncio.gather(*(api.ask("GET", "/v1/me") for _ in range(50)))
    assert {answer.status_code for answer in refused} == {401}
    assert looked == 2


async def test_use_is_noted(api: Api) -> None:
    assert (await api.get("/v1/me", "viewer")).status_code == 200
    key = await api.journal.access.get_key("default", api.ids[api.keys["viewer"]])
    assert key is not None
    assert key.used_at is not None


async def test_keys_are_made_shown_once_and_revoked(api: Api) -> None:
    asked = {"name": "ci", "roles": ["operator"], "permissions": ["runs:submit"], "expires_seconds": 3600}
    made = await api.post("/v1/keys", "admin", json=asked)
    assert made.status_code == 201, made.text
    text, id_ = made.json()["key"], made.json()["id"]
    assert (await api.get("/v1/me", text)).json()["permissions"] == ["runs:submit"]
    listed = await api.get("/v1/keys", "admin")
    assert text not in listed.text
    assert next(item for item in listed.json()["items"] if item["id"] == id_)["created_by"] == "key:default-admin"
    assert (await api.delete(f"/v1/keys/{id_}")).json()["revoked_at"] is not None
    actions = (await api.get("/v1/actions?action=key.", "admin")).json()["items"]
    assert [(item["action"], item["target"], item["actor"]) for item in actions] == [
        ("key.revoke", id_, "key:default-admin"),
        ("key.make", id_, "key:default-admin"),
    ]
    assert text not in str(actions)


async def test_nobody_gives_what_they_do_not_have(api: Api) -> None:
    clerk = await api.make_key("admin", permissions=("keys:manage", "runs:read"))
    answer = await api.post("/v1/keys", clerk, json={"name": "more", "roles": ["admin"]})
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_missing")
    answer = await api.post("/v1/keys", clerk, json={"name": "less", "roles": ["viewer"], "permissions": ["runs:read"]})
    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"roles": ["boss"]}, "request_invalid"),
        ({"roles": []}, "request_invalid"),
        ({"permissions": ["runs:fly"]}, "role_unknown"),
        ({"permissions": []}, "role_unknown"),
        ({"name": "\x07"}, "input_invalid"),
        ({"name": "a\x00b"}, "request_invalid"),
        ({"expires_seconds": 1}, "request_invalid"),
        ({"admin": True}, "request_invalid"),
    ],
)
async def test_a_key_that_cannot_be(api: Api, change: dict[str, Any], code: str) -> None:
    answer = await api.post("/v1/keys", "admin", json={"name": "ci", "roles": ["viewer"], **change})
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text


async def test_a_tenant_has_so_many_keys(api: Api) -> None:
    async with served(MemoryJournal(), worker=False, keys_max=len(ROLES) + 2) as small:
        assert (await small.post("/v1/keys", "admin", json={"name": "a", "roles": ["viewer"]})).status_code == 201
        assert (await small.post("/v1/keys", "admin", json={"name": "b", "roles": ["viewer"]})).status_code == 201
        answer = await small.post("/v1/keys", "admin", json={"name": "c", "roles": ["viewer"]})
        assert (answer.status_code, answer.json()["code"]) == (429, "keys_full")


async def test_of_the_owner_alone(api: Api) -> None:
    """An admin of one tenant cannot stop the others, nor read figures of all."""
    permissions = (await api.get("/v1/me", "stranger")).json()["permissions"]
    assert "keys:manage" in permissions
    assert not {"everything:stop", "metrics:read"} & set(permissions)
    assert {"everything:stop", "metrics:read"} <= set((await api.get("/v1/me", "admin")).json()["permissions"])


async def test_signing_in_gives_a_session_that_is_its_browsers_alone(api: Api) -> None:
    browser, me = await signed_in(api)
    cookie = browser.cookies[COOKIE]
    assert me["signed_in"] == "session"
    assert me["actor"] == "key:default-operator"
    assert cookie not in str(me)
    assert (await browser.get("/v1/me")).json()["csrf"] == me["csrf"]
    assert (await browser.post("/v1/sign-out", headers={"X-CSRF-Token": me["csrf"]})).status_code == 204
    stale = api.client("")
    stale.cookies.set(COOKIE, cookie)
    assert (await stale.get("/v1/me")).status_code == 401


async def test_the_cookie_is_closed_to_scripts_and_other_sites(api: Api) -> None:
    for base, name, secure in ((SITE, COOKIE, False), ("https://penstock.test", SECURE_COOKIE, True)):
        browser = api.client("", base=base)
        answer = await browser.post("/v1/sign-in", json={"key": api.keys["viewer"]})
        header = answer.headers["set-cookie"]
        assert header.startswith(f"{name}=")
        attributes = {part.strip().lower() for part in header.split(";")[1:]}
        assert {"httponly", "samesite=strict", "path=/"} <= attributes
        assert ("secure" in attributes) == secure
        assert not any(part.startswith("domain") for part in attributes)


async def test_a_session_from_before_signing_in_is_worth_nothing(api: Api) -> None:
    """Session fixation: whoever planted a cookie has nothing of it, and one's own earlier session ends."""
    browser = api.client("")
    browser.cookies.set(COOKIE, "planted", domain="penstock.test")
    answer = await browser.post("/v1/sign-in", json={"key": api.keys["viewer"]})
    assert "planted" not in answer.headers["set-cookie"]
    thief = api.client("")
    thief.cookies.set(COOKIE, "planted")
    assert (await thief.get("/v1/me")).status_code == 401
    first = answer.headers["set-cookie"].partition("=")[2].partition(";")[0]
    again = api.client("")
    again.cookies.set(COOKIE, first)
    assert (await again.get("/v1/me")).status_code == 200
    assert (await again.post("/v1/sign-in", json={"key": api.keys["viewer"]})).status_code == 200
    left = api.client("")
    left.cookies.set(COOKIE, first)
    assert (await left.get("/v1/me")).status_code == 401


@pytest.mark.parametrize(
    ("headers", "fits"),
    [
        ({}, False),
        ({"X-CSRF-Token": "x"}, False),
        ({"X-CSRF-Token": "{other}"}, False),
        ({"X-CSRF-Token": "{csrf}"}, True),
        ({"X-CSRF-Token": "{csrf}", "Origin": SITE, "Sec-Fetch-Site": "same-origin"}, True),
        ({"X-CSRF-Token": "{csrf}", "Origin": "http://evil.test"}, False),
        ({"X-CSRF-Token": "{csrf}", "Origin": "null"}, False),
        ({"X-CSRF-Token": "{csrf}", "Origin": "http://penstock.test.evil.test"}, False),
        ({"X-CSRF-Token": "{csrf}", "Sec-Fetch-Site": "same-site"}, False),
        ({"X-CSRF-Token": "{csrf}", "Sec-Fetch-Site": "cross-site"}, False),
    ],
)
async def test_a_signed_in_browser_changes_nothing_for_another_site(
    api: Api, headers: dict[str, str], fits: bool
) -> None:
    browser, me = await signed_in(api, "admin")
    other = (await signed_in(api, "admin"))[1]["csrf"]
    sent = {name: value.format(csrf=me["csrf"], other=other) for name, value in headers.items()}
    answer = await browser.post("/v1/keys", json={"name": "x", "roles": ["viewer"]}, headers=sent)
    assert answer.status_code == (201 if fits else 403), answer.text
    if not fits:
        assert answer.json()["code"] == "cross_site"
    assert (await browser.get("/v1/keys")).status_code == 200


async def test_another_site_cannot_sign_a_browser_in(api: Api) -> None:
    browser = api.client("")
    answer = await browser.post("/v1/sign-in", json={"key": api.keys["viewer"]}, headers={"Origin": "http://evil.test"})
    assert (answer.status_code, answer.json()["code"]) == (403, "cross_site")
    form = await browser.post("/v1/sign-in", content=b'{"key": "x"}', headers={"Content-Type": "text/plain"})
    assert (form.status_code, form.json()["code"]) == (415, "media_type_unknown")


async def test_a_session_ends_with_its_key_and_when_it_is_not_used(api: Api) -> None:
    key = await api.make_key("admin")
    browser, _ = await signed_in(api, key)
    assert (await browser.get("/v1/me")).status_code == 200
    await api.delete(f"/v1/keys/{api.ids[key]}")
    assert (await browser.get("/v1/me")).status_code == 401


async def test_a_key_comes_before_a_cookie(api: Api) -> None:
    browser, _ = await signed_in(api, "viewer")
    answer = await browser.get("/v1/me", headers={"Authorization": f"Bearer {api.keys['admin']}"})
    assert answer.json()["actor"] == "key:default-admin"
    answer = await browser.get("/v1/me", headers={"Authorization": "Basic YTpi"})
    assert answer.status_code == 401


async def test_guessing_is_slow_and_hinders_nobody_else(api: Api) -> None:
    guess = key_text(new_handle(), new_secret())
    known = api.client("viewer", address="10.9.9.9")
    assert (await known.get("/v1/me")).status_code == 200
    guesser = api.client(guess, address="10.9.9.9")
    answers = [(await guesser.get("/v1/me")).status_code for _ in range(30)]
    most = api.server.settings.auth_failures_per_minute
    assert answers == [401] * most + [429] * (30 - most)
    assert (await guesser.get("/v1/me")).headers["retry-after"] == "60"
    sign_in = await api.client("", address="10.9.9.9").post("/v1/sign-in", json={"key": api.keys["admin"]})
    assert sign_in.status_code == 429
    api.server.doorkeeper.forget(api.ids[api.keys["viewer"]])
    assert (await known.get("/v1/me")).status_code == 200  # it was good before: only guessing is refused
    assert (await api.client("admin", address="10.9.9.8").get("/v1/me")).status_code == 200


async def test_an_ipv6_guesser_has_one_address_however_many_it_uses(api: Api) -> None:
    answers = []
    for number in range(25):
        guesser = api.client(key_text(new_handle(), new_secret()), address=f"2001:db8:1:2::{number:x}")
        answers.append((await guesser.get("/v1/me")).status_code)
    assert answers[-1] == 429
    other = api.client(key_text(new_handle(), new_secret()), address="2001:db8:1:3::1")
    assert (await other.get("/v1/me")).status_code == 401


async def test_on_postgresql(api_on_postgres: Api) -> None:
    """Keys, a session and the list of actions as the database holds them; all of it verifies afterwards."""
    api = api_on_postgres
    made = await api.post("/v1/keys", "admin", json={"name": "ci é", "roles": ["admin"], "expires_seconds": 600})
    assert made.status_code == 201, made.text
    browser, me = await signed_in(api, made.json()["key"])
    token = {"X-CSRF-Token": me["csrf"]}
    assert (await browser.post("/v1/keys", json={"name": "x", "roles": ["viewer"]}, headers=token)).status_code == 201
    assert (await api.delete(f"/v1/keys/{made.json()['id']}")).status_code == 200
    assert (await browser.get("/v1/me")).status_code == 401
    assert (await api.get("/v1/me", made.json()["key"])).json()["code"] == "key_revoked"
    together = [api.post("/v1/keys", "admin", json={"name": f"n{n}", "roles": ["viewer"]}) for n in range(20)]
    assert {answer.status_code for answer in await asyncio.gather(*together)} == {201}
    page = (await api.get("/v1/actions?limit=5", "admin")).json()
    older = (await api.get(f"/v1/actions?limit=100&before={page['next']}", "admin")).json()
    kinds = [item["action"] for item in reversed([*page["items"], *older["items"]])]
    assert kinds == ["key.make", "session.begin", "key.make", "key.revoke", *["key.make"] * 20]
    assert older["next"] is None
    assert (await api.get("/v1/actions", "stranger")).json()["items"] == []
    audit = await verify_everything(api.journal)
    assert (audit.ok, audit.actions) == (True, 24)
