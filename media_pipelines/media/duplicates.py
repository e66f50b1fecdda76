"""Which videos of a library are the same: in content, or in what they show. Pure; made for 100,000 of them."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from media_pipelines.media import phash

# Equal lengths, as video tools take them: within two seconds or half a percent.
_SECONDS, _SHARE = 2.0, 0.005
# Of 64 bits. Re-encodes of one picture differ in a few, different pictures in about half.
_ALIKE_UP_TO = 8.0
# A hash is cut into three bands of 21 bits. Pictures that are alike have a band in common in some frame, others hardly
# ever do, so that only few pairs are compared.
_BANDS, _BITS = 3, 21
_NEIGHBOURS = 50
# Chance gives two different videos of so many frames one band in common, hardly ever two.
_MANY_FRAMES = 10


class Item(Protocol):
    """What is known of one video."""

    @property
    def path(self) -> str: ...
    @property
    def size_bytes(self) -> int | None: ...
    @property
    def duration_seconds(self) -> float | None: ...
    @property
    def width(self) -> int | None: ...
    @property
    def height(self) -> int | None: ...
    @property
    def bitrate_kbps(self) -> int | None: ...
    @property
    def sha256(self) -> str | None: ...
    @property
    def fingerprint(self) -> str | None: ...
    @property
    def phash(self) -> str | None: ...


@dataclass(frozen=True)
class Group:
    """Videos that are the same, the best first. `proof`: equal digests of the whole content, equal samples of it, or
    pictures that are alike."""

    kind: Literal["identical", "same picture"]
    proof: Literal["sha256", "fingerprint", "phash"]
    members: tuple[Item, ...]

    @property
    def spare_bytes(self) -> int:
        """What all but the best take."""
        return sum(one.size_bytes or 0 for one in self.members[1:])


def groups(items: Sequence[Item]) -> list[Group]:
    """Those with most to spare first. A video is in one group of each kind at most."""
    identical = [*_identical(items)]
    # Of those that are identical the first stands for all, so that a group of pictures names each content once.
    needless = {id(one) for group in identical for one in group.members[1:]}
    pictures = _same_picture([one for one in items if id(one) not in needless])
    return sorted([*identical, *pictures], key=lambda group: (-group.spare_bytes, group.members[0].path))


def _identical(items: Sequence[Item]) -> Iterator[Group]:
    for same in _equal(items, lambda one: one.fingerprint and (one.fingerprint, one.size_bytes)):
        by_digest: dict[str | None, list[Item]] = {}
        for one in same:
            by_digest.setdefault(one.sha256, []).append(one)
        unread = by_digest.pop(None, [])
        if unread or not by_digest:  # a sample cannot tell which of several contents a file has that was not read
            yield Group("identical", "fingerprint", _best_first(same))
            continue
        for members in by_digest.values():
            if len(members) > 1:
                yield Group("identical", "sha256", _best_first(members))


def _equal(items: Iterable[Item], key: Callable[[Item], Hashable]) -> Iterator[list[Item]]:
    found: dict[Hashable, list[Item]] = {}
    for one in items:
        if (value := key(one)) is not None:
            found.setdefault(value, []).append(one)
    return (same for same in found.values() if len(same) > 1)


def _same_picture(items: Sequence[Item]) -> Iterator[Group]:
    hashed = sorted((one for one in items if one.phash and one.duration_seconds), key=_length_s)
    frames = [phash.frames(one.phash or "") for one in hashed]
    leader = list(range(len(hashed)))

    def find(index: int) -> int:
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    for a, b in _candidates(hashed, frames):
        if find(a) != find(b) and phash.distance(frames[a], frames[b]) <= _ALIKE_UP_TO:
            leader[find(b)] = find(a)
    together: dict[int, list[Item]] = {}
    for index, one in enumerate(hashed):
        together.setdefault(find(index), []).append(one)
    return (Group("same picture", "phash", _best_first(same)) for same in together.values() if len(same) > 1)


def _length_s(one: Item) -> float:
    return one.duration_seconds or 0.0


def _candidates(hashed: Sequence[Item], frames: Sequence[list[int]]) -> Iterator[tuple[int, int]]:
    """Pairs, as places in the list (which is sorted by length), of one length and with a band in common. At most 50
    neighbours of each band are looked at: a picture that thousands share, a studio's logo, tells nothing."""
    import numpy as np

    places = np.repeat(np.arange(len(frames)), [len(one) for one in frames])
    if not len(places):
        return
    values = np.array([value for one in frames for value in one], dtype=np.uint64)
    mask = np.uint64(2**_BITS - 1)
    keys = np.concatenate(
        [((values >> np.uint64(band * _BITS)) & mask).astype(np.int64) + (band << _BITS) for band in range(_BANDS)]
    )
    places = np.tile(places, _BANDS)
    order = np.lexsort((places, keys))
    keys, places = keys[order], places[order]
    lengths = np.array([_length_s(one) for one in hashed])
    found = []
    for step in range(1, _NEIGHBOURS + 1):
        a, b = places[:-step], places[step:]
        is_pair = (keys[:-step] == keys[step:]) & (a != b)
        a, b = a[is_pair], b[is_pair]
        if not len(a) and step > _BANDS * 25:
            break
        is_as_long = lengths[b] - lengths[a] <= np.maximum(_SECONDS, _SHARE * lengths[b])
        found.append(a[is_as_long] * len(frames) + b[is_as_long])
    pairs, hits = np.unique(np.concatenate(found), return_counts=True)
    counts = np.array([len(one) for one in frames])
    fewer = np.minimum(counts[pairs // len(frames)], counts[pairs % len(frames)])
    for pair in pairs[(hits > 1) | (fewer < _MANY_FRAMES)]:
        yield divmod(int(pair), len(frames))


def _best_first(members: Iterable[Item]) -> tuple[Item, ...]:
    """The largest picture, then the highest bit rate, then the shortest path."""
    return tuple(
        sorted(
            members,
            key=lambda one: (
                -(one.width or 0) * (one.height or 0),
                -(one.bitrate_kbps or 0),
                len(one.path),
                one.path,
            ),
        )
    )
