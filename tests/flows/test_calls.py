"""A recorded call goes from its webhooks to the rep's WhatsApp: the real daemons, Kafka, Postgres, and the provider
sandbox.  What bad input does to it stands in test_bad_input.py."""

import hashlib
import itertools
import json
import uuid
from datetime import datetime

import pytest
import requests
from call_pipeline import ADMIN, BOOKED, COLD, HOOKS, HOT, STARTED, VOICEMAIL, Company, a_number
from call_pipeline import pipeline, process, started  # noqa: F401 (fixtures)
from environment import ROOT, wait_until

AUDIO = ROOT.parent / "shared" / "audio"


def without(row, *names):
    return {name: value for name, value in row.items() if name not in (*names, "created_at", "updated_at")}


# --- the whole way


def test_a_booked_call_reaches_the_rep_once(pipeline):
    company = pipeline.company()
    call_id = pipeline.call(company, BOOKED, caller_number="+12025550147", caller_name="Bo Lee")
    delivery = pipeline.delivery(call_id, "read")
    call, appointment = pipeline.row("calls", call_id), pipeline.row("appointments", call_id)
    assert (call["tenant"], call["status"], call["customer_number"]) == (company.tenant, "completed", "+12025550147")
    assert [line.split(": ")[0] for line in pipeline.row("call_transcripts", call_id)["text"].splitlines()] == \
        [speaker for speaker, _ in BOOKED]
    analysis = pipeline.row("call_analyses", call_id)
    assert (analysis["lead_qualification"], analysis["booking_status"]) == ("hot", "booked")
    assert (appointment["assigned_rep_id"], appointment["lead_id"]) == (company.tenant + "-ana", call["lead_id"])
    assert appointment["scheduled_start"].isoformat() == "2026-11-23T15:00:00+00:00", "Monday at ten in New York"
    assert appointment["quote"] == BOOKED[-1][1]
    recording = pipeline.row("recordings", call_id)
    copy = (pipeline.folder / "recordings" / recording["path"]).read_bytes()
    assert hashlib.sha256(copy).hexdigest() == recording["sha256"]
    message, = pipeline.messages(company.rep)
    assert "Booked: water heater, Monday 23.11. 10:00, Bo Lee +12025550147" in message["body"]
    assert (delivery["provider_id"], delivery["attempt"]) == (message["sid"], 1)
    shown = pipeline.shown_by_the_api(company, call_id)
    assert (shown["status"], shown["analysis"]["booking_status"]) == ("completed", "booked")
    assert "You are booked" in shown["transcript"]["text"]


def test_one_id_greps_the_whole_life_of_a_call(pipeline):
    call_id = pipeline.call(pipeline.company(), BOOKED)
    pipeline.delivery(call_id, "read")
    wait_until(lambda: "delivery.changed" in pipeline.types(call_id), "the last event being read")
    events = {event["id"]: event for event in pipeline.events(call_id)}
    for event in events.values():
        cause = events.get(event.get("causationid"))
        assert (cause is None) == (event["type"] == "callrail.call.received"), event
        assert cause is None or event["traceparent"].split("-")[1] == cause["traceparent"].split("-")[1]
    assert pipeline.types(call_id) == sorted(
        ["callrail.call.received"] * 3 + ["call.progressed"] * 3 + ["call.recorded", "call.transcribed", "call.analyzed",
                                                                     "delivery.changed"])


ORDERS = list(itertools.permutations(HOOKS))
COUNTED = {"reports": "SELECT count(*) FROM call_reports WHERE call_id = %s",
           "contacts": "SELECT count(*) FROM contact_cards JOIN calls USING (tenant, contact_id) WHERE call_id = %s",
           "leads": "SELECT count(*) FROM leads JOIN calls USING (tenant, contact_id) WHERE call_id = %s",
           "messages": "SELECT count(*) FROM deliveries WHERE subject = %s"}


def what_there_is(pipeline, call_id):
    """All rows of a call, but what is each call's own."""
    own = ["call_id", "customer_number", "contact_id", "lead_id", "version", "recording_url", "path", "appointment_id",
           "source_time"]
    rows = {table: [without(row, *own) for row in pipeline.rows(table, call_id)]
            for table in ["calls", "recordings", "call_transcripts", "call_analyses", "appointments"]}
    counts = {name: pipeline.database.execute(query, [call_id]).fetchone()["count"] for name, query in COUNTED.items()}
    return {**rows, **counts, "emitted": pipeline.emitted(call_id)}


