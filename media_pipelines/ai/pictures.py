"""Small pictures of a frame: what models, measures and people are shown of it."""

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from media_pipelines.ai.decoding import Picture

# What TransNetV2 looks at; the classical measures share it.
TINY = (48, 27)
THUMBNAIL_WIDTH = 320
_JPEG_QUALITY = 82


class Scaler:
    """Frames of one film as arrays, upright and with square pixels."""

    def __init__(self, rotation: int, width: int, height: int) -> None:
        from av.video.reformatter import VideoReformatter

        # One for each size: each remembers its last conversion.
        self._reformatters: dict[tuple[int, int, str], VideoReformatter] = {}
        self._rotation = rotation
        self._shape = (width, height)

    def tiny(self, frame: Any) -> "Picture":
        """RGB of (27, 48, 3), whatever the film's proportions."""
        return self._scaled(frame, *TINY, "rgb24")

    def grey(self, frame: Any, long_side: int) -> "Picture":
        return self._scaled(frame, *self._within(long_side), "gray")

    def rgb(self, frame: Any, long_side: int) -> "Picture":
        return self._scaled(frame, *self._within(long_side), "rgb24")

    def square(self, frame: Any, side: int) -> "Picture":
        """RGB, whatever the film's proportions."""
        return self._scaled(frame, side, side, "rgb24")

    def square_grey(self, frame: Any, side: int) -> "Picture":
        return self._scaled(frame, side, side, "gray")

    def thumbnail(self, frame: Any) -> "Picture":
        width, height = self._shape
        scale = min(1.0, THUMBNAIL_WIDTH / width, 2 * THUMBNAIL_WIDTH / height)
        return self._scaled(frame, max(2, round(width * scale)), max(2, round(height * scale)), "rgb24")

    def _within(self, long_side: int) -> tuple[int, int]:
        width, height = self._shape
        scale = min(1.0, long_side / max(width, height))
        return max(2, round(width * scale)), max(2, round(height * scale))

    def _scaled(self, frame: Any, width: int, height: int, pixels: str) -> "Picture":
        import numpy as np
        from av.video.reformatter import VideoReformatter

        turned = self._rotation in (90, 270)
        stored = (height, width) if turned else (width, height)
        reformatter = self._reformatters.setdefault((*stored, pixels), VideoReformatter())
        scaled = reformatter.reformat(frame, *stored, format=pixels, interpolation="AREA")
        return np.ascontiguousarray(np.rot90(scaled.to_ndarray(), -(self._rotation // 90)))


def jpeg(picture: "Picture") -> bytes:
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(picture).save(content, "JPEG", quality=_JPEG_QUALITY)
    return content.getvalue()


def from_jpeg(content: bytes) -> "Picture":
    import numpy as np
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def resized(picture: "Picture", width: int, height: int) -> "Picture":
    """Averaged down or interpolated up, ignoring proportions."""
    import numpy as np
    from PIL import Image

    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX, reducing_gap=2.0))
