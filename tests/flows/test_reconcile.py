"""Calls whose webhooks never came: CallRail is asked for them, within its budget, and they go the way of all others."""

import os
import subprocess
import threading
from datetime import datetime, timedelta, timezone

import pytest
import requests
from call_pipeline import BOOKED, Company, a_number
from call_pipeline import pipeline, process, started  # noqa: F401 (fixtures)
from daemons import BUILD, Daemon
from environment import wait_until
from sandbox_process import KEYS

ACCOUNT = KEYS["CALLRAIL_ACCOUNT_ID"]
SETTINGS = {"ingest": {"CALLRAIL_API_KEY": KEYS["CALLRAIL_API_KEY"], "CALLRAIL_ACCOUNT_ID": ACCOUNT, "CALLRAIL_CHECK_EVERY": "1h"}}
PAGE_CALLS = 250
LATE_M = 25                     # a webhook may come so long after the end of its call


def ago(**time):
    return (datetime.now(timezone.utc) - timedelta(**time)).isoformat()


def row(pipeline):
    query = "SELECT *, next_check_at > now() AS waits, hour_requests + day_requests AS requests FROM reconciliations WHERE account = %s"
    return pipeline.database.execute(query, [ACCOUNT]).fetchone()


def make_due(pipeline):
    wait_until(lambda: row(pipeline), "the account's first check")
    pipeline.database.execute("UPDATE reconciliations SET next_check_at = now(), page = 1, records = 0, failures = 0, why = NULL,"
                              " asked_at = NULL WHERE account = %s", [ACCOUNT])


def walked(pipeline):
    return wait_until(lambda: (found := row(pipeline)) and found["waits"] and found["page"] == 1 and found, "the end of the list")


def check(pipeline):
    """CallRail is asked now, and what it knows of is looked through."""
    make_due(pipeline)
    return walked(pipeline)


def lost_call(pipeline, company, lines=BOOKED, **call):
    """A call whose webhooks CallRail never sends."""
    return pipeline.call(company, lines, hooks=[], **{"started_at": ago(minutes=40), **call})


def times_fetched(pipeline, call_id):
    """How often a walk has fed it in."""
    query = "SELECT count(*) FROM emitted WHERE topic = 'inbound.callrail' AND key = %s"
    return pipeline.database.execute(query, [call_id]).fetchone()["count"]


def lists_asked(pipeline):
    return pipeline.asked("callrail", path="/calls.json")


def settled(pipeline, call_id):
    """All that was received of a call was handled."""
    received = lambda: pipeline.topics.find("inbound.callrail", call_id)  # noqa: E731
    query = "SELECT count(*) FROM ledger WHERE stage = 'ingest' AND subject = %s"
    wait_until(lambda: pipeline.database.execute(query, [call_id]).fetchone()["count"] >= len(received()), "what was received being handled")


def send_hooks(pipeline, call_id, *hooks):
    """The webhooks of a call that CallRail knows."""
    call = requests.get(f"{pipeline.sandbox.url}/callrail/v3/a/{ACCOUNT}/calls/{call_id}.json", timeout=10,
                        headers={"Authorization": f'Token token="{KEYS["CALLRAIL_API_KEY"]}"'}).json()
    known = {"call_id": call_id, "caller_number": call["customer_phone_number"], "tracking_number": call["tracking_phone_number"],
             "started_at": call["start_time"], "duration": call["duration"], "recording_url": call["recording"]}
    sending = {"target": pipeline.ingest.url + "/api/v1/callrail", "hooks": list(hooks)}
    answers = pipeline.sandbox.control("POST", "/calls", json={"call": known, "webhooks": sending})["webhooks"]
    assert [answer["status"] for answer in answers] == [200] * len(hooks)


# --- a call that never arrived


def test_a_call_whose_webhooks_never_came_reaches_the_rep(pipeline):
    company = pipeline.company()
    call_id = lost_call(pipeline, company, caller_name="Bo Lee")
    check(pipeline)
    pipeline.delivery(call_id, "read")
    call = pipeline.row("calls", call_id)
    assert (call["tenant"], call["status"], call["brought_by"]) == (company.tenant, "completed", "fetch")
    assert (call["customer_name"], call["duration_s"], call["answered"]) == ("Bo Lee", 61, True)
    message, = pipeline.messages(company.rep)
    assert "Booked: water heater" in message["body"]
    assert pipeline.shown_by_the_api(company, call_id)["brought_by"] == "fetch"
    received, = pipeline.topics.find("inbound.callrail", call_id)
    assert (received["data"]["hook"], received["data"]["via"], received["correlationid"]) == ("call.completed", "fetch", call_id)
    assert pipeline.types(call_id) == sorted(["callrail.call.received", "call.progressed", "call.recorded", "call.transcribed",
                                              "call.analyzed", "delivery.changed"])


