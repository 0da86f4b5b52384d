"""The sales coach as a whole: the four daemons and the provider sandbox, salespeople, their meetings and what they write.

Time goes by when a test says so: a meeting's row is moved into the past, as if all of it had happened earlier."""

import uuid
from datetime import datetime, timedelta, timezone

import pytest
import requests
from call_pipeline import Pipeline, a_number
from call_pipeline import process  # noqa: F401 (a fixture)
from environment import wait_until
from sandbox_process import ACCOUNT, KEYS

MAILBOX = "coach@switchboard.test"
TEMPLATES = {name: KEYS[name] for name in ("TWILIO_CONTENT_SID_WELCOME", "TWILIO_CONTENT_SID_PLAN", "TWILIO_CONTENT_SID_REMINDER")}
DEFAULT_TENANT = "coach-default"
MINUTE = timedelta(minutes=1)


def now():
    return datetime.now(timezone.utc)


def as_text(moment):
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


class Salesperson:
    """Of a company of the test's own, with the number they register with."""

    def __init__(self, tenant, name="Ada Park"):
        self.tenant, self.name, self.phone = tenant, name, a_number()
        self.email = f"ada-{uuid.uuid4().hex[:10]}@acme.test"


class Coach(Pipeline):
    def __init__(self, *arguments, **settings):
        self.began = as_text(now())
        super().__init__(*arguments, **settings)

    def settings(self, sandbox_url, port):
        settings = super().settings(sandbox_url, port)
        twilio = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": KEYS["TWILIO_AUTH_TOKEN"], "TWILIO_BASE_URL": sandbox_url + "/twilio"}
        settings["ingest"] |= {"DEFAULT_TENANT": DEFAULT_TENANT, "DEFAULT_REGION": "US", "COACH_MAILBOX": MAILBOX,
                               "OUTLOOK_WEBHOOK_SECRET": KEYS["OUTLOOK_WEBHOOK_SECRET"]}
        settings["transcribe"] |= twilio
        settings["notifier"] |= {**TEMPLATES, "HUBSPOT_ACCESS_TOKEN": KEYS["HUBSPOT_ACCESS_TOKEN"],
                                 "HUBSPOT_BASE_URL": sandbox_url + "/hubspot"}
        return settings

    # --- what people do

    def client(self, name="Bea Stone", company="Stone Ltd"):
        """Somebody whom HubSpot knows; gives them as the calendar's scenario tells of them."""
        contact = {"email": f"{uuid.uuid4().hex[:10]}@client.test"}
        contact_id = self.sandbox.control("POST", "/hubspot/contacts", json=contact)["id"]
        return {"name": name, "company": company, **contact, "hubspot_contact_id": contact_id}

    def salesperson(self, **about):
        """Of a company that the door knows already: it looks for new ones every few seconds."""
        tenant = self.company().tenant
        wait_until(lambda: requests.get(f"{self.ingest.url}/register/{tenant}", timeout=10).ok, "the company's page")
        return Salesperson(tenant, **about)

    def register(self, person, **fields):
        """Through the page, as a browser sends its form."""
        form = {"name": person.name, "email": person.email, "phone": person.phone, **fields}
        return requests.post(f"{self.ingest.url}/register/{person.tenant}", data=form, timeout=10)

    def registered(self, **about):
        person = self.salesperson(**about)
        assert self.register(person).ok
        self.got(person, "welcome")
        return person

    def writes(self, person, body="", phone=None, **more):
        """By WhatsApp; gives the message's sid, once Twilio's webhook was acknowledged."""
        message = {"from": "whatsapp:" + (phone or person.phone), "body": body, "target": self.ingest.url + "/whatsapp-webhook", **more}
        written = self.sandbox.control("POST", "/messages", json=message)
        for webhook in written["webhooks"]:
            assert webhook["status"] in (200, 204) and webhook["log"] is None, webhook
        return written["sid"]

    def talking(self, **about):
        """Somebody who is registered and wrote to us just now, so that free text may be sent."""
        person = self.registered(**about)
        self.answer_to(person, "help")
        return person

    def answer_to(self, person, body="", **more):
        """What the coach answers to that, one message."""
        count = len(self.deliveries(person, "answer"))
        self.writes(person, body, **more)
        return self.got(person, "answer", count + 1)[-1]

    def tell(self, person, told):
        """News of a meeting, as the calendar's scenario sends it."""
        answer = self.sandbox.control("POST", "/meetings", json={"target": f"{self.ingest.url}/outlook-webhook/{person.tenant}", **told})
        assert answer["webhooks"][0]["status"] // 100 == 2, answer["webhooks"]

    def invites(self, person, title="Renewal of the service contract", starts_in=120 * MINUTE, lasts=30 * MINUTE, client=None, **meeting):
        """The salesperson invites the coach's mailbox; gives the meeting as it was told of."""
        begins = now() + starts_in
        told = {"meeting": {"id": "AAMk" + uuid.uuid4().hex, "title": title, "start_time": as_text(begins),
                            "end_time": as_text(begins + lasts), "organizer": {"address": person.email}, **meeting},
                "client": client or {"name": "Bea Stone", "email": f"bea-{uuid.uuid4().hex[:8]}@client.test", "company": "Stone Ltd"}}
        self.tell(person, told)
        return told

    def changes(self, person, told, **meeting):
        """The same meeting, otherwise; gives it as it is now."""
        told = {**told, "meeting": {**told["meeting"], **meeting}}
        self.tell(person, told)
        return told

    # --- what became of it

    def meeting(self, told, **wanted):
        """The meeting's row, once it is as wanted."""
        def found():
            rows = self.database.execute("SELECT * FROM meetings WHERE outlook_event_id = %s", [told["meeting"]["id"]]).fetchall()
            return rows and all(rows[0][name] == value for name, value in wanted.items()) and rows[0]
        return wait_until(found, f"the meeting {told['meeting']['title']} being {wanted or 'there'}")

    def over(self, told):
        """It ended more than a minute ago, and whatever was to happen then is due."""
        row = self.meeting(told)
        ago = row["end_time"] - now() + MINUTE + timedelta(seconds=1)
        self.database.execute("UPDATE meetings SET start_time = start_time - %s, end_time = end_time - %s, planned_at = planned_at - %s,"
                              " next_check_at = next_check_at - %s WHERE meeting_id = %s", [ago, ago, ago, ago, row["meeting_id"]])

    def a_day_goes_by(self, person):
        """Since this person last wrote."""
        for table, column in (("user_phones", "last_received_at"), ("messages", '"timestamp"')):
            query = f"UPDATE {table} SET {column} = {column} - interval '25 hours' WHERE tenant = %s AND email = %s"
            self.database.execute(query, [person.tenant, person.email])
        numbers = self.database.execute("SELECT phone FROM user_phones WHERE tenant = %s AND email = %s", [person.tenant, person.email])
        for row in numbers.fetchall():
            written = {"from": "whatsapp:" + row["phone"], "body": "", "at": as_text(now() - timedelta(hours=25))}
            self.sandbox.control("POST", "/messages", json=written)

    def deliveries(self, person, purpose=None):
        """What was to be sent to this person, in that order."""
        query = ("SELECT d.*, coalesce(m.message, d.content) AS text FROM deliveries d LEFT JOIN messages m"
                 " ON m.tenant = d.tenant AND m.message_id = d.delivery_id::text"
                 " WHERE d.channel = 'whatsapp' AND d.recipient IN"
                 " (SELECT 'whatsapp:' || phone FROM user_phones WHERE tenant = %s AND email = %s)"
                 " ORDER BY d.created_at, d.version")
        rows = self.database.execute(query, [person.tenant, person.email]).fetchall()
        return [row for row in rows if purpose in (None, row["purpose"])]

    def got(self, person, purpose, count=1, status="read"):
        """The messages of that purpose, once there are so many, all of that status; gives them as the person sees them."""
        def found():
            rows = self.deliveries(person, purpose)
            return len(rows) >= count and all(row["status"] == status for row in rows) and rows
        try:
            rows = wait_until(found, f"{count} {purpose} to {person.email} being {status}")
        except AssertionError as reason:
            there = [(row["purpose"], row["version"], row["status"], row["error"], row["text"]) for row in self.deliveries(person)]
            raise AssertionError(f"{reason}; there are {there}") from None
        assert len(rows) == count, f"{len(rows)} of {purpose} instead of {count}: {rows}"
        seen = {message["sid"]: message["body"] for message in self.sandbox.control("GET", "/messages")["messages"]}
        return [seen.get(row["provider_id"], row["text"]) for row in rows]

    def chat(self, phone):
        """Everything between us and this number, as both see it: (who, text)."""
        everything = self.sandbox.control("GET", "/messages")["messages"]
        return [("person" if message["direction"] == "inbound" else "coach", message["body"]) for message in everything
                if "whatsapp:" + phone in (message["from"], message["to"])]

    def note(self, told, state="logged", version=1):
        """What was noted of the meeting, once it is so."""
        meeting_id = self.meeting(told)["meeting_id"]

        def found():
            rows = self.database.execute("SELECT * FROM meeting_notes WHERE meeting_id = %s", [meeting_id]).fetchall()
            return rows and (rows[-1]["state"], rows[-1]["version"]) == (state, version) and rows[-1]
        return wait_until(found, f"the note being {state}, version {version}")

    def notes_at_hubspot(self, text):
        """Those there that hold this text."""
        return [note for note in self.sandbox.control("GET", "/hubspot/notes")["notes"] if text in str(note)]

    def settle(self, person):
        """All that this person wrote was answered, and all news of their meetings were handled: a last message went through all stages."""
        self.answer_to(person, "help")


@pytest.fixture(scope="module")
def opened(schema_ready, topics, process, tmp_path_factory, request):  # noqa: F811
    coach = Coach(schema_ready, topics, process, tmp_path_factory.mktemp("coach"), **getattr(request.module, "SETTINGS", {}))
    query = "INSERT INTO companies (tenant, name, time_zone) VALUES (%s, 'Acme', 'America/New_York') ON CONFLICT DO NOTHING"
    coach.database.execute(query, [DEFAULT_TENANT])
    yield coach
    coach.close()


@pytest.fixture
def coach(opened):
    """With a sandbox that knows of no earlier test."""
    opened.sandbox.control("POST", "/reset")
    return opened
