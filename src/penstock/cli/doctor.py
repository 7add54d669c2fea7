"""``penstock doctor``."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute
from penstock.cli.options import AsJson
from penstock.cli.output import print_json, say
from penstock.cli.text import plural, safe

if TYPE_CHECKING:
    from pathlib import Path

    from penstock.adapters.postgres.health import Health
    from penstock.settings import Settings

MIB = 1024 * 1024
DISK_WARN_BYTES = 2048 * MIB
DISK_FAIL_BYTES = 256 * MIB
CLOCK_WARN_US = 1_000_000
CLOCK_FAIL_US = 60_000_000
OLDEST_PYTHON = (3, 11)


@dataclass(slots=True, frozen=True)
class Check:
    """One line: ``state`` is ok, warn or fail; ``advice`` says what to do about the latter two."""

    name: str
    state: str
    words: str
    advice: str = ""


def doctor(as_json: AsJson = False) -> int:
    """Check Python, the settings, the database, its durability, the clocks, the disk and the providers' keys.

    Changes nothing, except that the embedded server is started and stopped.
    """
    checks, trouble = execute(_examine())
    failed = [check for check in checks if check.state == "fail"]
    if as_json:
        print_json({"ok": not failed, "checks": checks})
    else:
        wide = max(len(check.name) for check in checks)
        for check in checks:
            say(f"{check.state:<4}  {check.name:<{wide}}  {safe(check.words, lines=True)}")
            if check.advice:
                say(f"      {'':<{wide}}  hint: {safe(check.advice)}")
    return trouble or (ExitCode.FAILED if failed else ExitCode.OK)


async def _examine() -> tuple[list[Check], ExitCode | None]:
    """All checks, and the exit code if they could not all be made."""
    from penstock.cli.opening import configured
    from penstock.kernel.errors import JournalUnavailable, PenstockError

    checks = [_python()]
    try:
        settings = configured()
    except PenstockError as error:
        return [*checks, Check("settings", "fail", f"{error.what} [{error.code}]", error.advice)], ExitCode.USAGE
    checks += [
        Check("settings", "ok", f"environment {settings.environment}, tenant {settings.tenant}"),
        _lease(settings),
    ]
    if settings.policy is not None:
        checks.append(_policy(settings.policy))
    if settings.environments is not None:
        checks.append(_environment(settings))
    trouble = None
    try:
        checks += await _database(settings)
    except PenstockError as error:
        trouble = ExitCode.JOURNAL
        advice = (
            "start the server, or mend PENSTOCK_DATABASE_URL" if isinstance(error, JournalUnavailable) else error.advice
        )
        checks.append(Check("database", "fail", f"{error.what} [{error.code}]", advice))
    if settings.database_url is None:
        checks.append(_disk(settings))
    return [*checks, _keys()], trouble


async def _audit(dsn: str, settings: "Settings") -> Check:
    """Whether what is recorded is sealed, as far as the journal and this installation's settings say."""
    from penstock.adapters.postgres.audit import look_at_log
    from penstock.kernel.errors import AuditKeyMissing
    from penstock.runs.sealing import read_key

    log, path = await look_at_log(dsn, settings.database_connect_seconds), settings.audit_key_file
    if path is None:
        if log is None or not log.leaves:
            return Check("audit log", "ok", "not sealed: PENSTOCK_AUDIT_KEY_FILE is not set")
        words = log.problem or "sealed by others: this installation has no key"
        return Check("audit log", "fail" if log.problem else "ok", words, "set PENSTOCK_AUDIT_KEY_FILE for all workers")
    try:
        key = read_key(path)
    except AuditKeyMissing as error:
        return Check("audit log", "fail", error.what, error.advice)
    if log is not None and log.key is not None and log.key != key.public:
        words = f"{path} is not the key that signs the audit log now: nothing is sealed with it"
        return Check("audit log", "fail", words, "use the log's own key; what was recorded meanwhile is sealed then")
    if log is not None and log.problem:
        return Check("audit log", "fail", log.problem, "what is recorded meanwhile is sealed when that is mended")
    if path.stat().st_mode & 0o077:
        return Check("audit log", "warn", f"others than its owner may read {path}", f"chmod 600 {path}")
    leaves = 0 if log is None else log.leaves
    return Check("audit log", "ok", f"{leaves:,} leaves" if leaves else "nothing is sealed yet: no worker has run")


