"""Every command, in the order in which the help shows them. A new one is a file and a line here."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """A command: its function, which is imported when it is needed."""

    name: str
    place: str  # module:function
    text: str


@dataclass(frozen=True, slots=True)
class Group:
    """Commands under a common word."""

    name: str
    text: str
    entries: tuple[Entry, ...]


COMMANDS: tuple[Entry | Group, ...] = (
    Entry("demo", "penstock.cli.demo:demo", "Work real tickets three ways, and prove what holds"),
    Entry("run", "penstock.cli.run:run", "Run an agent on one input"),
    Entry("worker", "penstock.cli.worker:worker", "Work on runs until told to stop"),
    Group(
        "runs",
        "Look at runs, replay them, steer them",
        (
            Entry("ls", "penstock.cli.runs.ls:ls", "List runs, newest first"),
            Entry("show", "penstock.cli.runs.show:show", "Draw a run's span tree"),
            Entry("tail", "penstock.cli.runs.tail:tail", "Follow a run's events as they are written"),
            Entry("replay", "penstock.cli.runs.replay:replay", "Run the code against the record, without acting"),
            Entry("cancel", "penstock.cli.runs.steer:cancel", "End a run and its children as cancelled"),
            Entry("pause", "penstock.cli.runs.steer:pause", "Let a run start nothing more until it is resumed"),
            Entry("resume", "penstock.cli.runs.steer:resume", "Take a pause off a run"),
            Entry("release", "penstock.cli.runs.steer:release", "Let a quarantined run go on"),
        ),
    ),
    Group(
        "approvals",
        "Decide what waits for a person",
        (
            Entry("ls", "penstock.cli.approvals.ls:ls", "List what waits for a person"),
            Entry("show", "penstock.cli.approvals.show:show", "Show one question with its exact arguments"),
            Entry("approve", "penstock.cli.approvals.decide:approve", "Let a call go ahead"),
            Entry("deny", "penstock.cli.approvals.decide:deny", "Refuse a call"),
            Entry("happened", "penstock.cli.approvals.decide:happened", "Settle a doubt: the call took effect"),
            Entry("did-not-happen", "penstock.cli.approvals.decide:did_not_happen", "Settle a doubt: it did not"),
        ),
    ),
    Entry("kill", "penstock.cli.kill:kill", "Stop one run or everything, at once"),
    Entry("resume", "penstock.cli.resume:resume", "Lift a kill of everything"),
    Group(
        "audit",
        "Check what was recorded",
        (Entry("verify", "penstock.cli.audit.verify:verify", "Verify hash chains and payloads"),),
    ),
    Entry("doctor", "penstock.cli.doctor:doctor", "Check the installation and the database"),
    Entry("settings", "penstock.cli.settings:settings", "Show every setting and its value"),
    Entry("version", "penstock.cli.version:version", "Show the version"),
)
