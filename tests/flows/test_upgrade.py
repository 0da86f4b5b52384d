"""Upgrade: a database filled by any older version of the tables comes to the newest with all that it held.

For every number there is a database with the migrations up to it and rows in all its tables, every column of them with a value.  A stage
starts on it, as after an upgrade; then all that was there must be there, as it was."""

import hashlib
import uuid

import psycopg
import pytest
from daemons import Daemon
from environment import ROOT, wait_until

MIGRATIONS = sorted((ROOT / "schemas" / "postgres").glob("*.sql"))
NOTE = "INSERT INTO schema_migrations (number, name, sha256) VALUES (%s, %s, %s)"
MAKE_NOTES = ("CREATE TABLE schema_migrations (number integer PRIMARY KEY, name text NOT NULL, sha256 text NOT NULL,"
              " applied_at timestamptz NOT NULL DEFAULT now())")
COLUMNS = ("SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
           " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
           " AND c.relname <> 'schema_migrations' AND attnum > 0 AND NOT attisdropped ORDER BY 1, attnum")

# What a version's tables hold: (table, columns with values) in the order of their references, or how older rows use its columns.  The day is today, since what is over is dropped.
EVENT, ASK, CONTACT, LEAD = (str(uuid.uuid5(uuid.NAMESPACE_URL, name)) for name in ("event", "ask", "contact", "lead"))
NOW = "2026-02-03T04:05:06.789Z"
LEDGER = {"stage": "ingest", "event_id": EVENT, "run": 1, "event_type": "call.recorded", "topic": "calls", "partition": 3, "offset": 2**40,
          "subject": "CAL1", "tenant": "acme", "cause_id": ASK, "correlation_id": "CAL1", "outcome": "skipped", "why": "über \u2028 'quoted'",
          "attempts": 2, "received_at": NOW, "started_at": NOW, "worked_us": 5, "committed_at": NOW, "emitted": 1}
EMITTED = {"stage": "ingest", "cause_id": EVENT, "run": 1, "number": 0, "tenant": "acme", "topic": "calls", "key": "CAL1", "payload": "{}"}
CALL = {"tenant": "acme", "call_id": "CAL1"}
SESSION = {"tenant": "acme", "session_id": LEAD}
JOB = {"stage": "transcribe", "tenant": "acme", "job_type": "transcription", "provider": "shunya", "subject": "CAL1", "kind": "call", "attempts": 2,
       "source_time": NOW, "run": 1, "submitted_at": NOW, "created_at": NOW, "updated_at": NOW}
