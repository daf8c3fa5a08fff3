"""A small service behind a real gateway: its contract, its gRPC server, and what it was asked."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health, health_pb2
from grpc_health.v1._async import HealthServicer
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_status import rpc_status

from chassis.kernel.refusals import Refused
from chassis.reasons import Reasons
from chassis.tls import Door
from gateway.contract import Contract
from gateway.http import HttpServer, serve_http
from gateway.limits import Limits, LimitSettings
from gateway.upstream import Upstream
from tests.gateway.small import image

NOTES = """
syntax = "proto3";
// Notes.
package tradewind.notes.v1;
import "buf/validate/validate.proto";
import "google/api/annotations.proto";
import "google/api/field_behavior.proto";
import "google/api/resource.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/timestamp.proto";
import "google/type/money.proto";
import "tradewind/type/v1/errors.proto";
import "tradewind/type/v1/feed.proto";
import "tradewind/type/v1/options.proto";
// What people wrote down.
service NoteService {
  // Reads one.
  rpc GetNote(GetNoteRequest) returns (Note) {
    option (google.api.http) = {get: "/v1/{name=notes/*}"};
    option (tradewind.type.v1.access) = {permission: "notes.read" scope: RECORDS};
    option idempotency_level = NO_SIDE_EFFECTS;
  }
  // Lists them.
  rpc ListNotes(ListNotesRequest) returns (ListNotesResponse) {
    option (google.api.http) = {get: "/v1/notes"};
    option (tradewind.type.v1.access) = {permission: "notes.read" scope: RECORDS};
    option idempotency_level = NO_SIDE_EFFECTS;
  }
  // Makes one.
  rpc CreateNote(CreateNoteRequest) returns (Note) {
    option (google.api.http) = {post: "/v1/notes" body: "note"};
    option (tradewind.type.v1.access) = {permission: "notes.write" scope: RECORDS};
  }
  // Changes one.
  rpc UpdateNote(UpdateNoteRequest) returns (Note) {
    option (google.api.http) = {patch: "/v1/{note.name=notes/*}" body: "note"};
    option (tradewind.type.v1.access) = {permission: "notes.write" scope: RECORDS};
  }
  // Deletes one.
  rpc DeleteNote(SignNoteRequest) returns (Note) {
    option (google.api.http) = {delete: "/v1/{name=notes/*}"};
    option (tradewind.type.v1.access) = {permission: "notes.write" scope: RECORDS};
  }
  // Signs one.
  //
  // Refuses with STATE_FORBIDS when it is signed.
  rpc SignNote(SignNoteRequest) returns (Note) {
    option (google.api.http) = {
      post: "/v1/{name=notes/*}:sign" body: "*"
      additional_bindings {post: "/v1/papers/{name=notes/*}/signature" body: "*"}
    };
    option (tradewind.type.v1.access) = {permission: "notes.sign" scope: RECORDS};
  }
  // Lets anybody write.
  rpc Knock(SignNoteRequest) returns (Note) {
    option (google.api.http) = {post: "/v1/notes:knock" body: "*"};
    option (tradewind.type.v1.access) = {permission: "public" scope: ORGANIZATION};
  }
  // Between services.
  rpc Whisper(GetNoteRequest) returns (Note) {
    option (google.api.http) = {get: "/v1/notes:whisper"};
    option (tradewind.type.v1.access) = {permission: "service" scope: ORGANIZATION};
    option idempotency_level = NO_SIDE_EFFECTS;
  }
  // Tells what happens.
  rpc WatchEvents(tradewind.type.v1.WatchEventsRequest) returns (stream tradewind.type.v1.FeedEvent) {
    option (google.api.http) = {get: "/v1/events/notes"};
    option (tradewind.type.v1.access) = {permission: "events.read" scope: ORGANIZATION};
    option idempotency_level = NO_SIDE_EFFECTS;
  }
}
// A note.
message Note {
  option (google.api.resource) = {
    type: "tradewind/Note" pattern: "notes/{note}" plural: "notes" singular: "note"
  };
  string name = 1 [(google.api.field_behavior) = IDENTIFIER];
  string text_line = 2 [
    (google.api.field_behavior) = REQUIRED, (buf.validate.field).string = {min_len: 1 max_len: 80}
  ];
  google.type.Money price = 3;
  State state = 4 [(google.api.field_behavior) = OUTPUT_ONLY];
  int64 size = 5 [(buf.validate.field).int64 = {gte: 0 lt: 100}];
  string etag = 90;
  google.protobuf.Timestamp create_time = 91 [(google.api.field_behavior) = OUTPUT_ONLY];
  // Whether it is signed.
  enum State {
    STATE_UNSPECIFIED = 0;
    // Not signed.
    OPEN = 1;
    SIGNED = 2;
  }
}
message GetNoteRequest { string name = 1; }
message ListNotesRequest {
  int32 page_size = 1; string page_token = 2; string filter = 3; bool show_deleted = 5;
  google.protobuf.FieldMask read_mask = 6; repeated Note.State states = 7; Range range = 8;
  google.protobuf.Timestamp since = 9;
}
message Range { int64 from_size = 1; optional int64 to_size = 2; }
message ListNotesResponse { repeated Note notes = 1; string next_page_token = 2; }
message CreateNoteRequest { Note note = 1; string request_id = 91; bool validate_only = 92; }
message UpdateNoteRequest {
  Note note = 1; google.protobuf.FieldMask update_mask = 2; string request_id = 91; bool validate_only = 92;
}
message SignNoteRequest { string name = 1; string hand = 2; string etag = 90; string request_id = 91; }
"""
TOKEN = "good"


@dataclass
class Someone:
    """A caller whose credential is good."""

    token: str = "principal-token"
    user: str = "users/ann"
    tenant: str = "acme"
    session: str = "sessions/one"
    version: str = "1"
    limited: bool = False
    view: str = ""


async def identify(authorization: str, peer: str) -> Someone:
    """Bearer good is Ann; nobody else is anybody."""
    if authorization != f"Bearer {TOKEN}":
        raise Refused("UNAUTHENTICATED", problem="the token is unknown")
    return Someone()


class NoteServer(grpc.GenericRpcHandler):
    """Remembers what it was asked; answers a note, or what `answers` says."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.asked: list[tuple[str, Any, dict[str, Any], float | None]] = []
        self.answers: dict[str, Callable[[Any], Any]] = {}
        self.failures = 0
        # When set, streams go on after their first event, and set it when they are ended.
        self.forever: asyncio.Event | None = None

    def make(self, name: str) -> Any:
        """The class of a message of the small contract."""
        return GetMessageClass(self.contract.pool.FindMessageTypeByName(name))

    def note(self, **fields: Any) -> Any:
        """A note."""
        return self.make("tradewind.notes.v1.Note")(**fields)

    def service(self, details: Any) -> Any:
        """Every method of the contract, bytes in and out."""
        found = {method.path: method for method in self.contract.methods}.get(details.method)
        if found is None:
            return None
        read = GetMessageClass(found.input).FromString

        async def unary(request: bytes, context: Any) -> bytes:
            self._remember(found.name, read(request), context)
            if self.failures:
                self.failures -= 1
                await context.abort(grpc.StatusCode.UNAVAILABLE, "try again")
            try:
                answer = self.answers.get(found.name, lambda asked: self.note(name="notes/1", etag="7"))(
                    read(request)
                )
            except Refused as refused:
                language = dict(context.invocation_metadata()).get("accept-language", "en")
                await context.abort_with_status(rpc_status.to_status(Reasons().status(refused, language)))
            return answer.SerializeToString()

        async def many(request: bytes, context: Any) -> AsyncIterator[bytes]:
            self._remember(found.name, read(request), context)
            if self.forever:
                yield self.make(found.output.full_name)(position=1).SerializeToString()
                try:
                    await asyncio.sleep(3600)
                finally:
                    self.forever.set()
            try:
                for answer in self.answers[found.name](read(request)):
                    yield answer.SerializeToString()
            except Refused as refused:
                await context.abort_with_status(rpc_status.to_status(Reasons().status(refused, "en")))

        if found.streams:
            return grpc.unary_stream_rpc_method_handler(many)
        return grpc.unary_unary_rpc_method_handler(unary)

    def _remember(self, name: str, request: Any, context: Any) -> None:
        told = dict(context.invocation_metadata())
        self.asked.append((name, request, told, context.time_remaining()))

    @property
    def request(self) -> Any:
        """The last request."""
        return self.asked[-1][1]

    @property
    def told(self) -> dict[str, Any]:
        """The metadata of the last request."""
        return self.asked[-1][2]


