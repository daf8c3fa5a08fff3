"""JSON and protobuf say the same thing: equal to the reference implementation both ways, strict beyond it."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gateway.contract import Contract
from gateway.jsontext import NotJson, parse
from gateway.scalars import Wrong
from gateway.transcode import Transcoder
from tests.gateway.small import image

KITCHEN = """
syntax = "proto3";
package tradewind.kitchen.v1;
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/empty.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
import "google/type/date.proto";
import "google/type/money.proto";
message Sink {
  enum Colour { COLOUR_UNSPECIFIED = 0; RED = 1; GREEN = 2; MINUS = -1; }
  int32 small = 1; int64 large = 2; uint32 usmall = 3; uint64 ularge = 4; sint32 s_small = 5;
  fixed64 f_large = 6;
  sfixed32 sf = 7; double real = 8; float single = 9; bool flag = 10; string text_value = 11; bytes raw = 12;
  Colour colour = 13; Sink child = 14; optional int32 maybe = 15; optional string maybe_text = 16;
  oneof choice { string left_hand = 17; int64 right_hand = 18; Sink third = 19;
          google.protobuf.NullValue none = 20; }
  repeated int64 many = 21; repeated string texts = 22; repeated Sink children = 23;
  repeated Colour colours = 24;
  map<string, string> labels = 25; map<int32, Sink> by_number = 26; map<bool, int64> by_flag = 27;
  map<string, google.protobuf.Value> anything = 28; map<string, Colour> by_name = 29;
  google.protobuf.Timestamp at = 30; google.protobuf.Duration span = 31; google.protobuf.FieldMask mask = 32;
  google.protobuf.Struct free = 33; google.protobuf.Value value = 34; google.protobuf.ListValue list = 35;
  google.protobuf.Any any = 36; google.protobuf.Empty nothing = 37;
  google.protobuf.Int64Value boxed_large = 38; google.protobuf.StringValue boxed_text = 39;
  google.protobuf.BoolValue boxed_flag = 40; google.protobuf.BytesValue boxed_raw = 41;
  google.protobuf.DoubleValue boxed_real = 42; google.protobuf.UInt32Value boxed_small = 43;
  google.type.Date day = 44; google.type.Money price = 45;
  repeated google.protobuf.Timestamp times = 46;
  repeated google.protobuf.Value values = 47; google.protobuf.NullValue null_alone = 48;
  repeated bytes blobs = 49;
  string a1_b2 = 50; repeated double reals = 51; repeated google.protobuf.Any anys = 52;
}
"""

REAL = Contract.load()
SINK = Contract(image(kitchen=KITCHEN))
Sink: Any = GetMessageClass(SINK.pool.FindMessageTypeByName("tradewind.kitchen.v1.Sink"))
sink = Transcoder(SINK.pool)


def fill(value: Any) -> Any:
    message = Sink()
    sink.fill(Sink.DESCRIPTOR)(message, value)
    return message


def show(message: Any) -> Any:
    return json.loads(sink.write(Sink.DESCRIPTOR)(message))


letters = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | letters
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-9999, 9999),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(letters, inner, max_size=3),
    max_leaves=6,
)
SCALARS: dict[int, st.SearchStrategy] = {
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats(allow_nan=False, allow_infinity=False),
    FieldDescriptor.CPPTYPE_FLOAT: st.floats(allow_nan=False, allow_infinity=False, width=32),
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
}


def scalar(field: FieldDescriptor) -> st.SearchStrategy:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=9)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return letters
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return st.sampled_from([value.number for value in field.enum_type.values])
    return SCALARS[field.cpp_type]


def held_by_any(pool: Any) -> list[Descriptor]:
    """Messages for an Any, of those that the contract knows: the platform's own uses no wrapper."""
    found = []
    for name in ("google.type.Money", "google.protobuf.Timestamp", "google.protobuf.Int64Value"):
        with contextlib.suppress(KeyError):
            found.append(pool.FindMessageTypeByName(name))
    return found


