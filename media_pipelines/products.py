"""Which asset each job type makes: the same word as in `pipelines.py`, for what must not load the definitions."""

from collections.abc import Mapping
from types import MappingProxyType

from jobqueue_bridge.vocabulary import JobType

PRODUCTS: Mapping[JobType, str] = MappingProxyType(
    {
        JobType.SCAN: "library_scan",
        JobType.PUBLIC_SCAN: "public_gallery_scan",
        JobType.VALIDATE: "video_metadata",
        JobType.THUMBNAIL_GENERATE: "thumbnail",
        JobType.REENCODE_STREAMING: "streaming_rendition",
        JobType.COMPILE_RANDOM: "random_compilation",
        JobType.COMPILE_QUAD: "quad_compilation",
        JobType.COMPILE_MEGA: "mega_compilation",
        JobType.COMPILE_GIF: "gif",
        JobType.SCENE_EXTRACT: "scenes",
        JobType.TAG_GENERATION: "tags",
        JobType.HIGHLIGHT_GENERATE: "highlights",
        JobType.CLIP_GENERATE: "clips",
        JobType.DIGEST_GENERATE: "digest",
        JobType.MOVE_TO_LIBRARY: "place_in_library",
        JobType.TRANSCODE: "compliant_video",
    }
)
TYPE_OF: Mapping[str, JobType] = MappingProxyType({asset: kind for kind, asset in PRODUCTS.items()})
