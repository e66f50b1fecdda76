"""Which folders the kernel tells nothing reliable about."""

from pathlib import Path

import pytest

from media_pipelines.media import mounts
from media_pipelines.media.mounts import Mount


@pytest.mark.parametrize(
    "kind", ["nfs4", "cifs", "smb3", "fuse.sshfs", "fuse", "9p", "virtiofs", "fuse.rclone", "ceph"]
)
def test_what_others_may_change_is_of_others(kind: str) -> None:
    assert Mount(Path("/x"), kind).is_of_others


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "overlay", "tmpfs", "fuseblk", "exfat", "ntfs3"])
def test_a_disk_of_this_machine_is_not(kind: str) -> None:
    assert not Mount(Path("/x"), kind).is_of_others


def test_a_folder_lies_on_the_nearest_mount_and_has_those_below_it() -> None:
    table = [
        Mount(Path("/"), "ext4"),
        Mount(Path("/srv"), "xfs"),
        Mount(Path("/srv/media"), "autofs"),
        Mount(Path("/srv/media"), "nfs4"),
        Mount(Path("/srv/media/library/nas"), "cifs"),
        Mount(Path("/srv/media/library-of-others"), "9p"),
    ]
    assert mounts.of(Path("/srv/media/library"), table) == [table[3], table[4]], "the later of two at one place counts"
    assert mounts.of(Path("/srv/media/inbox"), table) == [table[3]]
    assert mounts.of(Path("/srv"), table) == [table[1], table[3], table[4], table[5]]
    assert mounts.of(Path("/home"), table) == [table[0]]
    assert mounts.of(Path("/home"), []) == []


def test_this_machine_has_mounts() -> None:
    assert Path("/proc") in {mount.point for mount in mounts.mounts()}
