"""The description of the frames and its codec."""

import pytest

from edgeq._errors import FormatError
from edgeq.device import frames

PROTOCOL = frames.protocol()


def test_numbers_are_unique_and_leave_room_for_answers():
    numbers = [kind.number for kind in PROTOCOL.kinds.values()]
    assert len(set(numbers)) == len(numbers)
    assert all(0 < number < PROTOCOL.constants["ANSWER"] for number in numbers)
    assert len(set(PROTOCOL.codes.values())) == len(PROTOCOL.codes)


def test_the_conversation_has_the_types_of_the_design():
    assert {"HELLO", "LIST", "LOAD", "RUN", "BENCH", "EVAL", "GET", "ERASE", "RESET"} <= set(PROTOCOL.kinds)
    assert {"PUT_BEGIN", "PUT_DATA", "PUT_COMMIT", "PUT_ABORT"} <= set(PROTOCOL.kinds)


EXAMPLES = {
    "u8": 255,
    "u16": 65535,
    "u32": 1 << 31,
    "u64": 1 << 63,
    "text": "Ünïcode",
    "sha256": bytes(range(32)),
    "bytes": b"rest",
}


def example(kind):
    kind = kind.rstrip("?")
    if kind.endswith(("[]", "*")):
        return [example(kind.rstrip("[]*"))] * 3
    if kind in PROTOCOL.structures:
        return example_of(PROTOCOL.structures[kind])
    return EXAMPLES[kind]


def example_of(layout):
    return {name: example(kind) for name, kind in (field.split(":") for field in layout.split())}


LAYOUTS = sorted(
    {layout for kind in PROTOCOL.kinds.values() for layout in (kind.request, kind.answer)}
    | set(PROTOCOL.structures.values())
)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_survives_a_round_trip(layout):
    fields = example_of(layout)
    payload = PROTOCOL.pack(layout, fields)
    assert PROTOCOL.unpack(layout, payload) == fields


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_truncation_is_refused(layout):
    layout = " ".join(field for field in layout.split() if not field.endswith("?"))
    payload = PROTOCOL.pack(layout, example_of(layout))
    open_end = layout.endswith(("bytes", "*"))
    for size in range(len(payload)):
        try:
            PROTOCOL.unpack(layout, payload[:size])
        except FormatError:
            continue
        assert open_end, f"{layout}: accepted {size} of {len(payload)} bytes"


def test_fields_that_may_be_missing_read_as_zero():
    layout = "a:u8 b:u16? c:u32?"
    whole = PROTOCOL.pack(layout, {"a": 1, "b": 2, "c": 3})
    assert PROTOCOL.unpack(layout, whole) == {"a": 1, "b": 2, "c": 3}
    assert PROTOCOL.unpack(layout, whole[:3]) == {"a": 1, "b": 2, "c": 0}
    assert PROTOCOL.pack(layout, {"a": 1}) == whole[:1]
    with pytest.raises(FormatError):
        PROTOCOL.unpack(layout, whole[:2])


def test_known_bytes():
    """The example that a reader of frames.def would work out by hand."""
    assert frames.seal(0x31, 0x0102, b"\x05\x00").hex() == "a55a31020102000000" + "0500" + "b899ae0b"


def test_pack_names_the_fields_that_a_layout_has():
    with pytest.raises(ValueError, match="net"):
        PROTOCOL.pack("net:u16", {"nett": 1})


def test_newer_codes_have_a_name():
    assert PROTOCOL.code_name(PROTOCOL.codes["BAD_HASH"]) == "BAD_HASH"
    assert PROTOCOL.code_name(9999) == "code 9999"


def test_unknown_element_type_is_refused():
    assert PROTOCOL.dtype_name(6) == "f32"
    with pytest.raises(FormatError, match="200"):
        PROTOCOL.dtype_name(200)
