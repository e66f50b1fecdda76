"""What can go wrong with media, as facts: each class says which kind of failure it is and what a person should read.

`kind` is what a retry decides on: "transient" may pass by itself, "capacity" passes when something else ends,
"permanent" is in the file or the request and stays. Facts are the exception's own arguments, so every error survives
being pickled from a worker process.
"""

import re
import shlex
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

Kind = Literal["transient", "capacity", "permanent"]

_CAPACITY = (
    "OpenEncodeSessionEx failed",
    "out of memory",
    "Cannot allocate memory",
    "CUDA_ERROR_OUT_OF_MEMORY",
    "No capable devices found",
    "incompatible client key",
)
# What NVENC says when its driver allows no further session: an old one "out of memory" at the opening of the session, a
# newer one that the client's key does not fit. Sources: nvEncodeAPI.h, and the pull request 11259 of OBS Studio.
_NO_SESSION = re.compile(r"OpenEncodeSessionEx failed: out of memory|incompatible client key")
# The words of NVENC and NVDEC in ffmpeg, of CUDA's own libraries, torch, ONNX Runtime, Vulkan, OpenCL and VAAPI.
_OUT_OF_GPU_MEMORY = re.compile(
    r"CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation|CU(BLAS|DNN)_STATUS_ALLOC_FAILED|CUDA out of memory"
    r"|CUDA (error|failure)\b.*out of memory|out of memory \(10\)|VK_ERROR_OUT_OF_DEVICE_MEMORY"
    r"|BFCArena.*Failed to allocate memory|CL_(OUT_OF_RESOURCES|MEM_OBJECT_ALLOCATION_FAILURE)"
    r"|VA_STATUS_ERROR_ALLOCATION_FAILED|(?i:hip|cuda)[ a-z]*out of memory"
)
_COMPLAINT = re.compile(r"\[(error|fatal|panic)\]")
_SAYS_NOTHING = ("Conversion failed", "Error opening input files", "Error opening output files", "Task finished with")
_DISK_FULL = ("No space left on device", "Disk quota exceeded")
_PERMANENT = (
    "Invalid data found when processing input",
    "moov atom not found",
    "No such file or directory",
    "Permission denied",
    "Read-only file system",
    "Image size is too small",
    "Error writing trailer: Invalid argument",
    "Is a directory",
    "matches no streams",
    "does not contain any stream",
    "Unknown encoder",
    "Unknown decoder",
    "Decoder not found",
    "Encoder not found",
    "No such filter",
    "Unrecognized option",
    "Option not found",
    "Protocol not found",
    "Not yet implemented in FFmpeg",
)


class MediaError(Exception):
    """Base of everything this package raises on purpose."""

    kind: Kind = "permanent"


class UnreadableMedia(MediaError):
    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{_shown(self.path)} cannot be read as a video: {self.reason}"


class NoVideoStream(MediaError):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"{_shown(self.path)} holds no video stream (cover art does not count)"


class ProbeTimedOut(MediaError):
    """Reading took too long. Transient: a sleeping disk or a busy network mount looks the same as a bad file."""

    kind: Kind = "transient"

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__(path, timeout_s)
        self.path = path
        self.timeout_s = timeout_s

    def __str__(self) -> str:
        return f"Reading {_shown(self.path)} took longer than {self.timeout_s:g} s and was given up"


class ProbeCrashed(MediaError):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"Reading {_shown(self.path)} crashed the decoder; the file is damaged or crafted"


class FfmpegMissing(MediaError):
    def __init__(self, wanted: str) -> None:
        super().__init__(wanted)
        self.wanted = wanted

    def __str__(self) -> str:
        return f"No ffmpeg: {self.wanted}"


class NoEncoder(MediaError):
    """No encoder of a codec passes a test encode; `reasons` has what each said."""

    def __init__(self, codec: str, reasons: tuple[str, ...]) -> None:
        super().__init__(codec, reasons)
        self.codec = codec
        self.reasons = reasons

    def __str__(self) -> str:
        return f"Nothing here encodes {self.codec}: {'; '.join(self.reasons)}"


