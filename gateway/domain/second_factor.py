"""Codes of an authenticator (TOTP, RFC 6238) and the codes that stand in for a lost one.

SHA-1, six digits, thirty seconds: what every authenticator takes. A clock may be one step off either way.
"""

from __future__ import annotations

import base64
from datetime import timedelta
from urllib.parse import quote, urlencode

STEP, DIGITS, DRIFT = 30, 6, 1
SECRET_BYTES = 20
CODES = 10
# 120 bits each: found by nobody who reads what is kept of them.
CODE_BYTES = 15
TO_CONFIRM = timedelta(minutes=10)
TO_ANSWER = timedelta(minutes=5)
MOST_TRIES = 5  # of one challenge


def typed(code: str) -> str:
    """A code as it is compared: spaces, dashes and capitals are how people write."""
    return "".join(c for c in code.lower() if c.isalnum())


def is_totp(code: str) -> bool:
    """Whether it looks like what an authenticator shows, as against a recovery code."""
    return len(code) == DIGITS and code.isascii() and code.isdigit()


def recovery_code(raw: bytes) -> str:
    """A recovery code as it is shown, of CODE_BYTES: six groups of four."""
    text = base64.b32encode(raw).decode().lower()
    return "-".join(text[at : at + 4] for at in range(0, len(text), 4))


def base32(secret: bytes) -> str:
    """A secret as it is typed into an authenticator."""
    return base64.b32encode(secret).decode()


def uri_of(secret: bytes, *, issuer: str, account: str) -> str:
    """A secret as a QR code says it."""
    said = {
        "secret": base32(secret), "issuer": issuer, "algorithm": "SHA1", "digits": DIGITS, "period": STEP
    }  # fmt: skip
    return f"otpauth://totp/{quote(f'{issuer}:{account}')}?{urlencode(said, quote_via=quote)}"
