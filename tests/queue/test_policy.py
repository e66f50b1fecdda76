"""What a policy file may say, what a wrong one gets, and which policies are the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobqueue_bridge.errors import InvalidPolicy
from jobqueue_bridge.policy import Policy, load_policy, policy_hash

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to(text: str) -> Path:
        path = tmp_path / "p.yaml"
        path.write_text(text)
        return path

    return to


def refused(path: Path) -> list[str]:
    with pytest.raises(InvalidPolicy) as error:
        load_policy(path)
    return [str(problem).removeprefix(f"{path}:").strip() for problem in error.value.problems]


def test_the_guides_policy_is_read(write: Write) -> None:
    policy = load_policy(
        write(
            "schema_version: 2\ntranscode:\n  target_video_codec: hevc\n  target_crf: 20\n  max_resolution: 1080p\n"
            "  audio_preserve_codecs:\n    - truehd\n    - dts-hd\n    - pcm_s24le\n  audio_transcode_to: aac\n"
            "  audio_transcode_bitrate: 192k\n  audio_downmix: stereo\n  destination: 'Movies/{year}/{title}'\n"
            "  skip_if:\n    codec_matches: [hevc, h265]\n    resolution_within: 1080p\n    bitrate_under: 15M\n"
        )
    )
    assert (policy.target_video_codec, policy.crf, policy.max_resolution) == ("hevc", 20, "1080p")
    assert policy.audio_preserve_codecs == ("dts-hd", "pcm_s24le", "truehd")
    assert policy.skip_if is not None
    assert (policy.skip_if.codec_matches, policy.skip_if.bitrate_under) == (("hevc",), "15000k")


WRONG = {
    "transcode:\n  targt_crf: 3\n": ["2: transcode.targt_crf: there is no such key; did you mean target_crf?"],
    "transcode:\n  target_crf: 3\n  skip_if:\n    bitrate_ander: 3M\n": [
        "4: transcode.skip_if.bitrate_ander: there is no such key; did you mean bitrate_under?"
    ],
    "transcode:\n  target_video_codec: h264\n  target_crf: 60\n": [
        "3: transcode.target_crf: must be at most 51 for h264"
    ],
    "transcode:\n  max_width: 640\n  target_crf: 60\n": [
        "3: transcode.target_crf: must be at most 51 unless target_video_codec is vp9 or av1"
    ],
    "transcode:\n  target_crf: 3\n  max_width: yes\n": ["3: transcode.max_width: must be a number, got true"],
    "transcode:\n  target_video_codec: h266\n": ["2: transcode.target_video_codec: Input should be 'h264'"],
    "transcode:\n  target_bitrate: 192\n": ['2: transcode.target_bitrate: 192 is 192 bit/s: is "192k" meant?'],
    "transcode:\n  target_bitrate: fast\n": ["2: transcode.target_bitrate: must be a bit rate such as"],
    "transcode:\n  audio_preserve_codecs:\n    - aac\n    - dtss\n": [
        "4: transcode.audio_preserve_codecs.1: no audio codec is named 'dtss'; did you mean dts?"
    ],
    "transcode:\n  audio_preserve_codecs: [acc]\n": [
        "2: transcode.audio_preserve_codecs.0: no audio codec is named 'acc'; did you mean aac?"
    ],
    "transcode:\n  audio_preserve_codecs: aac\n": ["2: transcode.audio_preserve_codecs: must be a list, such as [aac]"],
    "transcode:\n  target_crf: 3\n  skip_if:\n    codec_matches: hevc\n": [
        "4: transcode.skip_if.codec_matches: must be a list, such as [hevc]"
    ],
    "transcode:\n  audio_transcode_to: aac\n  audio_transcode_bitrate: 0\n": [
        "3: transcode.audio_transcode_bitrate: 0 is for flac only"
    ],
    "transcode:\n  destination: /films\n": ["2: transcode.destination: must be relative to the library root"],
    "transcode:\n  destination: a/../../b\n": ["2: transcode.destination: must stay inside the library root"],
    "transcode:\n  destination: 'a/{yaer}'\n": [
        "2: transcode.destination: there is no placeholder {yaer}; did you mean"
    ],
    "transcode:\n  destination: 'a/{year'\n": ["2: transcode.destination: has a brace without its partner"],
    "transcode:\n  target_vmaf: 95\n  target_crf: 20\n": ["2: transcode.target_vmaf: give one of target_crf"],
    "transcode:\n  target_crf: 20\n  skip_if: {}\n": ["3: transcode.skip_if: says nothing"],
    "transcode:\n  target_crf: 20\n  target_crf: 21\n": ["3: transcode.target_crf: stands there twice"],
    "transcode: {}\n": ["1: transcode: says nothing that is to be done"],
    "transcode:\n": ["1: transcode: must have keys and values below it"],
    "schema_version: 6\ntranscode:\n  target_crf: 3\n": ["1: schema_version: must be 2, got 6"],
    "trancode:\n  target_crf: 3\n": ["1: lacks the key transcode (is trancode meant for it?)"],
    "transcode:\n  target_crf: &a 3\n  max_width: *a\n": ["3: write it out instead of *a"],
    "transcode:\n  target_crf: 3: 4\n": ["2: is no YAML: mapping values are not allowed here"],
    "- transcode\n": ["1: must be a policy"],
    "": ["must be a policy"],
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_named_with_its_line_and_key(write: Write, text: str) -> None:
    found = refused(write(text))
    assert len(found) == len(WRONG[text])
    for said, expected in zip(found, WRONG[text], strict=True):
        assert said.startswith(expected)


def test_everything_that_is_wrong_is_named_at_once(write: Write) -> None:
    found = refused(write("transcode:\n  target_crf: many\n  max_height: 3\n  presett: slow\n"))
    assert [line[0] for line in found] == ["2", "3", "4"]


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read_is_an_error_of_the_policy(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidPolicy):
        load_policy(tmp_path / name)


def test_a_file_of_deep_nesting_is_refused(write: Write) -> None:
    assert refused(write("transcode: " + "[" * 5000 + "]" * 5000)) == ["1: is nested deeper than any policy"]


def test_a_date_that_there_is_not_is_an_error_of_the_policy(write: Write) -> None:
    assert "is no plain YAML" in refused(write("transcode:\n  destination: 2024-99-99\n"))[0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"target_video_codec": "hevc"}, {"target_video_codec": "h265"}),
        ({"target_video_codec": "hevc"}, {"target_video_codec": "hevc", "target_crf": 28, "preset": "medium"}),
        ({"target_bitrate": "5M"}, {"target_bitrate": "5000k"}),
        ({"target_bitrate": "5M"}, {"target_bitrate": 5_000_000}),
        ({"target_bitrate": "5M", "target_crf": 20}, {"target_bitrate": "5M"}),
        ({"audio_preserve_codecs": ["flac", "aac"]}, {"audio_preserve_codecs": ["aac", "flac"]}),
        ({"audio_preserve_codecs": ["flac"]}, {"audio_preserve_codecs": ["flac"], "audio_transcode_to": "aac"}),
        ({"audio_downmix": 5.1}, {"audio_downmix": "5.1"}),
        ({"max_resolution": "4K"}, {"max_resolution": "4k"}),
    ],
)
def test_policies_that_mean_the_same_have_one_hash(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert policy_hash(Policy(**one)) == policy_hash(Policy(**other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"target_video_codec": "hevc"}, {"target_video_codec": "av1"}),
        ({"target_video_codec": "hevc"}, {"target_video_codec": "hevc", "target_crf": 27}),
        ({"target_video_codec": "hevc"}, {"target_video_codec": "hevc", "audio_transcode_to": "aac"}),
        ({"target_video_codec": "hevc"}, {"target_video_codec": "hevc", "destination": "films"}),
    ],
)
def test_policies_that_differ_have_different_hashes(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert policy_hash(Policy(**one)) != policy_hash(Policy(**other))


def test_a_policy_survives_being_stored_with_a_job() -> None:
    policy = Policy(target_video_codec="vp9", audio_downmix="stereo", skip_if={"bitrate_under": "3M"})
    stored = policy.model_dump(mode="json", exclude_none=True)
    assert policy_hash(Policy.model_validate(stored)) == policy_hash(policy)
    assert Policy.model_validate(stored).audio_codec is None


def test_the_command_line_goes_before_the_file() -> None:
    policy = Policy(target_video_codec="hevc", target_vmaf=95, max_resolution="4k")
    changed = policy.overridden(target_crf=20, max_resolution="720p", target_video_codec=None, target_bitrate=None)
    assert (changed.crf, changed.target_vmaf, changed.max_resolution) == (20, None, "720p")
    assert policy.overridden(target_crf=None) == policy
    assert policy.overridden(target_bitrate="4M").target_bitrate == "4000k"


def test_what_the_command_line_makes_wrong_is_named() -> None:
    with pytest.raises(InvalidPolicy, match="target_crf: must be at most 51 for hevc"):
        Policy(target_video_codec="hevc").overridden(target_crf=60)
