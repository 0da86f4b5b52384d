"""sb's looking commands on the test stage: what an operator sees of a stage, a conversation, a log, a bad hour."""

import json
import os
import pty
import re
import signal
import subprocess
import uuid

import pytest
from daemons import BUILD, Daemon, event
from environment import wait_until
from provider_stub import ProviderStub
from test_stage import tell

SB = BUILD / "tests" / "sb"
FINE, FAILED, WRONG = 0, 1, 2


@pytest.fixture(scope="module")
def sb(schema_ready, tmp_path_factory):
    """Runs sb away from any checkout, so that the environment alone says what is in use."""
    folder = tmp_path_factory.mktemp("sb")

    def run(*arguments, code=FINE, **settings):
        result = subprocess.run([SB, *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=120,
                                stdin=subprocess.DEVNULL, env=environment_of(schema_ready, **settings))
        assert code in (None, result.returncode), (arguments, result.returncode, result.stdout, result.stderr)
        return result
    return run


def environment_of(schema_ready, **settings):
    return {"PATH": os.environ["PATH"], "DATABASE_URL": schema_ready.database_url, "KAFKA_BROKERS": schema_ready.brokers,
            "ASAN_OPTIONS": "detect_leaks=0", "TZ": "UTC", **settings}


@pytest.fixture
def provider():
    stub = ProviderStub()
    yield stub
    stub.close()


@pytest.fixture(scope="module")
def echo(schema_ready, tmp_path_factory):
    echo = Daemon("echo", schema_ready, tmp_path_factory.mktemp("echo"), instance="echo-watch").ready()
    yield echo
    assert echo.stop() == 0, echo.log()[-3000:]


# --- status ------------------------------------------------------------------------------------------------------------------


def status_of(sb, stage="echo"):
    """The stage's line, and what of it is stuck.  The daemons' own lines do not matter here: the product's do not run."""
    status = json.loads(sb("status", "--json", code=None).stdout)
    return (next(line for line in status["stages"] if line["name"] == stage),
            [stuck for stuck in status["stuck"] if stuck["stage"] == stage])


def test_status_tells_what_each_stage_is_at(sb, echo, topics, key):
    tell(topics, key, n=1, retries=1, retry_ms=30_000)
    tell(topics, key, n=2)

    def told():
        line, stuck = status_of(sb)
        of_key = [one for one in stuck if one["key"] == key]
        return line["retrying"] >= 1 and line["in_flight"] >= 2 and of_key and "more behind it" in of_key[0]["sentence"] and (line, of_key[0])
    line, stuck = wait_until(told, "the event that waits, and the one behind it")
    assert line["instances"] >= 1 and line["behind"] >= 2 and line["oldest"]
    assert re.match(r"echo.asked waits after attempt 1 for the next one in \d+ s \([\d:]+\), and is given up after .*: told to; 1 more behind it",
                    stuck["sentence"])
    assert stuck["about"]["due_at"] and stuck["about"]["attempt"] == 1
    seen = sb("status", code=None).stdout
    assert re.search(rf"^echo +[1-9]\d* +[1-9]\d* +\d+ \w+ +[1-9]\d* +[1-9]\d* ", seen, re.M), seen
    assert re.search(rf"^  echo: {key}: echo.asked waits after attempt 1", seen, re.M), seen


def test_status_counts_the_dead_letters_that_nobody_has_dealt_with(sb, echo, topics, key):
    dead_before = status_of(sb)[0]["dead"]
    tell(topics, key, n=1, reject="it is no good")
    topics.wait("dead.echo", key)
    assert status_of(sb)[0]["dead"] == dead_before + 1
    sb("dlq", "drop", "echo", "--key", key, "--why", "a test")
    assert status_of(sb)[0]["dead"] == dead_before


def test_status_tells_of_a_stage_that_nobody_runs(sb, echo, schema_ready, topics, key):
    """Its instance was killed: what waits is counted with its age, and the one last seen is named."""
    wait_until(lambda: status_of(sb)[0]["instances"] >= 1, "the instance being seen")
    echo.kill()
    try:
        tell(topics, key)

        def told():
            stuck = [one for one in status_of(sb)[1] if one["what"] == "lag"]
            return stuck and stuck[0]
        stuck = wait_until(told, "the stage being told of", pause_s=1)
        assert re.match(r"\d+ events wait, the oldest for \d+ \w+: no instance is live; the last one seen is echo-watch on .*, process \d+, "
                        r"\d+ s ago", stuck["sentence"]), stuck
        assert status_of(sb)[0]["instances"] == 0 and sb("status", code=FAILED)
    finally:
        echo.start().ready()
    topics.wait("echo.out", key)


def test_status_tells_of_an_open_circuit_once_and_not_of_each_who_waits(sb, echo, topics, provider, key):
    provider.behave = lambda *_: (503, {}, "down")
    for other in range(20):
        tell(topics, f"{key}-{other}", n=1, ask=provider.url + "/down", flush=False)
    topics.producer.flush()

    def told():
        line, stuck = status_of(sb)
        circuits = [one for one in stuck if one["what"] == "circuit"]
        return line["circuits"] == "stub" and circuits and circuits[0]["about"]["waiting"] > 0 and (circuits[0], stuck)
    circuit, stuck = wait_until(told, "the circuit being told of")
    assert re.match(r"stub has failed for everyone for \d+ \w+; \d+ wait for it, the next try is (in \d+ s \(.*\)|at once|under way): .*503",
                    circuit["sentence"])
    assert not [one for one in stuck if one["what"] == "work" and one["about"]["provider"] == "stub"]
    assert re.search(r"^echo .* stub$", sb("status", code=FAILED).stdout, re.M)
    provider.behave = lambda *_: (200, {}, "up")
    for other in range(20):
        topics.wait("echo.out", f"{key}-{other}")
    wait_until(lambda: status_of(sb)[0]["circuits"] is None, "the circuit being closed")


# --- jobs of providers


def job(database, key, **columns):
    row = {"job_id": str(uuid.uuid4()), "stage": "echo", "tenant": "acme", "job_type": "transcription", "provider": "shunya",
           "provider_job_id": "job-" + uuid.uuid4().hex[:8], "subject": key, "kind": "call", "status": "running", "source_time": "now",
           "submitted_at": "now", "next_check_at": "now", **columns}
    database.execute(f"INSERT INTO jobs ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})", list(row.values()))
    return row["provider_job_id"]


def minutes(database, number):
    return database.execute("SELECT now() + %s * interval '1 minute'", (number,)).fetchone()[0]


@pytest.fixture
def jobs(database, key):
    yield lambda **columns: job(database, key, **columns)
    database.execute("DELETE FROM jobs WHERE subject = %s", (key,))


def told_jobs(sb, key):
    return [one for one in status_of(sb)[1] if one["what"] == "job" and one["key"] == key]


def test_a_job_that_is_overdue_is_stuck_and_one_that_goes_on_is_not(sb, database, jobs, key):
    overdue = jobs(status="overdue", attempts=4, submitted_at=minutes(database, -50), next_check_at=minutes(database, 6))
    jobs(submitted_at=minutes(database, -10), next_check_at=minutes(database, 1))
    told, = told_jobs(sb, key)
    assert re.match(rf"shunya has had the transcription of this call for 50 min \(job {overdue}\): it is overdue; asked 3 times, and again in "
                    r"\d+ \w+ \(.*\): does its webhook reach the door\?$", told["sentence"]), told
    assert (told["about"]["provider_job_id"], told["about"]["overdue"], told["about"]["unasked"]) == (overdue, True, False)
    assert re.search(rf"^  echo: {key}: shunya has had the transcription", sb("status", code=None).stdout, re.M)


def test_a_job_that_nobody_asks_for_is_stuck_before_it_is_overdue(sb, database, jobs, key):
    jobs(submitted_at=minutes(database, -8), next_check_at=minutes(database, -7))
    told, = told_jobs(sb, key)
    assert told["sentence"].endswith(", and should have been asked for it 7 min ago: is an instance live?"), told


def test_why_tells_of_a_job_that_is_waited_for(sb, echo, topics, database, jobs, key):
    """What the stage had to do it has done, and yet the conversation does not go on."""
    tell(topics, key, n=1)
    topics.wait("echo.out", key)
    assert stands(sb, key)[0][0] == "done"
    mine = jobs(submitted_at=minutes(database, -3), next_check_at=minutes(database, 1))
    (state, sentence), = stands(sb, key)
    assert state == "job"
    assert re.match(rf"shunya has had the transcription of this call for \d+ \w+ \(job {mine}\); if its webhook does not come, it is asked in ",
                    sentence)
    database.execute("UPDATE jobs SET status = 'completed', finished_at = now(), finished_by = 'webhook', next_check_at = NULL WHERE subject = %s", (key,))
    assert stands(sb, key)[0][0] == "done"


def test_status_without_its_parts_says_what_it_cannot_know(sb):
    seen = sb("status", code=FAILED, DATABASE_URL="postgresql://127.0.0.1:1/x", KAFKA_BROKERS="127.0.0.1:1").stdout
    assert re.search(r"^echo +- +- +- +- +- +- +- +- +-$", seen, re.M), seen
    assert "kafka: could not ask Kafka" in seen and "postgres: " in seen and "nothing is stuck" not in seen


# --- a conversation whose past is known ---------------------------------------------------------------------------------------


BEGAN = "2026-11-20 10:00:00+00"


class Call:
    """Rows as the stages would have written them, at known times (seconds from BEGAN); of today, since what is over is deleted."""

    def __init__(self, database, tenant):
        self.database, self.tenant = database, tenant
        self.id = "CAL" + uuid.uuid4().hex
        self.phone = "+1202555" + str(uuid.uuid4().int)[:4]
        self.sid = "SM" + uuid.uuid4().hex

    def handled(self, stage, type, came, ended, worked, outcome="done", why=None, attempts=1, emits=(), run=0, event_id=None, subject=None):
        event_id = event_id or str(uuid.uuid4())
        self.database.execute(
            "INSERT INTO ledger (stage, event_id, run, day, event_type, topic, partition, \"offset\", subject, tenant, correlation_id, outcome,"
            " why, attempts, received_at, started_at, worked_us, committed_at, emitted)"
            " VALUES (%s, %s, %s, current_date, %s, 'calls', 0, 0, %s, %s, %s, %s, %s, %s, %s::timestamptz + %s * interval '1 s',"
            " %s::timestamptz + %s * interval '1 s', %s, %s::timestamptz + %s * interval '1 s', %s)",
            (stage, event_id, run, type, subject or self.id, self.tenant, self.id, outcome, why, attempts, BEGAN, came, BEGAN, came,
             int(worked * 1e6), BEGAN, ended, len(emits)))
        for number, emitted in enumerate(emits):
            self.database.execute("INSERT INTO emitted (stage, cause_id, run, day, number, tenant, topic, key, payload)"
                                  " VALUES (%s, %s, %s, current_date, %s, %s, 'calls', %s, %s)",
                                  (stage, event_id, run, number, self.tenant, self.id,
                                   json.dumps({"id": str(uuid.uuid4()), "type": emitted})))
        return event_id

    def asked(self, event_id, stage, provider, name, at, took, **columns):
        columns = {"ask_id": str(uuid.uuid4()), "event_id": event_id, "stage": stage, "provider": provider, "name": name, "kind": "again",
                   "state": "answered", "tenant": self.tenant, "correlation_id": self.id, "took_us": int(took * 1e6), **columns}
        names = ", ".join(columns)
        self.database.execute(f"INSERT INTO asks ({names}, created_at, updated_at) VALUES ({', '.join(['%s'] * len(columns))},"
                              f" %s::timestamptz + %s * interval '1 s', %s::timestamptz + %s * interval '1 s')",
                              (*columns.values(), BEGAN, at, BEGAN, at))
        return columns["ask_id"]

    def known(self):
        self.database.execute("INSERT INTO companies (tenant, name) VALUES (%s, %s) ON CONFLICT DO NOTHING", (self.tenant, self.tenant))
        self.database.execute("INSERT INTO calls (tenant, call_id, source, status, customer_number, started_at)"
                              " VALUES (%s, %s, 'callrail', 'completed', %s, %s)", (self.tenant, self.id, self.phone, BEGAN))
        self.recorded = self.handled("ingest", "callrail.call.received", 0, 0.1, 0.05, emits=("call.progressed", "call.recorded"))
        self.handled("transcribe", "call.recorded", 0.1, 20.1, 4, attempts=3, emits=("call.transcribed",))
        self.analyzed = self.handled("analyze", "call.transcribed", 20.2, 25.2, 4.9, emits=("call.analyzed",))
        self.asked(self.analyzed, "analyze", "gemini", "llm", 25.2, 4.5, model="gemini-pro", tokens_in=1200, tokens_out=300, cost_micros=2100)
        told = self.handled("notifier", "call.analyzed", 25.2, 25.8, 0.5, emits=("delivery.changed",))
        self.ask_id = self.asked(told, "notifier", "twilio", "rep", 25.3, 0.4, kind="once", recipient=self.phone, purpose="rep_alert",
                                 subject=self.id, version="1", provider_id=self.sid, provider_status="delivered")
        # the next day
        self.handled("ingest", "callrail.call.received", 90_000, 90_000.1, 0.05, outcome="skipped", why="older than what is known")
        return self


@pytest.fixture(scope="module")
def call(database):
    return Call(database, "watch-" + uuid.uuid4().hex[:8]).known()


def test_trace_shows_a_conversation_from_webhook_to_message(sb, call):
    seen = sb("trace", call.id).stdout
    lines = seen.splitlines()
    assert lines[0] == f"{call.id} of {call.tenant} (found as: call or other key)"
    assert re.search(r"^10:00:00\.000  ingest +callrail\.call\.received .*█ +50 ms +50 ms  → call\.progressed, call\.recorded$", seen, re.M), seen
    assert re.search(r"^10:00:00\.100  transcribe +call\.recorded +─+█+ +16\.0 s +4\.0 s  3 attempts, → call\.transcribed$", seen, re.M), seen
    assert re.search(r"^10:00:20\.700 +gemini llm +█+ +4\.5 s  answered, gemini-pro, 1200 \+ 300 tokens, \$0\.0021$", seen, re.M), seen
    assert re.search(r"^10:00:25\.300 +twilio rep_alert +█ +400 ms  answered, delivered$", seen, re.M), seen
    assert re.search(r"^… nothing for 24 h\n11:00:00\.000  ingest .* skipped: older than what is known$", seen, re.M), seen
    assert lines[-1].startswith("5 events in 25 h: waited ") and "2 requests, 4.9 s at providers, 1500 tokens, $0.0021" in lines[-1]


def bar_of(line):
    """Where a line's bar begins and ends, and where its work begins."""
    marks = [at for at, mark in enumerate(line) if mark in "─█"]
    return marks[0], marks[-1], line.index("█")


def test_the_waterfall_is_a_picture_of_the_times(sb, call):
    lines = [line for line in sb("trace", call.id).stdout.splitlines() if "█" in line]
    bars = [bar_of(line) for line in lines]
    assert [begin for begin, _, _ in bars] == sorted(begin for begin, _, _ in bars), "in order, from left to right"
    assert len({line.index("█", end) + 1 for line, (_, end, _) in zip(lines, bars)} | {end for _, end, _ in bars}) > 1
    transcribe, analyze = bars[1], bars[2]
    assert transcribe[2] - transcribe[0] > 3 * (transcribe[1] - transcribe[2]), "16 s of waiting are about four times 4 s of work"
    assert analyze[0] >= transcribe[1], "who waits for another begins where that ends"
    assert bars[-1][1] - bars[-2][1] < 10, "a day in which nothing happened takes little room"


@pytest.mark.parametrize("by", ["event", "sid", "ask", "phone", "national"])
def test_whatever_is_in_hand_leads_to_the_conversation(sb, call, by):
    given = {"event": call.analyzed, "sid": call.sid, "ask": call.ask_id, "phone": call.phone,
             "national": f"({call.phone[2:5]}) {call.phone[5:8]}-{call.phone[8:]}"}[by]
    traces = json.loads(sb("trace", given, "--json").stdout)
    assert [trace["conversation"] for trace in traces] == [call.id]
    events, asks = traces[0]["events"], traces[0]["asks"]
    assert [event["stage"] for event in events] == ["ingest", "transcribe", "analyze", "notifier", "ingest"]
    assert [emitted["type"] for emitted in events[0]["emits"]] == ["call.progressed", "call.recorded"]
    assert [(ask["provider"], ask["cost_micros"]) for ask in asks] == [("gemini", 2100), ("twilio", 0)] and traces[0]["whole"]


def test_a_meeting_and_a_message_lead_to_their_salesperson(sb, database):
    """Meetings are of the conversation of their salesperson, what they write of that of their phone."""
    call = Call(database, "watch-" + uuid.uuid4().hex[:8])
    email, meeting, calendar, sid = f"{call.tenant}@a.example", str(uuid.uuid4()), f"AAMk{call.id}", "SM" + uuid.uuid4().hex
    database.execute("INSERT INTO companies (tenant, name) VALUES (%s, %s)", (call.tenant, call.tenant))
    client = database.execute("INSERT INTO clients (tenant, client_id, email) VALUES (%s, %s, %s) RETURNING client_id",
                              (call.tenant, str(uuid.uuid4()), f"{call.tenant}@b.example")).fetchone()[0]
    database.execute("INSERT INTO meetings (tenant, meeting_id, outlook_event_id, salesperson_email, client_id, title, start_time, end_time,"
                     " planned_at, source_time) VALUES (%s, %s, %s, %s, %s, 'Ovens', %s, %s, %s, %s)",
                     (call.tenant, meeting, calendar, email, client, BEGAN, BEGAN, BEGAN, BEGAN))
    database.execute("INSERT INTO messages (tenant, message_id, email, phone, direction, purpose, message, \"timestamp\")"
                     " VALUES (%s, %s, %s, %s, 'incoming', 'text', 'done', %s)", (call.tenant, sid, email, call.phone, BEGAN))
    for conversation in (email, f"whatsapp:{call.phone}"):
        call.id = conversation
        call.handled("ingest", "twilio.message.received", 0, 1, 0.1)
    for given, conversation in ((meeting, email), (calendar, email), (email, email), (sid, f"whatsapp:{call.phone}")):
        assert [trace["conversation"] for trace in json.loads(sb("trace", given, "--json").stdout)] == [conversation]
        assert json.loads(sb("why", given, "--json").stdout)[0]["conversation"] == conversation
    assert sb("trace", sid).stdout.splitlines()[-1].startswith("1 event in 1.0 s: waited 900 ms, worked 100 ms; 0 requests, ")


def test_a_phone_number_shows_its_newest_conversations_and_says_what_it_left_out(sb, database, call):
    tenant, phone = call.tenant, "+1202556" + str(uuid.uuid4().int)[:4]
    ids = [f"CAL{number:02}-{uuid.uuid4().hex[:8]}" for number in range(12)]
    for number, one in enumerate(ids):
        database.execute("INSERT INTO calls (tenant, call_id, source, status, customer_number, started_at) VALUES"
                         " (%s, %s, 'callrail', 'completed', %s, %s::timestamptz + %s * interval '1 hour')", (tenant, one, phone, BEGAN, number))
    found = json.loads(sb("trace", phone, "--json").stdout)
    assert [trace["conversation"] for trace in found] == ids[2:]
    assert "2 older conversations are left out" in sb("trace", phone).stdout
    assert "2 older conversations are left out" in sb("trace", phone, "--json").stderr, "never silently"


def test_of_a_long_conversation_the_last_events_are_shown(sb, database):
    call = Call(database, "watch-" + uuid.uuid4().hex[:8])
    with database.transaction():
        ids = [call.handled("ingest", "twilio.message.received", n, n + 1, 0.1) for n in range(1002)]
        old = call.asked(ids[0], "ingest", "callrail", "calls", 0.5, 0.1)
    told, = json.loads(sb("trace", call.id, "--json").stdout)
    assert [event["event_id"] for event in told["events"]] == ids[2:] and not told["whole"] and told["asks"][0]["ask_id"] == old
    seen = sb("trace", call.id).stdout
    assert seen.endswith("… 2 older events and 0 older requests are left out\n") and "callrail calls" not in seen
    assert seen.count("twilio.message.received") == 1000


def test_what_is_being_handled_is_in_the_trace_too(sb, echo, topics, key):
    tell(topics, key, n=1)
    topics.wait("echo.out", key)
    tell(topics, key, n=2, retries=1, retry_ms=20_000)
    seen = wait_until(lambda: "waits after attempt 1" in (seen := sb("trace", key).stdout) and seen, "the event that waits")
    assert re.search(r"^[\d:.]+  echo +echo\.asked .*→ echo\.answered\n(… nothing for .*\n)?"
                     r"[\d:.]+  echo +echo\.asked +─+ .*echo\.asked waits after attempt 1", seen, re.M), seen


def test_what_nobody_knows_is_told(sb):
    for command in ("trace", "why"):
        error = sb(command, "nobody-knows-this", code=FAILED).stderr
        assert error.startswith(f"sb {command}: nothing that was handled is known by \"nobody-knows-this\"")


def on_terminal(schema_ready, tmp_path, *arguments, columns=100, **settings):
    """What a person at a terminal of that width sees."""
    import fcntl
    import struct
    import termios
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen([SB, *arguments], cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE,
                               env=environment_of(schema_ready, **settings))
    os.close(theirs)
    seen = b""
    try:
        while chunk := os.read(ours, 65536):
            seen += chunk
    except OSError:
        pass                            # the other end was closed
    os.close(ours)
    assert process.wait(30) == FINE, process.stderr.read()
    return seen.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [80, 100, 160])