TIMES = {"created_at": NOW, "updated_at": NOW}
ROWS = {
    1: [("ledger", {**LEDGER, "day": "today"}), ("ledger", {**LEDGER, "day": "2999-01-01"}),
        ("emitted", {**EMITTED, "day": "today"}), ("emitted", {**EMITTED, "day": "2999-01-01"}),
        ("asks", {"ask_id": ASK, "stage": "notifier", "event_id": EVENT, "run": 1, "name": "whatsapp", "kind": "once", "provider": "twilio",
                  "tenant": "acme", "correlation_id": "CAL1", "recipient": "+15550100002", "purpose": "lead_alert", "subject": "CAL1",
                  "version": "1", "resend": 0, "content": "Booked", "state": "answered", "attempt": 2, "lease_until": NOW, "answer": "{}",
                  "provider_id": "SM1", "provider_status": "delivered", "error_code": "0", "error": "none", "model": "m", "tokens_in": 1,
                  "tokens_out": 2, "cost_micros": 3, "took_us": 4, **TIMES}),
        ("parked", {"stage": "analyze", "subject": "CAL1", "event_id": EVENT, "run": 1, "topic": "transcripts", "day": "today", "message": "{}",
                    "tenant": "acme", "why": "HTTP status 503", "attempts": 9, "first_at": NOW, "resume_at": "infinity", "parked_at": NOW}),
        ("crashes", {"stage": "analyze", "event_id": EVENT, "run": 0, "count": 2, "updated_at": NOW})],
    2: [("companies", {"tenant": "acme", "name": "Acme", "time_zone": "Asia/Kolkata", "default_region": "IN", "callrail_keys": "key,older",
                       "alert_whatsapp": False, **TIMES}),
        ("tracking_numbers", {"number": "+15550100001", "tenant": "acme", "label": "radio", **TIMES}),
        ("users", {"tenant": "acme", "email": "ana@acme.test", "user_id": "ana", "name": "Ana", "phone": "+15550100002", "role": "rep",
                   "answers": "+15550100003", **TIMES}),
        ("api_tokens", {"token_hash": b"\x01" * 32, "token_id": EVENT, "tenant": "acme", "email": "ana@acme.test", "role": "rep", "label": "hers",
                        "created_at": NOW, "expires_at": "2999-01-01T00:00:00Z", "revoked_at": NOW})],
    3: [("contact_cards", {"tenant": "acme", "contact_id": CONTACT, "phone": "+15550100004", "name": "Bo", **TIMES}),
        ("leads", {"tenant": "acme", "lead_id": LEAD, "contact_id": CONTACT, "status": "hot", "status_call_at": NOW, **TIMES}),
        ("calls", {**CALL, "source": "callrail", "status": "completed", "direction": "inbound", "tracking_number": "+15550100001",
                   "customer_number": "+15550100004", "customer_name": "Bo", "contact_id": CONTACT, "lead_id": LEAD, "csr_user_id": "ana",
                   "answered": True, "voicemail": False, "started_at": NOW, "duration_s": 61, "recording_url": "https://r.test/1", "version": 7,
                   **TIMES}),
        ("call_reports", {**CALL, "event_id": EVENT, "hook": "call.completed", "reported_at": NOW, "facts": '{"answered": true}',
                          "created_at": NOW}),
        ("recordings", {**CALL, "path": "acme/CAL1.wav", "bytes": 44, "sha256": "0" * 64, "format": "wav", "channels": 2, "sample_rate_hz": 8000,
                        "duration_s": 1.5, **TIMES}),
        ("call_transcripts", {**CALL, "provider": "local", "model": "m", "language": "en", "text": "agent: hello", "segments": "[]",
                              "speakers": 2, "words": 2, "duration_s": 1.5, "source_time": NOW, "run": 1, **TIMES}),
        ("call_analyses", {**CALL, "provider": "rules", "model": "m", "prompt_version": "1", "lead_qualification": "hot",
                           "booking_status": "booked", "call_outcome_category": "booked", "sentiment_score": 0.25, "objections": '[{"category": "price", "quote": "too much"}]',
                           "sop_score": 0.5, "sop_missed_steps": '["name"]', "summary": "s", "evidence": "[]", "dropped_without_evidence": 1,
                           "source_time": NOW, "run": 1, **TIMES}),
        ("appointments", {"tenant": "acme", "appointment_id": EVENT, "call_id": "CAL1", "lead_id": LEAD, "assigned_rep_id": "ana",
                          "scheduled_start": NOW, "service_type": "boiler", "location": "here", "status": "confirmed", "outcome": "won",
                          "quote": "ten it is", "source_time": NOW, "run": 1, **TIMES})],
    4: [("instances", {"stage": "analyze", "instance": "elsewhere", "started_at": NOW, "seen_at": "now", "version": "0", "pid": 1, "host": "h",
                       "state": '{"counts": {}}'})],
    5: [("erased", {"subject_sha256": b"\x02" * 32, "until": "now", "erased_at": NOW})],
    6: [("operator_actions", {"at": NOW, "who": "ada", "command": "dlq edit", "what": "CAL1", "detail": '{"letters": 1}'}),
        ("pauses", {"kind": "tenant", "name": "acme", "by": "ada", "why": "they move", "since": NOW}),
        ("letter_actions", {"letter_id": LEAD, "stage": "analyze", "subject": "CAL1", "event_id": EVENT, "action": "edit", "run": 2,
                            "before": "{}", "after": '{"a": 1}', "action_id": 1, "done_at": NOW})],
    7: [("recording_sessions", {**SESSION, "appointment_id": EVENT, "rep_user_id": "ana", "status": "completed", "audio_url": "https://r.test/2",
                                "started_at": NOW, "stopped_at": NOW, **TIMES}),
        ("session_recordings", {**SESSION, "path": "acme/2.wav", "bytes": 44, "sha256": "0" * 64, "format": "wav", "channels": 1,
                                "sample_rate_hz": 8000, "duration_s": 1.5, **TIMES}),
        ("recording_transcripts", {**SESSION, "provider": "local", "model": "m", "language": "en", "text": "agent: hello", "segments": "[]",
                                   "speakers": 1, "words": 2, "duration_s": 1.5, "source_time": NOW, "run": 1, **TIMES}),
        ("recording_analyses", {**SESSION, "provider": "rules", "model": "m", "prompt_version": "1", "outcome": "won", "sentiment_score": 0.5,
                                "objections": "[]", "sop_score": 0.5, "sop_missed_steps": '["name"]', "summary": "s", "evidence": "[]",
                                "dropped_without_evidence": 1, "source_time": NOW, "run": 1, **TIMES})],
    8: [("restores", {"restored_at": NOW, "backup_at": NOW})],
    9: ["UPDATE companies SET callrail_account_id = 'ACC1', callrail_api_key = 'key' WHERE tenant = 'acme'",
        ("reconciliations", {"account": "ACC1", "tenant": "acme", "complete_until": NOW, "walk_began_at": NOW, "page": 2, "records": 300,
                             "next_check_at": "2999-01-01T00:00:00Z", "failures": 1, "why": "HTTP status 500", "asked_at": NOW,
                             "hour_requests": 3, "day_requests": 4, **TIMES})],
    10: [f"UPDATE appointments SET outcome_at = '{NOW}'",
         ("jobs", {**JOB, "job_id": ASK, "provider_job_id": "j1", "status": "completed", "finished_at": NOW, "finished_by": "webhook"}),
         ("jobs", {**JOB, "job_id": EVENT, "provider_job_id": "j2", "status": "failed", "error": "busy", "finished_at": NOW, "finished_by": "sweep"}),
         ("jobs", {**JOB, "job_id": LEAD, "provider_job_id": "j3", "status": "overdue", "next_check_at": "2999-01-01T00:00:00Z"}),
         ("job_results", {"job_id": ASK, "tenant": "acme", "status": "completed", "result": "{}", "created_at": NOW}),
         ("job_results", {"job_id": EVENT, "tenant": "acme", "status": "failed", "error": "busy", "created_at": NOW})],
    11: [f"UPDATE calls SET callback_done_at = '{NOW}', callback_done_by = 'ana'",
         """UPDATE call_analyses SET corrections = '{"summary": {"value": "s", "was": "t", "by": "ana", "at": "2026-02-03T04:05:06Z"}}'""",
         ("api_operations", {"tenant": "acme", "operation_id": EVENT, "token_id": EVENT, "user_id": "ana", "operation": "createAppointment",
                             "subject": LEAD, "fingerprint": "0" * 64, "status": 201, "body": "{}", "requested_at": NOW, "created_at": NOW})],
    12: [("sop_steps", {"tenant": "acme", "number": 1, "step": "greets", "phrases": ["hello", "hi"], **TIMES})],
    16: [f"UPDATE users SET registered_at = '{NOW}'",
         ("clients", {"tenant": "acme", "client_id": LEAD, "email": "bo@client.example", "name": "Bo", "company": "Lee & Sons",
                      "phone": "+15550100009", "hubspot_contact_id": "77", **TIMES}),
         ("user_phones", {"tenant": "acme", "phone": "+15550100010", "email": "ana@acme.test", "last_received_at": NOW, "stopped_at": NOW, **TIMES}),
         ("meetings", {"tenant": "acme", "meeting_id": ASK, "outlook_event_id": "AAMk1", "salesperson_email": "ana@acme.test",
                       "salesperson_phone": "+15550100010", "client_id": LEAD, "title": "Roof", "description": "a new one", "start_time": NOW,
                       "end_time": NOW, "revision": 2, "plan_version": 3, "planned_at": NOW, "status": "completed", "last_client_reply": "sold",
                       "plan_state": "sent", "plan_sent_version": 3, "next_check_at": "2999-01-01T00:00:00Z", "source_time": NOW, **TIMES}),
         ("meeting_clients", {"tenant": "acme", "meeting_id": ASK, "client_id": LEAD, "number": 1, "created_at": NOW}),
         ("meeting_plans", {"tenant": "acme", "meeting_id": ASK, "plan_version": 3, "summary": "s", "steps": '["a", "b", "c"]', "language": "en",
                            "provider": "openai", "model": "m", "prompt_version": "1", "source_time": NOW, "run": 1, **TIMES}),
         ("messages", {"tenant": "acme", "message_id": "SM1", "email": "ana@acme.test", "phone": "+15550100010", "client_id": LEAD, "meeting_id": ASK,
                       "direction": "incoming", "purpose": "text", "message": "done, sold", "timestamp": NOW, "created_at": NOW}),
         ("chat_answers", {"tenant": "acme", "message_id": "SM1", "email": "ana@acme.test", "act": "complete", "meeting_id": ASK, "mode": "advice",
                           "language": "en", "waiting": "sold", "choices": [uuid.UUID(ASK)], "provider": "openai", "model": "m", "prompt_version": "1",
                           "source_time": NOW, "run": 1, **TIMES}),
         ("meeting_notes", {"tenant": "acme", "meeting_id": ASK, "revision": 2, "outcome": "sold", "state": "waiting", "hubspot_contact_id": "77",
                            "hubspot_note_id": "88", "error": "HTTP status 503", "version": 2, "source_time": NOW, **TIMES}),
         ("graph_subscriptions", {"mailbox": "coach@acme.example", "tenant": "acme", "subscription_id": "s1", "made": 2, "state_sha256": "0" * 64,
                                  "expires_at": NOW, "renew_at": NOW, "delta_link": "https://graph.microsoft.com/v1.0/d", "window_at": NOW,
                                  "missed_at": NOW, "failures": 1, "error": "HTTP status 503", "next_check_at": "2999-01-01T00:00:00Z", **TIMES})],
    18: ["UPDATE companies SET recordings_days = 90", f"UPDATE recordings SET removed_at = '{NOW}'", f"UPDATE session_recordings SET removed_at = '{NOW}'"],
    20: [f"UPDATE meeting_notes SET next_check_at = '{NOW}'"],
    21: [f"UPDATE recordings SET recorded_at = '{NOW}'", f"UPDATE session_recordings SET recorded_at = '{NOW}'"],
}


