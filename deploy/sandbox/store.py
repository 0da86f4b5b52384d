"""What the sandbox remembers: every request it got, and lists that forget their oldest when they are full."""

import asyncio
import hashlib
import json
import time
from collections import OrderedDict, deque
from datetime import datetime, timezone
from urllib.parse import parse_qsl

import limits
import multipart

MASKED = "***"
SECRET_HEADERS = {"authorization", "proxy-authorization", "x-goog-api-key", "api-key", "cookie", "set-cookie"}
SECRET_QUERY = {"key"}
SECRET_FIELDS = {"client_secret"}


def now_text():
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Full(Exception):
    """A limit of the sandbox itself was reached; the text says which."""


class Bounded(OrderedDict):
    """A dictionary that drops its oldest entry when it holds more than `entries_max`."""

    def __init__(self, entries_max):
        super().__init__()
        self.entries_max = entries_max

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        while len(self) > self.entries_max:
            self.popitem(last=False)


class News:
    """Lets the control interface wait for the next thing to happen instead of asking again and again."""

    def __init__(self):
        self._happened = asyncio.Event()

    def tell(self):
        self._happened.set()
        self._happened = asyncio.Event()

    async def wait_until(self, condition, timeout_s):
        """Returns what `condition` returns once that is true, or when the time is over."""
        deadline = time.monotonic() + min(timeout_s, limits.CONTROL_WAIT_S_MAX)
        while True:
            happened = self._happened
            result = condition()
            left_s = deadline - time.monotonic()
            if result or left_s <= 0:
                return result
            try:
                await asyncio.wait_for(happened.wait(), left_s)
            except asyncio.TimeoutError:
                pass


def masked_headers(headers):
    shown = {}
    for name, value in headers.items():
        if name.lower() in SECRET_HEADERS:
            scheme = value.split(" ", 1)[0] + " " if " " in value else ""
            value = scheme + MASKED
        shown[name.lower()] = value
    return shown


def readable_body(body, content_type):
    """The body as a person or a test wants to see it: JSON parsed, a form as its fields, else text."""
    kind = content_type.split(";", 1)[0].strip().lower()
    if not body:
        return None
    if kind == "multipart/form-data":
        try:
            return {part.name: part.shown() for part in multipart.parse(body, content_type)}
        except ValueError:
            return {"unreadable_bytes": len(body)}
    if len(body) > limits.REQUEST_BODY_KEPT_BYTES_MAX:
        return {
            "cut_at_bytes": limits.REQUEST_BODY_KEPT_BYTES_MAX,
            "text": body[: limits.REQUEST_BODY_KEPT_BYTES_MAX].decode("utf-8", "replace"),
        }
    if kind == "application/x-www-form-urlencoded":
        fields = {}
        for name, value in parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True):
            fields.setdefault(name, []).append(MASKED if name in SECRET_FIELDS else value)
        return {name: values[0] if len(values) == 1 else values for name, values in fields.items()}
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace")


class Requests:
    """Every request a provider got here, with what it was answered."""

    def __init__(self, news):
        self.news = news
        self.entries = deque()
        self.bytes = 0
        self.last_id = 0

    def keep(self, provider, request, path, body, fault):
        """The entry, to which status and time are added when it was answered."""
        self.last_id += 1
        entry = {
            "id": self.last_id,
            "at": now_text(),
            "provider": provider,
            "method": request.method,
            "path": path,
            "query": {name: MASKED if name in SECRET_QUERY else value for name, value in request.query.items()},
            "headers": masked_headers(request.headers),
            "body": readable_body(body, request.headers.get("Content-Type", "")),
            "body_bytes": len(body),
            "body_sha256": hashlib.sha256(body).hexdigest() if body else None,
            "status": None,
            "fault": fault,
            "took_ms": None,
        }
        cost = 1024 + min(len(body), limits.REQUEST_BODY_KEPT_BYTES_MAX)
        self.entries.append((cost, entry))
        self.bytes += cost
        while len(self.entries) > limits.REQUESTS_KEPT_MAX or self.bytes > limits.REQUESTS_KEPT_BYTES_MAX:
            dropped_cost, _ = self.entries.popleft()
            self.bytes -= dropped_cost
        self.news.tell()
        return entry

    def select(self, provider=None, method=None, path=None, since=0):
        return [
            entry
            for _, entry in self.entries
            if entry["id"] > since
            and (provider is None or entry["provider"] == provider)
            and (method is None or entry["method"] == method)
            and (path is None or path in entry["path"])
        ]

    def clear(self):
        self.entries.clear()
        self.bytes = 0


class Files:
    """Recordings and whatever else is to be fetched from here."""

    def __init__(self):
        self.entries = {}
        self.bytes = 0

    def put(self, name, content_type, content):
        before = len(self.entries[name]["content"]) if name in self.entries else 0
        if len(content) > limits.FILE_BYTES_MAX:
            raise Full(f"a file may have {limits.FILE_BYTES_MAX} bytes")
        if self.bytes - before + len(content) > limits.FILES_BYTES_MAX:
            raise Full(f"all files together may have {limits.FILES_BYTES_MAX} bytes; delete some first")
        if name not in self.entries and len(self.entries) >= limits.FILES_MAX:
            raise Full(f"there may be {limits.FILES_MAX} files; delete some first")
        self.bytes += len(content) - before
        self.entries[name] = {
            "name": name,
            "content_type": content_type,
            "content": content,
            "sha256": hashlib.sha256(content).hexdigest(),
            "at": now_text(),
        }
        return self.entries[name]

    def delete(self, name):
        entry = self.entries.pop(name, None)
        if entry:
            self.bytes -= len(entry["content"])
        return entry is not None

    def clear(self):
        self.entries.clear()
        self.bytes = 0
