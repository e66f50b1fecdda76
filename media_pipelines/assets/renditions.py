"""What is made of one video."""

from typing import Any

from jobqueue_bridge.tables import videos
from jobqueue_bridge.vocabulary import JobType
from media_pipelines.assets.about import OF_THE_VIDEO, product
from media_pipelines.ops.compile_gif import make_gif
from media_pipelines.ops.reencode import encode_rendition, find_source, publish_rendition, verify_rendition
from media_pipelines.ops.thumbnail import take_thumbnail
from media_pipelines.ops.transcode import encode_to_comply, examine_source, publish_result, verify_result
from media_pipelines.ops.validate import validate_video


@product(
    "videos",
    "Streams, sizes and rates of a video that was probed anew and of which frames were decoded; hashes of its "
    "pictures and, where a job asked for it, of its content.",
    made_by=[JobType.VALIDATE],
    lies="on the video's row in the table `videos`. A scan fills in most of it at a glance, without decoding.",
    otherwise="Create a `validate` job. One that failed has found the file broken and marked its row: bring a "
    "good copy, then scan its folder.",
    kinds={"postgres", "table"},
    table=videos,
    of=OF_THE_VIDEO,
)
def video_metadata(library_video: object) -> Any:
    return validate_video(library_video)


@product(
    "videos",
    "A picture of a video, a frame that shows something if there is one; where a job asked for a storyboard, "
    "sheets of small pictures for scrubbing.",
    made_by=[JobType.THUMBNAIL_GENERATE],
    lies="in `thumbnails/<video>.jpg`, the storyboard beside it; the video's row names both.",
    otherwise="Create a `thumbnail_generate` job. It fails where no frame of the file decodes: validate the video.",
    kinds={"file"},
    of=OF_THE_VIDEO,
)
def thumbnail(library_video: object) -> Any:
    return take_thumbnail(library_video)


@product(
    "videos",
    "A video as H.264 and AAC in a fast-start MP4, which any browser plays while it loads, verified against its "
    "source. It is a video of the library itself and names its source.",
    made_by=[JobType.REENCODE_STREAMING],
    lies="in `playback/<name>.mp4`, or where the job was told to put it. The source is never touched.",
    otherwise="Create a `reencode_streaming` job. Its log has ffmpeg's command and its last words; its attempt "
    "says which encoder was used, and why.",
    kinds={"file"},
    of=OF_THE_VIDEO,
)
def streaming_rendition(library_video: object) -> Any:
    return publish_rendition(verify_rendition(encode_rendition(find_source(library_video))))


@product(
    "videos",
    "A video that complies with a policy, because it did already or because it was encoded anew.",
    made_by=[JobType.TRANSCODE],
    lies="in the original's place, the original beside it as `<name>.original`, or at the policy's destination.",
    otherwise="Nothing is missing where no policy is used. A job that failed has left the original as it was; "
    "`media-pipelines restore` brings back one that was replaced.",
    kinds={"file"},
    of=OF_THE_VIDEO,
)
def compliant_video(library_video: object) -> Any:
    return publish_result(verify_result(encode_to_comply(examine_source(library_video))))


@product(
    "videos",
    "A part of a video as an animated picture, every frame of which was decoded.",
    made_by=[JobType.COMPILE_GIF],
    lies="in `gifs/<name>.gif` or `.webp`.",
    otherwise="Create a `compile_gif` job; it says so where no size within `maxBytes` is possible.",
    kinds={"file"},
    of=OF_THE_VIDEO,
)
def gif(library_video: object) -> Any:
    return make_gif(library_video)
