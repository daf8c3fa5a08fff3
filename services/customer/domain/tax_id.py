"""Tax numbers: which kind one is, and whether it can be right."""

from __future__ import annotations

import re
import unicodedata

from chassis.kernel.refusals import invalid

# GB 32100-2015: 31 characters (I, O, S, V and Z are left out), each place weighted by a power of three.
_USCC_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_USCC = re.compile(f"[0-9A-HJ-NPQRTUWXY][0-9A-HJ-NPQRTUWXY][0-9]{{6}}[{_USCC_ALPHABET}]{{10}}")

# What follows the country's prefix in a VAT number; Greece writes EL, Northern Ireland XI.
_VAT = {
    prefix: re.compile(pattern)
    for prefix, pattern in {
        "AT": r"U\d{8}", "BE": r"[01]\d{9}", "BG": r"\d{9,10}", "CY": r"\d{8}[A-Z]", "CZ": r"\d{8,10}",
        "DE": r"\d{9}", "DK": r"\d{8}", "EE": r"\d{9}", "EL": r"\d{9}", "ES": r"[A-Z0-9]\d{7}[A-Z0-9]",
        "FI": r"\d{8}", "FR": r"[A-HJ-NP-Z0-9]{2}\d{9}", "HR": r"\d{11}", "HU": r"\d{8}",
        "IE": r"\d{7}[A-W][A-I]?|\d[A-Z+*]\d{5}[A-W]", "IT": r"\d{11}", "LT": r"\d{9}|\d{12}", "LU": r"\d{8}",
        "LV": r"\d{11}", "MT": r"\d{8}", "NL": r"\d{9}B\d{2}", "PL": r"\d{10}", "PT": r"\d{9}",
        "RO": r"\d{2,10}", "SE": r"\d{12}", "SI": r"\d{8}", "SK": r"\d{10}",
        "XI": r"\d{9}|\d{12}|GD\d{3}|HA\d{3}",
    }.items()
}  # fmt: skip
_EU = (_VAT.keys() - {"EL", "XI"}) | {"GR"}


def compact(number: str) -> str:
    """The number as it is kept: capitals of ordinary width, without spaces, dots and hyphens."""
    return re.sub(r"[\s.\-]", "", unicodedata.normalize("NFKC", number).upper())


def credit_code_check(body: str) -> str:
    """The 18th character of a unified social credit code, from the 17 before it."""
    total = sum(_USCC_ALPHABET.index(sign) * pow(3, place, 31) for place, sign in enumerate(body))
    return _USCC_ALPHABET[-total % 31]


def check(number: str, country: str) -> None:
    """Refuse a tax number that cannot be right in that country (or, without one, by its own looks)."""
    if country == "CN" or (not country and _looks_chinese(number)):
        if not _USCC.fullmatch(number):
            raise invalid(
                "tax_id", "must be a unified social credit code: 18 digits and capitals without I, O, S, V, Z"
            )
        if (right := credit_code_check(number[:17])) != number[17]:
            raise invalid("tax_id", f"ends in {number[17]} where its check character would be {right}")
    elif prefix := _vat_prefix(number, country):
        if not (number.startswith(prefix) and _VAT[prefix].fullmatch(number[2:])):
            raise invalid(
                "tax_id", f"must be a VAT number in the format of {prefix}, beginning with {prefix}"
            )
    elif not re.fullmatch(r"[0-9A-Z/+&*]{2,40}", number):
        raise invalid("tax_id", "must be 2 to 40 digits and letters")


def _looks_chinese(number: str) -> bool:
    return len(number) == 18 and number[:1].isdigit()


def _vat_prefix(number: str, country: str) -> str:
    """The prefix that the number should have, or nothing when it is no VAT number of the EU."""
    if country in _EU:
        return "EL" if country == "GR" else country
    if number[:2] in _VAT and (not country or (country == "GB" and number[:2] == "XI")):
        return number[:2]
    return ""
