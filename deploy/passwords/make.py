"""Makes gateway/domain/common_passwords.txt.gz from two lists that others keep.

    pip download --no-deps Django==5.2.19 zxcvbn==4.5.0 && python deploy/passwords/make.py *.whl

A password is refused when what is left of it without digits and signs at both ends is on the list, so the
list holds that of each of theirs, of four characters and more, and the long ones as they stand.
"""

from __future__ import annotations

import ast
import gzip
import sys
import zipfile
from pathlib import Path

from gateway.domain.password import SHORTEST, core

ROOT = Path(__file__).resolve().parents[2]
MADE = ROOT / "gateway" / "domain" / "common_passwords.txt.gz"
LEAST = 4


def of_django(wheel: zipfile.ZipFile) -> set[str]:
    """The twenty thousand that Django refuses."""
    packed = wheel.read("django/contrib/auth/common-passwords.txt.gz")
    return {line.strip() for line in gzip.decompress(packed).decode().splitlines() if line.strip()}


def of_zxcvbn(wheel: zipfile.ZipFile) -> set[str]:
    """The thirty thousand that zxcvbn knows, read and not run."""
    tree = ast.parse(wheel.read("zxcvbn/frequency_lists.py"))
    lists = next(node.value for node in tree.body if isinstance(node, ast.Assign))
    assert isinstance(lists, ast.Dict)
    for key, value in zip(lists.keys, lists.values, strict=True):
        if ast.literal_eval(key) == "passwords":  # type: ignore[arg-type]
            words = value.func.value if isinstance(value, ast.Call) else value  # type: ignore[attr-defined]
            found = ast.literal_eval(words)
            return set(found.split(",") if isinstance(found, str) else found)
    raise SystemExit("zxcvbn has no list of passwords any more")


def main(paths: list[str]) -> None:
    """Write the list; the same from the same wheels, to the byte."""
    known: set[str] = set()
    for path in paths:
        with zipfile.ZipFile(path) as wheel:
            known |= (of_django if Path(path).name.lower().startswith("django") else of_zxcvbn)(wheel)
    cores = {core(word) for word in known}
    kept = sorted({c for c in cores if len(c) >= LEAST} | {word for word in known if len(word) >= SHORTEST})
    MADE.write_bytes(gzip.compress("\n".join(kept).encode(), 9, mtime=0))
    print(f"{len(kept)} entries, {MADE.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
