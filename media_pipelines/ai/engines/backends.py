"""Where a network runs: PyTorch on CUDA, ONNX Runtime on CUDA, OpenVINO, ONNX Runtime on the CPU; the first that works.

A machine without a GPU has not fallen from one: only what should work here and doesn't is told as a reason.
"""

import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from media_pipelines.ai.errors import EngineUnavailable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.generic]

_MEGABYTE = 1024 * 1024


class Network(Protocol):
    """A loaded network: arrays in, arrays out, in the order of its declaration."""

    device: str

    def run(self, inputs: Sequence["Array"]) -> list["Array"]: ...

    def vram_peak_mb(self) -> int | None:
        """The most that it took of a GPU so far; None where it runs on none."""
        ...


@dataclass(frozen=True)
class Way:
    """One way to run a network: `load` raises what its framework raises."""

    name: str
    load: Callable[[], Network]


@dataclass(frozen=True)
class Opened:
    network: Network
    reason: str | None


def has_cuda() -> bool:
    """Whether this process may use an NVIDIA GPU; asked of the driver, without loading a framework."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    return Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists()


def open_network(reference: str, onnx: Path | None, torch_module: Callable[[], Any] | None, threads: int) -> Opened:
    """The first way that loads. Raises EngineUnavailable with what each said."""
    falls: list[str] = []
    for way in _ways(onnx, torch_module, threads):
        try:
            return Opened(way.load(), "; ".join(falls) or None)
        # each framework has errors of its own, down to RuntimeError and ImportError of a missing library
        except (ImportError, RuntimeError, ValueError, OSError, MemoryError) as error:
            falls.append(f"{way.name}: {_first_line(error)}")
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in ("onnxruntime", "openvino", "torch"):
                raise
            falls.append(f"{way.name}: {_first_line(error)}")
    raise EngineUnavailable(reference, "nothing here runs its network (" + "; ".join(falls) + ")")


def _ways(onnx: Path | None, torch_module: Callable[[], Any] | None, threads: int) -> Iterator[Way]:
    if has_cuda():
        if torch_module is not None:
            yield Way("cuda/torch", lambda: TorchCuda(torch_module))
        if onnx is not None:
            yield Way("cuda/onnxruntime", lambda: OnnxRuntime(onnx, threads, cuda=True))
    if onnx is not None:
        yield Way("cpu/openvino", lambda: OpenVino(onnx, threads))
        yield Way("cpu/onnxruntime", lambda: OnnxRuntime(onnx, threads, cuda=False))


@cache
def _openvino_core() -> Any:
    """One for the life of the process. A Core gives the thread that compiles with it a stack for signals, and unmaps it
    when it goes: of several, the last to go leaves one that is unmapped, and the next signal is a segfault."""
    import openvino

    return openvino.Core()


class OpenVino:
    device = "cpu/openvino"

    def __init__(self, onnx: Path, threads: int) -> None:
        # f32: without AMX the bfloat16 that it would choose is slower, and cuts must not depend on the processor.
        options = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        core = _openvino_core()
        self._compiled = core.compile_model(core.read_model(onnx), "CPU", options)

    def run(self, inputs: Sequence["Array"]) -> list["Array"]:
        outputs = self._compiled(list(inputs))
        return [outputs[index].copy() for index in range(len(self._compiled.outputs))]

    def vram_peak_mb(self) -> None:
        return None


class OnnxRuntime:
    def __init__(self, onnx: Path, threads: int, *, cuda: bool) -> None:
        import onnxruntime

        provider = "CUDAExecutionProvider" if cuda else "CPUExecutionProvider"
        if provider not in onnxruntime.get_available_providers():
            raise RuntimeError(f"this onnxruntime has no {provider}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        before_mb = used_by_this_process_mb() if cuda else None
        self._session = onnxruntime.InferenceSession(str(onnx), options, providers=[provider])
        if self._session.get_providers()[0] != provider:
            raise RuntimeError(f"onnxruntime could not use its {provider}")
        self.device = "cuda/onnxruntime" if cuda else "cpu/onnxruntime"
        self._names = [each.name for each in self._session.get_inputs()]
        self._before_mb = before_mb
        self._peak_mb: int | None = None

    def run(self, inputs: Sequence["Array"]) -> list["Array"]:
        outputs: list[Array] = self._session.run(None, dict(zip(self._names, inputs, strict=True)))
        if self._before_mb is not None:
            now_mb = used_by_this_process_mb()
            if now_mb is not None:
                self._peak_mb = max(self._peak_mb or 0, now_mb - self._before_mb)
        return outputs

    def vram_peak_mb(self) -> int | None:
        return self._peak_mb


class TorchCuda:
    """A `torch.nn.Module` on the first GPU that this process is told of."""

    device = "cuda/torch"

    def __init__(self, module: Callable[[], Any]) -> None:
        import torch

        if not torch.cuda.is_available():
            raise RuntimeError("this PyTorch sees no CUDA device")
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.cuda.reset_peak_memory_stats()
        self._before = torch.cuda.memory_allocated()
        self._module = module().to("cuda").eval()

    def run(self, inputs: Sequence["Array"]) -> list["Array"]:
        import numpy as np
        import torch

        with torch.inference_mode():
            on_gpu = [torch.from_numpy(np.ascontiguousarray(each)).to("cuda") for each in inputs]
            return [output.float().cpu().numpy() for output in self._module(*on_gpu)]

    def vram_peak_mb(self) -> int:
        """Of PyTorch's allocator, since this network was loaded."""
        import torch

        return int((torch.cuda.max_memory_allocated() - self._before) / _MEGABYTE)


def used_by_this_process_mb() -> int | None:
    """What NVIDIA's library says this process holds, on all GPUs; None where it cannot say."""
    from jobqueue_bridge import nvml

    pynvml = nvml.library()
    try:
        pynvml.nvmlInit()
        total = 0
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle):
                if process.pid == os.getpid():
                    total += process.usedGpuMemory or 0
        return total // _MEGABYTE
    except pynvml.NVMLError:
        return None


def is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
