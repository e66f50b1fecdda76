"""The API's tokens: whose signature is trusted, reading a token, and making one where the secret is ours."""

import json
import logging
import os
import secrets
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID, uuid4

import jwt
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from sqlalchemy.dialects import postgresql as pg

from jobqueue_bridge.errors import FieldProblem, InvalidSettings, QueueError
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import spent_codes

ADMIN_ROLE = "SUPER_ADMIN"
SESSION = timedelta(hours=12)
SESSION_LONGEST = timedelta(days=7)
CODE_LIFETIME = timedelta(minutes=15)
_CODE_USE = "signin"
_SYMMETRIC = "HS256"
# Which claim names the person, best first.
_NAMING = ("email", "preferred_username", "name", "sub")
_NAME_MOST = 200
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
        super().__init__(
            "MEDIA_JWT_PUBLIC_KEY or MEDIA_JWT_JWKS_FILE is set, so tokens must come from the issuer that holds the "
            "private key"
        )


class CodeSpent(QueueError):
    def __init__(self) -> None:
        super().__init__("This sign-in link was used already: `media-pipelines signin` prints a new one")


class SignedInTooLongAgo(QueueError):
    def __init__(self) -> None:
        super().__init__("The session cannot be renewed any more: sign in again")


Key = str | RSAPublicKey | EllipticCurvePublicKey


@dataclass(frozen=True)
class Signer:
    """A key that tokens are checked with, and the one algorithm that is accepted, whatever a token says."""

    key: Key
    algorithm: str

    def __hash__(self) -> int:
        return hash(self.algorithm)  # keys can be compared, but not all can be hashed


class Signers(Protocol):
    """Who may sign."""

    def signer(self, token: str) -> Signer:
        """Whose key this token must be checked with. Raises BadToken where no key is known by the id that it names, or
        jwt.PyJWTError where it is no token."""


@dataclass(frozen=True)
class _OneSigner:
    only: Signer

    def signer(self, token: str) -> Signer:
        del token
        return self.only


class _JwksFile:
    """A JSON Web Key Set, read again whenever its file has changed: keys are rotated there."""

    def __init__(self, path: Path) -> None:
        self._path, self._read_at = path, -1
        self._keys: dict[str | None, Signer] = {}
        self._refresh()

    def signer(self, token: str) -> Signer:
        with suppress(OSError, InvalidSettings):  # while it is being replaced, the keys that were there count
            self._refresh()
        named = jwt.get_unverified_header(token).get("kid")
        key_id = named if isinstance(named, str) else None
        found = self._keys.get(key_id) or (next(iter(self._keys.values())) if self._has_one(key_id) else None)
        if found is None:
            raise BadToken("The token is signed by a key that is not known here")
        return found

    def _has_one(self, key_id: str | None) -> bool:
        return key_id is None and len(self._keys) == 1

    def _refresh(self) -> None:
        changed_at = self._path.stat().st_mtime_ns
        if changed_at != self._read_at:
            self._keys, self._read_at = _keys_in(self._path.read_text()), changed_at


@dataclass(frozen=True)
class Trust:
    """Whose tokens are believed, for whom they must be made, and how far clocks may differ."""

    signers: Signers
    issuer: str | None
    audience: str | None
    leeway_s: float


@dataclass(frozen=True)
class Identity:
    """Whose token it is."""

    name: str
    role: str
    expires_at: datetime
    signed_in_at: datetime


def trusted(settings: Settings) -> Trust:
    """Makes the secret file on first need. Raises InvalidSettings where a public key or a key set is none."""
    return Trust(
        _signers(settings), settings.jwt_issuer or None, settings.jwt_audience or None, settings.jwt_leeway_seconds
    )


def _signers(settings: Settings) -> Signers:
    if settings.jwt_jwks_file:
        return _key_set(settings.jwt_jwks_file)
    if settings.jwt_public_key:
        return _OneSigner(_public(settings.jwt_public_key))
    return _OneSigner(Signer(_secret(settings), _SYMMETRIC))


def signs_here(settings: Settings) -> bool:
    """Whether tokens are made by this platform, and not by an issuer with a private key."""
    return not (settings.jwt_public_key or settings.jwt_jwks_file)


def sign(
    settings: Settings,
    role: str,
    lifetime: timedelta,
    *,
    name: str = "media-pipelines",
    signed_in_at: datetime | None = None,
) -> str:
    """Raises SignedElsewhere."""
    began = {"auth_time": int(signed_in_at.timestamp())} if signed_in_at else {}
    return _signed(settings, lifetime, {"sub": name, "role": role, **began})


def sign_code(settings: Settings, name: str) -> str:
    """The code of a sign-in link: good once, for a session of this person, and for nothing else. Raises
    SignedElsewhere."""
    return _signed(settings, CODE_LIFETIME, {"sub": name, "use": _CODE_USE, "jti": str(uuid4())})


def _signed(settings: Settings, lifetime: timedelta, claims: Mapping[str, Any]) -> str:
    if not signs_here(settings):
        raise SignedElsewhere
    now = datetime.now(UTC)
    meant = {"iss": settings.jwt_issuer, "aud": settings.jwt_audience}
    stamped = {**claims, **{name: value for name, value in meant.items() if value}, "iat": now, "exp": now + lifetime}
    return jwt.encode(stamped, _secret(settings), algorithm=_SYMMETRIC)


