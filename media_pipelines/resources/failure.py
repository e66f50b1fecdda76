"""How a failure reads in Dagster: its first line says what went wrong and what to do; ffmpeg's words are told apart."""

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from jobqueue_bridge.retry import FailureKind
from media_pipelines.media.errors import DiskFull, FfmpegFailed, FfmpegStalled, OutputRejected

COMMAND, STDERR_TAIL = "ffmpeg command", "stderr tail"
_TAIL_LINES, _LINE_CHARACTERS, _COMMAND_CHARACTERS = 20, 500, 8_000
_ADVICE: Mapping[FailureKind, str] = {
    "permanent": "Trying again does not help: the file, the params or the machine must change first.",
    "capacity": "It is tried again when the device has room.",
    "transient": "It is tried again while it has retries left.",
    "lost": "Something killed it: it is tried again at once while it has retries left.",
}
_FULL = "Free some disk space: `media-pipelines doctor` shows the disks. It is tried again while it has retries left."


def failure_of(error: Exception, said: str, kind: FailureKind) -> dg.Failure:
    """`said`: the text that its job gets. Dagster never tries a run again by itself, the queue does."""
    headline, _, rest = said.partition("\n")
    facts = dict(_facts(error))
    return dg.Failure(
        description=f"{_sentence(headline)} {_advice(error, kind)}" + ("" if facts or not rest else f"\n{rest}"),
        metadata={"kind": kind, **facts},
        allow_retries=False,
    )


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _advice(error: Exception, kind: FailureKind) -> str:
    is_full = isinstance(error, DiskFull) or (isinstance(error, FfmpegFailed) and error.disk_full)
    return _FULL if is_full else _ADVICE[kind]


def _facts(error: Exception) -> Iterable[tuple[str, Any]]:
    if isinstance(error, FfmpegFailed | FfmpegStalled):
        yield COMMAND, shlex.join(error.command)[:_COMMAND_CHARACTERS]
    if isinstance(error, FfmpegFailed):
        yield "exit code", error.exit_code
        yield STDERR_TAIL, dg.MetadataValue.md(_as_code(error.stderr_tail))
    if isinstance(error, OutputRejected):
        yield "problems", dg.MetadataValue.md(_as_code(error.problems))


def _as_code(lines: Iterable[str]) -> str:
    """As they are, whatever they hold: the fence is longer than every run of backticks in them."""
    text = "\n".join(line[:_LINE_CHARACTERS] for line in list(lines)[-_TAIL_LINES:])
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def code_in(markdown: str) -> str:
    """What `_as_code` was given."""
    return "\n".join(markdown.split("\n")[1:-1])
