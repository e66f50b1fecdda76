"""How far migrations go, for those who only ask and must not pay for loading what migrates."""

from pathlib import Path

VERSION_TABLE = "media_pipelines_version"


def newest() -> str:
    """The last migration that this code knows: "0006"."""
    return max(path.name[:4] for path in Path(__file__).parent.glob("migrations/versions/[0-9]*.py"))
