"""The settings of ``penstock serve``: part of the table in `penstock.settings.table`."""

import dataclasses

from penstock.settings.line import DAY, KIB, MIB
from penstock.settings.line import setting as _setting
from penstock.settings.mail import MailSettings


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServingSettings(MailSettings):
    """What only the server reads."""

    http_body_max_bytes: int = _setting(
        8 * MIB, "Bytes of one request's body, at most.", unit="bytes", low=KIB, high=256 * MIB
    )
    http_concurrency: int = _setting(
        1000, "Requests that one server has under way at a time, at most; streams do not count.", low=1, high=100_000
    )
    stream_viewers_max: int = _setting(
        2000, "Streams that one server has open at a time, at most.", low=1, high=100_000
    )
    stream_write_seconds: float = _setting(
        30.0, "How long the reader of a stream may take nothing before it is closed.", unit="s", low=0.1, high=3600
    )
    http_request_seconds: float = _setting(
        75.0, "How long a request may take until its answer begins.", unit="s", low=1, high=3600
    )
    http_wait_seconds: float = _setting(
        30.0, "How long a request waits for a run's end, at most (Prefer: wait, ?wait=).", unit="s", low=0, high=600
    )
    http_waiters: int = _setting(
        500, "Requests that wait for runs' ends at a time, at most; others are answered at once.", low=0, high=100_000
    )
    replay_seconds: float = _setting(
        20.0, "How long a replay that somebody asks the server for may take.", unit="s", low=1, high=600
    )
    approvals_own: int = _setting(
        0, "1: somebody may decide on what a run does that they submitted themselves.", low=0, high=1
    )
    key_cache_seconds: float = _setting(
        1.0,
        "How long a server remembers a key or session: a key that another server revoked may be used for that long.",
        unit="s",
        low=0,
        high=5,
    )
    auth_failures_per_minute: int = _setting(
        20, "Failed attempts to sign in, and unknown keys, that one address has a minute.", low=1, high=10_000
    )
    keys_max: int = _setting(1_000, "Keys of one tenant that can be used, at most.", low=1, high=100_000)
    session_seconds: float = _setting(
        12 * 3600.0, "How long somebody stays signed in to the console, at most.", unit="s", low=60, high=30 * DAY
    )
    session_idle_seconds: float = _setting(
        3600.0, "How long a session of the console lasts without being used.", unit="s", low=60, high=30 * DAY
    )
    sessions_max: int = _setting(
        20, "Sessions of the console that one person has at a time; the oldest ends.", low=1, high=1000
    )
    public_url: str = _setting(
        "", "The address under which people reach the server, such as https://penstock.example.com; for links to it."
    )
    trusted_proxies: str = _setting(
        "", "Addresses and networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, with commas."
    )
    metrics_open: int = _setting(0, "1: /metrics is open to everybody who reaches the server.", low=0, high=1)
    oidc_issuer: str = _setting("", "The identity provider for signing in to the console: its issuer, https.")
    oidc_client_id: str = _setting("", "The client that the server is at the identity provider.")
    oidc_client_secret: str = _setting("", "Its secret; without one it is a public client.", secret=True)
    oidc_scope: str = _setting("openid profile", "The scopes that it asks the identity provider for.")
    oidc_roles_claim: str = _setting(
        "groups", "The claim that says which groups somebody is in; dots lead into objects.", low=1, high=200
    )
    oidc_roles: str = _setting(
        "", "Which groups have which roles, such as admins=admin, support=approver, *=viewer; * is everybody."
    )
    oidc_tenant: str = _setting(
        "", "The tenant of those who sign in with the identity provider; default PENSTOCK_TENANT.", low=0, high=64
    )
    webhooks_max: int = _setting(20, "Webhook endpoints of one tenant, at most.", low=1, high=500)
    webhook_concurrency: int = _setting(
        32, "Webhook deliveries that one server attempts at a time, at most.", low=1, high=1000
    )
    webhook_endpoint_concurrency: int = _setting(
        4, "Of those to one endpoint, at most; to one that fails it is one.", low=1, high=100
    )
    webhook_timeout_seconds: float = _setting(
        10.0,
        "How long one attempt to deliver may take, from resolving the name to the answer.",
        unit="s",
        low=0.1,
        high=60,
    )
    webhook_attempts: int = _setting(
        19,
        "Attempts before a delivery is given up; with the pauses as they are by default that takes about a day.",
        low=1,
        high=100,
    )
    webhook_backoff_seconds: float = _setting(
        10.0,
        "The longest pause after the first failed attempt, doubled by each further one; a random part of it is taken.",
        unit="s",
        low=0,
        high=3600,
    )
    webhook_backoff_max_seconds: float = _setting(
        6 * 3600.0, "The longest pause between two attempts.", unit="s", low=0, high=7 * DAY
    )
    webhook_failing_after: int = _setting(
        5, "Failed attempts in a row after which an endpoint counts as failing.", low=1, high=1000
    )
    webhook_keep_seconds: float = _setting(
        30 * DAY, "How long deliveries are kept, whatever became of them.", unit="s", low=3600, high=365 * DAY
    )
    webhook_rotation_seconds: float = _setting(
        DAY, "How long messages are also signed with the secret that was replaced.", unit="s", low=0, high=30 * DAY
    )
    webhook_allow_http: int = _setting(0, "1: webhook endpoints may be http.", low=0, high=1)
    webhook_allowed_networks: str = _setting(
        "", "Networks that webhooks may go to although they are not public, such as 10.1.0.0/16, with commas."
    )
