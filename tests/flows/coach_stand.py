"""The notifier with the provider sandbox, and a sales team whose rows and events a test puts in by hand, as the other stages would."""

import datetime
import json
import uuid

import psycopg
import pytest
from call_pipeline import ADMIN, a_number
from daemons import Daemon, event
from environment import free_port, wait_until
from psycopg.rows import dict_row
from sandbox_process import ACCOUNT, KEYS, Sandbox
from sandbox_process import process  # noqa: F401 (a fixture)

TEMPLATES = {"WELCOME": ("HX00000000000000000000000000000011", "Hello {{1}}, your sales coach is here. Reply to this message to begin."),
             "PLAN": ("HX00000000000000000000000000000012", "Your plan for {{1}} is ready. Reply to read it."),
             "REMINDER": ("HX00000000000000000000000000000013", "How did {{1}} go? Reply and tell what happened.")}
SUMMARY = "Bo compares three offers for the roof."
STEPS = ["Ask what decides.", "Show the Miller roof.", "Agree on a date to sign."]


def in_minutes(minutes):
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)


def settings_of(sandbox_url, ingest_url=None):
    """The notifier's."""
    templates = {f"TWILIO_CONTENT_SID_{name}": sid for name, (sid, _) in TEMPLATES.items()}
    return {**({"PUBLIC_URL": ingest_url} if ingest_url else {}), "TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": KEYS["TWILIO_AUTH_TOKEN"],
            "TWILIO_BASE_URL": sandbox_url + "/twilio", "TWILIO_TIMEOUT": "1s", "ADMIN_WHATSAPP_TO": ADMIN,
            "TWILIO_WHATSAPP_FROM": KEYS["TWILIO_WHATSAPP_FROM"], "TWILIO_CONTENT_SID_LEAD": KEYS["TWILIO_CONTENT_SID_LEAD"], **templates,
            "HUBSPOT_ACCESS_TOKEN": KEYS["HUBSPOT_ACCESS_TOKEN"], "HUBSPOT_BASE_URL": sandbox_url + "/hubspot", "HUBSPOT_TIMEOUT": "1s"}


class Salesperson:
    """Ana of Acme in New York.  `wrote`: minutes ago; None: never."""

    def __init__(self, stand, tenant, wrote=1):
        self.stand, self.tenant = stand, tenant
        self.email, self.phone, self.user_id = f"ana-{uuid.uuid4().hex[:8]}@acme.test", a_number(), f"user-{uuid.uuid4().hex[:8]}"
        stand.execute("INSERT INTO users (tenant, email, user_id, name, phone, role) VALUES (%s, %s, %s, 'Ana Silva', %s, 'rep')",
                      tenant, self.email, self.user_id, self.phone)
        stand.execute("INSERT INTO user_phones (tenant, phone, email) VALUES (%s, %s, %s)", tenant, self.phone, self.email)
        if wrote is not None:
            self.writes(minutes_ago=wrote)

    def writes(self, text="hello", minutes_ago=0):
        """Something, by WhatsApp: gives the message's id."""
        at, message_id = in_minutes(-minutes_ago), "SM" + uuid.uuid4().hex
        self.stand.sandbox.control("POST", "/messages", json={"from": "whatsapp:" + self.phone, "body": text, "at": at.isoformat()})
        self.stand.execute("UPDATE user_phones SET last_received_at = %s WHERE phone = %s", at, self.phone)
        self.stand.execute("INSERT INTO messages (tenant, message_id, email, phone, direction, purpose, message, \"timestamp\")"
                           " VALUES (%s, %s, %s, %s, 'incoming', 'text', %s, %s)", self.tenant, message_id, self.email, self.phone, text, at)
        return message_id

    def gets(self, count=None, but=0):
        """What came to the phone, in order: so many in all."""
        def arrived():
            found = self.stand.messages(self.phone)
            return found if count is None or len(found) >= count else None
        found = wait_until(arrived, f"{count} messages to {self.phone}") if count else arrived()
        assert count is None or len(found) == count, [message["body"] for message in found]
        return found[but:]