def test_what_has_arrived_is_not_fetched_and_what_was_fetched_is_not_fetched_again(pipeline):
    company = pipeline.company()
    arrived = pipeline.call(company, BOOKED, started_at=ago(minutes=40))
    pipeline.row("call_analyses", arrived)
    lost = lost_call(pipeline, company)
    for _ in range(3):
        check(pipeline)
        pipeline.delivery(lost, "read")
    assert pipeline.row("calls", arrived)["brought_by"] == "hook"
    assert (times_fetched(pipeline, arrived), times_fetched(pipeline, lost)) == (0, 1)
    assert len(pipeline.messages(company.rep)) == 2


def test_a_hook_that_comes_after_all_changes_nothing_twice(pipeline):
    company = pipeline.company()
    call_id = lost_call(pipeline, company)
    check(pipeline)
    pipeline.delivery(call_id, "read")
    send_hooks(pipeline, call_id, "call.incoming", "call.answered", "call.completed")
    wait_until(lambda: len(pipeline.rows("call_reports", call_id)) == 4, "the three hooks beside what was fetched")
    check(pipeline)
    settled(pipeline, call_id)
    assert pipeline.row("calls", call_id)["brought_by"] == "both"
    assert pipeline.emitted(call_id).count("call.recorded") == 1
    assert len(pipeline.messages(company.rep)) == len(pipeline.rows("appointments", call_id)) == 1


def test_only_the_end_of_a_call_is_missing(pipeline):
    call_id = lost_call(pipeline, pipeline.company())
    send_hooks(pipeline, call_id, "call.incoming", "call.answered")
    wait_until(lambda: len(pipeline.rows("call_reports", call_id)) == 2, "what came of it")
    check(pipeline)
    pipeline.delivery(call_id, "read")
    call = pipeline.row("calls", call_id)
    assert (call["status"], call["brought_by"]) == ("completed", "both")


def test_hooks_and_fetches_at_once_make_one_call_each(pipeline):
    company = pipeline.company()
    calls = [lost_call(pipeline, company) for _ in range(12)]
    make_due(pipeline)
    senders = [threading.Thread(target=send_hooks, args=(pipeline, call_id, "call.completed")) for call_id in calls]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    walked(pipeline)
    for call_id in calls:
        pipeline.delivery(call_id, "read")
        settled(pipeline, call_id)
        assert pipeline.emitted(call_id).count("call.recorded") == len(pipeline.rows("appointments", call_id)) == 1
    assert len(pipeline.messages(company.rep)) == len(calls)


def test_a_call_to_a_number_of_nobody_is_unassigned(pipeline):
    nobody = Company.__new__(Company)
    nobody.number = a_number()
    call_id = lost_call(pipeline, nobody)
    check(pipeline)
    call = pipeline.row("calls", call_id)
    assert (call["tenant"], call["brought_by"]) == ("unassigned", "fetch")


def test_a_missed_call_is_fetched_too(pipeline):
    call_id = lost_call(pipeline, pipeline.company(), lines=None, answered=False, duration=0)
    check(pipeline)
    assert pipeline.row("calls", call_id)["status"] == "missed"


def test_the_call_of_an_erased_person_is_not_fetched(pipeline):
    call_id = lost_call(pipeline, pipeline.company())
    pipeline.database.execute("INSERT INTO erased (subject_sha256) VALUES (sha256(%s::bytea))", [call_id.encode()])
    check(pipeline)
    assert lists_asked(pipeline) and not times_fetched(pipeline, call_id)


# --- when


@pytest.mark.parametrize("started_at,duration_s,fetched", [
    ({"minutes": 10}, 61, False),
    ({"hours": 2, "minutes": LATE_M - 5}, 7200, False),
    ({"hours": 2, "minutes": LATE_M + 1}, 7200, True),
    ({"hours": 1}, 7200, False),
    ({"hours": 9}, 61, True),
    ({"hours": 11}, 61, False),
], ids=["its webhook may still come", "it was long and is just over", "it was long and is over for long enough", "it still goes on",
        "before the first check", "long before the first check"])