def insert(connection, table, row):
    columns = ", ".join(f'"{name}"' for name in row)
    connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({', '.join(['%s'] * len(row))})", list(row.values()))


def content(connection, columns):
    """The rows of each table, by the columns it had then."""
    quoted = {table: ", ".join(f'"{name}"' for name in names) for table, names in columns.items()}
    return {table: sorted(row for row, in connection.execute(f"SELECT ROW({names})::text FROM {table}")) for table, names in quoted.items()}


@pytest.fixture
def filled(environment):
    """Gives the address of a new database of that version, filled, and its tables with their columns."""
    made = []

    def make(version):
        name = f"upgrade_{version}_{uuid.uuid4().hex[:8]}"
        with environment.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        made.append(name)
        url = environment.database_url.rsplit("/", 1)[0] + "/" + name
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(MAKE_NOTES)
            for path in MIGRATIONS[:version]:
                number, _, title = path.stem.partition("_")
                connection.execute(path.read_text())
                connection.execute(NOTE, (int(number), title, hashlib.sha256(path.read_bytes()).hexdigest()))
            for number in range(1, version + 1):
                for row in ROWS.get(number, []):
                    connection.execute(row) if isinstance(row, str) else insert(connection, *row)
        return url

    yield make
    with environment.connect() as connection:
        for name in made:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


