"""sb's acting commands on the test stage: pauses, dead letters, replays, rewinding.  What was done is recorded; nothing happens twice."""

import json
import os
import pty
import re
import subprocess
import time
from datetime import datetime

import pytest
from daemons import BUILD, Daemon, event
from environment import wait_until
from provider_stub import ProviderStub
from test_stage import outcomes, rows, tell

SB = BUILD / "tests" / "sb"
FINE, FAILED, WRONG = 0, 1, 2
PAUSE_S = 60                            # within a second, said `sb pause`; reached only when it does not happen


@pytest.fixture(scope="module")
def sb(schema_ready, tmp_path_factory):
    """Runs sb away from any checkout, so that the environment alone says what is in use."""
    folder = tmp_path_factory.mktemp("sb")

    def run(*arguments, code=FINE, stdin=subprocess.DEVNULL, **settings):
        result = subprocess.run([SB, *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=120, stdin=stdin,
                                env={"PATH": os.environ["PATH"], "USER": "ada", "DATABASE_URL": schema_ready.database_url,
                                     "KAFKA_BROKERS": schema_ready.brokers, "ASAN_OPTIONS": "detect_leaks=0", **settings})
        assert result.returncode == code, (arguments, result.returncode, result.stdout, result.stderr)
        return result
    return run


@pytest.fixture
def provider():
    stub = ProviderStub()
    yield stub
    stub.close()


@pytest.fixture(scope="module")
def echo(schema_ready, tmp_path_factory):
    echo = Daemon("echo", schema_ready, tmp_path_factory.mktemp("echo"), instance="echo-act").ready()
    yield echo
    assert echo.stop() == 0, echo.log()[-3000:]


@pytest.fixture(autouse=True)
def nothing_stays_paused(database):
    """Whatever a test came to: the others need the same stage."""
    yield
    database.execute("DELETE FROM pauses")


def is_paused(echo, kind, name):
    return echo.metric("paused", kind=kind, what=name) == 1


def pause(sb, echo, name, kind, *more):
    sb("pause", name, "--kind", kind, *more)
    wait_until(lambda: is_paused(echo, kind, name), f"the pause of {name}", 5)


def resume(sb, echo, name):
    sb("resume", name)
    wait_until(lambda: echo.metric("paused", what=name) == 0, f"the end of {name}'s pause", PAUSE_S)


def at_a_terminal(sb, answer, *arguments, code=FINE):
    """What it says on standard error to somebody who types `answer`."""
    ours, its = pty.openpty()
    os.write(ours, answer.encode() + b"\n")
    try:
        return sb(*arguments, code=code, stdin=its).stderr
    finally:
        os.close(ours)
        os.close(its)


def acted(database, command, what):
    return database.execute("SELECT who, detail FROM operator_actions WHERE command = %s AND what LIKE %s ORDER BY action_id",
                            (command, what)).fetchall()


def told_as_dead(sb, key):
    """Which commands tell of a dead letter of that conversation."""
    stands = json.loads(sb("why", key, "--json").stdout)[0]["stands"]
    struck = json.loads(sb("impact", "--since", "1h", "--json").stdout)["impact"]
    return (["why"] if "dead" in [one["state"] for one in stands] else []) + \
        (["impact"] if any(key in (one["failed"] or []) for one in struck) else [])


# --- pause and resume ----------------------------------------------------------------------------------------------------


def test_a_paused_stage_begins_nothing_and_says_so(sb, echo, topics, database, key):
    pause(sb, echo, "echo", "stage", "--why", "the moon is full")
    tell(topics, key, n=1)
    tell(topics, key, n=2)
    listed = json.loads(sb("pause", "--json").stdout)
    assert [(one["kind"], one["name"], one["why"]) for one in listed] == [("stage", "echo", "the moon is full")]
    assert listed[0]["by"].startswith("ada@") and "the moon is full" in sb("pause").stdout
    seen = wait_until(lambda: "echo is paused" in (seen := sb("status", code=FAILED).stdout) and seen, "the pause in the status")
    assert re.findall(r"^  echo is paused by ada@\S+: the moon is full, \d+ s ago; \d+ waits? for it$", seen, re.M), seen
    assert seen.count("is paused") == 1
    echo.ready()                        # a supervisor has no reason to start it again
    time.sleep(2)                       # nothing may come of it, which no event tells
    assert rows(database, key) == []
    resume(sb, echo, "echo")
    topics.wait("echo.out", key, count=2)
    assert [n for n, _, _ in rows(database, key)] == [1, 2]
    assert sb("pause").stdout == "nothing is paused\n"
    assert acted(database, "pause", "stage echo")[-1][1] == {"why": "the moon is full"}
    who, detail = acted(database, "resume", "stage echo")[-1]
    assert who.startswith("ada@") and detail["paused_why"] == "the moon is full"


def test_a_program_is_told_what_was_paused_and_what_goes_on(sb, database, echo):
    done = json.loads(sb("pause", "stub-json", "--kind", "provider", "--why", "a test", "--as", "ada", "--json").stdout)
    assert (done["kind"], done["name"], done["by"], done["why"]) == ("provider", "stub-json", "ada", "a test")
    listed = next(one for one in json.loads(sb("pause", "--json").stdout) if one["name"] == "stub-json")
    assert listed == {**done, "parked": None} and datetime.fromisoformat(done["since"]).tzinfo
    assert json.loads(sb("resume", "stub-json", "--json").stdout) == done
    assert "stub-json" not in sb("pause").stdout


def test_a_pause_outlives_the_stage(sb, daemon, topics, database, key, echo):
    pause(sb, echo, "echo", "stage")
    assert echo.stop() == 0
    tell(topics, key, n=1)
    echo.start().ready()
    wait_until(lambda: is_paused(echo, "stage", "echo"), "the pause after the start", PAUSE_S)
    time.sleep(2)
    assert rows(database, key) == []
    resume(sb, echo, "echo")
    topics.wait("echo.out", key)


def test_a_paused_provider_is_not_asked_and_no_limit_counts(sb, schema_ready, echo, topics, database, provider, key, tmp_path):
    """A second event waits behind the first for longer than RETRY_AGE_MAX, and still has its tries."""
    pause(sb, echo, "stub", "provider")
    assert echo.stop() == 0
    echo.settings["RETRY_AGE_MAX"] = "2s"
    echo.start().ready()
    wait_until(lambda: is_paused(echo, "provider", "stub"), "the pause after the start", PAUSE_S)
    tell(topics, key + "-other", n=1)
    topics.wait("echo.out", key + "-other")         # until somebody needs the provider, the stage reads on
    tell(topics, key, n=1, ask=provider.url + "/first", flush=False)
    tell(topics, key, n=2, ask=provider.url + "/second")
    wait_until(lambda: echo.metric("in_flight", state="waiting") >= 1, "the event waiting for its provider")
    provider.behave = lambda method, path, number: (503, {}, "") if path == "/second" and number == 1 else (200, {}, "answer")
    time.sleep(3)
    assert provider.requests == [] and rows(database, key) == []
    resume(sb, echo, "stub")
    topics.wait("echo.out", key, count=2)
    assert [(outcome, why) for outcome, _, why in outcomes(database, key)] == [("done", None), ("done", None)]
    assert len(provider.asked("/second")) == 2
    assert echo.stop() == 0
    del echo.settings["RETRY_AGE_MAX"]
    echo.start().ready()


def test_a_paused_tenant_waits_in_order_and_the_others_go_on(sb, echo, topics, database, provider, key):
    tenant = key
    pause(sb, echo, tenant, "tenant", "--as", "grace")
    for n in range(1, 4):
        tell(topics, key, n=n, ask=provider.url + "/ours", attributes={"tenant": tenant})
    tell(topics, key + "-other", n=1, attributes={"tenant": "another"})
    topics.wait("echo.out", key + "-other")
    parked = "SELECT why FROM parked WHERE stage = 'echo' AND subject = %s ORDER BY number"
    wait_until(lambda: len(database.execute(parked, (key,)).fetchall()) == 3, "the tenant's events being parked")
    assert database.execute(parked, (key,)).fetchone() == (f"the tenant {key} is paused by grace",)
    told, = [stand["sentence"] for stand in json.loads(sb("why", key, "--json").stdout)[0]["stands"] if stand["state"] == "parked"]
    assert re.fullmatch(rf'echo.asked is parked since \d+ s ago, and resumed after "sb resume {tenant}": the tenant {tenant} is paused by grace;'
                        r" 2 more behind it", told), told
    time.sleep(3)                       # the sweep looks each second
    assert provider.requests == [] and rows(database, key) == []
    resume(sb, echo, tenant)
    answers = topics.wait("echo.out", key, count=3)
    assert [n for n, _, _ in rows(database, key)] == [1, 2, 3]
    assert [answer["data"]["attempt"] for answer in answers] == [1, 1, 1], "nobody was asked meanwhile"
    assert outcomes(database, key) == [("done", 1, None)] * 3


def test_what_cannot_be_paused_is_told(sb):
    assert "no company" in sb("pause", "nobody-knows", code=FAILED).stderr
    assert "no stage" in sb("pause", "nope", "--kind", "stage", code=FAILED).stderr
    assert "not paused" in sb("resume", "echo", code=FAILED).stderr
    sb("pause", "a", "b", code=WRONG)
    sb("resume", code=WRONG)
    sb("pause", "a", "--kind", "moon", code=WRONG)


# --- dead letters ----------------------------------------------------------------------------------------------------------


def letter_of(topics, key, count=1):
    """The newest dead letter of a conversation."""
    return topics.wait("dead.echo", key, count=count)[-1]


def groups(sb, *arguments):
    return json.loads(sb("dlq", "list", "echo", *arguments, "--json").stdout)


def fail_then_work(provider, why="the moon is full"):
    """Refuses for good, until it is told to work."""
    provider.behave = lambda *_: (422, {}, why)
    return lambda: setattr(provider, "behave", lambda *_: (200, {}, "answer"))


def test_letters_are_listed_by_what_went_wrong(sb, echo, topics, key):
    for n in (1, 22, 333):
        tell(topics, f"{key}-{n}", n=n, reject=f'{key}: chair {n} of "row {n}" is taken, HTTP status 409')
    tell(topics, key, n=1, reject=f"{key}: no such row")
    for other in (f"{key}-1", f"{key}-22", f"{key}-333", key):
        letter_of(topics, other)
    found = groups(sb, "--reason", key)
    assert [(group["letters"], group["type"]) for group in found] == [(3, "echo.asked"), (1, "echo.asked")]
    assert found[0]["reason"].endswith(': chair # of "…" is taken, HTTP status 409')
    assert found[0]["first"] <= found[0]["last"]
    assert found[0]["example"] in {letter_of(topics, f"{key}-{n}")["id"] for n in (1, 22, 333)}
    for code, number in ((63016, "+12025550101"), (63016, "+12025550102"), (21211, "+12025550103")):
        tell(topics, f"{key}-codes", n=1, reject=f'{key}: HTTP status 400: {{"code": {code}, "message": "not to {number}", "status": "INVALID", "id": 7}}')
    letter_of(topics, f"{key}-codes", count=3)
    kinds = {group["reason"].removeprefix("#: "): group["letters"] for group in groups(sb, "--key", f"{key}-codes")}
    assert kinds == {f'HTTP status 400: {{"code": {code}, "message": "…", "status": "INVALID", "id": #}}': letters for code, letters in ((63016, 2), (21211, 1))}
    readable = sb("dlq", "list", "--since", "10m", "--reason", key).stdout
    assert "chair # of" in readable and "echo" in readable.splitlines()[1]
    assert groups(sb, "--key", key)[0]["letters"] == 1 and groups(sb, "--type", "nothing") == []
    sb("dlq", "drop", "echo", "--reason", key, "--why", "over")


def test_a_letter_is_shown_whole(sb, echo, topics, key):
    told = tell(topics, key, n=7, reject="it is no good")
    letter = letter_of(topics, key)
    shown = sb("dlq", "show", "echo", "--id", told["id"]).stdout
    assert "it is no good" in shown and '"reject": "it is no good"' in shown and letter["id"] in shown
    whole, = json.loads(sb("dlq", "show", "echo", "--id", letter["id"], "--json").stdout)
    assert whole["letter"] == letter and whole["actions"] == []
    assert json.loads(whole["letter"]["data"]["event"]) == told
    sb("dlq", "drop", "echo", "--id", letter["id"], "--why", "not ours", "--as", "grace")
    action = json.loads(sb("dlq", "show", "echo", "--id", letter["id"], "--json").stdout)[0]["actions"]
    assert [(one["action"], one["who"], one["why"]) for one in action] == [("drop", "grace", "not ours")]
    assert "drop by grace" in sb("dlq", "show", "echo", "--id", letter["id"]).stdout


def test_a_letter_retried_is_handled_as_the_next_run_and_open_no_more(sb, echo, topics, database, provider, key):
    work = fail_then_work(provider)
    told = tell(topics, key, n=1, ask=provider.url + "/a")
    tell(topics, key, n=2)
    letter = letter_of(topics, key)
    again = json.loads(sb("dlq", "retry", "echo", "--id", letter["id"], "--json", code=FAILED).stdout)
    assert (again["sent"], again["rejected"]) == (1, 1), "it fails again, which is a new letter"
    newer = letter_of(topics, key, count=2)
    both = json.loads(sb("dlq", "show", "echo", "--id", told["id"], "--json").stdout)
    assert [(one["letter"]["id"], len(one["actions"])) for one in both] == [(letter["id"], 1), (newer["id"], 0)]
    assert newer["run"] == 1 and newer["id"] != letter["id"]
    work()
    assert "1 sent: 1 done" in sb("dlq", "retry", "echo", "--id", told["id"], "--as", "grace").stdout
    assert rows(database, key) == [(2, 0, rows(database, key)[0][2]), (1, 2, told["id"])]
    assert topics.wait("echo.out", key, n=1)[0]["run"] == 2
    assert groups(sb, "--key", key) == []
    assert "no open dead letter" in sb("dlq", "retry", "echo", "--id", letter["id"], code=FAILED).stderr
    who, detail = acted(database, "dlq retry", "echo")[-1]
    assert (who, detail["id"], detail["sent"], detail["done"]) == ("grace", told["id"], 1, 1)


def test_many_letters_are_retried_in_order_at_the_rate_asked_for(sb, echo, topics, database, provider, key):
    work = fail_then_work(provider, f"{key} is full")
    for n in range(1, 6):
        for other in range(4):
            tell(topics, f"{key}-{other}", n=n, ask=f"{provider.url}/{key}", flush=False)
    topics.producer.flush()
    for other in range(4):
        letter_of(topics, f"{key}-{other}", count=5)
    assert sum(group["letters"] for group in groups(sb, "--reason", f"{key} is full")) == 20
    work()
    dry = sb("dlq", "retry", "echo", "--reason", f"{key} is full", "--dry-run").stdout
    assert "20 letters would be" in dry and rows(database, f"{key}-0") == []
    began = time.monotonic()
    assert "20 sent: 20 done" in sb("dlq", "retry", "echo", "--reason", f"{key} is full", "--rate", 10).stdout
    assert time.monotonic() - began >= 1.9
    for other in range(4):
        assert [(n, run) for n, run, _ in rows(database, f"{key}-{other}")] == [(n, 1) for n in range(1, 6)]


def test_letters_whose_sending_broke_off_are_sent_once(sb, echo, topics, database, provider, key):
    """As after a kill between the sending and the note of it: the letter is open, and its run is used again."""
    work = fail_then_work(provider)
    told = tell(topics, key, n=1, ask=provider.url + "/a")
    letter = letter_of(topics, key)
    work()
    sb("dlq", "retry", "echo", "--id", letter["id"])
    database.execute("UPDATE letter_actions SET done_at = NULL WHERE letter_id = %s", (letter["id"],))
    assert len(groups(sb, "--key", key)) == 1
    sb("dlq", "retry", "echo", "--id", letter["id"])
    tell(topics, key, n=2)
    topics.wait("echo.out", key, n=2)
    assert [(n, run) for n, run, _ in rows(database, key)] == [(1, 1), (2, 0)] and groups(sb, "--key", key) == []
    assert told["id"] == rows(database, key)[0][2]


def test_an_edited_event_keeps_its_history(sb, echo, topics, database, key):
    topics.send("echo.in", key, event("echo.asked", key, {"n": "one"}))
    letter = letter_of(topics, key)
    assert letter["data"]["pointer"] == "/n"
    wrong = sb("dlq", "edit", "echo", "--id", letter["id"], "--set", "/data/n=false", code=FAILED).stderr
    assert "/data/n" in wrong and "no valid echo.asked" in wrong
    assert "not JSON" in sb("dlq", "edit", "echo", "--id", letter["id"], "--set", "/data/n=one", code=FAILED).stderr
    assert "no /data/m" in sb("dlq", "edit", "echo", "--id", letter["id"], "--set", "/data/m/o=1", code=FAILED).stderr
    changes = ["--set", "/data/n=12345678901234567", "--set", "/data/skip=false"]
    would = sb("dlq", "edit", "echo", "--id", letter["id"], *changes, "--dry-run", "--json")
    assert "nothing was changed" in would.stderr and json.loads(would.stdout)["data"] == {"n": 12345678901234567, "skip": False}
    assert rows(database, key) == []
    assert "run 1: 1 done" in sb("dlq", "edit", "echo", "--id", letter["id"], *changes, "--as", "grace").stdout
    assert [(n, run) for n, run, _ in rows(database, key)] == [(12345678901234567, 1)]
    action = json.loads(sb("dlq", "show", "echo", "--id", letter["id"], "--json").stdout)[0]["actions"][0]
    assert action["who"] == "grace" and action["run"] == 1 and action["before"] == letter["data"]["event"]
    assert json.loads(action["after"])["data"] == {"n": 12345678901234567, "skip": False}
    assert groups(sb, "--key", key) == []


def test_an_editor_may_be_used_and_what_was_no_event_can_become_one(sb, echo, topics, database, key, tmp_path):
    topics.send("echo.in", key, "nonsense")
    letter = letter_of(topics, key)
    whole = event("echo.asked", key, {"n": 4})
    (tmp_path / "after").write_text(json.dumps(whole))
    editor = tmp_path / "editor"
    editor.write_text(f"#!/bin/sh\ncp {tmp_path}/after \"$2\"\n")
    editor.chmod(0o755)
    assert "nothing was changed" in sb("dlq", "edit", "echo", "--id", letter["id"], code=FAILED, EDITOR="true").stderr
    assert "did not end well" in sb("dlq", "edit", "echo", "--id", letter["id"], code=FAILED, EDITOR="false").stderr
    sb("dlq", "edit", "echo", "--id", letter["id"], EDITOR=f"{editor} --wait")
    assert rows(database, key) == [(4, 1, whole["id"])]


def test_what_the_door_could_not_read_is_given_to_the_stage(sb, echo, topics, database, key):
    """Such a letter names no place in a topic: its event was never in one."""
    inside = event("echo.asked", key, {"n": 3})
    letter = event("event.rejected", key, {"stage": "echo", "reason": f"{key} is not readable", "attempts": 1, "topic": "echo.in",
                                           "partition": -1, "offset": -1, "event": json.dumps(inside), "encoding": "text"})
    topics.send("dead.echo", key, letter)
    assert "the door" in sb("dlq", "show", "echo", "--id", inside["id"]).stdout
    sb("dlq", "retry", "echo", "--reason", key)
    assert rows(database, key) == [(3, 1, inside["id"])]


def test_a_drop_needs_a_reason_and_what_is_wrong_is_told(sb, echo, topics, database, key):
    tell(topics, key, n=1, reject=key, attributes={"tenant": key})      # of each company `sb impact` names three conversations
    letter_of(topics, key)
    assert told_as_dead(sb, key) == ["why", "impact"]
    sb("dlq", "drop", "echo", "--key", key, code=WRONG)
    assert "1 letter would be dropped" in sb("dlq", "drop", "echo", "--key", key, "--why", "test", "--dry-run").stdout
    assert "1 dropped" in sb("dlq", "drop", "echo", "--key", key, "--why", "test").stdout
    assert groups(sb, "--key", key) == [] and rows(database, key) == []
    assert acted(database, "dlq drop", "echo")[-1][1]["why"] == "test"
    assert told_as_dead(sb, key) == [], "nobody has to see to it any more"
    for wrong in (["dlq"], ["dlq", "list", "nothing"], ["dlq", "retry", "echo"], ["dlq", "edit", "echo"], ["dlq", "burn", "echo"],
                  ["dlq", "retry", "echo", "--all", "--key", "x"], ["dlq", "retry", "echo", "--all", "--rate", "0"]):
        sb(*wrong, code=WRONG)
    assert "Examples" in sb("dlq", "--help").stdout


def test_a_person_at_a_terminal_is_asked_first(sb, echo, topics, database, key):
    for n in (1, 2):
        tell(topics, key, n=n, reject=key)
    letter_of(topics, key, count=2)
    assert "drop 2 letters of echo? [y/N]" in at_a_terminal(sb, "n", "dlq", "drop", "echo", "--key", key, "--why", "test", code=FAILED)
    assert groups(sb, "--key", key)[0]["letters"] == 2
    at_a_terminal(sb, "y", "dlq", "drop", "echo", "--key", key, "--why", "test")
    assert groups(sb, "--key", key) == []


# --- replay ------------------------------------------------------------------------------------------------------------------


def everything_in(database):
    """All rows of all tables, but for what the running stage writes by itself."""
    tables = database.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace").fetchall()
    return {name: sorted(map(str, database.execute(f'SELECT * FROM "{name}"').fetchall()))
            for (name,) in tables if name not in ("instances", "operator_actions")}


def test_a_replay_is_a_new_run_from_recorded_answers(sb, echo, topics, database, provider, key):
    asked = tell(topics, key, n=1, ask=provider.url + "/a")
    tell(topics, key, n=2, once=provider.url + "/once")
    topics.wait("echo.out", key, count=2)
    provider.behave = lambda *_: (200, {}, "another answer")
    assert "2 sent: 2 done" in sb("replay", "echo", "--key", key, "--as", "grace").stdout
    assert [(n, run) for n, run, _ in rows(database, key)] == [(1, 0), (2, 0), (1, 1), (2, 1)]
    answers = topics.wait("echo.out", key, count=4)
    assert [(answer["run"], answer["data"]["answer"]) for answer in answers] == [(0, "answer"), (0, "answer"), (1, "answer"), (1, "answer")]
    assert len(provider.requests) == 2, "nobody is asked"
    who, detail = acted(database, "replay", "echo")[-1]
    assert (who, detail["key"], detail["events"], detail["done"]) == ("grace", key, 2, 2)
    sb("replay", "echo", "--id", asked["id"], "--ask-again")
    assert topics.wait("echo.out", key, count=5)[-1]["data"]["answer"] == "another answer"
    assert [(n, run) for n, run, _ in rows(database, key)][-1] == (1, 2)


def test_what_happens_once_happens_once_more_only_when_asked_for(sb, echo, topics, provider, key):
    tell(topics, key, n=1, once=provider.url + "/once")
    topics.wait("echo.out", key)
    sb("replay", "echo", "--key", key, "--ask-again")
    assert len(provider.asked("/once", "POST")) == 1
    sb("replay", "echo", "--key", key, "--resend")
    assert len(provider.asked("/once", "POST")) == 2


def test_a_replay_chooses_by_time_type_and_id_and_keeps_the_order_across_topics(sb, echo, topics, database, key):
    began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 1))
    for n in range(1, 21):
        tell(topics, key, n=n, topic=("echo.in", "echo.more")[n % 2])
        topics.wait("echo.out", key, n=n)
    counted = json.loads(sb("replay", "echo", "--since", began, "--type", "echo.asked", "--key", key, "--rate", 1000, "--json").stdout)
    assert (counted["sent"], counted["done"], counted["gone"]) == (20, 20, 0)
    assert [n for n, run, _ in rows(database, key) if run == 1] == list(range(1, 21))
    for nothing in (["--until", began], ["--type", "nothing"], ["--id", "00000000-0000-4000-8000-000000000000"]):
        assert "no event that fits" in sb("replay", "echo", "--key", key, *nothing, code=FAILED).stderr
    for wrong in (["echo"], ["nothing", "--key", "x"], ["echo", "--id", "x"], ["echo", "--since", "whenever"], ["echo", "--rate", "0"]):
        sb("replay", *wrong, code=WRONG)
    assert "Examples" in sb("replay", "--help").stdout


