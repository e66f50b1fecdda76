"""The measures themselves: what is right counts as right, and every kind of mistake costs."""

from dataclasses import replace

import numpy as np
import pytest

from media_pipelines.ai.analysis import STEP_S, Analysis, Face, Shot, Span, Tag
from tests.ai.analyses import an_analysis
from tests.truth import measures
from tests.truth.corpus import cuts, films, talk, transitions
from tests.truth.film import Film
from tests.truth.photos import NAMES
from tests.truth.render import face_at, frame
from tests.truth.score import Seen, lines
from tests.truth.speech import say

SIZE = (480, 270)


def perfect(film: Film) -> Analysis:
    """What a faultless pass would say."""
    plain = an_analysis([take.length_s for take in film.takes], looks=[hash(take.window) % 999 for take in film.takes])
    shots = [
        Shot(take.start_s, take.end_s, take.transition_in, (take.start_s + take.end_s) / 2, take.transition_s)
        for take in film.takes
    ]
    tags = [Tag(min(NAMES[take.photo]), 0.9, n) for n, take in enumerate(film.takes) if take.photo in NAMES]
    for one in film.planted:
        plain.motion[round(one.start_s / STEP_S) : round(one.end_s / STEP_S)] = 0.7
        plain.loudness_db[round(one.start_s / STEP_S) : round(one.end_s / STEP_S)] = -8
    return replace(
        plain,
        shots=tuple(shots),
        tags=tuple(tags),
        faces=tuple(_faces(film)),
        speech=tuple(Span(one.start_s, one.end_s) for one in film.speech),
        music=tuple(Span(one.start_s, one.end_s) for one in film.music),
    )


def _faces(film: Film) -> list[Face]:
    found = []
    for take in film.takes:
        at_s = (take.start_s + take.end_s) / 2
        if box := face_at(take, at_s, SIZE):
            found.append(Face(at_s, box[0], box[1], box[2] - box[0], box[3] - box[1], 0.9))
    return found


def test_a_faultless_analysis_reaches_everything() -> None:
    seen = [Seen(film, perfect(film), SIZE) for film in films(5)]
    assert [line.name for line in lines(seen) if not line.passes] == []


def test_a_missed_and_an_invented_cut_cost() -> None:
    film = cuts(1)
    analysis = perfect(film)
    missed = replace(analysis, shots=(analysis.shots[0], *analysis.shots[2:]))
    shifted = replace(analysis, shots=tuple(replace(shot, start_s=shot.start_s + 0.3) for shot in analysis.shots))
    assert measures.hard_cuts(film, analysis).f1 == 1
    assert measures.hard_cuts(film, missed).f1 < 1
    assert measures.hard_cuts(film, shifted).right == 0


def test_a_dissolve_is_found_anywhere_within_it_but_no_hard_cut() -> None:
    film = transitions(1)
    number, take = next((n, take) for n, take in enumerate(film.takes) if take.transition_in == "dissolve")
    shots = list(perfect(film).shots)
    shots[number] = replace(shots[number], start_s=take.start_s + take.transition_s / 2)
    assert measures.all_transitions(film, replace(perfect(film), shots=tuple(shots))).f1 == 1


def test_speech_that_is_half_missed_is_half_there() -> None:
    film = talk(1)
    halves = [(one.start_s, (one.start_s + one.end_s) / 2) for one in film.speech]
    assert measures.overlap(film.speech, halves, film.duration_s).share == pytest.approx(0.5, abs=0.01)


def test_a_face_beside_the_face_is_not_found() -> None:
    film = talk(1)
    aside = tuple(replace(face, x=0.0, y=0.9, width=0.05, height=0.05) for face in perfect(film).faces)
    assert measures.faces(film, perfect(film), SIZE).share == 1
    assert measures.faces(film, replace(perfect(film), faces=aside), SIZE).right == 0


def test_the_same_seed_makes_the_same_films_and_another_one_others() -> None:
    assert films(3) == films(3)
    assert films(3) != films(4)


def test_a_cut_changes_the_picture_at_its_very_frame() -> None:
    film = cuts(2)
    at_s = film.cuts_s[0]
    before, first, second = (np.asarray(frame(film, at_s + by, (96, 54)), np.int16) for by in (-0.04, 0.0, 0.04))
    assert np.abs(first - before).mean() > 5 * np.abs(second - first).mean()


def test_words_begin_in_their_order_within_what_is_said() -> None:
    said = say("One small boat.")
    times = [at_s for at_s, _ in said.words]
    assert [word for _, word in said.words] == ["One", "small", "boat"]
    assert times == sorted(times)
    assert times[-1] < said.duration_s
