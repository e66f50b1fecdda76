"""Networks that see pictures and read words alike (SigLIP, CLIP): tags from words of one's own, and an embedding.

From a folder or from the hub, through `transformers`.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from media_pipelines.ai.analysis import Engine
from media_pipelines.ai.engines import backends, weights
from media_pipelines.ai.errors import EngineUnavailable

if TYPE_CHECKING:
    from media_pipelines.ai.analysis import Floats
    from media_pipelines.ai.decoding import Picture

_MEGABYTE = 1024 * 1024
_TAGS = 10


class TwoTowers:
    def __init__(self, reference: str, name: str, labels: Sequence[str], threads: int, *, local: bool) -> None:
        """Raises EngineUnavailable; ImportError where `transformers` or `torch` is missing."""
        import torch
        from transformers import AutoModel, AutoProcessor

        self._labels = tuple(labels)
        torch.set_num_threads(threads)
        try:
            self._processor = AutoProcessor.from_pretrained(name, local_files_only=local)
            self._model = AutoModel.from_pretrained(name, local_files_only=local).eval()
        except Exception as error:
            raise EngineUnavailable(reference, weights.why_not_loaded(error)) from error
        if not hasattr(self._model, "get_image_features") or not hasattr(self._model, "get_text_features"):
            raise EngineUnavailable(
                reference, f"{type(self._model).__name__} does not see pictures and read words alike"
            )
        self._device, fell = _placed(self._model)
        sha256 = _sha256_of(Path(name)) if local else getattr(self._model.config, "_commit_hash", None)
        device = f"{'cuda' if self._device == 'cuda' else 'cpu'}/torch"
        model_id = Path(name).name if local else name
        self._engine = Engine("tags", reference, model_id, sha256, "as its owner says", device, None, fell)
        self._words = self._read(self._labels)

    @property
    def engine(self) -> Engine:
        if self._device != "cuda":
            return self._engine
        import torch

        return replace(self._engine, vram_peak_mb=int(torch.cuda.max_memory_allocated() / _MEGABYTE))

    def tag(self, pictures: Sequence["Picture"]) -> list[list[tuple[str, float]]]:
        """With SigLIP each label's own probability; with CLIP, which cannot say so, its share among the labels."""
        import numpy as np

        logits = self.embed(pictures) @ self._words.T * self._scale()
        bias = getattr(self._model, "logit_bias", None)
        if bias is not None:
            scores = 1 / (1 + np.exp(-(logits + float(bias.detach()))))
        else:
            shares = np.exp(logits - logits.max(axis=1, keepdims=True))
            scores = shares / shares.sum(axis=1, keepdims=True)
        return [self._named(row) for row in scores]

    def embed(self, pictures: Sequence["Picture"]) -> "Floats":
        import torch

        inputs = self._processor(images=list(pictures), return_tensors="pt").to(self._device)
        with torch.inference_mode():
            return _of_length_one(self._model.get_image_features(**inputs))

    def _read(self, words: Sequence[str]) -> "Floats":
        import torch

        texts = [f"This is a photo of {word}." for word in words]
        inputs = self._processor(text=texts, padding="max_length", truncation=True, return_tensors="pt").to(
            self._device
        )
        with torch.inference_mode():
            return _of_length_one(self._model.get_text_features(**inputs))

    def _scale(self) -> float:
        scale = getattr(self._model, "logit_scale", None)
        return float(scale.detach().exp()) if scale is not None else 1.0

    def _named(self, row: "Floats") -> list[tuple[str, float]]:
        best = sorted(zip(self._labels, row.tolist(), strict=True), key=lambda tag: -tag[1])
        return [(name, round(score, 4)) for name, score in best[:_TAGS]]


def _placed(model: Any) -> tuple[str, str | None]:
    import torch

    if not backends.has_cuda():
        return "cpu", None
    try:
        model.to("cuda")
    except (RuntimeError, AssertionError) as error:
        return "cpu", f"cuda/torch: {str(error).splitlines()[0]}"
    torch.cuda.reset_peak_memory_stats()
    return "cuda", None


def _of_length_one(features: Any) -> "Floats":
    """Older versions of the library return the features themselves, newer ones an object that holds them."""
    import numpy as np

    found = getattr(features, "pooler_output", features).float().cpu().numpy()
    unit: Floats = (found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)).astype(np.float32)
    return unit


def _sha256_of(folder: Path) -> str | None:
    found = sorted(folder.glob("*.safetensors"))
    return weights.digest("".join(weights.sha256_of(path) for path in found)) if found else None