def test_events_that_kafka_has_no_longer_are_named(sb, echo, topics, database, key):
    kept = tell(topics, key, n=1)
    gone = tell(topics, key, n=2)
    topics.wait("echo.out", key, count=2)
    database.execute("UPDATE ledger SET \"offset\" = 1000000000 WHERE event_id = %s", (gone["id"],))
    result = sb("replay", "echo", "--key", key, code=FAILED)
    assert "1 sent: 1 done" in result.stdout and gone["id"] in result.stderr and kept["id"] not in result.stderr
    assert [(n, run) for n, run, _ in rows(database, key)] == [(1, 0), (2, 0), (1, 1)]


def test_a_replay_of_a_stage_that_does_not_run_waits_in_kafka(sb, echo, topics, database, key):
    tell(topics, key, n=1)
    topics.wait("echo.out", key)
    assert echo.stop() == 0
    assert "does not run" in sb("replay", "echo", "--key", key, code=FAILED).stderr
    echo.start().ready()
    topics.wait("echo.out", key, count=2)
    assert [(n, run) for n, run, _ in rows(database, key)] == [(1, 0), (1, 1)]


def test_a_dry_run_tells_field_by_field_and_changes_nothing(sb, echo, topics, database, provider, key):
    counter = key + "-counter"
    first = tell(topics, key, n=1, counter=counter, ask=provider.url + "/a")
    rejected = tell(topics, key, n=2, reject="it is no good")
    never_asked = tell(topics, key, n=3, ask=provider.url + "/never")
    topics.wait("echo.out", key, count=2)
    database.execute("UPDATE asks SET cost_micros = 2500 WHERE event_id = %s", (first["id"],))
    database.execute("DELETE FROM asks WHERE event_id = %s", (never_asked["id"],))
    before, requests = everything_in(database), len(provider.requests)
    said = [json.loads(line) for line in sb("replay", "echo", "--key", key, "--dry-run", "--json").stdout.splitlines()]
    by_event = {line["event_id"]: line for line in said if "event_id" in line}
    one = by_event[first["id"]]
    assert (one["outcome"], one["run"], one["asks"]) == ("done", 1, [{"name": "get", "provider": "stub", "asked": False}])
    assert one["changes"][0] == {"table": "echo_counters", "change": "update", "key": {"name": counter}, "fields": {"value": [1, 2]}}
    assert one["changes"][1]["change"] == "insert" and one["changes"][1]["fields"]["n"] == [None, 1]
    assert [sent["data"]["answer"] for sent in one["events"]] == ["answer"]
    assert (by_event[rejected["id"]]["outcome"], by_event[rejected["id"]]["why"]) == ("rejected", "it is no good")
    assert by_event[never_asked["id"]]["outcome"] == "asks" and by_event[never_asked["id"]]["asks"][0]["asked"]
    summary = said[-1]["summary"]
    assert (summary["events"], summary["changing"], summary["outcomes"]) == (3, 1, {"done": 1, "rejected": 1, "asks": 1})
    assert summary["fields"]["echo_counters.value"] == 1 and summary["asks"] == {"get": 1} and summary["cost_micros"] > 0
    readable = sb("replay", "echo", "--key", key, "--dry-run", "--ask-again").stdout
    assert "value: 1 → 2" in readable and "would ask: get ×2" in readable and "nothing was changed" in readable
    assert everything_in(database) == before and len(provider.requests) == requests
    assert topics.copies("replay.echo", key) == 0 and len(topics.find("echo.out", key)) == 2


