"""Jobs to weigh: ready ones and active ones, by number."""

from collections.abc import Sequence
from uuid import UUID, uuid5

from jobqueue_bridge.admission import ActiveJob, Capacity, Gpu, ReadyJob
from jobqueue_bridge.vocabulary import JobType, ResourceCategory

CPU, ENCODE, AI = ResourceCategory.CPU, ResourceCategory.GPU_ENCODE, ResourceCategory.GPU_AI
ONE_GPU = (Gpu(0, 16),)
CAPACITY = Capacity(slots={CPU: 5, ENCODE: 2, AI: 1}, gpus=ONE_GPU, starvation_s=600)
TYPE_OF = {CPU: JobType.SCAN, ENCODE: JobType.REENCODE_STREAMING, AI: JobType.DIGEST_GENERATE}


def job_id(number: int) -> UUID:
    return uuid5(UUID(int=0), str(number))


def ready(number: int, category: ResourceCategory = CPU, vram_mb: int = 0, waited_s: float = 0) -> ReadyJob:
    return ReadyJob(job_id(number), TYPE_OF[category], category, vram_mb, waited_s)


def active(number: int, category: ResourceCategory = CPU, vram_mb: int = 0, units: Sequence[int] = ()) -> ActiveJob:
    """With nothing said of its units it is a job of which nobody knows on which GPU it is."""
    return ActiveJob(job_id(number), TYPE_OF[category].value, category, vram_mb, tuple(units))