def test_a_trace_fits_the_terminal(schema_ready, tmp_path, call, columns):
    seen = on_terminal(schema_ready, tmp_path, "trace", call.id, columns=columns)
    assert "\x1b[32m" in seen
    plain = re.sub(r"\x1b\[\d*m", "", seen)
    bars = [line for line in plain.splitlines() if "█" in line]
    assert len(bars) == 7 and max(map(len, bars)) <= columns, plain
    assert "\x1b" not in on_terminal(schema_ready, tmp_path, "trace", call.id, columns=columns, NO_COLOR="1")


# --- why -----------------------------------------------------------------------------------------------------------------------


def told_of(sb, key, stage="echo", code=None):
    """(state, sentence) of a stage, once anything is known."""
    found = json.loads(sb("why", key, "--json", code=code).stdout or "[]")
    return [(one["state"], one["sentence"]) for one in (found[-1]["stands"] if found else []) if one["stage"] == stage]


def stands(sb, key, stage="echo"):
    return told_of(sb, key, stage, FINE)


def test_why_tells_of_each_stage_what_is_done_and_what_never_came(sb, call):
    seen = sb("why", call.id).stdout
    assert seen.splitlines()[0] == f"{call.id} (found as: call or other key)"
    assert re.search(r"^  transcribe +done: call\.recorded at 2026-11-20 10:00:20$", seen, re.M), seen
    assert re.search(r"^  ingest +skipped: callrail\.call\.received at 2026-11-21 11:00:00: older than what is known; 2 events in all$",
                     seen, re.M), seen
    assert re.search(r"^  echo +nothing of it has come here$", seen, re.M), seen


