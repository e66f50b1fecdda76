"""What the doorways have in common: fields whose empty default means "as the settings say". Tests give others."""

import os
from typing import Annotated, Any

import dagster as dg
from pydantic import BeforeValidator, ConfigDict


class Doorway(dg.ConfigurableResource):  # type: ignore[type-arg]
    """A resource that refuses fields which it lacks: a name misspelt in a test would work on the real library."""

    model_config = ConfigDict(extra="forbid")


def _as_text(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


# Dagster's config knows no paths.
PathText = Annotated[str, BeforeValidator(_as_text)]