def test_a_call_is_fetched_when_its_webhook_is_too_late(pipeline, started_at, duration_s, fetched):
    company = pipeline.company()
    call_id = lost_call(pipeline, company, started_at=ago(**started_at), duration=duration_s)
    other = lost_call(pipeline, company)
    check(pipeline)
    assert (times_fetched(pipeline, call_id), times_fetched(pipeline, other)) == (int(fetched), 1)


def test_the_zone_of_callrails_dates_does_not_matter(pipeline):
    for zone in ("Pacific/Kiritimati", "Etc/GMT+12"):
        pipeline.sandbox.control("PUT", "/settings", json={"callrail_time_zone": zone})
        company = pipeline.company()
        calls = [lost_call(pipeline, company, started_at=ago(**time)) for time in ({"minutes": 30}, {"hours": 9})]
        check(pipeline)
        for call_id in calls:
            assert pipeline.row("calls", call_id)["brought_by"] == "fetch"


def test_a_recording_that_comes_late_is_fetched(pipeline):
    company = pipeline.company()
    started_at = ago(minutes=50)
    call_id = pipeline.call(company, started_at=started_at)
    wait_until(lambda: len(pipeline.rows("call_reports", call_id)) == 3, "its webhooks, which tell of no recording")
    check(pipeline)
    assert not pipeline.rows("recordings", call_id) and pipeline.row("calls", call_id)["brought_by"] == "hook"
    number = pipeline.row("calls", call_id)["customer_number"]
    pipeline.call(company, BOOKED, hooks=[], call_id=call_id, caller_number=number, started_at=started_at)
    check(pipeline)
    pipeline.delivery(call_id, "read")
    assert pipeline.row("calls", call_id)["brought_by"] == "both" and len(pipeline.messages(company.rep)) == 1


def test_a_fetched_call_without_recording_gets_it_later(pipeline):
    company, started_at, number = pipeline.company(), ago(minutes=50), a_number()
    call_id = lost_call(pipeline, company, lines=None, started_at=started_at, caller_number=number)
    check(pipeline)
    pipeline.row("calls", call_id)
    lost_call(pipeline, company, call_id=call_id, caller_number=number, started_at=started_at)
    check(pipeline)
    pipeline.delivery(call_id, "read")
    assert pipeline.row("calls", call_id)["brought_by"] == "fetch" and len(pipeline.rows("call_reports", call_id)) == 2


# --- where its recording is


def test_a_recording_that_only_our_key_opens_is_unlocked(pipeline):
    pipeline.sandbox.control("PUT", "/settings", json={"callrail_recordings": "api"})
    company = pipeline.company()
    call_id = lost_call(pipeline, company)
    check(pipeline)
    pipeline.delivery(call_id, "read")
    assert pipeline.row("calls", call_id)["recording_url"] == f"{pipeline.sandbox.url}/files/{call_id}.wav"
    assert row(pipeline)["hour_requests"] == len(pipeline.asked("callrail")) == 2, "the list, and the link"


def test_recordings_are_unlocked_some_at_a_time(pipeline):
    pipeline.sandbox.control("PUT", "/settings", json={"callrail_recordings": "api"})
    company = pipeline.company()
    calls = [lost_call(pipeline, company, lines=None, recording_url=f"{pipeline.sandbox.url}/files/{number}.wav") for number in range(25)]
    make_due(pipeline)
    wait_until(lambda: row(pipeline)["waits"] and len(known(pipeline, company)) == 20, "the first twenty")
    check(pipeline)
    wait_until(lambda: known(pipeline, company) == set(calls), "the rest")
    assert len(pipeline.asked("callrail", path="recording.json")) == 25


def test_a_call_whose_recording_is_not_there_yet_comes_without(pipeline):
    pipeline.sandbox.control("PUT", "/settings", json={"callrail_recordings": "api"})
    pipeline.sandbox.fault(provider="callrail", path="recording.json", what="status", status=404)
    company = pipeline.company()
    call_id = lost_call(pipeline, company)
    check(pipeline)
    assert pipeline.row("calls", call_id)["recording_url"] is None
    check(pipeline)
    pipeline.delivery(call_id, "read")
    assert len(pipeline.rows("call_reports", call_id)) == 2


