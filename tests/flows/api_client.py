"""A client of the API with a token, and companies with their rows, for the tests of the API.

Every answer is held to schemas/openapi.yaml by an independent validator."""

import hashlib
import json
import random
import secrets
import uuid
from datetime import datetime, timedelta, timezone
from http.client import HTTPConnection
from urllib.parse import quote

import pytest
import requests
import yaml
from daemons import Daemon
from environment import ROOT, wait_until
from openapi_schema_validator import OAS31Validator, oas31_format_checker
from psycopg.types.json import Jsonb

DOCUMENT = (ROOT / "schemas" / "openapi.yaml").read_text(encoding="utf-8")
OPENAPI = yaml.safe_load(DOCUMENT)
SIGNING_KEY = "a signing key of the tests"
LIST = "/api/v1/calls"
NOON = datetime(2026, 6, 10, 12, tzinfo=timezone.utc)


def describing(path):
    """The document's paths for an address, the one with the fewest places that take anything first."""
    segments = path.split("?")[0].split("/")

    def fits(template):
        parts = template.split("/")
        return len(parts) == len(segments) and all(part.startswith("{") or part == segment for part, segment in zip(parts, segments))
    return sorted(filter(fits, OPENAPI["paths"]), key=lambda template: template.count("{"))


def schema_of(method, path, status, media_type):
    """What the document says of an answer, as a validator; local references stay those of the document."""
    answer = next(OPENAPI["paths"][one] for one in describing(path) if method in OPENAPI["paths"][one])[method]["responses"][str(status)]
    if "$ref" in answer:
        answer = OPENAPI["components"]["responses"][answer["$ref"].rsplit("/", 1)[1]]
    schema = {**answer["content"][media_type]["schema"], "components": OPENAPI["components"]}
    return OAS31Validator(schema, format_checker=oas31_format_checker)


