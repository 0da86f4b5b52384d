#!/usr/bin/env python3
"""The sample day: one call, from the ringing telephone to the sales representative's WhatsApp.

The call is spoken by flite, its recording lies on the provider sandbox, and CallRail's three webhooks arrive signed.
Everything after that is the pipeline's own work; the day only watches, and says what came out."""

import argparse
import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import sample
import speech
import watch
from paper import Paper

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 90.0  # from the last webhook to the last result
POLL_S = 0.2
HTTP_TIMEOUT_S = 10.0
TRANSCRIPT_TURNS_SHOWN_MAX = 20
TOKEN_KNOWN_S = 20.0  # from a new token to the first answer
API_ANSWER_SHOWN_BYTES = 200


class Stop(Exception):
    """The day cannot go on; the text is a sentence for whoever started it."""


# --- settings -----------------------------------------------------------------

SETTING = re.compile(
    r"""(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([^\s"'#].*?)?)\s*(?:\s#.*)?"""
)
ESCAPE = re.compile(r'\\(["\\$`])')
DEFAULTS = {
    "KAFKA_BROKERS": "127.0.0.1:9092",
    "INGEST_URL": "http://127.0.0.1:5000",
    "SANDBOX_URL": "http://127.0.0.1:5100",
}


def settings_of_file(path):
    """NAME=value lines, as `.env` has them: also with `export`, quoted, and with a shell's escapes in double quotes."""
    found = {}
    if path.is_file():
        for line in path.read_text().splitlines():
            match = SETTING.fullmatch(line.strip())
            if match:
                name, double, single, bare = match.groups()
                found[name] = (
                    ESCAPE.sub(r"\1", double) if double is not None else single if single is not None else bare or ""
                )
    return found


def read_settings():
    """The environment, then `.env`, then what `sb up` wrote, then defaults."""
    settings = {
        **DEFAULTS,
        **settings_of_file(ROOT / ".run/env"),
        **settings_of_file(ROOT / ".env"),
        **{name: value for name, value in os.environ.items() if value},
    }
    if not settings.get("DATABASE_URL"):
        raise Stop(
            "DATABASE_URL is not set: start everything with `make run`, or give the address of your own Postgres"
        )
    return settings


# --- the sandbox --------------------------------------------------------------


def http(method, url, body=None, headers=None):
    """(status, body); Stop when nobody answers."""
    request = urllib.request.Request(url, method=method, data=body, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=HTTP_TIMEOUT_S) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except (urllib.error.URLError, OSError) as error:
        raise Stop(
            f"could not reach {url} ({getattr(error, 'reason', error)}): `make run` starts what is needed"
        ) from None


class Sandbox:
    def __init__(self, settings):
        self.url = settings["SANDBOX_URL"].rstrip("/")
        self.sends_messages = settings.get("TWILIO_BASE_URL", "").startswith(self.url)

    def control(self, method, path, value=None, raw=None, content_type="application/json"):
        body = raw if raw is not None else None if value is None else json.dumps(value).encode()
        status, answer = http(method, f"{self.url}/_sandbox{path}", body, {"Content-Type": content_type})
        if status >= 300:
            raise Stop(f"the provider sandbox did not do {method} {path}: {answer.decode('utf-8', 'replace').strip()}")
        return json.loads(answer)


# --- the day ------------------------------------------------------------------


