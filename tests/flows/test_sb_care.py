"""sb export and sb erase: what is kept of a person comes out whole, goes away, and does not come back by itself."""

import base64
import hashlib
import hmac
import json
import os
import pty
import re
import subprocess
import uuid

import pytest
import requests
from daemons import BUILD, Daemon
from environment import wait_until
from psycopg.types.json import Jsonb

SB = BUILD / "bin" / "sb"
FINE, FAILED, WRONG = 0, 1, 2
KEY = "shared key"


def what_she_says(call):
    """Her name, her words and where she lives: hers alone, so that they can be looked for."""
    return f"Ana of {call}", f"the boiler of {call} leaks", f"12 Elm Street near {call}"


class Person:
    """A caller with a call behind her, and all that the stages wrote of it."""

    def __init__(self, call, phone, contact, lead):
        self.call, self.phone, self.contact, self.lead = call, phone, contact, lead
        self.name, self.words, self.street = what_she_says(call)

    def traces(self):
        """What must not be found anywhere afterwards."""
        return [self.phone[1:], self.contact, self.name, self.words, self.street, f"https://recordings/{self.call}"]


def some_number():
    return "+1202" + str(2_000_000 + uuid.uuid4().int % 7_999_999)


def webhook(ingest, call, phone, tracking, hook="call.completed", **facts):
    body = json.dumps({"call_id": call, "caller_number": phone, "tracking_number": tracking, "customer_name": what_she_says(call)[0], **facts}).encode()
    signature = base64.b64encode(hmac.new(KEY.encode(), body, hashlib.sha1).digest()).decode()
    answer = requests.post(f"{ingest.url}/api/v1/callrail/{hook}", data=body, timeout=30,
                           headers={"Content-Type": "application/json", "Signature": signature})
    assert answer.status_code == 200
    return answer.json()["id"]


