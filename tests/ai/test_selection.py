"""What is chosen of a video: scenes, tags, highlights, clips, digests. By example, and as properties of any film."""

import io
import json
from fractions import Fraction
from itertools import combinations, pairwise

import opentimelineio as otio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from media_pipelines.ai.analysis import Analysis, Face, Tag
from media_pipelines.ai.clips import clips
from media_pipelines.ai.crop import crop
from media_pipelines.ai.digest import SHORTEST_S, digest, is_duplicate
from media_pipelines.ai.explain import explained
from media_pipelines.ai.exports import export
from media_pipelines.ai.highlights import moments, reel
from media_pipelines.ai.interest import interest
from media_pipelines.ai.pauses import merged, pauses
from media_pipelines.ai.scenes import scenes
from media_pipelines.ai.segments import total_s
from media_pipelines.ai.tagging import tags
from tests.ai.analyses import an_analysis, analyses

TARGETS = st.floats(2.0, 90.0)
FADES = st.sampled_from([0.0, 0.25, 0.5])


# Scenes


def test_a_dialogue_that_goes_to_and_fro_is_one_scene() -> None:
    found = scenes(an_analysis([3] * 6, looks=[1, 2, 1, 2, 3, 3]))
    assert [(scene.first, scene.last) for scene in found] == [(0, 3), (4, 5)]


def test_what_looks_alike_an_hour_later_is_another_scene() -> None:
    found = scenes(an_analysis([3, 50, 50, 3], looks=[1, 2, 3, 1]))
    assert len(found) == 4


def test_a_scene_that_is_too_short_joins_a_neighbour() -> None:
    found = scenes(an_analysis([5, 1, 5], looks=[1, 2, 3]), min_length_s=2)
    assert [round(scene.length_s) for scene in found] in ([6, 5], [5, 6])


@given(analyses(), st.floats(0, 1), st.floats(0, 20))
def test_every_shot_is_in_exactly_one_scene(analysis: Analysis, similarity: float, shortest_s: float) -> None:
    found = scenes(analysis, similarity, shortest_s)
    assert [shot for scene in found for shot in scene.shots] == list(range(len(analysis.shots)))
    assert all(scene.key_shot in scene.shots for scene in found)
    assert len(found) == 1 or all(scene.length_s >= shortest_s - 1e-6 for scene in found)


# Tags


def test_tags_are_added_up_over_shots_that_follow_each_other() -> None:
    sure = [Tag("cup", 0.9, 0), Tag("cup", 0.5, 1), Tag("cup", 0.4, 3), Tag("cat", 0.1, 2)]
    (cup,) = tags(an_analysis([2, 3, 4, 5], tags=sure), min_score=0.3)
    assert (cup.name, cup.score, cup.count, cup.seconds) == ("cup", 0.9, 3, 10)
    assert [(span.start_s, span.end_s, span.score) for span in cup.spans] == [(0, 5, 0.9), (9, 14, 0.4)]
    assert cup.model == "made-up"


def test_at_most_as_many_tags_as_are_wanted_the_surest_first() -> None:
    many = [Tag(f"thing {n}", n / 10, 0) for n in range(1, 10)]
    assert [tag.name for tag in tags(an_analysis([5], tags=many), 0.0, 2)] == ["thing 9", "thing 8"]


# Highlights


def test_where_it_is_loud_and_a_lot_moves_is_the_highlight_and_it_says_so() -> None:
    analysis = an_analysis([10, 10, 10, 10], motion=[(22, 26)], loud=[(22, 26)])
    best = moments(analysis, interest(analysis))[0]
    assert 21 <= best.start_s <= 22.5
    assert 25.5 <= best.end_s <= 27
    assert set(best.reasons) >= {"motion", "loudness"}


def test_a_face_counts_in_its_own_shot() -> None:
    analysis = an_analysis([4, 4, 4], faces=[Face(4.1, 0.4, 0.3, 0.3, 0.4, 1.0)])
    seen = interest(analysis).parts["faces"]
    assert seen[:39].max() == 0
    assert seen[41:50].min() == 1
    assert seen[53:].max() == 0


