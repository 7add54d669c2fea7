"""The calls of a run that are over, as the rules against repeats and spirals see them."""

import msgspec


class PastCall(msgspec.Struct, omit_defaults=True, gc=False):
    """A tool call or a delegation that is over. ``nano`` and ``busy`` count from the run's beginning.

    Attributes:
        result: the result payload's address: the same address is the same result.
        refused: by a rule or a person: the tool was not called, so it did not fail.
        path: the call's place in the run; ``seq`` that of its last event, 0 = not written yet.
        shape: a sketch of the arguments (`penstock.rules.sketch`); "" = not known.
        facts: a sketch of the result.
        failure: code and words of the failure.
        write: it may change something.
        repeatable: its author says that asking again with the same arguments is meaningful.
        at: microseconds since the epoch when it was over; 0 = not known.
        busy: microseconds that models have taken until then.
        turn: answers that models have given until then.
        said: a hash of the words with which the model asked for it.
        prompt: tokens of the prompt that it was asked for with.
        nano: nano-dollars spent until then.
        heard: somebody outside said something between the call before and this one.
        polled: it repeated an earlier call after a pause that shows patience (`penstock.rules.spiral_detector`).
    """

    name: str
    digest: str
    ok: bool
    result: str = ""
    refused: bool = False
    path: str = ""
    shape: str = ""
    facts: str = ""
    failure: str = ""
    write: bool = False
    repeatable: bool = False
    at: int = 0
    busy: int = 0
    turn: int = 0
    said: str = ""
    prompt: int = 0
    nano: int = 0
    heard: bool = False
    polled: bool = False


class Spoken(msgspec.Struct, omit_defaults=True):
    """What the next `PastCall` takes along from the model's side: counted from the run's beginning.

    ``said`` and ``prompt`` are those of the model's latest answer; ``heard``: a message has come since the latest call.
    """

    nano: int = 0
    busy: int = 0
    turn: int = 0
    said: str = ""
    prompt: int = 0
    heard: bool = False
