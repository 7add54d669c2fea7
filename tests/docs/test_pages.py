"""Every example of the documentation runs, and prints what its page shows: see `walkthrough`."""

import pytest
from tests.docs.walkthrough import WALKS


@pytest.mark.parametrize("page", list(WALKS))
@pytest.mark.timeout(180)
def test_examples(page: str, walked: dict[str, BaseException | None]) -> None:
    problem = walked[page]
    if problem is not None:
        raise problem
