"""What each job type accepts, and what a bad value gets."""

import json
from typing import Any
from uuid import UUID

import pytest

from jobqueue_bridge import params
from jobqueue_bridge.errors import InvalidJob
from jobqueue_bridge.vocabulary import JobType

VIDEO = "660e8400-e29b-41d4-a716-446655440001"

# The least that a type accepts, and the defaults that come with it.
LEAST: dict[JobType, tuple[dict[str, Any], dict[str, Any]]] = {
    JobType.SCAN: ({}, {"directory_type": "videos", "path": None, "paths": None, "skip_existing": True}),
    JobType.PUBLIC_SCAN: ({}, {"directory_type": "public", "paths": None, "skip_existing": True}),
    JobType.VALIDATE: ({"videoId": VIDEO}, {"checksum": False}),
    JobType.THUMBNAIL_GENERATE: ({"videoId": VIDEO}, {"timestamp": None, "width": 640, "storyboard": False}),
    JobType.REENCODE_STREAMING: (
        {"videoId": VIDEO},
        {
            "target_bitrate": 2000,
            "preset": "medium",
            "crf": 23,
            "output_path": None,
            "target_vmaf": None,
            "target_xpsnr": None,
            "max_size_percent": None,
            "verify": "sampled",
            "min_vmaf": None,
        },
    ),
    JobType.COMPILE_RANDOM: (
        {},
        {"count": 10, "min_duration": None, "max_duration": None, "orientation": None, "seed": None, "tags": None},
    ),
    JobType.COMPILE_QUAD: (
        {},
        {"sources": None, "width": 1920, "height": 1080, "fps": 30, "audio": "mix", "length": "longest", "crf": 23},
    ),
    JobType.COMPILE_MEGA: (
        {},
        {"count": None, "crossfade": 0, "title_cards": 0, "level_loudness": True, "loudness": -16, "sources": None},
    ),
    JobType.COMPILE_GIF: (
        {"videoId": VIDEO},
        {"start": 0, "duration": 5, "width": 480, "fps": 12, "format": "gif", "loop": 0, "max_bytes": None},
    ),
    JobType.MOVE_TO_LIBRARY: (
        {"videoId": VIDEO, "directoryType": "studios"},
        {"subdirectory": None, "filename": None, "on_collision": "rename"},
    ),
    JobType.TRANSCODE: ({"videoId": VIDEO, "policy": {"target_video_codec": "hevc"}}, {"force": False}),
    JobType.LIBRARY_REPORT: ({}, {"days": 90, "duplicates": True}),
    JobType.DIGEST_GENERATE: (
        {"videoId": VIDEO},
        {"target_length": 60, "include_highlights": True, "crossfade": 0.2, "chapters": True, "poster": True},
    ),
    JobType.CLIP_GENERATE: (
        {"videoId": VIDEO},
        {"count": 3, "min_length": 5, "max_length": 30, "aspect": "source", "height": None},
    ),
    JobType.HIGHLIGHT_GENERATE: (
        {"videoId": VIDEO},
        {"target_length": 30, "min_moment": 2, "max_moment": 8, "reel": True, "motion": 0.35, "novelty": 0.15},
    ),
    JobType.TAG_GENERATION: ({"videoId": VIDEO}, {"min_score": 0.25, "max_tags": 20, "labels": None, "apply": True}),
    JobType.SCENE_EXTRACT: (
        {"videoId": VIDEO},
        {"similarity": None, "min_scene_length": 1, "exports": ["json", "csv", "edl"], "files": "none"},
    ),
}

