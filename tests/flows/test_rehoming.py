"""A number that nobody had is given to a company: the calls that waited go there, with all that hangs on them, while the stages run."""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import threading
import uuid
from datetime import datetime, timedelta

import pytest
import requests
from call_pipeline import BOOKED, COLD, HOT, STARTED, a_number
from call_pipeline import pipeline, process, started  # noqa: F401 (fixtures)
from daemons import BUILD
from environment import wait_until
from sandbox_process import KEYS
from test_sb_replay import sb as replay
from test_visits import PENDING, a_visit, row_of

TABLES_WITHOUT_CALLS = {"companies"}
VISITS = ("recording_sessions", "session_recordings", "recording_transcripts", "recording_analyses")


class Nobody:
    """A number without a company."""

    def __init__(self):
        self.number, self.tenant = a_number(), "unassigned"


def sb(pipeline, *arguments):
    result = subprocess.run([BUILD / "bin" / "sb", *arguments], cwd=pipeline.folder, capture_output=True, text=True, timeout=120,
                            stdin=subprocess.DEVNULL,
                            env={"PATH": os.environ["PATH"], "DATABASE_URL": pipeline.environment.database_url,
                                 "ASAN_OPTIONS": "detect_leaks=0"})
    assert result.returncode == 0, (arguments, result.stdout, result.stderr)
    return result


def assign(pipeline, number, company, action="add"):
    return json.loads(sb(pipeline, "number", action, number, "--tenant", company.tenant, "--json").stdout)


def a_company(pipeline):
    """With a number of its own, too."""
    return pipeline.company()


def left_under_unassigned(pipeline, *words):
    """Rows of any table that has a tenant, and mention one of these."""
    tables = pipeline.database.execute(
        "SELECT c.relname AS name FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant' WHERE c.relkind IN ('r', 'p')"
        " AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace AND NOT a.attisdropped").fetchall()
    names = [table["name"] for table in tables if table["name"] not in TABLES_WITHOUT_CALLS]
    assert len(names) > 12
    pattern = "|".join(map(str, words)).replace("+", "[+]")
    # what an event said when it was sent it says for ever
    columns = {"emitted": "cause_id", "parked": "subject"}
    found = {name: pipeline.database.execute(f"SELECT count(*) AS rows FROM {name} t WHERE tenant = 'unassigned'"
                                             f" AND {columns.get(name, 't')}::text ~ %s", [pattern]).fetchone()["rows"] for name in names}
    return {name: rows for name, rows in found.items() if rows}


def analysed(pipeline, *calls):
    for call_id in calls:
        pipeline.settled("notifier", call_id, "call.analyzed")


def open_leads(pipeline, tenant, phone):
    return pipeline.database.execute(
        "SELECT l.lead_id, l.status FROM leads l JOIN contact_cards cc USING (tenant, contact_id)"
        " WHERE l.tenant = %s AND cc.phone = %s AND l.status <> 'closed'", [tenant, phone]).fetchall()


def token(pipeline, tenant):
    secret = "sb_" + uuid.uuid4().hex
    pipeline.database.execute("INSERT INTO api_tokens (token_hash, token_id, tenant, role) VALUES (%s, %s, %s, 'admin')",
                              [hashlib.sha256(secret.encode()).digest(), uuid.uuid4(), tenant])
    return secret


