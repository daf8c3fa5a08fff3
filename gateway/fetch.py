"""Documents of servers that somebody else named: https, public addresses, no detours, small and soon.

A name is resolved once; all its addresses are looked at, and the connection goes to the one that was found
good, so that a name that answers differently the second time gains nothing. Redirects are not followed,
proxies of the environment not used.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any
from urllib.parse import urlsplit

import httpx

from chassis.kernel.refusals import Refused
from chassis.settings import Networks

SECONDS = 5.0
LARGEST = 256 * 1024
Address = IPv4Address | IPv6Address


class Fetcher:
    """Asks for JSON; *allowed* are networks beside the public internet."""

    def __init__(self, allowed: Networks) -> None:
        self._allowed = allowed
        self._trust: ssl.SSLContext | None = None

    def check(self, url: str) -> None:
        """Refuse an address that would not be asked whatever its name stands for."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
            httpx.URL(url).host.encode("idna")  # as it is asked for: no label empty or too long
        except (ValueError, httpx.InvalidURL):
            raise _refused(url, "is no address") from None
        if not host or port == 0 or not url.isascii() or any(c <= " " or c == "\\" for c in url):
            raise _refused(url, "is no address")
        if parts.username is not None or parts.password is not None or parts.fragment:
            raise _refused(url, "must not hold a user or a fragment")
        literal = _literal(host)
        if literal is not None and not self._good(literal):
            raise _refused(url, "is not a public address")
        local = host == "localhost" or (literal is not None and literal.is_loopback)
        if parts.scheme != "https" and not (parts.scheme == "http" and local and self._allowed):
            raise _refused(url, "must begin with https://")

    async def get(self, url: str, *, token: str = "") -> Any:
        """The JSON object at *url*; ADDRESS_REFUSED, PROVIDER_UNREACHABLE or PROVIDER_INVALID."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        status, said = await self._ask("GET", url, headers=headers)
        if status != 200:
            raise Refused("PROVIDER_UNREACHABLE", url=url, problem=f"it says {status}")
        return said

    async def post(
        self, url: str, form: Mapping[str, str], user: tuple[str, str] | None = None
    ) -> tuple[int, Any]:
        """(status, JSON object) of a form sent to *url*, with *user* and password."""
        auth = httpx.BasicAuth(*user) if user else None
        return await self._ask("POST", url, data=dict(form), auth=auth)

    async def _ask(self, verb: str, url: str, **more: Any) -> tuple[int, Any]:
        self.check(url)
        try:
            async with asyncio.timeout(SECONDS):
                status, body = await self._answer(verb, url, more)
        except TimeoutError:
            raise Refused("PROVIDER_UNREACHABLE", url=url, problem="it takes too long") from None
        except (httpx.HTTPError, OSError) as problem:
            why = str(problem)[:200] or type(problem).__name__
            raise Refused("PROVIDER_UNREACHABLE", url=url, problem=why) from None
        try:
            said = json.loads(body)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            raise Refused("PROVIDER_INVALID", problem=f"{url} answers no JSON object")
        return status, said

    async def _answer(self, verb: str, url: str, more: dict[str, Any]) -> tuple[int, bytes]:
        """Status and body from the address that was found good."""
        asked = httpx.URL(url)
        address = await self._address(url, asked.host, asked.port or (443 if asked.scheme == "https" else 80))
        headers = {"host": asked.netloc.decode(), "accept": "application/json"} | more.pop("headers", {})
        client = httpx.AsyncClient(
            verify=self._trusted(), trust_env=False, follow_redirects=False, timeout=SECONDS
        )
        async with client, client.stream(
            verb, asked.copy_with(host=str(address)), headers=headers,
            extensions={"sni_hostname": asked.host}, **more,
        ) as answer:  # fmt: skip
            body = bytearray()
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > LARGEST:
                    raise Refused("PROVIDER_INVALID", problem=f"{url} answers more than {LARGEST} bytes")
            return answer.status_code, bytes(body)

    async def _address(self, url: str, host: str, port: int) -> Address:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [ip_address(str(each[4][0]).partition("%")[0]) for each in found]
        if not addresses or not all(self._good(address) for address in addresses):
            raise _refused(url, "is not a public address")
        plain = urlsplit(url).scheme == "http"
        if plain and not all(address.is_loopback for address in addresses):
            raise _refused(url, "must begin with https://")
        return addresses[0]

    def _good(self, address: Address) -> bool:
        inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        plain = inner or address
        if any(plain in network for network in self._allowed if network.version == plain.version):
            return True
        tunnel = isinstance(plain, IPv6Address) and (plain.sixtofour or plain.teredo or _translated(plain))
        return plain.is_global and not plain.is_multicast and not tunnel

    def _trusted(self) -> ssl.SSLContext:
        """The authorities of the machine; SSL_CERT_FILE names others."""
        if self._trust is None:
            self._trust = ssl.create_default_context()
        return self._trust


def _translated(address: IPv6Address) -> bool:
    """Whether it stands for an IPv4 address behind a translator (RFC 6052)."""
    return address.packed[:12] == bytes.fromhex("0064ff9b0000000000000000")


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _refused(url: str, problem: str) -> Refused:
    return Refused("ADDRESS_REFUSED", url=url[:300], problem=problem)
