"""Puts a proxy between every two parts of an installation that speak to each other."""

from __future__ import annotations

from pathlib import Path

from stack import files, layout
from stack.nats import USER
from tests.chaos.proxy import HERE, Proxy


def ports(home: Path) -> dict[str, int]:
    """Hold a port for everything ahead of the first start, so that proxies know where to go."""
    names = [
        "postgres",
        "nats",
        *(f"{process}/{use}" for process in layout.PROCESSES for use in ("grpc", "metrics")),
    ]
    return {name: files.port(home, name) for name in names}


async def between(home: Path) -> dict[str, Proxy]:
    """A proxy for every pair, `customer>postgres`, and for each process the environment that leads through.

    For an installation that is not started yet.
    """
    held, proxies = ports(home), dict[str, Proxy]()
    for process in layout.PROCESSES:
        database = layout.database_of(process)
        password = files.secret(home, f"postgres/{database}_app")
        through = {name: Proxy(f"{process}>{name}", held[name]) for name in ("postgres", "nats")}
        for peer in layout.PROCESSES:
            if peer != process:
                through[peer] = Proxy(f"{process}>{peer}", held[f"{peer}/grpc"])
        for proxy in through.values():
            proxies[proxy.name] = await proxy.start(files.free_port())
        told = {
            f"DATABASE_URL_{database.upper()}":
                f"postgresql://{database}_app:{password}@{HERE}:{through['postgres'].port}/{database}",
            "NATS_URL": f"nats://{USER}:{files.secret(home, 'nats')}@{HERE}:{through['nats'].port}",
        }  # fmt: skip
        for peer in layout.PROCESSES:
            if peer != process:
                address = f"{HERE}:{through[peer].port}"
                told[f"TRADEWIND_ADDRESS_{layout.database_of(peer).upper()}"] = address
        tell(home, process, told)
    return proxies


def tell(home: Path, process: str, variables: dict[str, str]) -> None:
    """Add to what one process is told; it hears it when it is next started by a new supervisor."""
    path = home / "environment" / f"{process}.env"
    known = files.variables(path) | variables
    files.write_private(path, "".join(f"{name}={value}\n" for name, value in known.items()))