def test_why_tells_of_another_try_and_of_who_waits_behind(sb, echo, topics, key):
    tell(topics, key, n=1, retries=1, retry_ms=20_000)
    tell(topics, key, n=2)
    wait_until(lambda: any("more behind it" in sentence for _, sentence in told_of(sb, key)), "both being told of")
    (state, sentence), = stands(sb, key)
    assert state == "waiting"
    assert re.match(r"echo\.asked waits after attempt 1 for the next one in \d+ s \(.*\), and is given up after .*: told to; "
                    r"1 more behind it$", sentence)


def test_why_tells_what_is_parked_and_until_when(sb, echo, topics, database, key):
    tell(topics, key, n=1, retries=-1, retry_ms=400_000)
    tell(topics, key, n=2)
    wait_until(lambda: database.execute("SELECT count(*) FROM parked WHERE subject = %s", (key,)).fetchone()[0] == 2, "both being parked")
    (state, sentence), = stands(sb, key)
    assert state == "parked"
    assert re.match(r"echo\.asked is parked since \d+ s ago after attempt 1, and resumed in \d+ \w+ \(.*\): told to; 1 more behind it$", sentence)
    parked = next(one for one in status_of(sb)[1] if one["what"] == "parked" and one["key"] == key)
    assert parked["sentence"].startswith("echo.asked is parked since ")
    database.execute("DELETE FROM parked WHERE subject = %s", (key,))