@pytest.mark.parametrize("spelling", ["callrail", "plain"])
@pytest.mark.parametrize("format", ["json", "form"])
def test_in_whatever_order_the_webhooks_come_the_rows_are_the_same(pipeline, spelling, format):
    company = pipeline.company()
    arrivals = [HOOKS, *[order + order for order in ORDERS], *[order[:2] * 2 + order[2:] * 2 for order in ORDERS]]
    calls = [pipeline.call(company, BOOKED, hooks, webhooks={"spelling": spelling, "format": format}) for hooks in arrivals]
    for call_id in calls:
        pipeline.delivery(call_id, "read")
    expected = what_there_is(pipeline, calls[0])
    assert expected["calls"][0]["started_at"].isoformat() == STARTED
    assert {name: expected[name] for name in COUNTED} == {"reports": 3, "contacts": 1, "leads": 1, "messages": 1}
    assert expected["emitted"].count("call.recorded") == 1
    for call_id, hooks in zip(calls, arrivals):
        assert what_there_is(pipeline, call_id) == expected, hooks
    assert len(pipeline.messages(company.rep)) == len(calls)


def told_of(pipeline, company, call_id, hook, lines=None, **call):
    """One webhook of a call, and that it was handled."""
    before = len(pipeline.rows("call_reports", call_id))
    pipeline.call(company, lines, [hook], call_id=call_id, **call)
    wait_until(lambda: len(pipeline.rows("call_reports", call_id)) > before, f"{hook} of {call_id}")


@pytest.mark.parametrize("order", ORDERS)
def test_a_contact_has_the_name_that_its_first_call_ends_with(pipeline, order):
    """Networks tell another name than CallRail finds; and a call that is told of late may be the first."""
    company, customer = pipeline.company(), a_number()
    names = {"call.incoming": "WIRELESS CALLER", "call.answered": None, "call.completed": "Bo Lee"}
    later, first = ("CAL" + uuid.uuid4().hex for _ in range(2))
    else_later = {"caller_number": customer, "caller_name": "Somebody Else", "started_at": "2026-11-20T16:00:00+00:00"}
    told_of(pipeline, company, later, "call.completed", **else_later)
    for hook in order:
        told_of(pipeline, company, first, hook, caller_number=customer, caller_name=names[hook])
    told_of(pipeline, company, later, "call.answered", **else_later)
    contacts = pipeline.database.execute("SELECT name FROM contact_cards WHERE tenant = %s", [company.tenant]).fetchall()
    assert [contact["name"] for contact in contacts] == ["Bo Lee"]


def who_called(pipeline, company, call_id):
    """All contacts and leads of a company, and the call's and its appointment's own."""
    of = lambda query: pipeline.database.execute(query, [company.tenant]).fetchall()  # noqa: E731
    contacts, leads = of("SELECT contact_id, phone, name FROM contact_cards WHERE tenant = %s"), of("SELECT * FROM leads WHERE tenant = %s")
    call, appointments = pipeline.row("calls", call_id), pipeline.rows("appointments", call_id)
    assert call["contact_id"] in [None, *(contact["contact_id"] for contact in contacts)]
    return {"contacts": sorted((contact["phone"], contact["name"]) for contact in contacts),
            "leads": sorted((lead["lead_id"] == call["lead_id"], lead["status"]) for lead in leads),
            "number": call["customer_number"], "appointments": [one["lead_id"] == call["lead_id"] for one in appointments]}


@pytest.mark.parametrize("order", ORDERS)
def test_a_number_that_is_told_otherwise_moves_the_call_to_the_other_contact(pipeline, order):
    """What is told last of a call's end counts; of who was told before there is no trace."""
    company, line, customer = pipeline.company(), a_number(), a_number()
    callers = {"call.incoming": {"caller_number": line, "caller_name": "A Switch"}, "call.answered": {"caller_number": customer},
               "call.completed": {"caller_number": None, "caller_name": None}}      # so that the call is understood in between
    call_id = "CAL" + uuid.uuid4().hex
    for hook in order:
        told_of(pipeline, company, call_id, hook, BOOKED, **callers[hook])
        if hook == "call.completed":
            pipeline.delivery(call_id, "read")
    wait_until(lambda: pipeline.row("calls", call_id)["customer_number"] == customer, "the number that counts")
    found = who_called(pipeline, company, call_id)
    status = found["leads"][0][1]
    assert status in ("hot", "warm", "cold") and found == {"contacts": [(customer, found["contacts"][0][1])], "leads": [(True, status)],
                                                            "number": customer, "appointments": [True]}


