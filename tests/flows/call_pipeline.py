"""Call tracking as a whole: the four daemons and the provider sandbox, companies, and calls to them.

Daemons live as long as a module's tests; tests keep apart by their companies, numbers and calls."""

import functools
import hashlib
import io
import math
import secrets
import struct
import uuid
import wave

import psycopg
import pytest
import requests
from daemons import Daemon
from environment import free_port, wait_until
from psycopg.rows import dict_row
from sandbox_process import ACCOUNT, KEYS, Sandbox
from sandbox_process import process  # noqa: F401 (a fixture)

HOOKS = ("call.incoming", "call.answered", "call.completed")
ADMIN = "+12025550199"
STARTED = "2026-11-20T15:00:00+00:00"  # a Friday
RATE_HZ = 8000
LINE_S = 1.0  # each line of a conversation is heard for so long, then nobody speaks for half of it

BOOKED = (
    ("agent", "Thank you for calling Acme Plumbing, how can I help you?"),
    ("customer", "My water heater is leaking and I need someone today."),
    ("agent", "I can send Ana on Monday at ten in the morning, what is the address?"),
    ("customer", "Yes, that works, it is twenty five Oak Street."),
    ("agent", "You are booked for Monday at ten in the morning, thank you."),
)
HOT = (
    ("agent", "Thank you for calling, how can I help you?"),
    ("customer", "My basement is flooding and I need someone right away."),
    ("agent", "I am sorry, we have nobody free."),
)
COLD = (("agent", "Thank you for calling."), ("customer", "I only wanted to say hello."))
VOICEMAIL = (("customer", "Please call me back, my pipe is leaking and I need someone today."),)


def a_number():
    return "+1202" + str(2_000_000 + uuid.uuid4().int % 7_999_999)


def recording(lines, channels=2):
    """Tones where somebody speaks, the agent left and the customer right: what is said stands in the sandbox."""
    return tones(tuple(speaker for speaker, _ in lines), channels)


@functools.cache
def tones(speakers, channels):
    samples = []
    for speaker in speakers:
        for number in range(int(1.5 * LINE_S * RATE_HZ)):
            loud = number < LINE_S * RATE_HZ
            tone = int(9000 * math.sin(number / 6) * math.sin(number / 700)) if loud else 0
            samples += [tone] if channels == 1 else [tone, 0] if speaker == "agent" else [0, tone]
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(RATE_HZ)
        out.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return file.getvalue()


def segments(lines, speaker):
    return [{"start": 1.5 * number * LINE_S, "end": (1.5 * number + 1) * LINE_S, "text": text}
            for number, (who, text) in enumerate(lines) if speaker in (None, who)]


class Company:
    """Acme Plumbing in New York, with one tracking number, and one rep whose name is Ana."""

    def __init__(self, database, **columns):
        self.tenant = "acme-" + uuid.uuid4().hex[:10]
        self.number, self.rep = a_number(), a_number()
        columns = {"tenant": self.tenant, "name": "Acme Plumbing", "time_zone": "America/New_York", **columns}
        names = ", ".join(columns)
        database.execute(f"INSERT INTO companies ({names}) VALUES ({', '.join(['%s'] * len(columns))})", [*columns.values()])
        database.execute("INSERT INTO tracking_numbers (number, tenant) VALUES (%s, %s)", [self.number, self.tenant])
        database.execute("INSERT INTO users (tenant, email, user_id, name, phone, role) VALUES"
                         " (%s, 'ana@acme.test', %s, 'Ana Silva', %s, 'rep')", [self.tenant, self.tenant + "-ana", self.rep])


