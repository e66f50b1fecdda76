"""The secret, the public key, and what is signed with them."""

import os
import stat
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from jobqueue_bridge import tokens
from jobqueue_bridge.errors import InvalidSettings
from jobqueue_bridge.settings import Settings, load_settings
from jobqueue_bridge.tokens import BadToken, SignedElsewhere


@pytest.fixture
def fresh(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path / "home")


def pem_of(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


RSA_KEY = rsa.generate_private_key(65537, 2048)


def test_a_secret_is_made_on_first_need_and_kept(fresh: Settings) -> None:
    first = tokens.trusted(fresh).signers.signer(None)

    assert tokens.trusted(fresh).signers.signer(None) == first
    assert first.algorithm == "HS256"
    assert isinstance(first.key, str)
    assert len(first.key) >= 43
    assert [entry.name for entry in (fresh.home / "secrets").iterdir()] == ["jwt_secret"]


def test_only_its_owner_may_read_the_secret(fresh: Settings) -> None:
    mask = os.umask(0)
    try:
        tokens.trusted(fresh)
    finally:
        os.umask(mask)

    assert stat.S_IMODE((fresh.home / "secrets" / "jwt_secret").stat().st_mode) == 0o600
    assert stat.S_IMODE((fresh.home / "secrets").stat().st_mode) == 0o700


def test_processes_that_come_at_once_agree_on_one_secret(fresh: Settings) -> None:
    program = (
        "import sys, pathlib; from jobqueue_bridge import tokens; sys.stdout.write('ready\\n'); sys.stdout.flush();"
        "sys.stdin.readline(); print(tokens.secret_of(pathlib.Path(sys.argv[1])))"
    )
    file = fresh.home / "secrets" / "jwt_secret"
    racing = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for process in racing:
        assert process.stdout
        process.stdout.readline()

    answers = {process.communicate("go\n", timeout=120)[0] for process in racing}

    assert len(answers) == 1
    assert answers == {f"{file.read_text()}\n"}
    assert [entry.name for entry in file.parent.iterdir()] == ["jwt_secret"]


def test_an_empty_secret_file_is_an_error_that_says_what_to_do(fresh: Settings) -> None:
    (fresh.home / "secrets").mkdir(parents=True)
    (fresh.home / "secrets" / "jwt_secret").touch()

    with pytest.raises(InvalidSettings, match="delete it"):
        tokens.trusted(fresh)


def test_a_configured_secret_makes_no_file(fresh: Settings) -> None:
    configured = fresh.model_copy(update={"jwt_secret": "s" * 32})

    assert tokens.trusted(configured).signers.signer(None).key == "s" * 32
    assert not (fresh.home / "secrets").exists()


def test_a_short_secret_is_warned_about(fresh: Settings, caplog: pytest.LogCaptureFixture) -> None:
    tokens.trusted(fresh.model_copy(update={"jwt_secret": "short"}))

    assert "MEDIA_JWT_SECRET is short" in caplog.text


def test_a_signed_token_carries_role_and_times(fresh: Settings) -> None:
    token = tokens.sign(fresh, "VIEWER", timedelta(hours=2))

    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["role"] == "VIEWER"
    assert claims["exp"] - claims["iat"] == 7200


@pytest.mark.parametrize("how", ["text", "text with escaped line breaks", "path"])
def test_a_public_key_may_be_given_as_text_or_as_a_path(fresh: Settings, tmp_path: Path, how: str) -> None:
    text = pem_of(RSA_KEY)
    (tmp_path / "key.pem").write_text(text)
    given = {"text": text, "path": str(tmp_path / "key.pem")}.get(how, text.replace("\n", "\\n"))

    assert tokens.trusted(fresh.model_copy(update={"jwt_public_key": given})).signers.signer(None).algorithm == "RS256"


def test_nothing_is_signed_where_a_public_key_is_configured(fresh: Settings) -> None:
    with pytest.raises(SignedElsewhere, match="issuer"):
        tokens.sign(fresh.model_copy(update={"jwt_public_key": pem_of(RSA_KEY)}), "SUPER_ADMIN", timedelta(hours=1))


@pytest.mark.parametrize(
    "text",
    [
        "/no/such/file.pem",
        "/",
        "-----BEGIN PUBLIC KEY-----\nnonsense\n-----END PUBLIC KEY-----",
        RSA_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        pem_of(rsa.generate_private_key(65537, 1024)),
        pem_of(ec.generate_private_key(ec.SECP384R1())),
        pem_of(ed25519.Ed25519PrivateKey.generate()),
    ],
    ids=["missing", "folder", "nonsense", "private", "short RSA", "P-384", "Ed25519"],
)
def test_an_unusable_public_key_is_named(fresh: Settings, text: str) -> None:
    with pytest.raises(InvalidSettings, match="MEDIA_JWT_PUBLIC_KEY"):
        tokens.trusted(fresh.model_copy(update={"jwt_public_key": text}))


@pytest.mark.parametrize("algorithm", ["HS256", "RS256"])
def test_a_token_that_was_believed_is_refused_once_it_has_expired(
    fresh: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    if algorithm == "RS256":
        (tmp_path / "key.pem").write_text(pem_of(RSA_KEY))
        fresh = fresh.model_copy(update={"jwt_public_key": str(tmp_path / "key.pem")})
    trust = tokens.trusted(fresh)
    claims = {"sub": "ada", "role": tokens.ADMIN_ROLE, "exp": int(time.time()) + 60}
    key = RSA_KEY if algorithm == "RS256" else str(trust.signers.signer("").key)
    token = jwt.encode(claims, key, algorithm=algorithm)
    assert tokens.require_admin(token, trust).name == tokens.require_admin(token, trust).name == "ada"

    late = time.time() + 60 + trust.leeway_s
    monkeypatch.setattr(time, "time", lambda: late)
    with pytest.raises(BadToken, match="expired"):
        tokens.require_admin(token, trust)
    with pytest.raises(BadToken, match="not valid"):
        tokens.require_admin(token[:-2], trust)