# The specification's own examples.
FULL: dict[JobType, dict[str, Any]] = {
    JobType.SCAN: {"directoryType": "videos", "skipExisting": True},
    JobType.PUBLIC_SCAN: {"directoryType": "videos", "skipExisting": False},
    JobType.VALIDATE: {"videoId": VIDEO},
    JobType.THUMBNAIL_GENERATE: {"videoId": VIDEO, "timestamp": 5, "width": 640},
    JobType.REENCODE_STREAMING: {
        "videoId": VIDEO,
        "inputPath": "inbox/original.mp4",
        "outputPath": "playback/encoded.mp4",
        "targetBitrate": 2000,
        "preset": "medium",
        "crf": 23,
    },
    JobType.COMPILE_RANDOM: {
        "count": 10,
        "minDuration": 30,
        "maxDuration": 120,
        "orientation": "landscape",
        "outputPath": "compilations/random-001.mp4",
        "directoryType": "videos",
        "tags": ["beach", "night"],
        "seed": 7,
    },
    JobType.COMPILE_QUAD: {
        "videoIds": [VIDEO] * 4,
        "width": 1280,
        "height": 720,
        "fps": 29.97,
        "audio": "3",
        "length": "loop",
        "preset": "fast",
        "crf": 20,
        "outputPath": "compilations/quad.mp4",
    },
    JobType.COMPILE_MEGA: {
        "videoIds": [VIDEO],
        "crossfade": 1.5,
        "titleCards": 3,
        "levelLoudness": False,
        "loudness": -23,
        "outputPath": "compilations/mega.mp4",
    },
    JobType.DIGEST_GENERATE: {
        "videoId": VIDEO,
        "targetLength": 60,
        "includeHighlights": True,
        "crossfade": 0,
        "outputPath": "digests/a.mp4",
    },
    JobType.CLIP_GENERATE: {
        "videoId": VIDEO,
        "count": 5,
        "minLength": 3.5,
        "maxLength": 60,
        "aspect": "9:16",
        "height": 1280,
    },
    JobType.HIGHLIGHT_GENERATE: {
        "videoId": VIDEO,
        "targetLength": 20,
        "minMoment": 1,
        "maxMoment": 5,
        "motion": 1,
        "loudness": 0,
        "outputPath": "highlights/a.mp4",
    },
    JobType.TAG_GENERATION: {
        "videoId": VIDEO,
        "minScore": 0.5,
        "maxTags": 5,
        "labels": ["a beach", "a birthday cake"],
        "apply": False,
    },
    JobType.SCENE_EXTRACT: {
        "videoId": VIDEO,
        "similarity": 0.8,
        "minSceneLength": 4,
        "exports": ["otio"],
        "files": "exact",
    },
    JobType.COMPILE_GIF: {
        "videoId": VIDEO,
        "start": 12.5,
        "duration": 60,
        "width": 320,
        "fps": 10,
        "format": "webp",
        "loop": 1,
        "maxBytes": 1_000_000,
        "outputPath": "gifs/a.webp",
    },
    JobType.MOVE_TO_LIBRARY: {
        "videoId": VIDEO,
        "directoryType": "studios",
        "subdirectory": "A/B",
        "filename": "new name.mp4",
        "onCollision": "fail",
    },
    JobType.TRANSCODE: {
        "videoId": VIDEO,
        "inputPath": "inbox/original.mp4",
        "policy": {"target_video_codec": "av1", "audio_downmix": "5.1", "skip_if": {"bitrate_under": "2M"}},
        "force": True,
    },
    JobType.LIBRARY_REPORT: {"days": 365, "duplicates": False},
}

TYPES = list(params.MODELS)


def problems(kind: JobType, raw: Any) -> dict[str, str]:
    with pytest.raises(InvalidJob) as refused:
        params.parse(kind, raw)
    return {problem.field: problem.problem for problem in refused.value.problems}


@pytest.mark.parametrize("kind", TYPES)
def test_the_least_params_of_every_type_stand_here_and_the_most(kind: JobType) -> None:
    assert kind in LEAST, f"{kind} is not in LEAST"
    assert kind in FULL, f"{kind} is not in FULL"


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_has_defaults(kind: JobType) -> None:
    raw, defaults = LEAST[kind]
    parsed = params.parse(kind, raw)
    assert {name: getattr(parsed, name) for name in defaults} == defaults


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("of", ["least", "full"])
def test_every_model_round_trips_through_json(kind: JobType, of: str) -> None:
    parsed = params.parse(kind, LEAST[kind][0] if of == "least" else FULL[kind])
    stored = json.dumps(parsed.model_dump(mode="json", by_alias=True, exclude_none=True))
    assert params.parse(kind, json.loads(stored)) == parsed