def test_a_number_that_moves_leaves_others_what_is_theirs(pipeline):
    """Its contact has a call of its own, with a name and a status."""
    company, line, customer = pipeline.company(), a_number(), a_number()
    cold = pipeline.call(company, COLD, caller_number=line, caller_name="Ann Own", started_at="2026-11-19T16:00:00+00:00")
    pipeline.row("call_analyses", cold)
    moved = pipeline.call(company, HOT, ["call.incoming"], caller_number=line, caller_name="Bo Moved", started_at="2026-11-18T16:00:00+00:00")
    names = lambda: sorted(contact["name"] for contact in pipeline.database.execute(  # noqa: E731
        "SELECT name FROM contact_cards WHERE tenant = %s", [company.tenant]).fetchall())
    wait_until(lambda: names() == ["Bo Moved"], "the name of the earlier call")
    pipeline.call(company, HOT, ["call.completed"], call_id=moved, caller_number=customer, caller_name="Bo Moved",
                  started_at="2026-11-18T16:00:00+00:00")
    pipeline.row("call_analyses", moved)
    wait_until(lambda: names() == ["Ann Own", "Bo Moved"], "each having its own name again")
    of_lead = "SELECT l.status FROM leads l JOIN calls USING (tenant, lead_id) WHERE call_id = %s"
    leads = lambda: [pipeline.database.execute(of_lead, [call_id]).fetchone() for call_id in (cold, moved)]  # noqa: E731
    assert leads() == [{"status": "cold"}, {"status": "hot"}]


@pytest.mark.parametrize("order", [HOOKS, HOOKS[::-1]])
def test_a_number_that_is_withheld_in_the_end_is_nobodys(pipeline, order):
    company, call_id = pipeline.company(), "CAL" + uuid.uuid4().hex
    numbers = {"call.incoming": a_number(), "call.answered": None, "call.completed": "anonymous"}
    for hook in order:
        pipeline.call(company, COLD, [hook], call_id=call_id, caller_number=numbers[hook])
    pipeline.row("call_analyses", call_id)
    wait_until(lambda: len(pipeline.rows("call_reports", call_id)) == 3, "all webhooks being kept")
    assert who_called(pipeline, company, call_id) == {"contacts": [], "leads": [], "number": None, "appointments": []}


def test_when_a_call_was_may_be_told_after_its_end(pipeline):
    """What was written down of its time meanwhile is mended: how old the recording is, and the lead's status."""
    company, customer = pipeline.company(), a_number()
    plain = {"spelling": "plain"}                   # a webhook has its own time alone
    call_id = pipeline.call(company, HOT, ["call.completed"], caller_number=customer, webhooks=plain)
    pipeline.row("call_analyses", call_id)
    ended = pipeline.row("calls", call_id)["call_at"]
    pipeline.call(company, hooks=["call.incoming"], call_id=call_id, caller_number=customer, webhooks=plain)
    began = wait_until(lambda: (at := pipeline.row("calls", call_id)["call_at"]) != ended and at, "the start being known")
    lead, = pipeline.database.execute("SELECT * FROM leads WHERE tenant = %s", [company.tenant]).fetchall()
    assert began < ended and pipeline.row("recordings", call_id)["recorded_at"] == began == lead["status_call_at"]


