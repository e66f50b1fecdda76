"""What one pass over a video found out, and the compact file in which it is kept: facts, nothing that decodes.

The file is a numpy archive without pickle: a JSON header beside the arrays, every member with its checksum.
"""

import dataclasses
import io
import json
import os
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from media_pipelines.ai.errors import AnalysisUnreadable
from media_pipelines.media import files

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Hashes = npt.NDArray[np.uint64]

VERSION = 1
STEP_S = 0.1
SILENT_LUFS = -70.0
_CURVES = ("motion", "sharpness", "brightness", "loudness_db", "cut_probability")

Transition = Literal["start", "cut", "dissolve", "fade"]
Role = Literal["shots", "tags", "embedding", "faces", "audio", "transcript", "text"]


@dataclass(frozen=True)
class Engine:
    """What produced a part of an analysis. `reason`: why this one and not the preferred one; None: it is that one."""

    role: Role
    reference: str
    model_id: str
    sha256: str | None
    licence: str
    device: str
    vram_peak_mb: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Span:
    start_s: float
    end_s: float
    score: float = 1.0


@dataclass(frozen=True)
class Shot:
    """`key_s` is the time of the frame that stands for it. A transition belongs to the shot that it leads to: `start_s`
    is the first frame after a cut, and the middle of a dissolve or fade."""

    start_s: float
    end_s: float
    transition_in: Transition
    key_s: float
    transition_s: float = 0.0


@dataclass(frozen=True)
class Face:
    """Where a face is, from 0 to 1 of the displayed picture, from its top left."""

    at_s: float
    x: float
    y: float
    width: float
    height: float
    score: float


@dataclass(frozen=True)
class Tag:
    """`shot` counts from 0."""

    name: str
    score: float
    shot: int


@dataclass(frozen=True)
class Word:
    start_s: float
    end_s: float
    text: str
    probability: float


@dataclass(frozen=True)
class ScreenText:
    """A line of text that a shot's key frame shows."""

    shot: int
    text: str
    score: float


@dataclass(frozen=True, eq=False)
class Analysis:
    """All that is known of one video's content. Times count from its first frame.

    The curves have one float32 for each step of `step_s`: `motion` (0 nothing moves, 1 everything changes), `sharpness`
    (0 blurred, 1 sharp), `brightness` (0 black, 1 white), `loudness_db` (LUFS over 400 ms, at least -70, which also
    stands where there is no sound), `cut_probability` (the largest of the step's frames). `embeddings` is float32 of
    (shots, d) with rows of length 1, `phashes` uint64, `thumbnails` a JPEG of each shot's key frame. `wanted` has the
    references that were asked for by role; `notes` what somebody who relies on it should know.
    """

    content_key: str
    duration_s: float
    width: int
    height: int
    fps: float
    engines: tuple[Engine, ...]
    motion: "Floats"
    sharpness: "Floats"
    brightness: "Floats"
    loudness_db: "Floats"
    cut_probability: "Floats"
    shots: tuple[Shot, ...]
    embeddings: "Floats"
    phashes: "Hashes"
    thumbnails: tuple[bytes, ...]
    tags: tuple[Tag, ...] = ()
    faces: tuple[Face, ...] = ()
    speech: tuple[Span, ...] = ()
    music: tuple[Span, ...] = ()
    silence: tuple[Span, ...] = ()
    words: tuple[Word, ...] = ()
    texts: tuple[ScreenText, ...] = ()
    step_s: float = STEP_S
    has_audio: bool = True
    wanted: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        return len(self.motion)

    def engine(self, role: Role) -> Engine | None:
        """Which one did that part; None where nobody did."""
        return next((engine for engine in self.engines if engine.role == role), None)


_ROWS: dict[str, type[Any]] = {
    "engines": Engine,
    "shots": Shot,
    "tags": Tag,
    "faces": Face,
    "speech": Span,
    "music": Span,
    "silence": Span,
    "words": Word,
    "texts": ScreenText,
}
_ARRAYS = (*_CURVES, "embeddings", "phashes")
_PLAIN = ("content_key", "duration_s", "width", "height", "fps", "step_s", "has_audio", "wanted")


def path_of(folder: Path, content_key: str) -> Path:
    return folder / f"{content_key}.npz"


def save(analysis: Analysis, folder: Path) -> Path:
    """Whole or not at all, whoever else writes the same one."""
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    target = path_of(folder, analysis.content_key)
    partial = files.partial_path(target, f"{os.getpid()}")
    ends = np.cumsum([len(jpeg) for jpeg in analysis.thumbnails], dtype=np.int64)
    arrays = {name: getattr(analysis, name) for name in _ARRAYS}
    try:
        with partial.open("wb") as file:
            np.savez_compressed(
                file,
                header=np.frombuffer(json.dumps(_header(analysis)).encode(), dtype=np.uint8),
                thumbnails=np.frombuffer(b"".join(analysis.thumbnails), dtype=np.uint8),
                thumbnail_ends=ends,
                **arrays,
            )
        files.publish(partial, target, replace=True)
    except BaseException:
        files.remove_quietly(partial)
        raise
    return target


def load(folder: Path, content_key: str) -> Analysis | None:
    """The stored one; None where there is none that can be used."""
    try:
        return read(path_of(folder, content_key))
    except (FileNotFoundError, AnalysisUnreadable):
        return None


def read(path: Path) -> Analysis:
    """Raises FileNotFoundError, and AnalysisUnreadable for a damaged file and for one of another version."""
    import numpy as np

    content = path.read_bytes()
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            members = {name: archive[name] for name in archive.files}
        header = json.loads(members["header"].tobytes())
        if header["version"] != VERSION:
            raise AnalysisUnreadable(path, f"it is of version {header['version']}, this program writes {VERSION}")
        found = _from_parts(header, members)
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise AnalysisUnreadable(path, f"it is damaged ({type(error).__name__}: {error})") from error
    _require_whole(found, path)
    return found


def _header(analysis: Analysis) -> dict[str, Any]:
    rows = {name: [dataclasses.astuple(row) for row in getattr(analysis, name)] for name in _ROWS}
    plain = {name: getattr(analysis, name) for name in _PLAIN}
    return {"version": VERSION, "notes": list(analysis.notes), **plain, **rows}


def _from_parts(header: dict[str, Any], members: dict[str, Any]) -> Analysis:
    rows: dict[str, Any] = {name: tuple(kind(*row) for row in header[name]) for name, kind in _ROWS.items()}
    jpegs, start = [], 0
    for end in members["thumbnail_ends"].tolist():
        jpegs.append(members["thumbnails"][start:end].tobytes())
        start = end
    plain: dict[str, Any] = {name: header[name] for name in _PLAIN}
    arrays: dict[str, Any] = {name: members[name] for name in _ARRAYS}
    return Analysis(**plain, **rows, **arrays, thumbnails=tuple(jpegs), notes=tuple(header["notes"]))


def _require_whole(found: Analysis, path: Path) -> None:
    """What others index by shot or by step must be there for each."""
    shots = {"embeddings": len(found.embeddings), "phashes": len(found.phashes), "thumbnails": len(found.thumbnails)}
    for name, count in shots.items():
        if count != len(found.shots):
            raise AnalysisUnreadable(path, f"it has {len(found.shots)} shots and {count} {name}")
    for name in _CURVES:
        if len(getattr(found, name)) != found.steps:
            raise AnalysisUnreadable(path, f"its {name} has {len(getattr(found, name))} of {found.steps} steps")
