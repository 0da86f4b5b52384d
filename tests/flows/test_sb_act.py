"""sb's acting commands on the test stage: pauses, replays, rewinding, dead letters; what was done is recorded, and nothing happens twice."""

import json
import os
import pty
import subprocess
import time

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

    def run(*arguments, code=FINE, input=None, **settings):
        result = subprocess.run([SB, *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=120, input=input,
                                stdin=None if input is not None else subprocess.DEVNULL,
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


def is_paused(echo, kind, name):
    return echo.metric("paused", kind=kind, what=name) == 1


def pause(sb, echo, name, kind, *more):
    sb("pause", name, "--kind", kind, *more)
    wait_until(lambda: is_paused(echo, kind, name), f"the pause of {name}", 5)


def resume(sb, echo, name):
    sb("resume", name)
    wait_until(lambda: echo.metric("paused", what=name) == 0, f"the end of {name}'s pause", PAUSE_S)


def acted(database, command, what):
    return database.execute("SELECT who, detail FROM operator_actions WHERE command = %s AND what LIKE %s ORDER BY action_id",
                            (command, what)).fetchall()


# --- pause and resume ----------------------------------------------------------------------------------------------------


def test_a_paused_stage_begins_nothing_and_says_so(sb, echo, topics, database, key):
    pause(sb, echo, "echo", "stage", "--why", "the moon is full")
    tell(topics, key, n=1)
    tell(topics, key, n=2)
    listed = json.loads(sb("pause", "--json").stdout)
    assert [(one["kind"], one["name"], one["why"]) for one in listed] == [("stage", "echo", "the moon is full")]
    assert listed[0]["by"].startswith("ada@") and "the moon is full" in sb("pause").stdout
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
    tell(topics, key, n=1, ask=provider.url + "/first")
    tell(topics, key, n=2, ask=provider.url + "/second")
    tell(topics, key + "-other", n=1)
    topics.wait("echo.out", key + "-other")
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
