"""The daemons under test as processes, and topics as something to wait for."""

import atexit
import collections
import json
import os
import re
import signal
import subprocess
import threading
import uuid
from pathlib import Path

import requests
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from environment import ROOT, free_port, wait_until

BUILD = Path(os.environ.get("SWITCHBOARD_BUILD", ROOT / "build"))
MIGRATIONS = len(list((ROOT / "schemas" / "postgres").glob("*.sql")))
WAIT_S = 60  # for things that take milliseconds; reached only when they do not happen


class Daemon:
    """One daemon, started with just the settings given.  Ends with the test.

    Without an `instance` it has a folder of its own, and the name of one that was stopped, if there is any: to the broker that one came
    back, and gets its partitions without waiting for the end of its session."""

    free_names = collections.defaultdict(list)      # {daemon: those of instances that were stopped}

    def __init__(self, name, environment, folder, instance=None, **settings):
        self.name = name
        self.folder = Path(folder) / (instance or self.new_name())
        self.folder.mkdir(exist_ok=True)
        self.shares_its_name = instance is None     # once it was stopped, until it starts again
        self.instance, self.has_name = instance or self.take_name(), True
        self.port = int(settings.pop("port", None) or free_port())
        listen = f"127.0.0.1:{self.port}"
        self.settings = {
            "PATH": os.environ["PATH"], "DATABASE_URL": environment.database_url, "KAFKA_BROKERS": environment.brokers,
            "CREATE_TOPICS": "on", "INSTANCE": self.instance, "STATE_DIR": str(self.folder / "state"),
            f"{name.upper()}_METRICS_LISTEN": listen, f"{name.upper()}_LISTEN": listen, "LOG_LEVEL": "info",
            "ASAN_OPTIONS": "abort_on_error=1:detect_leaks=0:intercept_strstr=0", "UBSAN_OPTIONS": "print_stacktrace=1",
            "TSAN_OPTIONS": f"exitcode=66:suppressions={ROOT}/tests/stage/tsan.supp",
            "KAFKA_PROP_session_timeout_ms": "6000", **settings}
        if name == "ingest":
            del self.settings["INGEST_METRICS_LISTEN"]
        self.url = f"http://{listen}"
        self.process = None
        atexit.register(lambda: self.process.poll() is None and self.process.kill())
        self.start()

    def new_name(self):
        return f"{self.name}-{uuid.uuid4().hex[:6]}"

    def take_name(self, wanted=None):
        """Gives the one that is wanted, if it is still free, or another."""
        free = self.free_names[self.name]
        return free.pop(free.index(wanted) if wanted in free else -1) if free else self.new_name()

    def start(self):
        if not self.has_name:
            self.instance, self.has_name = self.take_name(self.instance), True
            self.settings["INSTANCE"] = self.instance
        program = BUILD / ("tests" if self.name == "echo" else "bin") / self.name
        self.log_path = self.folder / "log"
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([str(program)], env={name: str(value) for name, value in self.settings.items()},
                                            stdout=log, stderr=log, cwd=self.folder)
        return self

    def ready(self):
        def answers():
            assert self.process.poll() is None, f"{self.instance} ended with {self.process.returncode}: {self.log()[-3000:]}"
            try:
                return requests.get(self.url + "/ready", timeout=5).ok
            except requests.RequestException:
                return False
        wait_until(answers, f"{self.instance} becoming ready", WAIT_S, 0.05)
        return self

    def log(self):
        return self.log_path.read_text(errors="replace")

    def metric(self, name, **labels):
        """The sum of the series of that name that have these labels."""
        total = 0.0
        for line in requests.get(self.url + "/metrics", timeout=5).text.splitlines():
            match = re.fullmatch(rf"(?:switchboard_)?{name}(?:\{{(.*)\}})? (\S+)", line)
            if match and all(f'{label}="{value}"' in (match[1] or "") for label, value in labels.items()):
                total += float(match[2])
        return total

    def stop(self, seconds=40):
        """SIGTERM; gives the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.instance} did not end within {seconds} s of SIGTERM: {self.log()[-2000:]}") from None
        if code == 0 and self.shares_its_name and self.has_name:
            self.free_names[self.name].append(self.instance)
            self.has_name = False
        return code

    def kill(self, kind=signal.SIGKILL):
        self.process.send_signal(kind)
        if kind == signal.SIGKILL:
            self.process.wait()


def migrated(environment, folder):
    """Migrations applied, topics made, and the test stage's role and tables."""
    first = Daemon("echo", environment, folder)
    wait_until(lambda: "migration applied" in first.log(), "the migrations")
    with environment.connect() as connection:
        wait_until(lambda: connection.execute("SELECT count(*) FROM schema_migrations").fetchone()[0] == MIGRATIONS, "all migrations")
        connection.execute((ROOT / "tests" / "stage" / "echo.sql").read_text())
    first.ready()
    assert first.stop() == 0
    return environment


