"""What the README says of make."""

import re

from tests.docs.pages import ROOT
from tests.docs.readme import README


def test_its_targets_are_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?m)^make ([a-z-]+)", README.read_text(encoding="utf-8")):
        assert f"\n{target}:" in makefile, target
