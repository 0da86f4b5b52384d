"""Webhooks the providers send: signed, with the provider's rules for time-outs and repeats, and disturbed when told."""

import asyncio
import base64
import hashlib
import hmac
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urldefrag

import aiohttp
from yarl import URL

import limits
from faults import WEBHOOK_FAULTS
from store import now_text

WRONG_SIGNATURE = base64.b64encode(b"not a signature at a").decode()


def callrail_signature(key, body):
    return base64.b64encode(hmac.new(key.encode(), body, hashlib.sha1).digest()).decode()


def twilio_signature(token, url, fields):
    """The URL as called, then each name in order with its distinct values in order (fields: list of pairs)."""
    text = url
    for name in sorted({name for name, _ in fields}):
        for value in sorted({value for other, value in fields if other == name}):
            text += name + value
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()


@dataclass
class Overrides:
    """Twilio's connection overrides: what stands behind # in a callback URL."""

    connect_s: float = limits.TWILIO_WEBHOOK_CONNECT_S
    read_s: float = limits.TWILIO_WEBHOOK_READ_S
    total_s: float = limits.TWILIO_WEBHOOK_TOTAL_S
    retries: int = 1
    policy: frozenset = frozenset({"ct"})

    @staticmethod
    def from_fragment(fragment):
        given = {name: values[-1] for name, values in parse_qs(fragment).items()}
        overrides = Overrides()
        for name, attribute, least_ms in (("ct", "connect_s", 100), ("rt", "read_s", 100), ("tt", "total_s", 100)):
            if given.get(name, "").isdigit():
                setattr(overrides, attribute, min(max(int(given[name]), least_ms), 15_000) / 1000)
        if given.get("rc", "").isdigit():
            overrides.retries = min(int(given["rc"]), 5)
        if "rp" in given:
            overrides.policy = frozenset(given["rp"].split(","))
        return overrides

    def wants_retry(self, failure):
        return failure in self.policy or "all" in self.policy


@dataclass
class Webhook:
    provider: str
    hook: str  # call.completed, delivered, …: what rules are matched with
    url: str  # with its fragment, if any
    body: bytes
    headers: dict
    overrides: Overrides = field(default_factory=lambda: Overrides(retries=0, total_s=limits.CALLRAIL_WEBHOOK_TOTAL_S))
    signature_header: str = "Signature"


class Webhooks:
    def __init__(self, faults, news):
        self.faults = faults
        self.news = news
        self.sent = deque(maxlen=limits.WEBHOOKS_KEPT_MAX)
        self.last_id = 0
        self.in_flight = asyncio.Semaphore(limits.WEBHOOKS_IN_FLIGHT_MAX)
        self.runs = set()
        self.client = None

    def open(self):
        self.client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=limits.WEBHOOKS_IN_FLIGHT_MAX))

    async def close(self):
        self.forget()
        if self.client:
            await self.client.close()

    def forget(self):
        for run in list(self.runs):
            run.cancel()
        self.sent.clear()

    def full(self):
        return len(self.runs) >= limits.WEBHOOK_RUNS_MAX

    def start(self, plan):
        """Sends a plan in the background; `plan` as in run()."""
        run = asyncio.create_task(self.run(plan))
        self.runs.add(run)
        run.add_done_callback(self.runs.discard)
        return run

    async def run(self, plan):
        """`plan`: (seconds from now, webhook) in the provider's order, sent one after the other; returns how each went."""
        started = time.monotonic()
        outcomes = []
        for at_s, webhook, signed in self.disturbed(plan):
            await asyncio.sleep(max(0.0, started + at_s - time.monotonic()))
            outcomes.append(await self.send(webhook, signed))
        return outcomes

    def disturbed(self, plan):
        times = [at_s for at_s, _ in plan]
        webhooks = [webhook for _, webhook in plan]
        if any(self.faults.take({"reorder_webhooks"}, webhook.provider, webhook.hook) for webhook in webhooks):
            webhooks.reverse()
        result = []
        for at_s, webhook in zip(times, webhooks):
            copies, signed = 1, True
            for what in set(WEBHOOK_FAULTS) - {"reorder_webhooks"}:
                rule = self.faults.take({what}, webhook.provider, webhook.hook)
                if rule is None:
                    continue
                if what == "duplicate_webhook":
                    copies = rule.get("copies", 2)
                elif what == "no_webhook":
                    copies = 0
                elif what == "delay_webhook":
                    at_s += rule.get("seconds", 1)
                elif what == "wrong_signature":
                    signed = False
            result += [(at_s, webhook, signed)] * copies
        return sorted(result, key=lambda entry: entry[0])

    async def send(self, webhook, signed=True):
        headers = dict(webhook.headers)
        if not signed:
            headers[webhook.signature_header] = WRONG_SIGNATURE
        if webhook.provider == "twilio":
            headers["I-Twilio-Idempotency-Token"] = str(
                uuid.uuid5(uuid.NAMESPACE_URL, webhook.url + webhook.body.decode())
            )
        self.last_id += 1
        entry = {
            "id": self.last_id,
            "at": now_text(),
            "provider": webhook.provider,
            "hook": webhook.hook,
            "url": webhook.url,
            "body": webhook.body.decode("utf-8", "replace"),
            "attempts": 0,
            "status": None,
            "content_type": None,
            "answer": None,
            "error": None,
            "took_ms": None,
        }
        started = time.monotonic()
        async with self.in_flight:
            for _ in range(webhook.overrides.retries + 1):
                left_s = webhook.overrides.total_s - (time.monotonic() - started)
                if left_s <= 0:
                    break
                entry["attempts"] += 1
                failure = await self.attempt(webhook, headers, left_s, entry)
                if failure is None or not webhook.overrides.wants_retry(failure):
                    break
        entry["took_ms"] = round((time.monotonic() - started) * 1000, 1)
        self.sent.append(entry)
        self.news.tell()
        return entry

    async def attempt(self, webhook, headers, left_s, entry):
        """None when it was accepted, else why not, in the words of Twilio's retry policy: ct, rt, 4xx, 5xx."""
        overrides = webhook.overrides
        timeout = aiohttp.ClientTimeout(total=left_s, sock_connect=overrides.connect_s, sock_read=overrides.read_s)
        entry["status"] = entry["content_type"] = entry["answer"] = entry["error"] = None
        try:
            address = URL(urldefrag(webhook.url).url, encoded=True)  # exactly as it was given: it is what was signed
            async with self.client.post(
                address, data=webhook.body, headers=headers, timeout=timeout, allow_redirects=False
            ) as answer:
                entry["status"], entry["content_type"] = answer.status, answer.content_type
                content = await answer.content.read(limits.WEBHOOK_ANSWER_KEPT_BYTES_MAX)
                entry["answer"] = content.decode("utf-8", "replace")
                return {4: "4xx", 5: "5xx"}.get(answer.status // 100)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            entry["error"] = f"could not connect: {error}"
            return "ct"
        except (aiohttp.ClientError, asyncio.TimeoutError, ValueError) as error:
            entry["error"] = str(error) or type(error).__name__
            return "rt"