def test_a_cut_is_no_motion() -> None:
    analysis = an_analysis([5] * 8)
    for shot in analysis.shots[1:]:
        analysis.motion[round(shot.start_s * 10)] = 1.0
    assert interest(analysis).parts["motion"].max() == 0


def test_a_film_in_which_nothing_happens_has_highlights_all_the_same() -> None:
    analysis = an_analysis([5] * 6, looks=[1] * 6)
    assert moments(analysis, interest(analysis))


@given(analyses(), TARGETS, FADES)
def test_a_reel_is_in_order_inside_the_video_and_not_longer_than_wanted(
    analysis: Analysis, target_s: float, fade_s: float
) -> None:
    found = interest(analysis)
    chosen = reel(analysis, found, moments(analysis, found), target_s, crossfade_s=fade_s)
    assert chosen
    assert total_s(chosen, fade_s) <= target_s * 1.05 + 0.01
    _require_in_order(analysis, chosen)


# Digest


@given(analyses(), TARGETS, FADES, st.booleans())
def test_a_digest_has_the_wanted_length_or_all_there_is(
    analysis: Analysis, target_s: float, fade_s: float, lively: bool
) -> None:
    found = interest(analysis)
    made = digest(analysis, found, scenes(analysis), target_s, include_highlights=lively, crossfade_s=fade_s)
    if made.segments:
        available_s = total_s([_whole(segment) for segment in made.segments], fade_s)
        assert made.length_s(fade_s) == pytest.approx(min(target_s, available_s), rel=0.05, abs=0.02)
    _require_in_order(analysis, made.segments)


@given(analyses(), TARGETS)
def test_a_digest_shows_nothing_twice(analysis: Analysis, target_s: float) -> None:
    made = digest(analysis, interest(analysis), scenes(analysis), target_s)
    pairs = combinations(made.segments, 2)
    assert not any(is_duplicate(analysis, one.shot, other.shot) for one, other in pairs)


def test_a_digest_shows_every_scene_where_there_is_time_for_it() -> None:
    analysis = an_analysis([4] * 10, motion=[(0, 8)], loud=[(0, 8)])
    made = digest(analysis, interest(analysis), scenes(analysis), 10 * SHORTEST_S)
    assert (made.scenes_covered, made.scenes) == (10, 10)


def test_a_digest_is_not_cut_into_speech_where_that_can_be_helped() -> None:
    analysis = an_analysis([10] * 4, speech=[(1.5, 4.0), (11, 13.5), (23, 26), (33, 35)])
    made = digest(analysis, interest(analysis), scenes(analysis), 16)
    free = pauses(analysis)
    assert all(free.is_free(segment.start_s) and free.is_free(segment.end_s) for segment in made.segments)
    assert made.length_s() == pytest.approx(16, rel=0.05)


def test_where_somebody_speaks_all_along_the_length_still_counts() -> None:
    analysis = an_analysis([10] * 4, speech=[(0, 40)])
    made = digest(analysis, interest(analysis), scenes(analysis), 10)
    assert made.length_s() == pytest.approx(10, rel=0.05)


def test_of_one_long_shot_a_digest_has_several_parts() -> None:
    made = digest(an_analysis([300]), interest(an_analysis([300])), scenes(an_analysis([300])), 20)
    assert len(made.segments) > 2


# Clips


@given(analyses(), st.integers(1, 6), st.floats(2, 10), st.floats(0, 20))
def test_clips_are_as_long_as_wanted_and_do_not_overlap(
    analysis: Analysis, count: int, min_s: float, more_s: float
) -> None:
    made = clips(analysis, interest(analysis), scenes(analysis), count=count, min_s=min_s, max_s=min_s + more_s)
    assert len(made) <= count
    if analysis.duration_s > min_s:
        assert all(min_s - 1e-3 <= clip.length_s <= min_s + more_s + 1e-3 for clip in made)
    for one, other in combinations(made, 2):
        assert one.end_s <= other.start_s or other.end_s <= one.start_s