@pytest.mark.parametrize("order", list(itertools.permutations(["rings", "ends", "other"])))
def test_a_lead_has_the_status_of_its_latest_call_when_that_is_known_last(pipeline, order):
    """While one call goes on the customer makes another: which was first is known when both are told whole."""
    company, customer, hot, cold = pipeline.company(), a_number(), "CAL" + uuid.uuid4().hex, "CAL" + uuid.uuid4().hex
    plain = lambda at: {"caller_number": customer, "webhooks": {"spelling": "plain"}, "duration": 0, "extra": {"timestamp": at}}  # noqa: E731
    happens = {"rings": (hot, "call.incoming", None, "2026-11-20T16:00:00Z"), "ends": (hot, "call.completed", HOT, "2026-11-20T16:10:00Z"),
               "other": (cold, "call.completed", COLD, "2026-11-20T16:05:00Z")}
    for what in order:
        call_id, hook, lines, at = happens[what]
        told_of(pipeline, company, call_id, hook, lines, **plain(at))
        if lines:
            pipeline.row("call_analyses", call_id)
    lead, = pipeline.database.execute("SELECT * FROM leads WHERE tenant = %s", [company.tenant]).fetchall()
    assert (lead["status"], lead["status_call_at"]) == ("cold", pipeline.row("calls", cold)["call_at"])


@pytest.mark.parametrize("late", ["its start", "its number"])
def test_a_contact_has_the_name_of_its_first_call_when_that_is_known_last(pipeline, late):
    """What decides is told by the webhook that comes last, and has no name itself."""
    company, customer, call_id, other = pipeline.company(), a_number(), "CAL" + uuid.uuid4().hex, "CAL" + uuid.uuid4().hex
    elsewhere = a_number() if late == "its number" else company.number
    name = lambda: pipeline.database.execute(  # noqa: E731
        "SELECT name FROM contact_cards WHERE tenant = %s AND phone = %s", [company.tenant, customer]).fetchone()

    def named(call_id, hook, name, number=company.number, **extra):
        told_of(pipeline, company, call_id, hook, caller_number=customer, caller_name=name, duration=0, tracking_number=number,
                webhooks={"spelling": "plain"}, extra={"timestamp": "2026-11-20T16:00:00Z", "customer_name": name, **extra})

    named(call_id, "call.answered", "Ann", elsewhere)
    named(other, "call.completed", "Bo", timestamp="2026-11-20T16:05:00Z")
    wait_until(lambda: name() == {"name": "Bo" if late == "its number" else "Ann"}, "the name of the call that seems the first")
    named(call_id, "call.completed", None, start_time="2026-11-20T16:08:00Z" if late == "its start" else None)
    wait_until(lambda: name() == {"name": "Ann" if late == "its number" else "Bo"}, "the name of the first call")


def test_recordings_on_a_host_that_is_not_there_hold_up_no_other_call(pipeline):
    """As many, of as many calls, as would open a provider's circuit."""
    company = pipeline.company()
    lost = [pipeline.call(company, recording_url=f"https://nowhere.invalid/{number}.wav", hooks=["call.completed"]) for number in range(12)]
    tried = lambda: pipeline.daemons["transcribe"].log().count("Could not resolve host: nowhere.invalid")  # noqa: E731
    wait_until(lambda: tried() >= len(lost), "each being tried")
    pipeline.delivery(pipeline.call(company, BOOKED), "read")
    assert not any(pipeline.rows("call_transcripts", call_id) for call_id in lost)
    assert pipeline.daemons["transcribe"].metric("circuit_open", provider="recordings") == 0


def test_the_same_customer_calls_again(pipeline):
    company, customer = pipeline.company(), a_number()
    first = pipeline.call(company, HOT, caller_number=customer)
    pipeline.row("call_analyses", first)
    second = pipeline.call(company, COLD, caller_number=customer, started_at="2026-11-20T16:00:00+00:00")
    pipeline.row("call_analyses", second)
    leads = pipeline.database.execute("SELECT * FROM leads WHERE tenant = %s", [company.tenant]).fetchall()
    assert [lead["status"] for lead in leads] == ["cold"], "one open lead, and its latest call decides"
    assert {pipeline.row("calls", call_id)["lead_id"] for call_id in (first, second)} == {leads[0]["lead_id"]}


# --- who is asked, and who is told


def test_a_missed_call_is_counted_and_nobody_is_asked(pipeline):
    call_id = pipeline.call(pipeline.company(), hooks=["call.incoming", "call.completed"], answered=False, duration=0)
    wait_until(lambda: len(pipeline.rows("call_reports", call_id)) == 2, "both webhooks")
    call = pipeline.row("calls", call_id)
    assert (call["status"], call["answered"]) == ("missed", False) and call["lead_id"]
    assert pipeline.emitted(call_id) == ["call.progressed"] * 2, "nothing to transcribe"
    assert not pipeline.asked("openai") and not pipeline.asked("files") and not pipeline.asked("twilio")


