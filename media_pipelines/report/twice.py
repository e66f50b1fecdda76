"""What is there twice, as `media.duplicates` finds it: of rows that may be odd, and of files that may be one."""

import math
import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from jobqueue_bridge.library_report import DuplicateGroup, Duplicates
from jobqueue_bridge.videos import Likeness
from media_pipelines.media import duplicates

# Each has hundreds of characters of hashes, and all are compared at once: some 600 MB.
LOOKED_AT_MOST = 200_000
_GROUPS_SHOWN, _PATHS_SHOWN = 20, 5
_PICTURE_HASH = re.compile(r"(?:[0-9a-f]{16}){1,100}")


def found_twice(known: Sequence[Likeness], file_of: Callable[[str], Hashable | None]) -> Duplicates:
    """`file_of` says which file a path names, None where there is none: to remove another name of a file, or a link to
    it, frees nothing."""
    sound = [_sound(one) for one in known]
    groups = [group for one in duplicates.groups(sound) if (group := _of_files(one, file_of)) is not None]
    groups.sort(key=lambda group: -group.spare_bytes)
    return Duplicates(
        looked_at=len(sound),
        without_hash=sum(one.phash is None for one in sound),
        groups=len(groups),
        spare_bytes=sum(group.spare_bytes for group in groups),
        largest=groups[:_GROUPS_SHOWN],
    )


def _sound(one: Likeness) -> Likeness:
    """Without what another program may have written there."""
    length_s, size_bytes = one.duration_seconds, one.size_bytes
    wrong: dict[str, Any] = {}
    if length_s is not None and not (math.isfinite(length_s) and length_s > 0):
        wrong["duration_seconds"] = None
    if size_bytes is not None and size_bytes < 0:
        wrong["size_bytes"] = None
    if one.phash is not None and _PICTURE_HASH.fullmatch(one.phash) is None:
        wrong["phash"] = None
    return replace(one, **wrong) if wrong else one


def _of_files(group: duplicates.Group, file_of: Callable[[str], Hashable | None]) -> DuplicateGroup | None:
    members = _one_of_each(group.members, file_of)
    if len(members) < 2:
        return None
    kept = replace(group, members=tuple(members))
    return DuplicateGroup(
        kind=kept.kind,
        proof=kept.proof,
        videos=len(members),
        spare_bytes=kept.spare_bytes,
        paths=[one.path for one in members[:_PATHS_SHOWN]],
    )


def _one_of_each(
    members: Iterable[duplicates.Item], file_of: Callable[[str], Hashable | None]
) -> list[duplicates.Item]:
    files: dict[Hashable, duplicates.Item] = {}
    for one in members:
        if (file := file_of(one.path)) is not None:
            files.setdefault(file, one)
    return list(files.values())
