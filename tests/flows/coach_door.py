"""What the flows of the sales coach's door share: a company, a person who registers, a meeting as a scenario tool tells of it."""

import base64
import datetime
import json
import uuid
from urllib.parse import urlencode

import pytest
import requests
from daemons import Daemon
from environment import wait_until

SECRET = "the new secret"
MAILBOX = "coach@coach.example"
UTC = datetime.UTC


def settings(company):
    return {"OUTLOOK_WEBHOOK_SECRET": f"{SECRET}, an older one", "COACH_MAILBOX": MAILBOX, "DEFAULT_TENANT": company,
            "DEFAULT_REGION": "US"}


@pytest.fixture(scope="module")
def company(database):
    """A company in Berlin, whose people write numbers as they do there."""
    name = "coached-" + uuid.uuid4().hex[:8]
    database.execute("INSERT INTO companies (tenant, name, time_zone, default_region) VALUES (%s, %s, 'Europe/Berlin', 'DE')",
                     (name, "Ärzte & <Söhne>"))
    return name


@pytest.fixture(scope="module")
def ingest(schema_ready, company, tmp_path_factory):
    one = Daemon("ingest", schema_ready, tmp_path_factory.mktemp("coach"), **settings(company)).ready()
    wait_until(lambda: get(one, company).status_code == 200, "the company being known")
    yield one
    assert one.stop() == 0


@pytest.fixture
def person():
    return Person()


class Person:
    """A salesperson of this test's own."""

    def __init__(self):
        self.name = "Ana Muñoz"
        self.email = f"ana-{uuid.uuid4().hex[:10]}@seller.example"
        self.phone = "+1202555" + f"{uuid.uuid4().int % 10000:04}"

    def entered(self, **other):
        return {"name": self.name, "email": self.email, "phone": self.phone, **other}


def get(ingest, company=None, **headers):
    return requests.get(ingest.url + "/register" + (f"/{company}" if company else ""), headers=headers, timeout=10)


def register(ingest, entered, company=None, **headers):
    headers = {"Content-Type": "application/x-www-form-urlencoded", **headers}
    return requests.post(ingest.url + "/register" + (f"/{company}" if company else ""), data=urlencode(entered), headers=headers, timeout=10)


def register_json(ingest, body, company=None, **headers):
    body = body if isinstance(body, str) else json.dumps(body)
    return requests.post(ingest.url + "/register" + (f"/{company}" if company else ""), data=body.encode(),
                         headers={"Content-Type": "application/json", **headers}, timeout=10)


def registered(topics, email, count=1):
    return topics.wait("meetings", email, count, type="salesperson.registered")


def user(database, company, email):
    return database.execute("SELECT name, phone, role, user_id FROM users WHERE tenant = %s AND email = %s", (company, email)).fetchone()


def phones(database, company, email):
    return [phone for phone, in database.execute("SELECT phone FROM user_phones WHERE tenant = %s AND email = %s ORDER BY created_at", (company, email))]


# --- meetings


def at(hours, minutes=0):
    return datetime.datetime.now(UTC).replace(microsecond=0) + datetime.timedelta(hours=hours, minutes=minutes)


def text(time):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


class Meeting:
    """A meeting of this test's own, as a scenario tool tells of it."""

    def __init__(self, organizer, start=None, id=True):
        start = start or at(3)
        self.client = f"client-{uuid.uuid4().hex[:10]}@buyer.example"
        self.meeting = {"title": "Renewal talk", "start_time": text(start), "end_time": text(start + datetime.timedelta(hours=1)),
                        "organizer": {"address": organizer}}
        if id:
            self.meeting["id"] = "AAMk" + uuid.uuid4().hex
        self.body = {"meeting": self.meeting, "client": {"name": "Carl Client", "email": self.client, "company": "Buyer GmbH",
                                                         "hubspot_contact_id": "4711"}}

    def move(self, hours):
        for name in ("start_time", "end_time"):
            moved = datetime.datetime.fromisoformat(self.meeting[name]) + datetime.timedelta(hours=hours)
            self.meeting[name] = text(moved)
        return self


def tell(ingest, meeting, company=None, secret=SECRET):
    body = meeting if isinstance(meeting, bytes) else json.dumps(meeting.body if isinstance(meeting, Meeting) else meeting).encode()
    headers = {"Content-Type": "application/json", **({"X-Webhook-Secret": secret} if secret is not None else {})}
    return requests.post(ingest.url + "/outlook-webhook" + (f"/{company}" if company else ""), data=body, headers=headers, timeout=10)


def changes(topics, email, count=1):
    """Of the meetings of a salesperson, in order: change, revision, plan_version."""
    found = topics.wait("meetings", email, count, type="meeting.changed")
    return [(event["data"]["change"], event["data"]["revision"], event["data"]["plan_version"]) for event in found]


def kept_body(event):
    """What was sent, out of an event."""
    data = event["data"]
    return data["body"].encode() if data["encoding"] == "text" else base64.b64decode(data["body"])


def rows(database, email):
    columns = "meeting_id, outlook_event_id, status, revision, plan_version, title, start_time, end_time, salesperson_phone, next_check_at, tenant"
    found = database.execute(f"SELECT {columns} FROM meetings WHERE salesperson_email = %s ORDER BY created_at, start_time", (email,)).fetchall()
    return [dict(zip(columns.split(", "), row, strict=True)) for row in found]


def clients(database, meeting_id):
    return database.execute("SELECT c.email, c.name FROM meeting_clients mc JOIN clients c USING (tenant, client_id)"
                            " WHERE meeting_id = %s ORDER BY number", (meeting_id,)).fetchall()


@pytest.fixture
def known(ingest, company, topics, person):
    register(ingest, person.entered(), company)
    registered(topics, person.email)
    return person