def test_a_voicemail_is_transcribed_and_the_call_stays_missed(pipeline):
    hooks = ["call.incoming", "call.completed"]
    call_id = pipeline.call(pipeline.company(), VOICEMAIL, hooks, channels=1, answered=False, voicemail=True)
    analysis = pipeline.row("call_analyses", call_id)
    assert pipeline.row("calls", call_id)["status"] == "missed"
    assert (analysis["call_outcome_category"], analysis["booking_status"], analysis["sop_score"]) == \
        ("voicemail", "not_booked", None)
    assert "my pipe is leaking" in pipeline.row("call_transcripts", call_id)["text"]
    assert not pipeline.rows("appointments", call_id)


def test_a_call_to_a_number_of_nobody_is_kept_as_unassigned(pipeline):
    nobody = Company.__new__(Company)
    nobody.number = a_number()
    call_id = pipeline.call(nobody, BOOKED)
    settled = pipeline.settled("notifier", call_id, "call.analyzed")
    assert (settled["outcome"], settled["why"]) == ("skipped", "the company has alerts switched off")
    for table in ["calls", "recordings", "call_transcripts", "call_analyses", "appointments"]:
        assert pipeline.row(table, call_id)["tenant"] == "unassigned"


def test_a_companys_key_reaches_no_call_of_another(pipeline):
    """Nor on the fixed paths, where the key alone tells whose it is: not by the call's id, and not with a number of its own beside it."""
    company, call_id = pipeline.company(callrail_keys="the-key-of-this-company"), pipeline.call(pipeline.company(), BOOKED)
    pipeline.settled("notifier", call_id, "call.analyzed")
    call = pipeline.row("calls", call_id)
    meddling = {"call": {"call_id": call_id, "caller_number": a_number(), "tracking_number": company.number, "answered": False, "duration": 1},
                "webhooks": {"target": pipeline.ingest.url + "/api/v1/callrail", "hooks": ["call.completed"], "signing_key": "the-key-of-this-company"}}

    def is_known():
        answer, = pipeline.sandbox.control("POST", "/calls", json=meddling)["webhooks"]
        return answer["status"] == 200
    wait_until(is_known, "the company's key being known")
    assert pipeline.dead_letter("ingest", call_id)["reason"] == f'the key of company "{company.tenant}" speaks for a call of another company'
    assert pipeline.row("calls", call_id) == call and len(pipeline.rows("call_reports", call_id)) == len(HOOKS)


@pytest.mark.parametrize("lines,columns,told,why", [
    (BOOKED, {}, "rep", None),
    (HOT, {}, "admin", None),
    (COLD, {}, None, "neither booked nor hot"),
    (BOOKED, {"alert_whatsapp": False}, None, "the company has alerts switched off"),
    (HOT, {"alert_whatsapp": False}, None, "the company has alerts switched off"),
], ids=["booked, the rep was named", "hot, nobody was named", "cold", "booked, switched off", "hot, switched off"])
def test_who_is_told(pipeline, lines, columns, told, why):
    company = pipeline.company(**columns)
    call_id = pipeline.call(company, lines)
    settled = pipeline.settled("notifier", call_id, "call.analyzed")
    assert (settled["outcome"], settled["why"]) == (("skipped", why) if why else ("done", None))
    customer = pipeline.row("calls", call_id)["customer_number"]
    for who, number in {"rep": company.rep, "admin": ADMIN}.items():
        bodies = [message["body"] for message in pipeline.messages(number)]
        assert len(bodies) == (1 if who == told else 0) and all(customer in body for body in bodies)


# --- Twilio, on its bad days: one message, and its right status