def test_why_tells_of_a_dead_letter_until_a_later_run_did_it(sb, echo, topics, database, key):
    told = tell(topics, key, n=1, reject="the moon is full")
    topics.wait("dead.echo", key)
    (state, sentence), = stands(sb, key)
    assert state == "dead" and re.match(r"echo\.asked is a dead letter since [\d:]+, after attempt 1: the moon is full \(topic dead\.echo, "
                                        rf"event {told['id']}\)$", sentence)
    topics.send("replay.echo", key, {**told, "run": 1, "data": {"n": 1}})
    topics.wait("echo.out", key)
    assert [state for state, _ in stands(sb, key)] == ["done"]


def test_why_tells_who_is_behind_an_open_circuit_and_who_is_not_read_because_of_it(sb, echo, topics, database, provider, key):
    provider.behave = lambda *_: (503, {}, "down")
    for other in range(20):
        tell(topics, f"{key}-{other}", n=1, ask=provider.url + "/down", flush=False)
    topics.producer.flush()
    behind = ("SELECT w->>'key' FROM instances, jsonb_array_elements(state->'works') w WHERE instance = 'echo-watch'"
              " AND w->>'provider' = 'stub' AND w->>'key' LIKE %s")
    one, = wait_until(lambda: database.execute(behind, (key + "-%",)).fetchone(), "a conversation behind the circuit")
    tell(topics, key, n=1)
    (state, first), (_, second) = wait_until(lambda: len(found := stands(sb, one)) == 2 and found, "both being told of")
    assert (state, first) == ("circuit", "echo.asked waits for stub, which is paused or fails for everyone")
    assert re.match(r"stub has failed for everyone for \d+ \w+; \d+ wait for it, the next try is ", second)
    (state, sentence), = stands(sb, key)
    assert state == "unread" and re.match(r"echo\.asked came \d+ s ago and is not handled yet: it does not read on without stub$", sentence)
    provider.behave = lambda *_: (200, {}, "up")
    for other in range(20):
        topics.wait("echo.out", f"{key}-{other}")
    topics.wait("echo.out", key)