class Api:
    """One client with one token."""

    def __init__(self, url, token):
        self.url, self.token = url, token

    def send(self, method, path, /, body=None, parameters=None, **headers):
        """Headers by their names, with _ for -."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        answer = requests.request(method, self.url + path, params=parameters, json=body, headers=headers, timeout=30)
        media_type = answer.headers["Content-Type"].split(";")[0]
        if media_type.endswith("json"):
            schema_of(method.lower(), path, answer.status_code, media_type).validate(answer.json())
        assert answer.headers["Cache-Control"] == "no-store"
        return answer

    def ask(self, path, /, **parameters):
        return self.send("GET", path, parameters=parameters)

    def get(self, path, /, **parameters):
        answer = self.ask(path, **parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def list(self, path=LIST, /, **parameters):
        return self.get(path, **parameters)

    def ids(self, path=LIST, /, **parameters):
        return [identity(item) for item in self.list(path, **parameters)["items"]]

    def all_ids(self, path=LIST, /, between=lambda: None, **parameters):
        found, cursor = [], None
        while True:
            page = self.list(path, **parameters, cursor=cursor)
            found += [identity(item) for item in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                return found
            between()

    def show(self, call_id):
        return self.get(f"{LIST}/{quote(call_id, safe='')}")

    def problem(self, status, path=LIST, /, **parameters):
        return held_to_problem(status, self.ask(path, **parameters))

    def outcome(self, method, path, body, /, **headers):
        """The status and the JSON that a change was answered with, at once or, on a machine that has other things to do, later."""
        answer = self.send(method, path, body, **headers)
        if answer.status_code >= 400:
            held_to_problem(answer.status_code, answer)
        if answer.status_code != 202:
            return answer.status_code, answer.json()
        done = wait_until(lambda: (found := self.get(answer.headers["Location"]))["state"] != "pending" and found, "the change being done")
        return done["status"], done["answer"]

    def change(self, status, method, path, body, /, **headers):
        """What a change was answered with: the row, or the problem."""
        answered, found = self.outcome(method, path, body, **headers)
        assert answered == status, found
        return found["data"] if status < 400 else found


def identity(item):
    return next(item[name] for name in ("session_id", "appointment_id", "call_id", "lead_id") if name in item)


def held_to_problem(status, answer):
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json" and answer.json()["status"] == status
    return answer


def ask_raw(url, target, token):
    """As written: requests would mend the address.  Gives the status, the content type and the JSON."""
    connection = HTTPConnection(url.removeprefix("http://"), timeout=30)
    connection.request("GET", target, headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    return answer.status, answer.headers["Content-Type"], json.loads(answer.read())


class Company:
    """A tenant of one test, and the rows it puts there."""

    def __init__(self, database, url, time_zone="UTC", tenant=None, environment=None):
        self.database, self.url, self.environment = database, url, environment
        self.tenant = tenant or "api-" + uuid.uuid4().hex[:12]
        if not tenant:
            database.execute("INSERT INTO companies (tenant, name, time_zone) VALUES (%s, 'Test', %s)", [self.tenant, time_zone])

    def insert(self, table, **values):
        columns = ", ".join(f'"{name}"' for name in values)
        places = ", ".join("%s" for _ in values)
        values = [Jsonb(value) if isinstance(value, (list, dict)) else value for value in values.values()]
        self.database.execute(f"INSERT INTO {table} ({columns}) VALUES ({places})", values)

    def token(self, role="admin", **about):
        token = "sb_" + secrets.token_urlsafe(32)
        self.insert("api_tokens", token_hash=hashlib.sha256(token.encode()).digest(), token_id=uuid.uuid4(), tenant=self.tenant, role=role, **about)
        return token

    def user(self, role="rep", name="Ana Silva", **about):
        """Gives the user's id and a token of that person."""
        user_id = "user-" + uuid.uuid4().hex[:12]
        email = user_id + "@example.com"
        self.insert("users", tenant=self.tenant, email=email, user_id=user_id, name=name, role=role, **about)
        return user_id, self.api(role=role, email=email)

    def lead(self, status="new", **about):
        """A contact of its own, and its lead."""
        contact_id, lead_id = uuid.uuid4(), str(uuid.uuid4())
        self.insert("contact_cards", tenant=self.tenant, contact_id=contact_id, phone="+1" + str(random.randrange(10**9, 10**10)), name="Bo Customer")
        self.insert("leads", tenant=self.tenant, lead_id=lead_id, contact_id=contact_id, status=status, **about)
        return lead_id

    def appointment(self, scheduled_start=NOON, **about):
        appointment_id = str(uuid.uuid4())
        self.insert("appointments", **{"tenant": self.tenant, "appointment_id": appointment_id, "scheduled_start": scheduled_start,
                                       "source_time": NOON, **about})
        return appointment_id

    def session(self, appointment_id, started_at=NOON, **about):
        session_id = str(uuid.uuid4())
        self.insert("recording_sessions", **{"tenant": self.tenant, "session_id": session_id, "appointment_id": appointment_id,
                                             "started_at": started_at, **about})
        return session_id

    def api(self, **about):
        return Api(self.url, self.token(**about))

    def call(self, call_id=None, started_at=NOON, status="completed", **about):
        call_id = call_id or "CAL" + uuid.uuid4().hex
        self.insert("calls", **{"tenant": self.tenant, "call_id": call_id, "source": "callrail", "status": status, "started_at": started_at,
                                **about})
        return call_id

    def transcript(self, call_id, text, **about):
        self.insert("call_transcripts", **{
            "tenant": self.tenant, "call_id": call_id, "provider": "local", "text": text,
            "segments": [{"speaker": "agent", "start_s": 0, "end_s": 1.5, "text": text}], "speakers": 1, "words": len(text.split()),
            "source_time": NOON, **about})

    def analysis(self, call_id, **about):
        self.insert("call_analyses", **{
            "tenant": self.tenant, "call_id": call_id, "provider": "rules", "lead_qualification": "hot", "booking_status": "booked",
            "call_outcome_category": "booked", "sentiment_score": 0.25, "summary": "A visit was agreed.", "source_time": NOON, **about})

    def handled(self, call_id, stage, event_type, outcome="done", why=None, received_at=NOON, tenant=(), run=0, event_id=None, **about):
        event_id = event_id or uuid.uuid4()
        self.insert("ledger", **{
            "stage": stage, "event_id": event_id, "run": run, "day": received_at.date(), "event_type": event_type, "topic": "calls",
            "partition": 0, "offset": random.randrange(2**40), "subject": call_id, "correlation_id": call_id,
            "tenant": self.tenant if tenant == () else tenant, "outcome": outcome, "why": why, "attempts": 1, "received_at": received_at,
            "started_at": received_at + timedelta(milliseconds=3), "worked_us": 1500,
            "committed_at": received_at + timedelta(milliseconds=9), **about})
        return event_id


@pytest.fixture(scope="module")
def ingest(schema_ready, tmp_path_factory):
    daemon = Daemon("ingest", schema_ready, tmp_path_factory.mktemp("api"), CALLRAIL_SIGNING_KEY=SIGNING_KEY).ready()
    yield daemon
    assert daemon.stop() == 0, daemon.log()[-3000:]


@pytest.fixture
def company(database, ingest, schema_ready):
    return Company(database, ingest.url, environment=schema_ready)


@pytest.fixture
def other(database, ingest):
    return Company(database, ingest.url)