@pytest.mark.parametrize("kind", TYPES)
def test_every_field_is_camel_case_in_json(kind: JobType) -> None:
    for name, field in params.MODELS[kind].model_fields.items():
        assert field.alias is not None
        assert "_" not in field.alias
        if "_" in name:
            assert problems(kind, {**LEAST[kind][0], name: None})[f"params.{name}"] == "unknown parameter"


@pytest.mark.parametrize(
    ("qualities", "message"),
    [
        ({"targetVmaf": 95, "targetXpsnr": 40}, "targetVmaf and targetXpsnr exclude each other"),
        ({"crf": 20, "targetVmaf": 95}, "crf and targetVmaf exclude each other"),
    ],
)
def test_one_quality_is_asked_for(qualities: dict[str, Any], message: str) -> None:
    found = problems(JobType.REENCODE_STREAMING, {"videoId": VIDEO, **qualities})
    assert message in found["params"]


def test_the_default_crf_that_a_row_stores_is_no_second_quality() -> None:
    raw = {"videoId": VIDEO, "crf": 23, "targetVmaf": 95}
    assert params.parse(JobType.REENCODE_STREAMING, raw) is not None


@pytest.mark.parametrize("kind", TYPES)
def test_a_schema_names_limits_as_json_schema_does(kind: JobType) -> None:
    text = json.dumps(params.MODELS[kind].model_json_schema(by_alias=True))
    assert not [name for name in ("ge", "le", "gt", "lt") if f'"{name}": ' in text]


@pytest.mark.parametrize("kind", TYPES)
def test_an_unknown_parameter_is_named(kind: JobType) -> None:
    assert problems(kind, {**LEAST[kind][0], "crff": 1}) == {"params.crff": "unknown parameter"}


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(
    ("raw", "got"),
    [(None, "null"), ([], "an array"), ("x", "a string"), (3, "a number"), (1.5, "a number"), (True, "a boolean")],
)
def test_params_must_be_an_object(kind: JobType, raw: Any, got: str) -> None:
    assert problems(kind, raw) == {"params": f"must be a JSON object, got {got}"}


