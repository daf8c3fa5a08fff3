"""A real OpenID provider on a port of its own: authlib's authorization server, with users that a test names.

It enforces what providers enforce: registered redirect URIs, client secrets, PKCE with S256, codes that are
good once. `spoil` lets a test tell lies in its name, with its true keys.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlsplit

import jwt
from authlib.common.security import generate_token
from authlib.oauth2 import AuthorizationServer, OAuth2Request
from authlib.oauth2.rfc6749 import ClientMixin
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import OpenIDCode
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

CLIENT, SECRET = "tradewind", "a secret of sixteen letters & more"
Spoil = Callable[[dict[str, Any], dict[str, Any]], str | None]


class Client(ClientMixin):
    """The one client that is registered."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider

    def get_client_id(self) -> str:
        return CLIENT

    def get_default_redirect_uri(self) -> str:
        return ""

    def get_allowed_scope(self, scope: str) -> str:
        return " ".join(each for each in scope.split() if each in ("openid", "email", "profile", "groups"))

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri in self.provider.redirect_uris

    def check_client_secret(self, client_secret: str) -> bool:
        return SECRET in (client_secret, unquote_plus(client_secret))

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == self.provider.auth_method

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "authorization_code"


@dataclass
class Code:
    """A code that was given out."""

    code: str
    redirect_uri: str
    scope: str
    nonce: str
    claims: dict[str, Any]
    code_challenge: str
    code_challenge_method: str

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str:
        return self.nonce

    def get_auth_time(self) -> int:
        return int(time.time())

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None


class Grant(AuthorizationCodeGrant):
    """The authorization code grant, with codes kept in memory."""

    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic", "client_secret_post", "none")

    def save_authorization_code(self, code: str, request: Any) -> None:
        said = request.payload.data
        self.server.provider.codes[code] = Code(
            code, said["redirect_uri"], said["scope"], said.get("nonce", ""), dict(request.user),
            said.get("code_challenge", ""), said.get("code_challenge_method", ""),
        )  # fmt: skip

    def query_authorization_code(self, code: str, client: Any) -> Code | None:
        return self.server.provider.codes.get(code)

    def delete_authorization_code(self, authorization_code: Code) -> None:
        if not self.server.provider.forgetful:
            self.server.provider.codes.pop(authorization_code.code)

    def authenticate_user(self, authorization_code: Code) -> dict[str, Any]:
        return authorization_code.claims


class IdTokens(OpenIDCode):
    """Signed with the provider's key, unless a test has its own idea."""

    def __init__(self, provider: Provider) -> None:
        super().__init__(require_nonce=False)
        self.provider = provider

    def exists_nonce(self, nonce: str, request: Any) -> bool:
        return False

    def resolve_client_private_key(self, client: Any) -> Any:
        return self.provider.key

    def get_client_algorithm(self, client: Any) -> str:
        return self.provider.algorithm

    def get_client_claims(self, client: Any) -> dict[str, Any]:
        return {"iss": self.provider.issuer, "aud": [CLIENT]}

    def get_encode_header(self, client: Any) -> dict[str, Any]:
        return {"alg": self.provider.algorithm, "kid": self.provider.key.kid}

    def generate_user_info(self, user: dict[str, Any], scope: str) -> dict[str, Any]:
        return {"sub": user["sub"]} if self.provider.tells_late else user

    def encode_id_token(self, token: Any, request: Any) -> str:
        good = super().encode_id_token(token, request)
        if self.provider.spoil is None:
            return good
        claims = jwt.decode(good, options={"verify_signature": False})
        return self.provider.spoil(jwt.get_unverified_header(good), claims) or good


class Asked(OAuth2Request):
    """A request whose parameters were read already, from the query or the body."""

    @property
    def form(self) -> dict[str, str]:
        return self.payload.data

    args = form


