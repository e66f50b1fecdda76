"""What each job type makes, by the name under which Dagster shows it: for links from a job to there."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from uuid import UUID

from jobqueue_bridge.vocabulary import JobType


@dataclass(frozen=True)
class Product:
    """`partitioned`: it has a partition for each video, or for each job that made one of several videos."""

    asset: str
    partitioned: bool = True

    def path(self, partition: UUID | str) -> str:
        """Of its page in the Dagster UI."""
        return f"assets/{self.asset}" + (f"?view=partitions&partition={partition}" if self.partitioned else "")


PRODUCTS: Mapping[JobType, Product] = MappingProxyType(
    {
        JobType.SCAN: Product("library_scan", partitioned=False),
        JobType.PUBLIC_SCAN: Product("public_gallery_scan", partitioned=False),
        JobType.VALIDATE: Product("video_metadata"),
        JobType.THUMBNAIL_GENERATE: Product("thumbnail"),
        JobType.REENCODE_STREAMING: Product("streaming_rendition"),
        JobType.TRANSCODE: Product("compliant_video"),
        JobType.MOVE_TO_LIBRARY: Product("place_in_library"),
        JobType.COMPILE_GIF: Product("gif"),
        JobType.COMPILE_RANDOM: Product("random_compilation"),
        JobType.COMPILE_QUAD: Product("quad_compilation"),
        JobType.COMPILE_MEGA: Product("mega_compilation"),
        JobType.SCENE_EXTRACT: Product("scenes"),
        JobType.TAG_GENERATION: Product("tags"),
        JobType.HIGHLIGHT_GENERATE: Product("highlights"),
        JobType.CLIP_GENERATE: Product("clips"),
        JobType.DIGEST_GENERATE: Product("digest"),
        JobType.LIBRARY_REPORT: Product("library_report", partitioned=False),
    }
)
TYPE_OF: Mapping[str, JobType] = MappingProxyType({product.asset: kind for kind, product in PRODUCTS.items()})


def product_path(job_type: str, partition: UUID | str) -> str | None:
    """None for a type that another program made up."""
    product = PRODUCTS.get(JobType(job_type)) if job_type in set(JobType) else None
    return product.path(partition) if product else None
