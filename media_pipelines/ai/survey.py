"""The one pass over a film: decodes each frame once, measures it, shows it to the engines, and leaves pieces on disk.

What is kept in memory is one piece, whatever the film's length. Each piece carries what the next needs of it, so that a
pass that was killed goes on after the last whole one.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from media_pipelines.ai import loudness
from media_pipelines.ai.analysis import STEP_S
from media_pipelines.ai.chunks import Pieces
from media_pipelines.ai.decoding import SPEECH_HZ, Film, Heard, Shown
from media_pipelines.ai.pictures import Scaler, jpeg
from media_pipelines.media import errors, phash
from media_pipelines.media.ffmpeg import Progress

if TYPE_CHECKING:
    from media_pipelines.ai.chunks import Arrays
    from media_pipelines.ai.decoding import Picture, Samples
    from media_pipelines.ai.engines.choosing import Engines

OnProgress = Callable[[Progress], None]
Stop = Callable[[], str | None]

# 300 looks of a film of 25 frames a second: one window of the shot detector.
PIECE_S = 24.0
_SAMPLE_EVERY_S = 1.0
# A shot shorter than the time between samples gets one of its own, shortly after the jump that begins it.
_JUMP, _JUMP_RATIO, _AFTER_JUMP_S = 10.0, 3.0, 0.16
_SAMPLES_AT_ONCE = 8
_GREY_SIDE = 256
# Half of what the variance of a sharp picture's Laplacian is at that size.
_HALF_SHARP = 120.0
# A mean difference of a quarter of the range, between frames a step apart, is all the motion there can be.
_ALL_MOTION = 64.0
_TELL_EVERY_S = 0.5
# Pieces of sound, some 20 ms each: more than a piece of the film has, where sound and pictures are not interleaved.
_HEARD_AT_ONCE = 3000
_TAGS_AT_MOST = 10


class Survey:
    def __init__(
        self, film: Film, engines: "Engines", pieces: Pieces, stop: Stop | None, on_progress: OnProgress | None
    ) -> None:
        self._film = film
        self._engines = engines
        self._pieces = pieces
        self._stop = stop
        self._on_progress = on_progress
        self._scaler = Scaler(film.rotation, film.width, film.height)
        self._began_s = self._told_s = time.monotonic()
        self._read_here = 0
        self._begin()

    def run(self) -> None:
        """Raises EncodeStopped; what was found by then stays."""
        done = len(self._pieces)
        if done:
            self._go_on(self._pieces.read(done - 1))
            if self._ended:
                return
        after_s = self._at_s if self._frames else None
        for thing in self._film.read(after_s, self._heard_s):
            if isinstance(thing, Heard):
                self._hear(thing)
                continue
            self._see(thing)
            self._tell()
            if thing.at_s >= self._piece_ends_s:
                self._finish_piece(last=False)
        self._finish_piece(last=True)

    # --- the state that pieces carry

    def _begin(self) -> None:
        import numpy as np

        self._frames = 0
        self._at_s = 0.0
        self._step = -1
        self._next_sample_s = 0.0
        self._piece_ends_s = PIECE_S
        self._heard = 0
        self._difference = 0.0
        self._ended = False
        self._looked: list[Picture] = []
        self._last: Picture | None = None
        self._last_of_step: Picture | None = None
        self._stereo = np.zeros((2, 0), np.float32)
        self._mono = np.zeros(0, np.float32)
        self._came: list[Samples] = []
        # Of the mono sound in hand, how many steps were judged already: they are context.
        self._judged = 0
        self._clear()

    def _clear(self) -> None:
        self._rows: dict[str, list[Any]] = {
            name: []
            for name in ("at_s", "difference", "luma", "step", "motion", "sharpness", "brightness", "power", "events")
        }
        self._samples: dict[str, list[Any]] = {
            name: [] for name in ("at_s", "sharpness", "phash", "thumbnail", "faces", "tags", "embedding")
        }
        self._waiting: list[Picture] = []
        self._damaged_before = self._film.damage.packets

    def _go_on(self, last: "Arrays") -> None:
        numbers = dict(zip(_NUMBERS, last["numbers"].tolist(), strict=True))
        self._frames, self._step, self._heard = int(numbers["frames"]), int(numbers["step"]), int(numbers["heard"])
        self._judged, self._ended = int(numbers["judged"]), bool(numbers["ended"])
        self._at_s, self._next_sample_s = numbers["at_s"], numbers["next_sample_s"]
        self._piece_ends_s, self._difference = numbers["piece_ends_s"], numbers["difference"]
        self._looked = list(last["looked"])
        self._last, self._last_of_step = last["last"], last["last_of_step"]  # type: ignore[assignment]
        self._stereo, self._mono = last["stereo"], last["mono"]  # type: ignore[assignment]

    @property
    def _heard_s(self) -> float:
        return self._heard / SPEECH_HZ

    @property
    def stride(self) -> int:
        """Every which frame the shot detector looks at."""
        return max(1, round(self._film.fps / self._engines.shots.look_hz))

    # --- what comes from the file

    def _see(self, shown: Shown) -> None:
        import numpy as np

        tiny = self._scaler.tiny(shown.frame)
        last = tiny if self._last is None else self._last
        difference = float(np.abs(tiny.astype(np.int16) - last).mean())
        self._rows["at_s"].append(shown.at_s)
        self._rows["difference"].append(difference)
        self._rows["luma"].append(float(tiny.mean()) / 255)
        if self._frames % self.stride == 0:
            self._looked += [tiny] * (1 + self._engines.shots.context * (not self._looked))
        step = int(shown.at_s / STEP_S + 1e-6)
        if step > self._step:
            self._measure(step, shown.frame, tiny)
        if difference > max(_JUMP, _JUMP_RATIO * self._difference):
            self._next_sample_s = min(self._next_sample_s, shown.at_s + _AFTER_JUMP_S)
        if shown.at_s >= self._next_sample_s:
            self._sample(shown)
        self._last, self._difference = tiny, difference
        self._at_s, self._frames = shown.at_s, self._frames + 1
        self._read_here += 1

    def _measure(self, step: int, frame: Any, tiny: "Picture") -> None:
        import numpy as np

        before = tiny if self._last_of_step is None else self._last_of_step
        moved = float(np.abs(tiny.astype(np.int16) - before).mean())
        self._rows["step"].append(step)
        self._rows["motion"].append(min(1.0, moved / _ALL_MOTION))
        self._rows["sharpness"].append(_sharpness(self._scaler.grey(frame, _GREY_SIDE)))
        self._rows["brightness"].append(float(tiny.mean()) / 255)
        self._step, self._last_of_step = step, tiny

    def _sample(self, shown: Shown) -> None:
        self._next_sample_s = shown.at_s + _SAMPLE_EVERY_S
        self._samples["at_s"].append(shown.at_s)
        self._samples["sharpness"].append(self._rows["sharpness"][-1] if self._rows["sharpness"] else 0.0)
        self._samples["phash"].append(phash.hash_of(self._scaler.square_grey(shown.frame, phash.SIDE)))
        self._samples["thumbnail"].append(jpeg(self._scaler.thumbnail(shown.frame)))
        faces = self._engines.faces
        found = faces.find(self._scaler.rgb(shown.frame, faces.long_side)) if faces.long_side else []
        self._samples["faces"] += [(shown.at_s, *box) for box in found]
        self._waiting.append(self._scaler.square(shown.frame, MODEL_SIDE))
        if len(self._waiting) >= _SAMPLES_AT_ONCE:
            self._look()

    def _look(self) -> None:
        if self._waiting:
            pictures, self._waiting = self._waiting, []
            self._samples["tags"] += self._engines.tags.tag(pictures)
            self._samples["embedding"] += list(self._engines.embedding.embed(pictures))

    def _hear(self, heard: Heard) -> None:
        import numpy as np

        self._came.append(heard.mono)
        self._stereo = np.concatenate([self._stereo, heard.stereo], axis=1)
        self._heard += len(heard.mono)
        whole = self._stereo.shape[1] // loudness.BLOCK * loudness.BLOCK
        self._rows["power"] += loudness.powers(self._stereo[:, :whole]).tolist()
        self._stereo = self._stereo[:, whole:]
        if len(self._came) > _HEARD_AT_ONCE:
            self._judge_sound(last=False)

    # --- pieces

    def _finish_piece(self, *, last: bool) -> None:
        self._look()
        self._judge_sound(last=last)
        change, part = self._judge_shots(last=last)
        if last:
            self._ended = True
        while self._piece_ends_s <= self._at_s:
            self._piece_ends_s += PIECE_S
        self._pieces.add(self._found() | self._carried() | {"change": change, "part": part})
        self._clear()

    def _judge_shots(self, *, last: bool) -> tuple[Any, Any]:
        import numpy as np

        detector = self._engines.shots
        nothing = np.zeros(0, np.float32)
        if last and self._looked:
            self._looked += [self._looked[-1]] * detector.context
        if len(self._looked) <= 2 * detector.context:
            return nothing, nothing
        found = detector.probabilities(np.stack(self._looked), self._film.fps / self.stride)
        self._looked = self._looked[-2 * detector.context :]
        return found

    def _judge_sound(self, *, last: bool) -> None:
        """Steps that have enough sound after them; before the last, some is kept as context of the next."""
        import numpy as np

        self._mono, self._came = np.concatenate([self._mono, *self._came]), []
        detector = self._engines.audio
        per_step, context = round(STEP_S * SPEECH_HZ), round(detector.context_s / STEP_S)
        until = len(self._mono) // per_step - (0 if last else context)
        if until <= self._judged:
            return
        found = detector.probabilities(self._mono)
        self._rows["events"] += found[self._judged : until].tolist()
        kept_from = max(0, until - context)
        self._mono, self._judged = self._mono[kept_from * per_step :], until - kept_from

    def _found(self) -> "Arrays":
        import numpy as np

        rows, samples = self._rows, self._samples
        jpegs = samples["thumbnail"]
        tags = [_padded(tags) for tags in samples["tags"]]
        names = np.array([[name for name, _ in row] for row in tags], dtype=str).reshape(-1, _TAGS_AT_MOST)
        scores = np.array([[score for _, score in row] for row in tags], np.float32).reshape(-1, _TAGS_AT_MOST)
        return {
            "at_s": np.array(rows["at_s"], np.float64),
            "step": np.array(rows["step"], np.int64),
            **{
                name: np.array(rows[name], np.float32)
                for name in ("difference", "luma", "motion", "sharpness", "brightness", "power")
            },
            "events": np.array(rows["events"], np.float32).reshape(-1, 2),
            "sample_at_s": np.array(samples["at_s"], np.float64),
            "sample_sharpness": np.array(samples["sharpness"], np.float32),
            "sample_phash": np.array(samples["phash"], np.uint64),
            "sample_faces": np.array(samples["faces"], np.float32).reshape(-1, 6),
            "sample_tags": names,
            "sample_scores": scores,
            "sample_embedding": np.array(samples["embedding"], np.float32),
            "thumbnails": np.frombuffer(b"".join(jpegs), np.uint8),
            "thumbnail_ends": np.cumsum([len(one) for one in jpegs], dtype=np.int64),
            "damaged": np.array([self._film.damage.packets - self._damaged_before], np.int64),
        }

    def _carried(self) -> "Arrays":
        import numpy as np

        nothing = np.zeros((27, 48, 3), np.uint8)
        numbers = {
            "frames": self._frames,
            "step": self._step,
            "heard": self._heard,
            "judged": self._judged,
            "ended": self._ended,
            "at_s": self._at_s,
            "next_sample_s": self._next_sample_s,
            "piece_ends_s": self._piece_ends_s,
            "difference": self._difference,
        }
        return {
            "numbers": np.array([float(numbers[name]) for name in _NUMBERS]),
            "looked": np.stack(self._looked) if self._looked else nothing[None][:0],
            "last": nothing if self._last is None else self._last,
            "last_of_step": nothing if self._last_of_step is None else self._last_of_step,
            "stereo": self._stereo,
            "mono": self._mono,
        }

    def _tell(self) -> None:
        now_s = time.monotonic()
        if now_s - self._told_s < _TELL_EVERY_S:
            return
        self._told_s = now_s
        reason = self._stop() if self._stop else None
        if reason:
            raise errors.EncodeStopped(reason)
        if self._on_progress:
            self._on_progress(self._progress(now_s - self._began_s))

    def _progress(self, spent_s: float) -> Progress:
        fps = self._read_here / max(spent_s, 1e-3)
        speed = fps / self._film.fps
        whole_s = self._film.declared_s
        percent = min(99.0, 100 * self._at_s / whole_s) if whole_s else None
        eta_s = max(0.0, whole_s - self._at_s) / speed if whole_s and speed > 0 else None
        return Progress(self._frames, fps, speed, self._at_s, 0, percent, eta_s)


_NUMBERS = ("frames", "step", "heard", "judged", "ended", "at_s", "next_sample_s", "piece_ends_s", "difference")
MODEL_SIDE = 224


def _padded(tags: list[tuple[str, float]]) -> list[tuple[str, float]]:
    return (tags + [("", 0.0)] * _TAGS_AT_MOST)[:_TAGS_AT_MOST]


def _sharpness(grey: "Picture") -> float:
    """The variance of the Laplacian, v, as v / (v + what is half sharp)."""
    import numpy as np

    values = grey.astype(np.float32)
    if min(values.shape) < 3:
        return 0.0
    inner = values[1:-1, 1:-1]
    laplacian = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:] - 4 * inner
    variance = float(laplacian.var())
    return variance / (variance + _HALF_SHARP)
