"""What is to become of a file under a policy, all told: the dry run, the queueing and the job ask here, and so agree.

`media.policy` decides from what the file holds; here is added what can be seen only outside of it: that it cannot be
read, that it cannot be replaced, that it was tried before.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import sqlalchemy as sa

from jobqueue_bridge import outcomes, videos
from jobqueue_bridge.policy import Policy, policy_hash
from media_pipelines.media.errors import MediaError
from media_pipelines.media.fingerprint import fingerprint
from media_pipelines.media.policy import Decision, Encode, Refuse, Skip, Speeds, decide
from media_pipelines.media.probe import Probe
from media_pipelines.media.prober import Prober

# Of a file that would be encoded: its end must be there.
_DECODED_FRAMES = 2


@dataclass(frozen=True)
class Examined:
    """`content`: the fingerprint of a file that would be encoded. `error`: why it could not be read."""

    path: Path
    source: Probe | None
    decision: Decision
    content: str | None = None
    error: MediaError | None = None


@dataclass(frozen=True)
class Examiner:
    """Asks about many files of the library at `root` under one policy. `force`: what was tried before counts for
    nothing."""

    root: Path
    engine: sa.Engine
    prober: Prober
    policy: Policy
    speeds: Speeds
    force: bool = False

    def one(self, path: Path) -> Examined:
        return next(self.many([path]))

    def many(self, paths: Iterable[Path]) -> Iterator[Examined]:
        """In the order given; only what would be encoded is looked at more closely. Of two files whose results would
        get one name the first gets it."""
        taken: dict[Path, Path] = {}
        for path, verdict in self.prober.probe_many(paths):
            examined = self._of(path, verdict)
            if isinstance(examined.decision, Encode) and examined.decision.folder is None:
                first = taken.setdefault(path.with_name(examined.decision.name), path)
                if first != path:
                    reason = f"the result of {first.name!r} gets the name {examined.decision.name!r}"
                    examined = replace(examined, decision=Refuse(reason))
            yield examined

    def _of(self, path: Path, verdict: Probe | MediaError) -> Examined:
        if isinstance(verdict, MediaError):
            return Examined(path, None, _refused(path, verdict), error=verdict)
        decision = decide(self.policy, verdict, self.speeds)
        if not isinstance(decision, Encode):
            return Examined(path, verdict, decision)
        try:
            content = fingerprint(path)
            tried = None if self.force else self._tried_before(path, content)
            if tried is not None:
                return Examined(path, verdict, tried, content)
            obstacle = _obstacle(path, decision) or self._other_video(path, decision)
            if obstacle is not None:
                return Examined(path, verdict, Refuse(obstacle), content)
            self.prober.probe(path, decode_frames=_DECODED_FRAMES)
        except MediaError as error:
            return Examined(path, verdict, _refused(path, error), error=error)
        except OSError as error:
            return Examined(path, verdict, Refuse(error.strerror or str(error)))
        return Examined(path, verdict, decision, content)

    def _other_video(self, path: Path, wanted: Encode) -> str | None:
        """The row of a video that is missing would be lost to a result of its name."""
        if wanted.folder is not None or wanted.name == path.name:
            return None
        with self.engine.connect() as connection:
            taken = videos.id_by_path(connection, str(path.with_name(wanted.name).relative_to(self.root)))
        if taken is None:
            return None
        return f"{wanted.name!r}, the name of the result, is that of a video that is missing and may return"

    def _tried_before(self, path: Path, content: str) -> Skip | None:
        named, policy = str(path.relative_to(self.root)), policy_hash(self.policy)
        with self.engine.connect() as connection:
            found = outcomes.remembered(connection, content, named, policy)
        if found is None:
            return None
        again = _AGAIN[found.result]
        if found.result == outcomes.Result.DONE and found.output and not (self.root / found.output).is_file():
            if self.policy.destination is not None:
                return None
            again = "undone since; --force does it again"
        return Skip(f"{found.detail} ({again})", found.result.value)


def _refused(path: Path, error: MediaError) -> Refuse:
    """In the error's words, without the path: it stands beside them."""
    said = str(error)
    for shown in (str(path), repr(str(path))):
        said = said.removeprefix(f"{shown} ")
    return Refuse(said)


_AGAIN = {
    outcomes.Result.COMPLIANT: "known to be compliant",
    outcomes.Result.DONE: "done before; --force does it again",
    outcomes.Result.LARGER: "tried before; --force tries again",
    outcomes.Result.FAILED_VERIFY: "tried before; --force tries again",
    outcomes.Result.UNREACHABLE: "tried before; --force tries again",
}


def _obstacle(path: Path, wanted: Encode) -> str | None:
    """Why the result could not take the file's place; known before hours of encoding."""
    if wanted.folder is not None:
        return None
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return "it is a symbolic link; name the file that it leads to"
    if status.st_nlink > 1:
        return (
            f"it has {status.st_nlink} names (hard links): the others would keep the old file and no space would be "
            "saved; give the policy a destination, or remove the other names"
        )
    if not os.access(path.parent, os.W_OK):
        return f"its folder {str(path.parent)!r} is not writable"
    if wanted.name != path.name and os.path.lexists(path.with_name(wanted.name)):
        return f"{wanted.name!r}, the name of the result, is taken"
    return None
