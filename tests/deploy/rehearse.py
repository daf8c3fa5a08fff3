"""`make rehearse`: the Dockerfile and compose.yaml without Docker, where no engine is at hand.

The Dockerfile's instructions are carried out in a folder, by an interpreter that stands for BASE_IMAGE; the
processes are started as compose.yaml says, by an unprivileged user who can write nothing, with its
environment and its secrets in files. PostgreSQL and NATS are the embedded ones. What differs from a
container: paths are in a folder, names are 127.0.0.1, no namespace keeps the processes apart.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from stack.files import free_port
from tests.servers import Servers, running

ROOT = Path(__file__).resolve().parents[2]
STRANGER = 65532
FOLDERS = ("/src", "/build", "/opt/tradewind", "/etc/tradewind", "/run/secrets")
READY_WITHIN, ENDS_WITHIN = 240.0, 25.0


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """(instruction, argument) of a Dockerfile, with continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word, rest.strip()


class Image:
    """What the Dockerfile makes, in a folder."""

    def __init__(self, folder: Path, python: Path) -> None:
        self.folder, self.python = folder, python
        self.cwd, self.env, self.user, self.entrypoint = folder, dict[str, str](), "", [""]

    def here(self, text: str) -> str:
        """Absolute paths of the image as paths of the folder."""
        for known in FOLDERS:
            text = re.sub(rf"(?<![\w.-]){known}(?=[/:\s\"']|$)", f"{self.folder}{known}", text)
        return text

    def build(self) -> None:
        """Carry out every instruction; the last stage's changes to its own base are left out."""
        commands = self.folder / "bin"
        commands.mkdir()
        (commands / "python").symlink_to(self.python)
        stage = 0
        for word, said in instructions((ROOT / "Dockerfile").read_text("utf-8")):
            if word == "FROM":
                stage += 1
                self.env = {"PATH": f"{commands}:/usr/bin:/bin"}
            elif word == "WORKDIR":
                self.cwd = Path(self.here(said))
                self.cwd.mkdir(parents=True, exist_ok=True)
            elif word == "ENV":
                for pair in shlex.split(said):
                    name, _, value = pair.partition("=")
                    self.env[name] = self.here(value).replace("$PATH", self.env.get("PATH", ""))
            elif word == "COPY" and stage == 1:
                self._copy(said.split())
            elif word == "RUN" and stage == 1:
                self._run(said)
            elif word == "USER":
                self.user = said
            elif word == "ENTRYPOINT":
                self.entrypoint = yaml.safe_load(said)

    def _copy(self, words: list[str]) -> None:
        *sources, target = words
        into = self.cwd / target
        for source in sources:
            path = ROOT / source
            if path.is_dir():
                shutil.copytree(path, into, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                into.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, into)

    def _run(self, said: str) -> None:
        command = self.here(said)
        print(f"RUN {command[:160]}", flush=True)
        pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        home = {"HOME": os.environ.get("HOME", "/")}
        subprocess.run(["/bin/sh", "-ec", command], cwd=self.cwd, env=self.env | pip | home, check=True)

    def start(self, arguments: list[str], env: dict[str, str], **more: Any) -> subprocess.Popen[bytes]:
        """The entrypoint with these arguments, as the image's user, told nothing but *env*."""
        uid, _, gid = self.user.partition(":")
        assert int(uid) and int(gid), "the image runs as root"
        apart = {"user": int(uid), "group": int(gid), "extra_groups": []} if os.geteuid() == 0 else {}
        program = shutil.which(self.entrypoint[0], path=self.env["PATH"])
        assert program and program.startswith(str(self.folder)), "the entrypoint is not in the image"
        return subprocess.Popen([program, *arguments], cwd=self.cwd, env=self.env | env, **apart, **more)


