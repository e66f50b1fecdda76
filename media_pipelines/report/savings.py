"""What re-encodes and transcodes have saved, added up in several ways."""

from collections.abc import Callable, Iterable, Sequence

from jobqueue_bridge.library_report import SavedShare, Savings
from jobqueue_bridge.reports import Saved

_MOST = 12
OTHERS = "(others)"


def savings(groups: Sequence[Saved]) -> Savings:
    whole = _added("all", groups)
    return Savings(
        jobs=whole.jobs,
        before_bytes=whole.before_bytes,
        after_bytes=whole.after_bytes,
        saved_bytes=whole.saved_bytes,
        by_type=_by(groups, lambda one: one.type),
        by_encoder=_few(_by(groups, lambda one: " ".join(one.encoder.split()) or "unknown")),
        by_month=sorted(_by(groups, lambda one: one.month), key=lambda share: share.name),
    )


def _by(groups: Sequence[Saved], key: Callable[[Saved], str]) -> list[SavedShare]:
    """Those that saved most first."""
    together: dict[str, list[Saved]] = {}
    for one in groups:
        together.setdefault(key(one), []).append(one)
    shares = [_added(name, members) for name, members in together.items()]
    return sorted(shares, key=lambda share: (-share.saved_bytes, share.name))


def _few(shares: Sequence[SavedShare]) -> list[SavedShare]:
    return [*shares[:_MOST], _added(OTHERS, shares[_MOST:])] if len(shares) > _MOST else list(shares)


def _added(name: str, parts: Iterable[Saved | SavedShare]) -> SavedShare:
    members = list(parts)
    before, after = sum(one.before_bytes for one in members), sum(one.after_bytes for one in members)
    return SavedShare(
        name=name,
        jobs=sum(one.jobs for one in members),
        before_bytes=before,
        after_bytes=after,
        saved_bytes=before - after,
    )