@pytest.mark.parametrize(
    ("kind", "name", "bad", "message"),
    [
        (JobType.REENCODE_STREAMING, "crf", 52, "Input should be less than or equal to 51 (got '52')"),
        (JobType.REENCODE_STREAMING, "crf", -1, "Input should be greater than or equal to 0 (got '-1')"),
        (JobType.REENCODE_STREAMING, "crf", True, "must be a number, got true"),
        (JobType.REENCODE_STREAMING, "crf", None, "Input should be a valid integer (got 'None')"),
        (JobType.REENCODE_STREAMING, "crf", 23.5, "valid integer"),
        (JobType.REENCODE_STREAMING, "targetBitrate", 99, "greater than or equal to 100"),
        (JobType.REENCODE_STREAMING, "targetBitrate", 200_001, "less than or equal to 200000"),
        (JobType.REENCODE_STREAMING, "preset", "placebo", "'veryslow' (got 'placebo')"),
        (JobType.REENCODE_STREAMING, "preset", ["fast"], "'veryslow' (got \"['fast']\")"),
        (JobType.REENCODE_STREAMING, "outputPath", "playback/a.mkv", "must end in .mp4"),
        (JobType.REENCODE_STREAMING, "videoId", "7", "valid UUID"),
        (JobType.VALIDATE, "videoId", None, "UUID input should be"),
        (JobType.THUMBNAIL_GENERATE, "width", 15, "greater than or equal to 16"),
        (JobType.THUMBNAIL_GENERATE, "width", 7681, "less than or equal to 7680"),
        (JobType.THUMBNAIL_GENERATE, "timestamp", -1, "greater than or equal to 0"),
        (JobType.THUMBNAIL_GENERATE, "timestamp", float("nan"), "greater than or equal to 0 (got 'nan')"),
        (JobType.THUMBNAIL_GENERATE, "timestamp", False, "must be a number, got false"),
        (JobType.COMPILE_RANDOM, "count", 0, "greater than or equal to 1"),
        (JobType.COMPILE_RANDOM, "count", 1001, "less than or equal to 1000"),
        (JobType.COMPILE_RANDOM, "count", "9" * 5000, "exceeded maximum size"),
        (JobType.COMPILE_RANDOM, "orientation", "diagonal", "'landscape', 'portrait' or 'square' (got 'diagonal')"),
        (JobType.COMPILE_RANDOM, "seed", -1, "greater than or equal to 0"),
        (JobType.COMPILE_RANDOM, "maxDuration", 1e9, "less than or equal to 1000000"),
        (JobType.COMPILE_RANDOM, "tags", [], "at least 1 item"),
        (JobType.COMPILE_QUAD, "videoIds", [VIDEO] * 3, "at least 4 items"),
        (JobType.COMPILE_QUAD, "videoIds", [VIDEO] * 5, "at most 4 items"),
        (JobType.COMPILE_QUAD, "width", 1922, "must be a multiple of 4, got 1922"),
        (JobType.COMPILE_QUAD, "height", 60, "greater than or equal to 64"),
        (JobType.COMPILE_QUAD, "fps", 61, "less than or equal to 60"),
        (JobType.COMPILE_QUAD, "audio", "5", "'4' or 'none' (got '5')"),
        (JobType.COMPILE_QUAD, "length", "half", "'shortest', 'longest' or 'loop'"),
        (JobType.COMPILE_MEGA, "count", 1001, "less than or equal to 1000"),
        (JobType.COMPILE_MEGA, "crossfade", 10.5, "less than or equal to 10"),
        (JobType.COMPILE_MEGA, "titleCards", 31, "less than or equal to 30"),
        (JobType.COMPILE_MEGA, "loudness", 0, "less than or equal to -5"),
        (JobType.COMPILE_MEGA, "videoIds", [], "at least 1 item"),
        (JobType.COMPILE_GIF, "duration", 0, "greater than 0"),
        (JobType.COMPILE_GIF, "duration", 61, "less than or equal to 60"),
        (JobType.COMPILE_GIF, "fps", 31, "less than or equal to 30"),
        (JobType.COMPILE_GIF, "width", 1921, "less than or equal to 1920"),
        (JobType.COMPILE_GIF, "format", "png", "'gif' or 'webp'"),
        (JobType.COMPILE_GIF, "maxBytes", 9_999, "greater than or equal to 10000"),
        (JobType.MOVE_TO_LIBRARY, "subdirectory", ".hidden", "folder that begins with a dot"),
        (JobType.MOVE_TO_LIBRARY, "subdirectory", "a/.b/c", "folder that begins with a dot"),
        (JobType.SCAN, "directoryType", "../etc", "should match pattern"),
        (JobType.SCAN, "directoryType", "videos\n", "should match pattern"),
        (JobType.SCAN, "directoryType", "", "at least 1 character"),
        (JobType.SCAN, "skipExisting", "perhaps", "valid boolean"),
        (JobType.PUBLIC_SCAN, "directoryType", "a/b", "should match pattern"),
        (JobType.TRANSCODE, "policy", {}, "says nothing that is to be done"),
        (JobType.TRANSCODE, "policy", None, "valid dictionary"),
        (JobType.TRANSCODE, "force", "perhaps", "valid boolean"),
        (JobType.LIBRARY_REPORT, "days", 6, "greater than or equal to 7"),
        (JobType.LIBRARY_REPORT, "days", 3651, "less than or equal to 3650"),
        (JobType.LIBRARY_REPORT, "days", True, "must be a number"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(kind: JobType, name: str, bad: Any, message: str) -> None:
    found = problems(kind, {**LEAST[kind][0], name: bad})
    assert list(found) == [f"params.{name}"]
    assert message in found[f"params.{name}"]


def test_every_bad_field_is_named_at_once() -> None:
    bad = {"videoId": "x", "crf": 99, "preset": "warp", "speed": 2}
    expected = ["params.videoId", "params.crf", "params.preset", "params.speed"]
    assert sorted(problems(JobType.REENCODE_STREAMING, bad)) == sorted(expected)


@pytest.mark.parametrize("kind", [JobType.VALIDATE, JobType.THUMBNAIL_GENERATE, JobType.COMPILE_GIF])
def test_a_job_about_one_video_must_name_it(kind: JobType) -> None:
    assert problems(kind, {}) == {"params.videoId": "Field required"}


def test_a_reencode_must_name_its_source() -> None:
    assert problems(JobType.REENCODE_STREAMING, {}) == {"params": "videoId or inputPath is required"}


@pytest.mark.parametrize("kind", [JobType.COMPILE_RANDOM, JobType.COMPILE_QUAD, JobType.COMPILE_MEGA])
def test_durations_must_be_in_order(kind: JobType) -> None:
    found = problems(kind, {"minDuration": 10, "maxDuration": 9})
    assert found == {"params": "minDuration must not exceed maxDuration"}


@pytest.mark.parametrize(
    ("kind", "also"),
    [
        (JobType.COMPILE_QUAD, {"seed": 1, "tags": ["x"]}),
        (JobType.COMPILE_MEGA, {"minDuration": 1, "directoryType": "gifs"}),
        (JobType.COMPILE_MEGA, {"count": 3}),
    ],
)
def test_criteria_beside_named_videos_would_have_no_effect_and_are_refused(kind: JobType, also: dict[str, Any]) -> None:
    found = problems(kind, {"videoIds": [VIDEO] * 4, **also})
    assert list(found) == ["params"]
    assert all(name in found["params"] for name in also)


@pytest.mark.parametrize(("format", "path"), [("gif", "gifs/a.webp"), ("webp", "gifs/a.gif"), ("gif", "gifs/gif")])
def test_an_animation_is_named_for_its_format(format: str, path: str) -> None:
    found = problems(JobType.COMPILE_GIF, {"videoId": VIDEO, "format": format, "outputPath": path})
    assert found == {"params": f"outputPath must end in .{format}"}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "at least 1 character"),
        ("/etc/passwd", "must be relative to the library root, not absolute"),
        ("..", "must stay inside the library root"),
        ("inbox/../../etc", "must stay inside the library root"),
        ("inbox/..", "must stay inside the library root"),
        (".", "must name something below the library root"),
        ("./.", "must name something below the library root"),
        ("a\0b", "must not contain a NUL character"),
        ("a\ud800b", "unable to parse raw data as a unicode string"),
        ("a" * 256, "is too long"),
        ("é" * 128, "is too long"),
        ("a/" * 2049, "is too long"),
        (7, "valid string"),
    ],
)
def test_a_path_that_leads_outside_or_cannot_exist_is_refused(path: Any, message: str) -> None:
    found = problems(JobType.SCAN, {"path": path})
    assert list(found) == ["params.path"]
    assert message.lower() in found["params.path"].lower()


