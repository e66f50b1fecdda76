"""A picture of a title. Drawn here and not by ffmpeg, so that no text ever becomes part of a filter."""

from pathlib import Path
from typing import Any

_BACKGROUND = (16, 16, 20)
_INK = (240, 240, 240)
# Preferred to Pillow's own font, which knows Latin letters alone.
_FONTS = ("NotoSans-Regular.ttf", "DejaVuSans.ttf", "LiberationSans-Regular.ttf", "Arial.ttf")
_MARGIN = 0.08
_LARGEST, _SMALLEST = 0.11, 0.03
_LINES_AT_MOST = 6
_LETTERS_AT_MOST = 500


def draw(title: str, width: int, height: int, output: Path) -> None:
    """Write a PNG of `width`×`height` with the title in the middle: as large as fits in a few lines, else shortened."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (width, height), _BACKGROUND)
    canvas = ImageDraw.Draw(image)
    text, font = _fitting(canvas, _plain(title), width, height)
    canvas.multiline_text(
        (width / 2, height / 2), text, fill=_INK, font=font, anchor="mm", align="center", spacing=font.size * 0.3
    )
    image.save(output, "PNG")


def _plain(title: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in title[:_LETTERS_AT_MOST]).split()) or "–"


def _fitting(canvas: Any, title: str, width: int, height: int) -> tuple[str, Any]:
    """The largest font in which the title fits, and the title in lines."""
    room = (width * (1 - 2 * _MARGIN), height * (1 - 2 * _MARGIN))
    short = min(width, height)
    size = max(6.0, short * _LARGEST)
    while True:
        font = _font(size)
        lines = _wrapped(canvas, title, font, room[0])
        if len(lines) <= _LINES_AT_MOST and len(lines) * size * 1.4 <= room[1]:
            return "\n".join(lines), font
        if size <= max(6.0, short * _SMALLEST):
            kept = max(1, min(_LINES_AT_MOST, int(room[1] / (size * 1.4))))
            return "\n".join(lines[:kept]), font
        size *= 0.85


def _font(size: float) -> Any:
    from PIL import ImageFont

    for name in _FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)


def _wrapped(canvas: Any, title: str, font: Any, room: float) -> list[str]:
    """By words; a word that is too long for a line is broken."""
    lines = [""]
    for word in title.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if canvas.textlength(longer, font=font) <= room:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if lines[-1] and canvas.textlength(lines[-1] + letter, font=font) > room:
                lines.append("")
            lines[-1] += letter
    return lines
