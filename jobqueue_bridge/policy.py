"""A transcode policy: what the files of a folder should be like. Read from VPO's YAML or from a job's params, checked,
and brought into one form. Knows no database and no video."""

import difflib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from jobqueue_bridge.errors import InvalidPolicy, PolicyProblem

SCHEMA_VERSION = 2
# Part of the hash: raise it when a policy comes to mean something else, so that old outcomes no longer count.
_RULES = 1
_FILE_MAX_BYTES = 1_000_000
_DEEPEST = 10
_ALIASES = {
    "h265": "hevc", "h.265": "hevc", "x265": "hevc",
    "h.264": "h264", "x264": "h264", "avc": "h264",
    "libsvtav1": "av1", "libvpx-vp9": "vp9",
}  # fmt: skip
_VIDEO_CODECS = frozenset(
    {"h264", "hevc", "vp9", "av1", "vp8", "vvc", "mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v2", "msmpeg4v3", "h263"}
    | {"vc1", "wmv1", "wmv2", "wmv3", "theora", "prores", "dnxhd", "mjpeg", "dvvideo", "flv1", "rv40", "ffv1", "svq3"}
)
_AUDIO_CODECS = frozenset(
    {"truehd", "mlp", "dts", "dts-hd", "flac", "alac", "ac3", "eac3", "ac4", "aac", "opus", "vorbis", "mp3", "mp2"}
    | {"wmav1", "wmav2", "wmapro", "wmalossless", "ape", "wavpack", "tta", "amr_nb", "amr_wb", "cook", "speex", "pcm"}
)
# Of names that are equally near to a misspelt one, the first of these is meant.
_COMMON = ("h264", "hevc", "vp9", "av1", "aac", "ac3", "eac3", "opus", "mp3", "flac")
_NEAR = 0.6
_PCM = re.compile(r"(ad)?pcm_(\w+|\*)")
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([km]?)(?:bit/s|bps|bits?)?", re.IGNORECASE)
# Long side and short side, in pixels.
RESOLUTIONS: Mapping[str, tuple[int, int]] = {
    "480p": (854, 480),
    "720p": (1280, 720),
    "1080p": (1920, 1080),
    "1440p": (2560, 1440),
    "4k": (3840, 2160),
    "8k": (7680, 4320),
}
# What each codec's software encoder is commonly given (field notes of this project); its scale ends at MAX_CRF.
DEFAULT_CRF: Mapping[str, int] = {"h264": 23, "hevc": 28, "vp9": 31, "av1": 30}
MAX_CRF: Mapping[str, int] = {"h264": 51, "hevc": 51, "vp9": 63, "av1": 63}
DEFAULT_AUDIO_KBPS_PER_CHANNEL = 96
PLACEHOLDERS = ("title", "year", "series", "season", "episode", "resolution", "codec", "source")


def _video_name(value: Any) -> Any:
    return _ALIASES.get(value.strip().lower(), value.strip().lower()) if isinstance(value, str) else value


def _known_video(name: str) -> str:
    return _known(name, _VIDEO_CODECS, "video codec")


def _known_audio(name: str) -> str:
    return name if _PCM.fullmatch(name) else _known(name, _AUDIO_CODECS, "audio codec")


def _known(name: str, names: frozenset[str], what: str) -> str:
    if name not in names:
        common_first = [*(common for common in _COMMON if common in names), *sorted(names)]
        raise ValueError(f"no {what} is named {name!r}{_nearest(name, common_first)}")
    return name


def _nearest(name: str, names: Sequence[str]) -> str:
    """The nearest name that is near enough; of equally near ones the first."""
    likeness = {other: difflib.SequenceMatcher(None, other, name).ratio() for other in names}
    best = max(likeness, key=likeness.__getitem__, default=None)
    return f"; did you mean {best}?" if best is not None and likeness[best] >= _NEAR else ""


def _listed(example: str) -> BeforeValidator:
    def a_list(value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise ValueError(f"must be a list, such as [{example}]")
        return value

    return BeforeValidator(a_list)


def _in_order(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))


