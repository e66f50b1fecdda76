"""From probabilities to shots."""

import numpy as np
import pytest

from media_pipelines.ai.shots import Frames, shots

FPS = 25


def frames(count: int = 250, stride: int = 2) -> Frames:
    looks = -(-count // stride)
    return Frames(
        at_s=np.arange(count) / FPS,
        difference=np.full(count, 1.0, np.float32),
        brightness=np.full(count, 0.5, np.float32),
        change=np.zeros(looks, np.float32),
        part=np.zeros(looks, np.float32),
        stride=stride,
    )


def changed(found: Frames, first: int, last: int, *, part: tuple[int, int] | None = None) -> None:
    """The looks at which the shot changes, in frames, and those that are part of the change."""
    found.change[first // found.stride : last // found.stride + 1] = 0.9
    low, high = part or (first, last)
    found.part[low // found.stride : high // found.stride + 1] = 0.9


def test_a_film_without_changes_is_one_shot() -> None:
    (only,) = shots(frames(), 10.0)

    assert (only.start_s, only.end_s, only.transition_in, only.key_s) == (0.0, 10.0, "start", 5.0)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("frame", [60, 61, 62])
def test_a_cut_is_placed_on_the_frame_of_the_jump_whichever_frames_were_looked_at(frame: int, stride: int) -> None:
    found = frames(stride=stride)
    found.difference[frame] = 60
    changed(found, (frame - 1) // stride * stride, (frame - 1) // stride * stride)

    _, second = shots(found, 10.0)

    assert (second.start_s, second.transition_in) == (frame / FPS, "cut")


def test_a_dissolve_is_placed_in_its_middle() -> None:
    found = frames()
    found.difference[100:125] = 4
    changed(found, 110, 114, part=(100, 124))

    _, second = shots(found, 10.0)

    assert second.transition_in == "dissolve"
    assert second.start_s == pytest.approx(4.5, abs=0.08)
    assert second.transition_s == pytest.approx(1.0, abs=0.1)


def test_a_fade_through_black_is_one_change_at_the_darkest() -> None:
    found = frames()
    ramp = np.linspace(0.5, 0, 12)
    found.brightness[100:112] = ramp
    found.brightness[112:125] = 0
    found.brightness[125:137] = ramp[::-1]
    changed(found, 108, 112)
    changed(found, 124, 128)

    _, second = shots(found, 10.0)

    assert second.transition_in == "fade"
    assert second.start_s == pytest.approx(118 / FPS, abs=0.05)
    assert second.transition_s == pytest.approx(37 / FPS, abs=0.15)


def test_a_cut_right_after_a_fade_stays_a_shot_of_its_own() -> None:
    found = frames()
    found.brightness[100:112] = np.linspace(0.5, 0, 12)
    found.brightness[112:124] = np.linspace(0, 0.5, 12)
    changed(found, 108, 116)
    found.difference[140] = 60
    changed(found, 138, 138)

    assert [shot.transition_in for shot in shots(found, 10.0)] == ["start", "fade", "cut"]


@pytest.mark.parametrize("frame", [0, 2, 248])
def test_changes_at_the_very_edges_are_none(frame: int) -> None:
    found = frames()
    found.difference[frame] = 60
    changed(found, frame, frame)

    assert len(shots(found, 10.0)) == 1


def test_two_changes_that_no_shot_fits_between_are_one() -> None:
    found = frames()
    found.difference[[100, 103]] = 60, 50
    changed(found, 98, 98)
    changed(found, 102, 102)

    assert [shot.start_s for shot in shots(found, 10.0)] == [0.0, 4.0]


def test_shots_follow_one_another_without_a_gap() -> None:
    found = frames(1000)
    for frame in range(40, 990, 37):
        found.difference[frame] = 60
        changed(found, (frame - 1) // 2 * 2, (frame - 1) // 2 * 2)

    cut = shots(found, 40.0)

    assert len(cut) == 27
    assert [shot.end_s for shot in cut[:-1]] == [shot.start_s for shot in cut[1:]]
    assert cut[-1].end_s == 40.0
