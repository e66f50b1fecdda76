"""The API's tokens: whose signature is trusted, reading a token, and making one where the secret is ours."""

import logging
import os
import secrets
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from jobqueue_bridge.errors import FieldProblem, InvalidSettings, QueueError
from jobqueue_bridge.settings import Settings

ADMIN_ROLE = "SUPER_ADMIN"
_LEEWAY_S = 10
_SECRET_BYTES = 32  # RFC 7518, 3.2: an HS256 key has at least the size of the hash
_RSA_BITS_MIN = 2048

_logger = logging.getLogger(__name__)


class BadToken(QueueError):
    """A token that is not to be trusted."""


class NoToken(QueueError):
    def __init__(self) -> None:
        super().__init__("A token is needed, `Authorization: Bearer <token>`; `media-pipelines token` makes one")


class RoleForbidden(QueueError):
    def __init__(self, role: object) -> None:
        self.role = role
        super().__init__(f"The token's role is {str(role)[:80]!r}; this needs {ADMIN_ROLE}")


class SignedElsewhere(QueueError):
    def __init__(self) -> None:
        super().__init__("MEDIA_JWT_PUBLIC_KEY is set, so tokens must come from the issuer that holds the private key")


@dataclass(frozen=True)
class Trust:
    """The key that tokens are checked with, and the one algorithm that is accepted, whatever a token says."""

    key: str | RSAPublicKey | EllipticCurvePublicKey
    algorithm: str


def trusted(settings: Settings) -> Trust:
    """Makes the secret file on first need. Raises InvalidSettings where the public key is none."""
    if settings.jwt_public_key:
        return _public(settings.jwt_public_key)
    return Trust(_secret(settings), "HS256")


def sign(settings: Settings, role: str, lifetime: timedelta) -> str:
    """Raises SignedElsewhere."""
    if settings.jwt_public_key:
        raise SignedElsewhere
    now = datetime.now(UTC)
    claims = {"sub": "media-pipelines", "role": role, "iat": now, "exp": now + lifetime}
    return jwt.encode(claims, _secret(settings), algorithm="HS256")


def require_admin(token: str, trust: Trust) -> None:
    """Raises BadToken, or RoleForbidden."""
    role = _claims(token, trust).get("role")
    if role != ADMIN_ROLE:
        raise RoleForbidden(role)


def _claims(token: str, trust: Trust) -> dict[str, Any]:
    try:
        return jwt.decode(
            token,
            trust.key,
            algorithms=[trust.algorithm],
            leeway=_LEEWAY_S,
            # The admin app signs for itself and names its own audience and numeric user ids.
            options={"require": ["exp"], "verify_aud": False, "verify_sub": False, "verify_jti": False},
        )
    except jwt.ExpiredSignatureError as error:
        raise BadToken("The token has expired") from error
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise BadToken("The token is not valid") from error


def _public(configured: str) -> Trust:
    try:
        key = load_pem_public_key(_pem(configured))
    except (ValueError, OSError) as error:
        raise _bad_public_key(f"no readable PEM public key ({error})") from error
    if isinstance(key, RSAPublicKey) and key.key_size >= _RSA_BITS_MIN:
        return Trust(key, "RS256")
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return Trust(key, "ES256")
    raise _bad_public_key(f"must be an RSA key of {_RSA_BITS_MIN} bits or more, or one on the curve P-256")


def _pem(configured: str) -> bytes:
    if "-----BEGIN" in configured:
        return configured.replace("\\n", "\n").encode()  # how env files write line breaks
    return Path(configured).expanduser().read_bytes()


def _bad_public_key(problem: str) -> InvalidSettings:
    return InvalidSettings([FieldProblem("MEDIA_JWT_PUBLIC_KEY", problem)])


def _secret(settings: Settings) -> str:
    if not settings.jwt_secret:
        return _secret_of(settings.home / "secrets" / "jwt_secret")
    if len(settings.jwt_secret.encode()) < _SECRET_BYTES:
        _logger.warning("MEDIA_JWT_SECRET is short: %s bytes or more resist guessing", _SECRET_BYTES)
    return settings.jwt_secret


def _secret_of(file: Path) -> str:
    """The secret in this file, made once, complete and private from its first moment, whoever comes first."""
    with suppress(FileNotFoundError):
        return _read_secret(file)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".jwt_secret-")  # O_EXCL, 0600
    try:
        with os.fdopen(descriptor, "w") as draft:
            draft.write(secrets.token_urlsafe(48))
            draft.flush()
            os.fsync(draft.fileno())
        with suppress(FileExistsError):  # another process was first: its secret counts
            os.link(name, file)
    finally:
        Path(name).unlink()
    return _read_secret(file)


def _read_secret(file: Path) -> str:
    secret = file.read_text().strip()
    if not secret:
        raise InvalidSettings([FieldProblem(str(file), "is empty: delete it, and a new secret is made")])
    return secret
