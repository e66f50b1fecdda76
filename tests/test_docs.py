"""What the documents name is there: commands, targets, files, functions, settings, job types; nothing is left out."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from jobqueue_bridge import params
from jobqueue_bridge.policy import Policy, load_policy
from jobqueue_bridge.settings import Settings, variable_of
from jobqueue_bridge.vocabulary import NEEDS, JobType
from media_pipelines.cli.main import build

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DECISIONS = sorted((ROOT / "docs/decisions").glob("*.md"))
DOCUMENTS = [README, ROOT / "CHANGELOG.md", ROOT / "docs/tour.md", ROOT / "docs/policies.md", *DECISIONS]
HOW_TO = sorted((ROOT / "docs/how-to").glob("*.md"))  # which `test_how_to` follows
OURS = ("jobqueue_bridge/", "media_pipelines/", "tests/", "docs/", "bench/", ".ci/")
AT_THE_TOP = (
    "workspace.yaml",
    "dagster.yaml",
    "pyproject.toml",
    "constraints.txt",
    "Makefile",
    "LICENSE",
    "CHANGELOG.md",
)
# Variables that are no settings of the platform.
OTHER_VARIABLES = {"MEDIA", "KEEP", "TESTED", "PYTHON", "PATH", "HOME", "DAGSTER_HOME"}


def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def code_in(document: Path) -> Iterator[str]:
    """Everything in backticks, and each line of a code block."""
    text = text_of(document)
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for block in blocks:
        yield from block.splitlines()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def each(find: str) -> list[tuple[Path, str]]:
    """Every match of a pattern in the code of all documents, with its document."""
    return sorted(
        {(document, match) for document in DOCUMENTS for code in code_in(document) for match in re.findall(find, code)}
    )


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, by its words."""
    for name, command in group.commands.items():
        members = getattr(command, "commands", None)
        if members is None or command.invoke_without_command:
            yield (*path, name), command
        if members:
            yield from commands(command, (*path, name))


@pytest.fixture(scope="module")
def cli() -> dict[tuple[str, ...], Any]:
    return dict(commands(typer.main.get_command(build([]))))


# Commands


def named_commands() -> list[tuple[Path, list[str]]]:
    """Every `media-pipelines …` in the documents, as words, without its arguments' values."""
    found = []
    for document, line in each(r"media-pipelines ((?:[a-z]|--)[^`#|)]*)"):
        words = shlex.split(line.replace("'", " ").replace('"', " "))
        found.append((document, words))
    return found


@pytest.mark.parametrize(("document", "words"), named_commands(), ids=lambda value: str(value)[-60:])
def test_a_command_that_is_named_exists_with_its_options(
    document: Path, words: list[str], cli: dict[tuple[str, ...], Any]
) -> None:
    alternatives = words[1].split("/") if len(words) > 1 and "/" in words[1] else [None]
    for alternative in alternatives:
        plain = [words[0], alternative] if alternative else [word for word in words if not word.startswith("-")]
        path = next((tuple(plain[:length]) for length in (2, 1) if tuple(plain[:length]) in cli), None)
        assert path, f"{document.name}: there is no command {' '.join(words)}"
        options = {option for parameter in cli[path].params for option in parameter.opts}
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert given <= options, f"{document.name}: {' '.join(words)}"


def test_every_command_stands_in_the_readme(cli: dict[tuple[str, ...], Any]) -> None:
    table = re.findall(r"^\| `media-pipelines ([a-z ]+)`", text_of(README), re.MULTILINE)
    assert sorted(table) == sorted(" ".join(path) for path in cli)


def targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", text_of(ROOT / "Makefile"), re.MULTILINE))


@pytest.mark.parametrize(("document", "target"), each(r"(?<![\w-])make ([a-z]+)"), ids=lambda value: str(value)[-40:])
def test_a_make_target_that_is_named_exists(document: Path, target: str) -> None:
    assert target in targets(), f"{document.name}: make {target}"


def test_every_make_target_says_what_it_does() -> None:
    described = set(re.findall(r"^([a-z]+):.*## \S", text_of(ROOT / "Makefile"), re.MULTILINE))
    assert described == targets()