def test_what_was_fetched_before_a_failure_stands(pipeline):
    pipeline.sandbox.control("PUT", "/settings", json={"callrail_recordings": "api"})
    pipeline.sandbox.fault(provider="callrail", path="recording.json", what="status", status=503, skip=1)
    company = pipeline.company()
    second, first = (lost_call(pipeline, company, started_at=ago(minutes=minutes)) for minutes in (50, 40))
    make_due(pipeline)
    pipeline.delivery(first, "read")
    assert row(pipeline)["failures"] == 1 and row(pipeline)["hour_requests"] == 3 and not times_fetched(pipeline, second)
    pipeline.database.execute("UPDATE reconciliations SET next_check_at = now()")
    pipeline.delivery(second, "read")


# --- many


def many_lost_calls(pipeline, company, count, **call):
    return [lost_call(pipeline, company, lines=None, answered=False, duration=0, started_at=ago(minutes=40, seconds=number), **call)
            for number in range(count)]


def known(pipeline, company):
    query = "SELECT call_id FROM calls WHERE tenant = %s"
    return {found["call_id"] for found in pipeline.database.execute(query, [company.tenant]).fetchall()}


def test_the_list_is_read_to_its_end(pipeline):
    company = pipeline.company()
    calls = many_lost_calls(pipeline, company, 2 * PAGE_CALLS + 10)
    check(pipeline)
    assert [request["query"]["page"] for request in lists_asked(pipeline)] == ["1", "2", "3"]
    wait_until(lambda: known(pipeline, company) == set(calls), "all calls of three pages")


def test_the_list_is_not_read_beyond_what_is_looked_for(pipeline):
    company = pipeline.company()
    many_lost_calls(pipeline, company, 3)
    for number in range(PAGE_CALLS + 10):
        lost_call(pipeline, company, lines=None, started_at=ago(hours=20, seconds=number))
    check(pipeline)
    assert len(lists_asked(pipeline)) == 1, "the first page ends with calls of long ago"


def test_a_list_that_does_not_end_is_left_behind_its_last_call(pipeline):
    company = pipeline.company()
    call_id = lost_call(pipeline, company)
    empty = {"page": 1, "per_page": PAGE_CALLS, "total_pages": 1_000_000, "total_records": 1_000_000, "calls": []}
    pipeline.sandbox.fault(provider="callrail", path="calls.json", what="status", status=200, body=empty, count=None)
    check(pipeline)
    assert len(lists_asked(pipeline)) == 1
    pipeline.sandbox.control("DELETE", "/faults")
    check(pipeline)
    pipeline.row("calls", call_id)


def test_no_call_is_lost_when_the_list_changes_between_its_pages(pipeline):
    company = pipeline.company()
    calls = many_lost_calls(pipeline, company, 2 * PAGE_CALLS)
    pipeline.sandbox.fault(provider="callrail", path="calls.json", what="stall", seconds=1.5, skip=1)
    make_due(pipeline)
    pipeline.sandbox.control("GET", "/requests", params={"provider": "callrail", "path": "/calls.json", "count": 2, "wait_s": 20})
    gone = set(calls[:5])           # the newest: what was on the second page moves up into the first
    for call_id in gone:
        pipeline.sandbox.control("DELETE", f"/calls/{call_id}")
    walked(pipeline)
    wait_until(lambda: known(pipeline, company) >= set(calls) - gone, "all that did not go")
    assert [request["query"]["page"] for request in lists_asked(pipeline)][:3] == ["1", "2", "1"]


# --- who may ask, and how often


@pytest.fixture
def more_ingests(pipeline):
    """Two instances beside the first."""
    started = []
    for _ in range(2):
        settings = {name: value for name, value in pipeline.ingest.settings.items() if name.startswith(("CALLRAIL", "PUBLIC"))}
        started.append(Daemon("ingest", pipeline.environment, pipeline.folder, **settings))
    for one in started:
        one.ready()
    yield started
    for one in started:
        assert one.stop() == 0


def test_three_instances_fetch_each_call_once(pipeline, more_ingests):
    company = pipeline.company()
    calls = many_lost_calls(pipeline, company, PAGE_CALLS + 50)
    for _ in range(3):
        check(pipeline)
        wait_until(lambda: known(pipeline, company) == set(calls), "all calls")
    assert len(lists_asked(pipeline)) == 6, "two pages, three times"
    assert all(times_fetched(pipeline, call_id) == 1 for call_id in calls)


