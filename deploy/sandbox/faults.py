"""Rules that make a provider misbehave, and what they do to a request.

A rule says where (provider, method, path), how often (count, skip, probability with seed) and what.  The first rule
that fits a request and still has something to do is taken."""

import asyncio
import json
import random
import re

from aiohttp import web

import limits
from errors import error_response

WHERE = {
    "provider": str,
    "method": str,
    "path": str,
    "count": (int, type(None)),
    "skip": int,
    "probability": (int, float),
    "seed": int,
    "what": str,
}
# what a rule can do, and the fields each takes
REQUEST_FAULTS = {
    "status": {"status": int, "headers": dict, "body": (dict, list, str), "when": str},
    "stall": {"seconds": (int, float), "when": str},
    "cut": {"when": str, "bytes": int},
    "slow": {"bytes_per_s": (int, float)},
    "malformed_json": {},
    "truncated_json": {},
    "empty": {},
}
MODEL_FAULTS = {"invented_quote": {"which": str}, "nonsense": {}, "cut_off": {}, "refused": {}}
WEBHOOK_FAULTS = {
    "duplicate_webhook": {"copies": int},
    "reorder_webhooks": {},
    "no_webhook": {},
    "delay_webhook": {"seconds": (int, float)},
    "wrong_signature": {},
}
MESSAGE_FAULTS = {
    "fail_message": {"message_status": str, "error_code": int, "error_message": str},
    "slow_message": {"seconds": (int, float)},
}
JOB_FAULTS = {"fail_job": {"error_code": str, "error_message": str}, "stuck_job": {}, "lacking": {"field": str}}
ALL_FAULTS = {**REQUEST_FAULTS, **MODEL_FAULTS, **WEBHOOK_FAULTS, **MESSAGE_FAULTS, **JOB_FAULTS}
PROVIDERS = ("twilio", "callrail", "gemini", "openai", "shunya", "hubspot", "graph", "files", "outlook", "s3")
CHOICES = {
    "provider": PROVIDERS,
    "when": ("before", "after"),
    "which": ("all", "first"),
    "message_status": ("failed", "undelivered"),
}


class Rule:
    def __init__(self, number, wanted):
        self.id = number
        self.wanted = wanted
        self.what = wanted["what"]
        self.path = re.compile(wanted["path"]) if "path" in wanted else None
        self.probability = wanted.get("probability")
        self.random = random.Random(wanted.get("seed", number))
        self.left = wanted.get("count", 1 if self.probability is None else None)  # None: without end
        self.to_skip = wanted.get("skip", 0)
        self.seen = 0  # requests it fitted
        self.hits = 0  # requests it was applied to

    def get(self, name, default=None):
        return self.wanted.get(name, default)

    def fits(self, kinds, provider, method, path):
        return (
            self.what in kinds
            and self.get("provider", provider) == provider
            and self.get("method", method) == method
            and (self.path is None or self.path.search(path))
        )

    def take(self):
        """Counts the request it fits, and says whether it is this one's turn."""
        if self.left == 0:
            return False
        self.seen += 1
        if self.seen <= self.to_skip or (self.probability is not None and self.random.random() >= self.probability):
            return False
        if self.left is not None:
            self.left -= 1
        self.hits += 1
        return True

    def shown(self):
        return {**self.wanted, "id": self.id, "left": self.left, "seen": self.seen, "hits": self.hits}


