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
        return line["retrying"] >= 1 and of_key and (line, of_key[0])
    line, stuck = wait_until(told, "the event that waits")
    assert line["instances"] >= 1 and line["behind"] >= 2 and line["in_flight"] >= 2 and line["oldest"]
    assert re.match(r"echo.asked waits after attempt 1 for the next one in \d+ s \([\d:]+\), and is given up after .*: told to; 1 more behind it",
                    stuck["sentence"])
    assert stuck["about"]["due_at"] and stuck["about"]["attempt"] == 1
    seen = sb("status", code=None).stdout
    assert re.search(rf"^echo +[1-9]\d* +[1-9]\d* +\d+ \w+ +[1-9]\d* +[1-9]\d* ", seen, re.M), seen
    assert re.search(rf"^  echo: {key}: echo.asked waits after attempt 1", seen, re.M), seen


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


def test_status_without_its_parts_says_what_it_cannot_know(sb):
    seen = sb("status", code=FAILED, DATABASE_URL="postgresql://127.0.0.1:1/x", KAFKA_BROKERS="127.0.0.1:1").stdout
    assert re.search(r"^echo +- +- +- +- +- +- +- +- +-$", seen, re.M), seen
    assert "kafka: could not ask Kafka" in seen and "postgres: " in seen and "nothing is stuck" not in seen
