"""Envoy's gRPC-JSON transcoder in front of a service of ours: a gateway in C++ at the same work."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor

from stack import files


@contextmanager
def envoy(service: str, upstream: str) -> Iterator[tuple[tuple[str, int], int]]:
    """An Envoy of one worker that transcodes this proto service; where it listens, and its process id."""
    port = files.free_port()
    with tempfile.TemporaryDirectory() as folder:
        descriptors, config = Path(folder, "descriptors.binpb"), Path(folder, "envoy.json")
        descriptors.write_bytes(_described(service))
        config.write_text(json.dumps(_config(service, upstream, str(descriptors), port)))
        program = shutil.which("envoy", path=str(Path(sys.executable).parent))
        if program is None:
            raise RuntimeError("there is no envoy; `make bench` installs it")
        process = subprocess.Popen(
            [program, "-c", str(config), "--concurrency", "1", "-l", "error", "--use-dynamic-base-id"]
        )
        try:
            deadline = time.monotonic() + 60
            while files.is_free(port) and time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.1)
            yield ("127.0.0.1", port), process.pid
        finally:
            process.terminate()
            process.wait(20)


def _described(service: str) -> bytes:
    """The service's descriptor with all that it stands on, what it imports first."""
    found: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def add(file: FileDescriptor) -> None:
        for needed in file.dependencies:
            add(needed)
        if file.name not in found:
            found[file.name] = descriptor_pb2.FileDescriptorProto.FromString(file.serialized_pb)

    add(descriptor_pool.Default().FindServiceByName(service).file)
    return descriptor_pb2.FileDescriptorSet(file=found.values()).SerializeToString()


def _config(service: str, upstream: str, descriptors: str, port: int) -> dict[str, Any]:
    host, _, upstream_port = upstream.rpartition(":")
    kind = "type.googleapis.com/envoy.extensions"
    transcoder = {
        "@type": f"{kind}.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        "proto_descriptor": descriptors, "services": [service],
    }  # fmt: skip
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "service", "timeout": "10s"}}]
    manager = {
        "@type": f"{kind}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http", "codec_type": "AUTO",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {"name": "envoy.filters.http.grpc_json_transcoder", "typed_config": transcoder},
            {"name": "envoy.filters.http.router",
             "typed_config": {"@type": f"{kind}.filters.http.router.v3.Router"}},
        ],
    }  # fmt: skip
    http2 = {"@type": f"{kind}.upstreams.http.v3.HttpProtocolOptions",
             "explicit_http_config": {"http2_protocol_options": {}}}  # fmt: skip
    cluster = {
        "name": "service", "type": "STATIC", "connect_timeout": "5s",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
        "load_assignment": {"cluster_name": "service", "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": _address(host, int(upstream_port))}}]}]},
    }  # fmt: skip
    listener = {
        "address": _address("127.0.0.1", port),
        "filter_chains": [{"filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}],
    }  # fmt: skip
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}
