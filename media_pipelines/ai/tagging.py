"""What a whole video shows: the tags of its shots, added up. Pure."""

from collections import defaultdict
from dataclasses import dataclass

from media_pipelines.ai.analysis import Analysis, Span, Tag


@dataclass(frozen=True)
class VideoTag:
    """`score` is the best of its shots', `count` how many shots have it, `seconds` how long those last together,
    `spans` when they are, `model` who says so."""

    name: str
    score: float
    count: int
    seconds: float
    spans: tuple[Span, ...]
    model: str


def tags(analysis: Analysis, min_score: float = 0.25, at_most: int = 20) -> tuple[VideoTag, ...]:
    """Those of which some shot is sure enough, the surest and longest-lasting first. Spans of shots that follow each
    other are one."""
    engine = analysis.engine("tags")
    model = engine.model_id if engine else "none"
    by_name: dict[str, list[Tag]] = defaultdict(list)
    for tag in analysis.tags:
        if tag.score >= min_score:
            by_name[tag.name].append(tag)
    found = [_added_up(analysis, name, shots, model) for name, shots in by_name.items()]
    return tuple(sorted(found, key=lambda tag: (-_weight(tag, analysis.duration_s), tag.name))[:at_most])


def _added_up(analysis: Analysis, name: str, found: list[Tag], model: str) -> VideoTag:
    by_shot = {tag.shot: max(other.score for other in found if other.shot == tag.shot) for tag in found}
    seconds = sum(analysis.shots[shot].end_s - analysis.shots[shot].start_s for shot in by_shot)
    return VideoTag(name, max(by_shot.values()), len(by_shot), seconds, _spans(analysis, by_shot), model)


def _spans(analysis: Analysis, by_shot: dict[int, float]) -> tuple[Span, ...]:
    spans: list[Span] = []
    last = -2
    for shot in sorted(by_shot):
        start_s, end_s = analysis.shots[shot].start_s, analysis.shots[shot].end_s
        if shot == last + 1:
            before = spans.pop()
            start_s, score = before.start_s, max(before.score, by_shot[shot])
        else:
            score = by_shot[shot]
        spans.append(Span(start_s, end_s, score))
        last = shot
    return tuple(spans)


def _weight(tag: VideoTag, duration_s: float) -> float:
    """A sure tag of one shot comes before an unsure one of many, but what fills the film comes first."""
    share = tag.seconds / duration_s if duration_s else 0.0
    return tag.score * (1 + share)
