"""sb doctor: each thing that can be wrong is made wrong, and is told with what mends it."""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import uuid

import pytest
import requests
from daemons import BUILD, Daemon, migrated
from environment import ROOT, free_port, wait_until
from sandbox_process import ACCOUNT, KEYS, process, sandbox  # noqa: F401

SB = BUILD / "bin" / "sb"
FINE, FAILED, WRONG = 0, 1, 2
OK, BAD, UNKNOWN = "ok", "bad", "?"


@pytest.fixture(scope="module")
def schema_ready(environment, topics, tmp_path_factory):
    """A database of its own: what is looked at are all companies and instances."""
    return migrated(environment.with_new_database(), tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def ingest(schema_ready, database, tmp_path_factory):
    daemon = Daemon("ingest", schema_ready, tmp_path_factory.mktemp("ingest"), CALLRAIL_SIGNING_KEY="the key").ready()
    wait_until(lambda: database.execute("SELECT 1 FROM instances WHERE instance = %s", (daemon.instance,)).fetchone(), "its first word")
    yield daemon
    assert daemon.stop() == 0


@pytest.fixture
def doctor(schema_ready, tmp_path):
    """Gives the lines of one check, as (verdict, what, mend); and of all when none is named."""
    def look(check=None, *arguments, said=None, **settings):
        for folder in ("spool", "state", "recordings"):
            (tmp_path / folder).mkdir(exist_ok=True)
        if not (tmp_path / "deploy").exists():
            (tmp_path / "deploy").symlink_to(ROOT / "deploy")  # a checkout of its own: what `make run` left in ours is not asked
        env = {"PATH": os.environ["PATH"], "DATABASE_URL": schema_ready.database_url, "KAFKA_BROKERS": schema_ready.brokers,
               "STATE_DIR": str(tmp_path / "state"), "SPOOL_DIR": str(tmp_path / "spool"), "RECORDINGS_DIR": str(tmp_path / "recordings"),
               "ASAN_OPTIONS": "detect_leaks=0", **settings}
        done = subprocess.run([SB, "doctor", "--json", *arguments], cwd=tmp_path, env={k: v for k, v in env.items() if v is not None},
                              capture_output=True, text=True, timeout=180)
        assert done.returncode in (FINE, FAILED), done.stderr
        told = json.loads(done.stdout)
        assert (done.returncode == FAILED) == (told["bad"] > 0) == any(line["verdict"] == BAD for line in told["checks"])
        return [(line["verdict"], line["what"], line["mend"]) for line in told["checks"] if check in (None, line["check"])]
    return look


def the(lines, word):
    """The one line that speaks of it."""
    found = [line for line in lines if word in line[1]]
    assert len(found) == 1, lines
    return found[0]


# --- machine and parts


def test_what_is_well_is_said_in_a_line_each(doctor, ingest, topics):
    # partitions that were made a moment ago have no leader yet, which is told as it is
    wait_until(lambda: [what for verdict, what, _ in doctor("kafka") if verdict == OK and "has all" in what and "topics as in the map" in what],
               "Kafka having made all topics")
    lines = {(verdict, what) for verdict, what, _ in doctor()}
    for what in ("ingest can use its settings", "the roles of all stages can be taken", "1 ingest live"):
        assert (OK, what) in lines
    assert any(verdict == OK and "Postgres answers, with all" in what for verdict, what in lines)
    assert any(verdict == OK and "MiB are left in" in what and "SPOOL_DIR" in what for verdict, what in lines)
    assert any(verdict == OK and "clock" in what for verdict, what in lines)


def test_a_wrong_setting_is_told_as_the_daemon_reads_it(doctor):
    verdict, what, mend = the(doctor("settings", SPOOL_BYTES_MAX="a lot"), "SPOOL_BYTES_MAX")
    assert verdict == BAD and what.startswith("ingest: settings SPOOL_BYTES_MAX is") and "ingest --help" in mend


def test_a_stage_that_is_not_there(doctor, ingest):
    assert the(doctor("stages"), "no transcribe says that it lives")[0] == BAD


def test_a_stage_that_was_killed(doctor, daemon, database):
    notifier = daemon("notifier").ready()
    wait_until(lambda: database.execute("SELECT 1 FROM instances WHERE instance = %s", (notifier.instance,)).fetchone(), "its first word")
    notifier.kill()
    database.execute("UPDATE instances SET seen_at = now() - interval '1 minute' WHERE instance = %s", (notifier.instance,))
    assert the(doctor("stages"), notifier.instance)[0] == BAD
    database.execute("DELETE FROM instances WHERE instance = %s", (notifier.instance,))


def test_without_kafka_and_postgres_the_rest_is_still_told(doctor):
    nowhere = f"127.0.0.1:{free_port()}"
    lines = doctor(DATABASE_URL=f"postgresql://postgres@{nowhere}/x", KAFKA_BROKERS=nowhere)
    assert the(lines, "could not connect to Postgres")[0] == BAD and the(lines, "could not ask Kafka")[0] == BAD
    assert any(line[0] == OK and "MiB are left" in line[1] for line in lines)
    assert [line for line in lines if "cannot be asked" in line[1] and line[0] == UNKNOWN]


def test_a_database_from_another_time(doctor, database, schema_ready):
    database.execute("INSERT INTO schema_migrations (number, name, sha256) VALUES (999, 'tomorrow', '')")
    try:
        verdict, what, mend = the(doctor("postgres"), "999 migrations")
        assert verdict == BAD and mend == "run the newer programs"
    finally:
        database.execute("DELETE FROM schema_migrations WHERE number = 999")


def test_a_partition_that_is_missing(doctor, database):
    name = database.execute("SELECT 'ledger' || to_char((now() AT TIME ZONE 'UTC')::date + 1, '_YYYYMMDD')").fetchone()[0]
    database.execute(f"ALTER TABLE ledger DETACH PARTITION {name}")
    database.execute(f"ALTER TABLE {name} RENAME TO elsewhere")
    try:
        assert the(doctor("partitions"), f"the partition {name} is missing")[0] == BAD
    finally:
        database.execute("DROP TABLE elsewhere")
        database.execute("SELECT runtime_partitions(31, 2)")


# --- what came in


def test_refused_signatures_are_told_with_their_reason(doctor, ingest, database):
    answer = requests.post(f"{ingest.url}/api/v1/callrail/call.completed", data=b"{}", timeout=30,
                           headers={"Content-Type": "application/json", "Signature": "wrong"})
    assert answer.status_code == 401
    refused = "SELECT state -> 'refused' -> 0 FROM instances WHERE instance = %s"
    said = wait_until(lambda: database.execute(refused, (ingest.instance,)).fetchone()[0], "the refusal in the instance's row")
    assert (said["source"], said["reason"], said["path"], said["count"]) == ("callrail", "wrong", "/api/v1/callrail/call.completed", 1)
    verdict, what, mend = the(doctor("refused"), "1 of callrail on /api/v1/callrail/call.completed was refused")
    assert verdict == BAD and "no active key made it" in what and "sb verify" in mend


def test_who_was_heard_of(doctor, ingest, database, key):
    body = json.dumps({"call_id": key, "tracking_number": "+12025550199"}).encode()
    signature = base64.b64encode(hmac.new(b"the key", body, hashlib.sha1).digest()).decode()
    requests.post(f"{ingest.url}/api/v1/callrail/call.completed", data=body, timeout=30,
                  headers={"Content-Type": "application/json", "Signature": signature})
    wait_until(lambda: database.execute("SELECT 1 FROM calls WHERE call_id = %s", (key,)).fetchone(), "the call")
    verdict, what, _ = the(doctor("heard"), "callrail was last heard of")
    assert verdict == OK and what.endswith(" s ago")
    verdict, what, mend = the(doctor("unassigned"), "+12025550199")
    assert verdict == BAD and what.startswith("1 call came to") and "which is nobody's" in what and "sb number add" in mend


def test_dead_letters_are_counted_with_the_last_reason(doctor, ingest, schema_ready, tmp_path, key, topics):
    topics.send("inbound.callrail", key, "no event at all")
    topics.wait("dead.ingest", key)
    verdict, what, mend = the(doctor("dead letters"), "of ingest")
    assert verdict == BAD and "the last one:" in what and "sb dlq list ingest" in mend
    env = {"PATH": os.environ["PATH"], "DATABASE_URL": schema_ready.database_url, "KAFKA_BROKERS": schema_ready.brokers, "ASAN_OPTIONS": "detect_leaks=0"}
    subprocess.run([SB, "dlq", "drop", "ingest", "--key", key, "--yes", "--as", "ada", "--why", "a test"], cwd=tmp_path, env=env, check=True, capture_output=True, timeout=60)
    left = [line for line in doctor("dead letters") if "of ingest" in line[1]]
    assert not left or int(left[0][1].split()[0]) == int(what.split()[0]) - 1, "what was dealt with is told no more"


def test_what_is_paused(doctor, database, key):
    database.execute("INSERT INTO pauses (kind, name, by, why, since) VALUES ('tenant', %s, 'ada', 'they move', '2026-02-03T04:05:00Z')", (key,))
    try:
        verdict, what, mend = the(doctor("paused"), key)
        assert verdict == UNKNOWN and what == f"the tenant {key} is paused since 2026-02-03 04:05 by ada: they move" and "sb resume" in mend
    finally:
        database.execute("DELETE FROM pauses WHERE name = %s", (key,))


def test_what_is_paused_fails_for_nobody(doctor, ingest, database):
    """A stage holds a pause as it holds a circuit; that it is wanted is told once, by "paused"."""
    database.execute("INSERT INTO pauses (kind, name, by, why) VALUES ('stage', 'ingest', 'ada', ''), ('provider', 'callrail', 'ada', '')")
    held = "SELECT jsonb_array_length(state -> 'circuits') FROM instances WHERE instance = %s"
    try:
        wait_until(lambda: database.execute(held, (ingest.instance,)).fetchone()[0] == 2, "both pauses in the instance's row")
        assert doctor("circuits") == [(OK, "no provider fails for everyone", None)]
        assert [verdict for verdict, _, _ in doctor("paused")] == [UNKNOWN, UNKNOWN]
    finally:
        database.execute("DELETE FROM pauses")


# --- work that does not go on


def ask(database, **columns):
    row = {"ask_id": str(uuid.uuid4()), "stage": "notifier", "event_id": str(uuid.uuid4()), "name": "x", "kind": "once", "provider": "twilio",
           "tenant": "acme", "recipient": uuid.uuid4().hex, "purpose": "lead_alert", "subject": "call", "version": "1", "state": "answered", **columns}
    database.execute(f"INSERT INTO asks ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})", list(row.values()))
    return row["ask_id"]


@pytest.fixture
def asks(database):
    made = []
    yield lambda **columns: made.append(ask(database, **columns))
    database.execute("DELETE FROM asks WHERE ask_id = ANY (%s::uuid[])", (made,))


def test_messages_that_did_not_arrive(doctor, asks):
    asks(state="uncertain")
    asks(state="sent", lease_until="2026-01-01T00:00:00Z")
    asks(state="refused", provider_status="blocked", error="TWILIO_CONTENT_SID_LEAD is not set")
    asks(provider_status="undelivered", error_code="63016")
    lines = doctor()
    assert the(lines, "1 message of acme was not delivered: error 63016")[0] == BAD
    assert the(lines, '1 "lead_alert" to twilio may or may not have gone out')[0] == BAD
    assert the(lines, "1 request of notifier to twilio had no answer since 2026-01-01")[0] == BAD
    assert the(lines, "1 message of acme is blocked: TWILIO_CONTENT_SID_LEAD is not set")[0] == BAD


def test_notes_that_wait_and_those_that_nobody_tries_again(doctor, database, key):
    """The tenant of this test is its key."""
    database.execute("INSERT INTO companies (tenant, name) VALUES (%s, 'Acme')", (key,))
    database.execute("INSERT INTO clients (tenant, client_id, email) VALUES (%s, gen_random_uuid(), 'bo@lee.test')", (key,))
    database.execute("INSERT INTO meetings (tenant, meeting_id, salesperson_email, client_id, title, start_time, end_time, planned_at, source_time)"
                     " SELECT tenant, gen_random_uuid(), 'ana@acme.test', client_id, 'Roof', now(), now(), now(), now() FROM clients WHERE tenant = %s", (key,))
    note = ("INSERT INTO meeting_notes (tenant, meeting_id, revision, outcome, state, error, source_time, next_check_at)"
            " SELECT tenant, meeting_id, %s, 'Signed.', 'waiting', 'HTTP status 503', now(), %s FROM meetings WHERE tenant = %s")
    try:
        database.execute(note, (1, "2026-02-03T04:05:00Z", key))
        verdict, what, _ = the(doctor("notes that wait"), key)
        assert verdict == UNKNOWN and what.startswith(f"1 note of {key} waits since ") and what.endswith(": HTTP status 503")
        assert "dead letter" not in what
        database.execute(note, (2, None, key))
        verdict, what, mend = the(doctor("notes that wait"), key)
        assert verdict == UNKNOWN and what.startswith(f"2 notes of {key} wait since ") and ", 1 of them in a dead letter: " in what
        assert "sb dlq retry notifier" in mend
    finally:
        for table in ("meetings", "clients", "companies"):
            database.execute(f"DELETE FROM {table} WHERE tenant = %s", (key,))


def job(database, key, **columns):
    row = {"job_id": str(uuid.uuid4()), "stage": "transcribe", "tenant": "acme", "job_type": "transcription", "provider": key,
           "provider_job_id": uuid.uuid4().hex, "subject": key, "kind": "call", "source_time": "now", **columns}
    database.execute(f"INSERT INTO jobs ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})", list(row.values()))


def test_jobs_that_are_overdue(doctor, database, key):
    """The provider of this test is named by its key."""
    past = database.execute("SELECT now() - interval '20 minutes', now() - interval '10 minutes', now() + interval '5 minutes'").fetchone()
    job(database, key, submitted_at=past[0], next_check_at=past[2], status="overdue")
    job(database, key, submitted_at=past[1], next_check_at=past[2])
    try:
        verdict, what, mend = the(doctor("jobs"), key)
        assert verdict == BAD and what == f'1 job (transcription) that transcribe gave to {key} is overdue, the oldest for 20 min: "sb why {key}"'
        assert "webhook" in mend
        job(database, key, submitted_at=past[1], next_check_at=past[1], job_type="analysis")
        assert ", and nobody asks any more: " in the(doctor("jobs"), "(analysis) that transcribe gave to " + key)[1]
        job(database, key, submitted_at=past[0], next_check_at=past[2], status="overdue")
        assert the(doctor("jobs"), "(transcription)")[1].startswith(f"2 jobs (transcription) that transcribe gave to {key} are overdue")
    finally:
        database.execute("DELETE FROM jobs WHERE subject = %s", (key,))


def test_jobs_whose_webhooks_never_come(doctor, database, key):
    ended = {"status": "completed", "finished_at": "now"}
    for finished_by in ("sweep", "sweep", "webhook"):
        job(database, key, **ended, finished_by=finished_by)
    try:
        verdict, what, mend = the(doctor("asked for"), key)
        assert verdict == UNKNOWN and what.startswith(f"the webhooks of 2 of 3 jobs of {key} in a day were late or never came") and "PUBLIC_URL" in mend
        job(database, key, **ended, finished_by="webhook")
        assert not [line for line in doctor("asked for") if key in line[1]], "half of them came"
    finally:
        database.execute("DELETE FROM jobs WHERE subject = %s", (key,))


def test_parked_events(doctor, database, key):
    database.execute("INSERT INTO parked (stage, subject, event_id, run, topic, day, message, why, attempts, first_at, resume_at)"
                     " VALUES ('vision', %s, %s, 0, 'calls', current_date, '', 'HTTP status 503', 9, '2026-02-03T04:05:00Z', 'infinity')", (key, str(uuid.uuid4())))
    try:
        verdict, what, _ = the(doctor("parked"), "1 event of vision waits since 2026-02-03 04:05: HTTP status 503")
        assert verdict == UNKNOWN
    finally:
        database.execute("DELETE FROM parked WHERE subject = %s", (key,))


# --- providers


def test_providers_with_keys_are_asked_for_something_harmless(doctor, sandbox):  # noqa: F811
    settings = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": KEYS["TWILIO_AUTH_TOKEN"], "TWILIO_BASE_URL": sandbox.url + "/twilio",
                "GEMINI_API_KEY": KEYS["GEMINI_API_KEY"], "GEMINI_BASE_URL": sandbox.url + "/gemini",
                "OPENAI_API_KEY": KEYS["OPENAI_API_KEY"], "OPENAI_BASE_URL": sandbox.url + "/openai/v1",
                "SHUNYA_API_KEY": KEYS["SHUNYA_API_KEY"], "SHUNYA_BASE_URL": sandbox.url + "/shunya"}
    lines = doctor("providers", **settings)
    assert [line[:2] for line in lines] == [(OK, f"{name} answers, and knows the key") for name in ("twilio", "gemini", "openai", "shunya")]
    assert sandbox.control("GET", "/messages")["messages"] == [], "nothing was sent"
    lines = doctor("providers", **{**settings, "TWILIO_AUTH_TOKEN": "wrong", "GEMINI_API_KEY": "wrong", "SHUNYA_API_KEY": "wrong", "OPENAI_MODEL": "no such model"[:2]})
    assert the(lines, "twilio refuses our key")[0] == BAD and "TWILIO_AUTH_TOKEN" in the(lines, "twilio refuses our key")[2]
    assert the(lines, "gemini refuses our key")[0] == BAD and the(lines, "shunya refuses our key")[2] == "set SHUNYA_API_KEY to a valid key"
    assert the(lines, "openai does not know what is asked for")[2] == "mend OPENAI_MODEL"
    assert the(doctor("providers", **{**settings, "TWILIO_BASE_URL": f"http://127.0.0.1:{free_port()}"}), "twilio: could not reach")[0] == BAD


