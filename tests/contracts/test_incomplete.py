"""A method that does not say who may call it, on what, and by which path stops the process that serves it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

from chassis.rpc import policy_of
from gateway.contract import Contract, ContractIncomplete
from gateway.routes import Routes
from tests.gateway.small import image

HTTP = 'option (google.api.http) = {get: "/v1/{name=silences/*}"};'
ACCESS = 'option (tradewind.type.v1.access) = {permission: "silences.read" scope: RECORDS};'
SERVICE = "tradewind.silence.v1.SilenceService"
NAME = f"{SERVICE}.GetSilence"
SILENCE = """
syntax = "proto3";
package tradewind.silence.v1;
import "google/api/annotations.proto";
import "tradewind/type/v1/options.proto";
service SilenceService {
  rpc GetSilence(Silence) returns (Silence) {OPTIONS}
}
message Silence {
  string name = 1;
  int32 size = 2;
}
"""
# What a method says, and the option it is then told to be missing.
TOO_LITTLE = {
    "nothing": ("", "google.api.http"),
    "no path": (ACCESS, "google.api.http"),
    "no access": (HTTP, "tradewind.type.v1.access"),
    "no permission": (
        HTTP + "option (tradewind.type.v1.access) = {scope: RECORDS};",
        "tradewind.type.v1.access",
    ),
    "no scope": (
        HTTP + 'option (tradewind.type.v1.access) = {permission: "silences.read"};',
        "tradewind.type.v1.access",
    ),
}
UNREACHABLE = {
    "neither get nor post": 'option (google.api.http) = {custom: {kind: "LOOK" path: "/v1/silences"}};',
    "a path nobody understands": 'option (google.api.http) = {get: "/v1/{name=**}"};',
    "a number in the path": 'option (google.api.http) = {get: "/v1/silences/{size}"};',
    "a body there is not": 'option (google.api.http) = {post: "/v1/silences" body: "silence"};',
    "one path for two": HTTP.replace('"};', '" additional_bindings {get: "/v1/{name=silences/*}"}};'),
}
# A process that would serve such a method, up to the point where it asks for its policies.
SERVE = """
import sys
from types import SimpleNamespace
from google.protobuf import descriptor_pb2, descriptor_pool
from chassis.rpc import Rpc

for file in descriptor_pb2.FileDescriptorSet.FromString(sys.stdin.buffer.read()).file:
    if file.package == "tradewind.silence.v1":
        descriptor_pool.Default().AddSerializedFile(file.SerializeToString())

class SilenceRpc(Rpc):
    service = "tradewind.silence.v1.SilenceService"
    async def GetSilence(self, request, call):
        return request

print(list(SilenceRpc(SimpleNamespace(store=None)).handlers()))
"""


def silence(options: str) -> bytes:
    """A contract of one method that says this much."""
    return image(silence=SILENCE.replace("OPTIONS", options))


@pytest.mark.parametrize("said", TOO_LITTLE)
def test_the_gateway_does_not_start_with_a_method_that_says_too_little(said: str) -> None:
    options, missing = TOO_LITTLE[said]
    with pytest.raises(ContractIncomplete) as end:
        Contract(silence(options))
    assert NAME in str(end.value.code) and missing in str(end.value.code)


@pytest.mark.parametrize("said", UNREACHABLE)
def test_the_gateway_does_not_start_with_a_path_that_leads_nowhere(said: str) -> None:
    with pytest.raises(ContractIncomplete) as end:
        Routes(Contract(silence(UNREACHABLE[said] + ACCESS)))
    assert NAME in str(end.value.code)


@pytest.mark.parametrize("said", TOO_LITTLE)
def test_a_service_has_no_policy_for_a_method_that_says_too_little(said: str) -> None:
    options, missing = TOO_LITTLE[said]
    with pytest.raises(SystemExit) as end:
        policy_of(method_of(silence(options)))
    assert NAME in str(end.value.code)
    assert missing in str(end.value.code) or said == "nothing"


def test_the_process_ends_before_it_serves_such_a_method() -> None:
    done = serve(TOO_LITTLE["no permission"][0])
    assert (done.returncode, done.stdout) == (1, b"")
    assert NAME.encode() in done.stderr.splitlines()[-1]
    done = serve(HTTP + ACCESS)
    assert (done.returncode, done.stdout.strip()) == (0, f"['/{SERVICE}/GetSilence']".encode())


def test_what_says_enough_is_known_alike_to_gateway_and_service() -> None:
    whole = silence(HTTP + ACCESS)
    (rule,) = Routes(Contract(whole)).rules
    assert (rule.verb, rule.method.permission, rule.method.scope) == ("GET", "silences.read", "RECORDS")
    policy = policy_of(method_of(whole))
    assert (policy.permission, policy.scoped, policy.effects) == ("silences.read", True, True)


def method_of(contract: bytes) -> MethodDescriptor:
    """The only method of a small contract."""
    pool = DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(contract).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName(SERVICE).methods_by_name["GetSilence"]


def serve(options: str) -> subprocess.CompletedProcess[bytes]:
    """A process that serves the method, until it has its policies or ends."""
    return subprocess.run([sys.executable, "-c", SERVE], input=silence(options), capture_output=True)
