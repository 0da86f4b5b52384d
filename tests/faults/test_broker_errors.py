"""Brokers that answer with errors, which a real one cannot be made to give: librdkafka's mock brokers, and the test stage.

Whatever they answer, in the end each event is one row and one event, in the order of its key, and every offset is committed.  What passes
by itself must not end the process; what an idempotent producer or a member of a group cannot survive ends it, and its supervisor starts it
again."""

import json
import os
import subprocess
import time
import uuid

import psycopg
import pytest
from confluent_kafka import Producer
from daemons import BUILD, Daemon, Supervised, Topics, event
from environment import ROOT, Environment, wait_until

MAPS = [json.loads((ROOT / folder / "topics.json").read_text()) for folder in ("schemas", "tests/stage/schemas")]
PARTITIONS = MAPS[0]["partitions"]
TOPICS = [topic["name"] for topics in MAPS for topic in topics["topics"]] + [
    kind["name"] + stage["name"] for topics in MAPS for stage in topics["stages"] for kind in MAPS[0]["per_stage"]]
BROKERS = (1, 2, 3)                     # the first one leads everything, until a test moves it
KEYS, PER_KEY, SLEEP_MS = 20, 10, 60
SOON_AFTER_S = 30                       # far below librdkafka's time-out of a request
SOON_S = 10                             # far below the deadline of a stage that ends

PRODUCE, FETCH, COMMIT, OFFSETS, COORDINATOR, JOIN, HEARTBEAT, SYNC = 0, 1, 8, 9, 10, 11, 12, 14    # the protocol's numbers
CUT = -195                              # the connection, instead of an answer
UNKNOWN_TOPIC, NOT_LEADER, TIMED_OUT, NOT_ENOUGH_REPLICAS, NOT_ENOUGH_AFTER_APPEND, STORAGE, UNKNOWN_LEADER_EPOCH = 3, 6, 7, 19, 20, 56, 75
LOADING, COORDINATOR_AWAY, NOT_COORDINATOR, ILLEGAL_GENERATION, UNKNOWN_MEMBER, REBALANCING, UNSTABLE = 14, 15, 16, 22, 25, 27, 88
TOPIC_NOT_ALLOWED, OUT_OF_ORDER, FENCED = 29, 45, 82
REJOIN = (HEARTBEAT, UNKNOWN_MEMBER, 1)

# what is answered with which errors, and how often
PASSING = {
    "produce: too few replicas": [(PRODUCE, NOT_ENOUGH_REPLICAS, 10), (PRODUCE, NOT_ENOUGH_AFTER_APPEND, 10)],
    "produce: the leader": [(PRODUCE, NOT_LEADER, 5), (PRODUCE, TIMED_OUT, 5), (PRODUCE, STORAGE, 5), (PRODUCE, CUT, 5)],
    "fetch": [(FETCH, NOT_LEADER, 2), (FETCH, STORAGE, 2), (FETCH, UNKNOWN_LEADER_EPOCH, 2), (FETCH, UNKNOWN_TOPIC, 2), (FETCH, CUT, 2)],
    "commit: the coordinator": [(COMMIT, LOADING, 1), (COMMIT, NOT_COORDINATOR, 1), (COMMIT, CUT, 1)],
    "commit: the group": [(COMMIT, REBALANCING, 1), (COMMIT, ILLEGAL_GENERATION, 1), (COMMIT, UNKNOWN_MEMBER, 1)],
    "committed offsets": [(OFFSETS, LOADING, 1), (OFFSETS, NOT_COORDINATOR, 1), (OFFSETS, UNSTABLE, 1), (OFFSETS, CUT, 1), REJOIN],
    "heartbeat: the coordinator": [(HEARTBEAT, NOT_COORDINATOR, 1), (HEARTBEAT, CUT, 1), (COORDINATOR, COORDINATOR_AWAY, 2)],
    "heartbeat: the group": [(HEARTBEAT, REBALANCING, 1), (HEARTBEAT, ILLEGAL_GENERATION, 1)],
    "join": [(JOIN, LOADING, 1), (JOIN, UNKNOWN_MEMBER, 1), (SYNC, REBALANCING, 1), (SYNC, UNKNOWN_MEMBER, 1), REJOIN],
}
FINAL = {
    "produce: out of order": (PRODUCE, OUT_OF_ORDER),
    "produce: not allowed": (PRODUCE, TOPIC_NOT_ALLOWED),
    "heartbeat: fenced": (HEARTBEAT, FENCED),
}


