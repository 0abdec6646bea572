"""The client's side of the conversation: one request, one answer, over any stream of bytes."""

from __future__ import annotations

import time

from edgeq._errors import DeviceError, FormatError, NoReplyError, RefusedError, UnsupportedError, UsageError

from . import frames
from .frames import Fields, Frame
from .records import Condition, Info
from .stream import Stream

_FIRST_PAYLOAD = 1 << 16  # an INFO is far smaller
_HELLO_TIMEOUT_S = 10.0
_LINK_CODES = range(1, 10)
_MOST_DAMAGED = 5  # frames in a row before the link is given up
_LOSSY_TIMEOUT_S = 3.0  # before a request is sent again, at first


class Refusal(RefusedError):
    """A refusal with the protocol's name of the error code."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class Agent:
    """A connected agent. Opening it says hello; `info` is the answer.

    raises  NoReplyError when nothing answers, UnsupportedError when the agent speaks another version
    """

    def __init__(self, stream: Stream, *, timeout_s: float | None = None) -> None:
        self._stream = stream
        self._protocol = frames.protocol()
        self._parser = frames.Parser(_FIRST_PAYLOAD)
        self._seq = 0
        version = self._protocol.constants["PROTOCOL"]
        try:
            answer = self.request("HELLO", timeout_s=timeout_s or _HELLO_TIMEOUT_S, protocol=version)
        except NoReplyError as error:
            raise NoReplyError(f"{error} (no EdgeQ agent there? try: edgeq doctor)") from error
        self.info = Info.of(answer)
        if self.info.protocol != version:
            raise UnsupportedError(
                f"{stream.name}: the agent speaks protocol {self.info.protocol}, this EdgeQ {version}; "
                "install the same version on both sides"
            )
        self._parser.max_payload = self.info.max_payload

    @property
    def name(self) -> str:
        return self._stream.name

    @property
    def lossy(self) -> bool:
        """Bytes may be lost or altered on the way."""
        return self._stream.lossy

    def close(self) -> None:
        self._stream.close()

    def condition(self) -> Condition | None:
        """Temperature and clock of the machine now, None where the transport cannot ask."""
        return self._stream.condition()

    def constant(self, name: str) -> int:
        """A constant of the protocol."""
        return self._protocol.constants[name]

    def room(self, request: str, **fields: frames.Value) -> int:
        """Bytes of data that fit into this request beside the other fields."""
        kind = self._protocol.kinds[request]
        return self.info.max_payload - len(self._protocol.pack(kind.request, {**fields, "data": b""}))

    def request(self, request: str, *, timeout_s: float, **fields: frames.Value) -> Fields:
        """Send a request and return the fields of its answer.

        raises  Refusal when the agent answers with an error, NoReplyError, or DeviceError when the connection ends
        """
        kind = self._protocol.kinds[request]
        payload = self._protocol.pack(kind.request, fields)
        if len(payload) > self._parser.max_payload:
            raise UsageError(f"{self.name}: {request} of {len(payload)} bytes, largest is {self._parser.max_payload}")
        self._seq = self._seq % 0xFFFF + 1  # 0 belongs to errors of the link
        frame = frames.seal(kind.number, self._seq, payload)
        deadline = time.monotonic() + timeout_s
        patience_s = _LOSSY_TIMEOUT_S if self._stream.lossy else timeout_s
        damaged = 0
        while damaged < _MOST_DAMAGED:
            left_s = deadline - time.monotonic()
            try:
                self._stream.write(frame, left_s)
                answer = self._await(min(patience_s, left_s))
            except NoReplyError:
                if patience_s >= left_s:
                    raise
                self._parser.drop()  # a damaged length may have made it wait for what never comes
                patience_s *= 2  # a busy device answers every repetition later, so there should be few
                continue
            if answer is None:
                damaged += 1
                continue
            if answer.number == self._protocol.constants["ERROR"]:
                raise self._refusal(request, answer.payload)
            if answer.number != kind.number | self._protocol.constants["ANSWER"]:
                raise DeviceError(f"{self.name}: answered {request} with frame type {answer.number:#x}")
            try:
                return self._protocol.unpack(kind.answer, answer.payload)
            except FormatError as error:
                raise DeviceError(f"{self.name}: answer to {request}: {error}") from error
        raise DeviceError(f"{self.name}: {request} or its answer arrived damaged {damaged} times; check the cable")

    def _await(self, timeout_s: float) -> Frame | None:
        """The frame that answers the current seq; None when the request or its answer was damaged on the way."""
        deadline = time.monotonic() + timeout_s
        while True:
            while (frame := self._parser.next()) is not None:
                if not frame.sound or (frame.seq == 0 and self._code(frame) in _LINK_CODES):
                    return None
                if frame.seq == self._seq:
                    return frame
            left = deadline - time.monotonic()
            if left <= 0:
                raise NoReplyError(f"{self.name}: no reply within {timeout_s:.1f} s")
            self._parser.feed(self._stream.read(left))

    def _code(self, frame: Frame) -> int:
        """The code of an error frame, 0 for another frame."""
        if frame.number != self._protocol.constants["ERROR"] or len(frame.payload) < 2:
            return 0
        return int.from_bytes(frame.payload[:2], "little")

    def _refusal(self, request: str, payload: bytes) -> Exception:
        try:
            failure = self._protocol.unpack(self._protocol.structures["FAILURE"], payload)
        except FormatError as error:
            return DeviceError(f"{self.name}: error frame in answer to {request}: {error}")
        code = self._protocol.code_name(failure["code"])
        meaning = self._protocol.meanings.get(code, "")
        text: str = failure["text"]
        if not text:  # a device of few bytes leaves the words to its client
            text = f"{meaning} ({failure['number']})" if failure["number"] else meaning
        return Refusal(f"{self.name}: {request} refused, {code}: {text}", code)
