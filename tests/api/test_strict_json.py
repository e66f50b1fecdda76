"""JSON from outside."""

import pytest

from jobqueue_bridge import strict_json
from jobqueue_bridge.errors import InvalidJob
from jobqueue_bridge.strict_json import DEPTH_MAX, MalformedJson


@pytest.mark.parametrize("text", ["{}", '{"a": [1, 2.5, null, true, "é\\u00e9\\ud83d\\ude00"]}', "5", '" "'])
def test_good_json_is_read(text: str) -> None:
    strict_json.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "{'a': 1}",
        "NaN",
        '{"a": Infinity}',
        "[-Infinity]",
        "1" * 5000,
        b"\xff\xfe",
        b'"\xff"',
        b'"\xed\xa0\x80"',
        "[" * 100_000,
        "[" * (DEPTH_MAX + 1) + "]" * (DEPTH_MAX + 1),
        '{"a":' * 500 + "1" + "}" * 500,
    ],
)
def test_what_is_no_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(MalformedJson):
        strict_json.parse(text)


def test_the_deepest_allowed_json_is_read() -> None:
    strict_json.parse("[" * (DEPTH_MAX - 1) + "1" + "]" * (DEPTH_MAX - 1))


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('"\\u0000"', "body"),
        ('{"a": "x\\u0000"}', "a"),
        ('{"a": [{"b": "\\ud800"}]}', "a.0.b"),
        ('{"a": "\\udc00\\ud800"}', "a"),
        ('{"a": {"\\u0000": 1}}', "a (a name in it)"),
        ('{"\\ud800": "\\ud800"}', "body (a name in it)"),
    ],
)
def test_text_that_cannot_be_stored_is_refused_by_its_place(text: str, field: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        strict_json.parse(text)

    assert caught.value.problems[0].field == field
