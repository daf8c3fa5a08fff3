"""Every variable a process reads from its environment: name, type, default and a sentence on each."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Self, get_origin, get_type_hints
from urllib.parse import urlsplit

Networks = tuple[IPv4Network | IPv6Network, ...]
PEER = "TRADEWIND_ADDRESS_"
FILE = "_FILE"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


class SettingsInvalid(SystemExit):
    """The environment asks for something that cannot be; the message names the variable. Ends the process."""


def _text(value: str) -> str:
    return value


def _path(value: str) -> Path:
    return Path(value).expanduser()


def _port(value: str) -> int:
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= 65535:
        raise ValueError("must be a port number from 1 to 65535")
    return int(value)


def _count(value: str) -> int:
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= 1000:
        raise ValueError("must be a whole number from 1 to 1000")
    return int(value)


def _replicas(value: str) -> int:
    if value not in ("1", "3", "5"):
        raise ValueError("must be 1, 3 or 5")
    return int(value)


def _days(value: str) -> int:
    if not value.isascii() or not value.isdigit() or not (value == "0" or 14 <= int(value) <= 36_500):
        raise ValueError("must be 0 or a whole number of days from 14")
    return int(value)


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 60:
        raise ValueError("must be seconds from 0 to 60")
    return seconds


def _ratio(value: str) -> float:
    try:
        ratio = float(value)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise ValueError("must be a number from 0 to 1")
    return ratio


def _level(value: str) -> str:
    if value.upper() not in LOG_LEVELS:
        raise ValueError(f"must be one of {', '.join(LOG_LEVELS)}")
    return value.upper()


def _host(value: str) -> str:
    if not value or any(c in value for c in " /\t"):
        raise ValueError("must be a host name or an IP address such as 127.0.0.1")
    return value


def _domain(value: str) -> str:
    if not value or not all(c.isascii() and (c.islower() or c.isdigit() or c in ".-_") for c in value):
        raise ValueError("must be a name of small letters, digits, dots and dashes, such as tradewind.local")
    return value


def _listen(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not value:
        return value
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError("must be host:port, such as 127.0.0.1:9000 or [::]:9000")
    return value


def _url(*schemes: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        try:
            parts = urlsplit(value)
            known = not value or (parts.scheme in schemes and bool(parts.hostname) and (parts.port or 1) > 0)
        except ValueError:
            known = False
        if not known:
            raise ValueError(f"must be a URL such as {schemes[0]}://host:port/…")
        return value

    return parse


def networks(value: str) -> Networks:
    """IP networks from text; ValueError says how they are written."""
    try:
        return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())
    except ValueError:
        raise ValueError("must be networks parted by commas, such as 10.0.0.0/8,127.0.0.1/32") from None


def _origin(value: str) -> str:
    parts = urlsplit(_url("https", "http")(value))
    if "@" in value or (value and f"{parts.scheme}://{parts.netloc}" != value.rstrip("/")):
        raise ValueError("must be a scheme and a host alone, such as https://sales.example.com")
    return value.rstrip("/")


@dataclass(frozen=True)
class Variable:
    """Where a field comes from. `own`: `<env>_<SERVICE>` is looked for first; `secret`: never shown, and
    may stand in the file that `<env>_FILE` names."""

    env: str
    default: str
    parse: Callable[[str], Any]
    sentence: str
    own: bool = False
    secret: bool = False


_postgres = _url("postgresql", "postgres")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What one process was told. `Settings.from_env("customer")` reads it; a wrong value ends the process."""

    service: str
    home: Annotated[
        Path,
        Variable("TRADEWIND_HOME", ".tradewind", _path, "Folder of this installation's data, keys and logs."),
    ]
    host: Annotated[str, Variable("TRADEWIND_HOST", "127.0.0.1", _host, "Address the gateway listens on.")]
    http_port: Annotated[int, Variable("TRADEWIND_HTTP_PORT", "8080", _port, "Port of the HTTP API.")]
    grpc_port: Annotated[
        int, Variable("TRADEWIND_GRPC_PORT", "9090", _port, "Port of the gateway's gRPC edge.")
    ]
    public_url: Annotated[
        str,
        Variable(
            "TRADEWIND_PUBLIC_URL",
            "",
            _origin,
            "Where browsers and programs reach the gateway, such as https://sales.example.com; empty is"
            " localhost and the HTTP port.",
        ),
    ]
    issuer_networks: Annotated[
        Networks,
        Variable(
            "TRADEWIND_ISSUER_NETWORKS",
            "",
            networks,
            "Networks beside the public internet in which identity providers may be; without TLS only"
            " on this machine.",
        ),
    ]
    database_url: Annotated[
        str,
        Variable(
            "DATABASE_URL",
            "",
            _postgres,
            "The service's database, as the role that owns nothing; empty embeds PostgreSQL.",
            own=True,
            secret=True,
        ),
    ] = field(repr=False)
    database_owner_url: Annotated[
        str,
        Variable(
            "DATABASE_OWNER_URL",
            "",
            _postgres,
            "The same database as the role that owns its tables: used by migrations alone.",
            own=True,
            secret=True,
        ),
    ] = field(repr=False)
    database_admin_url: Annotated[
        str,
        Variable(
            "DATABASE_ADMIN_URL",
            "",
            _postgres,
            "A superuser's way in: with it, `migrate` makes databases and roles that are missing.",
            secret=True,
        ),
    ] = field(repr=False)
    nats_url: Annotated[
        str,
        Variable(
            "NATS_URL",
            "",
            _url("nats", "tls"),
            "The broker; empty lets `tradewind up` embed NATS.",
            secret=True,
        ),
    ] = field(repr=False)
    stream_replicas: Annotated[
        int,
        Variable("TRADEWIND_STREAM_REPLICAS", "1", _replicas, "How many NATS servers keep each stream."),
    ]
    listen: Annotated[
        str,
        Variable("TRADEWIND_LISTEN", "127.0.0.1:9000", _listen, "Where the gRPC server listens.", own=True),
    ]
    metrics_listen: Annotated[
        str,
        Variable(
            "TRADEWIND_METRICS_LISTEN",
            "",
            _listen,
            "Where the process shows its metrics; empty shows none.",
            own=True,
        ),
    ]
    pool: Annotated[
        int, Variable("TRADEWIND_POOL", "10", _count, "Most database connections of one process.", own=True)
    ]
    drain: Annotated[
        float,
        Variable(
            "TRADEWIND_DRAIN",
            "3",
            _seconds,
            "Seconds in which a process told to stop says so and still takes calls, until nobody sends any.",
            own=True,
        ),
    ]
    keys: Annotated[
        Path,
        Variable(
            "TRADEWIND_KEYS",
            "",
            _path,
            "Folder of signing keys and jwks.json; empty is `keys` in TRADEWIND_HOME.",
        ),
    ]
    tls: Annotated[
        str,
        Variable(
            "TRADEWIND_TLS",
            "",
            _text,
            "Folder of tls.crt, tls.key and ca.crt: the process' certificate among processes, and who signs "
            "theirs. Empty speaks in plain.",
            own=True,
        ),
    ]
    door_tls: Annotated[
        str,
        Variable(
            "TRADEWIND_DOOR_TLS",
            "",
            _text,
            "Folder of tls.crt and tls.key for the gateway's two doors. Empty opens them in plain.",
        ),
    ]
    trust_domain: Annotated[
        str,
        Variable(
            "TRADEWIND_TRUST_DOMAIN",
            "tradewind.local",
            _domain,
            "The domain in processes' names: spiffe://<domain>/tradewind/<process>.",
        ),
    ]
    log_level: Annotated[
        str, Variable("TRADEWIND_LOG_LEVEL", "INFO", _level, "The least level that is logged.", own=True)
    ]
    traces: Annotated[
        str,
        Variable(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "",
            _url("http", "https"),
            "Where traces are sent; empty makes none.",
        ),
    ]
    trace_ratio: Annotated[
        float, Variable("TRADEWIND_TRACE_RATIO", "0.01", _ratio, "The share of calls that are traced.")
    ]
    outbox_days: Annotated[
        int,
        Variable(
            "TRADEWIND_OUTBOX_DAYS",
            "0",
            _days,
            "Days that published facts are kept, at least 14; 0 keeps all, which rebuilding needs.",
            own=True,
        ),
    ]
    postgres_bin: Annotated[
        str,
        Variable(
            "TRADEWIND_POSTGRES_BIN",
            "",
            _text,
            "Folder of PostgreSQL binaries to embed instead of the packaged.",
        ),
    ]
    peers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_env(cls, service: str, database: str = "", env: Mapping[str, str] | None = None) -> Self:
        """What *env* says to *service*, which keeps its state in *database* (of the same name by default)."""
        env = os.environ if env is None else env
        values: dict[str, Any] = {}
        for name, known in variables().items():
            suffix = database if database and known.env.startswith("DATABASE_") else service
            values[name] = read_variable(env, known, suffix.upper())
        if not values["keys"].name:
            values["keys"] = values["home"] / "keys"
        peers = {name.removeprefix(PEER).lower(): env[name] for name in sorted(env) if name.startswith(PEER)}
        for peer, address in peers.items():
            _check_address(peer, address)
        return cls(service=service, peers=peers, **values)

    @property
    def origin(self) -> str:
        """Scheme, host and port under which the gateway is known outside."""
        return self.public_url or f"http{'s' if self.door_tls else ''}://localhost:{self.http_port}"

    def require(self, *names: str) -> Self:
        """Itself, when all of these are set; ends the process naming the first that is not."""
        for name, known in variables().items():
            if name in names and not getattr(self, name):
                own = f"{known.env}_{self.service.upper()} or " if known.own else ""
                raise SettingsInvalid(f"{own}{known.env} is not set. {known.sentence}")
        return self

    def peer(self, service: str) -> str:
        """Where another service is reached; ends the process when nobody said."""
        if service not in self.peers:
            raise SettingsInvalid(
                f"{PEER}{service.upper()} is not set: it says where the {service} service is."
            )
        return self.peers[service]