class Composed:
    """compose.yaml, on this machine: names and ports of its own in place of the network's."""

    def __init__(self, image: Image, servers: Servers) -> None:
        self.image, self.servers = image, servers
        self.services: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]
        self.ours = [name for name, said in self.services.items() if said["image"].startswith("tradewind")]
        self.ports = {(name, port): free_port() for name in self.ours for port in (8080, 9000, 9090, 9100)}
        self.secrets: dict[str, Path] = {}

    def make_secrets(self) -> None:
        """As `tradewind secrets` makes them, with the servers' own addresses and passwords."""
        compose = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
        folder = self.image.folder / "secrets"
        assert (
            self.image.start(["secrets", str(folder)], {}, stderr=subprocess.DEVNULL).wait() != 0
        )  # it may not write
        folder.mkdir()
        os.chown(folder, STRANGER, STRANGER) if os.geteuid() == 0 else None
        assert self.image.start(["secrets", str(folder)], {}).wait() == 0
        for path in folder.glob("*_url"):
            text = path.read_text("utf-8")
            at = urlsplit(self.servers.nats_url if path.name.endswith("nats_url") else self.servers.admin_url)
            theirs = f"{at.hostname}:{at.port}"
            text = re.sub(r"@[^/]+", f"@{theirs}", text)
            if path.name.endswith("nats_url") or path.name == "postgres_url":
                text = text.replace(text[: text.index("@")], f"{at.scheme}://{at.username}:{at.password}")
            path.write_text(text, "utf-8")
        folder.chmod(0o755)  # a container is handed single files; here they are reached through the folder
        for name, said in {**compose["secrets"], **compose["configs"]}.items():
            self.secrets[name] = folder / Path(said["file"]).name

    def environment(self, name: str) -> dict[str, str]:
        """What compose tells a service, with this machine's addresses and its secrets in its own folder."""
        said, mine = self.services[name], self.image.folder / "mounts" / name
        for kind in ("secrets", "configs"):
            for each in said.get(kind, []):
                source, target = (each, each) if isinstance(each, str) else (each["source"], each["target"])
                path = mine / (target.lstrip("/") if "/" in target else f"run/secrets/{target}")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.symlink_to(self.secrets[source])
        env = {}
        for key, value in said["environment"].items():
            value = re.sub(r"^/(?=etc|run)", f"{mine}/", str(value))
            if match := re.fullmatch(r"(?:dns:///)?([\w.]+):(\d+)", value):
                peer = name if match[1] == "0.0.0.0" else match[1]
                value = f"127.0.0.1:{self.ports[peer, int(match[2])]}"
            env[key] = value
        if name == "gateway":  # ports that a container has to itself
            env |= {f"TRADEWIND_{kind}_PORT": str(self.ports[name, port])
                    for kind, port in (("HTTP", 8080), ("GRPC", 9090))}  # fmt: skip
        return env

    def health(self, name: str) -> list[str]:
        """The health check of a service, asked at this machine's address."""
        return [re.sub(r"127\.0\.0\.1:(\d+)", lambda m: f"127.0.0.1:{self.ports[name, int(m[1])]}", word)
                for word in self.services[name]["healthcheck"]["test"][2:]]  # fmt: skip


def rehearse(image: Image, servers: Servers) -> None:
    """Migrate, serve, be healthy, found an organization, sign in, end within 25 seconds."""
    composed = Composed(image, servers)
    composed.make_secrets()
    migrate = image.start(composed.services["migrate"]["command"], composed.environment("migrate"))
    assert migrate.wait() == 0, "the migrations failed"
    serving = {
        name: image.start(
            composed.services[name]["command"], composed.environment(name), stderr=subprocess.DEVNULL
        )
        for name in composed.ours
        if name != "migrate"
    }
    try:
        for name, process in serving.items():
            _until_healthy(image, composed, name, process)
        _found(image, composed)
    finally:
        started = time.monotonic()
        for process in serving.values():
            process.send_signal(signal.SIGTERM)
        ends = {name: process.wait(60) for name, process in serving.items()}
        print(f"ended {ends} after {time.monotonic() - started:.1f} s")
    assert set(ends.values()) == {0}


def _until_healthy(image: Image, composed: Composed, name: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while image.start(composed.health(name), {}, stderr=subprocess.DEVNULL).wait() != 0:
        assert process.poll() is None, f"{name} ended with {process.returncode}"
        assert time.monotonic() < deadline, f"{name} does not get healthy"
    memory = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
    print(f"{name} is healthy; {int(memory[1]) // 1024 if memory else 0} MiB", flush=True)


def _found(image: Image, composed: Composed) -> None:
    """The first organization, as docs/operations.md says, and a sign-in over HTTP."""
    import httpx

    python = Path(image.here("/opt/tradewind/bin/python"))
    image.entrypoint = [str(python)]
    ask = ["-m", "gateway", "bootstrap", "--organization", "Acme", "--email", "you@acme.example"]
    shutil.rmtree(image.folder / "mounts/gateway")
    made = image.start(ask, composed.environment("gateway"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    said, _ = made.communicate(b"a long enough passphrase\n")
    assert made.returncode == 0 and b"organizations/" in said
    answer = httpx.post(
        f"http://127.0.0.1:{composed.ports['gateway', 8080]}/v1/sessions",
        json={"email": "you@acme.example", "password": "a long enough passphrase"},
    )
    assert answer.status_code == 200, answer.text
    print("signed in")


def main() -> None:
    """Build in a folder of its own, run, remove."""
    parser = argparse.ArgumentParser(prog="make rehearse", description=__doc__)
    parser.add_argument(
        "--python", type=Path, default=Path(sys.executable).resolve(), help="stands for BASE_IMAGE"
    )
    parser.add_argument("--keep", action="store_true", help="leave the folder for looking at")
    said = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tradewind-image-"))
    folder.chmod(0o755)
    image = Image(folder, said.python)
    try:
        image.build()
        with running() as servers:
            rehearse(image, servers)
        print("the image and compose.yaml do what they say")
    finally:
        if said.keep:
            print(f"left in {folder}")
        else:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