def test_a_call_goes_home_with_all_that_hangs_on_it(pipeline):
    nobody, company, customer = Nobody(), a_company(pipeline), a_number()
    call_id = pipeline.call(nobody, BOOKED, caller_number=customer, caller_name="Bo Lee", agent_email="cy@acme.test")
    analysed(pipeline, call_id)
    before = {table: pipeline.row(table, call_id) for table in ("calls", "call_analyses", "call_transcripts", "recordings", "appointments")}
    assert before["calls"]["tenant"] == "unassigned" and before["calls"]["csr_user_id"] is None
    visit = a_visit(pipeline, nobody, str(before["appointments"]["appointment_id"]), PENDING)
    pipeline.settled("analyze", visit, "visit.transcribed")
    before["appointments"] = pipeline.row("appointments", call_id)
    sb(pipeline, "user", "add", "cy@acme.test", "--tenant", company.tenant, "--name", "Cy", "--role", "csr")
    listed = json.loads(sb(pipeline, "number", "list", "--json").stdout)
    assert [(row["tenant"], row["waiting"]) for row in listed if row["number"] == nobody.number] == [(None, 1)]

    assert assign(pipeline, nobody.number, company) == {
        "number": nobody.number, "tenant": company.tenant, "previous_tenant": None, "calls_moved": 1}
    assert left_under_unassigned(pipeline, call_id, customer, visit, before["calls"]["contact_id"], before["calls"]["lead_id"]) == {}
    call = pipeline.row("calls", call_id)
    kept = ("lead_id", "contact_id", "status", "customer_number", "started_at")
    assert call["tenant"] == company.tenant and {name: call[name] for name in kept} == {name: before["calls"][name] for name in kept}
    user = pipeline.database.execute("SELECT user_id FROM users WHERE tenant = %s AND role = 'csr'", [company.tenant]).fetchone()
    assert call["csr_user_id"] == user["user_id"]
    for table in ("call_analyses", "call_transcripts", "recordings", "appointments"):
        row = pipeline.row(table, call_id)
        same = set(row) - {"tenant", "updated_at"}
        assert row["tenant"] == company.tenant and {name: row[name] for name in same} == {name: before[table][name] for name in same}, table
    assert [lead["status"] for lead in open_leads(pipeline, company.tenant, customer)] == ["hot"]
    assert {row_of(pipeline, table, visit)["tenant"] for table in VISITS} == {company.tenant}

    shown = requests.get(f"{pipeline.ingest.url}/api/v1/calls/{call_id}", timeout=10,
                         headers={"Authorization": "Bearer " + token(pipeline, company.tenant)}).json()["data"]
    assert shown["contact"]["name"] == "Bo Lee" and shown["analysis"]["booking_status"] == "booked"
    assert {(row["stage"], row["event_type"]) for row in shown["history"]} == {
        ("ingest", "callrail.call.received"), ("transcribe", "call.recorded"), ("analyze", "call.transcribed"), ("notifier", "call.analyzed")}

    replay(pipeline, "ingest", "--key", call_id)
    again = "SELECT outcome FROM ledger WHERE stage = 'notifier' AND correlation_id = %s AND run = 1 AND event_type = 'call.analyzed'"
    wait_until(lambda: pipeline.database.execute(again, [call_id]).fetchone(), "the replay's end")
    appointment = pipeline.row("appointments", call_id)
    assert len(pipeline.rows("appointments", call_id)) == 1 and appointment["appointment_id"] == before["appointments"]["appointment_id"]
    assert appointment["assigned_rep_id"] == company.tenant + "-ana", "who was named is found among the company's people"
    of_run = lambda: [event for event in pipeline.events(call_id) if event["run"] == 1 and event["type"] != "callrail.call.received"]  # noqa: E731
    analyzed, = wait_until(lambda: [event for event in of_run() if event["type"] == "call.analyzed"], "the analysis being told again")
    assert {event["tenant"] for event in of_run()} == {company.tenant}
    assert analyzed["data"]["appointment_id"] == str(appointment["appointment_id"])
    assert left_under_unassigned(pipeline, call_id, customer) == {}


def test_contact_and_open_lead_are_joined_with_those_the_company_has(pipeline):
    first, second, company, customer = Nobody(), Nobody(), a_company(pipeline), a_number()
    times = [(datetime.fromisoformat(STARTED) + timedelta(hours=n)).isoformat() for n in range(4)]
    earlier = pipeline.call(company, COLD, caller_number=customer, started_at=times[0])
    waiting = pipeline.call(first, HOT, caller_number=customer, started_at=times[1])
    analysed(pipeline, earlier, waiting)
    elsewhere = pipeline.call(second, COLD, caller_number=customer, started_at=times[2])
    analysed(pipeline, elsewhere)
    assert [lead["status"] for lead in open_leads(pipeline, "unassigned", customer)] == ["cold"]
    lead, = open_leads(pipeline, company.tenant, customer)

    assert assign(pipeline, first.number, company)["calls_moved"] == 1
    assert open_leads(pipeline, company.tenant, customer) == [{**lead, "status": "hot"}], "one, and its latest call decides"
    assert {pipeline.row("calls", call_id)["lead_id"] for call_id in (earlier, waiting)} == {lead["lead_id"]}
    assert pipeline.row("calls", elsewhere)["tenant"] == "unassigned"
    assert [lead["status"] for lead in open_leads(pipeline, "unassigned", customer)] == ["cold"]

    pipeline.database.execute("UPDATE leads SET status = 'closed' WHERE tenant = %s", [company.tenant])
    assert assign(pipeline, second.number, company, "assign")["calls_moved"] == 1
    another, = open_leads(pipeline, company.tenant, customer)
    assert another["status"] == "cold" and pipeline.row("calls", elsewhere)["lead_id"] == another["lead_id"] != lead["lead_id"]
    assert left_under_unassigned(pipeline, waiting, elsewhere, customer) == {}
    assert assign(pipeline, second.number, company, "assign") == {
        "number": second.number, "tenant": company.tenant, "previous_tenant": company.tenant, "calls_moved": 0}


