"""The little of an MP4's boxes that libav tells only together with a decoded frame."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

# Where the matrix of a header box begins, by its version. Source: ISO/IEC 14496-12, 8.2.2 and 8.3.2.
_MATRIX_AT = {b"mvhd": (36, 48), b"tkhd": (40, 52)}
_UNITY = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_BOXES_AT_MOST = 1_000


def is_upright(path: Path) -> bool:
    """Whether it is certain that no track of the file is turned or mirrored. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        moov = next((box for box in _boxes(descriptor, 0, os.fstat(descriptor).st_size) if box[0] == b"moov"), None)
        return moov is not None and all(_is_unity(descriptor, *box) for box in _headers(descriptor, *moov[1:]))
    finally:
        os.close(descriptor)


def _headers(descriptor: int, start: int, end: int) -> Iterator[tuple[bytes, int]]:
    """mvhd, and the tkhd of each track; one without its own counts as turned."""
    for kind, inner, inner_end in _boxes(descriptor, start, end):
        if kind == b"mvhd":
            yield kind, inner
        if kind == b"trak":
            headers = [box for box in _boxes(descriptor, inner, inner_end) if box[0] == b"tkhd"]
            yield (b"tkhd", headers[0][1]) if headers else (b"tkhd", inner_end)


def _is_unity(descriptor: int, kind: bytes, start: int) -> bool:
    version = os.pread(descriptor, 1, start)
    offset = _MATRIX_AT[kind][version == b"\1"]
    return os.pread(descriptor, len(_UNITY), start + offset) == _UNITY


def _boxes(descriptor: int, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Type, first byte of the content and end of each box of a stretch."""
    for _ in range(_BOXES_AT_MOST):
        header = os.pread(descriptor, 16, start)
        if start >= end or len(header) < 8:
            return
        size, kind = struct.unpack_from(">I4s", header)
        inner = start + 8
        if size == 1 and len(header) == 16:
            size, inner = struct.unpack_from(">Q", header, 8)[0], start + 16
        if size == 0:
            size = end - start
        if size < inner - start:
            return
        yield kind, inner, min(start + size, end)
        start += size