class MockKafka:
    """The brokers of mock_kafka.c."""

    def __init__(self):
        self.process = subprocess.Popen([BUILD / "tests" / "mock_kafka", *(f"{topic}:{PARTITIONS}" for topic in TOPICS)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1)
        self.brokers = self.process.stdout.readline().strip()
        assert self.brokers, "the mock brokers did not start"

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        return self.process.stdout.readline().strip()

    def tell(self, command):
        answer = self.ask(command)
        assert answer == "ok", f"{command}: {answer}"

    def answer(self, api, code=0, count=1, late_ms=0, broker=BROKERS[0]):
        """The next requests get this; `left` to be given."""
        self.tell(f"answer {broker} {api} {code} {late_ms} {count}")

    def left(self, api, broker=BROKERS[0]):
        return int(self.ask(f"left {broker} {api}"))

    def lead(self, broker):
        """Everything that the test stage reads and writes."""
        for topic in ("echo.in", "echo.more", "echo.out", "dead.echo", "replay.echo", "due.echo"):
            for partition in range(PARTITIONS):
                self.tell(f"leader {topic} {partition} {broker}")
        self.tell(f"coordinator echo {broker}")

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def kafka():
    kafka = MockKafka()
    kafka.lead(BROKERS[0])
    yield kafka
    kafka.close()


@pytest.fixture(scope="module")
def environment(kafka):
    """A Postgres of its own, and these brokers."""
    os.environ["TEST_KAFKA_BROKERS"] = kafka.brokers
    environment = Environment()
    del os.environ["TEST_KAFKA_BROKERS"]
    yield environment
    environment.close()


@pytest.fixture(scope="module")
def stage(environment, tmp_path_factory):
    """One instance for all of them, started again when it ends."""
    daemon = Daemon("echo", environment, tmp_path_factory.mktemp("stage"), CREATE_TOPICS="off", KAFKA_PROP_session_timeout_ms=4000,
                    KAFKA_PROP_heartbeat_interval_ms=200, KAFKA_PROP_auto_commit_interval_ms=200,
                    KAFKA_PROP_topic_metadata_refresh_interval_ms=1000)
    migrations = len(list((ROOT / "schemas" / "postgres").glob("*.sql")))

    def prepared():
        try:
            with environment.connect() as database:
                ready = database.execute("SELECT count(*) FROM schema_migrations").fetchone()[0] == migrations
                if ready:
                    database.execute((ROOT / "tests" / "stage" / "echo.sql").read_text())
                return ready
        except psycopg.errors.UndefinedTable:
            return False
    wait_until(prepared, "the tables")
    with Supervised(daemon):
        yield daemon.ready()
    daemon.stop()


@pytest.fixture
def key(kafka, stage):
    """Events of many keys, on their way before anything is broken."""
    key = "mock-" + uuid.uuid4().hex[:8]
    producer = Producer({"bootstrap.servers": kafka.brokers, "partitioner": "murmur2_random", "log_level": 0})
    for n in range(1, PER_KEY + 1):
        for number in range(KEYS):
            of = f"{key}-{number}"
            producer.produce("echo.in", json.dumps(event("echo.asked", of, {"n": n, "sleep_ms": SLEEP_MS})), key=of)
    assert producer.flush(20) == 0
    return key


def everything_once(environment, kafka, key):
    """Each event one row and one event, in the order of its key; nothing left to do."""
    all_of_it = (key + "-%",)
    with environment.connect() as database:
        count = lambda: database.execute("SELECT count(*) FROM ledger WHERE subject LIKE %s", all_of_it).fetchone()[0]  # noqa: E731
        wait_until(lambda: count() >= KEYS * PER_KEY, "every event finished")
        rows = database.execute("SELECT subject, n FROM echo_rows WHERE subject LIKE %s ORDER BY position", all_of_it).fetchall()
    topics = Topics(kafka.brokers)
    try:
        wait_until(lambda: topics.behind("echo", "echo.in") == 0, "every offset committed")
        for of in (f"{key}-{number}" for number in range(KEYS)):
            told = [answer["data"]["n"] for answer in topics.wait("echo.out", of, count=PER_KEY)]
            assert [n for subject, n in rows if subject == of] == told == list(range(1, PER_KEY + 1)), of
        assert not topics.find("dead.echo")
    finally:
        topics.close()


@pytest.mark.parametrize("what", PASSING)
def test_an_error_that_passes_costs_nothing(environment, kafka, stage, key, what):
    process = stage.process
    for api, code, count in PASSING[what]:
        kafka.answer(api, code, count)
    wait_until(lambda: not any(kafka.left(api) for api, _, _ in PASSING[what]), "all these answers")
    everything_once(environment, kafka, key)
    assert stage.process is process and process.poll() is None, stage.log()[-3000:]


@pytest.mark.parametrize("what", FINAL)
def test_an_error_that_does_not_pass_ends_the_process_and_costs_nothing(environment, kafka, stage, key, what):
    process, ends = stage.process, stage.log().count("stopping: cannot go on")
    kafka.answer(*FINAL[what])
    wait_until(lambda: process.poll() is not None, "the end of the process: it waits for nothing that cannot come", SOON_S)
    assert process.returncode > 0, "it ends by itself, and not by a signal"
    assert stage.log().count("stopping: cannot go on") == ends + 1, "and says once why"
    everything_once(environment, kafka, key)


def test_answers_that_come_late_cost_nothing(environment, kafka, stage, key):
    for api in (PRODUCE, COMMIT, HEARTBEAT):
        kafka.answer(api, count=3, late_ms=500)
    wait_until(lambda: not any(kafka.left(api) for api in (PRODUCE, COMMIT, HEARTBEAT)), "all these answers")
    everything_once(environment, kafka, key)


def test_a_topic_that_is_said_to_be_gone_ends_the_process_and_costs_nothing(environment, kafka, stage, key):
    process = stage.process
    kafka.tell(f"topic echo.out {UNKNOWN_TOPIC}")
    kafka.answer(PRODUCE, NOT_LEADER)           # so that the stage asks where it is
    wait_until(lambda: process.poll() is not None, "the end of the process", SOON_S)
    kafka.tell("topic echo.out 0")
    everything_once(environment, kafka, key)


def test_leaders_and_coordinators_move_and_brokers_go(environment, kafka, stage, key):
    process = stage.process
    for gone, leads in zip(BROKERS, (2, 3, 1), strict=True):
        kafka.lead(leads)
        kafka.tell(f"down {gone}")
        wait_until(lambda: stage.metric("in_flight") >= 0, "the stage's answer without that broker")
        kafka.tell(f"up {gone}")
    everything_once(environment, kafka, key)
    assert stage.process is process and process.poll() is None, stage.log()[-3000:]


def test_a_coordinator_away_for_longer_than_the_session_holds_up_nobody_afterwards(environment, kafka, stage, key):
    process = stage.process
    revoked = stage.log().count("partitions revoked")
    kafka.tell(f"down {BROKERS[0]}")
    wait_until(lambda: stage.log().count("partitions revoked") > revoked, "the end of the session")
    kafka.tell(f"up {BROKERS[0]}")
    began = time.monotonic()
    everything_once(environment, kafka, key)
    assert time.monotonic() - began < SOON_AFTER_S
    assert stage.process is process and process.poll() is None, stage.log()[-3000:]
