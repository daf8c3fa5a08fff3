"""All tests, as three sessions side by side: some wait for installations while others compute.

`python -m tests` is what `make test` runs; with arguments it is pytest, told these.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
# About as long as each other, and as all that is in neither: the nouns, and who may do what with them.
SESSIONS = {
    "a": ("chaos", "stack"),
    "b": ("bench", "chassis", "deploy", "fuzz", "journeys", "kernel"),
}


def sides() -> dict[str, list[str]]:
    """The folders of each session, by its name; together they are all there is."""
    folders = sorted({path.relative_to(HERE).parts[0] for path in HERE.rglob("test_*.py")})
    named = {folder for those in SESSIONS.values() for folder in those}
    others = tuple(folder for folder in folders if folder not in named)
    return {side: [f"tests/{name}" for name in those] for side, those in {**SESSIONS, "c": others}.items()}


class Side:
    """One session: its progress is shown as it comes, all else it says when it has ended."""

    def __init__(self, name: str, folders: list[str]) -> None:
        self.name, self.said = name, list[str]()
        command = [sys.executable, "-m", "pytest", "--durations=20", "--durations-min=3", *folders]
        print(f"{name}: pytest {' '.join(folders)}", flush=True)
        self.process = subprocess.Popen(
            command, cwd=HERE.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            if line.rstrip().endswith("%]"):
                print(f"{self.name}  {line}", end="", flush=True)
            else:
                self.said.append(line)

    def end(self) -> int:
        """Wait for its end and say what it had to say; its exit code."""
        code = self.process.wait()
        self._reading.join()
        print(f"\n{self.name}: exit code {code}\n{''.join(self.said)}", end="", flush=True)
        return code


def main(arguments: list[str]) -> int:
    """Run everything, or what the arguments say; 0 when all of it passed."""
    if arguments:
        return subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=HERE.parent).returncode
    running = [Side(name, folders) for name, folders in sides().items()]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the sessions hear it too, and end what they started
    codes = []
    while running:  # each is heard as soon as it has ended: one may fail long before the other is through
        for side in [side for side in running if side.process.poll() is not None]:
            running.remove(side)
            codes.append(side.end())
        time.sleep(0.2)
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