def _lower(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


def _rate(value: Any) -> str:
    """ "5M", "2500k", 2500000 → "5000k", "2500k", "2500k": kbit/s, one spelling for one rate."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f'must be a bit rate such as "5M" or "2500k", got {value!r}')
    match = _RATE.fullmatch(str(value).strip())
    if match is None:
        raise ValueError(f'must be a bit rate such as "5M" or "2500k", got {value!r}')
    number, unit = float(match[1]), match[2].lower()
    kbps = number * {"m": 1000, "k": 1, "": 0.001}[unit]
    if 0 < kbps < 8:
        raise ValueError(f'{value} is {kbps * 1000:g} bit/s: is "{match[1]}k" meant?')
    if kbps > 2_000_000:
        raise ValueError(f"{value} is more than 2000M")
    return f"{round(kbps)}k"


def _not_zero(rate: str) -> str:
    if rate == "0k":
        raise ValueError("must be above 0")
    return rate


def kbps(rate: str) -> int:
    """ "5000k" → 5000."""
    return int(rate.removesuffix("k"))


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"must be a number, got {str(value).lower()}")
    return value


def _downmix(value: Any) -> Any:
    """YAML reads 5.1 without quotes as a number."""
    return "5.1" if isinstance(value, float) and value == 5.1 else _lower(value)


def _below_the_library(template: str) -> str:
    if template.startswith("/"):
        raise ValueError("must be relative to the library root, not absolute")
    if ".." in PurePosixPath(template).parts:
        raise ValueError("must stay inside the library root ('..' is not allowed)")
    if not template.strip("/. ") or not template.isprintable():
        raise ValueError("must name a folder below the library root")
    for name in re.findall(r"\{([^{}]*)\}", template):
        if name not in PLACEHOLDERS:
            allowed = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
            raise ValueError(f"there is no placeholder {{{name}}}{_nearest(name, PLACEHOLDERS)} (allowed: {allowed})")
    if re.search(r"[{}]", re.sub(r"\{[^{}]*\}", "", template)):
        raise ValueError("has a brace without its partner")
    return template.strip("/")


def _folder_name(name: str) -> str:
    if "/" in name or not name.strip(". ") or not name.isprintable():
        raise ValueError("must be the name of a folder")
    return name


VideoCodec = Annotated[Literal["h264", "hevc", "vp9", "av1"], BeforeValidator(_video_name)]
VideoName = Annotated[str, BeforeValidator(_video_name), AfterValidator(_known_video)]
AudioName = Annotated[str, BeforeValidator(_lower), AfterValidator(_known_audio)]
VideoNames = Annotated[tuple[VideoName, ...], _listed("hevc"), AfterValidator(_in_order)]
AudioNames = Annotated[tuple[AudioName, ...], _listed("aac"), AfterValidator(_in_order)]
AudioCodec = Annotated[Literal["aac", "ac3", "eac3", "opus", "mp3", "flac"], BeforeValidator(_lower)]
Resolution = Annotated[Literal["480p", "720p", "1080p", "1440p", "4k", "8k"], BeforeValidator(_lower)]
RateOrZero = Annotated[str, BeforeValidator(_rate)]
Rate = Annotated[str, BeforeValidator(_rate), AfterValidator(_not_zero)]
Pixels = Annotated[int, Field(ge=16, le=16_384), BeforeValidator(_no_boolean)]
Crf = Annotated[int, Field(ge=0, le=63), BeforeValidator(_no_boolean)]
Percent = Annotated[int, Field(ge=1, le=1000), BeforeValidator(_no_boolean)]
Score = Annotated[float, Field(ge=1, le=100, allow_inf_nan=False), BeforeValidator(_no_boolean)]
Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"]
FolderName = Annotated[str, Field(max_length=100), AfterValidator(_folder_name)]
Template = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_below_the_library)]


class _Rules(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SkipIf(_Rules):
    """Files for which all of these hold are left as they are. What is not said, holds."""

    codec_matches: VideoNames = Field(default=(), description="The video is in one of these codecs.")
    resolution_within: Resolution | None = Field(default=None, description="The picture is no larger than that.")
    bitrate_under: Rate | None = Field(default=None, description="The whole file's bit rate is lower.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self == SkipIf.model_construct():
            raise ValueError("says nothing: give codec_matches, resolution_within or bitrate_under")
        return self


class Policy(_Rules):
    """What stands under `transcode:` in a policy file; keys and meaning are VPO's, and a few more."""

    target_video_codec: VideoCodec | None = Field(default=None, description="None: the codec is no reason to encode.")
    target_crf: Crf | None = Field(
        default=None, description="0 (best) to 51, with vp9 or av1 as target to 63. Default: 23, 28, 31, 30."
    )
    target_bitrate: Rate | None = Field(default=None, description='Of the video, "5M" or "2500k"; goes before the CRF.')
    target_vmaf: Score | None = Field(default=None, description="The CRF that reaches it is searched.")
    target_xpsnr: Score | None = Field(default=None, description="The same by XPSNR, in dB.")
    min_vmaf: Score | None = Field(
        default=None, description="Samples of the result must look that much like the source."
    )
    preset: Preset = Field(default="medium", description="The slower, the smaller.")
    max_resolution: Resolution | None = Field(default=None, description="Larger pictures are made smaller.")
    max_width: Pixels | None = Field(default=None, description="In pixels, as displayed. Nothing is made larger.")
    max_height: Pixels | None = Field(default=None, description="In pixels, as displayed. Nothing is made larger.")
    audio_preserve_codecs: AudioNames = Field(default=(), description="Tracks in these are copied.")
    audio_transcode_to: AudioCodec | None = Field(
        default=None, description="What other tracks become: aac, unless nothing is said on audio; then all are copied."
    )
    audio_transcode_bitrate: RateOrZero | None = Field(
        default=None, description="Per track; default: 192k for stereo, and as much more for more channels."
    )
    audio_downmix: Annotated[Literal["stereo", "5.1"], BeforeValidator(_downmix)] | None = Field(
        default=None, description="One more track, where there is none of that kind."
    )
    container: Literal["mkv", "mp4"] | None = Field(default=None, description="None: that of the source, else mkv.")
    max_size_percent: Percent = Field(
        default=100, description="Of the source's size; a result above it counts as larger."
    )
    on_larger: Literal["keep-original", "keep-result"] = Field(
        default="keep-original", description="What stays where the result is larger than max_size_percent allows."
    )
    destination: Template | None = Field(default=None, description="A folder; None: in the place of the original.")
    destination_fallback: FolderName = Field(default="Unknown", description="Stands for what the name does not say.")
    skip_if: SkipIf | None = Field(default=None, description="Files that are like this are left as they are.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("says nothing that is to be done")
        codec = self.target_video_codec
        limit = MAX_CRF[codec or "h264"]
        if self.target_crf is not None and self.target_crf > limit:
            where = f"for {codec}" if codec else "unless target_video_codec is vp9 or av1"
            raise ValueError(f"target_crf: must be at most {limit} {where}")
        named = [name for name in ("target_vmaf", "target_xpsnr") if getattr(self, name) is not None]
        if self.audio_transcode_bitrate == "0k" and self.audio_codec != "flac":
            raise ValueError("audio_transcode_bitrate: 0 is for flac only")
        if len(named) == 2 or (named and (self.target_crf is not None or self.target_bitrate is not None)):
            raise ValueError(f"{named[0]}: give one of target_crf, target_bitrate, target_vmaf and target_xpsnr only")
        return self

    @property
    def audio_codec(self) -> str | None:
        """What tracks that are not preserved become; None: the policy says nothing on audio, all are copied."""
        said = self.audio_preserve_codecs or self.audio_transcode_bitrate is not None
        return self.audio_transcode_to or ("aac" if said else None)

    @property
    def crf(self) -> int | None:
        """The CRF in effect for the target codec; None: something else says the quality, or no codec is named."""
        other = (self.target_bitrate, self.target_vmaf, self.target_xpsnr)
        if any(value is not None for value in other):
            return None
        return self.target_crf if self.target_crf is not None else DEFAULT_CRF.get(self.target_video_codec or "")

    def effective(self) -> dict[str, Any]:
        """Every key with the value that counts, defaults filled in, as JSON."""
        values = self.model_dump(mode="json")
        return {**values, "target_crf": self.crf, "audio_transcode_to": self.audio_codec}

    def overridden(self, **changes: Any) -> "Policy":
        """With the command line's values, which go before the file's. Raises InvalidPolicy."""
        given = {name: value for name, value in changes.items() if value is not None}
        if not given:
            return self
        values = self.model_dump(mode="json", exclude_unset=True)
        if {"target_crf", "target_bitrate"} & set(given):
            for quality in ("target_crf", "target_bitrate", "target_vmaf", "target_xpsnr"):
                values.pop(quality, None)
        try:
            return Policy.model_validate({**values, **given})
        except ValidationError as error:
            raise InvalidPolicy([PolicyProblem(None, *_said(item)) for item in error.errors()]) from error


def policy_hash(policy: Policy) -> str:
    """The same for policies that mean the same, however they are written."""
    canonical = json.dumps([_RULES, policy.effective()], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def load_policy(path: Path) -> Policy:
    """Read a policy file. Raises InvalidPolicy that names file, line and key of everything that is wrong."""
    text = _text(path)
    try:
        _refuse_tricks(path, text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        duplicates = list(_duplicates(root)) if root is not None else []
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidPolicy([_no_yaml(path, error)]) from error
    except ValueError as error:  # a date that no calendar has
        raise InvalidPolicy([PolicyProblem(str(path), "", f"is no plain YAML: {error}")]) from error
    if duplicates:
        raise InvalidPolicy([_at(path, root, where, "stands there twice") for where in duplicates])
    try:
        return _File.model_validate(content).transcode
    except ValidationError as error:
        raise InvalidPolicy([_at(path, root, *_located(item)) for item in error.errors()]) from error


class _File(_Rules):
    transcode: Policy
    schema_version: Annotated[int, BeforeValidator(_no_boolean)] = SCHEMA_VERSION

    @model_validator(mode="before")
    @classmethod
    def _is_a_policy(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            raise ValueError("must be a policy: schema_version and transcode, with keys below it")
        if "transcode" not in content:
            near = difflib.get_close_matches("transcode", list(map(str, content)), n=1)
            raise ValueError(f"lacks the key transcode{f' (is {near[0]} meant for it?)' if near else ''}")
        return content

    @model_validator(mode="after")
    def _of_a_known_version(self) -> Self:
        if self.schema_version != SCHEMA_VERSION:
            raise ValueError(f"schema_version: must be {SCHEMA_VERSION}, got {self.schema_version}")
        return self


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _FILE_MAX_BYTES:
            raise InvalidPolicy([PolicyProblem(str(path), "", "is too large for a policy")])
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InvalidPolicy([PolicyProblem(str(path), "", error.strerror or str(error))]) from error
    except UnicodeDecodeError as error:
        raise InvalidPolicy([PolicyProblem(str(path), "", "is not text in UTF-8")]) from error


def _no_yaml(path: Path, error: yaml.YAMLError) -> PolicyProblem:
    mark = getattr(error, "problem_mark", None)
    where = f"{path}:{mark.line + 1}" if mark else str(path)
    return PolicyProblem(where, "", f"is no YAML: {getattr(error, 'problem', None) or error}")


def _refuse_tricks(path: Path, text: str) -> None:
    """A policy needs no aliases, a few lines of which can describe more than a memory holds, and is not deep."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        where = f"{path}:{event.start_mark.line + 1 if event.start_mark else 1}"
        if isinstance(event, yaml.AliasEvent):
            raise InvalidPolicy([PolicyProblem(where, "", f"write it out instead of *{event.anchor}")])
        if depth > _DEEPEST:
            raise InvalidPolicy([PolicyProblem(where, "", "is nested deeper than any policy")])


Location = tuple[str | int, ...]


def _duplicates(node: yaml.Node, above: Location = ()) -> Iterator[Location]:
    """Keys that a mapping has twice: YAML libraries take the last and say nothing."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                yield (*above, key.value)
            seen.add(str(key.value))
            yield from _duplicates(value, (*above, key.value))


def _located(item: Any) -> tuple[Location, str]:
    """Where an error is and what it says; a rule on several keys begins with the key it is about."""
    location: Location = tuple(item["loc"])
    field, message = _said(item)
    known = {str(part) for part in location}
    return (*location, *([field] if field and field not in known else [])), message


def _said(item: Any) -> tuple[str, str]:
    """The key that one of pydantic's errors is about, and what is wrong, in words."""
    location = [str(part) for part in item["loc"]]
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        model = SkipIf if "skip_if" in location else Policy if location[:-1] in ([], ["transcode"]) else None
        names = [*(model or _File).model_fields] if len(location) > 1 or location[0] != "transcode" else []
        return location[-1], f"there is no such key{_nearest(location[-1], names)}"
    if item["type"] == "value_error":
        head, _, rest = message.partition(": ")
        if head in Policy.model_fields or head in _File.model_fields:
            return head, rest
        return location[-1] if location else "", message
    if item["type"] in ("model_type", "dict_type"):
        return location[-1] if location else "", "must have keys and values below it"
    return location[-1] if location else "", f"{message} (got {str(item['input'])[:80]!r})"


def _at(path: Path, root: yaml.Node | None, location: Location, problem: str) -> PolicyProblem:
    line = _line(root, location)
    where = f"{path}:{line}" if line else str(path)
    return PolicyProblem(where, ".".join(map(str, location)), problem)


def _line(node: yaml.Node | None, location: Location) -> int | None:
    """The line, from 1, of the last part of the location that the file has."""
    if node is None:
        return None
    line: int = node.start_mark.line + 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pairs = [(key, value) for key, value in node.value if key.value == str(part)]
            if not pairs:
                break
            line, node = pairs[-1][0].start_mark.line + 1, pairs[-1][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line