def test_a_dry_run_sends_no_message_even_when_it_would_be_sent_again(sb, echo, topics, provider, key):
    tell(topics, key, n=1, once=provider.url + "/once")
    topics.wait("echo.out", key)
    said = sb("replay", "echo", "--key", key, "--dry-run", "--resend").stdout
    assert "would ask stub (echo)" in said and len(provider.asked("/once", "POST")) == 1


def test_a_dry_run_sums_up_messages_by_their_purpose(sb, echo, topics, database, provider, key):
    """Not by their names, which hold whom each is about; what such messages have cost is what they would cost again."""
    for n in (1, 2):
        tell(topics, f"{key}-{n}", n=n, once=provider.url + "/once")
        topics.wait("echo.out", f"{key}-{n}")
    database.execute("UPDATE asks SET cost_micros = 5000, name = 'echo/' || recipient WHERE recipient LIKE %s", (f"{key}-%",))
    said = sb("replay", "echo", "--id", topics.find("echo.in", f"{key}-1")[0]["id"], "--dry-run", "--resend", "--json").stdout
    summary = json.loads(said.splitlines()[-1])["summary"]
    assert summary["asks"] == {"echo": 1} and summary["cost_micros"] > 0


def test_a_dry_run_of_a_program_that_ends_is_told(sb, echo, topics, key):
    tell(topics, key, n=1)
    topics.wait("echo.out", key)
    result = sb("replay", "echo", "--key", key, "--dry-run", code=WRONG, LOG_LEVEL="info", RETRY_AGE_MAX="soon")
    assert "RETRY_AGE_MAX" in result.stderr and "program ended" in result.stderr


