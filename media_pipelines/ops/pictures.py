"""Previews for the Dagster UI: small pictures as data, which it shows without asking anybody."""

import base64
import io
from pathlib import Path

_PREVIEW_PIXELS = 320


def preview(picture: Path) -> str:
    """A small copy as a data URI."""
    from PIL import Image

    with Image.open(picture) as image:
        image.thumbnail((_PREVIEW_PIXELS, _PREVIEW_PIXELS))
        small = io.BytesIO()
        image.convert("RGB").save(small, "JPEG", quality=70)
    return "data:image/jpeg;base64," + base64.b64encode(small.getvalue()).decode()
