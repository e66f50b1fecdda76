"""Whisper, as faster-whisper runs it (CTranslate2): words with their times."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from media_pipelines.ai.analysis import Engine, Word
from media_pipelines.ai.engines import backends, weights
from media_pipelines.ai.errors import EngineUnavailable

if TYPE_CHECKING:
    from media_pipelines.ai.decoding import Samples


class Whisper:
    def __init__(self, reference: str, model: Path | str, licence: str, threads: int) -> None:
        """`model` is a folder, or the id of a model on the hub. Raises EngineUnavailable."""
        self._model, device, reason = _loaded(reference, model, threads)
        weight = Path(model) / "model.bin" if isinstance(model, Path) else None
        sha256 = weights.sha256_of(weight) if weight is not None and weight.is_file() else None
        name = model.name if isinstance(model, Path) else model
        self.engine = Engine("transcript", reference, f"Whisper ({name})", sha256, licence, device, None, reason)

    def transcribe(self, mono: "Samples") -> list[Word]:
        if not len(mono):
            return []
        # Without its memory of what came before, one bad guess does not spoil what follows.
        segments, _ = self._model.transcribe(mono, word_timestamps=True, condition_on_previous_text=False, beam_size=5)
        return [
            Word(float(word.start), float(word.end), word.word.strip(), round(float(word.probability), 4))
            for segment in segments
            for word in segment.words or ()
            if word.word.strip()
        ]


def _loaded(reference: str, model: Path | str, threads: int) -> tuple[Any, str, str | None]:
    import ctranslate2
    from faster_whisper import WhisperModel

    where = str(model)
    fell: str | None = None
    try:
        if backends.has_cuda() and ctranslate2.get_cuda_device_count():
            try:
                return WhisperModel(where, device="cuda", compute_type="float16"), "cuda/ctranslate2", None
            except (RuntimeError, ValueError) as error:
                fell = f"cuda/ctranslate2: {error}"
        return WhisperModel(where, device="cpu", compute_type="int8", cpu_threads=threads), "cpu/ctranslate2", fell
    except Exception as error:
        raise EngineUnavailable(reference, weights.why_not_loaded(error)) from error