# --- rewind -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def stopped(sb, echo):
    """The stage stands still, and Kafka has noticed."""
    assert echo.stop() == 0
    wait_until(lambda: can_be_rewound(sb), "the end of the stage's session", PAUSE_S, 0.5)
    yield echo
    if echo.process.poll() is not None:
        echo.start().ready()


def can_be_rewound(sb):
    try:
        return sb("rewind", "echo", "--to", "1s", "--dry-run")
    except AssertionError:
        return None


def standing(sb, topic, partition):
    places = json.loads(sb("rewind", "echo", "--to", "1d", "--topic", topic, "--partition", partition, "--dry-run", "--json").stdout)
    return places["partitions"][0]["from"]


def test_a_running_stage_is_not_rewound_and_its_members_are_named(sb, echo):
    said = sb("rewind", "echo", "--to", "1h", code=FAILED).stderr
    assert "the stage runs: echo-echo-act" in said


def test_what_the_ledger_knows_is_not_handled_again_and_what_it_lost_is(sb, echo, topics, database, key, request):
    """As after Postgres was restored from a backup that is older than the offsets."""
    time.sleep(1.1)                     # the option takes whole seconds, and what was sent before is not meant
    began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    kept, lost = tell(topics, key, n=1), tell(topics, key, n=2)
    topics.wait("echo.out", key, count=2)
    partition = topics.partition_of("echo.in", key)
    request.getfixturevalue("stopped")
    for table, column in (("ledger", "event_id"), ("emitted", "cause_id"), ("echo_rows", "event_id")):
        database.execute(f"DELETE FROM {table} WHERE {column} = %s", (lost["id"],))
    at = standing(sb, "echo.in", partition)
    shown = sb("rewind", "echo", "--to", began, "--dry-run").stdout
    assert "replay.echo" in shown and standing(sb, "echo.in", partition) == at
    told = json.loads(sb("rewind", "echo", "--to", began, "--as", "grace", "--json").stdout)
    place = next(one for one in told["partitions"] if (one["topic"], one["partition"]) == ("echo.in", partition))
    assert (place["from"], place["to"]) == (at, at - 2) and standing(sb, "echo.in", partition) == at - 2
    assert acted(database, "rewind", "echo")[-1][0] == "grace"
    echo.start().ready()
    wait_until(lambda: [n for n, _, _ in rows(database, key)] == [1, 2], "the lost event being handled again", PAUSE_S)
    assert rows(database, key)[0][2] == kept["id"]


