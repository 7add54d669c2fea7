"""Values an agent took from outside by `run.record`."""

from penstock.events.envelope import Event, Failure


class NoteRecorded(Event, tag="note.recorded"):
    """``payloads.value`` is what the function returned; replay gives it back without calling."""

    name: str
    digest: str = ""
    failure: Failure | None = None