def test_without_keys_that_is_said(doctor):
    (verdict, what, _), = doctor("providers")
    assert verdict == OK and "none has a key" in what


# --- call tracking


@pytest.fixture
def company(database):
    name = "doctor-" + uuid.uuid4().hex[:8]
    database.execute("INSERT INTO companies (tenant, name) VALUES (%s, %s)", (name, name))
    return name


def call(database, tenant, **columns):
    row = {"tenant": tenant, "call_id": uuid.uuid4().hex, "source": "callrail", "status": "completed", "answered": True, "started_at": "now",
           "updated_at": "yesterday", "customer_number": "+12025550100", **columns}
    database.execute(f"INSERT INTO calls ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})", list(row.values()))
    return row["call_id"]


def test_what_usually_goes_wrong_with_calls(doctor, database, company):
    call(database, company, recording_url="https://recordings/1")
    call(database, company, status="ringing", answered=None)
    heard = call(database, company)
    booked = call(database, company)
    call(database, company)
    database.execute("INSERT INTO call_transcripts (tenant, call_id, provider, text, segments, speakers, words, source_time, updated_at)"
                     " VALUES (%s, %s, 'local', 'x', '[]', 1, 1, now(), now() - interval '2 hours')", (company, heard))
    database.execute("INSERT INTO call_analyses (tenant, call_id, provider, lead_qualification, booking_status, call_outcome_category, sentiment_score,"
                     " summary, source_time, dropped_without_evidence) VALUES (%s, %s, %s, 'hot', 'booked', 'booked', 0, '', now(), 3)", (company, booked, company))
    database.execute("INSERT INTO ledger (stage, event_id, day, event_type, topic, partition, \"offset\", subject, tenant, outcome, why, attempts,"
                     " received_at, started_at, worked_us) VALUES ('notifier', %s, current_date, 'call.analyzed', 'results', 0, 0, %s, %s, 'skipped',"
                     " 'nobody to tell: the call has no rep', 1, now(), now(), 1)", (str(uuid.uuid4()), booked, company))
    lines = [line for line in doctor(None, "calls") if company in line[1]]
    expected = {f"1 call of {company} began and never ended": BAD, f"1 call of {company} with a recording and no transcript": BAD, f"1 transcript of {company} without an analysis": BAD,
                f"1 booked call of {company} made no appointment": BAD, f"nobody was told of 1 call of {company}": BAD,
                f"3 of 4 answered calls of {company} came without a recording": UNKNOWN,
                f"it is not known who took 4 of 4 answered calls of {company}": UNKNOWN, f"3 quotes of {company} (no model)": UNKNOWN}
    for what, verdict in expected.items():
        found = the(lines, what)
        assert found[0] == verdict and found[2]