class At:
    """The session's Kafka, and a database of one's own."""

    def __init__(self, environment, url):
        self.brokers, self.database_url = environment.brokers, url


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_all_data_is_kept_from_every_older_version(environment, topics, filled, tmp_path, version):
    url = filled(version)
    with psycopg.connect(url, autocommit=True) as connection:
        columns, empty = {}, []
        for table, column in connection.execute(COLUMNS).fetchall():
            columns.setdefault(table, []).append(column)
            if not connection.execute(f'SELECT 1 FROM {table} WHERE "{column}" IS NOT NULL').fetchone():
                empty.append(f"{table}.{column}")
        assert not empty, "every column of the older version holds something"
        before = content(connection, columns)
        stage = Daemon("notifier", At(environment, url), tmp_path)
        wait_until(lambda: connection.execute("SELECT max(number) FROM schema_migrations").fetchone()[0] == len(MIGRATIONS), "the migrations")
        stage.ready()
        after = content(connection, columns)
        assert stage.stop() == 0, stage.log()[-3000:]
    for table, rows in before.items():
        assert [row for row in rows if row not in after[table]] == [], f"what {table} held is there, as it was"


def test_a_note_that_waited_for_the_crm_waits_on_and_not_for_ever(environment, topics, filled, tmp_path):
    url = filled(19)
    with psycopg.connect(url, autocommit=True) as connection:
        stage = Daemon("ingest", At(environment, url), tmp_path)
        wait_until(lambda: connection.execute("SELECT max(number) FROM schema_migrations").fetchone()[0] == len(MIGRATIONS), "the migrations")
        note = "SELECT state, next_check_at > now(), next_check_at <= now() + interval '1 hour' FROM meeting_notes"
        assert connection.execute(note).fetchall() == [("waiting", True, True)]
        assert stage.stop() == 0, stage.log()[-3000:]


def test_a_database_that_is_newer_is_left_alone(environment, topics, filled, tmp_path):
    url = filled(len(MIGRATIONS))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(NOTE, (len(MIGRATIONS) + 1, "tomorrow", "0" * 64))
        stage = Daemon("notifier", At(environment, url), tmp_path)
        wait_until(lambda: "it is newer than this program" in stage.log(), "the word that the program is too old")
        stage.kill()
        assert connection.execute("SELECT count(*) FROM calls").fetchone()[0] == 1