@dataclass
class Day:
    settings: dict
    out: Paper
    call_id: str = field(default_factory=lambda: "CAL" + uuid.uuid4().hex)
    began: float = 0.0  # s since 1970
    webhooks: list = field(default_factory=list)

    database: object = None
    watcher: object = None

    def __post_init__(self):
        self.sandbox = Sandbox(self.settings)
        self.ingest = self.settings["INGEST_URL"].rstrip("/")

    def prepare(self):
        """The company, its number and its people; the recording; whoever listens at the topics."""
        self.database = sample.open_database(self.settings)
        self.company = sample.make_company(self.database, self.settings, self.sandbox.sends_messages)
        self.token = sample.make_token(ROOT, self.company, self.settings)
        call = speech.speak(speech.BOOKED_CALL)
        name = f"{self.call_id}.wav"
        self.sandbox.control("PUT", f"/files/{name}", raw=call.wav, content_type="audio/wav")
        for speaker in speech.VOICES:  # for a transcription by the sandbox's OpenAI, which gets each channel on its own
            said = [segment for segment in call.segments if segment["speaker"] == speaker]
            self.sandbox.control("PUT", "/transcripts", {"file_name": f"{self.call_id}-{speaker}-*", "segments": said})
        before = self.sandbox.control("GET", "/health")
        self.first_message, self.first_webhook = before["messages"], before["webhooks"]
        self.watcher = watch.Watcher(self.settings, ROOT, self.call_id, self.company)
        self.out.say(
            f"A call of {call.seconds:.0f} s is spoken: the agent is flite's voice {speech.VOICES['agent']} (left), "
            f"the customer {speech.VOICES['customer']} (right). It comes to {self.company.number}, "
            f"the number of {self.company.name}."
        )
        return call

    def ring(self, call):
        """CallRail's webhooks, all signed; the call is over when the last of them comes."""
        self.out.head(f"Call {self.call_id}")
        self.began = time.time()
        webhooks = {"target": self.ingest + "/api/v1/callrail", "gap_ms": 250, "wait": False}
        if self.settings.get("CALLRAIL_SIGNING_KEY"):
            webhooks["signing_key"] = self.settings["CALLRAIL_SIGNING_KEY"].split(",")[0].strip()
        self.sandbox.control(
            "POST",
            "/calls",
            {
                "call": {
                    "call_id": self.call_id,
                    "caller_number": sample.CALLER,
                    "caller_name": sample.CALLER_NAME,
                    "tracking_number": self.company.number,
                    "duration": round(call.seconds),
                    "answered": True,
                    "recording_file": f"{self.call_id}.wav",
                    "agent_email": sample.CSR["email"],
                },
                "webhooks": webhooks,
            },
        )

    def webhook_news(self):
        """What CallRail's webhooks were answered since the last look."""
        sent = self.sandbox.control("GET", f"/webhooks?provider=callrail&since={self.first_webhook}")["webhooks"]
        mine = [webhook for webhook in sent if self.call_id in webhook["body"]]
        new = mine[len(self.webhooks) :]
        self.webhooks = mine
        return [
            watch.Step(
                datetime.fromisoformat(webhook["at"].replace("Z", "+00:00")).timestamp(),
                "callrail",
                webhook["hook"],
                f"answered {webhook['status']} in {webhook['took_ms']:.0f} ms"
                if webhook["status"]
                else webhook["error"],
                sample.accepted(webhook),
            )
            for webhook in new
        ]

    def follow(self):
        """A line for everything that happens, until all is there, the time is over, or something is lost."""
        deadline = time.monotonic() + WAIT_S
        while True:
            steps = self.watcher.news(POLL_S) + self.webhook_news()
            for step in sorted(steps, key=lambda step: step.at):
                self.out.step(step.at - self.began, step.who, step.what, step.text, good=step.good)
            missing = sample.missing(self.database, self.company, self.call_id, self.webhooks, self.watcher.rejected)
            lost = self.watcher.rejected or not all(
                sample.accepted(webhook) for webhook in self.webhooks
            )  # nobody sends it again
            if not missing or lost or time.monotonic() > deadline:
                return missing

    def close(self):
        for opened in (self.watcher, self.database):
            if opened:
                opened.close()

    def show_results(self):
        result = sample.results(self.database, self.company, self.call_id)
        self.out.head("What came out")
        for name, text in sample.facts_of(result):
            self.out.fact(name, text)
        if result.get("transcript"):
            self.out.fact("transcript", "")
            self.out.lines(result["transcript"].splitlines()[:TRANSCRIPT_TURNS_SHOWN_MAX])
        messages = self.sandbox.control("GET", f"/messages?since={self.first_message}")["messages"]
        mine = [message for message in messages if message["sid"] == result.get("provider_id")]
        for message in mine:
            self.out.fact("WhatsApp", f"to {message['to']}, {message['status']}, as the recipient sees it:")
            self.out.lines(message["body"].splitlines())
        if result.get("content") and not mine:
            self.out.fact("WhatsApp", f"to {result['recipient']}, {result['delivery']}:")
            self.out.lines(result["content"].splitlines())

    def ask_api(self):
        """The call as the API shows it; a new token is known at the door a moment later.  What is wrong, or None."""
        headers = {"Authorization": f"Bearer {self.token}"}
        deadline = time.monotonic() + TOKEN_KNOWN_S
        while True:
            status, body = http("GET", f"{self.ingest}/api/v1/calls/{self.call_id}", headers=headers)
            if status == 200 and self.call_id.encode() in body:
                self.out.fact("API", f"GET /api/v1/calls/{self.call_id} shows it")
                return None
            if time.monotonic() > deadline:
                return f"HTTP {status}: {body[:API_ANSWER_SHOWN_BYTES].decode('utf-8', 'replace')}"
            time.sleep(POLL_S)

    def show_more(self):
        brokers = self.settings["KAFKA_BROKERS"]
        python = Path(sys.executable)
        shown = python.relative_to(ROOT) if python.is_relative_to(ROOT) else python
        self.out.head("Where to look next")
        self.out.command(
            "the call, with transcript, analysis and history",
            f"curl -s -H 'Authorization: Bearer {self.token}' {self.ingest}/api/v1/calls/{self.call_id}",
        )
        self.out.command("its way through all stages", f"build/bin/sb tail --from-start --key {self.call_id}")
        self.out.command("a topic as it is", f"kcat -b {brokers} -C -t calls -o beginning -e -q")
        self.out.command("the WhatsApp messages", f"curl -s '{self.sandbox.url}/_sandbox/messages?format=text'")
        self.out.command("another such day", f"{shown} deploy/local/day.py")


def play(day, out):
    out.title("Switchboard: the sample day")
    call = day.prepare()
    day.ring(call)
    missing = day.follow()
    took_s = time.time() - day.began
    day.show_results()
    if not missing:
        problem = day.ask_api()
        missing = [("the call in the API's answer", problem)] if problem else []
    if missing:
        out.head(f"Missing after {took_s:.0f} s")
        for number, (what, hint) in enumerate(missing):
            out.missing(what, hint if number == 0 else None)  # what comes later only follows from it
        return 1
    day.show_more()
    out.done(f"All there after {took_s:.1f} s.")
    return 0


def main():
    parser = argparse.ArgumentParser(
        prog="day.py",
        description="Plays the sample day: one call from webhook to WhatsApp. "
        "Reads the environment, .env and .run/env; ends with 1 when anything is missing.",
    )
    parser.parse_args()
    out = Paper()
    day = None
    try:
        day = Day(read_settings(), out)
        return play(day, out)
    except (Stop, sample.CannotGoOn, speech.CannotSpeak, watch.CannotWatch) as reason:
        out.failed(str(reason))
        return 1
    except (KeyboardInterrupt, BrokenPipeError):
        sys.stdout = None  # nobody reads on: no complaint about that at the end
        return 130
    finally:
        if day:
            day.close()


if __name__ == "__main__":
    sys.exit(main())
