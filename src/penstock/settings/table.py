"""Every setting of Penstock, in one table: name, default, what it is, unit, bounds.

The environment variable of ``lease_seconds`` is ``PENSTOCK_LEASE_SECONDS``, and so on for each. The reference page
``docs/reference/settings.md`` is generated from this table. To add a setting, add a line.
"""

import dataclasses
import os
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from penstock.settings.checks import PREFIX, check_relations, checked, kind_of, parse, unknown
from penstock.settings.line import DAY, KIB, MIB
from penstock.settings.line import setting as _setting
from penstock.settings.serving import ServingSettings


def _twice_the_cores() -> int:
    return min(256, 2 * (os.cpu_count() or 1))


def _user_data_dir() -> Path:
    import platformdirs

    return platformdirs.user_data_path("penstock", appauthor=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings(ServingSettings):
    """The settings of one process, checked when made.

    Raises:
        SettingInvalid: a value of the wrong type, outside its bounds, or in conflict with another.
    """

    database_url: str | None = _setting(
        None,
        "The PostgreSQL server (15 or newer) to use; without it Penstock runs its own in the data folder.",
        secret=True,
    )
    data_dir: Path = _setting(
        typing.cast("Path", _user_data_dir),
        "The folder of the embedded server's data; all processes with the same folder share one server.",
        shown_default="the platform's user data folder",
    )
    environment: str = _setting(
        "development", "The environment this process belongs to, recorded with every event.", low=1, high=64
    )
    environments: Path | None = _setting(
        None,
        "The environments file (TOML): which tools act in which environment, its secrets, and what may be reached.",
    )
    tenant: str = _setting("default", "The tenant of a call that names none.", low=1, high=64)
    prices_file: Path | None = _setting(
        None,
        "A file of model prices that come before the built-in ones, for models whose price is not known.",
    )
    release_key_file: Path | None = _setting(
        None,
        "The private key (Ed25519, PEM) that signs releases, and decisions about them, here; its public half is trusted"
        " here.",
    )
    release_trusted_file: Path | None = _setting(
        None,
        "Public keys (Ed25519, PEM, one below the other) whose releases are run here besides.",
    )
    decision_key_file: Path | None = _setting(
        None,
        "The private key (Ed25519, PEM; it may be that of releases) that signs people's decisions here; its public half"
        " is trusted here.",
    )
    decision_trusted_file: Path | None = _setting(
        None,
        "Public keys (Ed25519, PEM, one below the other) of which one has to have signed a decision for it to count.",
    )

    policy: Path | None = _setting(
        None,
        "The policy that tool calls are held to: a file, or a folder of *.yaml files, read again when they change.",
    )

    filters: str = _setting(
        "", "Filters of agents that declare none, such as `pii=redact secret=block untrusted=hold`; empty = none."
    )

    database_pool_size: int = _setting(8, "Connections one process opens at most.", low=2, high=200)
    database_connect_seconds: float = _setting(
        10.0, "How long to go on trying to reach the database before an error.", unit="s", low=0.1, high=600
    )
    database_statement_seconds: float = _setting(
        30.0, "How long one statement may take before it is given up.", unit="s", low=1, high=3600
    )
    embedded_start_seconds: float = _setting(
        120.0,
        "How long the embedded server may take to start, crash recovery included.",
        unit="s",
        low=5,
        high=3600,
    )

    lease_seconds: float = _setting(
        15.0,
        "How long a worker keeps its runs without a sign of life; renewed at a third of it.",
        unit="s",
        low=0.5,
        high=3600,
    )
    poll_seconds: float = _setting(
        1.0, "How often a worker looks for work when nothing wakes it.", unit="s", low=0.01, high=60
    )
    claim_batch: int = _setting(64, "Runs a worker claims in one statement, at most.", low=1, high=1000)
    queue_max_per_agent: int = _setting(
        1_000_000,
        "Runs of one agent of a tenant that may be queued; a submission over it is refused.",
        low=1,
        high=1_000_000_000,
    )
    queue_max_per_customer: int = _setting(
        100_000,
        "Runs of one agent for one customer (the tag) that may be queued; a submission over it is refused.",
        low=1,
        high=1_000_000_000,
    )
    worker_concurrency: int = _setting(200, "Runs a worker executes at a time, at most.", low=1, high=100_000)
    loop_block_max_seconds: float = _setting(
        10.0,
        "How long a worker's event loop may be blocked before the worker gives up its runs and ends.",
        unit="s",
        low=0.1,
        high=3600,
    )
    worker_concurrency_min: int = _setting(
        8, "Runs a worker executes at a time even when its own overhead is over the target.", low=1, high=100_000
    )
    step_overhead_target_ms: float = _setting(
        25.0,
        "What the engine itself may add to a step; a worker over it takes on fewer runs at a time.",
        unit="ms",
        low=0.1,
        high=60_000,
    )
    rate_waiters_max: int = _setting(
        1000,
        "Calls of one agent that may wait for a shared rate limit in a worker before it takes on no more of these.",
        low=1,
        high=100_000,
    )
    schedule_poll_seconds: float = _setting(
        1.0, "How often a worker looks for schedules that are due.", unit="s", low=0.05, high=3600
    )
    schedule_grace_seconds: float = _setting(
        60.0, "How late a schedule may be fired without counting as missed.", unit="s", low=1, high=DAY
    )
    retention_every_seconds: float = _setting(
        3600.0, "How often one of the workers archives and prunes what is due.", unit="s", low=1, high=30 * DAY
    )
    retention_batch_runs: int = _setting(
        200, "Runs that are archived or pruned at a time: those of one archive, at most.", low=1, high=1000
    )
    retention_linger_seconds: float = _setting(
        31 * DAY,
        "How long events of pruned runs wait for their month to be dropped as a whole before they are deleted by"
        " themselves.",
        unit="s",
        low=0,
        high=3660 * DAY,
    )
    archive_dir: Path | None = _setting(
        None, "The folder that workers archive runs into; without it policies to archive wait for the command."
    )
    archive_max_bytes: int = _setting(
        256 * MIB, "Bytes from which an archive takes no further run.", unit="bytes", low=MIB, high=16 * 1024 * MIB
    )
    audit_key_file: Path | None = _setting(
        None,
        "The Ed25519 key (`penstock audit keygen`) that signs the audit logs; workers without it leave them to others.",
    )
    audit_seal_seconds: float = _setting(
        1.0, "How often what was recorded is sealed into the audit logs.", unit="s", low=0.05, high=3600
    )
    audit_origin: str = _setting(
        "",
        "The name of the audit logs, such as audit.example.com/penstock, before the first one begins; without it they"
        " have the database's id.",
        high=200,
    )
    audit_witnesses: str = _setting(
        "",
        "Public keys of witnesses (C2SP cosignature/v1 verifier keys), separated by spaces, whose signatures are kept"
        " with checkpoints.",
        high=4000,
    )
    schedules_max: int = _setting(10_000, "Schedules of one tenant, at most.", low=1, high=1_000_000)
    event_value_max_bytes: int = _setting(
        256 * KIB, "Bytes of the value of one event sent to a run, at most.", unit="bytes", low=KIB, high=16 * MIB
    )
    events_max_per_run: int = _setting(
        10_000, "Events that one run is sent in its life, at most.", low=1, high=1_000_000
    )
    events_max_per_key: int = _setting(
        1_000, "Events that one name and key hold for runs to come, at most.", low=1, high=100_000
    )
    event_keep_seconds: float = _setting(
        7 * DAY, "How long an event sent to a key waits for a run, and is known again.", unit="s", low=1, high=366 * DAY
    )
    triggers_max: int = _setting(1_000, "Triggers of one tenant, at most.", low=1, high=100_000)
    triggers_max_per_event: int = _setting(
        100, "Triggers for events of one name, at most: the runs that one event starts.", low=1, high=1_000
    )
    usage_every_seconds: float = _setting(
        2.0, "How often one of the workers counts what ended runs have spent.", unit="s", low=0.05, high=3600
    )
    usage_keep_seconds: float = _setting(
        400 * DAY, "How long sums of what was spent in an hour are kept.", unit="s", low=DAY, high=36_600 * DAY
    )
    costs_tags: str = _setting(
        "",
        "Tags of your own by which costs are counted too, such as `x_team,x_region`: from then on, or by a rebuild.",
        high=500,
    )
    costs_values_max: int = _setting(
        10_000,
        "Values of one tag, agent, release or model that the sums of a day tell apart; those beyond are one, `*`.",
        low=10,
        high=1_000_000,
    )
    circle_look_seconds: float = _setting(
        5.0, "How often one worker looks for parked runs that wait for each other.", unit="s", low=0.05, high=3600
    )
    wakeup_look_seconds: float = _setting(
        10.0,
        "How often one worker goes through 1,000 unended runs for those that sleep although their wait is over.",
        unit="s",
        low=0.05,
        high=3600,
    )
    follow_up_batch: int = _setting(
        100,
        "Ended runs that a worker puts in order at a time: who waited for them, their children.",
        low=1,
        high=10_000,
    )
    poison_claims: int = _setting(
        3,
        "Claims of a run without progress after which it is tried in a process of its own, or quarantined.",
        low=1,
        high=100,
    )
    drain_seconds: float = _setting(
        30.0,
        "How long a worker that is told to stop waits for calls in flight before it hands their runs back.",
        unit="s",
        low=0,
        high=3600,
    )

    batch_max_events: int = _setting(900, "Events in one append, at most.", low=1, high=10_000)
    batch_max_bytes: int = _setting(
        4 * MIB, "Bytes in one append, at most.", unit="bytes", low=64 * KIB, high=256 * MIB
    )
    batch_linger_ms: float = _setting(
        1.0, "How long an append waits for company before it is sent.", unit="ms", low=0, high=1000
    )
    append_skips_before_blocking: int = _setting(
        5, "How often a run whose row is locked is put off before its append waits for it.", low=0, high=1000
    )
    event_max_bytes: int = _setting(64 * KIB, "Bytes of one event, at most.", unit="bytes", low=KIB, high=4 * MIB)
    payload_max_bytes: int = _setting(
        4 * MIB,
        "Bytes of one payload (a prompt, an answer, a tool's result), at most.",
        unit="bytes",
        low=KIB,
        high=256 * MIB,
    )
    input_max_bytes: int = _setting(
        256 * KIB, "Bytes of a run's input, at most.", unit="bytes", low=KIB, high=256 * MIB
    )
    history_max_events: int = _setting(
        50_000, "Events one run may record before it must continue as a new one.", low=100, high=10_000_000
    )
    history_max_bytes: int = _setting(
        64 * MIB,
        "Bytes of events one run may record before it must continue as a new one.",
        unit="bytes",
        low=MIB,
        high=16 * 1024 * MIB,
    )
    document_max_bytes: int = _setting(
        256 * KIB,
        "Bytes of a document (a session's state, or one that agents share), at most.",
        unit="bytes",
        low=KIB,
        high=64 * MIB,
    )
    document_versions_kept: int = _setting(
        10, "Versions of a document whose content is kept; older ones are pruned.", low=1, high=10_000
    )
    snapshot_every_events: int = _setting(
        1_000,
        "Events of a run of the standard loop after which its state is kept, to go on from there; 0 = never.",
        low=0,
        high=10_000_000,
    )
    tapes_max_bytes: int = _setting(
        256 * MIB,
        "Bytes of long histories that a worker holds at a time; further long runs wait for room.",
        unit="bytes",
        low=MIB,
        high=64 * 1024 * MIB,
    )
    tags_max: int = _setting(16, "Tags on one run, at most.", low=0, high=256)
    tag_value_max_chars: int = _setting(
        128, "Length of a tag's key or value, at most.", unit="characters", low=1, high=1024
    )

    start_allowance_seconds: float = _setting(
        5.0, "How long after its intent was recorded a call may still start.", unit="s", low=0.1, high=600
    )
    doubt_margin_seconds: float = _setting(
        2.0,
        "Added to a write's start allowance and time-out before a write in doubt is settled.",
        unit="s",
        low=0.1,
        high=600,
    )
    tool_threads: int = _setting(32, "Synchronous reads that may run at a time, at most.", low=1, high=1000)
    tool_processes: int = _setting(
        typing.cast("int", _twice_the_cores),
        "Processes for synchronous writes, at most; one that runs over its time-out is killed.",
        low=1,
        high=256,
        shown_default="twice the cores, at least 2",
    )
    park_after_seconds: float = _setting(
        20.0,
        "How long a call may wait (for a shared rate limit, before a retry) in the worker's memory; beyond it the run"
        " is parked.",
        unit="s",
        low=0,
        high=3600,
    )
    budget_wait_seconds: float = _setting(
        30.0,
        "How long a call may wait for room in a budget above the task that calls under way hold.",
        unit="s",
        low=0,
        high=3600,
    )
    approval_expiry_seconds: float = _setting(
        DAY, "How long a call waits for a person before it counts as denied.", unit="s", low=1, high=365 * DAY
    )
    kill_lock_timeout_ms: int = _setting(
        50, "How long one try to seal a kill may hold up appends.", unit="ms", low=1, high=10_000
    )
    kill_seal_tries: int = _setting(
        6, "Tries to seal a kill before the session that prevents it is named and ended.", low=1, high=10_000
    )

    retry_budget: int = _setting(
        10,
        "Tries again that a run and its children may make together beyond their percentage of calls.",
        low=0,
        high=1_000_000,
    )
    retry_budget_percent: float = _setting(
        10.0, "Tries again that a run may make for every hundred of its calls.", unit="%", low=0, high=1000
    )
    depth_max: int = _setting(5, "How deep agents may call agents.", low=0, high=100)
    fanout_max: int = _setting(
        1000, "Children one run may start, and branches of one gather or map, at most.", low=1, high=100_000
    )

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            value = checked(entry, getattr(self, entry.name))
            object.__setattr__(self, entry.name, value)
        check_relations(self)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """The settings that the ``PENSTOCK_*`` variables of ``environ`` describe; an empty variable counts as unset.

        Raises:
            SettingUnknown: a ``PENSTOCK_*`` variable that names no setting; the message offers the nearest one.
            SettingInvalid: a value that cannot be read, lies outside its bounds or conflicts with another.
        """
        kinds = {entry.name: kind_of(entry) for entry in dataclasses.fields(cls)}
        values: dict[str, Any] = {}
        for variable in sorted(environ):
            if not variable.startswith(PREFIX):
                continue
            name = variable.removeprefix(PREFIX).lower()
            if name not in kinds or variable != variable.upper():
                raise unknown(variable, set(kinds))
            if environ[variable].strip():
                values[name] = parse(kinds[name], name, environ[variable].strip())
        return cls(**values)
