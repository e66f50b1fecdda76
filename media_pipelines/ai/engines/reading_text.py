"""RapidOCR with the weights that its package carries."""

import logging
from typing import TYPE_CHECKING, Any

from media_pipelines.ai.analysis import Engine
from media_pipelines.ai.engines import weights
from media_pipelines.ai.errors import EngineUnavailable

if TYPE_CHECKING:
    from media_pipelines.ai.decoding import Picture

_SURE = 0.5


class RapidText:
    long_side = 960

    def __init__(self, reference: str, threads: int) -> None:
        """Raises EngineUnavailable."""
        carried = weights.of("text", "rapidocr")
        paths = {weight.name.partition("-")[2]: str(weight.checked()) for weight in carried}
        from rapidocr import RapidOCR

        logging.getLogger("RapidOCR").setLevel(logging.WARNING)
        # Named one by one, so that it never fetches another.
        settings: dict[str, Any] = {
            "Global.log_level": "warning",
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "Det.model_path": paths["detection"],
            "Rec.model_path": paths["recognition"],
            "Cls.model_path": paths["orientation"],
        }
        try:
            self._reader = RapidOCR(params=settings)
        except Exception as error:
            raise EngineUnavailable(reference, weights.why_not_loaded(error)) from error
        sha256 = weights.digest("".join(weight.sha256 for weight in carried))
        self.engine = Engine("text", reference, "PP-OCRv6 small", sha256, carried[0].licence, "cpu/onnxruntime")

    def read(self, picture: "Picture") -> list[tuple[str, float]]:
        found = self._reader(picture[:, :, ::-1])
        if found.txts is None:
            return []
        lines = zip(found.txts, found.scores, strict=True)
        return [(str(text).strip(), float(score)) for text, score in lines if score >= _SURE and str(text).strip()]