def test_a_clip_begins_and_ends_between_words() -> None:
    said = [(0.5 + n * 0.9, 1.1 + n * 0.9) for n in range(20)]
    analysis = an_analysis([20], words=said, loud=[(8, 11)], motion=[(8, 11)])
    (clip,) = clips(analysis, interest(analysis), scenes(analysis), count=1, min_s=4, max_s=6)
    free = pauses(analysis)
    assert free.is_free(clip.start_s)
    assert free.is_free(clip.end_s)
    assert clip.start_s < 9.5 < clip.end_s


# Crop


@given(
    st.lists(st.tuples(st.floats(0, 9.9), st.floats(0, 0.8), st.floats(0, 0.7)), max_size=20),
    st.sampled_from([Fraction(9, 16), Fraction(1), Fraction(16, 9), Fraction(4, 3)]),
)
def test_what_is_cut_out_stays_inside_the_picture_and_moves_calmly(
    seen: list[tuple[float, float, float]], aspect: Fraction
) -> None:
    faces = [Face(at_s, x, y, 0.2, 0.3, 0.9) for at_s, x, y in sorted(seen)]
    found = crop(an_analysis([4, 6], faces=faces), 0, 10, aspect, Fraction(1))
    assert found.width == pytest.approx(min(1, float(aspect * 9 / 16)))
    for path in found.paths:
        assert all(found.width / 2 - 1e-6 <= point.x <= 1 - found.width / 2 + 1e-6 for point in path)
        for one, other in pairwise(path):
            assert abs(other.x - one.x) <= 0.15 * (other.at_s - one.at_s) + 1e-6


def test_the_cut_out_is_where_the_face_is() -> None:
    faces = [Face(n / 2, 0.7, 0.2, 0.15, 0.3, 0.9) for n in range(12)]
    found = crop(an_analysis([6], faces=faces), 0, 6, Fraction(9, 16), Fraction(1))
    assert all(point.x == pytest.approx(0.775) for point in found.paths[0])


# Pauses


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.1, 5)).map(lambda at: (at[0], at[0] + at[1])), max_size=20))
def test_spoken_stretches_are_disjoint_and_in_order(spans: list[tuple[float, float]]) -> None:
    assert all(one[1] < other[0] for one, other in pairwise(merged(spans)))


# What is shown and exported


def test_the_picture_of_why_is_a_picture() -> None:
    analysis = an_analysis([5, 5, 5], motion=[(6, 8)], speech=[(0, 3)])
    found = interest(analysis)
    with Image.open(io.BytesIO(explained(analysis, found, moments(analysis, found)))) as picture:
        assert picture.format == "PNG"
        assert picture.width == 960
        assert len(picture.getcolors(1_000_000) or ()) > 5


def test_an_edl_is_read_back_with_the_same_cuts() -> None:
    analysis = an_analysis([2.0, 3.2, 1.0])
    text = export("edl", analysis, scenes(analysis), "my film.mp4")
    timeline = otio.adapters.read_from_string(text, "cmx_3600", rate=25)
    lengths = [clip.source_range.duration.to_seconds() for clip in timeline.find_clips()]
    assert lengths == pytest.approx([2.0, 3.2, 1.0])


def test_otio_csv_and_json_have_every_shot() -> None:
    analysis = an_analysis([2.0, 3.2, 1.0])
    found = scenes(analysis)
    read = otio.adapters.read_from_string(export("otio", analysis, found, "a.mp4"), "otio_json")
    assert len(list(read.find_clips())) == 3
    assert export("csv", analysis, found, "a.mp4").count("\n") == 4
    assert [shot["endSeconds"] for shot in json.loads(export("json", analysis, found, "a.mp4"))["shots"]] == [
        2,
        5.2,
        6.2,
    ]


def _whole(segment):  # type: ignore[no-untyped-def]
    from dataclasses import replace

    return replace(segment, start_s=segment.low_s, end_s=segment.high_s)


def _require_in_order(analysis: Analysis, chosen) -> None:  # type: ignore[no-untyped-def]
    for segment in chosen:
        shot = analysis.shots[segment.shot]
        assert shot.start_s - 2e-3 <= segment.start_s < segment.end_s <= shot.end_s + 2e-3
    assert all(one.end_s <= other.start_s + 2e-3 for one, other in pairwise(chosen))