ACTED = {"when": "after"}
SILENT = {"what": "no_webhook", "count": 4}
#   what the sandbox is told, how often it is asked to send, the delivery's status in the end
BAD_DAYS = {
    "too many requests": ([{"what": "status", "status": 429, "headers": {"Retry-After": "1"}}], 2, "read"),
    "not there": ([{"what": "cut"}], 2, "read"),
    "it fails": ([{"what": "status", "status": 503}], 2, "read"),
    "it fails, and had acted": ([{"what": "status", "status": 503, **ACTED}], 1, "read"),
    "it acts, then stalls": ([{"what": "stall", "seconds": 3, **ACTED}], 1, "read"),
    "it acts, then cuts": ([{"what": "cut", **ACTED}], 1, "read"),
    "it cuts its answer": ([{"what": "cut", "bytes": 40, **ACTED}], 1, "read"),
    "its answer drips": ([{"what": "slow", "bytes_per_s": 50}], 1, "read"),
    "its answer is no JSON": ([{"what": "malformed_json"}], 1, "read"),
    "its answer is half": ([{"what": "truncated_json"}], 1, "read"),
    "its answer is empty": ([{"what": "empty"}], 1, "read"),
    "callbacks before the answer": ([{"what": "stall", "seconds": 0.7, **ACTED}], 1, "read"),
    "callbacks backwards": ([{"what": "reorder_webhooks"}], 1, "read"),
    "callbacks three times": ([{"what": "duplicate_webhook", "copies": 3, "count": 4}], 1, "read"),
    "a callback that is not Twilio's": ([{"what": "wrong_signature", "path": "delivered"}], 1, "read"),
    "callbacks never": ([SILENT], 1, "queued"),
    "it cannot be delivered": ([{"what": "fail_message", "error_code": 63024}], 1, "undelivered"),
    "it fails later": ([{"what": "fail_message", "message_status": "failed"}], 1, "failed"),
}
OF_THE_REQUEST = {"status", "cut", "stall", "slow", "malformed_json", "truncated_json", "empty"}


def told(pipeline, *rules):
    for rule in rules:
        method = {"method": "POST"} if rule["what"] in OF_THE_REQUEST else {}
        pipeline.sandbox.fault(provider="twilio", **method, **rule)


@pytest.mark.parametrize("day", BAD_DAYS)
def test_a_bad_day_of_twilio_ends_in_one_message(pipeline, day):
    rules, sends, status = BAD_DAYS[day]
    told(pipeline, *rules)
    company = pipeline.company()
    call_id = pipeline.call(company, BOOKED)
    assert pipeline.settled("notifier", call_id, "call.analyzed")["outcome"] == "done"
    delivery = pipeline.delivery(call_id, status)
    message, = pipeline.messages(company.rep)
    assert delivery["provider_id"] == message["sid"]
    assert delivery["error_code"] == (str(message["error_code"]) if message["error_code"] else None)
    assert len(pipeline.asked("twilio", method="POST")) == sends


@pytest.mark.parametrize("rules,sends", [
    ([{"what": "cut"}], 2),
    ([{"what": "cut", **ACTED}], 1),
    ([{"what": "status", "status": 500, **ACTED}], 1),
    ([{"what": "stall", "seconds": 3, **ACTED}], 1),
], ids=["not acted", "acted and cut", "acted and failed", "acted and stalled"])
def test_without_callbacks_twilio_is_asked_what_it_has(pipeline, rules, sends):
    told(pipeline, SILENT, *rules)
    company = pipeline.company()
    call_id = pipeline.call(company, BOOKED)
    assert pipeline.settled("notifier", call_id, "call.analyzed")["outcome"] == "done"
    message, = pipeline.messages(company.rep)
    assert pipeline.delivery(call_id)["provider_id"] == message["sid"]
    assert len(pipeline.asked("twilio", method="POST")) == sends and pipeline.asked("twilio", method="GET")


@pytest.fixture
def gate(pipeline):
    """Holds up the notifier where it reads what is known of a message: the statement sees what was there when it began."""
    pipeline.database.execute("""
        CREATE FUNCTION gate() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
            IF current_query() LIKE '%YYYY-MM-DD%' THEN PERFORM pg_advisory_xact_lock_shared(42); END IF;
            RETURN true;
        END $$;
        CREATE POLICY gate ON asks AS RESTRICTIVE USING (gate());
        SELECT pg_advisory_lock(42)""")
    yield lambda: pipeline.database.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted").fetchone()
    pipeline.database.execute("SELECT pg_advisory_unlock_all(); DROP POLICY gate ON asks; DROP FUNCTION gate")


