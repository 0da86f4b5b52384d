#!/usr/bin/env python3
"""The sample day: three calls, a visit and a coached meeting.  One call is booked and reaches the sales representative's
WhatsApp, one ends with the price, and one is missed and CallRail never tells of it; the visit that was booked is won; a
salesperson is coached by WhatsApp from the invitation to the note.

The calls are spoken by flite, their recordings lie on the provider sandbox, and CallRail's webhooks arrive signed.
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
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import chat
import coach
import sample
import speech
import visit
import watch
from paper import Paper

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 90.0  # from a call's last webhook to its last result
POLL_S = 0.2
HTTP_TIMEOUT_S = 10.0
TRANSCRIPT_TURNS_SHOWN_MAX = 20
LOST_MINUTES = 40  # a call is missed by CallRail's webhooks no sooner than 25 minutes after its end
API_S = 20.0  # from a new token, or a change, to its answer
API_ANSWER_SHOWN_BYTES = 200
API_CALLS_MAX = 100  # the day's are among the newest


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
        self.is_hubspot = settings.get("HUBSPOT_BASE_URL", "").startswith(self.url)
        self.lists_calls = settings.get("CALLRAIL_BASE_URL", "").startswith(self.url)

    def control(self, method, path, value=None, raw=None, content_type="application/json"):
        body = raw if raw is not None else None if value is None else json.dumps(value).encode()
        status, answer = http(method, f"{self.url}/_sandbox{path}", body, {"Content-Type": content_type})
        if status >= 300:
            raise Stop(f"the provider sandbox did not do {method} {path}: {answer.decode('utf-8', 'replace').strip()}")
        return json.loads(answer)


# --- the day ------------------------------------------------------------------


@dataclass
class Played:
    """A call of the day, as far as it has gone."""

    call: sample.Call
    call_id: str = field(default_factory=lambda: "CAL" + uuid.uuid4().hex)
    spoken: speech.SpokenCall | None = None
    began: float = 0.0  # s since 1970
    webhooks: list = field(default_factory=list)
    result: dict = field(default_factory=dict)


@dataclass
class Day:
    settings: dict
    out: Paper
    database: object = None
    watcher: object = None

    def __post_init__(self):
        self.sandbox = Sandbox(self.settings)
        self.ingest = self.settings["INGEST_URL"].rstrip("/")
        # a CallRail of one's own does not know the sample's calls
        calls = [call if self.sandbox.lists_calls else replace(call, lost=False) for call in sample.CALLS]
        self.played = [Played(call) for call in calls]

    def prepare(self):
        """The company, its number and its people; the recordings; whoever listens at the topics."""
        self.database = sample.open_database(self.settings)
        self.company = sample.make_company(self.database, self.settings, self.sandbox.sends_messages)
        self.token = sample.make_token(ROOT, self.company, self.settings)
        self.csr, self.rep = (
            sample.make_token(ROOT, self.company, self.settings, user["role"], user["email"])
            for user in (sample.CSR, sample.REP)
        )
        for played in self.played:
            if played.call.script:
                self.record(played)
        before = self.sandbox.control("GET", "/health")
        self.first_message, self.first_webhook = before["messages"], before["webhooks"]
        self.watcher = watch.Watcher(self.settings, ROOT, self.company)
        self.out.say(
            f"{len(self.played)} calls come to {self.company.number}, the number of {self.company.name}. They are "
            f"spoken: the agent is flite's voice {speech.VOICES['agent']} (left), the customers are "
            f"{speech.VOICES['customer']} (right)."
        )

    def record(self, played):
        played.spoken = speech.speak(played.call.script)
        self.sandbox.control("PUT", f"/files/{played.call_id}.wav", raw=played.spoken.wav, content_type="audio/wav")
        for speaker in speech.VOICES:  # for a transcription by the sandbox's OpenAI, which gets each channel on its own
            said = [segment for segment in played.spoken.segments if segment["speaker"] == speaker]
            heard = {"file_name": f"{played.call_id}-{speaker}-*", "segments": said}
            self.sandbox.control("PUT", "/transcripts", heard)

    def ring(self, played):
        """The call is at CallRail, and its webhooks are sent, all signed, unless they get lost."""
        call = {
            "call_id": played.call_id,
            "caller_number": played.call.caller,
            "caller_name": played.call.caller_name,
            "tracking_number": self.company.number,
        }
        if played.spoken:
            call |= {
                "duration": round(played.spoken.seconds),
                "recording_file": f"{played.call_id}.wav",
                "agent_email": sample.CSR["email"],
            }
        else:
            call |= {"answered": False}
        if played.call.lost:
            call |= {"started_at": (datetime.now(timezone.utc) - timedelta(minutes=LOST_MINUTES)).isoformat()}
        webhooks = {
            "target": self.ingest + "/api/v1/callrail",
            "hooks": list(played.call.hooks),
            "gap_ms": 250,
            "wait": False,
        }
        if self.settings.get("CALLRAIL_SIGNING_KEY"):
            webhooks["signing_key"] = self.settings["CALLRAIL_SIGNING_KEY"].split(",")[0].strip()
        self.watcher.listen_for(played.call_id, told=played.call.booked)
        played.began = time.time()
        self.sandbox.control("POST", "/calls", {"call": call, "webhooks": webhooks})

    def webhook_news(self, played):
        """What CallRail's webhooks were answered since the last look."""
        sent = self.sandbox.control("GET", f"/webhooks?provider=callrail&since={self.first_webhook}")["webhooks"]
        mine = [webhook for webhook in sent if played.call_id in webhook["body"]]
        new = mine[len(played.webhooks) :]
        played.webhooks = mine
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

    def follow(self, played):
        """A line for everything that happens, until all is there, the time is over, or something is lost."""
        deadline = time.monotonic() + WAIT_S
        while True:
            if played.call.lost and not played.result:
                sample.check_now(self.database, self.settings["CALLRAIL_ACCOUNT_ID"])
            steps = self.watcher.news(POLL_S) + self.webhook_news(played)
            for step in sorted(steps, key=lambda step: step.at):
                self.out.step(step.at - played.began, step.who, step.what, step.text, good=step.good)
            played.result = sample.results(self.database, self.company, played.call_id)
            missing = sample.missing(played.call, played.result, played.webhooks, self.watcher.rejected)
            lost = self.watcher.rejected or not all(
                sample.accepted(webhook) for webhook in played.webhooks
            )  # nobody sends it again
            if not missing or lost or time.monotonic() > deadline:
                return missing

    def close(self):
        for opened in (self.watcher, self.database):
            if opened:
                opened.close()

    def show_result(self, played):
        result = played.result
        self.out.line()
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

    def ask_api(self, path, value=None, token=None):
        """(answer, None), or (None, what is wrong); a new token is known at the door a moment later."""
        headers = {"Authorization": f"Bearer {token or self.token}", "Content-Type": "application/json"}
        body = None if value is None else json.dumps(value).encode()
        if body:
            headers["Idempotency-Key"] = uuid.uuid4().hex
        deadline = time.monotonic() + API_S
        while True:
            status, answer = http("POST" if body else "GET", self.ingest + path, body, headers)
            if status in (200, 201):
                return json.loads(answer)["data"], None
            if time.monotonic() > deadline:
                return None, f"HTTP {status}: {answer[:API_ANSWER_SHOWN_BYTES].decode('utf-8', 'replace')}"
            time.sleep(POLL_S)

    def visit(self):
        """The appointment of the first call is kept; gives what is missing of the visit."""
        self.out.head(visit.TITLE)
        going = visit.prepare(self.sandbox, str(self.played[0].result["appointment_id"]))
        wanted = {"appointment_id": going.appointment_id}
        session, problem = self.ask_api("/api/v1/recordings/sessions/start", wanted, self.rep)
        if problem:
            return [("the visit's recording session", problem)]
        going.session_id = session["session_id"]
        visit.heard_by_sandbox(self.sandbox, going)
        self.watcher.listen_for(going.session_id, told=False)
        began = time.time()
        recording = {"audio_url": f"{self.sandbox.url}/files/{going.file}"}
        _, problem = self.ask_api(f"/api/v1/recordings/sessions/{going.session_id}/stop", recording, self.rep)
        if problem:
            return [("the end of the visit's recording", problem)]
        return self.follow_visit(going, began)

    def follow_visit(self, going, began):
        deadline = time.monotonic() + WAIT_S
        while True:
            for step in sorted(self.watcher.news(POLL_S), key=lambda step: step.at):
                self.out.step(step.at - began, step.who, step.what, step.text, good=step.good)
            row = visit.results(self.database, self.company, going)
            missing = visit.missing(row, self.watcher.rejected)
            if not missing or self.watcher.rejected or time.monotonic() > deadline:
                break
        self.out.line()
        for name, text in visit.facts_of(row) if row else []:
            self.out.fact(name, text)
        return missing

    def coach(self):
        """A salesperson's meeting; gives what is missing of it."""
        self.out.head(coach.TITLE)
        if not self.sandbox.sends_messages:
            self.out.say("Left out: with a Twilio account of your own only a phone can write to it.")
            return []
        going = coach.Coached(self, http)
        self.watcher.listen_for(going.email, told=False)
        try:
            going.play()
            missing = coach.missing(going.result(), self.sandbox.is_hubspot)
        except coach.Missing as reason:
            missing = [reason.args]
        self.show_conversation(going)
        return missing

    def show_conversation(self, going):
        self.out.line()
        self.out.say(f"{coach.NAME}'s phone:")
        for line in chat.drawn(going.conversation(), coach.NAME, self.out.terminal, self.out.columns):
            self.out.line(line)
        result = going.result()
        self.out.line()
        for name, text in coach.facts_of(result) if result else []:
            self.out.fact(name, text)

    def show_figures(self):
        """The figures as the CSR, the rep and the executive see them; gives what is missing."""
        self.out.head("The figures of 30 days, by GET /api/v1/metrics/…")
        missing = []
        # the visit counts on the day of its appointment, which is still ahead
        until = sample.day_of(self.played[0].result["scheduled_start"], self.company.time_zone)
        query = f"?to={until}" if until else ""
        for who, path, token, words in (
            (sample.CSR["name"], "csr/overview/self", self.csr, sample.figures_of_calls),
            ("all CSRs", "exec/csr/overview", self.token, sample.figures_of_calls),
            (sample.REP["name"], "sales/rep/overview/self" + query, self.rep, sample.figures_of_visits),
            ("all reps", "exec/sales/overview" + query, self.token, sample.figures_of_visits),
        ):
            overview, problem = self.ask_api(f"/api/v1/metrics/{path}", token=token)
            if problem:
                missing.append((f"the figures of {who}", problem))
            else:
                self.out.fact(who, words(overview))
        return missing

    def show_calls(self):
        """The day as the API lists it; gives what is missing there."""
        self.out.head("The day, by GET /api/v1/calls")
        answer, problem = self.ask_api(f"/api/v1/calls?limit={API_CALLS_MAX}")
        if problem:
            return [("the calls in the API's answer", problem)]
        listed = {call["call_id"]: call for call in answer["items"]}
        missing = []
        for played in self.played:
            call = listed.get(played.call_id)
            if call:
                self.out.fact(call["customer_name"], sample.line_of(call))
            else:
                missing.append((f"{played.call.caller_name}'s call in the API's answer", "stage ingest, the API"))
        return missing

    def show_more(self):
        brokers = self.settings["KAFKA_BROKERS"]
        python = Path(sys.executable)
        shown = python.relative_to(ROOT) if python.is_relative_to(ROOT) else python
        call_id = self.played[0].call_id
        self.out.head("Where to look next")
        self.out.command(
            "the first call, with transcript, analysis and history",
            f"curl -s -H 'Authorization: Bearer {self.token}' {self.ingest}/api/v1/calls/{call_id}",
        )
        self.out.command(f"all of it in a browser, with the token {self.token}", f"{self.ingest}/")
        self.out.command("its way through all stages", f"build/bin/sb trace {call_id}")
        self.out.command("a topic as it is", f"kcat -b {brokers} -C -t calls -o beginning -e -q")
        self.out.command("the WhatsApp messages", f"curl -s '{self.sandbox.url}/_sandbox/messages?format=text'")
        self.out.command("another such day", f"{shown} deploy/local/day.py")


def play(day, out):
    out.title("Switchboard: the sample day")
    day.prepare()
    began = time.time()
    missing = []
    for played in day.played:
        out.head(f"{played.call.title}: {played.call_id}")
        day.ring(played)
        missing = day.follow(played)
        day.show_result(played)
        if missing:
            break  # the next ones only meet the same
    missing = missing or day.visit() or day.coach() or day.show_calls() or day.show_figures()
    if missing:
        out.head(f"Missing after {time.time() - began:.0f} s")
        for number, (what, hint) in enumerate(missing):
            out.missing(what, hint if number == 0 else None)  # what comes later only follows from it
        return 1
    day.show_more()
    out.done(f"All there after {time.time() - began:.1f} s.")
    return 0


def main():
    parser = argparse.ArgumentParser(
        prog="day.py",
        description="Plays the sample day: a call from webhook to WhatsApp, one that is not booked, one that never "
        "arrived, a visit that is won, and a meeting that is coached. "
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