@dataclass
class Stage:
    """The small service, the gateway in front of it, and a client."""

    server: NoteServer
    http: httpx.AsyncClient
    upstream: Upstream
    contract: Contract
    address: str
    limits: Limits
    front: HttpServer


@asynccontextmanager
async def stage(
    settings: LimitSettings | None = None,
    elsewhere: dict[str, str] | None = None,
    door: Door | None = None,
    trusting: ssl.SSLContext | None = None,
) -> AsyncIterator[Stage]:
    """Everything started on free ports, and stopped again."""
    contract = Contract(image(notes=NOTES))
    notes = NoteServer(contract)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((notes,))
    healthy = HealthServicer()
    add_HealthServicer_to_server(healthy, server)
    await healthy.set(health.OVERALL_HEALTH, health_pb2.HealthCheckResponse.SERVING)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    address = f"127.0.0.1:{port}"
    upstream = Upstream({"notes": address, **(elsewhere or {})})
    limits = Limits(settings)
    front = await serve_http(
        "127.0.0.1", 0, identify=identify, upstream=upstream, contract=contract, limits=limits, door=door
    )
    base = f"{'https' if door else 'http'}://127.0.0.1:{front.port}"
    told = {"authorization": f"Bearer {TOKEN}"}
    try:
        async with httpx.AsyncClient(base_url=base, headers=told, verify=trusting or True) as client:
            yield Stage(notes, client, upstream, contract, base, limits, front)
    finally:
        await front.stop()
        await upstream.close()
        await server.stop(None)
