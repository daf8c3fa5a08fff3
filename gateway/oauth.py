"""OAuth 2.0 for programs: a key is exchanged for tokens of ten minutes (RFC 6749 §4.4, RFC 8414).

The client is the key's id or its service account, the secret is the key. What is refused is refused in the
words of RFC 6749 §5.2, which clients know, and not as a problem document.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl, unquote_plus

from chassis.call import Call
from chassis.identity import Signer
from chassis.kernel.refusals import Refused
from chassis.store import Store, Tx
from gateway import jsontext
from gateway.domain import throttle
from gateway.domain.api_key import ApiKey
from gateway.domain.role import only, within
from gateway.domain.user import State, User
from gateway.exchange import Answer, Request
from gateway.limits import Headers
from gateway.pages import Door, Page, fixed
from gateway.permissions import catalogue, permissions_of
from gateway.rpc.session import check_network
from gateway.store import roles_of
from gateway.tokens import Mint, held
from gateway.tries import Throttle

TOKEN = "/oauth/token"
METADATA = "/.well-known/oauth-authorization-server"
FORM = "application/x-www-form-urlencoded"
# What is asked for stands beside the token that answers it, in an index.
LONGEST_SCOPE = 1000
MOST_PARAMETERS = 20
NO_CACHE: Headers = ((b"pragma", b"no-cache"),)  # `Cache-Control: no-store` is said on every answer
CHALLENGE: Headers = ((b"www-authenticate", b'Basic realm="tradewind", charset="UTF-8"'),)


class Denied(Exception):
    """A refusal of RFC 6749 §5.2: one of its words, and a sentence for whoever reads the log."""

    def __init__(self, error: str, description: str, status: int = 400, headers: Headers = ()) -> None:
        super().__init__(error)
        self.error, self.description, self.status, self.headers = error, description, status, headers

    def answer(self) -> Answer:
        """As it is said."""
        said = {"error": self.error, "error_description": self.description}
        return Answer(self.status, jsontext.render(said), headers=(*NO_CACHE, *self.headers))


@dataclass(frozen=True)
class Client:
    """What a program came with: who it says it is, its secret, and whether it said so in the header."""

    id: str
    secret: str
    by_header: bool

    def unknown(self) -> Denied:
        """The same whatever was wrong, so that nobody learns which keys there are."""
        return Denied("invalid_client", "the client or its secret is not good", 401, CHALLENGE)


class TokenEndpoint:
    """Answers POST /oauth/token."""

    def __init__(self, store: Store, signer: Signer) -> None:
        self._store, self._mint = store, Mint(signer)
        self._throttle = Throttle(store, signer, "programs", throttle.PROGRAMS)

    async def page(self, request: Request) -> Answer:
        """A token, or what is wrong."""
        try:
            form = await _form(request)
            client = _client(request.header(b"authorization"), form)
            if form.get("grant_type") != "client_credentials":
                said = "unsupported_grant_type" if form.get("grant_type") else "invalid_request"
                raise Denied(said, "grant_type must be client_credentials")
            return await self._granted(client, _scope(form), request.peer)
        except Denied as denied:
            return denied.answer()

    async def _granted(self, client: Client, scope: tuple[str, ...], network: str) -> Answer:
        try:
            await self._throttle.begin(client.id[:100], network)
        except Refused as refused:
            wait = ((b"retry-after", str(refused.facts["seconds"]).encode()),)
            raise Denied("temporarily_unavailable", "too many tries; wait", 429, wait) from None
        now = datetime.now(UTC)
        found = await held(self._store, client.secret, "key", at=now)
        token = ""
        if found is not None:
            call = Call(tenant=found.tenant, user="services/access", now=now)
            try:
                async with self._store.begin(call) as tx:
                    key = await _good_key(tx, found.subject, client)
                    if key is not None:
                        granted = await _within(tx, key, scope, network)
                        until, kept = key.granted_until(now), " ".join((key.id, *scope))
                        token = self._mint.keep(tx, "grant", kept, secrets.randbits(62), until)
            except Denied:  # to a client whose secret was right
                await self._throttle.succeeded(client.id[:100], network)
                raise
        if not token:
            await self._throttle.failed(client.id[:100], network)
            raise client.unknown()
        await self._throttle.succeeded(client.id[:100], network)
        said = {
            "access_token": token, "token_type": "Bearer", "scope": " ".join(granted),
            "expires_in": int((until - now).total_seconds()),
        }  # fmt: skip
        return Answer(200, jsontext.render(said), headers=NO_CACHE)


async def _good_key(tx: Tx, key_id: str, client: Client) -> ApiKey | None:
    """The key behind the secret, if it is this client's and both key and owner may act."""
    try:
        key = await tx.get(ApiKey, f"apiKeys/{key_id}")
        owner = await tx.get(User, key.owner)
    except Refused:
        return None
    names = {key.id, f"apiKeys/{key.id}", key.owner, key.owner.removeprefix("users/")}
    good = client.id in names and key.good(tx.call.now) and owner.state is State.ACTIVE
    return key if good else None


