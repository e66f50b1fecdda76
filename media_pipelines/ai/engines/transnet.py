"""TransNet V2: a network that looks at many tiny frames at a time and says where shots change.

The network is that of Souček and Lokoč, "TransNet V2: An effective deep network architecture for fast shot transition
detection" (2020), written down again over the package's weights: the four dilated convolutions of a block share one
spatial convolution, and the normalisation is folded into what follows, which changes the output by less than 1e-6.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from media_pipelines.ai.analysis import Engine
from media_pipelines.ai.engines import backends, weights

if TYPE_CHECKING:
    from media_pipelines.ai.analysis import Floats
    from media_pipelines.ai.decoding import Picture

_VERSION = 1
# The paper looks at 100 frames and believes the middle 50, which computes everything twice. The network takes any
# number: the same margin around 300 costs a sixth more than the frames themselves.
_MARGIN, _USEFUL = 25, 300
_BRANCHES = (1, 2, 4, 8)
_LOOKUP = 101
_EPSILON = 1e-3


class TransNet:
    # 12.5 of 25 frames a second, 10 of 30: what the network sees less often it sees move more, and finds the same cuts.
    look_hz = 11.0
    context = _MARGIN

    def __init__(self, reference: str, path: Path, licence: str, models: Path, threads: int) -> None:
        sha256 = weights.sha256_of(path)
        onnx = weights.converted(models, "transnetv2", sha256, _VERSION, lambda target: _export(path, target))
        opened = backends.open_network(reference, onnx, lambda: _network(path), threads)
        self._network = opened.network
        self._engine = Engine(
            "shots", reference, "TransNet V2", sha256, licence, opened.network.device, None, opened.reason
        )

    @property
    def engine(self) -> Engine:
        from dataclasses import replace

        return replace(self._engine, vram_peak_mb=self._network.vram_peak_mb())

    def probabilities(self, frames: "Picture", fps: float) -> tuple["Floats", "Floats"]:
        import numpy as np

        del fps
        changes, parts = [], []
        for start in range(0, len(frames) - 2 * _MARGIN, _USEFUL):
            change, part = self._window(frames[start : start + _USEFUL + 2 * _MARGIN])
            changes.append(change[_MARGIN:-_MARGIN])
            parts.append(part[_MARGIN:-_MARGIN])
        return np.concatenate(changes), np.concatenate(parts)

    def _window(self, frames: "Picture") -> tuple["Floats", "Floats"]:
        change, part = self._network.run([frames[None], _histograms(frames)[None]])
        return change[0], part[0]


def _histograms(frames: "Picture") -> "Floats":
    """512 colours, three bits a channel; each row of length 1."""
    import numpy as np

    top = frames.reshape(len(frames), -1, 3).astype(np.int32) >> 5
    bins = (top[:, :, 0] << 6) + (top[:, :, 1] << 3) + top[:, :, 2]
    flat = (bins + (np.arange(len(frames)) << 9)[:, None]).ravel()
    counts = np.bincount(flat, minlength=len(frames) * 512).reshape(len(frames), 512).astype(np.float32)
    unit: Floats = counts / np.linalg.norm(counts, axis=1, keepdims=True)
    return unit


def _export(path: Path, target: Path) -> None:
    """Once, with a length that may vary."""
    import warnings

    import torch

    frames = torch.zeros((1, _LOOKUP, 27, 48, 3), dtype=torch.uint8)
    histograms = torch.zeros((1, _LOOKUP, 512))
    names = ["frames", "histograms", "change", "part"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _network(path),
            (frames, histograms),
            str(target),
            dynamo=False,
            opset_version=17,
            input_names=names[:2],
            output_names=names[2:],
            dynamic_axes={name: {1: "frames"} for name in names},
        )


def _network(path: Path) -> Any:
    import torch

    found: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)

    class Network(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.blocks = torch.nn.ModuleList(_stack(found, f"SDDCNN.{index}") for index in range(3))
            self.similar = _linear(found, "frame_sim_layer.projection")
            self.similarity = _linear(found, "frame_sim_layer.fc")
            self.colours = _linear(found, "color_hist_layer.fc")
            self.joined = _linear(found, "fc1")
            self.change = _linear(found, "cls_layer1")
            self.part = _linear(found, "cls_layer2")

        def forward(self, frames: Any, histograms: Any) -> tuple[Any, Any]:
            x = frames.permute(0, 4, 1, 2, 3).float() / 255.0
            means = []
            for block in self.blocks:
                x = block(x)
                means.append(x.mean(dim=[3, 4]))
            seen = torch.nn.functional.normalize(self.similar(torch.cat(means, 1).transpose(1, 2)), dim=2)
            x = x.permute(0, 2, 3, 4, 1).flatten(2)
            x = torch.cat([_beside(histograms, self.colours), _beside(seen, self.similarity), x], 2)
            x = torch.relu(self.joined(x))
            return torch.sigmoid(self.change(x))[:, :, 0], torch.sigmoid(self.part(x))[:, :, 0]

    return Network().eval()


def _beside(features: Any, layer: Any) -> Any:
    """How like each frame is to the 50 before and the 50 after it."""
    import torch

    half = _LOOKUP // 2
    padded = torch.nn.functional.pad(torch.bmm(features, features.transpose(1, 2)), [half, half])
    count = features.shape[1]
    index = torch.arange(count, device=features.device).unsqueeze(1)
    index = index + torch.arange(_LOOKUP, device=features.device).unsqueeze(0)
    return torch.relu(layer(torch.gather(padded, 2, index.unsqueeze(0).expand(features.shape[0], -1, -1))))


def _linear(found: Mapping[str, Any], name: str) -> Any:
    import torch

    weight = found[f"{name}.weight"]
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": found[f"{name}.bias"]})
    return layer


def _stack(found: Mapping[str, Any], name: str) -> Any:
    import torch

    class Stack(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.first = _dilated(found, f"{name}.DDCNN.0")
            self.second = _dilated(found, f"{name}.DDCNN.1")

        def forward(self, x: Any) -> Any:
            x = torch.relu(self.first(x))
            return torch.nn.functional.avg_pool3d(torch.relu(self.second(x)) + x, (1, 2, 2))

    return Stack()


def _dilated(found: Mapping[str, Any], name: str) -> Any:
    import torch

    scale = found[f"{name}.bn.weight"] / torch.sqrt(found[f"{name}.bn.running_var"] + _EPSILON)
    shift = found[f"{name}.bn.bias"] - found[f"{name}.bn.running_mean"] * scale
    spatial = torch.cat([found[f"{name}.Conv3D_{rate}.layers.0.weight"] for rate in _BRANCHES])
    temporal = [found[f"{name}.Conv3D_{rate}.layers.1.weight"] for rate in _BRANCHES]
    each = temporal[0].shape[0]

    class Dilated(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            conv = torch.nn.Conv3d
            self.across = conv(spatial.shape[1], spatial.shape[0], (1, 3, 3), padding=(0, 1, 1), bias=False)
            self.across.load_state_dict({"weight": spatial})
            self.along = torch.nn.ModuleList()
            for index, (rate, weight) in enumerate(zip(_BRANCHES, temporal, strict=True)):
                of = slice(index * each, (index + 1) * each)
                layer = conv(weight.shape[1], each, (3, 1, 1), dilation=(rate, 1, 1), padding=(rate, 0, 0))
                layer.load_state_dict({"weight": weight * scale[of].view(-1, 1, 1, 1, 1), "bias": shift[of]})
                self.along.append(layer)

        def forward(self, x: Any) -> Any:
            parts = torch.chunk(self.across(x), len(_BRANCHES), dim=1)
            return torch.cat([layer(part) for layer, part in zip(self.along, parts, strict=True)], dim=1)

    return Dilated()
