"""The sample day's coach: a salesperson registers, has a meeting, practises, says how it went, and it is noted.

Everything is asked for from outside: the registration's page, the calendar's webhook, WhatsApp at the sandbox.  That the
meeting is over a minute later is the calendar's news too: it was moved to half an hour ago."""

import time
import urllib.parse
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import cached_property

import chat
import psycopg
import sample

TITLE = "The coach: a meeting, from the invitation to the note"
NAME = "Nora Lane"
PHONES = [f"+120255501{number}" for number in range(48, 100)]  # of the range that is kept for fiction
CLIENT = {"name": "Paul Stone", "company": "Stone Bakery"}
MEETING = "Service contract for the ovens at Stone Bakery"
INVITATION = (
    "We talk about the yearly service contract. They find the price too high, and compare us with another firm."
)
ROLEPLAY = (
    "Let us practise: you are Paul, and you find it too expensive",
    "I understand. With the contract an oven is repaired within four hours, also at night.",
    "feedback",
)
OUTCOME = "they sign for one year, and want the first visit in December"
WAIT_S = 30.0  # for each thing that takes milliseconds, or a sweep
POLL_S = 0.2
ENDED_AGO = timedelta(seconds=59)  # the reminder is due a minute after the end
LASTS = timedelta(minutes=30)
FINE = ("delivered", "read")

DELIVERIES = """
SELECT purpose, status, error FROM deliveries
WHERE tenant = %s AND channel = 'whatsapp' AND recipient = %s AND created_at >= %s ORDER BY created_at"""
WROTE = "SELECT phone FROM user_phones WHERE tenant = %s AND last_received_at > now() - interval '1 day'"
WRITES_FREELY = """
SELECT last_received_at > now() - interval '23 hours 58 minutes' AS open FROM user_phones WHERE tenant = %s AND phone = %s"""
RESULTS = """
SELECT m.title, m.status, m.last_client_reply, p.provider AS plan_provider, p.summary,
       n.state AS note, n.error AS note_error, n.hubspot_note_id
FROM meetings m
LEFT JOIN meeting_plans p ON p.tenant = m.tenant AND p.meeting_id = m.meeting_id
LEFT JOIN meeting_notes n ON n.tenant = m.tenant AND n.meeting_id = m.meeting_id AND n.revision = m.revision
WHERE m.tenant = %s AND m.outlook_event_id = %s"""


class Missing(Exception):
    """Something did not happen: what, and where to look."""