class Stand:
    def __init__(self, environment, topics, sandbox_url, folder):
        self.environment, self.topics, self.folder = environment, topics, folder
        self.sandbox = Sandbox(sandbox_url)
        self.database = psycopg.connect(environment.database_url, autocommit=True, row_factory=dict_row)
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        self.ingest = Daemon("ingest", environment, folder, port=port, PUBLIC_URL=url, TWILIO_AUTH_TOKEN=KEYS["TWILIO_AUTH_TOKEN"],
                             CALLRAIL_SIGNING_KEY="key").ready()
        self.notifier = Daemon("notifier", environment, folder, **settings_of(sandbox_url, url)).ready()

    def close(self):
        codes = [daemon.stop() for daemon in (self.notifier, self.ingest)]
        self.database.close()
        assert codes == [0, 0]

    def use(self, **settings):
        """The notifier with these settings; None: without it."""
        wanted = {**self.notifier.settings, **settings}
        wanted = {name: value for name, value in wanted.items() if value is not None}
        if wanted != self.notifier.settings:
            assert self.notifier.stop() == 0
            self.notifier.settings = wanted
            self.notifier.start().ready()

    def execute(self, query, *values):
        return self.database.execute(query, values)

    def rows(self, query, *values):
        return self.execute(query, *values).fetchall()

    def company(self, **columns):
        columns = {"tenant": "acme-" + uuid.uuid4().hex[:10], "name": "Acme", "time_zone": "America/New_York", **columns}
        self.execute(f"INSERT INTO companies ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))})", *columns.values())
        return columns["tenant"]

    def salesperson(self, wrote=1):
        return Salesperson(self, self.company(), wrote)

    def meeting(self, ana, starts=120, minutes=60, plan=True, title="Roof", client=None, provider="gemini", **columns):
        """A meeting of hers that starts in so many minutes; gives its id."""
        client = {"email": f"bo-{uuid.uuid4().hex[:8]}@lee.test", "name": "Bo Lee", "company": "Lee & Sons", **(client or {})}
        meeting_id, client_id = str(uuid.uuid4()), str(uuid.uuid4())
        client = {"tenant": ana.tenant, "client_id": client_id, **client}
        self.execute(f"INSERT INTO clients ({', '.join(client)}) VALUES ({', '.join(['%s'] * len(client))})", *client.values())
        columns = {"tenant": ana.tenant, "meeting_id": meeting_id, "outlook_event_id": meeting_id, "salesperson_email": ana.email,
                   "salesperson_phone": ana.phone, "client_id": client_id, "title": title, "start_time": in_minutes(starts),
                   "end_time": in_minutes(starts + minutes), "planned_at": in_minutes(-5), "source_time": in_minutes(-5), **columns}
        self.execute(f"INSERT INTO meetings ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))})", *columns.values())
        self.execute("INSERT INTO meeting_clients (tenant, meeting_id, client_id, number) VALUES (%s, %s, %s, 1)", ana.tenant, meeting_id, client_id)
        if plan:
            self.plan(ana, meeting_id, provider=provider)
        return meeting_id

    def plan(self, ana, meeting_id, version=1, provider="gemini", summary=SUMMARY):
        self.execute("INSERT INTO meeting_plans (tenant, meeting_id, plan_version, summary, steps, provider, source_time)"
                     " VALUES (%s, %s, %s, %s, %s, %s, now()) ON CONFLICT (tenant, meeting_id) DO UPDATE SET plan_version = EXCLUDED.plan_version,"
                     " summary = EXCLUDED.summary", ana.tenant, meeting_id, version, summary, json.dumps(STEPS), provider)

    def plan_made(self, ana, meeting_id, version=1, provider="gemini", **attributes):
        data = {"meeting_id": meeting_id, "salesperson": ana.email, "revision": 1, "plan_version": version, "provider": provider}
        return self.send("results", ana.email, "plan.made", data, ana.tenant, **attributes)

    def send(self, topic, key, type, data, tenant, **attributes):
        """As a stage would: gives the event's id."""
        sent = event(type, key, data, tenant=tenant, **{"time": in_minutes(0).isoformat().replace("+00:00", "Z"), **attributes})
        self.topics.send(topic, key, sent)
        return sent["id"]

    def settled(self, event_id, run=0):
        """How the notifier settled it."""
        found = lambda: self.rows("SELECT * FROM ledger WHERE stage = 'notifier' AND event_id = %s AND run = %s", event_id, run)  # noqa: E731
        return wait_until(found, f"event {event_id} being settled")[0]

    def meeting_row(self, meeting_id, **wanted):
        """As it is, or once it is so."""
        def fits():
            row, = self.rows("SELECT * FROM meetings WHERE meeting_id = %s", meeting_id)
            return all(row[name] == value for name, value in wanted.items()) and row
        return wait_until(fits, f"meeting {meeting_id} being {wanted}")

    def note(self, meeting_id, **wanted):
        def fits():
            rows = self.rows("SELECT * FROM meeting_notes WHERE meeting_id = %s", meeting_id)
            return rows and all(rows[0][name] == value for name, value in wanted.items()) and rows[0]
        return wait_until(fits, f"the note of {meeting_id} being {wanted}")

    def deliveries(self, count=1, status=None, **about):
        def found():
            where = " AND ".join(f"{name} = %s" for name in about)
            rows = self.rows(f"SELECT * FROM deliveries WHERE {where} ORDER BY created_at, version", *about.values())
            return len(rows) >= count and all(status in (None, row["status"]) for row in rows) and rows
        return wait_until(found, f"{count} deliveries {about} {status or ''}")

    def messages(self, number):
        everything = self.sandbox.control("GET", "/messages", params={"to": "whatsapp:" + number})["messages"]
        return [message for message in everything if message["to"] == "whatsapp:" + number]

    def contact(self, **properties):
        return self.sandbox.control("POST", "/hubspot/contacts", json=properties)["id"]

    def notes(self, contact_id):
        return [note for note in self.sandbox.control("GET", "/hubspot/notes")["notes"] if contact_id in note["contacts"]]


@pytest.fixture(scope="module")
def started(schema_ready, topics, process, tmp_path_factory):  # noqa: F811
    stand = Stand(schema_ready, topics, process, tmp_path_factory.mktemp("coach"))
    yield stand
    stand.close()


@pytest.fixture
def stand(started):
    """With a sandbox that knows of no earlier test, and the templates that are approved."""
    started.sandbox.control("POST", "/reset")
    for sid, body in TEMPLATES.values():
        started.sandbox.control("PUT", f"/templates/{sid}", json={"body": body})
    started.sandbox.control("PUT", "/hubspot/settings", json={"index_lag_ms": 0})
    return started