class Supervised:
    """While it holds, a daemon that ends is started again, as its supervisor would do."""

    def __init__(self, daemon):
        self.daemon, self.over = daemon, threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def watch(self):
        while not self.over.wait(0.2):
            if self.daemon.process.poll() is not None:
                self.daemon.start()

    def __enter__(self):
        self.thread.start()
        return self.daemon

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


class Topics:
    """Reads every topic from its beginning in the background, so that a test can wait for what it expects."""

    def __init__(self, brokers):
        self.brokers = brokers
        self.records = []           # (topic, partition, offset, key, event)
        self.unreadable = []
        self.changed = threading.Condition()
        self.ended = False
        self.consumer = Consumer({"bootstrap.servers": brokers, "group.id": "tests-" + uuid.uuid4().hex, "enable.auto.commit": False,
                                  "topic.metadata.refresh.interval.ms": 2000, "log_level": 2, "fetch.wait.max.ms": 250})
        self.assigned = set()
        self.producer = Producer({"bootstrap.servers": brokers, "partitioner": "murmur2_random", "enable.idempotence": True,
                                  "max.in.flight": 1})
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def assign(self):
        metadata = self.consumer.list_topics(timeout=10)
        found = {(name, partition) for name, topic in metadata.topics.items() if not name.startswith("__") for partition in topic.partitions}
        new = found - self.assigned
        if new:
            self.consumer.incremental_assign([TopicPartition(name, partition, OFFSET_BEGINNING) for name, partition in new])
            self.assigned |= new

    def read(self):
        polls = 0
        while not self.ended:
            if polls % 20 == 0 or not self.assigned:
                try:
                    self.assign()
                except Exception:
                    pass            # the broker is away: a test took it
            polls += 1
            for record in self.consumer.consume(500, timeout=0.05) if self.assigned else []:
                if record.error():
                    continue
                self.keep(record)

    def keep(self, record):
        try:
            event = json.loads(record.value())
        except ValueError:
            event = None
        with self.changed:
            self.records.append((record.topic(), record.partition(), record.offset(), (record.key() or b"").decode("utf-8", "replace"), event))
            self.changed.notify_all()

    def find(self, topic=None, key=None, type=None, **data):
        """Each event once, in the order in which it first came."""
        def fits(record):
            name, _, _, of_key, event = record
            return (topic in (None, name) and key in (None, of_key) and isinstance(event, dict)
                    and type in (None, event.get("type"))
                    and all(isinstance(event.get("data"), dict) and event["data"].get(field) == value for field, value in data.items()))
        with self.changed:
            return list({record[4].get("id"): record[4] for record in reversed(self.records) if fits(record)}.values())[::-1]

    def copies(self, topic, key):
        """How many messages there are, repeats of one event included: a stage that was killed may send an event again, with its id."""
        with self.changed:
            return sum(1 for record in self.records if record[0] == topic and record[3] == key)

    def wait(self, topic=None, key=None, count=1, seconds=WAIT_S, **about):
        """The events that fit, once there are `count` of them."""
        found = lambda: (events := self.find(topic, key, **about)) and len(events) >= count and events  # noqa: E731
        with self.changed:
            done = self.changed.wait_for(found, seconds)
        assert done, f"{count} events {about} of key {key} on {topic} did not come within {seconds} s: {self.find(topic, key)[-5:]}"
        return done

    def behind(self, group, topic):
        """How many messages of a topic the group has not finished, by the offsets it committed."""
        consumer = Consumer({"bootstrap.servers": self.brokers, "group.id": group, "log_level": 2})
        partitions = [TopicPartition(topic, number) for number in consumer.list_topics(topic, timeout=10).topics[topic].partitions]
        ends = [consumer.get_watermark_offsets(partition, timeout=10)[1] for partition in partitions]
        behind = sum(end - max(found.offset, 0) for end, found in zip(ends, consumer.committed(partitions, timeout=10), strict=True))
        consumer.close()
        return behind

    def partition_of(self, topic, key):
        """Where a message of that key went."""
        with self.changed:
            return next(record[1] for record in self.records if record[0] == topic and record[3] == key)

    def send(self, topic, key, payload, flush=True, partition=-1):
        failures = []
        def reported(error, _):
            if error:
                failures.append(error)
        if isinstance(payload, dict):
            payload = json.dumps(payload)
        while True:
            try:
                self.producer.produce(topic, payload, key=key, partition=partition, on_delivery=reported)
                break
            except BufferError:
                self.producer.poll(0.1)
        if flush:
            assert self.producer.flush(WAIT_S) == 0 and not failures, failures

    def close(self):
        self.ended = True
        self.thread.join(10)


def event(type, subject, data, **attributes):
    """An event as another stage would send it."""
    return {"specversion": "1.0", "id": str(uuid.uuid4()), "source": "/test", "type": type, "subject": subject,
            "time": "2026-11-21T07:00:00Z", "datacontenttype": "application/json", "dataschema": f"/schemas/events/{type}.json",
            "correlationid": subject, "run": 0, "data": data, **attributes}
