"""From a film's description to its file: every frame and every sample is computed here, ffmpeg only encodes."""

import math
import subprocess
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont, ImageOps

from tests.truth.film import FPS, Film, Rendered, Stretch, Take
from tests.truth.photos import FACES, photo
from tests.truth.speech import say

RATE_HZ = 48_000
_SHAKES_PER_S = 3.1
_SHAKE = 0.22
_CHORDS = ((220.0, 277.2, 329.6), (196.0, 246.9, 293.7), (174.6, 220.0, 261.6), (207.7, 261.6, 311.1))
Samples = npt.NDArray[np.float32]


def render(film: Film, ffmpeg: Path, folder: Path, size: tuple[int, int] = (480, 270), crf: int = 23) -> Rendered:
    """Write the film as H.264 and AAC."""
    folder.mkdir(parents=True, exist_ok=True)
    path, sound = folder / f"{film.name}-{film.seed}.mp4", folder / f"{film.name}-{film.seed}.wav"
    unfinished = path.with_suffix(".unfinished.mp4")
    _write_sound(film, sound)
    command = [
        str(ffmpeg), "-v", "error", "-y",
        "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[0]}x{size[1]}", "-r", str(FPS), "-i", "pipe:0",
        "-i", str(sound),
        "-c:v", "libx264", "-preset", "veryfast", "-crf", str(crf), "-pix_fmt", "yuv420p", "-g", "250",
        "-c:a", "aac", "-b:a", "96k", "-t", f"{film.duration_s:.3f}", str(unfinished),
    ]  # fmt: skip
    encoder = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert encoder.stdin is not None
    with encoder.stdin as pipe:
        for frame in frames(film, size):
            pipe.write(frame.tobytes())
    assert encoder.wait() == 0
    sound.unlink()
    unfinished.rename(path)
    return Rendered(film, path)


# Picture


def frames(film: Film, size: tuple[int, int]) -> Iterator[Image.Image]:
    return (frame(film, n / FPS, size) for n in range(round(film.duration_s * FPS)))


def frame(film: Film, at_s: float, size: tuple[int, int]) -> Image.Image:
    number = next(n for n, take in enumerate(film.takes) if at_s < take.end_s - 1e-9 or n == len(film.takes) - 1)
    take = film.takes[number]
    shown = _picture(take, at_s, size)
    if number and at_s < take.start_s + take.transition_s / 2:
        return _mixed(film.takes[number - 1], take, at_s, size, take)
    after = film.takes[number + 1] if number + 1 < len(film.takes) else None
    if after and at_s >= after.start_s - after.transition_s / 2:
        return _mixed(take, after, at_s, size, after)
    return shown


def _mixed(one: Take, other: Take, at_s: float, size: tuple[int, int], by: Take) -> Image.Image:
    share = (at_s - (by.start_s - by.transition_s / 2)) / by.transition_s
    if by.transition_in == "dissolve":
        return Image.blend(_picture(one, at_s, size), _picture(other, at_s, size), share)
    black = Image.new("RGB", size)
    if share < 0.5:
        return Image.blend(_picture(one, at_s, size), black, share * 2)
    return Image.blend(black, _picture(other, at_s, size), share * 2 - 1)


def _picture(take: Take, at_s: float, size: tuple[int, int]) -> Image.Image:
    source = photo(take.photo)
    shown = source.resize(size, Image.Resampling.BILINEAR, box=_box(take, at_s, source.size, size))
    if take.mirrored:
        shown = ImageOps.mirror(shown)
    if take.text:
        _write(shown, take.text)
    return shown


def window(take: Take, at_s: float) -> tuple[float, float, float]:
    """What of the photo is seen at a time: left, top, width."""
    if take.camera == "still":
        return take.window[0]
    share = min(1.0, max(0.0, (at_s - take.start_s) / take.length_s))
    left, top, width = (one + (other - one) * share for one, other in zip(*take.window, strict=True))
    if take.camera == "shake":
        phase = 2 * math.pi * _SHAKES_PER_S * (at_s - take.start_s)
        left += _SHAKE * width * math.sin(phase)
        top += _SHAKE * width * math.sin(0.83 * phase + 1)
    return left, top, width


