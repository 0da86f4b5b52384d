"""multipart/form-data (RFC 7578), read from bytes and strictly: what a careful server would refuse, this refuses."""

import hashlib
import re
from dataclasses import dataclass
from email.message import Message

PARTS_MAX = 100


@dataclass
class Part:
    name: str
    filename: str | None
    content_type: str
    content: bytes

    @property
    def text(self):
        return self.content.decode("utf-8")

    def shown(self):
        if self.filename is None:
            return self.content.decode("utf-8", "replace")
        return {
            "filename": self.filename,
            "content_type": self.content_type,
            "bytes": len(self.content),
            "sha256": hashlib.sha256(self.content).hexdigest(),
        }


def parameters_of(header):
    message = Message()
    message["Content-Type"] = header
    return {name: value for name, value in message.get_params(failobj=[])}


def parse(body, content_type):
    """The parts in order; ValueError with the reason."""
    boundary = parameters_of(content_type).get("boundary", "")
    if not re.fullmatch(r"[0-9A-Za-z'()+_,./:=? -]{1,70}", boundary):
        raise ValueError("no boundary in the Content-Type header")
    line = b"--" + boundary.encode()
    pieces = (b"\r\n" + body).split(b"\r\n" + line)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise ValueError("the closing boundary is missing")
    if len(pieces) - 2 > PARTS_MAX:
        raise ValueError(f"more than {PARTS_MAX} parts")
    return [part_of(piece) for piece in pieces[1:-1]]


def part_of(piece):
    if not piece.startswith(b"\r\n"):
        raise ValueError("a boundary is not followed by a line end")
    head, found, content = piece[2:].partition(b"\r\n\r\n")
    if not found:
        raise ValueError("a part has no end of its headers")
    headers = {}
    for header in head.decode("utf-8").split("\r\n"):
        name, colon, value = header.partition(":")
        if not colon:
            raise ValueError(f"not a header: {header[:80]!r}")
        headers[name.strip().lower()] = value.strip()
    disposition = headers.get("content-disposition", "")
    parameters = parameters_of(disposition)
    if not disposition.lower().startswith("form-data") or not parameters.get("name"):
        raise ValueError("a part has no name in its Content-Disposition")
    return Part(parameters["name"], parameters.get("filename"), headers.get("content-type", "text/plain"), content)