def redeem(connection: sa.Connection, code: str, trust: Trust) -> str:
    """The name of the person whose code it is, which is spent with it. Raises BadToken or CodeSpent."""
    claims = _claims(code, trust)
    if claims.get("use") != _CODE_USE:
        raise BadToken("This is not the code of a sign-in link")
    expires_at = _instant(claims["exp"])
    connection.execute(sa.delete(spent_codes).where(spent_codes.c.expires_at < sa.func.now() - timedelta(hours=1)))
    spent = pg.insert(spent_codes).values(id=UUID(claims["jti"]), expires_at=expires_at).on_conflict_do_nothing()
    if connection.scalar(spent.returning(spent_codes.c.id)) is None:
        raise CodeSpent
    return str(claims["sub"])


def renewed(settings: Settings, identity: Identity) -> str:
    """Raises SignedElsewhere, or SignedInTooLongAgo."""
    if datetime.now(UTC) - identity.signed_in_at > SESSION_LONGEST:
        raise SignedInTooLongAgo
    return sign(settings, identity.role, SESSION, name=identity.name, signed_in_at=identity.signed_in_at)


def require_admin(token: str, trust: Trust) -> Identity:
    """Raises BadToken, or RoleForbidden."""
    claims = _claims(token, trust)
    role = claims.get("role")
    if role != ADMIN_ROLE or "use" in claims:
        raise RoleForbidden(role)
    expires_at = _instant(claims["exp"])
    began = claims.get("auth_time", claims.get("iat"))
    named = (claims.get(claim) for claim in _NAMING)
    name = next((str(value)[:_NAME_MOST] for value in named if isinstance(value, str | int) and value != ""), "unnamed")
    return Identity(name, str(role), expires_at, _instant(began) if isinstance(began, int | float) else expires_at)


def _instant(seconds: Any) -> datetime:
    """Raises BadToken where no clock gets there."""
    try:
        return datetime.fromtimestamp(float(seconds), UTC)
    except (ValueError, TypeError, OverflowError, OSError) as error:
        raise BadToken("The token is not valid") from error


def _claims(token: str, trust: Trust) -> dict[str, Any]:
    try:
        claims = _verified(token, trust.signers.signer(token), trust.leeway_s, trust.issuer, trust.audience)
        if int(claims["exp"]) <= time.time() - trust.leeway_s:  # since it was verified
            raise jwt.ExpiredSignatureError
        return claims
    except jwt.ExpiredSignatureError as error:
        raise BadToken("The token has expired") from error
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError, AttributeError) as error:
        raise BadToken("The token is not valid") from error


@lru_cache(maxsize=1_000)
def _verified(token: str, signer: Signer, leeway_s: float, issuer: str | None, audience: str | None) -> dict[str, Any]:
    """A page sends the same token with each request: its signature is checked once. What is refused is not kept."""
    return jwt.decode(
        token,
        signer.key,
        algorithms=[signer.algorithm],
        leeway=leeway_s,
        issuer=issuer,
        audience=audience,
        # The admin app signs for itself; its user ids may be numbers, and its audience counts only where one is set
        options={
            "require": ["exp", *(["iss"] if issuer else []), *(["aud"] if audience else [])],
            "verify_aud": audience is not None,
            "verify_sub": False,
            "verify_jti": False,
        },
    )


def _public(configured: str) -> Signer:
    try:
        key = load_pem_public_key(_pem(configured))
    except (ValueError, OSError) as error:
        raise _bad_public_key(f"no readable PEM public key ({error})") from error
    signer = _signer_of(key)
    if signer is None:
        raise _bad_public_key(f"must be an RSA key of {_RSA_BITS_MIN} bits or more, or one on the curve P-256")
    return signer


def _signer_of(key: object) -> Signer | None:
    """The algorithm follows from the key, never from a token."""
    if isinstance(key, RSAPublicKey) and key.key_size >= _RSA_BITS_MIN:
        return Signer(key, "RS256")
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return Signer(key, "ES256")
    return None


def _key_set(configured: str) -> _JwksFile:
    try:
        return _JwksFile(Path(configured).expanduser())
    except OSError as error:
        raise _bad_key_set(f"cannot be read ({error})") from error


def _keys_in(text: str) -> dict[str | None, Signer]:
    """Keys of other kinds, or for other uses, are left aside. Raises InvalidSettings where none is left."""
    try:
        found = [(item.get("kid"), _signer_of(jwt.PyJWK(item).key)) for item in _signing_keys(text)]
    except (jwt.PyJWTError, ValueError, TypeError, KeyError) as error:
        raise _bad_key_set(f"is no JSON Web Key Set ({error})") from error
    keys = {key_id: signer for key_id, signer in found if signer is not None}
    if not keys:
        raise _bad_key_set(f"holds no RSA key of {_RSA_BITS_MIN} bits or more, and none on the curve P-256")
    return keys


def _signing_keys(text: str) -> list[dict[str, Any]]:
    asymmetric = [item for item in json.loads(text)["keys"] if item.get("kty") in ("RSA", "EC")]
    return [item for item in asymmetric if item.get("use", "sig") == "sig"]


def _bad_key_set(problem: str) -> InvalidSettings:
    return InvalidSettings([FieldProblem("MEDIA_JWT_JWKS_FILE", problem)])


def _pem(configured: str) -> bytes:
    if "-----BEGIN" in configured:
        return configured.replace("\\n", "\n").encode()  # how env files write line breaks
    return Path(configured).expanduser().read_bytes()


def _bad_public_key(problem: str) -> InvalidSettings:
    return InvalidSettings([FieldProblem("MEDIA_JWT_PUBLIC_KEY", problem)])


def _secret(settings: Settings) -> str:
    if not settings.jwt_secret:
        return secret_of(settings.home / "secrets" / "jwt_secret")
    if len(settings.jwt_secret.encode()) < _SECRET_BYTES:
        _logger.warning("MEDIA_JWT_SECRET is short: %s bytes or more resist guessing", _SECRET_BYTES)
    return settings.jwt_secret


def secret_of(file: Path) -> str:
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
