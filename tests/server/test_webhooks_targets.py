"""Which targets may be called, and that connections over TLS are to whom they should be."""

import datetime
import ipaddress
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.contract.webhooks_suite import ended
from tests.server.receiver import receiving
from tests.server.test_webhooks import Hooks

from penstock import Settings
from penstock.kernel.errors import InputInvalid, SettingInvalid, WebhookTargetRefused
from penstock.server.webhooks.deliveries import Deliveries
from penstock.server.webhooks.sending import Answer
from penstock.server.webhooks.signing import new_secret, secret_of, secret_text, signed_headers
from penstock.server.webhooks.targets import is_allowed, parse_networks, parse_target, resolve

REFUSED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.1.2.3",
    "169.254.169.254",
    "169.254.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "168.63.129.16",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:a9fe:a9fe",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1111%eth0",
    "fec0::1",
    "ff02::1",
    "4000::1",
    "nonsense",
    "1.2.3",
    "2130706433",
    "0x7f000001",
]
ALLOWED = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.1",
    "172.15.0.1",
    "172.32.0.1",
    "192.169.0.1",
    "223.255.255.255",
]
ALLOWED_V6 = ["2606:4700:4700::1111", "2a00:1450:4001::200e", "2001:4860:4860::8888", "2400:cb00::1"]


@pytest.mark.parametrize("address", REFUSED)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert not is_allowed(address)


@pytest.mark.parametrize("address", ALLOWED + ALLOWED_V6)
def test_what_is_public_is_allowed(address: str) -> None:
    assert is_allowed(address)


def test_the_owner_may_allow_networks_of_their_own() -> None:
    networks = parse_networks("10.1.0.0/16, fd00:1::/32")
    assert is_allowed("10.1.2.3", networks)
    assert is_allowed("fd00:1::5", networks)
    assert not is_allowed("10.2.0.1", networks)
    assert not is_allowed("::ffff:10.1.2.3", networks), "written as IPv6 it is not in that network"
    assert not is_allowed("fd00:1::5%eth0", networks)
    with pytest.raises(SettingInvalid, match="PENSTOCK_WEBHOOK_ALLOWED_NETWORKS"):
        parse_networks("10.0.0.1/8")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "//example.com/",
        "https://",
        "https:///x",
        "https://user:password@example.com/",
        "https://example.com@10.0.0.1/",
        "https://example.com/#part",
        "https://example.com:22/",
        "https://example.com:25/",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://example.com:x/",
        "https://exa mple.com/",
        "https://example.com/a b",
        "https://example.com/\r\nX-Injected: 1",
        "https://example.com\\@10.0.0.1/",
        "https://bücher.example/",
        "https://[fe80::1%25eth0]/",
        "https://[fe80::1",
        "https://-x.example.com/",
        "https://a..example.com/",
        "https://" + "a" * 64 + ".example.com/",
    ],
)
def test_urls_that_are_not_called(url: str) -> None:
    with pytest.raises(WebhookTargetRefused):
        parse_target(url, allow_http=False)


@pytest.mark.parametrize(
    ("url", "authority", "path"),
    [
        ("https://Example.com", "example.com", "/"),
        ("https://example.com:443/a?b=c", "example.com", "/a?b=c"),
        ("https://example.com:8443/%41", "example.com:8443", "/%41"),
        ("https://[2606:4700::1]:8443/", "[2606:4700::1]:8443", "/"),
        ("http://example.com/", "example.com", "/"),
        ("http://example.com:443/", "example.com:443", "/"),
    ],
)
def test_urls_that_are_called(url: str, authority: str, path: str) -> None:
    target = parse_target(url, allow_http=True)
    assert (target.authority, target.path) == (authority, path)


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "017700000001", "127.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0"]
)
async def test_other_ways_to_write_this_machine_are_refused(host: str) -> None:
    """The system's resolver understands them; what counts is the address that it finds."""
    target = parse_target(f"https://{host}/", allow_http=False)
    with ThreadPoolExecutor(1) as executor, pytest.raises((WebhookTargetRefused, OSError)):
        await resolve(target, (), executor)


async def test_a_name_with_one_bad_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(0, 0, 0, "", ("93.184.215.14", 443)), (0, 0, 0, "", ("10.0.0.1", 443))]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
    target = parse_target("https://example.com/", allow_http=False)
    with ThreadPoolExecutor(1) as executor:
        with pytest.raises(WebhookTargetRefused, match=r"10\.0\.0\.1"):
            await resolve(target, (), executor)
        found.pop()
        assert await resolve(target, (), executor) == ["93.184.215.14"]


def test_the_signature_of_the_specifications_own_example() -> None:
    """From the reference implementations' tests of Standard Webhooks."""
    secret = secret_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed_headers([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert secret_of(secret_text(secret)) == secret
    assert new_secret() != new_secret()
    for wrong in ("whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAAA", "whsec_****"):
        with pytest.raises(InputInvalid):
            secret_of(wrong)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("120", 120.0), ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0), ("Wed, 21 Oct 2014 07:28:30 GMT", 0.0)]
    + [(text, 0.0) for text in ("", "soon", "-5", "1e9", "²", "9" * 400)],
)
def test_retry_after(text: str, seconds: float) -> None:
    now = int(datetime.datetime(2015, 10, 21, 7, 28, tzinfo=datetime.UTC).timestamp() * 1e6)
    assert Answer(429, text).retry_seconds(now) == seconds


class Authority:
    """Certificates for receivers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def context(self, name: str, ip: str = "") -> ssl.SSLContext:
        """A receiver's, with a certificate for a name, that is also its own authority."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.DNSName(name)]
        if ip:
            names.append(x509.IPAddress(ipaddress.ip_address(ip)))
        now = datetime.datetime.now(datetime.UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.file = self._folder / "certificate.pem"
        private = serialization.PrivateFormat.PKCS8
        pem = key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption())
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file)
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.mark.parametrize(("name", "trusted"), [("hooks.test", True), ("elsewhere.test", True), ("hooks.test", False)])
async def test_over_tls_the_name_is_checked(
    authority: Authority, name: str, trusted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection goes to an address; the certificate must be for the name, by somebody who is trusted."""
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **named: real(host.replace("hooks.test", "127.0.0.1"), *rest, **named),
    )
    hooks = Hooks(webhook_allow_http=0)
    async with receiving(authority.context(name), host="hooks.test") as receiver:
        checks = ssl.create_default_context(cafile=str(authority.file)) if trusted else None
        hooks.deliveries = Deliveries(hooks.journal, hooks.world.clock, hooks.settings, checks)
        endpoint = await hooks.add(receiver.url)
        await ended(hooks.world)
        await hooks.look()
        delivery = await hooks.only(endpoint)
        if trusted and name == "hooks.test":
            assert (delivery.state, len(receiver.heard)) == ("delivered", 1), delivery.last_status
        else:
            assert delivery.last_status.startswith("TLS: "), delivery.last_status
            assert receiver.heard == []


def test_the_defaults_let_nothing_inward() -> None:
    settings = Settings()
    assert (settings.webhook_allow_http, settings.webhook_allowed_networks) == (0, "")
