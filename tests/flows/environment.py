"""Kafka and Postgres for a test run: those of TEST_KAFKA_BROKERS and TEST_DATABASE_URL, else private ones that end with it.

The database and the topics are fresh for each run; tests keep apart by their keys, as conversations do."""

import copy
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import psycopg
from confluent_kafka.admin import AdminClient

ROOT = Path(__file__).resolve().parents[2]
START_S = 60
STOP_S = 20


def free_port():
    """Below those that the system gives to outgoing connections: who is stopped finds its port again."""
    while True:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", random.randrange(12000, 32000)))
                return probe.getsockname()[1]
            except OSError:
                continue


def wait_until(condition, what, seconds=START_S, pause_s=0.02):
    """Waits for something to become true, and gives it; `seconds` is reached only when it does not happen."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(pause_s)


class Kafka:
    """One broker in a folder of its own; it can be stopped, started and frozen."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.port, self.controller_port = free_port(), free_port()
        self.brokers = f"127.0.0.1:{self.port}"
        self.libs = ROOT / ".run" / "kafka" / "libs"
        assert self.libs.is_dir(), "Kafka is not there: run `make kafka` first"
        template = (ROOT / "deploy" / "local" / "kafka" / "server.properties.in").read_text()
        for name, value in {"PORT": self.port, "CONTROLLER_PORT": self.controller_port, "DATA": self.folder / "data",
                            "MESSAGE_BYTES_MAX": 40_000_000}.items():
            template = template.replace("{{" + name + "}}", str(value))
        self.config = self.folder / "server.properties"
        self.config.write_text(template)
        self.java("kafka.tools.StorageTool", "format", "-t", "4L6g3nShT-eMCtK--X86sw", "-c", str(self.config))
        self.process = None
        self.start()

    def java(self, *arguments):
        subprocess.run(["java", "-cp", f"{self.libs}/*", *arguments], check=True, capture_output=True)

    def start(self):
        log4j = ROOT / "deploy" / "local" / "kafka" / "log4j2.properties"
        with open(self.folder / "kafka.log", "ab") as log:
            self.process = subprocess.Popen(
                ["java", "-Xmx512m", "-Xms256m", "-XX:+UseSerialGC", f"-Dlog4j2.configurationFile={log4j}", "-cp", f"{self.libs}/*",
                 "kafka.Kafka", str(self.config)], stdout=log, stderr=log)
        wait_until(self.answers, "Kafka's start", pause_s=0.2)

    def answers(self):
        assert self.process.poll() is None, f"Kafka ended: {(self.folder / 'kafka.log').read_text()[-2000:]}"
        try:
            return AdminClient({"bootstrap.servers": self.brokers, "log_level": 0}).list_topics(timeout=2)
        except Exception:
            return None

    def stop(self, kind=signal.SIGTERM):
        self.process.send_signal(kind)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def freeze(self):
        """Once this returns none of its threads runs any more."""
        self.process.send_signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self.process.pid}/task")
        wait_until(lambda: all((task / "stat").read_text().rsplit(")", 1)[1].split()[0] == "T" for task in tasks.iterdir()), "Kafka's freeze")

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)


class Postgres:
    """One cluster in a folder of its own, owned by an unprivileged user when we are root (Postgres refuses root)."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        self.user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        self.port = free_port()
        self.run("initdb", "-D", "data", "-A", "trust", "-U", "postgres", "--no-sync")
        self.start()

    def run(self, program, *arguments):
        as_owner = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        done = subprocess.run([*as_owner, str(self.programs / program), *arguments], cwd=self.folder, capture_output=True, text=True)
        log = self.folder / "postgres.log"
        said = done.stdout + done.stderr + (log.read_text(errors="replace")[-1000:] if log.exists() else "")
        assert done.returncode == 0, f"{program} {arguments[-1]} failed: {said}"

    def start(self):
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c max_connections=300 -c shared_buffers=128MB"
        self.run("pg_ctl", "-D", "data", "-o", options, "-l", "postgres.log", "-w", "-t", str(START_S), "start")

    def stop(self, mode="fast"):
        self.run("pg_ctl", "-D", "data", "-m", mode, "-w", "-t", str(STOP_S), "stop")

    def url(self, database="postgres"):
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"


class Environment:
    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="switchboard-test-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.kafka = self.postgres = None
        self.brokers = os.environ.get("TEST_KAFKA_BROKERS")
        admin_url = os.environ.get("TEST_DATABASE_URL")
        if not self.brokers:
            (self.folder / "kafka").mkdir()
            self.kafka = Kafka(self.folder / "kafka")
            self.brokers = self.kafka.brokers
        if not admin_url:
            (self.folder / "postgres").mkdir()
            self.postgres = Postgres(self.folder / "postgres")
            admin_url = self.postgres.url()
        self.database_url = self.new_database(admin_url)

    @staticmethod
    def new_database(url):
        name = "test_" + uuid.uuid4().hex[:12]
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return url.rsplit("/", 1)[0] + "/" + name

    def with_new_database(self):
        """The same servers, for tests of what counts or lists everything there is."""
        other = copy.copy(self)
        other.database_url = self.new_database(self.database_url)
        return other

    def connect(self):
        return psycopg.connect(self.database_url, autocommit=True)

    def close(self):
        if self.kafka:
            self.kafka.stop(signal.SIGKILL)
        if self.postgres:
            self.postgres.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)