def test_why_tells_of_what_no_stage_has_read(sb, echo, topics, key):
    wait_until(lambda: status_of(sb)[0]["instances"] >= 1, "the instance being seen")
    echo.kill()
    try:
        tell(topics, key, n=1)
        tell(topics, key, n=2)
        wait_until(lambda: "no instance is live" in stands(sb, key)[0][1], "the instance being missed", pause_s=1)
        (state, sentence), = stands(sb, key)
        assert state == "unread"
        assert re.match(r"echo\.asked and 1 more came \d+ s ago and is not handled yet: no instance is live; "
                        r"the last one seen is echo-watch on ", sentence)
    finally:
        echo.start().ready()
    topics.wait("echo.out", key, count=2)
    assert [state for state, _ in stands(sb, key)] == ["done"]


def test_why_tells_of_a_message_nobody_knows_of(sb, call):
    told = call.handled("notifier", "call.analyzed", 100, 101, 0.1, outcome="rejected", why="not known whether it was sent")
    call.asked(told, "notifier", "twilio", "rep", 101, 30, kind="once", recipient="+15550001111", purpose="rep_alert", subject=call.id,
               version="1", state="uncertain", error="the connection was cut")
    found = stands(sb, call.id, "notifier")
    assert [state for state, _ in found] == ["dead", "ask"]
    assert re.match(r"notifier asked twilio \(rep_alert\) \d+ \w+ ago, and it is not known whether it was done: a person must look there: "
                    r"the connection was cut", found[1][1])