def test_what_other_companies_may_learn_from_a_call_stays_behind(pipeline):
    """The name was told by a call to a number that is not theirs; a lead that another call decided is new to them."""
    first, second, company, customer = Nobody(), Nobody(), a_company(pipeline), a_number()
    theirs = pipeline.call(first, None, ["call.incoming"], caller_number=customer, caller_name=None)
    others = pipeline.call(second, HOT, caller_number=customer, caller_name="Bo Lee")
    analysed(pipeline, others)
    pipeline.row("calls", theirs)
    assign(pipeline, first.number, company)
    contact, = pipeline.database.execute("SELECT name, phone FROM contact_cards WHERE tenant = %s", [company.tenant]).fetchall()
    assert contact == {"name": None, "phone": customer}
    assert [lead["status"] for lead in open_leads(pipeline, company.tenant, customer)] == ["new"]
    assert [lead["status"] for lead in open_leads(pipeline, "unassigned", customer)] == ["hot"]


@pytest.mark.parametrize("round_number", range(2))
def test_a_number_is_assigned_while_calls_come_in(pipeline, round_number):
    """Whatever a webhook's handler had read when the number was nobody's, its call ends at the company."""
    nobody, company, customers = Nobody(), a_company(pipeline), [a_number() for _ in range(3)]
    calls, over = [], threading.Event()

    def ring(thread):
        number = 0
        while not over.is_set() or number < 3:
            lines = BOOKED if number == 0 else None
            calls.append(pipeline.call(nobody, lines, caller_number=customers[thread], caller_name="Bo"))
            number += 1

    threads = [threading.Thread(target=ring, args=[thread]) for thread in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(calls) > 3 * (round_number + 1), "calls coming in")
    pipeline.row("calls", calls[0])                     # the recorder may be behind the door
    moved = assign(pipeline, nobody.number, company)["calls_moved"]
    so_far = len(calls)
    wait_until(lambda: len(calls) > so_far + 5, "calls coming in afterwards")
    over.set()
    for thread in threads:
        thread.join()
    for call_id in calls:
        wait_until(lambda: len(pipeline.rows("call_reports", call_id)) == 3, f"the webhooks of {call_id}")  # noqa: B023
    booked = [call_id for call_id in calls if pipeline.row("calls", call_id)["recording_url"]]
    analysed(pipeline, *booked)
    assert moved > 0 and len(booked) == 3
    for call_id in calls:
        call = pipeline.row("calls", call_id)
        assert (call["tenant"], call["status"]) == (company.tenant, "completed"), call
        assert {row["tenant"] for row in pipeline.rows("call_reports", call_id)} == {company.tenant}
    for call_id in booked:
        for table in ("recordings", "call_transcripts", "call_analyses", "appointments"):
            assert [row["tenant"] for row in pipeline.rows(table, call_id)] == [company.tenant], table
    for customer in customers:
        assert [lead["status"] for lead in open_leads(pipeline, company.tenant, customer)] == ["hot"]
    left = left_under_unassigned(pipeline, *customers)
    assert left == {}, "nobody has anything of theirs any more"


def test_a_call_whose_number_is_told_late_goes_home_with_it(pipeline):
    company, call_id, customer = a_company(pipeline), "CAL" + uuid.uuid4().hex, a_number()

    def tell(hook, **facts):
        body = json.dumps({"call_id": call_id, "caller_number": customer, "timestamp": STARTED, **facts}).encode()
        signature = base64.b64encode(hmac.new(KEYS["CALLRAIL_SIGNING_KEY"].encode(), body, hashlib.sha1).digest()).decode()
        answer = requests.post(f"{pipeline.ingest.url}/api/v1/callrail/{hook}", data=body, timeout=10,
                               headers={"Content-Type": "application/json", "Signature": signature})
        assert answer.status_code == 200

    tell("call.incoming")
    assert pipeline.row("calls", call_id)["tenant"] == "unassigned"
    tell("call.answered", tracking_number=company.number)
    call = wait_until(lambda: [row for row in pipeline.rows("calls", call_id) if row["tenant"] == company.tenant], "the call going home")[0]
    assert (call["status"], call["tracking_number"]) == ("in_progress", company.number)
    assert left_under_unassigned(pipeline, call_id, customer) == {}
    tell("call.completed", tracking_number=company.number, answered=True, duration=10)
    wait_until(lambda: pipeline.row("calls", call_id)["status"] == "completed", "its end")
    told = [event for event in pipeline.topics.wait("calls", call_id, count=3) if event["type"] == "call.progressed"]
    assert [(event["tenant"], event["data"]["lead_id"]) for event in told[1:]] == [(company.tenant, str(call["lead_id"]))] * 2
    assert len(pipeline.rows("call_reports", call_id)) == 3