def test_the_budget_is_kept_by_three_instances(pipeline, more_ingests):
    """Of 1,000 an hour, one per cent."""
    for daemon in (pipeline.ingest, *more_ingests):
        assert daemon.stop() == 0
        daemon.settings["CALLRAIL_BUDGET_PERCENT"] = "1"
        daemon.start()
    for daemon in (pipeline.ingest, *more_ingests):
        daemon.ready()
    make_due(pipeline)
    for _ in range(14):
        pipeline.database.execute("UPDATE reconciliations SET next_check_at = now()")
        found = walked(pipeline)
    assert found["hour_requests"] == len(lists_asked(pipeline)) == 10
    assert found["why"] == "our part of CallRail's requests is used up"
    assert found["next_check_at"].minute == found["next_check_at"].second == 0, "the next hour"
    pipeline.use("ingest", CALLRAIL_BUDGET_PERCENT="25")


def test_a_company_with_its_own_account_is_asked_for_with_its_own_key(pipeline):
    company, other = pipeline.company(), pipeline.company()
    wait_until(lambda: row(pipeline), "the account's first check")
    set_account = "UPDATE companies SET callrail_account_id = %s, callrail_api_key = %s WHERE tenant = %s"
    pipeline.database.execute(set_account, [ACCOUNT, KEYS["CALLRAIL_API_KEY"] + ", an-older-one", company.tenant])
    try:
        theirs, not_theirs = lost_call(pipeline, company), lost_call(pipeline, other)
        assert check(pipeline)["tenant"] == company.tenant
        assert pipeline.row("calls", theirs)["brought_by"] == "fetch"
        assert "speaks for a call of another company" in pipeline.dead_letter("ingest", not_theirs)["reason"]
        check(pipeline)
        assert times_fetched(pipeline, not_theirs) == 1, "what was rejected is not fetched again"
    finally:
        pipeline.database.execute(set_account, [None, None, company.tenant])
    assert check(pipeline)["tenant"] is None


def test_what_is_paused_is_not_asked(pipeline):
    call_id = lost_call(pipeline, pipeline.company())
    pause = "INSERT INTO pauses (kind, name, by, why) VALUES ('provider', 'callrail', 'a test', 'to see')"
    wait_until(lambda: row(pipeline), "the account's first check")
    pipeline.database.execute(pause)
    try:
        known = lambda: pipeline.ingest.metric("paused", kind="provider", what="callrail") == 1  # noqa: E731
        wait_until(known, "the pause being known")
        before = len(lists_asked(pipeline))
        make_due(pipeline)
        arrived = pipeline.call(pipeline.company(), BOOKED)
        pipeline.row("call_analyses", arrived)
        assert len(lists_asked(pipeline)) == before and not row(pipeline)["waits"], "everything else goes on"
    finally:
        pipeline.database.execute("DELETE FROM pauses")
    walked(pipeline)
    pipeline.row("calls", call_id)


# --- CallRail, on its bad days

SOON, LATER = 60, 15 * 60
BAD_DAYS = {
    "it is not there": ({"what": "cut", "count": 2}, SOON, ""),
    "it fails": ({"what": "status", "status": 503}, SOON, "HTTP status 503"),
    "too many requests": ({"what": "status", "status": 429}, LATER, "HTTP status 429"),
    "it names a time": ({"what": "status", "status": 429, "headers": {"Retry-After": "1800"}}, 1800, "HTTP status 429"),
    "our key is refused": ({"what": "status", "status": 401}, LATER, "CallRail refuses our credentials (HTTP status 401): check CALLRAIL_API_KEY"),
    "we are forbidden": ({"what": "status", "status": 403}, LATER, "CallRail refuses our credentials (HTTP status 403)"),
    "no such account": ({"what": "status", "status": 404}, SOON, "HTTP status 404"),
    "its answer is no JSON": ({"what": "malformed_json"}, SOON, "its answer cannot be read"),
    "its answer is half": ({"what": "truncated_json"}, SOON, "its answer cannot be read"),
    "its answer is empty": ({"what": "empty"}, SOON, "its answer cannot be read"),
    "its answer is another": ({"what": "status", "status": 200, "body": {"calls": []}}, SOON, "it has no calls, total_pages or total_records"),
}


