"""What an organization is: the tenant that everything else belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from chassis.kernel.record import Record
from chassis.kernel.refusals import invalid


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


def check_time_zone(name: str, field: str = "time_zone") -> None:
    """Refuse a name that the time zone database does not know."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise invalid(field, "must be an IANA time zone such as Asia/Shanghai") from None
