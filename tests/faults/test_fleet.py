"""What the rounds rely on: an instance that went away comes back on its own disk; its clock can be set, and what then matters."""

import json
import signal
from datetime import datetime, timedelta, timezone

import pytest
from daemons import Topics, event
from environment import wait_until
from fleet import moment
from sending import OK, answer_of, signed_by_callrail

CALLS, RECOVER_S = 20, 60
LEASE_MS = 31_000                   # longer than a lease lasts before its request must have left
JUMPS = (timedelta(hours=-25), timedelta(minutes=61))


@pytest.fixture
def echo(world):
    echo = world.fleet.add("echo").ready()
    yield echo
    world.set_clock(echo.instance, 0)
    world.fleet.remove(echo)


def test_what_a_door_left_in_its_spool_is_sent_in_the_recovery(world):
    stays, goes = (world.fleet.add("ingest").ready() for _ in range(2))
    world.environment.kafka.freeze()
    for number in range(CALLS):
        body = json.dumps({"call_id": f"left-{number}"}).encode()
        assert answer_of(goes.url, "/api/v1/callrail/call.incoming", body, signed_by_callrail(body))[0] == OK
    world.fleet.remove(goes, signal.SIGKILL)
    goes.process.wait()
    world.environment.kafka.thaw()
    assert world.recover(RECOVER_S, print) == []
    topics = Topics(world.environment.brokers)
    for number in range(CALLS):
        topics.wait("inbound.callrail", f"left-{number}")
    topics.close()
    assert world.fleet.of("ingest") == [stays], "it goes again"


def test_one_that_goes_and_comes_again_is_one_process(world, echo):
    first = echo.process
    world.fleet.remove(echo)
    assert world.fleet.add("echo") is echo and first.poll() is not None and echo.process is not first


def test_a_clock_jumps_and_goes_back_while_the_process_runs(world, echo):
    def off():
        """By how much the time of what it says now differs from the machine's."""
        said = len(echo.log())
        world.set_points("echo", 0, ["offset.before=delay:1 nth=1"])
        line = wait_until(lambda: (log := echo.log()[said:]).endswith("\n") and log.splitlines()[-1], "a fault point's line")
        return moment(json.loads(line)["time"]) - datetime.now(timezone.utc)

    for jump in (*JUMPS, timedelta()):
        world.set_clock(echo.instance, int(jump.total_seconds()))
        assert abs(off() - jump) < timedelta(minutes=1)


@pytest.mark.parametrize("jump", JUMPS, ids=str)
def test_what_is_parked_waits_and_ages_by_one_clock_for_all(world, echo, jump):
    key = f"parked-{int(jump.total_seconds())}"
    topics = Topics(world.environment.brokers)
    database = world.connect_when_there()
    times = lambda: database.execute("SELECT now() - first_at, resume_at - now() FROM parked WHERE subject = %s AND attempts = %s",  # noqa: E731
                                     (key, attempt)).fetchone()
    world.set_clock(echo.instance, int(jump.total_seconds()))
    topics.send("echo.in", key, event("echo.asked", key, {"n": 1, "retries": 2, "retry_ms": 600_000}))
    for attempt in (1, 2):
        age, left = wait_until(times, "the event being parked")
        assert age < timedelta(minutes=1) and timedelta(minutes=9) < left < timedelta(minutes=11)
        world.set_clock(echo.instance, 0)
        database.execute("UPDATE parked SET resume_at = now() WHERE subject = %s", (key,))
    topics.wait("echo.out", key)
    assert not topics.find("dead.echo", key)
    database.close()
    topics.close()


def test_a_request_does_not_leave_when_its_lease_is_over(world, echo):
    topics = Topics(world.environment.brokers)
    url = world.stub.url + "/once/late"
    world.set_points("echo", 0, [f"ask.leased=delay:{LEASE_MS} nth=1"])
    topics.send("echo.in", "late", event("echo.asked", "late", {"n": 1, "once": url}))
    topics.wait("echo.out", "late")
    assert [method for method, path, _ in world.stub.requests if path == "/once/late"] == ["GET", "POST"], "looked up first"
    topics.close()