@pytest.mark.parametrize("day", BAD_DAYS)
def test_a_bad_day_of_callrail_is_waited_out_and_holds_nobody_up(pipeline, day):
    rule, pause_s, why = BAD_DAYS[day]
    call_id = lost_call(pipeline, pipeline.company())
    pipeline.sandbox.fault(provider="callrail", path="calls.json", **rule)
    make_due(pipeline)
    found = wait_until(lambda: (found := row(pipeline))["failures"] == 1 and found, "the failure being noted")
    assert why in found["why"] and found["hour_requests"] == 1
    assert abs((found["next_check_at"] - found["updated_at"]).total_seconds() - pause_s) < 5
    arrived = pipeline.call(pipeline.company(), BOOKED)
    pipeline.row("call_analyses", arrived)
    pipeline.database.execute("UPDATE reconciliations SET next_check_at = now()")
    pipeline.row("calls", call_id)
    assert row(pipeline)["failures"] == 0 and row(pipeline)["why"] is None


def test_it_waits_longer_the_longer_callrail_is_away(pipeline):
    pipeline.sandbox.fault(provider="callrail", path="calls.json", what="status", status=500, count=None)
    make_due(pipeline)
    pauses = []
    for number in range(1, 9):
        found = wait_until(lambda: (found := row(pipeline))["failures"] == number and found, "another failure")  # noqa: B023
        pauses.append(round((found["next_check_at"] - found["updated_at"]).total_seconds() / 60))
        pipeline.database.execute("UPDATE reconciliations SET next_check_at = now()")
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


def test_what_is_no_call_does_not_hold_up_the_others(pipeline):
    company = pipeline.company()
    call_id = lost_call(pipeline, company)
    listed = requests.get(f"{pipeline.sandbox.url}/callrail/v3/a/{ACCOUNT}/calls.json", timeout=10, params={"fields": "agent_email"},
                          headers={"Authorization": f'Token token="{KEYS["CALLRAIL_API_KEY"]}"'}).json()
    strange = {**listed["calls"][0], "id": call_id + "-strange", "duration": "a while"}
    calls = [7, {"id": None}, {"no": "id"}, strange, *listed["calls"]]
    pipeline.sandbox.fault(provider="callrail", path="calls.json", what="status", status=200, body={**listed, "calls": calls})
    check(pipeline)
    pipeline.row("calls", call_id)
    assert pipeline.dead_letter("ingest", strange["id"])["pointer"] == "/duration"


def test_a_process_killed_while_it_asks_fetches_the_call_once_all_the_same(pipeline):
    company = pipeline.company()
    call_id = lost_call(pipeline, company)
    pipeline.sandbox.fault(provider="callrail", path="calls.json", what="stall", seconds=2, when="after")
    make_due(pipeline)
    pipeline.sandbox.control("GET", "/requests", params={"provider": "callrail", "path": "/calls.json", "wait_s": 20})
    pipeline.ingest.kill()
    pipeline.ingest.start().ready()
    pipeline.delivery(call_id, "read")
    walked(pipeline)
    assert len(pipeline.messages(company.rep)) == 1 and len(pipeline.rows("call_reports", call_id)) == 1


# --- what an operator sees


@pytest.mark.parametrize("settings,said,code", [
    ({}, "callrail is not asked for calls whose webhooks never came: CALLRAIL_API_KEY is not set", 0),
    ({"CALLRAIL_API_KEY": "secret"}, "CALLRAIL_ACCOUNT_ID is not", 1),
    ({"CALLRAIL_API_KEY": "secret", "CALLRAIL_ACCOUNT_ID": "ACC/1"}, "CALLRAIL_ACCOUNT_ID must be", 1),
    ({"CALLRAIL_API_KEY": "secret", "CALLRAIL_ACCOUNT_ID": "ACC1"}, "callrail account ACC1 is asked", 0),
], ids=["no key", "no account", "no good account", "both"])
def test_the_check_says_whether_anybody_asks(schema_ready, tmp_path, settings, said, code):
    names = {"PATH": os.environ["PATH"], "DATABASE_URL": schema_ready.database_url, "KAFKA_BROKERS": schema_ready.brokers, **settings}
    checked = subprocess.run([BUILD / "bin" / "ingest", "--check"], env=names, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert said in checked.stdout + checked.stderr and checked.returncode == code, checked.stdout + checked.stderr
    assert "secret" not in checked.stdout + checked.stderr