def _python() -> Check:
    import platform
    import sys

    words = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < OLDEST_PYTHON:
        return Check("python", "fail", words, "use Python 3.11 or newer")
    return Check("python", "ok", words)


def _policy(path: "Path") -> Check:
    """Whether the policy's files, as they are now, can be read; processes that run may hold to an older version."""
    from penstock.adapters.policy_files import PolicyFiles
    from penstock.kernel.errors import PolicyInvalid
    from penstock.rules.policy.policy_set import PolicySet

    try:
        policy = PolicySet.compile(PolicyFiles(path).read())
    except PolicyInvalid as error:
        advice = f"{error.advice}; what runs goes on under the policy before, and nothing new starts"
        return Check("policy", "fail", f"{error.what} [{error.code}]", advice)
    return Check("policy", "ok", f"{plural(len(policy.rules), 'rule')} of {path}, version {policy.version[:12]}")


def _environment(settings: "Settings") -> Check:
    """Whether what the environments file says of this environment is there."""
    from penstock.cli.environments.look import look
    from penstock.cli.loading import import_from_here
    from penstock.kernel.errors import EnvironmentInvalid

    import_from_here()
    try:
        found = look(settings)
    except EnvironmentInvalid as error:
        return Check("environment", "fail", f"{error.what} [{error.code}]", error.advice)
    assert found is not None
    if found.problems:
        return Check("environment", "fail", found.problems[0], "`penstock environments check` says everything")
    if absent := [secret.name for secret in found.secrets if not secret.present]:
        words = f"secrets that are not there: {', '.join(absent)}"
        return Check("environment", "fail", words, "calls of tools that need them are denied")
    reach = "anything" if found.egress is None else f"{len(found.egress)} listed"
    bound, secrets = plural(len(found.tools), "tool"), plural(len(found.secrets), "secret")
    return Check("environment", "ok", f"{bound} bound or denied, {secrets}, reaches {reach}")


def _lease(settings: "Settings") -> Check:
    words = (
        f"lease {settings.lease_seconds:g} s, poll {settings.poll_seconds:g} s, "
        f"loop may block {settings.loop_block_max_seconds:g} s"
    )
    if settings.lease_seconds < 3 * settings.poll_seconds:
        return Check(
            "leases",
            "warn",
            words,
            "a lease under three polls is lost at the first hiccup: raise PENSTOCK_LEASE_SECONDS",
        )
    return Check("leases", "ok", f"{words}; a dead worker's runs go on after at most {settings.lease_seconds:g} s")


async def _database(settings: "Settings") -> list[Check]:
    from penstock.adapters.postgres.embedded import start_embedded
    from penstock.adapters.postgres.health import look
    from penstock.kernel.clock import SystemClock

    clock = SystemClock()
    seconds = settings.database_connect_seconds
    if settings.database_url is not None:
        found = _judge(await look(settings.database_url, clock, connect_seconds=seconds), "PENSTOCK_DATABASE_URL")
        return [*found, await _audit(settings.database_url, settings), *await _signed(settings.database_url, settings)]
    async with await start_embedded(settings.data_dir, start_seconds=settings.embedded_start_seconds) as server:
        found = _judge(await look(server.dsn, clock, connect_seconds=seconds), f"embedded, in {settings.data_dir}")
        return [*found, await _audit(server.dsn, settings), *await _signed(server.dsn, settings)]


async def _signed(dsn: str, settings: "Settings") -> list[Check]:
    from penstock.cli.signing_checks import check_signatures

    return [Check(*line) for line in await check_signatures(dsn, settings)]