@pytest.mark.parametrize(
    ("path", "same"),
    [
        ("inbox/a b é.mp4", "inbox/a b é.mp4"),
        ("inbox//a.mp4", "inbox/a.mp4"),
        ("./inbox/./a.mp4", "inbox/a.mp4"),
        ("inbox/folder/", "inbox/folder"),
        ("a..b/...mp4", "a..b/...mp4"),
        ("-y", "-y"),
        ("é" * 127, "é" * 127),
    ],
)
def test_a_path_is_written_in_one_way(path: str, same: str) -> None:
    parsed = params.parse(JobType.SCAN, {"path": path})
    assert isinstance(parsed, params.Scan)
    assert parsed.path == same


@pytest.mark.parametrize(
    ("raw", "field", "message"),
    [
        ({"paths": []}, "params.paths", "at least 1 item"),
        ({"paths": ["a"] * 501}, "params.paths", "at most 500 items"),
        ({"paths": "a.mp4"}, "params.paths", "valid list"),
        ({"paths": ["a", "../b"]}, "params.paths.1", "inside the library root"),
        ({"paths": ["/etc/passwd"]}, "params.paths.0", "not absolute"),
        ({"paths": ["a"], "path": "b"}, "params", "exclude each other"),
    ],
)
def test_listed_files_are_few_and_inside_the_library(raw: dict[str, Any], field: str, message: str) -> None:
    found = problems(JobType.SCAN, raw)
    assert list(found) == [field]
    assert message in found[field]


