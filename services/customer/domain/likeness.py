"""When two names mean the same company: what is left of a name once its dress is taken off."""

from __future__ import annotations

import re
import unicodedata

# Legal forms that end a name, as they look without dots.
_FORMS = frozenset(
    {
        "inc", "incorporated", "corp", "corporation", "co", "company", "ltd", "limited", "llc",
        "llp", "lp", "plc", "gmbh", "mbh", "ag", "kg", "kgaa", "ohg", "ug", "se", "ev", "sa", "sas",
        "sasu", "sarl", "srl", "spa", "sl", "slu", "bv", "nv", "ab", "as", "aps", "oy", "oyj",
        "pty", "pte", "kk", "ltda", "sdn", "bhd",
    }
)  # fmt: skip
_CHINESE_FORMS = ("股份有限公司", "有限责任公司", "有限公司", "公司")


def likeness(name: str) -> str:
    """The name in one width, case and spelling, without punctuation, spaces and legal form.

    Equal for "Acme Corp.", "ACME, Inc." and "ａｃｍｅ"; for "云帆科技（上海）有限公司" and "云帆科技(上海)".
    """
    plain = unicodedata.normalize("NFKC", name).casefold().replace("&", " and ")
    words = re.sub(r"[\W_]+", " ", re.sub(r"[.'’]", "", plain)).split()
    while len(words) > 1 and (words[-1] in _FORMS or words[-1] == "and"):
        words.pop()
    joined = "".join(words)
    for form in _CHINESE_FORMS:
        if joined.endswith(form) and joined != form:
            return joined.removesuffix(form)
    return joined
