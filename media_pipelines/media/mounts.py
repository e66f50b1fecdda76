"""Which folders lie on file systems whose changes the kernel tells nobody about, because others make them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

_OF_OTHERS = frozenset(
    {"nfs", "nfs3", "nfs4", "cifs", "smb2", "smb3", "smbfs", "ncpfs", "afs", "coda", "ceph", "lustre", "gpfs"}
    | {"beegfs", "orangefs", "ocfs2", "gfs2", "9p", "virtiofs", "vboxsf", "vmhgfs", "prl_fs", "drvfs"}
)


@dataclass(frozen=True)
class Mount:
    point: Path
    kind: str

    @property
    def is_of_others(self) -> bool:
        """FUSE is anything, a server at the other end most often; `fuseblk` is a disk of this machine."""
        return self.kind in _OF_OTHERS or self.kind == "fuse" or self.kind.startswith("fuse.")


def mounts() -> list[Mount]:
    """In the order in which they were mounted: of two at one point the later hides the earlier."""
    return [Mount(Path(partition.mountpoint), partition.fstype) for partition in psutil.disk_partitions(all=True)]


def of(folder: Path, among: Iterable[Mount]) -> list[Mount]:
    """The mount that holds a folder, whose path is free of symbolic links, and those below it."""
    at: dict[Path, Mount] = {mount.point: mount for mount in among}
    holding = next((at[place] for place in (folder, *folder.parents) if place in at), None)
    below = [mount for point, mount in sorted(at.items()) if point != folder and point.is_relative_to(folder)]
    return [*([holding] if holding else []), *below]
