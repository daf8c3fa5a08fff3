"""What an organization is: the tenant that everything else belongs to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from chassis.kernel.record import Record
from chassis.kernel.refusals import invalid

Networks = tuple[IPv4Network | IPv6Network, ...]
EVERYONE = "*"


class Rounding(StrEnum):
    """How its papers round when they do not say so themselves."""

    HALF_UP = "HALF_UP"
    HALF_EVEN = "HALF_EVEN"
    DOWN = "DOWN"


@dataclass(frozen=True, kw_only=True)
class Organization(Record):
    """A company that works with Tradewind."""

    display_name: str
    locale: str = "en"
    time_zone: str = "UTC"
    fiscal_year_start_month: int = 1
    currency: str = "USD"
    rounding_mode: Rounding = Rounding.HALF_UP
    allowed_networks: tuple[str, ...] = ()
    second_factor_roles: tuple[str, ...] = ()  # "roles/…", or EVERYONE

    def check(self) -> None:
        """A name, a month, a currency and a time zone that exists."""
        if not self.display_name.strip() or self.display_name != self.display_name.strip():
            raise invalid("display_name", "must be a name without spaces around it")
        if not 1 <= self.fiscal_year_start_month <= 12:
            raise invalid("fiscal_year_start_month", "must be a month from 1 to 12")
        if len(self.currency) != 3 or not self.currency.isalpha() or not self.currency.isupper():
            raise invalid("currency", "must be three capital letters such as CNY")
        if not self.locale:
            raise invalid("locale", "must be a language such as zh-CN or en")
        check_time_zone(self.time_zone)
        self.networks()

    def networks(self) -> Networks:
        """From where it may be entered; from everywhere when there is none."""
        return tuple(_network(text, at) for at, text in enumerate(self.allowed_networks))

    def asks_for_second_factor(self, roles: Iterable[str]) -> bool:
        """Whether somebody with these roles must have a second factor."""
        asked = self.second_factor_roles
        return bool(asked) and (EVERYONE in asked or not set(asked).isdisjoint(roles))


def _network(text: str, at: int) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError:
        said = "must be a network such as 203.0.113.0/24 or 2001:db8::/32"
        raise invalid(f"allowed_networks[{at}]", said) from None


def within(networks: Networks, address: str) -> bool:
    """Whether an address lies in one of them; in none at all lies nobody who has no address."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if found.version == 6 and found.ipv4_mapped:
        found = found.ipv4_mapped
    return any(found in network for network in networks)


def check_time_zone(name: str, field: str = "time_zone") -> None:
    """Refuse a name that the time zone database does not know."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise invalid(field, "must be an IANA time zone such as Asia/Shanghai") from None
