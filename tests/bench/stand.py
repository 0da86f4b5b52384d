"""What the parts are measured on: a Kafka and a Postgres of the bench's own, the daemons under test, and the small programs beside them."""

import json
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

import requests
from confluent_kafka.admin import AdminClient, NewTopic
from daemons import BUILD, Daemon
from environment import ROOT, Environment, free_port, wait_until
from measure import CannotMeasure

HERE = Path(__file__).parent
KEY = "the bench's signing key"
HOOK = "/api/v1/callrail/call.completed"
REFERENCE_TOPIC = "bench.reference"
NO_DATABASE = "postgresql://postgres@127.0.0.1:1/none"
TOOL_SETTINGS = {"KAFKA_PROP_batch_size": "262144"}      # the broker counts a whole batch against a topic's largest message
TOOL_SECONDS_MAX = 600
EVENTS_WAIT_S = 300


class Stand:
    """`seconds` a run lasts, `runs` there are of each; `share` of the usual number of events."""

    def __init__(self, seconds, runs, share):
        self.seconds, self.runs, self.share = seconds, runs, share
        for name in ("TEST_KAFKA_BROKERS", "TEST_DATABASE_URL"):
            os.environ.pop(name, None)          # Kafka is stopped here, and tables are emptied
        self.environment = Environment()
        self.kafka, self.postgres = self.environment.kafka, self.environment.postgres
        self.running = []
        try:
            self.prepare()
        except BaseException:
            self.close()
            raise

    def prepare(self):
        """Migrations, topics, the test stage's tables; every daemon's first start is behind it."""
        first = self.daemon("notifier").ready()
        self.end(first)
        with self.environment.connect() as connection:
            connection.execute((ROOT / "tests" / "stage" / "echo.sql").read_text())
        echo = self.daemon("echo", instance="echo-bench").ready()
        self.end(echo)
        admin = AdminClient({"bootstrap.servers": self.environment.brokers})
        admin.create_topics([NewTopic(REFERENCE_TOPIC, 8, 1)])[REFERENCE_TOPIC].result()

    def clear(self):
        """Nothing that a part left behind shall run beside the next one."""
        for left in self.running:
            if left.process.poll() is None:
                left.process.kill()
                left.process.wait()
        self.running.clear()

    def close(self):
        self.clear()
        self.environment.close()

    # --- daemons

    def daemon(self, name, **settings):
        daemon = Daemon(name, self.environment, self.environment.folder, **settings)
        self.running.append(daemon)
        return daemon

    def end(self, daemon):
        code = daemon.stop()
        self.running.remove(daemon)
        if code != 0:
            raise CannotMeasure(f"{daemon.name} ended with {code}: {daemon.log()[-1000:]}")

    def door(self, **settings):
        """ingest without Postgres: its recorder waits, so what it uses is the door's."""
        settings = {"CALLRAIL_SIGNING_KEY": KEY, "SPOOL_DIR": str(self.environment.folder / uuid.uuid4().hex), **settings}
        return self.daemon("ingest", **{"DATABASE_URL": NO_DATABASE, **settings}).ready()

    def reference(self):
        return Reference(self)

    def postmaster(self):
        return int((self.postgres.folder / "data" / "postmaster.pid").read_text().split()[0])

    # --- programs

    def tool(self, name, **options):
        """What one of the bench's programs found."""
        command = [str(BUILD / "bench" / name)]
        for option, value in options.items():
            command += ["--" + option.replace("_", "-"), str(value)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_SECONDS_MAX, env={**os.environ, **TOOL_SETTINGS})
        if done.returncode != 0:
            raise CannotMeasure(f"{name} failed: {done.stderr.strip()[-500:]}")
        return json.loads(done.stdout)

    def stub(self, delay_ms):
        return Stub(self, delay_ms)

    def wrk(self, url, connections, calls, prefix, seconds=None):
        """Webhooks as fast as they are answered: how many, how many a second, and their time."""
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds or self.seconds}s", "--timeout", "10s", "-s", str(HERE / "hook.lua"),
                   url + HOOK, "--", KEY, str(calls), prefix]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_SECONDS_MAX)
        found = re.search(r"answered (\d+), (\d+) a second, not 2xx (\d+), errors (\d+), p50 ([\d.]+) ms, p99 ([\d.]+) ms", done.stdout)
        if not found:
            raise CannotMeasure(f"wrk failed: {(done.stdout + done.stderr).strip()[-500:]}")
        answered, rate, refused, errors = map(int, found.groups()[:4])
        if answered == 0 or refused or errors:
            raise CannotMeasure(f"of {answered} webhooks {refused} were not answered 2xx, and there were {errors} errors")
        return {"answered": answered, "rate": rate, "p50_ms": float(found[5]), "p99_ms": float(found[6])}

    # --- the test stage

    def empty_tables(self):
        with self.environment.connect() as connection:
            connection.execute("TRUNCATE echo_rows, ledger, emitted, asks, parked")
            connection.execute("CHECKPOINT")

    def fill(self, events, keys, told="", topic="echo.in"):
        """Events for the test stage, under keys that were never there before."""
        self.tool("produce", brokers=self.environment.brokers, topic=topic, events=events, keys=keys, told=told,
                  prefix=uuid.uuid4().hex[:8])
        os.sync()               # else Kafka's pages are written while Postgres waits for its own

    @staticmethod
    def committed(echo, count):
        """Waits until it has committed so many since its start; gives the most handlers that were seen running at once."""
        running = []

        def done():
            if echo.process.poll() is not None:
                raise CannotMeasure(f"the stage ended with {echo.process.returncode}: {echo.log()[-1000:]}")
            running.append(int(echo.metric("in_flight", state="running")))
            return echo.metric("committed_total") >= count
        wait_until(done, f"the commit of {count} events", EVENTS_WAIT_S, 0.25)
        return max(running)


class Program:
    """Something beside the daemons; ends with its `with`."""

    def __init__(self, stand, command, environment=None):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = stand.environment.folder / f"{type(self).__name__.lower()}-{self.port}.log"
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([*command, "--port", str(self.port)], stdout=log, stderr=log, cwd=HERE,
                                            env={**os.environ, **(environment or {})})
        stand.running.append(self)
        self.running = stand.running
        wait_until(self.answers, f"the start of {type(self).__name__}", 30, 0.05)

    def answers(self):
        if self.process.poll() is not None:
            raise CannotMeasure(f"{type(self).__name__} ended: {self.log_path.read_text(errors='replace')[-1000:]}")
        try:
            return requests.get(self.url + "/ready", timeout=5).ok
        except requests.RequestException:
            return False

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.terminate()
        self.process.wait()
        self.running.remove(self)


class Reference(Program):
    def __init__(self, stand):
        super().__init__(stand, [sys.executable, "-m", "uvicorn", "reference_fastapi:app", "--loop", "uvloop", "--http", "httptools",
                                   "--no-access-log", "--log-level", "warning"],
                         {"CALLRAIL_SIGNING_KEY": KEY, "REFERENCE_TOPIC": REFERENCE_TOPIC, "KAFKA_BROKERS": stand.environment.brokers})


class Stub(Program):
    def __init__(self, stand, delay_ms):
        super().__init__(stand, [str(BUILD / "bench" / "http_stub"), "--delay-ms", str(delay_ms)])