@cache
def variables() -> dict[str, Variable]:
    """The variable of each field that has one, in the order in which they are documented."""
    hints = get_type_hints(Settings, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items() if get_origin(hint) is Annotated}


def read_variable(env: Mapping[str, str], known: Variable, suffix: str = "") -> Any:
    """What *env* says of a variable; SettingsInvalid names it when that cannot be."""
    name, text = known.env, ""
    for name in (f"{known.env}_{suffix}", known.env) if known.own else (known.env,):
        text = env.get(name, "")
        if not text and known.secret and (path := env.get(f"{name}{FILE}")):
            name, text = f"{name}{FILE}", _file(f"{name}{FILE}", path)
        if text:
            break
    try:
        return known.parse(text or known.default)
    except ValueError as wrong:
        shown = "the value it holds" if known.secret else repr(text)
        raise SettingsInvalid(f"{name} {wrong}; {shown} is not.") from None


def _file(name: str, path: str) -> str:
    try:
        return Path(path).expanduser().read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else "it is not text"
        raise SettingsInvalid(f"{name} names {path}, which cannot be read: {why}.") from None


def _check_address(peer: str, address: str) -> None:
    variable, several = f"{PEER}{peer.upper()}", address.split(",")
    for one in several:
        if not one.removeprefix("dns:///").rpartition(":")[2].isdigit():
            raise SettingsInvalid(
                f"{variable} must be host:port, dns:///host:port or IP:port,IP:port,…; {address!r} is not."
            )
    if len(several) > 1 and {_family(one) for one in several} not in ({4}, {6}):
        raise SettingsInvalid(
            f"{variable} names several replicas: each by its IP address, all of one family;"
            f" {address!r} does not."
        )


def _family(address: str) -> int:
    """4 or 6; 0 for what is no IP address."""
    try:
        return ip_address(address.rpartition(":")[0].strip("[]")).version
    except ValueError:
        return 0
