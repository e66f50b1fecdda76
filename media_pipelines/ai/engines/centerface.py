"""CenterFace: faces of any size in one look, without anchors."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from media_pipelines.ai.analysis import Engine
from media_pipelines.ai.engines import backends, weights
from media_pipelines.ai.engines.protocols import Box

if TYPE_CHECKING:
    import numpy as np

    from media_pipelines.ai.analysis import Floats
    from media_pipelines.ai.decoding import Picture

_VERSION = 1
# The published file says 10 pictures of 32×32; any multiple of 32 is meant.
_STRIDE, _MULTIPLE = 4, 32
_THRESHOLD = 0.5
_OVERLAP = 0.3
_OUTPUTS = {"537": 1, "538": 2, "539": 2, "540": 10}


class CenterFace:
    long_side = 448

    def __init__(self, reference: str, path: Path, licence: str, models: Path, threads: int) -> None:
        sha256 = weights.sha256_of(path)
        onnx = weights.converted(models, "centerface", sha256, _VERSION, lambda target: _export(path, target))
        opened = backends.open_network(reference, onnx, None, threads)
        self._network = opened.network
        device = opened.network.device
        self._engine = Engine("faces", reference, "CenterFace", sha256, licence, device, None, opened.reason)

    @property
    def engine(self) -> Engine:
        return replace(self._engine, vram_peak_mb=self._network.vram_peak_mb())

    def find(self, picture: "Picture") -> list[Box]:
        import numpy as np

        height, width = picture.shape[:2]
        padded = np.zeros((1, 3, _up(height), _up(width)), np.float32)
        padded[0, :, :height, :width] = picture.transpose(2, 0, 1)
        heat, sizes, offsets, _ = self._network.run([padded])
        boxes = _boxes(heat[0, 0], sizes[0], offsets[0], width, height)
        return [
            (float(x) / width, float(y) / height, float(right - x) / width, float(bottom - y) / height, float(score))
            for x, y, right, bottom, score in _best(boxes)
        ]


def _boxes(heat: "np.ndarray", sizes: "np.ndarray", offsets: "np.ndarray", width: int, height: int) -> "Floats":
    """Rows of left, top, right, bottom, score, in pixels."""
    import numpy as np

    rows, columns = np.where(heat > _THRESHOLD)
    tall, wide = (np.exp(part[rows, columns]) * _STRIDE for part in sizes)
    down, right = (part[rows, columns] for part in offsets)
    left = np.clip((columns + right + 0.5) * _STRIDE - wide / 2, 0, width)
    top = np.clip((rows + down + 0.5) * _STRIDE - tall / 2, 0, height)
    ends = np.minimum(left + wide, width), np.minimum(top + tall, height)
    return np.stack([left, top, *ends, heat[rows, columns]], axis=1).astype(np.float32)


def _best(boxes: "Floats") -> "Floats":
    """The surest of those that lie on one another."""
    import numpy as np

    waiting, kept = boxes[np.argsort(-boxes[:, 4])], []
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        kept.append(best)
        sides = np.minimum(waiting[:, 2:4], best[2:4]) - np.maximum(waiting[:, :2], best[:2])
        shared = np.prod(np.maximum(sides, 0), axis=1)
        areas = np.prod(waiting[:, 2:4] - waiting[:, :2], axis=1) + np.prod(best[2:4] - best[:2])
        waiting = waiting[shared / np.maximum(areas - shared, 1e-9) < _OVERLAP]
    return np.array(kept, np.float32).reshape(-1, 5)


def _up(pixels: int) -> int:
    return -(-pixels // _MULTIPLE) * _MULTIPLE


def _export(path: Path, target: Path) -> None:
    """The same network with the size left open."""
    import onnx
    from onnx.tools.update_model_dims import update_inputs_outputs_dims

    found = onnx.load(str(path))
    initial = {each.name for each in found.graph.initializer}
    fixed = {
        each.name: [size.dim_value for size in each.type.tensor_type.shape.dim]
        for each in found.graph.input
        if each.name in initial or each.name != "input.1"
    }
    outputs = {name: ["pictures", channels, "h", "w"] for name, channels in _OUTPUTS.items()}
    open_sized = update_inputs_outputs_dims(found, fixed | {"input.1": ["pictures", 3, "height", "width"]}, outputs)
    onnx.save(open_sized, str(target))
