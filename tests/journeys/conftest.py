"""The whole platform as processes, as a newcomer starts it."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from stack import files
from tests.journeys.api import Api, GrpcApi, HttpApi

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Stack:
    """A running platform: where it is, and who may sign in."""

    home: Path
    environment: dict[str, str]
    http: str
    grpc: str
    email: str
    password: str

    def command(self, *arguments: str, check: bool = True) -> str:
        """What `tradewind …` prints."""
        done = subprocess.run(
            [sys.executable, "-m", "stack", *arguments], cwd=ROOT, env=self.environment, capture_output=True,
            text=True, timeout=800,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def api(self, kind: str) -> Api:
        """The API over "http" or "grpc", as nobody yet."""
        return HttpApi(self.http) if kind == "http" else GrpcApi(self.grpc)


class Collector:
    """Receives spans by OTLP over HTTP, as a tracing backend would."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, str, str]] = []  # (trace id, service, span name)
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, request: ExportTraceServiceRequest) -> None:
        """Keep what one process sent."""
        for resource in request.resource_spans:
            service = next(
                a.value.string_value for a in resource.resource.attributes if a.key == "service.name"
            )
            for scope in resource.scope_spans:
                self.spans += [(span.trace_id.hex(), service, span.name) for span in scope.spans]

    def of(self, trace: str) -> set[tuple[str, str]]:
        """(service, span name) of everything in one trace."""
        return {(service, name) for found, service, name in list(self.spans) if found == trace}


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """Where the platform under test sends its traces."""
    found = Collector()
    yield found
    found.server.shutdown()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Stack]:
    """`tradewind up --empty --detach`, and `tradewind down` at the end."""
    home = tmp_path_factory.mktemp("stack")
    home.chmod(0o711)
    http, edge = files.free_port(), files.free_port()
    environment = os.environ | {
        "TRADEWIND_HOME": str(home), "TRADEWIND_HTTP_PORT": str(http), "TRADEWIND_GRPC_PORT": str(edge),
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
    }  # fmt: skip
    said = Stack(home, environment, f"http://127.0.0.1:{http}", f"127.0.0.1:{edge}", "", "")
    said.command("up", "--empty", "--detach")
    try:
        first = json.loads((home / "sign-ins.json").read_text())[0]
        yield Stack(home, environment, said.http, said.grpc, first["email"], first["password"])
    finally:
        said.command("down", check=False)