class MetricMissing(MediaError):
    def __init__(self, metric: str, reason: str) -> None:
        super().__init__(metric, reason)
        self.metric = metric
        self.reason = reason

    def __str__(self) -> str:
        return f"This ffmpeg cannot measure {self.metric}: {self.reason}"


class TargetUnreachable(MediaError):
    """No quality setting reaches the score that was asked for."""

    def __init__(self, path: Path, metric: str, wanted: float, best: float, crf: int) -> None:
        super().__init__(path, metric, wanted, best, crf)
        self.path = path
        self.metric = metric
        self.wanted = wanted
        self.best = best
        self.crf = crf

    def __str__(self) -> str:
        best = f"the best try, CRF {self.crf}, gave {self.best:.2f}"
        return f"{_shown(self.path)} does not reach {self.metric} {self.wanted:g}: {best}"


class FfmpegFailed(MediaError):
    """ffmpeg ended with an error. What it wrote to stderr decides the kind; unknown words mean transient."""

    kind: Kind = "transient"

    def __init__(self, command: Sequence[str], exit_code: int, stderr_tail: Sequence[str]) -> None:
        super().__init__(tuple(command), exit_code, tuple(stderr_tail))
        self.command = tuple(command)
        self.exit_code = exit_code
        self.stderr_tail = tuple(stderr_tail)
        self.disk_full = exit_code > 0 and _mentions(self.stderr_tail, _DISK_FULL)
        self.kind = self._judge()

    def _judge(self) -> Kind:
        if self.exit_code < 0 or self.disk_full:
            return "transient"
        if _mentions(self.stderr_tail, _CAPACITY) or is_out_of_gpu_memory("\n".join(self.stderr_tail)):
            return "capacity"
        return "permanent" if _mentions(self.stderr_tail, _PERMANENT) else "transient"

    def __str__(self) -> str:
        return f"{self._headline()}\ncommand: {shlex.join(self.command)}\n" + "\n".join(self.stderr_tail[-12:])

    def _headline(self) -> str:
        if self.disk_full:
            return f"ffmpeg ran out of disk space (exit code {self.exit_code})"
        if self.exit_code < 0:
            return f"ffmpeg was killed by {_signal_name(-self.exit_code)}"
        if self.kind == "capacity":
            return f"ffmpeg found no free encoder session or memory (exit code {self.exit_code})"
        cause = _cause(self.stderr_tail)
        return f"ffmpeg failed with exit code {self.exit_code}" + (f": {cause}" if cause else "")


class FfmpegStalled(MediaError):
    kind: Kind = "transient"

    def __init__(self, command: Sequence[str], stall_s: float) -> None:
        super().__init__(tuple(command), stall_s)
        self.command = tuple(command)
        self.stall_s = stall_s

    def __str__(self) -> str:
        return f"ffmpeg made no progress for {self.stall_s:g} s and was stopped\ncommand: {shlex.join(self.command)}"


class EncodeStopped(MediaError):
    """The caller's `stop()` asked for it: not a failure of the media."""

    kind: Kind = "transient"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"Stopped: {self.reason}"


class OutputRejected(MediaError):
    """The result exists but is not what was asked for; it must not be published."""

    def __init__(self, path: Path, problems: tuple[str, ...]) -> None:
        super().__init__(path, problems)
        self.path = path
        self.problems = problems

    def __str__(self) -> str:
        return f"{_shown(self.path)} was rejected: {'; '.join(self.problems)}"