def put(draw: st.DrawFn, message: Any, depth: int) -> None:
    """Set some fields of *message*, whatever its type."""
    kind = message.DESCRIPTOR.full_name
    if kind == "google.protobuf.Timestamp":
        message.seconds = draw(st.integers(-62135596800, 253402300799))
        message.nanos = draw(
            st.sampled_from([0, 500_000_000, 1_000, 999_999_999]) | st.integers(0, 999_999_999)
        )
    elif kind == "google.protobuf.Duration":
        sign = draw(st.sampled_from([1, -1]))
        message.seconds = sign * draw(st.integers(0, 315_576_000_000 - 1))
        message.nanos = sign * draw(st.integers(0, 999_999_999))
    elif kind == "google.protobuf.FieldMask":
        message.paths.extend(
            draw(st.lists(st.from_regex(r"[a-z]{1,5}(_[a-z]{1,3})?(\.[a-z]+)?", fullmatch=True), max_size=3))
        )
    elif kind in ("google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue"):
        shapes = {
            "Struct": st.dictionaries(letters, json_values, max_size=3),
            "ListValue": st.lists(json_values, max_size=3),
        }
        json_format.ParseDict(draw(shapes.get(kind.rpartition(".")[2], json_values)), message)
    elif kind == "google.protobuf.Any":
        inner = draw(st.sampled_from(held_by_any(message.DESCRIPTOR.file.pool)))
        held = GetMessageClass(inner)()
        put(draw, held, depth)
        message.Pack(held)
    else:
        for field in draw(
            st.lists(st.sampled_from(list(message.DESCRIPTOR.fields)), max_size=8, unique=True)
            if message.DESCRIPTOR.fields
            else st.just([])
        ):
            put_field(draw, message, field, depth)


def put_field(draw: st.DrawFn, message: Any, field: FieldDescriptor, depth: int) -> None:
    if field.message_type and field.message_type.GetOptions().map_entry:
        held = getattr(message, field.name)
        value = field.message_type.fields_by_name["value"]
        for key in draw(st.lists(scalar(field.message_type.fields_by_name["key"]), max_size=2, unique=True)):
            if value.message_type:
                held[key].SetInParent()
                if depth or value.message_type.full_name == "google.protobuf.Value":
                    put(draw, held[key], depth - 1)
            else:
                held[key] = draw(scalar(value))
    elif field.message_type:
        if depth <= 0 and not field.message_type.full_name.startswith("google."):
            return
        for _ in range(draw(st.integers(1, 2)) if field.is_repeated else 1):
            held = getattr(message, field.name).add() if field.is_repeated else getattr(message, field.name)
            held.SetInParent() if not field.is_repeated else None
            put(draw, held, depth - 1)
    elif field.is_repeated:
        getattr(message, field.name).extend(draw(st.lists(scalar(field), max_size=3)))
    else:
        setattr(message, field.name, draw(scalar(field)))


@st.composite
def messages(draw: st.DrawFn, descriptors: list[Descriptor]) -> Any:
    message = GetMessageClass(draw(st.sampled_from(descriptors)))()
    put(draw, message, 3)
    return message


def agrees(message: Any, transcoder: Transcoder) -> None:
    descriptor, pool = message.DESCRIPTOR, transcoder.pool
    written = transcoder.write(descriptor)(message)
    standard = json_format.MessageToJson(message, descriptor_pool=pool)
    assert json.loads(written) == json.loads(standard)
    snake = json_format.MessageToDict(message, preserving_proto_field_name=True, descriptor_pool=pool)
    for value in (parse(written.encode()), parse(json.dumps(snake).encode())):
        again = GetMessageClass(descriptor)()
        transcoder.fill(descriptor)(again, value)
        assert (
            again
            == message
            == json_format.Parse(json.dumps(value), GetMessageClass(descriptor)(), descriptor_pool=pool)
        )


