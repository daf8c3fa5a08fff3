"""Signing in by an identity provider, as a browser sees it: away to the provider, and back with its word.

/sign-in/{provider} sends the browser away; what has to be known when it comes back travels with it,
encrypted, in a cookie that no script reads. /sign-in/{provider}/callback takes the answer only from the
browser that was sent, once, within ten minutes. What it brings home is a code, good for a minute, for whoever
knows the verifier of the challenge that the sign-in began with.
"""

from __future__ import annotations

import hmac
import json
import logging
import re
import secrets
import time
from dataclasses import asdict, dataclass
from datetime import timedelta
from urllib.parse import parse_qsl, quote, urlencode

from tradewind.type.v1 import audit_pb2

from chassis.audit.trail import Trail
from chassis.call import Call
from chassis.identity import Signer
from chassis.kernel.refusals import Refused, invalid
from chassis.settings import Settings
from chassis.store import Store
from gateway import arrivals
from gateway.domain.identity_provider import IdentityProvider
from gateway.exchange import Answer, Request
from gateway.fetch import Fetcher
from gateway.limits import Headers
from gateway.openid import Configuration, OpenId
from gateway.pages import HTML, Door, Page
from gateway.providers import UNDER, ClientSecrets, challenge_of, entrance, way_back
from gateway.seal import Seal
from gateway.store import organization_of, use_up
from gateway.tokens import Mint

log = logging.getLogger(__name__)
PATIENCE = timedelta(minutes=10)  # from the way out to the way back
REDEEM = timedelta(seconds=60)
MOST_PARAMETERS, LONGEST = 20, 2000
# A path of this gateway's own: nothing that a browser could take for another host.
HOME = re.compile(r"/(?![/\\])[\w\-.~!$&'()*+,;=:@/?%]{0,500}", re.ASCII)
CHALLENGE = re.compile(r"[\w-]{43}", re.ASCII)
ERROR = re.compile(r"[a-z_]{1,40}", re.ASCII)
# What a sign-in is for, as the audit trail calls it also when it did not come so far.
REDEEMED = "/tradewind.access.v1.IdentityProviderService/RedeemSignIn"
QUIET: tuple[bytes, bytes] = (b"referrer-policy", b"no-referrer")


@dataclass(frozen=True)
class Flow:
    """A sign-in under way."""

    tenant: str
    state: str
    nonce: str
    verifier: str  # of the provider's code
    challenge: str  # of ours
    home: str
    began: int  # Unix seconds