def everything(database):
    """All rows of all tables, as text, by table."""
    tables = [row[0] for row in database.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition")]
    return {table: "\n".join(row[0] for row in database.execute(f'SELECT t::text FROM "{table}" t')) for table in tables}


def found(database, person):
    """(table, trace) wherever something of hers stands; the instances tell only what is handled now."""
    return [(table, trace) for table, content in everything(database).items() if table != "instances"
            for trace in person.traces() if trace in content]


@pytest.fixture(scope="module")
def ingest(schema_ready, tmp_path_factory):
    daemon = Daemon("ingest", schema_ready, tmp_path_factory.mktemp("ingest"), CALLRAIL_SIGNING_KEY=KEY,
                    PUBLIC_URL="https://hooks.example.test").ready()
    yield daemon
    assert daemon.stop() == 0


@pytest.fixture
def company(database):
    name, number = "care-" + uuid.uuid4().hex[:8], some_number()
    database.execute("INSERT INTO companies (tenant, name) VALUES (%s, %s)", (name, name))
    database.execute("INSERT INTO tracking_numbers (number, tenant) VALUES (%s, %s)", (number, name))
    database.execute("INSERT INTO users (tenant, email, user_id, name, phone, role) VALUES (%s, %s, %s, 'Rep Resentful', %s, 'rep')",
                     (name, f"rep@{name}.test", f"rep-{name}", some_number()))
    return name, number


@pytest.fixture
def recordings(tmp_path):
    folder = tmp_path / "recordings"
    folder.mkdir()
    return folder


@pytest.fixture
def sb(schema_ready, recordings, tmp_path):
    def run(*arguments, stdin=subprocess.DEVNULL):
        env = {"PATH": "/usr/bin", "DATABASE_URL": schema_ready.database_url, "KAFKA_BROKERS": schema_ready.brokers,
               "RECORDINGS_DIR": str(recordings), "ASAN_OPTIONS": "detect_leaks=0"}
        return subprocess.run([SB, *arguments], cwd=tmp_path, env=env, stdin=stdin, capture_output=True, text=True, timeout=120)
    return run


@pytest.fixture
def ana(ingest, database, company, recordings, key):
    """The call's rows are the recorder's own; what the other stages write is put in beside them."""
    tenant, tracking = company
    phone = some_number()
    name, words, street = what_she_says(key)
    event_id = webhook(ingest, key, phone, tracking, recording_url=f"https://recordings/{key}", answered=True, duration=60)
    find = "SELECT contact_id::text, lead_id::text FROM calls WHERE call_id = %s AND contact_id IS NOT NULL"
    contact, lead = wait_until(lambda: database.execute(find, (key,)).fetchone(), "the call's row")
    rep = database.execute("SELECT phone FROM users WHERE tenant = %s", (tenant,)).fetchone()[0]
    copy = f"{tenant}/{hashlib.sha256(key.encode()).hexdigest()}.wav"
    (recordings / tenant).mkdir()
    (recordings / copy).write_bytes(b"RIFF her voice")
    (recordings / copy.replace(".wav", ".mp3")).write_bytes(b"a copy whose event was never finished")
    appointment, session = str(uuid.uuid4()), str(uuid.uuid4())
    visit_copy = f"{tenant}/{hashlib.sha256(session.encode()).hexdigest()}.wav"
    (recordings / visit_copy).write_bytes(b"RIFF her voice at home")
    (recordings / tenant / "another.wav").write_bytes(b"RIFF somebody else")
    common = (tenant, key)
    database.execute("INSERT INTO recordings (tenant, call_id, path, bytes, sha256, format, channels, sample_rate_hz, duration_s)"
                     " VALUES (%s, %s, %s, 14, %s, 'wav', 2, 8000, 60)", (*common, copy, "0" * 64))
    database.execute("INSERT INTO call_transcripts (tenant, call_id, provider, text, segments, speakers, words, source_time)"
                     " VALUES (%s, %s, 'local', %s, %s, 2, 5, now())", (*common, f"customer: {words}", Jsonb([{"text": words}])))
    database.execute("INSERT INTO call_analyses (tenant, call_id, provider, lead_qualification, booking_status, call_outcome_category,"
                     " sentiment_score, summary, objections, evidence, source_time) VALUES (%s, %s, 'rules', 'hot', 'booked', 'booked', 0.5, %s, %s, %s, now())",
                     (*common, f"{name} says {words}", Jsonb([{"category": "price", "quote": words}]), Jsonb([{"field": "x", "quote": words}])))
    database.execute("UPDATE call_analyses SET corrections = %s WHERE tenant = %s AND call_id = %s",
                     (Jsonb({"summary": {"value": words, "was": words}, "sentiment_score": {"value": 0.5, "was": 1}}), *common))
    database.execute("INSERT INTO api_operations (tenant, operation_id, token_id, operation, subject, fingerprint, status, body, requested_at)"
                     " VALUES (%s, %s, %s, 'createAppointment', %s, %s, 201, %s, now())",
                     (tenant, str(uuid.uuid4()), str(uuid.uuid4()), lead, "0" * 64, json.dumps({"data": {"location": street, "contact": {"phone": phone}}})))
    database.execute("INSERT INTO appointments (tenant, appointment_id, call_id, lead_id, location, service_type, quote, source_time)"
                     " VALUES (%s, %s, %s, %s, %s, 'boiler', %s, now())", (tenant, appointment, key, lead, street, words))
    database.execute("INSERT INTO recording_sessions (tenant, session_id, appointment_id, status, audio_url, started_at, stopped_at)"
                     " VALUES (%s, %s, %s, 'completed', %s, now(), now())", (tenant, session, appointment, f"https://recordings/{key}"))
    database.execute("INSERT INTO session_recordings (tenant, session_id, path, bytes, sha256, format, channels, sample_rate_hz, duration_s)"
                     " VALUES (%s, %s, %s, 14, %s, 'wav', 2, 8000, 60)", (tenant, session, visit_copy, "0" * 64))
    database.execute("INSERT INTO recording_transcripts (tenant, session_id, provider, text, segments, speakers, words, source_time)"
                     " VALUES (%s, %s, 'local', %s, %s, 2, 5, now())", (tenant, session, f"customer: {words}", Jsonb([{"text": words}])))
    database.execute("INSERT INTO recording_analyses (tenant, session_id, provider, outcome, sentiment_score, summary, objections, evidence, source_time)"
                     " VALUES (%s, %s, 'rules', 'won', 0.5, %s, %s, %s, now())",
                     (tenant, session, f"{name} says {words}", Jsonb([{"category": "price", "quote": words}]), Jsonb([{"field": "x", "quote": words}])))
    ask = ("INSERT INTO asks (ask_id, stage, event_id, name, kind, provider, tenant, correlation_id, recipient, purpose, subject, version,"
           " content, state, answer, error) VALUES (%s, 'notifier', %s, %s, 'once', 'twilio', %s, %s, %s, %s, %s, '1', %s, 'answered', 'queued', %s)")
    database.execute(ask, (str(uuid.uuid4()), event_id, "lead_alert", tenant, key, rep, "lead_alert", key, f"{name} {phone}: {words}", None))
    database.execute(ask, (str(uuid.uuid4()), event_id, "thanks", tenant, key, phone, "thanks", key, f"Thank you {name}", f"{phone} is no number"))
    database.execute("INSERT INTO asks (ask_id, stage, event_id, name, kind, provider, tenant, correlation_id, state, answer, tokens_in)"
                     " VALUES (%s, 'analyze', %s, 'llm', 'again', 'gemini', %s, %s, 'answered', %s, 100)", (str(uuid.uuid4()), event_id, tenant, key, words))
    database.execute("INSERT INTO parked (stage, subject, event_id, run, topic, day, message, tenant, why, attempts, first_at, resume_at)"
                     " VALUES ('vision', %s, %s, 0, 'calls', current_date, %s, %s, 'later', 1, now(), 'infinity')", (key, event_id, f"{name} {phone}", tenant))
    database.execute("INSERT INTO ledger (stage, event_id, day, event_type, topic, partition, \"offset\", subject, correlation_id, outcome, why, attempts,"
                     " received_at, started_at, worked_us) VALUES ('notifier', %s, current_date, 'message.reported', 'messages', 0, 0, %s, %s, 'rejected', %s, 1,"
                     " now(), now(), 1)", (str(uuid.uuid4()), f"whatsapp:{phone}", f"whatsapp:{phone}", f"{phone} is odd"))
    return Person(key, phone, contact, lead)


# --- export


@pytest.mark.parametrize("by", ["phone", "contact", "lead", "call"])
def test_all_of_a_person_comes_out(sb, ana, database, by):
    done = sb("export", getattr(ana, by))
    assert done.returncode == FINE, done.stderr
    told = json.loads(done.stdout)
    counts = {table: len(rows) for table, rows in told["tables"].items() if rows}
    assert counts.pop("ledger") >= 2 and counts.pop("emitted") >= 2
    assert counts == {"parked": 1, "api_operations": 1, "asks": 3, "recordings": 1, "call_transcripts": 1, "call_reports": 1, "call_analyses": 1,
                      "appointments": 1, "recording_sessions": 1, "session_recordings": 1, "recording_transcripts": 1, "recording_analyses": 1,
                      "calls": 1, "leads": 1, "contact_cards": 1}
    assert told["tables"]["contact_cards"][0]["phone"] == ana.phone and ana.words in told["tables"]["call_transcripts"][0]["text"]
    assert len(told["recordings"]) == 3, "also a copy whose row was never written"
    topics = {topic["topic"]: topic["until"] for topic in told["topics"]}
    assert {"inbound.callrail", "messages", "dead.notifier", "deliveries"} <= set(topics)
    kept = database.execute("SELECT received_at + interval '14 days' FROM ledger WHERE topic = 'inbound.callrail' AND subject = %s", (ana.call,)).fetchone()[0]
    assert topics["inbound.callrail"][:16] == kept.strftime("%Y-%m-%dT%H:%M")


def test_a_number_may_be_written_as_people_do(sb, ana):
    area, exchange, line = ana.phone[2:5], ana.phone[5:8], ana.phone[8:]
    done = sb("export", f"({area}) {exchange}-{line}")
    assert done.returncode == FINE and json.loads(done.stdout)["person"] == {"kind": "phone", "value": ana.phone}


def test_recordings_are_copied(sb, ana, tmp_path):
    assert sb("export", ana.phone, "--recordings", "copies").returncode == FINE
    copies = sorted((tmp_path / "copies").iterdir())
    assert sorted(copy.suffix for copy in copies) == [".mp3", ".wav", ".wav"]
    assert {copy.read_bytes() for copy in copies} >= {b"RIFF her voice", b"RIFF her voice at home"}
    again = sb("export", ana.phone, "--recordings", "copies")
    assert again.returncode == FAILED and "File exists" in again.stderr, "nothing is written over"


# --- erase


def test_a_dry_run_tells_and_changes_nothing(sb, ana, database, recordings):
    before = everything(database)
    done = sb("erase", ana.phone, "--dry-run", "--json")
    assert done.returncode == FINE, done.stderr
    told = json.loads(done.stdout)
    assert told["dry_run"] and told["recordings"] == 3
    assert told["tables"]["calls"] == {"found": 1, "changed": 0, "fate": "blanked", "why": told["tables"]["calls"]["why"]}
    after = everything(database)
    assert {table for table in after if after[table] != before[table]} <= {"instances"} and len(list(recordings.rglob("*.*"))) == 4


def test_a_person_at_a_terminal_is_asked_first(sb, ana, database):
    def answer(typed, *arguments):
        ours, its = pty.openpty()
        os.write(ours, typed.encode() + b"\n")
        try:
            return sb("erase", ana.phone, *arguments, stdin=its)
        finally:
            os.close(ours)
            os.close(its)

    refused = answer("n")
    assert refused.returncode == FAILED and "nothing was done" in refused.stderr and found(database, ana)
    assert re.search(rf"^erase \{ana.phone} for good: \d\d+ rows, 3 recordings\? \[y/N\]", refused.stderr, re.M)
    assert answer("", "--dry-run").returncode == FINE and found(database, ana)
    assert answer("y").returncode == FINE and found(database, ana) == []


def test_nothing_of_an_erased_person_is_left(sb, ana, database, recordings, company):
    assert found(database, ana), "what is looked for is there before"
    assert found(database, ana) and {"ledger", "emitted", "parked", "asks", "calls", "contact_cards"} <= {table for table, _ in found(database, ana)}
    done = sb("erase", ana.phone, "--json")
    assert done.returncode == FINE, done.stderr
    told = json.loads(done.stdout)
    assert found(database, ana) == []
    assert [path.name for path in recordings.rglob("*.*")] == ["another.wav"] and told["recordings"] == 3
    fates = {table: (line["changed"], line["fate"]) for table, line in told["tables"].items() if line["found"]}
    assert fates["call_transcripts"] == (1, "deleted") and fates["calls"] == (1, "blanked") and fates["leads"] == (0, "kept")
    assert {topic["topic"] for topic in told["topics"]} >= {"inbound.callrail", "messages"}


def test_who_erased_somebody_is_noted_and_not_whom(sb, ana, database):
    assert sb("erase", ana.phone, "--as", "grace").returncode == FINE
    who, what, detail = database.execute("SELECT who, what, detail FROM operator_actions WHERE command = 'erase' ORDER BY action_id DESC LIMIT 1").fetchone()
    assert (who, what, detail["recordings"]) == ("grace", "a person by phone", 3) and detail["rows"] > 0
    assert detail["sha256"] == hashlib.sha256(ana.phone.encode()).hexdigest(), "who asks whether it was done can be told"


def test_what_the_figures_count_stays(sb, ana, database, company):
    rep = database.execute("SELECT phone FROM users WHERE tenant = %s", (company[0],)).fetchone()[0]
    assert sb("erase", ana.lead).returncode == FINE
    call = database.execute("SELECT status, answered, duration_s, tracking_number, customer_number, customer_name, recording_url, contact_id::text, lead_id::text"
                            " FROM calls WHERE call_id = %s", (ana.call,)).fetchone()
    assert call[:4] == ("completed", True, 60, company[1]) and call[4:7] == (None, None, None)
    assert call[8] == ana.lead and call[7] not in (None, ana.contact), "the contact's id was made of the number"
    assert database.execute("SELECT contact_id::text, status FROM leads WHERE lead_id = %s", (ana.lead,)).fetchone() == (call[7], "new")
    analysis = database.execute("SELECT lead_qualification, booking_status, sentiment_score, objections, summary FROM call_analyses WHERE call_id = %s", (ana.call,))
    assert analysis.fetchone() == ("hot", "booked", 0.5, [{"category": "price", "quote": ""}], "")
    asks = database.execute("SELECT recipient, purpose, state, content, tokens_in FROM asks WHERE correlation_id = %s ORDER BY name", (ana.call,)).fetchall()
    assert asks[0] == (rep, "lead_alert", "answered", None, 0), "the rep got a message: that stays"
    assert asks[1] == (None, None, "answered", None, 100), "what a model cost stays"
    assert asks[2][0].startswith("erased ") and asks[2][1:4] == ("thanks", "answered", None)
    assert database.execute("SELECT count(*) FROM ledger WHERE correlation_id = %s AND outcome = 'done'", (ana.call,)).fetchone()[0] >= 1


def test_the_api_shows_the_call_as_nobodys(sb, ana, ingest, database, company):
    assert sb("erase", ana.phone).returncode == FINE
    token = sb("token", "create", "--tenant", company[0], "--role", "admin").stdout.strip()
    answer = requests.get(f"{ingest.url}/api/v1/calls/{ana.call}", headers={"Authorization": f"Bearer {token}"}, timeout=30)
    assert answer.status_code == 200
    call = answer.json().get("data", answer.json())
    assert call["contact"]["phone"] is None and call["customer_number"] is None and call["analysis"]["objections"] == [{"category": "price", "quote": ""}]
    assert not [trace for trace in ana.traces() if trace in answer.text]


def test_a_replay_does_not_bring_her_back(sb, ana, ingest, database, topics):
    inbound, = topics.wait("inbound.callrail", ana.call)
    assert sb("erase", ana.phone).returncode == FINE
    topics.send("replay.ingest", ana.call, {**inbound, "run": 1})
    row = wait_until(lambda: database.execute("SELECT outcome, why, subject, correlation_id FROM ledger WHERE event_id = %s AND run = 1", (inbound["id"],)).fetchone(),
                     "the replay being handled")
    assert row == ("skipped", "the person of this conversation was erased", "erased", "erased")
    assert found(database, ana) == []


def test_a_late_webhook_does_not_bring_her_back(sb, ana, ingest, database, company):
    assert sb("erase", ana.phone).returncode == FINE
    event_id = webhook(ingest, ana.call, ana.phone, company[1], duration=61)
    wait_until(lambda: database.execute("SELECT 1 FROM ledger WHERE event_id = %s AND outcome = 'skipped'", (event_id,)).fetchone(), "it being passed over")
    assert found(database, ana) == []


def test_a_new_call_is_a_new_matter(sb, ana, ingest, database, company):
    assert sb("erase", ana.phone).returncode == FINE
    webhook(ingest, ana.call + "-new", ana.phone, company[1])
    row = wait_until(lambda: database.execute("SELECT contact_id, lead_id FROM calls WHERE call_id = %s AND customer_number = %s",
                                              (ana.call + "-new", ana.phone)).fetchone(), "the new call")
    assert str(row[1]) != ana.lead
    again = json.loads(sb("export", ana.phone).stdout)
    assert [call["call_id"] for call in again["tables"]["calls"]] == [ana.call + "-new"]


def test_an_address_is_passed_over_for_what_is_older(sb, ana, ingest, database, topics):
    """A delivery report from before, replayed; and one that comes tomorrow."""
    assert sb("erase", ana.phone).returncode == FINE
    old, new = str(uuid.uuid4()), str(uuid.uuid4())
    body = f"MessageSid=SM1&MessageStatus=delivered&To=whatsapp%3A%2B{ana.phone[1:]}"
    for event_id, time in ((old, "2026-01-01T00:00:00Z"), (new, "2099-01-01T00:00:00Z")):
        topics.send("inbound.twilio", f"whatsapp:{ana.phone}", {
            "specversion": "1.0", "id": event_id, "source": "/test", "type": "twilio.status.received", "subject": f"whatsapp:{ana.phone}", "time": time,
            "datacontenttype": "application/json", "dataschema": "/schemas/events/twilio.status.received.json", "correlationid": f"whatsapp:{ana.phone}",
            "run": 0, "data": {"url": "https://hooks.example.test/twilio-status", "received_at": time, "content_type": "application/x-www-form-urlencoded",
                               "signature": "", "encoding": "text", "body": body}})
    outcome = "SELECT outcome FROM ledger WHERE event_id = %s"
    wait_until(lambda: database.execute(outcome, (new,)).fetchone(), "both being handled")
    assert database.execute(outcome, (old,)).fetchone() == ("skipped",) and database.execute(outcome, (new,)).fetchone() == ("done",)


def test_a_colleague_is_erased_and_the_calls_stay_with_one_unknown(sb, database, company):
    tenant, _ = company
    email, user_id = f"rep@{tenant}.test", f"rep-{tenant}"
    database.execute("INSERT INTO api_tokens (token_hash, token_id, tenant, email, role, label) VALUES (sha256(%s), %s, %s, %s, 'rep', 'her phone')",
                     (tenant.encode(), str(uuid.uuid4()), tenant, email))
    phone = database.execute("SELECT phone FROM users WHERE user_id = %s", (user_id,)).fetchone()[0]
    done = sb("erase", email.upper(), "--json")
    assert done.returncode == FINE, done.stderr
    assert database.execute("SELECT name, phone, answers, role FROM users WHERE user_id = %s", (user_id,)).fetchone() == ("erased", None, None, "rep")
    content = everything(database)
    assert not [table for table in content if email in content[table] or phone[1:] in content[table]]
    assert database.execute("SELECT count(*) FROM api_tokens WHERE tenant = %s", (tenant,)).fetchone() == (0,)


def test_recordings_that_cannot_be_reached_stop_it_before_anything_is_changed(sb, ana, database, recordings):
    recordings.rename(recordings.with_name("elsewhere"))
    done = sb("erase", ana.phone)
    assert done.returncode == FAILED and "RECORDINGS_DIR" in done.stderr
    assert database.execute("SELECT customer_number FROM calls WHERE call_id = %s", (ana.call,)).fetchone() == (ana.phone,)


def test_a_path_in_the_table_leads_nowhere_else(sb, ana, database, tmp_path):
    victim = tmp_path / "victim.wav"
    victim.write_text("not a recording")
    database.execute("UPDATE recordings SET path = '../victim.wav' WHERE call_id = %s", (ana.call,))
    assert sb("erase", ana.phone).returncode == FINE and victim.exists()


@pytest.mark.parametrize("command", ["export", "erase"])
def test_nobody_and_nonsense(sb, command):
    done = sb(command, "+12025550000")
    assert done.returncode == FAILED and "nobody is known here by the phone" in done.stderr
    assert sb(command).returncode == sb(command, "a", "b").returncode == sb(command, "--nonsense", "x").returncode == WRONG
    assert sb(command, "").returncode == WRONG
    help_text = sb(command, "--help").stdout
    assert "Examples" in help_text and "Exit codes" in help_text


def test_it_can_be_read_by_a_person(sb, ana):
    said = sb("erase", ana.phone, "--dry-run").stdout
    assert "call_transcripts" in said and "recordings: 3 files would be removed" in said and "topic inbound.callrail" in said
    assert said.rstrip().endswith("nothing was changed")