def test_what_calls_need_is_set(doctor, company):
    lines = doctor("signing keys", "calls")
    assert the(lines, "CallRail's webhooks are refused")[0] == BAD and company in lines[0][1] and "--callrail-keys" in lines[0][2]
    assert doctor("signing keys", "calls", CALLRAIL_SIGNING_KEY="x") == [(OK, "webhooks of every company can be let in", None)]
    needed = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": "x", "TWILIO_WHATSAPP_FROM": "+12025550100",
              "TWILIO_CONTENT_SID_LEAD": "HX" + "0" * 32, "PUBLIC_URL": "https://hooks.example.test"}
    assert [line[0] for line in doctor("messages", "calls")] == [BAD] * len(needed)
    assert doctor("messages", "calls", **needed) == [(OK, "messages can be sent, and are reported on", None)]


def test_a_use_case_alone_leaves_the_rest_out(doctor):
    lines = doctor(None, "calls")
    assert lines and not any("settings" in line[1] or "MiB" in line[1] for line in lines)


# --- the command


def test_a_person_reads_a_line_each(schema_ready, tmp_path):
    env = {"PATH": "/usr/bin", "DATABASE_URL": schema_ready.database_url, "KAFKA_BROKERS": schema_ready.brokers, "ASAN_OPTIONS": "detect_leaks=0",
           "STATE_DIR": str(tmp_path), "SPOOL_DIR": str(tmp_path)}
    (tmp_path / ".env").write_text("")
    done = subprocess.run([SB, "doctor"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=180)
    lines = done.stdout.splitlines()
    assert len(lines) > 20 and all(line[:3].strip() in (OK, BAD, UNKNOWN) and ": " in line for line in lines), done.stdout
    assert all("; mend: " in line for line in lines if line.startswith("bad"))


def test_names_in_env_that_are_no_setting(schema_ready, tmp_path):
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")          # what makes it a checkout
    (tmp_path / ".env").write_text("CALLRAIL_SINGING_KEY=x\nSUPABASE_URL=https://x.example\n")
    env = {"PATH": "/usr/bin", "DATABASE_URL": schema_ready.database_url, "KAFKA_BROKERS": schema_ready.brokers, "ASAN_OPTIONS": "detect_leaks=0"}
    done = subprocess.run([SB, "doctor", "--json"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=180)
    names = [line for line in json.loads(done.stdout)["checks"] if line["check"] == "names"]
    assert (BAD, "CALLRAIL_SINGING_KEY, on line 1 of .env, is no setting", "is it CALLRAIL_SIGNING_KEY?") in [
        (line["verdict"], line["what"], line["mend"]) for line in names]
    assert any("SUPABASE_URL is recognised and not used" == line["what"] for line in names)


@pytest.mark.parametrize("arguments", [["nothing"], ["calls", "calls"], ["--nonsense"]])
def test_a_wrong_command_line(arguments, tmp_path):
    assert subprocess.run([SB, "doctor", *arguments], cwd=tmp_path, capture_output=True, timeout=60).returncode == WRONG