@pytest.mark.parametrize(
    ("raw", "directory"),
    [
        ({}, "library/videos"),
        ({"path": "inbox/a.mp4"}, "inbox/a.mp4"),
        ({"paths": ["inbox/a.mp4"]}, "inbox"),
        ({"paths": ["library/videos/x/a.mp4", "library/videos/xy/b.mp4"]}, "library/videos"),
        ({"paths": ["inbox/a.mp4", "library/b.mp4"]}, "."),
        ({"paths": ["a.mp4"]}, "."),
    ],
)
def test_a_scan_says_which_directory_it_looks_through(raw: dict[str, Any], directory: str) -> None:
    assert params.Scan.model_validate(raw).directory == directory


def test_an_unknown_name_with_unstorable_text_is_named_storably() -> None:
    (field,) = problems(JobType.SCAN, {"a\0" + "b" * 500: 1})
    assert field == "params.a\N{REPLACEMENT CHARACTER}" + "b" * 78


@pytest.mark.parametrize("name", ["", "SCAN", "scan ", "compilation", "a\ud800\0"])
def test_an_unknown_type_is_refused_with_those_that_can_run(name: str) -> None:
    with pytest.raises(InvalidJob, match=r"unknown job type .*; known: .*reencode_streaming") as refused:
        params.job_type(name)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("kind", list(JobType))
def test_every_type_has_a_model_and_is_found_by_its_name(kind: JobType) -> None:
    assert kind in params.MODELS
    assert params.job_type(kind.value) is kind


def test_a_job_about_a_video_names_it() -> None:
    named = {kind for kind in TYPES if params.parse(kind, LEAST[kind][0]).video_ids() == (UUID(VIDEO),)}
    assert named == {kind for kind in TYPES if "videoId" in LEAST[kind][0]}
    assert JobType.VALIDATE in named


def test_a_job_about_named_videos_names_them_all() -> None:
    for kind in (JobType.COMPILE_QUAD, JobType.COMPILE_MEGA):
        assert params.parse(kind, {"videoIds": [VIDEO] * 4}).video_ids() == (UUID(VIDEO),) * 4


@pytest.mark.parametrize(
    ("kind", "one", "other", "same"),
    [
        (JobType.SCAN, {}, {"directoryType": "videos"}, True),
        (JobType.SCAN, {}, {"path": "library//videos/"}, True),
        (JobType.SCAN, {}, {"skipExisting": False}, False),
        (JobType.SCAN, {"paths": ["a/1.mp4", "b"]}, {"paths": ["b", "a//1.mp4", "b"]}, True),
        (JobType.SCAN, {"paths": ["a", "b"]}, {"paths": ["a", "c"]}, False),
        (JobType.SCAN, {"paths": ["a/1.mp4"]}, {"path": "a/1.mp4"}, True),
        (JobType.PUBLIC_SCAN, {"paths": ["a", "b"]}, {}, False),
        (JobType.REENCODE_STREAMING, {"outputPath": "p/a.mp4"}, {"outputPath": "p/./a.mp4", "crf": 9}, True),
        (JobType.REENCODE_STREAMING, {"outputPath": "p/a.mp4"}, {"outputPath": "p/b.mp4"}, False),
        (JobType.COMPILE_RANDOM, {"outputPath": "c/a.mp4"}, {"outputPath": "c//a.mp4", "count": 2}, True),
        (JobType.VALIDATE, {}, {}, True),
        (JobType.THUMBNAIL_GENERATE, {"width": 100}, {"width": 200}, True),
    ],
)
def test_what_does_the_same_has_the_same_unique_key(
    kind: JobType, one: dict[str, Any], other: dict[str, Any], same: bool
) -> None:
    least = LEAST[kind][0]
    keys = [params.parse(kind, {**least, **raw}).unique_key() for raw in (one, other)]
    assert None not in keys
    assert (keys[0] == keys[1]) is same


def test_any_number_of_compilations_without_an_output_may_live() -> None:
    assert params.parse(JobType.COMPILE_RANDOM, {}).unique_key() is None