# --- impact --------------------------------------------------------------------------------------------------------------------


def test_impact_counts_conversations_by_company_and_names_the_worst(sb, database):
    tenant = "impact-" + uuid.uuid4().hex[:8]
    slow, dead, mended, refused, fine = (Call(database, tenant) for _ in range(5))
    slow.handled("transcribe", "call.recorded", 0, 7200, 1)
    slow.handled("analyze", "call.transcribed", 7200, 7290, 1)
    dead.handled("analyze", "call.transcribed", 0, 1, 1, outcome="rejected", why="the model answers nonsense")
    dead.handled("notifier", "call.analyzed", 0, 1, 1, outcome="rejected", why="the model answers nonsense")
    event_id = mended.handled("analyze", "call.transcribed", 0, 1, 1, outcome="rejected", why="a mistake of ours")
    mended.handled("analyze", "call.transcribed", 5000, 5001, 1, run=1, event_id=event_id)
    told = refused.handled("notifier", "call.analyzed", 0, 1, 1)
    refused.asked(told, "notifier", "twilio", "rep", 1, 1, kind="once", recipient="+15550001111", purpose="rep_alert", subject=refused.id,
                  version="1", provider_status="undelivered", error="unknown number")
    fine.handled("notifier", "call.analyzed", 0, 30, 1)
    answer = json.loads(sb("impact", "--since", "2026-11-20T09:00:00Z", "--json").stdout)
    mine = next(one for one in answer["impact"] if one["tenant"] == tenant)
    counts = {name: mine[name] for name in ("conversations", "dead", "parked", "delayed", "undelivered", "uncertain")}
    assert counts == {"conversations": 3, "dead": 1, "parked": 0, "delayed": 1, "undelivered": 1, "uncertain": 0}
    assert (mine["worst_delay_s"], mine["worst_conversation"]) == (7200, slow.id) and set(mine["failed"]) == {dead.id, refused.id}
    seen = sb("impact", "--since", "2026-11-20T09:00:00Z").stdout
    assert re.search(rf"^{tenant} +3 +1 +0 +1 +1 +0 +2 h +{slow.id}, ", seen, re.M), seen
    assert f"{tenant}, most often: the model answers nonsense" in seen
    later = json.loads(sb("impact", "--since", "2026-11-20T11:30:00Z", "--json").stdout)
    assert tenant in {one["tenant"] for one in later["impact"]} and \
        next(one for one in later["impact"] if one["tenant"] == tenant)["conversations"] == 1, "what was slow ended after that"