class CannotTranscode(MediaError):
    """The file could be read, but what was asked for would fail or do harm."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{_shown(self.path)} was left as it is: {self.reason}"


class ResultTooLarge(MediaError):
    """What is being made would be, or is, larger than the job allows."""

    def __init__(self, path: Path, size_bytes: int, limit_bytes: int, projected: bool = False) -> None:
        super().__init__(path, size_bytes, limit_bytes, projected)
        self.path = path
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes
        self.projected = projected

    def __str__(self) -> str:
        verb = "would have" if self.projected else "has"
        return f"the result {verb} {self.size_bytes} bytes, the limit is {self.limit_bytes}"


class OutputGone(MediaError):
    """A step that is executed again, alone, for a file that went with the run that made it."""

    def __init__(self, target: Path) -> None:
        super().__init__(target)
        self.target = target

    def __str__(self) -> str:
        made = f"what earlier steps have made of {_shown(self.target)} is gone with their run"
        return f"{made}: execute all steps again, not this one alone"


class TargetExists(MediaError):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"{_shown(self.path)} exists already and is not overwritten"


class SourceChanged(MediaError):
    """Somebody wrote to the file while it was worked on: what was made of it may be made of half of it."""

    kind: Kind = "transient"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"{_shown(self.path)} has changed since the work began; it was left as it is"


class CopyDiffers(MediaError):
    kind: Kind = "transient"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"{_shown(self.path)}: its copy reads back differently; the copy was discarded"


class OtherFileSystem(MediaError):
    """A rename does not lead there, although the device looked the same (a bind mount, a union file system)."""

    kind: Kind = "transient"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"{_shown(self.path)} lies on another file system"


class CannotUndo(MediaError):
    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"The change of {_shown(self.path)} cannot be undone: {self.reason}"


class DiskFull(MediaError):
    kind: Kind = "transient"

    def __init__(self, path: Path, needed_bytes: int, free_bytes: int) -> None:
        super().__init__(path, needed_bytes, free_bytes)
        self.path = path
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes

    def __str__(self) -> str:
        needed, free = self.needed_bytes / 1e6, self.free_bytes / 1e6
        return f"{_shown(self.path)} needs {needed:.1f} MB of disk, {free:.1f} MB are free"


class NotWritable(MediaError):
    """A folder in which nothing can be written, whoever tries and whenever."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"Nothing can be written to {_shown(self.path)}: {self.reason}"


class PathOutsideLibrary(MediaError):
    def __init__(self, path: str, root: Path) -> None:
        super().__init__(path, root)
        self.path = path
        self.root = root

    def __str__(self) -> str:
        return f"{self.path!r} is not a path inside the library {_shown(self.root)}"


class NoUsableFrame(MediaError):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"No frame of {_shown(self.path)} could be turned into an image"


def was_killed(exit_code: int) -> bool:
    """By somebody, and not by its own fault: that says nothing about the file or the program, and is tried again."""
    return exit_code in (-signal.SIGKILL, -signal.SIGTERM)


def is_out_of_gpu_memory(text: str) -> bool:
    """Whether the text of an error says that a GPU had too little memory; that it had no free session is not that."""
    return any(_OUT_OF_GPU_MEMORY.search(line) and not _NO_SESSION.search(line) for line in text.splitlines())


def is_session_limit(text: str) -> bool:
    """Whether the text of an error says that the driver allows no further encoder session now."""
    return any(_NO_SESSION.search(line) for line in text.splitlines())


def _mentions(lines: Sequence[str], words: Sequence[str]) -> bool:
    return any(word in line for line in lines for word in words)


def _cause(lines: Sequence[str]) -> str:
    """The first complaint that says more than that something went wrong, without ffmpeg's "[mov @ 0x…] [error] "."""
    bare = [re.sub(r"^(\[[^]]*\] ?)+", "", line).strip() for line in lines if _COMPLAINT.search(line)]
    return next((line for line in bare if line and not line.startswith(_SAYS_NOTHING)), "")[:200]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _shown(path: Path) -> str:
    """A path on one printable line, also when its name is not valid UTF-8 or holds a newline."""
    text = str(path)
    return text if text.isprintable() else repr(text)