def test_an_offset_is_of_one_partition_and_never_ahead(sb, echo, topics, key, request):
    tell(topics, key, n=1)
    topics.wait("echo.out", key)
    partition = topics.partition_of("echo.in", key)
    request.getfixturevalue("stopped")
    tell(topics, key, n=2)
    at = standing(sb, "echo.in", partition)
    ours = ["--topic", "echo.in", "--partition", partition]
    ahead = sb("rewind", "echo", "--to", at + 1, *ours, code=FAILED).stderr
    assert "1 event would be passed over" in ahead
    assert "has the offsets 0 to" in sb("rewind", "echo", "--to", 10**9, *ours, code=FAILED).stderr
    assert "reads no such topic" in sb("rewind", "echo", "--to", "1h", "--topic", "echo.out", code=FAILED).stderr
    sb("rewind", "echo", "--to", at - 1, *ours)
    assert standing(sb, "echo.in", partition) == at - 1
    unread = next(number for number in range(8) if standing(sb, "echo.more", number) == -1)
    assert "has not begun" in sb("rewind", "echo", "--to", 0, "--topic", "echo.more", "--partition", unread, code=FAILED).stderr
    for wrong in (["echo"], ["echo", "--to", "5"], ["echo", "--to", "moon"], ["nothing", "--to", "1h"], ["--to", "1h"]):
        sb("rewind", *wrong, code=WRONG)
    assert "Examples" in sb("rewind", "--help").stdout
