"""Pictures and videos over HTTP: what a row names, below the library's root, and nothing else."""

from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest

from jobqueue_bridge.settings import Settings

JOBS, VIDEOS = "/api/media/jobs", "/api/media/videos"
Add = Callable[..., UUID]
CONTENT = bytes(range(256)) * 4


@pytest.fixture
def file_at(library: Path) -> Callable[[str, bytes], str]:
    def write(relative: str, content: bytes = CONTENT) -> str:
        path = library / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return relative

    return write


def test_a_video_is_played_in_ranges(api: httpx.Client, add_video: Add, file_at: Callable[..., str]) -> None:
    video_id = add_video(file_at("inbox/original.mp4"))

    whole = api.get(f"{VIDEOS}/{video_id}/file")
    part = api.get(f"{VIDEOS}/{video_id}/file", headers={"Range": "bytes=10-19"})
    beyond = api.get(f"{VIDEOS}/{video_id}/file", headers={"Range": "bytes=5000-"})

    assert (whole.status_code, whole.headers["content-type"], whole.content) == (200, "video/mp4", CONTENT)
    assert (part.status_code, part.content) == (206, CONTENT[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(CONTENT)}"
    assert beyond.status_code == 416


def test_a_thumbnail_is_a_picture_that_a_page_may_load_by_its_address(
    api: httpx.Client, anonymous: httpx.Client, admin_token: str, add_video: Add, file_at: Callable[..., str]
) -> None:
    video_id = add_video(thumbnail_path=file_at("thumbnails/x.jpg"))

    picture = anonymous.get(f"{VIDEOS}/{video_id}/thumbnail", params={"token": admin_token})

    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/jpeg")
    assert picture.headers["etag"]
    assert "private" in picture.headers["cache-control"]
    assert api.get(f"{VIDEOS}/{add_video('inbox/b.mp4')}/thumbnail").status_code == 404
    assert api.get(f"{VIDEOS}/{uuid4()}/thumbnail").status_code == 404


def test_what_a_job_made_is_shown(api: httpx.Client, add_job: Add, file_at: Callable[..., str]) -> None:
    job_id = add_job(status="completed", result={"outputPath": file_at("gifs/x.webp")})

    assert api.get(f"{JOBS}/{job_id}/output").headers["content-type"] == "image/webp"
    assert api.get(f"{JOBS}/{add_job()}/output").status_code == 404


def test_why_a_job_chose_what_it_chose_is_a_picture(
    api: httpx.Client, add_job: Add, file_at: Callable[..., str]
) -> None:
    job_id = add_job(status="completed", result={"whyPath": file_at("thumbnails/x.why.png")})

    assert api.get(f"{JOBS}/{job_id}/why").headers["content-type"] == "image/png"
    assert api.get(f"{JOBS}/{job_id}/output").status_code == 404
    assert api.get(f"{JOBS}/{add_job()}/why").status_code == 404


def test_a_storyboard_names_its_sheets_by_number(
    api: httpx.Client, add_video: Add, file_at: Callable[..., str]
) -> None:
    text = b"WEBVTT\n\n00:00.000 --> 00:01.000\na.jpg#xywh=0,0,9,9\n\n00:01.000 --> 00:02.000\nb.jpg#xywh=0,0,9,9\n"
    file_at("thumbnails/b.jpg", b"second")
    video_id = add_video(storyboard_path=file_at("thumbnails/v.storyboard.vtt", text))

    board = api.get(f"{VIDEOS}/{video_id}/storyboard")

    assert board.headers["content-type"].startswith("text/vtt")
    assert [line for line in board.text.splitlines() if "#" in line] == [
        "storyboard/0#xywh=0,0,9,9",
        "storyboard/1#xywh=0,0,9,9",
    ]
    assert api.get(f"{VIDEOS}/{video_id}/storyboard/1").content == b"second"
    assert api.get(f"{VIDEOS}/{video_id}/storyboard/2").status_code == 404


@pytest.mark.parametrize(
    "named", ["../secret.jpg", "/etc/passwd", "x/../../secret.jpg", "secret.txt", "", "a\\..\\b.jpg", "folder.jpg", 5]
)
def test_a_row_that_names_something_else_shows_nothing(
    api: httpx.Client, add_job: Add, library: Path, file_at: Callable[..., str], named: object
) -> None:
    (library.parent / "secret.jpg").write_bytes(b"secret")
    file_at("secret.txt")
    (library / "folder.jpg").mkdir()
    job_id = add_job(status="completed", result={"outputPath": named})

    assert api.get(f"{JOBS}/{job_id}/output").status_code == 404


def test_a_link_that_leads_out_of_the_library_shows_nothing(api: httpx.Client, add_job: Add, library: Path) -> None:
    (library.parent / "secret.jpg").write_bytes(b"secret")
    (library / "link.jpg").symlink_to(library.parent / "secret.jpg")
    job_id = add_job(status="completed", result={"outputPath": "link.jpg"})

    assert api.get(f"{JOBS}/{job_id}/output").status_code == 404


# The pages


@pytest.mark.parametrize(
    "path", ["/web/%2e%2e/queue.py", "/web/%2e%2e/py.typed", "/web//etc/x.js", "/web/none.js", "/web/", "/web/x%00.js"]
)
def test_only_files_of_the_page_are_served(anonymous: httpx.Client, path: str) -> None:
    assert anonymous.get(path).status_code in (400, 404)


def test_the_documentation_needs_nothing_from_elsewhere_and_nothing_in_line(anonymous: httpx.Client) -> None:
    page = anonymous.get("/docs")

    assert "unsafe" not in page.headers["content-security-policy"]
    assert "http" not in page.text
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "start.js"):
        assert f"/docs/{name}" in page.text
        assert anonymous.get(f"/docs/{name}").status_code == 200
    assert anonymous.get("/docs/redoc.standalone.js").status_code == 404


def test_settings_name_the_root_that_is_served(settings: Settings, library: Path) -> None:
    assert settings.media_library_path == library