def _box(
    take: Take, at_s: float, photo_size: tuple[int, int], size: tuple[int, int]
) -> tuple[float, float, float, float]:
    left, top, width = window(take, at_s)
    across = width * photo_size[0]
    down = across * size[1] / size[0]
    if down > photo_size[1]:
        across, down = across * photo_size[1] / down, photo_size[1]
    x = min(max(0.0, left * photo_size[0]), photo_size[0] - across)
    y = min(max(0.0, top * photo_size[1]), photo_size[1] - down)
    return x, y, x + across, y + down


def face_at(take: Take, at_s: float, size: tuple[int, int]) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom as shares of the picture; None where the photo has none or not all of it is seen."""
    if take.photo not in FACES:
        return None
    across, down = photo(take.photo).size
    x, y, right, bottom = _box(take, at_s, (across, down), size)
    left_s, top_s, right_s, bottom_s = FACES[take.photo]
    found = (
        (left_s * across - x) / (right - x), (top_s * down - y) / (bottom - y),
        (right_s * across - x) / (right - x), (bottom_s * down - y) / (bottom - y),
    )  # fmt: skip
    if min(found) < 0 or max(found) > 1:
        return None
    return (1 - found[2], found[1], 1 - found[0], found[3]) if take.mirrored else found


def _write(picture: Image.Image, text: str) -> None:
    """A lower third."""
    drawing, (width, height) = ImageDraw.Draw(picture), picture.size
    drawing.rectangle((0, height * 0.78, width, height * 0.92), fill=(10, 10, 40))
    font = ImageFont.load_default(size=height * 0.09)
    drawing.text((width * 0.05, height * 0.79), text, fill="white", font=font)


# Sound


def sound(film: Film) -> Samples:
    """Mono at 48 kHz: near silence, and what is planted."""
    rng = np.random.default_rng(film.seed)
    heard = rng.normal(0, 0.0002, round(film.duration_s * RATE_HZ)).astype(np.float32)
    for stretch in film.music:
        _add(heard, stretch, _chords(stretch, film.seed))
    for stretch in film.speech:
        _add(heard, stretch, _spoken(stretch.what))
    for stretch in film.planted:
        _add(heard, stretch, _uproar(stretch, rng))
    return np.clip(heard, -1, 1)


def _write_sound(film: Film, path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((sound(film) * 32767).astype(np.int16).tobytes())


def _add(heard: Samples, stretch: Stretch, samples: Samples) -> None:
    start = round(stretch.start_s * RATE_HZ)
    part = heard[start : start + len(samples)]
    part += samples[: len(part)]


def _spoken(text: str) -> Samples:
    said = say(text)
    at = np.arange(round(said.duration_s * RATE_HZ)) * said.rate_hz / RATE_HZ
    return (0.7 * np.interp(at, np.arange(len(said.samples)), said.samples)).astype(np.float32)


def _chords(stretch: Stretch, seed: int) -> Samples:
    """Plucked triads with overtones, one a second."""
    at_s = np.arange(round((stretch.end_s - stretch.start_s) * RATE_HZ)) / RATE_HZ
    level = np.exp(-2.0 * (at_s % 1.0)) * np.minimum(1, (at_s % 1.0) / 0.01)
    heard = np.zeros_like(at_s)
    for second in range(math.ceil(at_s[-1]) if len(at_s) else 0):
        here = (at_s >= second) & (at_s < second + 1)
        for tone in _CHORDS[(second + seed) % len(_CHORDS)]:
            for overtone in (1, 2, 3):
                heard[here] += np.sin(2 * np.pi * tone * overtone * at_s[here]) / (overtone**2)
    plucked: Samples = (0.05 * heard * level).astype(np.float32)
    return plucked


def _uproar(stretch: Stretch, rng: np.random.Generator) -> Samples:
    """Applause as a computer hears it: noise that swells."""
    count = round((stretch.end_s - stretch.start_s) * RATE_HZ)
    swell = np.minimum(1, np.minimum(np.arange(count), np.arange(count)[::-1]) / (0.2 * RATE_HZ))
    return (0.25 * rng.normal(0, 1, count) * swell).astype(np.float32)
