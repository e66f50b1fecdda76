"""The page's libraries, fetched again: `python -m tests.web.vendored` compares, with `--write` it replaces them."""

import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "jobqueue_bridge/web/vendor"
SUMS = "sha256sums.txt"
# A browser resolves no bare names without an import map, which a strict policy would have to allow inline.
_LOCAL = {
    "preact": "./preact.js",
    "preact/hooks": "./preact-hooks.js",
    "@preact/signals-core": "./signals-core.js",
}
_IMPORT = re.compile(r'from\s*"(' + "|".join(map(re.escape, _LOCAL)) + r')"')
_SOURCE_MAP = re.compile(r"\n?//# sourceMappingURL=\S+\s*$")


def packages() -> dict[str, Any]:
    return dict(json.loads((FOLDER / "vendored.json").read_text()))


def sums() -> dict[str, str]:
    """File name → sha256, as noted."""
    lines = (FOLDER / SUMS).read_text().splitlines()
    return {name: digest for digest, name in (line.split("  ") for line in lines)}


def sum_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def fetched(name: str, package: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Each file of a package as it is to lie in the folder."""
    wanted = f"{name}@{package['version']}"
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", wanted], cwd=folder, check=True, capture_output=True)
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as tar:
            for target, source in package["files"].items():
                member = tar.extractfile(f"package/{source}")
                assert member is not None, source
                yield target, _adapted(target, member.read(), package)


def _adapted(target: str, content: bytes, package: dict[str, Any]) -> bytes:
    if target == "lucide.js":
        return _icons(json.loads(content), package["icons"])
    if not target.endswith(".js"):
        return content
    text = _IMPORT.sub(lambda found: f'from"{_LOCAL[found[1]]}"', content.decode())
    return (_SOURCE_MAP.sub("", text).rstrip() + "\n").encode()


def _icons(nodes: dict[str, Any], wanted: list[str]) -> bytes:
    lines = [f"  {json.dumps(name)}: {json.dumps(nodes[name])}," for name in wanted]
    return "\n".join(
        ["// Chosen icons: name → [[element, attributes], …].", "export default {", *lines, "};", ""]
    ).encode()


def main(arguments: list[str]) -> int:
    found = dict(file for name, package in packages().items() for file in fetched(name, package))
    if arguments == ["--write"]:
        for name, content in found.items():
            (FOLDER / name).write_bytes(content)
        lines = [f"{sum_of(content)}  {name}\n" for name, content in sorted(found.items())]
        (FOLDER / SUMS).write_text("".join(lines))
    differing = [name for name, content in found.items() if (FOLDER / name).read_bytes() != content]
    print(f"{len(found)} files, differing: {', '.join(differing) or 'none'}")  # noqa: T201
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
