"""What comes into the inbox in the course of the day: films with cuts, titles, speech and music, and half of one."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.truth.film import Film, Stretch, Take
from tests.truth.render import render
from tests.truth.speech import say

FEATURE = "harbour-film"
MOVING = "day-out"
HALF = "half-copied"
_SIZE = (640, 360)
_CRF = 12  # as cameras write: more bits than a stream for the web needs
# The name of a film, its shots in order, and what is said.
_SHORT: Sequence[tuple[str, Sequence[str], str]] = (
    ("morning-coffee", ("coffee", "camera", "coffee"), "The first cup of the day."),
    ("window-cat", ("chelsea", "coffee", "chelsea"), "She has been sitting there since breakfast."),
    ("launch-day", ("rocket", "astronaut", "rocket"), "Ten seconds, and all engines are running."),
    ("deep-sky", ("hubble_deep_field", "astronaut"), ""),
    ("crew-portrait", ("astronaut", "rocket"), "We go in the spring."),
    ("old-coins", ("coins", "gravel"), ""),
    ("photographer", ("camera", "chelsea", "coffee"), "He never trusted anything without film in it."),
    ("eye-clinic", ("retina", "camera"), ""),
    ("gravel-walk", ("gravel", "coins", "gravel"), ""),
    (MOVING, ("chelsea", "rocket", "coffee", "hubble_deep_field"), "And then we drove home."),
    ("two-friends", ("astronaut", "chelsea"), "Say something to the camera."),
)
_FEATURE = ("coffee", "astronaut", "rocket", "hubble_deep_field", "chelsea", "camera", "retina", "coins", "rocket")
_SHOT_S, _FEATURE_SHOT_S, _FADE_S = 2.4, 3.6, 0.8


def films() -> Iterator[Film]:
    """A dozen, always the same ones."""
    for seed, (name, photos, said) in enumerate(_SHORT):
        yield _film(name, seed, photos, _SHOT_S, said)
    yield _film(FEATURE, 100, _FEATURE, _FEATURE_SHOT_S, "A film about a harbour, in nine pictures.")


def make(ffmpeg: Path, folder: Path) -> Iterator[Path]:
    """One file after the other, and at last the first half of one, as it lies there when a copy broke off."""
    folder.mkdir(parents=True, exist_ok=True)
    for film in films():
        rendered = render(film, ffmpeg, folder, _SIZE, _CRF).path
        yield rendered.rename(folder / f"{film.name}.mp4")
    half = folder / f"{HALF}.mp4"
    whole = (folder / f"{FEATURE}.mp4").read_bytes()
    half.write_bytes(whole[: len(whole) // 2])
    yield half


def _film(name: str, seed: int, photos: Sequence[str], shot_s: float, said: str) -> Film:
    rng = random.Random(name)
    takes = tuple(_take(rng, scene, photo, scene * shot_s, shot_s, name) for scene, photo in enumerate(photos))
    speech = (Stretch(0.6, 0.6 + say(said).duration_s, said),) if said else ()
    loud = tuple(Stretch(take.start_s, take.end_s, "uproar") for take in takes if take.camera == "shake")
    return Film(name, seed, takes, speech=speech, music=(Stretch(0.0, takes[-1].end_s),), planted=loud)


def _take(rng: random.Random, scene: int, photo: str, start_s: float, shot_s: float, name: str) -> Take:
    """Its title on the first, then cuts and dissolves; the launch of a rocket shakes the camera."""
    width = rng.uniform(0.7, 0.85)
    window = (rng.uniform(0, 0.15), rng.uniform(0, 0.15), width), (rng.uniform(0, 0.15), 0.1, width * 0.85)
    dissolves = scene > 0 and scene % 3 == 0
    return Take(
        start_s=round(start_s, 2),
        end_s=round(start_s + shot_s, 2),
        photo=photo,
        scene=scene,
        transition_in="start" if scene == 0 else "dissolve" if dissolves else "cut",
        transition_s=_FADE_S if dissolves else 0.0,
        camera="shake" if photo == "rocket" and scene > 0 else "move",
        window=window,
        text=name.replace("-", " ").upper() if scene == 0 else "",
    )