def problem_of(wanted):
    """What is wrong with a rule, as a sentence, or None."""
    if not isinstance(wanted, dict) or wanted.get("what") not in ALL_FAULTS:
        return f"a rule is an object whose `what` is one of {', '.join(sorted(ALL_FAULTS))}"
    fields = {**WHERE, **ALL_FAULTS[wanted["what"]]}
    for name, value in wanted.items():
        if name not in fields:
            return f"`{wanted['what']}` has no field `{name}`; it has {', '.join(sorted(fields))}"
        if not isinstance(value, fields[name]) or (isinstance(value, bool) and fields[name] is not bool):
            return f"`{name}` has the wrong type"
        if name in CHOICES and value not in CHOICES[name]:
            return f"`{name}` is one of {', '.join(CHOICES[name])}"
    if wanted["what"] == "status" and not 200 <= wanted.get("status", 0) <= 599:
        return "`status` is the HTTP status to answer, from 200 to 599"
    if not 0 <= wanted.get("seconds", 0) <= limits.STALL_S_MAX:
        return f"`seconds` is at most {limits.STALL_S_MAX:.0f}"
    if not 0 <= wanted.get("copies", 0) <= limits.WEBHOOK_COPIES_MAX:
        return f"`copies` is at most {limits.WEBHOOK_COPIES_MAX}"
    if wanted.get("bytes_per_s", 1) <= 0:
        return "`bytes_per_s` is more than 0"
    try:
        re.compile(wanted.get("path", ""))
    except re.error as error:
        return f"`path` is a regular expression: {error}"
    return None


class Faults:
    def __init__(self):
        self.rules = []
        self.last_id = 0

    def add(self, wanted):
        self.last_id += 1
        rule = Rule(self.last_id, wanted)
        self.rules.append(rule)
        return rule

    def delete(self, number=None):
        kept = [] if number is None else [rule for rule in self.rules if rule.id != number]
        deleted = len(self.rules) - len(kept)
        self.rules = kept
        return deleted

    def take(self, kinds, provider, path, method=None):
        for rule in self.rules:
            if rule.fits(kinds, provider, method, path) and rule.take():
                return rule
        return None


async def disturbed(rule, provider, request, act):
    """Answers `request` as the rule wants it; `act` is what would have happened."""
    when = rule.get("when", "before")
    if rule.what == "stall":
        if when == "before":
            await asyncio.sleep(rule.get("seconds", limits.STALL_S_MAX))
            return await act()
        response = await act()
        await asyncio.sleep(rule.get("seconds", limits.STALL_S_MAX))
        return response
    if rule.what == "status":
        if when == "after":
            await act()
        return status_answer(rule, provider)
    if rule.what == "cut":
        response = await act() if when == "after" else None
        return await cut(request, response, rule.get("bytes", 0))
    response = await act()
    body = response.body if isinstance(response, web.Response) and isinstance(response.body, bytes) else b""
    if rule.what == "slow":
        return await slow(request, response, body, rule.get("bytes_per_s", limits.SLOW_BYTES_PER_S))
    if rule.what == "empty":
        body = b""
    elif rule.what == "truncated_json":
        body = body[: max(1, len(body) // 2)]
    else:
        body = b'{"this": is not JSON,' + body[1:]
    return web.Response(status=response.status, body=body, content_type="application/json", charset="utf-8")


def status_answer(rule, provider):
    body = rule.get("body")
    headers = {name: str(value) for name, value in rule.get("headers", {}).items()}
    if body is None:
        response = error_response(provider, rule.get("status"), "the sandbox was told to answer so")
        response.headers.update(headers)
        return response
    text = body if isinstance(body, str) else json.dumps(body)
    if not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = "text/plain; charset=utf-8" if isinstance(body, str) else "application/json"
    return web.Response(status=rule.get("status"), text=text, headers=headers)


async def cut(request, response, bytes_sent):
    """Closes the connection; after `bytes_sent` bytes of the answer, when there is one."""
    if response is None or not isinstance(response, web.Response) or bytes_sent == 0:
        if request.transport:
            request.transport.abort()
        return web.Response(status=500)
    body = response.body or b""
    partial = web.StreamResponse(
        status=response.status, headers={"Content-Type": response.content_type, "Content-Length": str(len(body))}
    )
    await partial.prepare(request)
    await partial.write(body[:bytes_sent])
    if request.transport:
        request.transport.close()
    return partial


async def slow(request, response, body, bytes_per_s):
    dripping = web.StreamResponse(
        status=response.status, headers={"Content-Type": response.content_type, "Content-Length": str(len(body))}
    )
    await dripping.prepare(request)
    piece = max(1, int(bytes_per_s / 10))
    for at in range(0, len(body), piece):
        await dripping.write(body[at : at + piece])
        await asyncio.sleep(len(body[at : at + piece]) / bytes_per_s)
    return dripping