class Server(AuthorizationServer):
    """authlib's server, without a framework around it."""

    def __init__(self, provider: Provider) -> None:
        super().__init__()
        self.provider = provider
        made = BearerTokenGenerator(lambda **_: generate_token(42))
        self.register_token_generator("default", made)
        self.register_grant(Grant, [IdTokens(provider), CodeChallenge(required=True)])

    def query_client(self, client_id: str) -> Client | None:
        return Client(self.provider) if client_id == CLIENT else None

    def save_token(self, token: dict[str, Any], request: Any) -> None:
        self.provider.tokens[token["access_token"]] = dict(request.user)

    def create_oauth2_request(self, request: Any) -> Any:
        return request

    def handle_response(self, status: int, body: Any, headers: Any) -> tuple[int, Any, dict[str, str]]:
        return status, body, dict(headers)

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Nobody listens."""


@dataclass
class Provider:
    """What a test changes about the provider while it runs."""

    issuer: str
    person: dict[str, Any] = field(default_factory=dict)  # the claims of who signs in next
    algorithm: str = "RS256"
    auth_method: str = "client_secret_basic"
    redirect_uris: set[str] = field(default_factory=set)
    spoil: Spoil | None = None
    forgetful: bool = False  # takes the same code twice
    tells_late: bool = False  # says of people only at the userinfo endpoint
    names_itself: bool = True
    configuration: dict[str, Any] = field(default_factory=dict)  # what it says differently of itself
    codes: dict[str, Code] = field(default_factory=dict)
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    keys: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.server = Server(self)
        named = {"use": "sig"}
        self.keys = {
            "RS256": RSAKey.generate_key(2048, {**named, "kid": "r"}),
            "ES256": ECKey.generate_key("P-256", {**named, "kid": "e"}),
            "EdDSA": OKPKey.generate_key("Ed25519", {**named, "kid": "o"}),
        }

    def reset(self) -> None:
        """As it was, with the same keys and the same registered addresses."""
        for each in fields(self):
            if each.name not in ("issuer", "keys", "redirect_uris"):
                setattr(
                    self,
                    each.name,
                    each.default_factory() if callable(each.default_factory) else each.default,
                )

    @property
    def key(self) -> Any:
        """What it signs with at present."""
        return self.keys[self.algorithm]

    def described(self) -> dict[str, Any]:
        """Its configuration."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": list(self.keys),
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": [self.auth_method],
            "authorization_response_iss_parameter_supported": self.names_itself,
            **self.configuration,
        }

    def answer(
        self, verb: str, path: str, said: dict[str, str], headers: Any
    ) -> tuple[int, Any, dict[str, str]]:
        """(status, body, headers) of a request."""
        self.asked.append(path)
        if path == "/.well-known/openid-configuration":
            return 200, self.described(), {}
        if path == "/keys":
            public = KeySet(list(self.keys.values())).as_dict(private=False)
            return 200, public, {}
        if path == "/userinfo":
            found = self.tokens.get(headers.get("Authorization", "").removeprefix("Bearer "))
            return (200, found, {}) if found else (401, {"error": "invalid_token"}, {})
        if path.startswith("/moved"):
            return 302, {}, {"Location": f"{self.issuer}/keys"}
        # The library insists on TLS, which a test on loopback does not have.
        request = Asked(verb, f"https://provider.test{path}", headers=headers)
        request.payload = BasicOAuth2Payload(said)
        if path == "/token":
            return self.server.create_token_response(request)
        grant = self.server.get_consent_grant(request, self.person)
        status, body, more = self.server.create_authorization_response(request, self.person, grant)
        if self.names_itself and "Location" in more:
            more["Location"] += f"&iss={self.issuer}"
        return status, body, more


class _Handler(BaseHTTPRequestHandler):
    provider: Provider

    def _carry_out(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        status, said, headers = self.provider.answer(
            self.command, parts.path, dict(parse_qsl(body or parts.query)), self.headers
        )
        raw = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_POST = _carry_out

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""


@contextmanager
def running_provider() -> Iterator[Provider]:
    """A provider that answers until the end of the block."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.provider = Provider(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield handler.provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