def test_a_report_that_comes_while_twilio_is_asked_makes_no_second_message(pipeline, gate):
    told(pipeline, SILENT, {"what": "cut", **ACTED})
    company = pipeline.company()
    call_id = pipeline.call(company, BOOKED)
    wait_until(gate, "the notifier looking for the message")
    message, = pipeline.messages(company.rep)
    pipeline.database.execute("UPDATE asks SET provider_id = %s, provider_status = 'read', state = 'answered', answer = 'read'"
                              " WHERE subject = %s AND kind = 'once' AND stage = 'notifier'", (message["sid"], call_id))
    pipeline.database.execute("SELECT pg_advisory_unlock(42)")
    assert pipeline.settled("notifier", call_id, "call.analyzed")["outcome"] == "done"
    assert len(pipeline.messages(company.rep)) == len(pipeline.asked("twilio", method="POST")) == 1


def test_how_long_twilio_asks_us_to_wait_we_wait(pipeline):
    pipeline.sandbox.fault(provider="twilio", method="POST", what="status", status=429, headers={"Retry-After": "2"})
    pipeline.delivery(pipeline.call(pipeline.company(), BOOKED), "read")
    refused, sent = (datetime.fromisoformat(request["at"]) for request in pipeline.asked("twilio", method="POST"))
    assert 2 <= (sent - refused).total_seconds() < 10


def test_news_that_comes_late_is_noted_as_such(pipeline):
    pipeline.sandbox.fault(provider="twilio", what="reorder_webhooks")
    company = pipeline.company()
    call_id = pipeline.call(company, BOOKED)
    pipeline.delivery(call_id, "read")
    query = "SELECT outcome, why FROM ledger WHERE stage = 'notifier' AND event_type = 'message.reported' AND subject = %s"
    notes = wait_until(lambda: len(found := pipeline.database.execute(query, ["whatsapp:" + company.rep]).fetchall()) == 4
                       and found, "the four callbacks being settled")
    assert sorted((note["outcome"], note["why"]) for note in notes) == \
        [("done", None)] + [("skipped", f'"{status}" is no news after "read"') for status in ("delivered", "queued", "sent")]


def test_what_twilio_refuses_because_of_us_is_a_dead_letter_with_its_reason(pipeline):
    pipeline.sandbox.fault(provider="twilio", method="POST", what="status", status=400,
                           body={"code": 21655, "message": "The ContentSid is invalid.", "status": 400})
    call_id = pipeline.call(pipeline.company(), BOOKED)
    assert "The ContentSid is invalid." in pipeline.dead_letter("notifier", call_id)["reason"]
    delivery = pipeline.delivery(call_id)
    assert delivery["status"] == "refused" and delivery["error_code"] == "21655"


def test_a_number_that_is_none_is_told_in_deliveries(pipeline):
    pipeline.sandbox.fault(provider="twilio", method="POST", what="status", status=400,
                           body={"code": 21211, "message": "The 'To' number is not valid.", "status": 400})
    call_id = pipeline.call(pipeline.company(), BOOKED)
    delivery = pipeline.delivery(call_id, "failed")
    assert delivery["error_code"] == "21211" and "The 'To' number is not valid." in delivery["error"]
    assert pipeline.settled("notifier", call_id, "call.analyzed")["outcome"] == "done"


def test_refused_credentials_hold_all_messages_up_and_are_told(pipeline):
    rule = pipeline.sandbox.fault(provider="twilio", method="POST", what="status", status=401, count=None)["faults"][0]
    company = pipeline.company()
    calls = [pipeline.call(company, BOOKED) for _ in range(3)]
    ready = wait_until(lambda: (answer := requests.get(pipeline.notifier.url + "/ready", timeout=5)).status_code == 503
                       and answer.text, "the notifier saying that it cannot work")
    assert "twilio" in ready and "credentials" in ready
    pipeline.sandbox.control("DELETE", f"/faults/{rule['id']}")
    for call_id in calls:
        pipeline.delivery(call_id, "read")
    assert len(pipeline.messages(company.rep)) == 3
    assert requests.get(pipeline.notifier.url + "/ready", timeout=5).status_code == 200


# --- who listens and who reads


PATHS = {"gemini": ":generateContent", "openai": "/chat/completions"}


def question_of(provider, request):
    body = request["body"]
    if provider == "gemini":
        return body["generationConfig"]["responseJsonSchema"], body["systemInstruction"]["parts"][0]["text"]
    return body["response_format"]["json_schema"]["schema"], body["messages"][0]["content"]