def _judge(health: "Health", where: str) -> list[Check]:
    from penstock.adapters.postgres.migrate import OLDEST_SERVER

    old = health.version_number < OLDEST_SERVER
    size = f"{health.database_bytes / MIB:,.0f} MiB, {plural(health.connections, 'connection')}"
    return [
        Check(
            "database",
            "fail" if old else "ok",
            f"PostgreSQL {health.version} ({where}); {size}",
            "Penstock needs PostgreSQL 15 or newer" if old else "",
        ),
        _durable(health, "fsync", "what was acknowledged is lost when the power fails"),
        _durable(health, "full_page_writes", "a torn page cannot be repaired after a power cut"),
        _synchronous(health),
        _schema(health),
        _clock(health),
    ]


def _durable(health: "Health", name: str, danger: str) -> Check:
    value = health.settings[name]
    if value == "on":
        return Check(name, "ok", "on")
    return Check(name, "fail", f"{value}: {danger}", f"set {name} = on in postgresql.conf and reload the server")


def _synchronous(health: "Health") -> Check:
    value, standbys = health.settings["synchronous_commit"], health.settings["synchronous_standby_names"]
    kept = (
        f"; synchronous standbys: {standbys}" if standbys else "; no synchronous standby: a lost disk loses the journal"
    )
    if value == "off":
        return Check(
            "synchronous_commit",
            "warn",
            "off by default; appends insist on it all the same",
            "set synchronous_commit = on, so that nothing else on this server is misled",
        )
    return Check("synchronous_commit", "ok", value + kept)


def _schema(health: "Health") -> Check:
    if health.unknown:
        words = f"has {', '.join(health.unknown)}, which this installation does not know"
        return Check("schema", "fail", words, "upgrade this installation of penstock")
    if health.altered:
        words = f"{', '.join(health.altered)} was applied in another form than this installation has"
        return Check("schema", "fail", words, "install the release that made the database")
    if not health.applied:
        return Check("schema", "ok", f"not there yet; the first use makes its {health.known} parts")
    if health.applied - len(health.newer) < health.known:
        missing = health.known - health.applied + len(health.newer)
        return Check("schema", "ok", f"{health.applied} of {health.known}; the next use brings it up by {missing}")
    if health.newer:
        words = f"has {', '.join(health.newer)} of a newer penstock, with which this one can work"
        return Check("schema", "ok", words)
    words = f"{health.applied} of {health.known}, up to date; new runs are written in format {health.format}"
    if health.format < health.known_format:
        advice = "when no worker of an older release is left: penstock upgrade finalize"
        return Check("schema", "warn", f"{words} of {health.known_format}", advice)
    return Check("schema", "ok", words)


def _clock(health: "Health") -> Check:
    ahead = health.clock_ahead_us
    words = f"the database's is {abs(ahead) / 1e6:.3f} s {'ahead' if ahead >= 0 else 'behind'}"
    words += f" (round trip {health.round_trip_us / 1000:.1f} ms)"
    advice = "let both machines keep time with NTP; leases and expiries follow the database's clock"
    if abs(ahead) > CLOCK_FAIL_US:
        return Check("clock", "fail", words, advice)
    return Check("clock", "warn", words, advice) if abs(ahead) > CLOCK_WARN_US else Check("clock", "ok", words)


def _disk(settings: "Settings") -> Check:
    import shutil

    folder = settings.data_dir
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    words = f"{free / MIB:,.0f} MiB free for {settings.data_dir}"
    advice = "free space, or set PENSTOCK_DATA_DIR to a larger disk"
    if free < DISK_FAIL_BYTES:
        return Check("disk", "fail", words, advice)
    return Check("disk", "warn", words, advice) if free < DISK_WARN_BYTES else Check("disk", "ok", words)


def _keys() -> Check:
    from penstock.wiring import provider_keys

    found = provider_keys()
    given = [name for name, known in found.items() if known]
    if given:
        return Check("keys", "ok", f"set: {', '.join(given)} (not shown, not tried)")
    words = "no provider's key is set; the simulated model needs none"
    return Check("keys", "ok", f"{words} (looked for {', '.join(found)})")
