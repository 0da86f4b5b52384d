"""What the rounds rely on: an instance that went away comes back on its own disk, and its clock can be set."""

import json
import signal
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "flows")]

from cases import OK, post  # noqa: E402
from daemons import Topics  # noqa: E402
from environment import wait_until  # noqa: E402
from fleet import World  # noqa: E402

CALLS, RECOVER_S = 20, 60


@pytest.fixture(scope="module")
def world():
    world = World()
    yield world
    world.close()


def test_what_a_door_left_in_its_spool_is_sent_in_the_recovery(world):
    stays, goes = (world.fleet.add("ingest").ready() for _ in range(2))
    world.environment.kafka.freeze()
    for number in range(CALLS):
        body = json.dumps({"call_id": f"left-{number}"}).encode()
        assert post(goes.url, "/api/v1/callrail/call.incoming", body)[0] == OK
    world.fleet.remove(goes, signal.SIGKILL)
    goes.process.wait()
    world.environment.kafka.thaw()
    assert world.recover(RECOVER_S, print) == []
    topics = Topics(world.environment.brokers)
    for number in range(CALLS):
        topics.wait("inbound.callrail", f"left-{number}")
    topics.close()
    assert world.fleet.of("ingest") == [stays], "it goes again"


def test_one_that_goes_and_comes_again_is_one_process(world):
    daemon = world.fleet.add("echo").ready()
    first = daemon.process
    world.fleet.remove(daemon)
    assert world.fleet.add("echo") is daemon and first.poll() is not None and daemon.process is not first
    daemon.ready()
    world.fleet.remove(daemon)


def test_a_clock_jumps_and_goes_back_while_the_process_runs(world):
    daemon = world.fleet.add("echo").ready()

    def off():
        """By how much the time of what it says now differs from the machine's."""
        said = len(daemon.log())
        world.set_points("echo", 0, ["offset.before=delay:1 nth=1"])
        line = wait_until(lambda: (log := daemon.log()[said:]).endswith("\n") and log.splitlines()[-1], "a fault point's line")
        return datetime.fromisoformat(json.loads(line)["time"]) - datetime.now(timezone.utc)

    assert abs(off()) < timedelta(minutes=1)
    for jump in (timedelta(hours=-25), timedelta(minutes=61)):
        world.set_clock(daemon.instance, int(jump.total_seconds()))
        assert abs(off() - jump) < timedelta(minutes=1)
    world.set_clock(daemon.instance, 0)
    assert abs(off()) < timedelta(minutes=1)
    world.fleet.remove(daemon)
