"""JT/T 808 over TCP or UDP: which message waits for which answer.

Divided messages are answered when they are whole and kept, all parts at once. A terminal that sends a part again
waits for an answer to each: from then on it gets one.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Sequence
from dataclasses import replace

from edge.decode import DecodeError, jt808_reply
from edge.decode.frames import Jt808Splitter
from edge.decode.jt808 import PLAIN, READ, ascii_text, read, sound, undivided
from edge.decode.jt808_frame import Header, imei
from edge.decode.jt808_parts import Parts, first_serial
from edge.gateway.desk import Desk, Kept
from edge.gateway.talk import Framed, Turn

REGISTRATION, AUTHENTICATION, BATCH, MEDIA = 0x0100, 0x0102, 0x0704, 0x0801
TIME_REQUESTS = (0x0004, 0x0109)
NO_ANSWER = {0x0001, 0x0104, 0x0107, 0x0201, 0x0500, 0x0608, 0x0700, 0x0802, 0x0805}
"""They are answers themselves, to what a platform asked."""

WITHOUT_AUTHENTICATION = {REGISTRATION, AUTHENTICATION, *TIME_REQUESTS}
PENDING = 2
"""Divided messages of one connection: 128 kB at the most."""


class Jt808Talk(Framed):
    """With `auth_secret` a terminal must authenticate with the code it was given before its places are taken."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk, Jt808Splitter())
        self._parts = Parts(PENDING)
        self._stepwise = False
        self._trusted = not desk.secret
        self._serial = -1

    def turn(self, frame: bytes) -> Turn:
        if frame.startswith(b"("):
            return Turn(heard=False)  # padlocks' sentences carry no place
        header, body = sound(frame)
        if header.message >= 0x8000:
            raise DecodeError("kind", "a platform's message")
        if ends := self.belongs_to(header.device, imei(header.device)):
            return Turn(reply=self._refusal(header), heard=False, ends=ends)
        if not self._trusted and header.message not in WITHOUT_AUTHENTICATION:
            self.desk.refused("not_authenticated")
            return Turn(reply=self._general(header, jt808_reply.FAILED), heard=False)
        if header.total > 1:
            return self._part(header, body)
        return self._whole(header, body, self._answer(header, body))

    # ------------------------------------------------------------ whole messages

    def _whole(self, header: Header, body: bytes, answer: bytes) -> Turn:
        """What no one can read is answered as wrong: sent again it would be the same."""
        try:
            return Turn(self._kept(header, body), answer)
        except DecodeError as error:
            self.desk.refused(error.reason)
            return Turn(reply=self._general(header, jt808_reply.WRONG))

    def _kept(self, header: Header, body: bytes) -> Kept:
        return self.desk.kept(self.unit, read(header, body))

    def _answer(self, header: Header, body: bytes) -> bytes:
        if header.message == REGISTRATION:
            code = self.desk.code(header.device)
            return self._reply(header, jt808_reply.REGISTERED, jt808_reply.registered(header, code))
        if header.message in TIME_REQUESTS:
            return self._reply(header, jt808_reply.TIME, jt808_reply.time_of_day(time.time()))
        if header.message in NO_ANSWER:
            return b""
        if header.message == AUTHENTICATION:
            return self._authenticated(header, body)
        return self._general(header, _result(header.message))

    def _authenticated(self, header: Header, body: bytes) -> bytes:
        """2013: the code is the body. 2019: its length stands before it, IMEI and software's version after it."""
        said = body if header.version is None else body[1 : 1 + body[0]] if body else b""
        right = hmac.compare_digest(ascii_text(said).encode(), self.desk.code(header.device).encode())
        if not right and self.desk.secret:
            self.desk.refused("wrong_code")
            return self._general(header, jt808_reply.FAILED)
        self._trusted = True
        return self._general(header)

    def _refusal(self, header: Header) -> bytes:
        if header.message == REGISTRATION:
            return self._reply(header, jt808_reply.REGISTERED, jt808_reply.not_registered(header))
        return self._general(header, jt808_reply.FAILED)

    # ------------------------------------------------------------ divided messages

    def _part(self, header: Header, body: bytes) -> Turn:
        if header.message != BATCH:
            return Turn(reply=self._answer(header, body))  # nothing in it is kept
        self._stepwise = self._stepwise or self._parts.has(header)
        total = self._parts.add(header, body)
        if total is None:
            return Turn(reply=self._waiting(header))
        answer = self._general(header) if self._stepwise else self._all_parts(header)
        return self._whole(undivided(header), total, answer)

    def _waiting(self, header: Header) -> bytes:
        """Nothing, until all are there; after the last one those that lack are asked for."""
        reply = self._general(header) if self._stepwise else b""
        if header.part < header.total:
            return reply
        missing: Sequence[int] = self._parts.missing(header)
        asked = jt808_reply.resend(header, first_serial(header), missing)
        return reply + self._reply(header, jt808_reply.RESEND, asked)

    def _all_parts(self, header: Header) -> bytes:
        serials = (first_serial(header) + number for number in range(header.total))
        return b"".join(self._general(replace(header, serial=serial % 65536)) for serial in serials)

    # ------------------------------------------------------------ replies

    def _general(self, header: Header, result: int = jt808_reply.OK) -> bytes:
        return self._reply(header, jt808_reply.GENERAL, jt808_reply.general(header, result))

    def _reply(self, header: Header, message: int, body: bytes) -> bytes:
        self._serial += 1
        return jt808_reply.frame(header, message, body, serial=self._serial)


def _result(message: int) -> int:
    """Pictures are not kept, and a message that the standard does not know is not understood."""
    known = message in PLAIN or message in READ
    return jt808_reply.OK if known and message != MEDIA else jt808_reply.UNSUPPORTED