@dataclass
class Coached:
    """The salesperson's day, as far as it has gone; `day` is the sample day, `http` its way to ask a server."""

    day: object
    http: object
    number: str = field(default_factory=lambda: uuid.uuid4().hex[:6])  # of the day: nobody in it was there before
    began: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    @property
    def email(self):
        return f"nora.{self.number}@sample.example"

    @property
    def client(self):
        return {**CLIENT, "email": f"paul.{self.number}@stone-bakery.example"}

    @property
    def event_id(self):
        return "sample-" + self.number

    @cached_property
    def phone(self):
        """One that nobody wrote from of late: WhatsApp would let the coach answer it freely, which a sandbox that was
        started anew does not know any more."""
        known = {row["phone"] for row in self.asked(WROTE, self.day.company.tenant)}
        return next((phone for phone in PHONES if phone not in known), PHONES[0])

    # --- what people do

    def register(self):
        """On the page, by its form."""
        page = f"{self.day.ingest}/register/{self.day.company.tenant}"
        status, body = self.http("GET", page)
        if status != 200 or b"<form" not in body:
            raise Missing(f"the registration page {page}", f"HTTP {status}")
        form = urllib.parse.urlencode({"name": NAME, "email": self.email, "phone": self.phone}).encode()
        status, body = self.http("POST", page, form, {"Content-Type": "application/x-www-form-urlencoded"})
        if status not in (200, 201, 202, 303):
            raise Missing("the registration", f"HTTP {status}: {body[:200].decode('utf-8', 'replace')}")

    def tell(self, starts):
        """The calendar's news of the meeting, as they stand now."""
        news = {
            "target": f"{self.day.ingest}/outlook-webhook/{self.day.company.tenant}",
            "meeting": {
                "id": self.event_id,
                "title": MEETING,
                "description": INVITATION,
                "start_time": starts.isoformat(),
                "end_time": (starts + LASTS).isoformat(),
                "organizer": {"address": self.email, "name": NAME},
            },
            "client": self.client,
        }
        secret = self.day.settings.get("OUTLOOK_WEBHOOK_SECRET")
        if secret:
            news["secret"] = secret.split(",")[0].strip()
        self.accepted(
            "the news of the meeting", self.day.sandbox.control("POST", "/meetings", news), "OUTLOOK_WEBHOOK_SECRET"
        )

    def writes(self, text):
        message = {
            "from": "whatsapp:" + self.phone,
            "body": text,
            "profile_name": NAME,
            "target": self.day.settings.get("PUBLIC_URL", self.day.ingest).rstrip("/") + "/whatsapp-webhook",
        }
        self.accepted(
            "what she wrote", self.day.sandbox.control("POST", "/messages", message), "TWILIO_AUTH_TOKEN, PUBLIC_URL"
        )

    @staticmethod
    def accepted(what, answer, setting):
        (webhook,) = answer["webhooks"]
        if not sample.accepted(webhook):
            hint = f"ingest answered {webhook['status'] or webhook['error']}: is {setting} the same here and there?"
            raise Missing(f"{what}, acknowledged", hint)

    # --- what came of it

    def asked(self, statement, *parameters):
        try:
            return self.day.database.execute(statement, parameters).fetchall()
        except psycopg.Error as error:
            raise sample.CannotGoOn(f"Postgres does not answer any more: {error}") from None

    def sent(self, purpose):
        """How the messages of that purpose fare."""
        rows = self.asked(DELIVERIES, self.day.company.tenant, "whatsapp:" + self.phone, self.began)
        return [row for row in rows if row["purpose"] == purpose]

    def wait(self, purpose, count, hint):
        """Until so many messages of that purpose are on her phone."""
        deadline = time.monotonic() + WAIT_S
        while True:
            self.show_news()
            rows = self.sent(purpose)
            if len(rows) >= count and all(row["status"] in FINE for row in rows):
                return
            if self.day.watcher.rejected:
                raise Missing("an event: it lies in a dead-letter topic", "; ".join(self.day.watcher.rejected))
            if time.monotonic() > deadline:
                states = ", ".join(f"{row['status']} {row['error'] or ''}".strip() for row in rows)
                raise Missing(f"the message with the {purpose}, delivered", f"{hint}: {states or 'not sent'}")

    def show_news(self):
        for step in sorted(self.day.watcher.news(POLL_S), key=lambda step: step.at):
            self.day.out.step(step.at - self.began.timestamp(), step.who, step.what, step.text, good=step.good)

    def result(self):
        rows = self.asked(RESULTS, self.day.company.tenant, self.event_id)
        return rows[0] if rows else {}

    def conversation(self):
        """Hers alone, from the day's beginning."""
        messages = self.day.sandbox.control("GET", f"/messages?since={self.day.first_message}")["messages"]
        return [
            chat.said_of(message) for message in messages if "whatsapp:" + self.phone in (message["from"], message["to"])
        ]

    # --- the day

    def play(self):
        if self.day.sandbox.is_hubspot:
            self.day.sandbox.control("POST", "/hubspot/contacts", {"email": self.client["email"]})
        self.register()
        self.wait("welcome", 1, "stage notifier: topic meetings")
        self.get_plan()
        for words in ROLEPLAY:
            self.ask(words)
        self.tell(datetime.now(timezone.utc) - ENDED_AGO - LASTS)
        self.wait("reminder", 1, "stage notifier: its sweep")
        self.ask(f"Done, {OUTCOME}")

    def get_plan(self):
        """Before she wrote, a template announces the plan, and it follows on her reply."""
        announced = not self.free_text_allowed()
        self.tell(datetime.now(timezone.utc) + timedelta(hours=1))
        self.wait("plan", 1, "stage analyze: topic meetings; stage notifier: topic results")
        if announced:
            self.writes("Show me")
            self.wait("plan", 2, "stage notifier: topic results")

    def ask(self, words):
        answers = len(self.sent("answer"))
        self.writes(words)
        self.wait("answer", answers + 1, "stage analyze: topic meetings; stage notifier: topic results")

    def free_text_allowed(self):
        """She wrote within the last day: on a day that was played before."""
        rows = self.asked(
            WRITES_FREELY,
            self.day.company.tenant,
            self.phone,
        )
        return bool(rows and rows[0]["open"])


def missing(row, at_sandbox):
    """(what, hint) of what must stand in the tables in the end; `at_sandbox`: its HubSpot knows the client."""
    if at_sandbox:
        noted = row.get("note") == "logged" and row.get("hubspot_note_id")
        note = (
            noted,
            "the note at HubSpot",
            f"stage notifier: it is {row.get('note')} {row.get('note_error') or ''}".strip(),
        )
    else:
        note = (row.get("note"), "the note", "stage notifier: topic results")
    checks = (
        (row, "the meeting in meetings", "stage ingest, the recorder: topic inbound.outlook"),
        (row.get("plan_provider"), "its plan in meeting_plans", "stage analyze: topic meetings"),
        (row.get("status") == "completed", "the meeting, completed", f"it is {row.get('status')}"),
        (row.get("last_client_reply") == OUTCOME, "what she said of it", f"it is {row.get('last_client_reply')!r}"),
        note,
    )
    return [(what, hint) for there, what, hint in checks if not there]


def facts_of(row):
    """(name, words) of what the tables say of the meeting."""
    note = {
        "logged": "at HubSpot, on the client's contact",
        "no_token": "here alone: no HubSpot is configured",
        "no_contact": "here alone: HubSpot does not know the client",
    }
    return [
        ("meeting", f"{row['title']}: {row['status']}"),
        ("plan", f"{row['summary']} (by {row['plan_provider']})"),
        ("outcome", row["last_client_reply"] or "none"),
        ("note", note.get(row["note"], row["note"] or "none")),
    ]
