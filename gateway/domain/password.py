"""Which passwords are good enough: long, and not one that everybody tries first."""

from __future__ import annotations

import gzip
import re
import unicodedata
from functools import cache
from importlib import resources

from chassis.kernel.refusals import Refused

SHORTEST, LONGEST = 12, 128

# Tried first here, beside those of the list; ends and doublings are taken off before comparing.
_TRIED_FIRST = """
    abc abcd abcde abcdef admin administrator adminadmin asdf asdfgh asdfghjkl asdfghjklqwertyuiop baseball
    batman changeme computer dragon football freedom guest hello hunter iloveyou iloveyouforever internet
    jordan killer letmein letmeinplease login manager master michael monkey mustang mynameis naruto
    nopassword ninja pass passphrase passw0rd password passwordpassword pokemon princess qazwsx qazwsxedc
    qwer qwert qwerty qwertyui qwertyuiop qwertyuiopasdf root samsung secret shadow solo starwars summer
    sunshine superman support system temp tempo temporary test testing thisisapassword tradewind trustno
    user username welcome welcometo whatever winter wodemima woaini yourpassword zxcv zxcvbn zxcvbnm
    correcthorsebatterystaple
"""
COMMON = frozenset(_TRIED_FIRST.split())
# What leaked passwords are made of, 25,000 of them; where they come from: deploy/passwords/README.md.
_LIST = "common_passwords.txt.gz"
_LEET = str.maketrans("013457@$!", "oieastasi")
_RUNS = ("01234567890123456789", "abcdefghijklmnopqrstuvwxyz", "qwertyuiopasdfghjklzxcvbnm")


def check_password(password: str, *, field: str, about: tuple[str, ...] = ()) -> None:
    """Refuse a password that is too short, too long, well known, or made from *about* its owner."""
    if len(password) < SHORTEST:
        raise _weak(field, f"must have at least {SHORTEST} characters")
    if len(password) > LONGEST:
        raise _weak(field, f"must have at most {LONGEST} characters")
    plain = unicodedata.normalize("NFKC", password).casefold()
    if _monotonous(plain):
        raise _weak(field, "repeats itself or follows the keyboard")
    cores = {plain, core(plain), core(plain).translate(_LEET), core(plain.translate(_LEET))}
    if cores & COMMON or cores & common():
        raise _weak(field, "is one of those that are tried first")
    own = {core(text.casefold()) for text in about if len(core(text.casefold())) >= 3}
    if cores & own:
        raise _weak(field, "is made from the name or the e-mail")


def _weak(field: str, problem: str) -> Refused:
    return Refused("PASSWORD_WEAK", field=field, problem=problem)


@cache
def common() -> frozenset[str]:
    """The list of well-known passwords, without digits and signs at their ends; read when first asked for."""
    packed = resources.files("gateway.domain").joinpath(_LIST).read_bytes()
    return frozenset(gzip.decompress(packed).decode().split("\n"))


def core(text: str) -> str:
    """The letters that are left when digits and signs at both ends and doublings are taken off."""
    core = re.sub(r"^[\W\d_]+|[\W\d_]+$", "", text)
    doubled = re.fullmatch(r"(.+?)\1+", core)
    return doubled[1] if doubled else core


def _monotonous(text: str) -> bool:
    """A short piece over and over, or a walk along the digits, the alphabet or the keyboard."""
    if re.fullmatch(r"(.{1,4}?)\1*.{0,3}", text) and len(set(text)) <= 4:
        return True
    return any(text in run or text in run[::-1] for run in _RUNS)
