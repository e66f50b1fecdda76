"""`token` on the command line."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from jobqueue_bridge import tokens
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tokens import RoleForbidden

Cli = Callable[..., Any]


def test_a_token_opens_the_api(cli: Cli, settings: Settings) -> None:
    ended = cli("token")

    assert ended.err == ""
    tokens.require_admin(ended.out.strip(), tokens.trusted(settings))


def test_a_token_of_another_role_opens_nothing(cli: Cli, settings: Settings) -> None:
    with pytest.raises(RoleForbidden):
        tokens.require_admin(cli("token", "--role", "VIEWER").out.strip(), tokens.trusted(settings))


@pytest.mark.parametrize(
    ("expires", "lifetime"),
    [
        ("90s", timedelta(seconds=90)),
        ("5m", timedelta(minutes=5)),
        ("12h", timedelta(hours=12)),
        ("30d", timedelta(days=30)),
    ],
)
def test_a_token_lasts_as_long_as_asked(cli: Cli, expires: str, lifetime: timedelta) -> None:
    claims = jwt.decode(cli("token", "--expires", expires).out.strip(), options={"verify_signature": False})

    assert claims["exp"] - claims["iat"] == lifetime.total_seconds()


@pytest.mark.parametrize(
    "expires", ["", "12", "h", "-1h", "0h", "1.5h", "12 h", "1y", "999999999d", "9" * 30 + "s", "١h"]
)
def test_a_strange_lifetime_ends_with_two(cli: Cli, expires: str) -> None:
    ended = cli("token", f"--expires={expires}")

    assert ended.code == 2
    assert "--expires" in ended.err


def test_with_a_public_key_tokens_come_from_the_issuer(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    monkeypatch.setenv(
        "MEDIA_JWT_PUBLIC_KEY", public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    )

    ended = cli("token")

    assert ended.code == 2
    assert "issuer" in ended.err


def test_a_token_needs_no_running_platform(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("elsewhere") / "new"
    monkeypatch.setenv("MEDIA_PIPELINES_HOME", str(home))

    assert cli("token").code == 0
    assert (home / "secrets" / "jwt_secret").exists()


def test_a_home_that_cannot_be_written_is_one_line(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    blocked = tmp_path_factory.mktemp("blocked") / "file"
    blocked.touch()
    monkeypatch.setenv("MEDIA_PIPELINES_HOME", str(blocked))

    ended = cli("token")

    assert ended.code == 1
    assert len(ended.err.splitlines()) == 1