# Files, functions, links


@pytest.mark.parametrize(
    ("document", "path"),
    each(r"(?<![\w/.$-])((?:[\w.-]+/)*[\w.-]+\.(?:py|md|yaml|toml|txt))"),
    ids=lambda value: str(value)[-60:],
)
def test_a_file_that_is_named_exists(document: Path, path: str) -> None:
    if path.startswith(OURS) or path in AT_THE_TOP:
        assert (ROOT / path).is_file(), f"{document.name}: {path}"


@pytest.mark.parametrize(("document", "reference"), each(r"[\w/.]+\.py::\w+"), ids=lambda value: str(value)[-80:])
def test_a_function_that_is_named_exists(document: Path, reference: str) -> None:
    path, _, name = reference.partition("::")
    tree = ast.parse(text_of(ROOT / path))
    defined = {getattr(node, "name", None) for node in tree.body}
    assigned = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    assert name in defined | assigned, f"{document.name}: {reference}"


@pytest.mark.parametrize("document", [*DOCUMENTS, *HOW_TO], ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", text_of(document), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", prose)
    missing = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert missing == []


# Settings


@pytest.mark.parametrize(
    ("document", "variable"),
    each(r"(?<![\w.])((?:MEDIA|FFMPEG|FFPROBE|DATABASE)(?:_[A-Z]+)*)(?![\w])"),
    ids=lambda value: str(value)[-50:],
)
def test_a_setting_that_is_named_exists(document: Path, variable: str) -> None:
    known = {variable_of(field) for field in Settings.model_fields} | OTHER_VARIABLES
    assert variable in known, f"{document.name}: {variable}"


def test_every_setting_stands_in_the_readme_with_its_default() -> None:
    text = text_of(README)
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    for field, info in Settings.model_fields.items():
        row = next((line for line in rows if f"`{variable_of(field)}`" in line.split("|")[1]), None)
        assert row, f"{variable_of(field)} is not in the table"
        if isinstance(info.default, int | float) and not isinstance(info.default, bool):
            assert f"{info.default:g}" in row.split("|")[2].replace(",", " ").split(), row


# Job types


@pytest.mark.parametrize("kind", sorted(params.MODELS))
def test_every_job_type_stands_in_the_readme_with_its_needs_and_all_its_params(kind: JobType) -> None:
    row = re.search(rf"^\| `{kind.value}` \|(.*)$", text_of(README), re.MULTILINE)
    assert row, f"{kind} has no row"
    need, accepted, _ = row[1].split("|")[:3]
    assert need.strip() == f"{NEEDS[kind].category}, {NEEDS[kind].vram_mb} MB"
    named = set(re.findall(r"`(\w+)`", accepted))
    assert named == {field.alias for field in params.MODELS[kind].model_fields.values()}


def test_no_job_type_is_promised_that_cannot_be_run() -> None:
    promised = set(re.findall(r"^\| `([a-z_]+)` \| (?:cpu|gpu)", text_of(README), re.MULTILINE))
    assert promised == {kind.value for kind in params.MODELS}


# Policies


def test_every_key_of_a_policy_stands_in_the_guide_and_no_other() -> None:
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", text_of(ROOT / "docs/policies.md"), re.MULTILINE)
    assert {key for row in rows for key in re.findall(r"`(\w+)`", row)} == set(Policy.model_fields)


def test_the_policy_in_the_guide_is_sound(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```yaml\n(.*?)^```", text_of(ROOT / "docs/policies.md"), re.MULTILINE | re.DOTALL)
    (tmp_path / "hevc.yaml").write_text(example)
    assert load_policy(tmp_path / "hevc.yaml").target_video_codec == "hevc"


# Decisions


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda path: path.name)
def test_a_decision_has_its_parts(decision: Path) -> None:
    text = text_of(decision)
    assert re.match(rf"# {int(decision.name[:4])}\. \S", text)
    assert re.search(r"^Status: (accepted|superseded by \d{4})$", text, re.MULTILINE)
    assert re.findall(r"^## (\w+)", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]


def test_decisions_are_numbered_without_a_gap() -> None:
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))