def test_gemini_and_openai_are_asked_the_same_and_make_the_same_rows(pipeline):
    questions, rows = [], []
    for provider, model in {"gemini": "gemini-2.5-flash", "openai": "gpt-4o-mini"}.items():
        pipeline.use("analyze", LLM_PROVIDER=provider)
        company = pipeline.company()
        call_id = pipeline.call(company, BOOKED)
        pipeline.delivery(call_id, "read")
        request, = pipeline.asked(provider, path=PATHS[provider])
        questions.append(question_of(provider, request))
        analysis = pipeline.row("call_analyses", call_id)
        assert (analysis["provider"], analysis["model"], analysis["prompt_version"]) == (provider, model, "call_analysis.v1")
        names = ["tenant", "call_id", "appointment_id", "lead_id", "assigned_rep_id", "provider", "model", "source_time"]
        rows.append([without(row, *names) for row in (analysis, pipeline.row("appointments", call_id))])
        call, = pipeline.database.execute("SELECT * FROM llm_calls WHERE event_id = %s", [
            pipeline.settled("analyze", call_id, "call.transcribed")["event_id"]]).fetchall()
        assert (call["name"], call["provider"], call["model"], call["state"]) == ("llm", provider, model, "answered")
        assert call["tenant"] == company.tenant and call["tokens_in"] > 100 and call["tokens_out"] > 20 and call["took_us"] > 0
    assert questions[0] == questions[1] and rows[0] == rows[1]
    assert rows[0][0]["booking_status"] == "booked" and rows[0][1]["location"] == "twenty five oak street"
    written = json.loads((ROOT / "schemas" / "answers" / "call_analysis.json").read_text())
    assert questions[0][0]["required"] == written["required"] == list(questions[0][0]["properties"])


def test_a_replay_with_another_model_says_who_gave_the_recorded_answer(pipeline):
    pipeline.use("analyze", LLM_PROVIDER="openai")
    call_id = pipeline.call(pipeline.company(), BOOKED)
    before = pipeline.row("call_analyses", call_id)
    pipeline.use("analyze", LLM_PROVIDER="gemini")
    transcribed, = pipeline.topics.wait("transcripts", call_id)
    pipeline.topics.send("replay.analyze", call_id, {**transcribed, "run": 1})
    again, = wait_until(lambda: (rows := pipeline.rows("call_analyses", call_id))[0]["run"] == 1 and rows, "the replay")
    assert not pipeline.asked("gemini") and again == {**before, "run": 1, "updated_at": again["updated_at"]}


def test_models_that_count_tokens_listen_too(pipeline):
    pipeline.use("transcribe", OPENAI_TRANSCRIBE_MODEL="gpt-4o-transcribe")
    pipeline.use("analyze", LLM_PROVIDER="rules")
    call_id = pipeline.call(pipeline.company(), BOOKED)
    pipeline.delivery(call_id, "read")
    assert pipeline.row("call_transcripts", call_id)["model"] == "gpt-4o-transcribe"
    row, = pipeline.database.execute("SELECT * FROM llm_calls WHERE event_id = %s", [
        pipeline.settled("transcribe", call_id, "call.recorded")["event_id"]]).fetchall()
    assert (row["name"], row["model"], row["state"]) == ("transcribe", "gpt-4o-transcribe", "answered")
    assert row["tokens_in"] > 0 and row["tokens_out"] > 0


@pytest.mark.parametrize("file,words", [
    ("one-question.wav", ["weather"]),
    ("one-question.mp3", ["weather"]),
    ("one-question-mulaw.wav", ["weather"]),
    ("two-people-talking.wav", ["good morning", "in real time", "absolutely", "let me try it right now"]),
])
def test_people_are_heard(pipeline, file, words):
    if not (AUDIO / file).exists():
        pytest.skip(f"recorded human speech is not here: {AUDIO / file}")
    pipeline.use("transcribe", TRANSCRIBE_WITH="local")
    call_id = pipeline.call(pipeline.company(), audio=(AUDIO / file).read_bytes())
    pipeline.row("call_analyses", call_id)
    transcript = pipeline.row("call_transcripts", call_id)
    assert (transcript["provider"], transcript["speakers"]) == ("local", 1)
    assert all(word in transcript["text"].lower() for word in words), transcript["text"]
