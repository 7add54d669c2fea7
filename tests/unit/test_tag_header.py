"""Tags in a header."""

import pytest

from penstock.kernel.errors import InputInvalid
from penstock.runs.tag_header import read_tags


@pytest.mark.parametrize(
    ("values", "tags"),
    [
        ([], {}),
        ([""], {}),
        (["customer=acme, feature = inbox ,"], {"customer": "acme", "feature": "inbox"}),
        (["customer=acme", "feature=inbox"], {"customer": "acme", "feature": "inbox"}),
        (["x_team=blue%20one%2C%20two%3D%25"], {"x_team": "blue one, two=%"}),
        (["x_team=a=b+c d"], {"x_team": "a=b+c d"}),
        (["x_team=m%C3%BCller"], {"x_team": "müller"}),
        (["customer="], {"customer": ""}),
    ],
)
def test_tags_are_read(values: list[str], tags: dict[str, str]) -> None:
    assert read_tags(values) == tags


@pytest.mark.parametrize(
    "values",
    [
        ["nonsense"],
        ["=acme"],
        ["%20=acme", "%20=acme"],
        ["customer=acme,customer=umbrella"],
        ["customer=acme", "customer=acme"],
        ["customer=acme,c%75stomer=umbrella"],
        ["customer=100%"],
        ["customer=%zz"],
        ["customer=%ff"],
        ["customer=mÃ¼ller"],
        ["customer=a\tb"],
    ],
)
def test_what_is_no_list_of_tags_is_refused(values: list[str]) -> None:
    with pytest.raises(InputInvalid):
        read_tags(values)
