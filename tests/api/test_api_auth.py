"""Who is let in."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from jobqueue_bridge.api.app import create_app
from jobqueue_bridge.settings import Settings

JOBS = "/api/media/jobs"
SECRET = "a secret that is long enough for HS256"

PROTECTED = [
    ("GET", JOBS),
    ("POST", JOBS),
    ("GET", f"{JOBS}/stats"),
    ("POST", f"{JOBS}/reencode"),
    ("GET", f"{JOBS}/550e8400-e29b-41d4-a716-446655440000"),
    ("GET", f"{JOBS}/550e8400-e29b-41d4-a716-446655440000/log"),
    ("GET", f"{JOBS}/x"),
    ("GET", "/api/media/videos"),
    ("GET", "/api/media/videos/550e8400-e29b-41d4-a716-446655440000"),
    ("DELETE", JOBS),
    ("GET", "/api"),
    ("GET", "/api/nothing"),
    ("GET", "/api//media/jobs"),
    ("GET", "/%61pi/media/jobs"),
]


def claims(**changes: Any) -> dict[str, Any]:
    given = {"role": "SUPER_ADMIN", "exp": int(time.time()) + 600, **changes}
    return {name: value for name, value in given.items() if value is not None}


@pytest.fixture(scope="session")
def own_secret(settings: Settings, serve: Any) -> Any:
    """An API whose secret the test knows."""
    with serve(settings.model_copy(update={"jwt_secret": SECRET})) as address:
        yield address


def ask(address: str, token: str) -> httpx.Response:
    return httpx.get(f"{address}{JOBS}/x", headers={"Authorization": f"Bearer {token}"})


def test_every_route_but_the_pages_is_among_the_protected(settings: Settings) -> None:
    open_to_all = {"/", "/health", "/metrics", "/docs", "/docs/start.js", "/docs/{name}", "/web/{path:path}"}
    for route in create_app(settings).state.routes:
        assert route.path in open_to_all or route.path.startswith("/api/")


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_nothing_below_api_is_told_without_a_token(anonymous: httpx.Client, method: str, path: str) -> None:
    response = anonymous.request(method, path)

    assert response.status_code == 401
    assert response.headers["www-authenticate"] == 'Bearer realm="media-pipelines"'
    assert response.headers["content-type"] == "application/problem+json"


def test_a_body_is_not_even_read_without_a_token(anonymous: httpx.Client) -> None:
    headers = {"Content-Type": "application/json"}

    assert anonymous.post(JOBS, content=b"{" * 10_000, headers=headers).status_code == 401


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Basic YTpi",
        "token",
        "Bearer a.b",
        "Bearer a.b.c",
        "Bearer ..",
        "Bearer é",
    ],
)
def test_a_header_that_holds_no_token_is_refused(anonymous: httpx.Client, header: str) -> None:
    headers = [(b"Authorization", header.encode("latin-1"))]

    assert anonymous.get(JOBS, headers=headers).status_code == 401


def test_two_authorization_headers_are_refused(anonymous: httpx.Client, admin_token: str) -> None:
    headers = [("Authorization", f"Bearer {admin_token}")] * 2

    assert anonymous.get(JOBS, headers=headers).status_code == 401


def test_the_scheme_is_read_in_any_case(anonymous: httpx.Client, admin_token: str) -> None:
    assert anonymous.get(JOBS, headers={"Authorization": f"bearer {admin_token}"}).status_code == 200


def test_a_refused_token_is_told_from_a_missing_one(anonymous: httpx.Client) -> None:
    response = anonymous.get(JOBS, headers={"Authorization": "Bearer x"})

    assert 'error="invalid_token"' in response.headers["www-authenticate"]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 422),  # let in: /x is no id
        ({"aud": "admin-app", "sub": 12, "iss": "admin-app", "jti": 5}, 422),
        ({"role": "ADMIN"}, 403),
        ({"role": "super_admin"}, 403),
        ({"role": ["SUPER_ADMIN"]}, 403),
        ({"role": {"a": "\u0000\ud800"}}, 403),
        ({"role": None}, 403),
        ({"exp": None}, 401),
        ({"exp": int(time.time()) - 60}, 401),
        ({"exp": "tomorrow"}, 401),
        ({"exp": []}, 401),
        ({"exp": float("inf")}, 401),
        ({"exp": -(10**400)}, 401),
        ({"nbf": int(time.time()) + 86_400}, 401),
        ({"nbf": {}}, 401),
        ({"iat": "x"}, 401),
    ],
)
def test_claims_decide(own_secret: str, changes: dict[str, Any], status: int) -> None:
    assert ask(own_secret, jwt.encode(claims(**changes), SECRET)).status_code == status


def test_a_clock_that_is_a_little_off_is_forgiven(own_secret: str) -> None:
    assert ask(own_secret, jwt.encode(claims(exp=int(time.time()) - 5), SECRET)).status_code == 422


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_another_algorithm_than_the_pinned_one_is_refused(own_secret: str, algorithm: str) -> None:
    token = jwt.encode(claims(), SECRET * 2, algorithm=algorithm)

    assert ask(own_secret, token).status_code == 401


def test_an_unsigned_token_is_refused(own_secret: str) -> None:
    assert ask(own_secret, jwt.encode(claims(), "", algorithm="none")).status_code == 401


def test_a_token_of_another_secret_is_refused(own_secret: str) -> None:
    assert ask(own_secret, jwt.encode(claims(), SECRET + "x")).status_code == 401


@pytest.mark.parametrize(
    "header", ["[" * 3000, "{}", "[]", '"x"', "null", "1" * 5000, '{"alg":[]}', '{"alg":"HS256","kid":5}']
)
def test_a_token_with_a_strange_header_is_refused(own_secret: str, header: str) -> None:
    first = base64.urlsafe_b64encode(header.encode()).rstrip(b"=").decode()

    assert ask(own_secret, f"{first}.e30.e30").status_code == 401


# A public key instead of the secret


def pem(key: Any) -> str:
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(("key", "algorithm"), [(RSA_KEY, "RS256"), (EC_KEY, "ES256")], ids=["RS256", "ES256"])
def test_a_public_key_admits_only_its_own_signatures(settings: Settings, serve: Any, key: Any, algorithm: str) -> None:
    configured = settings.model_copy(update={"jwt_public_key": pem(key), "jwt_secret": SECRET})
    with serve(configured) as address:
        assert ask(address, jwt.encode(claims(), key, algorithm=algorithm)).status_code == 422
        assert ask(address, jwt.encode(claims(role="USER"), key, algorithm=algorithm)).status_code == 403
        assert ask(address, jwt.encode(claims(), SECRET)).status_code == 401
        assert ask(address, signed_with_the_public_key(pem(key))).status_code == 401


def signed_with_the_public_key(text: str) -> str:
    """The classic confusion: HS256 with the public key's text as the secret."""
    parts = [json.dumps({"alg": "HS256", "typ": "JWT"}), json.dumps(claims())]
    signed = ".".join(base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts)
    signature = hmac.new(text.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
