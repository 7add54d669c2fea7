"""What is asked of the journal again and again, and what is not."""

import pytest

from penstock.kernel.backoff import until_answered
from penstock.kernel.errors import JournalError, JournalFull, JournalUnavailable


@pytest.mark.parametrize("trouble", [JournalUnavailable, JournalFull])
async def test_a_trouble_that_passes_is_waited_for(trouble: type[JournalError]) -> None:
    """Also of a read: an agent whose replay failed because a disk was full would be set aside as one that diverged."""
    troubles = [trouble("not now"), trouble("not yet")]
    slept: list[float] = []

    async def ask() -> str:
        if troubles:
            raise troubles.pop()
        return "there"

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    assert await until_answered(ask, sleep) == "there"
    assert len(slept) == 2


async def test_what_does_not_pass_is_raised() -> None:
    async def ask() -> str:
        raise JournalError("it is damaged")

    async def sleep(seconds: float) -> None:
        pytest.fail("it was waited for")

    with pytest.raises(JournalError):
        await until_answered(ask, sleep)