async def _within(tx: Tx, key: ApiKey, scope: tuple[str, ...], network: str) -> tuple[str, ...]:
    """What the token is for: what was asked, if the key and its owner have all of it; else all of the key.
    Nothing from outside the organization's networks."""
    try:
        await check_network(tx, network)
    except Refused:
        raise Denied("unauthorized_client", "tokens are not given to this network") from None
    owner = await tx.get(User, key.owner)
    has = only(permissions_of(await roles_of(tx, owner.roles)), key.permissions)
    for pattern in scope:
        if not within(pattern, key.permissions, catalogue()) or not only(has, [pattern]):
            raise Denied("invalid_scope", "the scope must be permissions that the key has")
    return scope or key.permissions


async def _form(request: Request) -> dict[str, str]:
    """The body's parameters, each said once."""
    kind = request.header(b"content-type").partition(";")[0].strip().lower()
    body = await request.body()
    if kind != FORM:
        raise Denied("invalid_request", f"send the parameters as {FORM}")
    if request.query:
        raise Denied("invalid_request", "parameters belong into the body, not into the address")
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS
        )
    except ValueError:
        raise Denied("invalid_request", "the body is no form of few parameters in UTF-8") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise Denied("invalid_request", "a parameter stands twice")
    return {name: value for name, value in form.items() if value}  # §3.2: without a value is not said


def _client(authorization: str, form: dict[str, str]) -> Client:
    """Who asks, told in one of two ways (§2.3.1)."""
    if not authorization:
        client = Client(form.get("client_id", ""), form.get("client_secret", ""), by_header=False)
    else:
        if "client_secret" in form:
            raise Denied("invalid_request", "say the secret once: in the header or in the body")
        client = _basic(authorization)
        if form.get("client_id", client.id) != client.id:
            raise Denied("invalid_request", "client_id is another one than in the header")
    if not client.id or not client.secret:
        raise client.unknown()
    return client


def _basic(authorization: str) -> Client:
    scheme, _, said = authorization.partition(" ")
    try:
        if scheme.lower() != "basic":
            raise ValueError(scheme)
        text = base64.b64decode(said.strip(), validate=True).decode()
    except (ValueError, binascii.Error):
        raise Client("", "", by_header=True).unknown() from None
    name, _, secret = text.partition(":")
    return Client(unquote_plus(name), unquote_plus(secret), by_header=True)


def _scope(form: dict[str, str]) -> tuple[str, ...]:
    """The permissions that are asked for, each once; none means all that the key has."""
    said = form.get("scope", "")
    if len(said) > LONGEST_SCOPE:
        raise Denied("invalid_scope", f"the scope has more than {LONGEST_SCOPE} characters")
    return tuple(dict.fromkeys(said.split()))


def metadata(issuer: str) -> Page:
    """What RFC 8414 lets a client find out."""
    return fixed(
        jsontext.render({
            "issuer": issuer,
            "token_endpoint": f"{issuer}{TOKEN}",
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "response_types_supported": [],
            "scopes_supported": list(catalogue()),
            "service_documentation": f"{issuer}/docs",
        }),
        b"application/json",
    )  # fmt: skip


def oauth_pages(store: Store, signer: Signer, issuer: str) -> dict[str, Page]:
    """Path → page."""
    endpoint = TokenEndpoint(store, signer)
    return {TOKEN: Door(endpoint.page, frozenset({"POST"})), METADATA: metadata(issuer)}
