"""The films of the corpus: the same seed makes the same ones, another seed others."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from tests.truth.film import Film, Stretch, Take, Transition
from tests.truth.photos import ALL, FACES, LOW, NAMES
from tests.truth.speech import say

_SENTENCES = (
    "The harbour was quiet before the morning ferry came in.",
    "She measured the distance twice and wrote it in her book.",
    "Nobody had expected the machine to work at the first attempt.",
    "Please keep the window closed while the experiment is running.",
    "A warm wind carried the smell of bread across the square.",
    "We counted seven ships on the horizon and one small boat.",
)
_TITLES = ("CHAPTER ONE", "NORTH HARBOUR", "LIVE REPORT", "DAY SEVEN")
_FRAME_S = 0.04


def films(seed: int) -> tuple[Film, ...]:
    """One of each kind."""
    return (cuts(seed), transitions(seed), talk(seed), action(seed), repeats(seed), *statics(seed))


def cuts(seed: int) -> Film:
    """Hard cuts alone, one or two shots of each photo, lower thirds, music."""
    rng = random.Random(f"cuts {seed}")
    takes = _filmed(rng, _photos(rng, 7), lambda: "cut", lambda: rng.uniform(2.0, 4.5))
    # not over what must be known by sight
    titled = rng.sample([n for n, take in enumerate(takes) if take.photo not in NAMES], 3)
    takes = [replace(take, text=rng.choice(_TITLES)) if n in titled else take for n, take in enumerate(takes)]
    return Film("cuts", seed, tuple(takes), music=(Stretch(1.0, takes[-1].end_s - 2.0),))


def transitions(seed: int) -> Film:
    """Cuts, dissolves and fades between photos."""
    rng = random.Random(f"transitions {seed}")
    kinds: list[Transition] = ["dissolve", "fade", "cut", "dissolve", "cut", "fade", "dissolve", "cut"]
    rng.shuffle(kinds)
    waiting = iter(kinds)
    takes = _filmed(rng, _photos(rng, 9), lambda: next(waiting), lambda: rng.uniform(3.0, 4.5), single=True)
    return Film("transitions", seed, tuple(takes))


def talk(seed: int) -> Film:
    """Speech with pauses over faces and things, music before and after, then silence."""
    rng = random.Random(f"talk {seed}")
    at_s, speech, words = 5.0, [], []
    for text in rng.sample(_SENTENCES, 5):
        said = say(text)
        speech.append(Stretch(at_s, at_s + said.duration_s, text))
        starts = [at_s + start_s for start_s, _ in said.words]
        ends = [*starts[1:], at_s + said.duration_s]
        words += [
            Stretch(start_s, end_s, word) for start_s, end_s, (_, word) in zip(starts, ends, said.words, strict=True)
        ]
        at_s += said.duration_s + rng.uniform(0.8, 1.8)
    end_s = at_s + 8.0
    names = ["astronaut", "coffee", "astronaut", "chelsea", "astronaut", "camera", "astronaut", "rocket"]
    length_s = end_s / len(names)
    takes = _filmed(rng, names, lambda: "cut", lambda: length_s, single=True)
    takes = [_facing(rng, take) if take.photo in FACES else take for take in takes]
    music = (Stretch(0.5, 4.5), Stretch(at_s, at_s + 5.0))
    return Film("talk", seed, tuple(takes), tuple(speech), tuple(words), music)


def action(seed: int) -> Film:
    """Calm shots with soft music, and four moments in which the picture shakes and there is uproar."""
    rng = random.Random(f"action {seed}")
    names = [*_photos(rng, 9), *_photos(rng, 9)]
    if names[8] == names[9]:
        names[9], names[10] = names[10], names[9]
    takes = _filmed(rng, names, lambda: "cut", lambda: rng.uniform(3.5, 5.0), single=True)
    chosen = sorted(rng.sample(range(1, len(takes) - 1), 4))
    takes = [replace(take, camera="shake") if n in chosen else take for n, take in enumerate(takes)]
    planted = tuple(Stretch(takes[n].start_s, takes[n].end_s, "uproar") for n in chosen)
    return Film("action", seed, tuple(takes), music=(Stretch(0.0, takes[-1].end_s),), planted=planted)


def repeats(seed: int) -> Film:
    """Some shots are shown again later, exactly."""
    rng = random.Random(f"repeats {seed}")
    takes = _filmed(rng, _photos(rng, 6), lambda: "cut", lambda: rng.uniform(3.0, 4.0), single=True)
    for again in rng.sample(takes[:-1], 3):
        last = takes[-1]
        shown = replace(again, start_s=last.end_s, end_s=round(last.end_s + again.length_s, 2), transition_in="cut")
        takes.append(replace(shown, scene=last.scene + 1))
    return Film("repeats", seed, tuple(takes))


def statics(seed: int) -> tuple[Film, ...]:
    """One shot each: nothing moves; the camera pans; a title stands on a picture that shakes."""
    rng = random.Random(f"statics {seed}")
    still, moving, shaking = rng.sample(ALL, 3)
    made = (
        Take(0, 12, still, 0, "start", camera="still"),
        Take(0, 12, moving, 0, "start", window=_windows(rng, moving)),
        Take(0, 10, shaking, 0, "start", camera="shake", window=((0.2, 0.2, 0.5), (0.25, 0.2, 0.5)), text="LIVE"),
    )
    names = ("still", "pan", "handheld")
    return tuple(Film(f"static-{name}", seed, (take,)) for name, take in zip(names, made, strict=True))


def _photos(rng: random.Random, count: int) -> list[str]:
    """Known ones among them."""
    others = [name for name in ALL if name not in NAMES]
    chosen = [*NAMES, *rng.sample(others, count - len(NAMES))]
    rng.shuffle(chosen)
    return chosen


def _filmed(
    rng: random.Random,
    names: Sequence[str],
    transition: Callable[[], Transition],
    length_s: Callable[[], float],
    *,
    single: bool = False,
) -> list[Take]:
    takes: list[Take] = []
    at_s = 0.0
    for scene, name in enumerate(names):
        for k in range(1 if single or rng.random() < 0.5 else 2):
            kind = transition() if takes else "start"
            fade_s = 0.0 if kind in ("cut", "start") else round(rng.uniform(0.5, 1.2) / 2 / _FRAME_S) * 2 * _FRAME_S
            end_s = at_s + max(1.0, round(length_s() / _FRAME_S) * _FRAME_S)
            windows = _windows(rng, name) if k == 0 else _close(rng)
            takes.append(Take(round(at_s, 2), round(end_s, 2), name, scene, kind, fade_s, "move", windows))
            at_s = end_s
    return takes


def _windows(rng: random.Random, photo: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """A slow pan and zoom over most of the photo. What it is known by is in view."""
    widths = rng.uniform(0.75, 1.0), rng.uniform(0.75, 1.0)
    low, high = (0.3, 0.42) if photo in LOW else (0.0, 0.3)
    first, last = ((rng.uniform(0, 1 - width), rng.uniform(low, high), width) for width in widths)
    return first, last


def _close(rng: random.Random) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """A detail of it."""
    width, left, top = rng.uniform(0.35, 0.45), rng.uniform(0.1, 0.4), rng.uniform(0.2, 0.5)
    return (left, top, width), (left + 0.08, top + 0.05, width)


def _facing(rng: random.Random, take: Take) -> Take:
    """The face is seen as a whole all the time, large or small, from either side."""
    width = rng.choice((1.0, 0.8, 0.6))
    left = 0.445 - width / 2 + rng.uniform(-0.05, 0.05)
    return replace(take, window=((left, 0.02, width), (left + 0.03, 0.04, width)), mirrored=rng.random() < 0.5)
