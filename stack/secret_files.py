"""The secrets of an installation on servers of its own: made once, one a file, or as Kubernetes Secrets."""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from chassis.identity import make_keys
from stack import layout, rights
from stack.terminal import complaints

PLAIN, BASIC = "Opaque", "kubernetes.io/basic-auth"
BROKERS = 3


def make(folder: Path, namespace: str | None, *, encrypted: bool = False) -> int:
    """Make what is missing in *folder*; with a *namespace*, print all of it for `kubectl apply -f -`.

    Brokers are met over TLS where they are *encrypted*. What each user of theirs may do is written anew every
    time: another release may react to other facts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Containers run as strangers and are handed single files: the folder is what keeps others out.
    folder.chmod(0o700)
    make_keys(folder, list(layout.PROCESSES))
    for name, text in _texts(folder, "postgres-{database}-rw" if namespace else "postgres").items():
        if not (folder / name).exists():
            (folder / name).write_text(text, "utf-8")
    _admit(folder, "tls" if encrypted else "nats")
    for path in folder.iterdir():
        path.chmod(0o644)
    if namespace:
        print(json.dumps(manifests(folder, namespace), indent=1))
    else:
        complaints.print(
            f"{len(list(folder.iterdir()))} secrets in {folder}; none was made anew that was there."
        )
    return 0


def _texts(folder: Path, host: str) -> dict[str, str]:
    """File name → what it holds when it is made now."""
    admin, routes = (secrets.token_urlsafe(24) for _ in range(2))
    if (kept := folder / "postgres_password").exists():
        admin = kept.read_text("utf-8")
    texts = {
        "postgres_password": admin,
        "postgres_url": f"postgresql://postgres:{admin}@postgres:5432/postgres",
        "nats-cluster.conf": _cluster(routes),
    }
    for database in layout.DATABASES:
        for role in ("owner", "app"):
            who = f"{database}_{role}:{secrets.token_urlsafe(24)}"
            where = host.format(database=database)
            texts[f"{database}_{role}_url"] = f"postgresql://{who}@{where}:5432/{database}"
    return texts


def _admit(folder: Path, scheme: str) -> None:
    """A URL at the broker for each of its users, who keep their passwords, and what each may do there."""
    passwords = {}
    for user in (rights.OPERATOR, *layout.PROCESSES):
        path = folder / ("nats_url" if user == rights.OPERATOR else f"{user}_nats_url")
        known = urlsplit(path.read_text("utf-8")).password if path.exists() else None
        passwords[user] = known or secrets.token_urlsafe(24)
        path.write_text(f"{scheme}://{user}:{passwords[user]}@nats:4222", "utf-8")
    (folder / "nats-auth.conf").write_text(rights.authorization(passwords), "utf-8")


def _cluster(password: str) -> str:
    others = "\n".join(f'  "nats://routes:{password}@nats-{n}.nats:6222"' for n in range(BROKERS))
    return f'authorization {{\n  user: "routes"\n  password: "{password}"\n}}\nroutes: [\n{others}\n]\n'


def manifests(folder: Path, namespace: str) -> dict[str, Any]:
    """What is in *folder* as a List of Secrets, and the public keys as a ConfigMap."""

    def text(name: str) -> str:
        return (folder / name).read_text("utf-8")

    def named(name: str) -> dict[str, Any]:
        return {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/name": "tradewind"}}

    def secret(name: str, values: dict[str, str], kind: str = PLAIN) -> dict[str, Any]:
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": named(name), "type": kind, "data": data}

    def login(name: str, url: str) -> dict[str, Any]:
        parts = urlsplit(url)
        values = {"username": parts.username or "", "password": parts.password or "", "uri": url}
        return secret(name, values, BASIC)

    items = [
        secret(f"{process}-key", {name: text(name) for name in (f"{process}.pem", f"{process}.master")})
        for process in layout.PROCESSES
    ]
    for database in layout.DATABASES:
        for role in ("owner", "app"):
            items.append(login(f"{database}-database-{role}", text(f"{database}_{role}_url")))
    items.append(login("postgres-admin", text("postgres_url")))
    conf = {"auth.conf": text("nats-auth.conf"), "cluster.conf": text("nats-cluster.conf")}
    items += [secret("nats-client", {"uri": text("nats_url")}), secret("nats-config", conf)]
    items += [secret(f"nats-{one}", {"uri": text(f"{one}_nats_url")}) for one in layout.PROCESSES]
    public = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": named("public-keys"),
              "data": {"jwks.json": text("jwks.json")}}  # fmt: skip
    return {"apiVersion": "v1", "kind": "List", "items": [*items, public]}
