"""Every way in which a token can be wrong, on every route that there is."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from jobqueue_bridge import tokens
from jobqueue_bridge.api.app import create_app
from jobqueue_bridge.errors import InvalidSettings
from jobqueue_bridge.settings import Settings

SECRET = "a secret that is long enough for HS256"
ISSUER, AUDIENCE = "https://admin.example", "media"
NOW = int(time.time())
GOOD = {"role": "SUPER_ADMIN", "sub": "ann", "iss": ISSUER, "aud": AUDIENCE, "iat": NOW, "exp": NOW + 3600}
RSA_KEY, OTHER_RSA_KEY = (rsa.generate_private_key(65537, 2048) for _ in range(2))
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def pem(key: Any) -> str:
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def claims(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in {**GOOD, **changes}.items() if value is not None}


def unsigned() -> str:
    """`alg: none`, with every other claim as it should be."""
    parts = (json.dumps(part).encode() for part in ({"alg": "none", "typ": "JWT"}, claims()))
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."


def confused(key_text: str) -> str:
    """HS256 with the text of the public key, which everybody may know, as its secret."""
    parts = [json.dumps({"alg": "HS256", "typ": "JWT"}), json.dumps(claims())]
    signed = ".".join(base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts)
    digest = hmac.new(key_text.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def with_secret(**changes: Any) -> str:
    return jwt.encode(claims(**changes), SECRET)


# what is wrong → the token, and what it is answered with, where HS256 and a secret are trusted
WRONG: dict[str, tuple[str | None, int]] = {
    "none": (None, 401),
    "garbage": ("garbage", 401),
    "three parts of garbage": ("a.b.c", 401),
    "expired": (with_secret(exp=NOW - 60), 401),
    "not yet valid": (with_secret(nbf=NOW + 86_400), 401),
    "issued in the future": (with_secret(iat=NOW + 86_400), 401),
    "without an end": (with_secret(exp=None), 401),
    "wrong key": (jwt.encode(claims(), SECRET + "x"), 401),
    "alg none": (unsigned(), 401),
    "another algorithm": (jwt.encode(claims(), SECRET * 2, algorithm="HS512"), 401),
    "a private key of nobody": (jwt.encode(claims(), RSA_KEY, algorithm="RS256"), 401),
    "wrong role": (with_secret(role="ADMIN"), 403),
    "no role": (with_secret(role=None), 403),
    "wrong issuer": (with_secret(iss="https://evil.example"), 401),
    "no issuer": (with_secret(iss=None), 401),
    "wrong audience": (with_secret(aud="shop"), 401),
    "no audience": (with_secret(aud=None), 401),
}


@pytest.fixture(scope="module")
def strict(settings: Settings, serve: Any) -> Iterator[str]:
    asked = {"jwt_secret": SECRET, "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "api_writes_per_minute": 0}
    with serve(settings.model_copy(update=asked)) as address:
        yield address


@pytest.fixture(scope="module")
def routes(settings: Settings) -> list[tuple[str, str]]:
    """Method and address of every route below /api that wants a token."""
    an_id = "550e8400-e29b-41d4-a716-446655440000"
    every = [
        (method, route.path.replace("{id}", an_id).replace("{sheet}", "0"))
        for route in create_app(settings).state.routes
        for method in sorted(route.methods)
        if route.path.startswith("/api/")
    ]
    assert ("POST", "/api/media/signin") in every
    assert len(every) > 25
    return [route for route in every if route != ("POST", "/api/media/signin")]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_token_opens_no_route(
    strict: str, routes: list[tuple[str, str]], database: sa.Engine, wrong: str
) -> None:
    token, status = WRONG[wrong]
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(base_url=strict, headers=headers) as client:
        answers = {route: client.request(*route) for route in routes}

    assert {route: answer.status_code for route, answer in answers.items() if answer.status_code != status} == {}
    assert {answer.headers["content-type"] for answer in answers.values()} == {"application/problem+json"}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_token_in_the_address_opens_no_route(
    strict: str, routes: list[tuple[str, str]], database: sa.Engine, wrong: str
) -> None:
    token, status = WRONG[wrong]
    takes = ("/events", "/thumbnail", "/file", "/storyboard", "/storyboard/0", "/output", "/why")
    with httpx.Client(base_url=strict, params={"token": token} if token else {}) as client:
        answered = {
            (path, client.get(path).status_code, status if path.endswith(takes) else 401)
            for method, path in routes
            if method == "GET"
        }

    assert {one for one in answered if one[1] != one[2]} == set()


def test_a_good_token_opens_every_route(strict: str, routes: list[tuple[str, str]], database: sa.Engine) -> None:
    with httpx.Client(base_url=strict, headers={"Authorization": f"Bearer {with_secret()}"}) as client:
        for method, path in routes:
            with client.stream(method, path) as answer:
                assert answer.status_code not in (401, 403), (method, path)


def test_a_good_token_in_the_address_opens_streams_and_files_alone(
    strict: str, routes: list[tuple[str, str]], database: sa.Engine
) -> None:
    takes = ("/events", "/thumbnail", "/file", "/storyboard", "/storyboard/0", "/output", "/why")
    with httpx.Client(base_url=strict) as client:
        for method, path in routes:
            with client.stream(method, path, params={"token": with_secret()}) as answer:
                opened = answer.status_code not in (401, 403)
            assert opened == (method == "GET" and path.endswith(takes)), (method, path)


@pytest.mark.parametrize(
    ("key", "algorithm"), [(RSA_KEY, "RS256"), (EC_KEY, "ES256")], ids=["public RSA key", "public EC key"]
)
def test_a_public_key_is_not_taken_for_a_secret_on_any_route(
    settings: Settings, serve: Any, routes: list[tuple[str, str]], database: sa.Engine, key: Any, algorithm: str
) -> None:
    trusting = {"jwt_public_key": pem(key), "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "api_writes_per_minute": 0}
    wrong = [confused(pem(key)), with_secret(), unsigned(), jwt.encode(claims(), OTHER_RSA_KEY, algorithm="RS256")]
    with serve(settings.model_copy(update=trusting)) as address, httpx.Client(base_url=address) as client:
        for token in wrong:
            headers = {"Authorization": f"Bearer {token}"}
            assert {client.request(*route, headers=headers).status_code for route in routes} == {401}
        good = jwt.encode(claims(), key, algorithm=algorithm)
        assert client.get("/api/media/session", headers={"Authorization": f"Bearer {good}"}).json()["name"] == "ann"


# A set of keys


def key_set(**keys: Any) -> str:
    kinds = {rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm, ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm}
    found = []
    for name, key in keys.items():
        algorithm = next(kinds[kind] for kind in kinds if isinstance(key, kind))
        found.append({**json.loads(algorithm.to_jwk(key.public_key())), "kid": name})
    return json.dumps({"keys": found})


def signed_by(key: Any, key_id: str | None, algorithm: str = "RS256") -> str:
    return jwt.encode(claims(), key, algorithm=algorithm, headers={"kid": key_id} if key_id else None)


def test_each_key_of_a_set_admits_its_own_signatures(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(key_set(a=RSA_KEY, b=EC_KEY))
    trust = tokens.trusted(settings.model_copy(update={"jwt_jwks_file": str(file)}))
    trust = tokens.Trust(trust.signers, ISSUER, AUDIENCE, 10)

    assert tokens.require_admin(signed_by(RSA_KEY, "a"), trust).name == "ann"
    assert tokens.require_admin(signed_by(EC_KEY, "b", "ES256"), trust).name == "ann"
    for wrong in (signed_by(RSA_KEY, "b"), signed_by(RSA_KEY, "c"), signed_by(RSA_KEY, None), with_secret()):
        with pytest.raises(tokens.BadToken):
            tokens.require_admin(wrong, trust)


def test_a_set_of_keys_is_read_again_when_it_changes(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(key_set(a=RSA_KEY))
    trust = tokens.trusted(settings.model_copy(update={"jwt_jwks_file": str(file)}))
    trust = tokens.Trust(trust.signers, ISSUER, AUDIENCE, 10)
    with pytest.raises(tokens.BadToken):
        tokens.require_admin(signed_by(OTHER_RSA_KEY, "new"), trust)

    file.write_text(key_set(new=OTHER_RSA_KEY))

    assert tokens.require_admin(signed_by(OTHER_RSA_KEY, "new"), trust).name == "ann"
    with pytest.raises(tokens.BadToken):
        tokens.require_admin(signed_by(RSA_KEY, "a"), trust)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"keys": []}', '{"keys": [{"kty": "oct", "k": "YQ"}]}'])
def test_what_is_no_set_of_public_keys_is_refused_at_the_start(
    settings: Settings, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(content)

    with pytest.raises(InvalidSettings, match="MEDIA_JWT_JWKS_FILE"):
        tokens.trusted(settings.model_copy(update={"jwt_jwks_file": str(file)}))


# What is open, and what is logged


def test_health_needs_a_token_where_it_is_told_to(settings: Settings, serve: Any, admin_token: str) -> None:
    with serve(settings.model_copy(update={"health_open": False})) as address:
        assert httpx.get(f"{address}/health").status_code == 401
        assert httpx.get(f"{address}/health", headers={"Authorization": f"Bearer {admin_token}"}).status_code == 200


def test_a_token_in_the_address_is_logged_nowhere(
    anonymous: httpx.Client, admin_token: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    for path in ("/api/media/jobs", "/api/media/videos/x/thumbnail", "/nothing", "/health"):
        answer = anonymous.get(path, params={"token": admin_token, "page": "x"})
        assert admin_token not in answer.text

    logged = [record.getMessage() for record in caplog.records if record.name.startswith("uvicorn")]
    assert not [line for line in logged if admin_token in line]
    assert admin_token not in "".join(capfd.readouterr())


def test_only_listed_origins_may_call(settings: Settings, serve: Any, admin_token: str) -> None:
    ours, evil = "https://admin.example", "https://evil.example"
    asking = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    with serve(settings.model_copy(update={"api_cors_origins": f"{ours}, https://b.example:8443"})) as address:
        url = f"{address}/api/media/jobs"
        allowed = httpx.options(url, headers={"Origin": ours, **asking})
        refused = httpx.options(url, headers={"Origin": evil, **asking})
        answer = httpx.get(url, headers={"Origin": ours, "Authorization": f"Bearer {admin_token}"})

    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, ours)
    assert "access-control-allow-credentials" not in allowed.headers
    assert "access-control-allow-origin" not in refused.headers
    assert answer.headers["access-control-allow-origin"] == ours


@pytest.mark.parametrize("origin", ["*", "admin.example", "https://admin.example/", "https://a b"])
def test_what_is_no_origin_is_no_setting(configured: Callable[..., Settings], origin: str) -> None:
    with pytest.raises(InvalidSettings, match="MEDIA_API_CORS_ORIGINS"):
        configured(api_cors_origins=origin)


@pytest.fixture
def configured() -> Callable[..., Settings]:
    from jobqueue_bridge.settings import load_settings

    return load_settings