QUIET = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@QUIET
@given(messages([Sink.DESCRIPTOR]))
def test_every_kind_of_field_is_written_and_read_like_the_reference(message):
    agrees(message, sink)


OURS = [d for d in REAL.messages() if d.full_name.startswith("tradewind.")]
real = Transcoder(REAL.pool)


@QUIET
@given(messages(OURS))
def test_every_message_of_the_platform_is_written_and_read_like_the_reference(message):
    agrees(message, real)


@QUIET
@given(
    st.dictionaries(st.sampled_from([f.json_name for f in Sink.DESCRIPTOR.fields]), json_values, max_size=3)
)
def test_whatever_is_taken_is_taken_as_the_reference_takes_it(value):
    """Stricter is allowed, different is not."""
    assume(value.get("values", ()) is not None)  # the reference fails on a null for a list of Values
    try:
        ours = fill(parse(json.dumps(value).encode()))
    except (Wrong, NotJson):
        return
    if value.get("values", ...) is None:
        return  # an absent list to us; the reference fails on null where a list of any JSON should be
    assert ours == json_format.ParseDict(value, Sink(), descriptor_pool=SINK.pool)


@pytest.mark.parametrize(
    ("value", "path", "problem"),
    [
        ({"small": "x"}, "small", "must be a whole number"),
        ({"small": 1.5}, "small", "must be a whole number"),
        ({"small": True}, "small", "must be a whole number"),
        ({"small": 2**31}, "small", "must be from -2147483648 to 2147483647"),
        ({"usmall": -1}, "usmall", "must be from 0 to 4294967295"),
        ({"large": "9223372036854775808"}, "large", "must be from"),
        ({"large": "1_000"}, "large", "must be a whole number"),
        ({"large": "٣"}, "large", "must be a whole number"),
        ({"large": "1e4000"}, "large", "must be a whole number"),
        ({"real": "NaN"}, "real", "must be a finite number"),
        ({"real": 10**400}, "real", "must be a finite number"),
        ({"single": 1e39}, "single", "must be a finite number"),
        ({"flag": "true"}, "flag", "must be true or false"),
        ({"flag": 1}, "flag", "must be true or false"),
        ({"textValue": 5}, "textValue", "must be a string"),
        ({"textValue": "a\0b"}, "textValue", "NUL"),
        ({"textValue": "\ud800"}, "textValue", "surrogates"),
        ({"raw": "a*"}, "raw", "base64"),
        ({"raw": "YQ=YQ"}, "raw", "base64"),
        ({"colour": "PINK"}, "colour", "must be one of COLOUR_UNSPECIFIED, RED, GREEN, MINUS"),
        ({"colour": 7}, "colour", "must be one of"),
        ({"colour": True}, "colour", "must be one of"),
        ({"child": []}, "child", "must be an object"),
        ({"child": {"child": {"small": []}}}, "child.child.small", "must be a whole number"),
        ({"children": {}}, "children", "must be a list"),
        ({"children": [{}, {"textValue": 1}]}, "children[1].textValue", "must be a string"),
        ({"many": [1, None]}, "many[1]", "must not be null"),
        ({"labels": {"a": 1}}, 'labels["a"]', "must be a string"),
        ({"labels": []}, "labels", "must be an object"),
        ({"byNumber": {"x": {}}}, 'byNumber["x"]', "must be a whole number"),
        ({"byNumber": {"1": {"flag": 0}}}, 'byNumber["1"].flag', "must be true or false"),
        ({"byFlag": {"yes": 1}}, 'byFlag["yes"]', "neither true nor false"),
        ({"leftHand": "a", "rightHand": "1"}, "rightHand", "only one is allowed"),
        ({"textValue": "a", "text_value": "b"}, "textValue", "given twice"),
        ({"at": "2026-02-30T00:00:00Z"}, "at", "must be a time that exists"),
        ({"at": "2026-01-31"}, "at", "must be a time like 2026-01-31T08:00:00Z"),
        ({"at": 5}, "at", "must be a time like"),
        ({"at": "0001-01-01T00:00:00+01:00"}, "at", "years 1 and 9999"),
        ({"span": "5"}, "span", "must be a number of seconds like 3.5s"),
        ({"mask": "a b"}, "mask", "must be field paths"),
        ({"mask": []}, "mask", "must be a string"),
        ({"free": []}, "free", "must be an object"),
        ({"free": {"a": [{"b": "\0"}]}}, "free.a[0].b", "NUL"),
        ({"list": {}}, "list", "must be a list"),
        ({"any": {"value": 1}}, "any.@type", "must name its message"),
        ({"any": {"@type": "x/tradewind.Nothing"}}, "any.@type", "must name a message"),
        (
            {"any": {"@type": "x/google.protobuf.Timestamp", "seconds": 1}},
            "any",
            "must hold its content as value",
        ),
        ({"boxedLarge": "x"}, "boxedLarge", "must be a whole number"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(value, path, problem):
    with pytest.raises(Wrong) as no:
        fill(value)
    assert (no.value.path, no.value.reason) == (path, "FIELD_INVALID")
    assert problem in no.value.problem


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"nope": 1}, "nope"),
        ({"child": {"nope": None}}, "child.nope"),
        ({"children": [{"x": 1}]}, "children[0].x"),
        ({"child": {"": 1}}, 'child.""'),
    ],
)
def test_an_unknown_field_is_named_where_it_stands(value, path):
    with pytest.raises(Wrong) as no:
        fill(value)
    assert (no.value.path, no.value.reason) == (path, "FIELD_UNKNOWN")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b'{"a": 1, "a": 1}', "the key 'a' stands twice"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b'{"a": -Infinity}', "-Infinity is not a JSON number"),
        (b"{", "at line 1, column"),
        (b"{}{}", "Extra data"),
        (b"\xff", "not UTF-8"),
        (b"[" * 33 + b"]" * 33, "nested deeper than 32"),
        (b"[" * 100_000, "nested deeper than 32"),
        (b"9" * 5000, "too many digits"),
        (b'"\n"', "Invalid control character"),
        (b"", "Expecting value"),
    ],
)
def test_what_is_no_json_is_refused_with_the_place(body, problem):
    with pytest.raises(NotJson, match=problem):
        parse(body)


