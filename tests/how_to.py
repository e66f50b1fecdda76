"""Reads the pages below docs/how-to: which file each code block is of, and where in it, and puts it there."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_STEP = re.compile(
    r"^\*\*`(?P<file>[^`]+)`\*\*, "
    r"(?:a new file|(?P<side>after|before) the line that begins with (?P<tick>`+)(?P<line>.+?)(?P=tick)):"
    r"\n\n```\w*\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_ANNOUNCED = re.compile(r"^\*\*`", re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """One code block, and where it goes. `side` None: it is the whole of a new file; else lines of a diff."""

    file: str
    side: Literal["after", "before"] | None
    line: str | None
    code: str

    def apply(self, root: Path) -> None:
        target = root / self.file
        if self.side is None:
            assert not target.exists(), f"{self.file} is there already"
            target.write_text(self.code, encoding="utf-8")
            return
        lines = target.read_text(encoding="utf-8").splitlines(keepends=True)
        found = [number for number, line in enumerate(lines) if line.lstrip().startswith(self.line or "")]
        assert len(found) == 1, f"{self.file}: {len(found)} lines begin with {self.line!r}"
        assert all(line.startswith("+") for line in self.code.splitlines()), self.code
        at = found[0] + (self.side == "after")
        lines[at:at] = [line[1:] for line in self.code.splitlines(keepends=True)]
        target.write_text("".join(lines), encoding="utf-8")


def steps(page: Path) -> Iterator[Step]:
    text = page.read_text(encoding="utf-8")
    found = [
        Step(match["file"], match["side"], match["line"] and match["line"].strip(), match["code"])  # type: ignore[arg-type]
        for match in _STEP.finditer(text)
    ]
    assert len(found) == len(_ANNOUNCED.findall(text)), f"{page.name}: a step is not written as the others are"
    yield from found
