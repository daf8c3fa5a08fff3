"""Sessions of browsers: a cookie that no script reads and no other site can use.

The cookie is set by the HTTP door alone and stands in no answer. Against requests that another site makes a
browser send (CSRF) a change must come from a page of this site: by Sec-Fetch-Site, which every current
browser sends and no page can write, else by Origin; what says neither is refused. A bearer token needs none.
"""

from __future__ import annotations

import re
from typing import Any

from tradewind.access.v1 import session_pb2

from chassis.call import Call
from chassis.identity import Signer
from chassis.kernel.refusals import Refused, invalid
from chassis.store import Store, utc_now
from gateway.contract import Method
from gateway.domain.session import ABSOLUTE, Session, State
from gateway.exchange import Request
from gateway.identify import COOKIES, Identifier, Identity
from gateway.limits import Headers
from gateway.rpc.session import end_session
from gateway.tokens import Mint, held

# Of this host alone, over TLS alone; the other one is for a developer's own machine.
SECURE, PLAIN = "__Host-tradewind", "tradewind-dev"
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_SIGN_IN, _SESSION = "tradewind.access.v1.SignIn", "tradewind.access.v1.Session"
_BROWSER = session_pb2.Session.BROWSER


class Cookies:
    """What the HTTP door does about cookies."""

    def __init__(self, identify: Identifier, store: Store, signer: Signer) -> None:
        self._identify, self._store, self._mint = identify, store, Mint(signer)

    async def identity(self, request: Request, method: Method, used: bool = True) -> Identity | None:
        """Who calls with a cookie, if there is one; CROSS_SITE for a change that another site asks for. What
        is not *used*, such as a page that listens, keeps no session from lying idle."""
        secret = _sent(request)
        if not secret:
            return None
        if method.effects or request.method not in ("GET", "HEAD"):
            check_site(request)
        return await self._identify.by_cookie(secret, request.peer, used)

    def check(self, request: Request, message: Any) -> None:
        """Refuse a sign-in for a browser that could not keep its cookie, or that another site asks for."""
        if getattr(message, "kind", 0) == _BROWSER:
            if not _keepable(request):
                raise invalid("kind", "must be TOKENS unless the request comes over HTTPS")
            check_site(request)

    @staticmethod
    def concern(method: Method) -> bool:
        """Whether an answer of this method may set or clear a cookie."""
        return method.effects and method.output.full_name in (_SIGN_IN, _SESSION)

    async def headers(self, request: Request, message: Any, answer: Any) -> Headers:
        """What an answer sets or clears: the cookie of who has signed in, or out, in a browser."""
        if message.validate_only:
            return ()
        if answer.DESCRIPTOR.full_name == _SIGN_IN:
            return await self._signed_in(request, answer.session)
        secret = _sent(request)
        found = await held(self._store, secret, *COOKIES, at=utc_now()) if secret else None
        ended = answer.state == session_pb2.Session.REVOKED
        if ended and found and answer.name == f"sessions/{found.subject}":
            return (_cookie(request, "", 0),)
        return ()

    async def _signed_in(self, request: Request, session: Any) -> Headers:
        if session.kind != _BROWSER or not _keepable(request):
            return ()
        if before := _sent(request):
            await self._replace(before)
        secret = self._mint.secret("browser", session.name.removeprefix("sessions/"), session.generation)
        return (_cookie(request, secret, int(ABSOLUTE.total_seconds())),)

    async def _replace(self, secret: str) -> None:
        """Who signs in anew leaves the session before."""
        found = await held(self._store, secret, *COOKIES, at=utc_now())
        if found is None:
            return
        async with self._store.begin(Call(tenant=found.tenant, user="services/access")) as tx:
            session = await tx.find(Session, id=found.subject)
            if session and session.state is State.ACTIVE:
                end_session(tx, session, "signed in anew")


def check_site(request: Request) -> None:
    """Refuse with CROSS_SITE what does not come from a page of this site."""
    site = request.header(b"sec-fetch-site")
    if site:
        if site != "same-origin":
            raise Refused("CROSS_SITE", problem="Sec-Fetch-Site is not same-origin")
        return
    origin = request.header(b"origin")
    if not origin:
        raise Refused("CROSS_SITE", problem="neither Sec-Fetch-Site nor Origin was sent")
    scheme = "https" if request.secure else "http"
    if origin.lower() != f"{scheme}://{request.header(b'host').lower()}":
        raise Refused("CROSS_SITE", problem="Origin is another site")


def _keepable(request: Request) -> bool:
    """Whether a browser can be given a cookie: over TLS, or on a developer's own machine as such."""
    if request.secure:
        return True
    host = request.header(b"host").lower()
    return request.peer in _LOOPBACK and re.sub(r":\d+$", "", host).strip("[]") in _LOOPBACK


def _sent(request: Request) -> str:
    """The cookie of a session as it was sent, "" for none."""
    raw = request.header(b"cookie")
    name = SECURE if request.secure else PLAIN
    if name not in raw:
        return ""
    for part in raw.split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return ""


def _cookie(request: Request, value: str, seconds: int) -> tuple[bytes, bytes]:
    name, secure = (SECURE, "; Secure") if request.secure else (PLAIN, "")
    said = f"{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"
    return b"set-cookie", said.encode()