def test_what_is_parked_counts_until_it_is_done(sb, echo, topics, database, key):
    tenant = "impact-" + uuid.uuid4().hex[:8]
    tell(topics, key, n=1, retries=-1, retry_ms=400_000, attributes={"tenant": tenant})
    wait_until(lambda: database.execute("SELECT 1 FROM parked WHERE subject = %s", (key,)).fetchone(), "it being parked")
    mine = next(one for one in json.loads(sb("impact", "--json").stdout)["impact"] if one["tenant"] == tenant)
    assert (mine["conversations"], mine["parked"], mine["worst_conversation"]) == (1, 1, key)
    database.execute("DELETE FROM parked WHERE subject = %s", (key,))


# --- logs ----------------------------------------------------------------------------------------------------------------------


def log_line(time, message, level="info", **fields):
    return json.dumps({"time": time, "level": level, "daemon": "x", "message": message, **fields}) + "\n"


@pytest.fixture
def logs(schema_ready, tmp_path):
    """A checkout with logs in it."""
    (tmp_path / "deploy" / "local" / "kafka").mkdir(parents=True)
    (tmp_path / "deploy" / "local" / "kafka" / "pom.xml").write_text("")
    folder = tmp_path / ".run" / "log"
    folder.mkdir(parents=True)
    (folder / "ingest.log.1").write_text(log_line("2026-11-21T10:00:00.000000Z", "oldest"))
    (folder / "ingest.log").write_text(log_line("2026-11-21T10:00:02.000000Z", "event handled", event_id="E1", took_ms=7)
                                       + log_line("2026-11-21T10:00:05.500000Z", "the door is open", "error"))
    (folder / "kafka.log").write_text("no time yet\n2026-11-21T10:00:03,250 ERROR it broke (Broker)\njava.lang.Exception\n\tat Broker.run\n"
                                      "2026-11-21T10:00:06,000 INFO mended (Broker)\n")
    (folder / "postgres.log").write_text("2026-11-21 10:00:04.000 UTC [7] sb LOG:  checkpoint starting\n")

    def run(*arguments, code=FINE):
        result = subprocess.run([SB, "logs", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60,
                                stdin=subprocess.DEVNULL, env=environment_of(schema_ready))
        assert result.returncode == code, (result.stdout, result.stderr)
        return result
    run.folder, run.root = folder, tmp_path
    return run


def test_logs_are_merged_by_time_and_stack_traces_stay_with_their_line(logs):
    assert logs().stdout.splitlines()[1:] == [
        "2026-11-21 10:00:00.000  ingest      oldest",
        "2026-11-21 10:00:02.000  ingest      event handled, event_id E1, took_ms 7",
        "2026-11-21 10:00:03.250  kafka       2026-11-21T10:00:03,250 ERROR it broke (Broker)", "java.lang.Exception", " at Broker.run",
        "2026-11-21 10:00:04.000  postgres    2026-11-21 10:00:04.000 UTC [7] sb LOG:  checkpoint starting",
        "2026-11-21 10:00:05.500  ingest      error: the door is open",
        "2026-11-21 10:00:06.000  kafka       2026-11-21T10:00:06,000 INFO mended (Broker)"]


def test_logs_can_be_chosen_and_what_is_left_out_is_said(logs):
    result = logs("ingest", "--since", "2026-11-21T10:00:01Z", "--grep", "E1")
    assert result.stdout == "2026-11-21 10:00:02.000  ingest      event handled, event_id E1, took_ms 7\n"
    assert result.stderr == "1 entry shown, 2 left out\n"
    found = [json.loads(line) for line in logs("kafka", "--json", "--since", "2026-11-21T10:00:01Z").stdout.splitlines()]
    assert [(one["part"], one["time"]) for one in found] == [("kafka", "2026-11-21T10:00:03.250000Z"), ("kafka", "2026-11-21T10:00:06.000000Z")]
    assert found[0]["entry"].endswith("\tat Broker.run")
    assert json.loads(logs("ingest", "--json").stdout.splitlines()[1])["entry"]["took_ms"] == 7
    assert "no log of \"nope\"" in logs("nope", code=FAILED).stderr


def test_logs_of_one_conversation(logs, call):
    with open(logs.folder / "ingest.log", "a") as log:
        log.write(log_line("2026-11-21T10:00:07.000000Z", "handled", event_id=call.analyzed))
        log.write(log_line("2026-11-21T10:00:08.000000Z", "asked", ask_id=call.ask_id))
        log.write(log_line("2026-11-21T10:00:09.000000Z", "somebody else's", event_id=str(uuid.uuid4())))
    assert [line[37:].split(",")[0] for line in logs("--trace", call.phone).stdout.splitlines()] == ["handled", "asked"]


def test_logs_go_on_when_a_file_is_full(logs, schema_ready):
    process = subprocess.Popen([SB, "logs", "ingest", "--follow"], cwd=logs.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=environment_of(schema_ready))
    try:
        assert [process.stdout.readline()[37:-1] for _ in range(3)] == ["oldest", "event handled, event_id E1, took_ms 7", "error: the door is open"]
        half = log_line("2026-11-21T10:00:10.000000Z", "in two pieces")
        with open(logs.folder / "ingest.log", "a") as log:
            log.write(half[:30])
            log.flush()
            log.write(half[30:])
        assert process.stdout.readline()[37:-1] == "in two pieces"
        (logs.folder / "ingest.log").rename(logs.folder / "ingest.log.1")
        (logs.folder / "ingest.log").write_text(log_line("2026-11-21T10:00:11.000000Z", "in a new file"))
        assert process.stdout.readline()[37:-1] == "in a new file"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == FINE
    finally:
        process.kill()


# --- all of them ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [("status", "now"), ("trace",), ("trace", "a", "b"), ("trace", "a", "--x"), ("why",), ("why", "a", "b"),
                                       ("logs", "--since", "soon"), ("logs", "../x"), ("impact", "--since", "5x"), ("impact", "now")])
def test_a_wrong_command_line_is_told(sb, arguments):
    result = sb(*arguments, code=WRONG)
    assert result.stdout == "" and result.stderr.startswith(f"sb {arguments[0]}: ") and "--help" in result.stderr


@pytest.mark.parametrize("command", ["trace", "why", "impact"])
def test_a_database_that_is_away_is_told(sb, command):
    arguments = [command] + ([] if command == "impact" else ["CAL1"])
    assert "127.0.0.1" in sb(*arguments, code=FAILED, DATABASE_URL="postgresql://127.0.0.1:1/x").stderr