class Pipeline:
    """What a test does with all of it, and what it sees."""

    def __init__(self, environment, topics, sandbox_url, folder, **settings):
        self.environment, self.topics, self.folder = environment, topics, folder
        self.sandbox = Sandbox(sandbox_url)
        self.database = psycopg.connect(environment.database_url, autocommit=True, row_factory=dict_row)
        self.daemons = {}
        for name, own in self.settings(sandbox_url, free_port()).items():
            self.daemons[name] = Daemon(name, environment, folder, **{**own, **settings.get(name, {})})
        for daemon in self.daemons.values():
            daemon.ready()

    def settings(self, sandbox_url, port):
        public_url, recordings = f"http://127.0.0.1:{port}", str(self.folder / "recordings")
        models = {"OPENAI_API_KEY": KEYS["OPENAI_API_KEY"], "OPENAI_BASE_URL": sandbox_url + "/openai/v1",
                  "SHUNYA_API_KEY": KEYS["SHUNYA_API_KEY"], "SHUNYA_BASE_URL": sandbox_url + "/shunya", "PUBLIC_URL": public_url}
        return {
            "ingest": {"port": port, "PUBLIC_URL": public_url, "CALLRAIL_SIGNING_KEY": KEYS["CALLRAIL_SIGNING_KEY"],
                       "CALLRAIL_BASE_URL": sandbox_url + "/callrail/v3", "TWILIO_AUTH_TOKEN": KEYS["TWILIO_AUTH_TOKEN"],
                       "SHUNYA_WEBHOOK_SECRET": KEYS["SHUNYA_WEBHOOK_SECRET"], "RECORDINGS_DIR": recordings},
            "transcribe": {**models, "TRANSCRIBE_WITH": "openai", "RECORDINGS_DIR": recordings,
                           "RECORDING_PRIVATE_ALLOWED": sandbox_url.removeprefix("http://")},
            "analyze": {**models, "LLM_PROVIDER": "rules", "GEMINI_API_KEY": KEYS["GEMINI_API_KEY"],
                        "GEMINI_BASE_URL": sandbox_url + "/gemini"},
            "notifier": {"PUBLIC_URL": public_url, "TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": KEYS["TWILIO_AUTH_TOKEN"],
                         "TWILIO_BASE_URL": sandbox_url + "/twilio", "TWILIO_TIMEOUT": "1s", "ADMIN_WHATSAPP_TO": ADMIN,
                         "TWILIO_WHATSAPP_FROM": KEYS["TWILIO_WHATSAPP_FROM"],
                         "TWILIO_CONTENT_SID_LEAD": KEYS["TWILIO_CONTENT_SID_LEAD"]},
        }

    @property
    def ingest(self):
        return self.daemons["ingest"]

    @property
    def notifier(self):
        return self.daemons["notifier"]

    def restart(self, name, **settings):
        daemon = self.daemons[name]
        assert daemon.stop() == 0
        daemon.settings.update(settings)
        return daemon.start()

    def use(self, name, **settings):
        """The daemon with these settings: started again when they are others than it has."""
        daemon = self.daemons[name]
        if any(daemon.settings.get(setting) != value for setting, value in settings.items()):
            self.restart(name, **settings).ready()

    def close(self):
        """Whatever the tests did to them, the daemons are there and end as they should."""
        codes = {name: (daemon.process.poll(), daemon.stop()) for name, daemon in self.daemons.items()}
        self.database.close()
        assert codes == {name: (None, 0) for name in self.daemons}

    # --- what a test does

    def company(self, **columns):
        return Company(self.database, **columns)

    def call(self, company, lines=None, hooks=HOOKS, call_id=None, audio=None, channels=2, webhooks=None, **call):
        """Somebody calls the company's number: what is said is recorded, and CallRail's webhooks are sent, signed."""
        call_id = call_id or "CAL" + uuid.uuid4().hex
        if lines is not None:
            audio = audio or recording(lines, channels)
            for speaker in ("agent", "customer") if channels == 2 else ("speaker",):
                said = {"file_name": f"{call_id}-{speaker}-*", "segments": segments(lines, speaker if channels == 2 else None)}
                self.sandbox.control("PUT", "/transcripts", json=said)
        if audio is not None:
            self.sandbox.control("PUT", f"/files/{call_id}.wav", data=audio, headers={"Content-Type": "audio/wav"})
            call.setdefault("recording_file", call_id + ".wav")
        call = {"call_id": call_id, "caller_number": a_number(), "tracking_number": company.number, "started_at": STARTED,
                "duration": 61, **call}
        sending = {"target": self.ingest.url + "/api/v1/callrail", "hooks": list(hooks), **(webhooks or {})}
        answers = self.sandbox.control("POST", "/calls", json={"call": call, "webhooks": sending})["webhooks"]
        assert [answer["status"] for answer in answers] == [200] * len(hooks), answers
        return call_id

    # --- what a test sees

    def rows(self, table, call_id):
        return self.database.execute(f"SELECT * FROM {table} WHERE call_id = %s", [call_id]).fetchall()

    def row(self, table, call_id):
        """Waits for it."""
        return wait_until(lambda: self.rows(table, call_id), f"a row of {call_id} in {table}")[0]

    def settled(self, stage, call_id, event_type):
        """How a stage settled the call's event: its row in the ledger."""
        query = "SELECT * FROM ledger WHERE stage = %s AND correlation_id = %s AND event_type = %s"
        found = lambda: self.database.execute(query, [stage, call_id, event_type]).fetchall()  # noqa: E731
        return wait_until(found, f"{event_type} of {call_id} being settled by {stage}")[0]

    def dead_letter(self, stage, call_id):
        return self.topics.wait("dead." + stage, call_id)[0]["data"]

    def delivery(self, call_id, status=None):
        """The one message about a call, once it has the status."""
        def found():
            rows = self.database.execute("SELECT * FROM deliveries WHERE subject = %s", [call_id]).fetchall()
            return rows and (status is None or rows[0]["status"] == status) and rows
        row, = wait_until(found, f"the message about {call_id} being {status or 'there'}")
        return row

    def messages(self, number):
        """What the person with this number got by WhatsApp."""
        everything = self.sandbox.control("GET", "/messages")["messages"]
        return [message for message in everything if message["to"] == "whatsapp:" + number]

    def asked(self, provider, **about):
        """The requests that a provider got."""
        return self.sandbox.control("GET", "/requests", params={"provider": provider, **about})["requests"]

    def emitted(self, call_id):
        """The types of the events that the stages made of a call: it is whole for whatever is settled."""
        query = "SELECT payload::jsonb ->> 'type' AS type FROM emitted WHERE payload::jsonb ->> 'correlationid' = %s"
        return sorted(row["type"] for row in self.database.execute(query, [call_id]).fetchall())

    def shown_by_the_api(self, company, call_id):
        token = "sb_" + secrets.token_urlsafe(32)
        self.database.execute("INSERT INTO api_tokens (token_hash, token_id, tenant, role) VALUES (%s, %s, %s, 'admin')",
                              [hashlib.sha256(token.encode()).digest(), uuid.uuid4(), company.tenant])
        headers = {"Authorization": f"Bearer {token}"}
        answer = requests.get(f"{self.ingest.url}/api/v1/calls/{call_id}", headers=headers, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def events(self, call_id):
        """All events of a call on all topics."""
        with self.topics.changed:
            found = [record[4] for record in self.topics.records if isinstance(record[4], dict)]
        return list({event["id"]: event for event in found if event.get("correlationid") == call_id}.values())

    def types(self, call_id):
        return sorted(event["type"] for event in self.events(call_id))


@pytest.fixture(scope="module")
def started(schema_ready, topics, process, tmp_path_factory, request):  # noqa: F811
    pipeline = Pipeline(schema_ready, topics, process, tmp_path_factory.mktemp("pipeline"), **getattr(request.module, "SETTINGS", {}))
    yield pipeline
    pipeline.close()


@pytest.fixture
def pipeline(started):
    """With a sandbox that knows of no earlier test."""
    started.sandbox.control("POST", "/reset")
    return started


@pytest.fixture
def the_next_call_is_handled(pipeline):
    """By the same daemons, after whatever a test did."""
    yield
    pipeline.sandbox.control("POST", "/reset")
    pipeline.row("call_analyses", pipeline.call(pipeline.company(), BOOKED))