class SignInPages:
    """Answers everything under /sign-in/."""

    def __init__(self, store: Store, signer: Signer, settings: Settings, trail: Trail) -> None:
        self._store, self._origin, self._trail = store, settings.origin, trail
        self._openid = OpenId(Fetcher(settings.issuer_networks))
        self._mint, self._secrets = Mint(signer), ClientSecrets(signer)
        self._seal = Seal(signer, "sign-ins under way")
        secure = self._origin.startswith("https://")
        # The prefix is the browser's promise that no other host of the domain has set it.
        self._cookie = "__Host-tradewind-sign-in" if secure else "tradewind-sign-in"
        self._traits = f"; Path=/; HttpOnly; SameSite=Lax{'; Secure' if secure else ''}"

    async def page(self, request: Request) -> Answer:
        """The way out or the way back."""
        provider, slash, rest = request.path.removeprefix(UNDER).partition("/")
        if rest not in ("", "callback") or (slash and not rest):
            raise Refused("ROUTE_UNKNOWN", method=request.method, path=request.path[:200])
        said = _parameters(request.query)
        return await (self._back(request, provider, said) if rest else self._out(provider, said))

    async def _out(self, key: str, said: dict[str, str]) -> Answer:
        home, challenge = said.get("returnTo", "/"), said.get("challenge", "")
        if not HOME.fullmatch(home):
            raise invalid("returnTo", "must be a path of this server such as /start")
        if not CHALLENGE.fullmatch(challenge):
            raise invalid("challenge", "must be the SHA-256 of the verifier in base64url, 43 characters")
        tenant, provider = await self._provider(key)
        configuration = await self._openid.configuration(provider.issuer)
        token = secrets.token_urlsafe
        flow = Flow(tenant, token(32), token(32), token(48), challenge, home, int(time.time()))
        asked = {
            "response_type": "code", "client_id": provider.client_id, "scope": provider.asked_scopes,
            "redirect_uri": self._origin + way_back(key), "state": flow.state, "nonce": flow.nonce,
            "code_challenge": challenge_of(flow.verifier), "code_challenge_method": "S256",
        }  # fmt: skip
        joint = "&" if "?" in configuration.authorize else "?"
        kept = self._seal.close(json.dumps(asdict(flow)), entrance(key))
        return _sent(
            configuration.authorize + joint + urlencode(asked, quote_via=quote),
            self._kept(kept, int(PATIENCE.total_seconds())),
        )

    async def _back(self, request: Request, key: str, said: dict[str, str]) -> Answer:
        flow = self._flow(request, key, said.get("state", ""))
        gone = self._kept("", 0)
        try:
            code = await self._entered(key, flow, said)
        except Refused as refused:
            self._on_record(request, key, flow, refused)
            return _sent(f"{flow.home}#error={refused.reason}", gone)
        return _sent(f"{flow.home}#code={code}", gone)

    def _on_record(self, request: Request, key: str, flow: Flow, refused: Refused) -> None:
        """For the audit trail, and with the problem for who sets up a provider."""
        facts = {"identity_provider": key, "reason": refused.reason}
        facts["problem"] = refused.facts.get("problem", "")
        log.info("a sign-in by an identity provider was refused", extra={"facts": facts})
        call = Call(
            tenant=flow.tenant, user="services/access", method=REDEEMED, peer=request.peer,
            agent=request.header(b"user-agent")[:200], traceparent=request.traceparent,
        )  # fmt: skip
        whom = [f"identityProviders/{key}"]
        self._trail.note(call, audit_pb2.SIGN_IN_FAILED, reason=refused.reason, records=whom)

    def _flow(self, request: Request, key: str, state: str) -> Flow:
        """The sign-in that this browser began, and nobody else's."""
        cookie = _cookie(request.header(b"cookie"), self._cookie)
        opened = self._seal.open(cookie, entrance(key)) if cookie else None
        if opened is None:
            raise Refused("SIGN_IN_NOT_BEGUN")
        flow = Flow(**json.loads(opened))
        late = time.time() - flow.began > PATIENCE.total_seconds()
        if late or not hmac.compare_digest(flow.state.encode(), state.encode()):
            raise Refused("SIGN_IN_NOT_BEGUN")
        return flow

    async def _entered(self, key: str, flow: Flow, said: dict[str, str]) -> str:
        """A code for whom the provider's answer lets in."""
        tenant, provider = await self._provider(key)
        configuration = await self._openid.configuration(provider.issuer)
        await self._use_up(flow)
        _check_answer(configuration, said)
        secret = self._secrets.open(tenant, provider)
        if secret is None:
            raise Refused("PROVIDER_INVALID", problem="its client secret cannot be read; set it again")
        signed = await self._openid.exchange(
            configuration, client=provider.client_id, secret=secret, code=said["code"],
            verifier=flow.verifier, redirect=self._origin + way_back(key),
        )  # fmt: skip
        claims = await self._openid.claims(configuration, signed, client=provider.client_id, nonce=flow.nonce)
        who = provider.read(claims)
        if not who.email or (provider.role_claim and not who.groups):
            who = provider.read(await self._openid.more(configuration, signed, claims))
        call = Call(tenant=tenant, user="services/access", cause="sign-in")
        async with self._store.begin(call) as tx:
            provider = await tx.get(IdentityProvider, f"identityProviders/{key}")
            user = await arrivals.arrive(tx, provider, who)
            subject = f"{user.id} {call.new_id()} {flow.challenge}"
            code = self._mint.keep(tx, "entry", subject, 0, call.now + REDEEM)
        arrivals.admitted(provider, user)
        return code

    async def _provider(self, key: str) -> tuple[str, IdentityProvider]:
        """(organization, provider) of that id; one that is not enabled is none."""
        tenant = await organization_of(self._store, key[:100])
        if not tenant:
            raise Refused("NOT_FOUND", name=f"identityProviders/{key[:100]}")
        async with self._store.begin(Call(tenant=tenant, user="services/access")) as tx:
            provider = await tx.get(IdentityProvider, f"identityProviders/{key}")
        if not provider.enabled:
            raise Refused("NOT_FOUND", name=f"identityProviders/{key}")
        return tenant, provider

    async def _use_up(self, flow: Flow) -> None:
        """An answer is taken once, wherever it is brought again."""
        call = Call(tenant=flow.tenant, user="services/access")
        async with self._store.begin(call) as tx:
            fresh = await use_up(tx, flow.state, call.now + 2 * PATIENCE)
        if not fresh:
            raise Refused("SIGN_IN_NOT_BEGUN")

    def _kept(self, value: str, seconds: int) -> Headers:
        return ((b"set-cookie", f"{self._cookie}={value}; Max-Age={seconds}{self._traits}".encode()), QUIET)


def _check_answer(configuration: Configuration, said: dict[str, str]) -> None:
    """The answer is this provider's (RFC 9207) and brings a code."""
    issuer = said.get("iss")
    if issuer != configuration.issuer and (issuer is not None or configuration.names_itself):
        raise Refused("IDENTITY_REFUSED", problem="the answer is another provider's")
    if error := said.get("error"):
        shown = error if ERROR.fullmatch(error) else "an error"
        raise Refused("IDENTITY_REFUSED", problem=f"it answers {shown}")
    if not said.get("code"):
        raise Refused("IDENTITY_REFUSED", problem="the answer brings no code")


def _parameters(query: bytes) -> dict[str, str]:
    """The parameters of the address, each said once."""
    try:
        pairs = parse_qsl(query.decode("ascii"), max_num_fields=MOST_PARAMETERS, errors="strict")
    except ValueError:
        raise invalid("query", "must be few parameters in percent-encoded UTF-8") from None
    said = dict(pairs)
    if len(said) != len(pairs) or any(len(value) > LONGEST for value in said.values()):
        raise invalid("query", f"must name each parameter once, in at most {LONGEST} characters")
    return said


def _cookie(header: str, name: str) -> str:
    for part in header.split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return ""


def _sent(to: str, headers: Headers) -> Answer:
    return Answer(303, b"", HTML, ((b"location", to.encode("ascii", "strict")), *headers))


def sign_in_pages(store: Store, signer: Signer, settings: Settings, trail: Trail) -> dict[str, Page]:
    """Path → page; what ends in a stroke answers for everything beneath."""
    return {UNDER: Door(SignInPages(store, signer, settings, trail).page, frozenset({"GET"}))}