def test_a_nest_of_32_is_still_read():
    assert parse(b"[" * 32 + b"]" * 32)


def test_null_is_the_same_as_absent_except_where_null_is_a_value():
    message = fill(
        {"small": None, "child": None, "texts": None, "value": None, "none": None, "nullAlone": None}
    )
    assert message == Sink(value={"null_value": 0}, none=0)
    assert message.WhichOneof("choice") == "none"


def test_presence_survives():
    assert show(fill({"maybe": 0, "maybeText": "", "child": {}, "nothing": {}})) == {
        "maybe": 0, "maybeText": "", "child": {}, "nothing": {},
    }  # fmt: skip


def test_an_enum_value_of_tomorrow_is_shown_by_its_number():
    assert show(Sink(colour=99)) == {"colour": 99}


def test_what_is_no_number_has_its_word():
    assert show(Sink(real=float("nan"), single=float("-inf"))) == {"real": "NaN", "single": "-Infinity"}


def test_an_any_of_somewhere_else_still_tells_its_bytes():
    assert show(Sink(any={"type_url": "elsewhere/x.Y", "value": b"a"})) == {
        "any": {"@type": "elsewhere/x.Y", "value": "YQ=="}
    }


def test_a_mask_is_taken_in_both_spellings():
    assert list(fill({"mask": "unitPrice,text_value"}).mask.paths) == ["unit_price", "text_value"]


def test_descriptor_files_are_complete():
    """The pool is built from the image alone, so nothing that happens to be imported can hide a gap."""
    files = descriptor_pb2.FileDescriptorSet.FromString(REAL.image)
    assert {f.name for f in files.file} == {d for f in files.file for d in (*f.dependency, f.name)}
