"""One analysis of a film, made or found: the entry for everybody who wants to know what a video holds."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from media_pipelines.ai import assembly, chunks
from media_pipelines.ai.analysis import VERSION, Analysis, Engine, Role, path_of, read, save
from media_pipelines.ai.decoding import open_film
from media_pipelines.ai.errors import AnalysisUnreadable, EngineUnavailable
from media_pipelines.ai.survey import OnProgress, Stop, Survey
from media_pipelines.media.fingerprint import fingerprint

if TYPE_CHECKING:
    from media_pipelines.ai.engines.choosing import Engines

_BASIC: tuple[Role, ...] = ("shots", "tags", "embedding", "faces", "audio")


def analyse(
    source: Path,
    *,
    engines: "Engines",
    folder: Path,
    on_progress: OnProgress | None = None,
    stop: Stop | None = None,
    transcript: bool = False,
    text: bool = False,
    content_key: str | None = None,
) -> Analysis:
    """The stored analysis where there is one that the same engines would make; otherwise a pass over the film, which
    goes on where a killed one ended. A transcript and text on screen are added when they are first asked for.

    Raises UnreadableMedia, NoVideoStream; EncodeStopped with what `stop` said; OSError.
    """
    key = content_key or fingerprint(source)
    with chunks.held(folder / f"{key}.lock", stop):
        found, notes = _stored(folder, key, engines)
        if found is None:
            found = _made(source, key, engines, folder, on_progress, stop)
            found = replace(found, notes=(*found.notes, *notes))
            save(found, folder)
        more = _with_more(found, source, engines, stop, transcript=transcript, text=text)
        if more is not found:
            save(more, folder)
    return more


def _stored(folder: Path, key: str, engines: "Engines") -> tuple[Analysis | None, tuple[str, ...]]:
    try:
        found = read(path_of(folder, key))
    except FileNotFoundError:
        return None, ()
    except AnalysisUnreadable as error:
        return None, (f"made again: {error}",)
    return (found, ()) if _is_current(found, engines) else (None, ())


def _is_current(found: Analysis, engines: "Engines") -> bool:
    """Made by what is wanted, and what stood in for it would do so again."""
    for role in _BASIC:
        made_by = found.engine(role)
        if made_by is None or found.wanted.get(role) != engines.wanted(role):
            return False
        if (
            made_by.reason
            and made_by.reference.startswith("classical:")
            and made_by.reference != engines.expected(role)
        ):
            return False
    return True


def _made(
    source: Path, key: str, engines: "Engines", folder: Path, on_progress: OnProgress | None, stop: Stop | None
) -> Analysis:
    wanted: dict[str, str] = {role: engines.wanted(role) for role in _BASIC}
    with open_film(source, engines.threads) as film:
        served = {role: engines.used(role).reference for role in _BASIC}
        pieces = chunks.Pieces(folder / f"{key}.parts", {"version": VERSION, "wanted": wanted, "served": served})
        survey = Survey(film, engines, pieces, stop, on_progress)
        try:
            survey.run()
            found = assembly.assemble(film, engines, pieces, key, survey.stride)
        except AnalysisUnreadable:
            pieces.discard()
            pieces = chunks.Pieces(folder / f"{key}.parts", {"version": VERSION, "wanted": wanted, "served": served})
            survey = Survey(film, engines, pieces, stop, on_progress)
            survey.run()
            found = assembly.assemble(film, engines, pieces, key, survey.stride)
        pieces.discard()
    return replace(found, wanted=wanted, engines=tuple(engines.used(role) for role in _BASIC))


def _with_more(
    found: Analysis, source: Path, engines: "Engines", stop: Stop | None, *, transcript: bool, text: bool
) -> Analysis:
    if transcript and found.wanted.get("transcript") != engines.wanted("transcript"):
        found = _with_words(found, source, engines, stop)
    if text and found.wanted.get("text") != engines.wanted("text"):
        found = _with_text(found, source, engines, stop)
    return found


def _with_words(found: Analysis, source: Path, engines: "Engines", stop: Stop | None) -> Analysis:
    from media_pipelines.ai.more import words

    try:
        heard = words(source, found, engines.transcript, stop)
    except EngineUnavailable as error:
        return _without(found, "transcript", error)
    return _noted(replace(found, words=heard), "transcript", engines.wanted("transcript"), engines.used("transcript"))


def _with_text(found: Analysis, source: Path, engines: "Engines", stop: Stop | None) -> Analysis:
    from media_pipelines.ai.more import texts

    try:
        seen = texts(source, found, engines.text, stop)
    except EngineUnavailable as error:
        return _without(found, "text", error)
    return _noted(replace(found, texts=seen), "text", engines.wanted("text"), engines.used("text"))


def _without(found: Analysis, role: Role, error: EngineUnavailable) -> Analysis:
    """Nothing stands in: the next who asks tries again."""
    nobody = Engine(role, "none", "none", None, "", "", None, str(error))
    return replace(found, engines=(*(one for one in found.engines if one.role != role), nobody))


def _noted(found: Analysis, role: Role, wanted: str, engine: Engine) -> Analysis:
    others = tuple(one for one in found.engines if one.role != role)
    return replace(found, engines=(*others, engine), wanted={**found.wanted, role: wanted})
