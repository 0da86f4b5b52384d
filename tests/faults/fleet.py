"""What is under fire: Kafka, Postgres, the sandbox, and any number of instances of each stage, started again when they end.

The database lies in a tablespace and the doors' spools in a folder of small memory file systems, when we are root: so their disks can be
made full without touching anybody else's."""

import hashlib
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import psycopg
import requests
from confluent_kafka import Consumer, TopicPartition
from daemons import BUILD, Daemon
from environment import ROOT, Environment, free_port, wait_until
from provider_stub import ProviderStub

STAGES = {stage["name"]: stage["reads"] for folder in ("schemas", "tests/stage/schemas")
          for stage in json.loads((ROOT / folder / "topics.json").read_text())["stages"]}
SESSION_MS = 6000                   # the least a broker takes
RESTART_S = 0.3
LEAVE_S = 40                        # more than a daemon's DRAIN_DEADLINE
FILL_TRIES, FILL_MARGIN = 20, 256 * 1024
DATABASE_DISK_MB, SPOOL_DISK_MB = 6000, 256      # most; only what is used is taken from memory
INSTANCES_MAX = 3
KEYS = {"CALLRAIL_SIGNING_KEY": "fire-signing-key", "CALLRAIL_API_KEY": "fire-callrail-key", "CALLRAIL_ACCOUNT_ID": "ACCfire",
        "TWILIO_ACCOUNT_SID": "AC" + "f1" * 16, "TWILIO_AUTH_TOKEN": "fire-token", "TWILIO_WHATSAPP_FROM": "+14155238886",
        "ADMIN_WHATSAPP_TO": "+12025550199", "TWILIO_CONTENT_SID_LEAD": "HX" + "f1" * 16,
        "TWILIO_CONTENT_SID_WELCOME": "HX" + "f2" * 16, "TWILIO_CONTENT_SID_PLAN": "HX" + "f3" * 16,
        "TWILIO_CONTENT_SID_REMINDER": "HX" + "f4" * 16, "OUTLOOK_WEBHOOK_SECRET": "fire-outlook-secret", "HUBSPOT_ACCESS_TOKEN": "fire-hubspot-token",
        "OPENAI_API_KEY": "fire-openai-key",
        "SHUNYA_API_KEY": "fire-shunya-key", "SHUNYA_WEBHOOK_SECRET": "fire-shunya-secret",
        "AWS_ACCESS_KEY_ID": "AKIAFIRE", "AWS_SECRET_ACCESS_KEY": "fire-aws-secret", "RECORDINGS_S3_REGION": "us-east-1"}
BUCKET = "fire-recordings"


class Disk:
    """A memory file system of its own, which can be full."""

    def __init__(self, folder, size_mb):
        self.folder, self.size_mb = Path(folder), size_mb
        self.folder.mkdir(parents=True, exist_ok=True)
        self.own = os.geteuid() == 0 and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=0777", "tmpfs", str(folder)], capture_output=True).returncode == 0

    def resize(self, size):
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.folder)], check=True, capture_output=True)

    def fill(self):
        """To what is used, which grows until then: a disk cannot be made smaller than that, so it is tried again."""
        for _ in range(FILL_TRIES):
            used = os.statvfs(self.folder)
            with suppress(subprocess.CalledProcessError):
                return self.resize((used.f_blocks - used.f_bfree) * used.f_frsize + FILL_MARGIN)
        raise OSError(f"the disk at {self.folder} grows too fast to be made full")

    def empty(self):
        self.resize(f"{self.size_mb}m")

    def close(self):
        if self.own:
            subprocess.run(["umount", "-l", str(self.folder)], capture_output=True)


class Sandbox:
    """The provider sandbox as a process, started again where it was."""

    def __init__(self, folder):
        self.log = open(Path(folder) / "sandbox.log", "ab")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = subprocess.Popen([sys.executable, ROOT / "deploy/sandbox/sandbox.py", "--listen", f"127.0.0.1:{self.port}", "--quiet"],
                                        env={**os.environ, **KEYS, "RECORDINGS_S3_BUCKET": BUCKET}, stdout=self.log, stderr=self.log)
        wait_until(self.answers, "the sandbox")

    def answers(self):
        try:
            return requests.get(self.url + "/_sandbox/health", timeout=2).ok
        except requests.RequestException:
            return False

    def control(self, method, path, **arguments):
        answer = requests.request(method, f"{self.url}/_sandbox{path}", timeout=30, **arguments)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def since(self, name, mark):
        """What a list got since, in pages."""
        found = []
        while page := self.control("GET", f"/{name}?since={mark}")[name]:
            found += page
            mark = max(entry.get("number", entry.get("id")) for entry in page)
        return found

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()


class Fleet:
    """The instances.  One that ends is started again, as its supervisor would do, unless it was told to stay away."""

    def __init__(self, world):
        self.world, self.instances = world, {stage: [] for stage in STAGES}
        self.away, self.returning = set(), set()
        self.lock, self.over, self.restarts, self.ends = threading.Lock(), threading.Event(), 0, []
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self):
        while not self.over.wait(RESTART_S):
            with self.lock:
                for daemon in self.all():
                    if daemon.process.poll() is not None and daemon not in self.away:
                        self.ends.append((daemon.instance, daemon.process.returncode))
                        self.restarts += 1
                        daemon.start()

    def all(self):
        return [daemon for daemons in self.instances.values() for daemon in daemons]

    def of(self, stage):
        return [daemon for daemon in self.instances[stage] if daemon not in self.away]

    def add(self, stage):
        """One more: one that went away, on its own disk again, else a new one."""
        with self.lock:
            waiting = [daemon for daemon in self.gone(stage) if daemon not in self.returning]
            number = len(self.instances[stage]) + 1
            if not waiting:
                daemon = Daemon(stage, self.world.environment, self.world.folder, instance=f"{stage}-{number}",
                                **self.world.settings(stage, number))
                self.instances[stage].append(daemon)
                return daemon
            daemon = min(waiting, key=lambda daemon: daemon.process.poll() is None)
            self.returning.add(daemon)
        daemon.process.wait()                       # not two processes on one disk; `see_off` lets it take no longer than LEAVE_S
        with self.lock:
            self.away.discard(daemon)
            self.returning.discard(daemon)
            return daemon.start()

    def remove(self, daemon, kind=signal.SIGTERM):
        """It goes and stays away until `add` brings it back."""
        with self.lock:
            self.away.add(daemon)
        if daemon.process.poll() is None:
            daemon.process.send_signal(signal.SIGCONT)
            daemon.process.send_signal(kind)
        threading.Thread(target=self.see_off, args=(daemon.process,), daemon=True).start()

    @staticmethod
    def see_off(process):
        try:
            process.wait(LEAVE_S)
        except subprocess.TimeoutExpired:
            process.kill()

    def gone(self, stage):
        return [daemon for daemon in self.instances[stage] if daemon in self.away]

    def doors(self):
        return [daemon.url for daemon in self.of("ingest")]

    def close(self):
        self.over.set()
        self.thread.join()
        for daemon in self.all():
            if daemon.process.poll() is None:
                daemon.process.kill()
                daemon.process.wait()


class World:
    def __init__(self, bucket=False):
        """`bucket`: whether recordings are kept in an S3-compatible one, and not in a folder."""
        self.bucket = bucket
        self.environment = Environment()
        assert self.environment.kafka and self.environment.postgres, "the faults need a Kafka and a Postgres of their own: unset TEST_…"
        self.folder = self.environment.folder / "daemons"
        self.folder.mkdir()
        self.recordings = self.folder / "recordings"
        self.postgres_disk = Disk(self.environment.folder / "disk", DATABASE_DISK_MB)
        self.spool_disk = Disk(self.folder / "spool", SPOOL_DISK_MB)
        self.make_database()
        self.sandbox, self.stub = Sandbox(self.folder), ProviderStub()
        self.door_port = free_port()
        self.public_url = f"http://127.0.0.1:{self.door_port}"
        self.points_left = []       # of the deck of points in the code
        self.clocks = {}            # instance: by how many seconds its wall clock is off
        self.fleet = Fleet(self)
        self.prepare_tables()

    def make_database(self):
        tablespace = self.environment.folder / "disk" / "tables"
        tablespace.mkdir()
        if os.geteuid() == 0:
            shutil.chown(tablespace, "postgres", "postgres")
        with psycopg.connect(self.environment.postgres.url(), autocommit=True) as connection:
            connection.execute(f"CREATE TABLESPACE fire LOCATION '{tablespace}'")
            connection.execute("CREATE DATABASE fire TABLESPACE fire")
        self.environment.database_url = self.environment.postgres.url("fire")

    def prepare_tables(self):
        migrations = len(list((ROOT / "schemas" / "postgres").glob("*.sql")))
        first = self.fleet.add("echo")
        with self.connect_when_there() as database:
            wait_until(lambda: database.execute("SELECT to_regclass('schema_migrations') IS NOT NULL").fetchone()[0]
                       and database.execute("SELECT count(*) FROM schema_migrations").fetchone()[0] == migrations, "the migrations")
            database.execute((ROOT / "tests" / "stage" / "echo.sql").read_text())
        first.ready()

    def settings(self, stage, number):
        """An instance's.  Providers' time-outs are short, so that an answer after the time-out is no matter of minutes."""
        (self.folder / "spool").mkdir(exist_ok=True)
        settings = {**KEYS, "PUBLIC_URL": self.public_url, "DEFAULT_TENANT": "fire", "KAFKA_PROP_session_timeout_ms": SESSION_MS,
                    "KAFKA_PROP_topic_metadata_refresh_interval_ms": 2000, "LOG_LEVEL": "warning",
                    "FAULT_FILE": self.folder / f"fault.{stage}-{number}", "SPOOL_DIR": self.folder / "spool" / f"{stage}-{number}",
                    "RECORDINGS_DIR": self.recordings, "RECORDING_PRIVATE_ALLOWED": f"127.0.0.1:{self.sandbox.port}",
                    "RECORDING_TIMEOUT": "10s", "RECORDING_STALL_TIMEOUT": "3s", "TRANSCRIBE_WITH": "openai",
                    "OPENAI_BASE_URL": self.sandbox.url + "/openai/v1", "OPENAI_TRANSCRIBE_TIMEOUT": "3s",
                    "CALLRAIL_BASE_URL": self.sandbox.url + "/callrail/v3", "CALLRAIL_CHECK_EVERY": "20s", "CALLRAIL_BUDGET_PERCENT": "100",
                    "ANALYZE_CALLS_WITH": "shunya", "SHUNYA_BASE_URL": self.sandbox.url + "/shunya", "SHUNYA_TIMEOUT": "3s",
                    "TWILIO_BASE_URL": self.sandbox.url + "/twilio", "TWILIO_TIMEOUT": "3s",
                    "HUBSPOT_BASE_URL": self.sandbox.url + "/hubspot", "HUBSPOT_TIMEOUT": "3s"}
        settings |= {"RECORDINGS_S3_URL": self.sandbox.url + "/s3", "RECORDINGS_S3_BUCKET": BUCKET} if self.bucket else {}
        self.set_clock(f"{stage}-{number}", 0)
        settings |= {"LD_PRELOAD": BUILD / "tests" / "other_clock.so", "CLOCK_FILE": self.folder / f"clock.{stage}-{number}"}
        if stage == "ingest" and number == 1:
            settings["port"] = self.door_port
        return settings

    def set_clock(self, instance, off_s):
        """Its wall clock jumps; see other_clock.c.  Written in place: the file is mapped."""
        self.clocks[instance] = off_s
        path = self.folder / f"clock.{instance}"
        with open(path, "r+b" if path.exists() else "wb", buffering=0) as clock:
            clock.write(struct.pack("=q", off_s))

    def doors_are_on_time(self):
        return not any(off_s for instance, off_s in self.clocks.items() if instance.startswith("ingest-"))

    def thaws(self, stage, seconds):
        """When a process of the stage went on that a fault point had frozen for longer than that."""
        stops = [json.loads(line) for daemon in self.fleet.instances[stage] for line in daemon.log().splitlines() if '"action":"stop"' in line]
        return [moment(stop["time"]).timestamp() + stop["for_ms"] / 1000 for stop in stops if stop["for_ms"] > seconds * 1000]

    def set_points(self, stage, seed, rules, only=None):
        """The fault points of a stage's instances: a file of each, renamed into its place."""
        for number in [only] if only else range(1, INSTANCES_MAX + 2):
            path = self.folder / f"fault.{stage}-{number}"
            path.with_suffix(path.suffix + ".new").write_text("\n".join([f"seed={seed}", *rules]) + "\n")
            path.with_suffix(path.suffix + ".new").rename(path)

    def copies(self):
        """{path: (bytes, sha256)} of the recordings that are kept."""
        if self.bucket:
            return {entry["key"]: (entry["bytes"], entry["sha256"]) for entry in self.sandbox.control("GET", "/objects")["objects"]}
        contents = {str(path.relative_to(self.recordings)): path.read_bytes() for path in self.copied_files()}
        return {path: (len(content), hashlib.sha256(content).hexdigest()) for path, content in contents.items()}

    def copied_files(self):
        return [path for path in self.recordings.glob("*/*") if path.suffix != ".part"]

    def forget_copies(self):
        """The sandbox holds so many and no more."""
        if self.bucket:
            self.sandbox.control("DELETE", "/objects")
        for path in self.copied_files():
            path.unlink()

    def connect_when_there(self):
        def connected():
            try:
                return psycopg.connect(self.environment.database_url, autocommit=True, connect_timeout=3)
            except psycopg.Error:
                return None
        return wait_until(connected, "Postgres")

    # --- how far it is -----------------------------------------------------------------------------------------------------------

    def lag(self):
        """{stage: events not yet finished}, from the broker: what was committed against what there is."""
        behind = {}
        for stage, topics in STAGES.items():
            if not self.fleet.instances[stage]:
                continue
            consumer = Consumer({"bootstrap.servers": self.environment.brokers, "group.id": stage, "log_level": 0})
            try:
                topics = [*topics, "replay." + stage]
                known = consumer.list_topics(timeout=5).topics
                places = [TopicPartition(topic, number) for topic in topics if topic in known for number in known[topic].partitions]
                behind[stage] = 0
                for place in consumer.committed(places, timeout=5):
                    low, high = consumer.get_watermark_offsets(place, timeout=5)
                    behind[stage] += high - (place.offset if place.offset >= 0 else low)
            finally:
                consumer.close()
        return behind

    def unfinished(self):
        """What still keeps it from being at rest, as words; empty when it is."""
        try:
            behind = [f"{stage} is {count} behind" for stage, count in self.lag().items() if count]
            with psycopg.connect(self.environment.database_url, autocommit=True, connect_timeout=3) as database:
                database.execute("UPDATE parked SET resume_at = now() WHERE resume_at > now() + interval '2 minutes' AND resume_at <> 'infinity'")
                database.execute("UPDATE jobs SET next_check_at = now() WHERE next_check_at > now() + interval '30 s'")
                parked = database.execute("SELECT count(*) FROM parked").fetchone()[0]
                open_jobs = database.execute("SELECT count(*) FROM jobs WHERE finished_at IS NULL").fetchone()[0]
                asked = database.execute("SELECT count(*) FROM asks WHERE state = 'sent'").fetchone()[0]
                due = database.execute("SELECT count(*) FROM meetings WHERE next_check_at <= now() + interval '2 minutes'").fetchone()[0]
                notes = database.execute("SELECT count(*) FROM meeting_notes WHERE next_check_at <= now() + interval '2 minutes'").fetchone()[0]
                behind += self.unreconciled(database)
            behind += [f"{due} meetings are due"] * bool(due) + [f"{notes} notes wait"] * bool(notes)
            behind += [f"{open_jobs} jobs are open"] * bool(open_jobs)
            behind += [f"{parked} parked"] * bool(parked) + [f"{asked} asks without an end"] * bool(asked)
            for daemon in self.fleet.all():
                if daemon in self.fleet.away:
                    continue
                flying = daemon.metric("in_flight") if daemon.name != "ingest" else 0
                spooled = daemon.metric("ingest_spool_messages") if daemon.name == "ingest" else 0
                behind += [f"{daemon.instance} has {flying:.0f} in flight"] * bool(flying)
                behind += [f"{daemon.instance} has {spooled:.0f} spooled"] * bool(spooled)
            return behind
        except Exception as error:      # whatever is still coming back
            return [f"not all of it answers: {type(error).__name__}"]

    def left(self):
        """The rows of what did not come to its end, to look into it."""
        with self.connect_when_there() as database:
            return [row for table, which in (("parked", "true"), ("asks", "state = 'sent'"))
                    for row, in database.execute(f"SELECT to_jsonb({table}) FROM {table} WHERE {which}")]

    def unreconciled(self, database):
        """CallRail's list must have been looked through once more since all was given back; nobody waits for that for longer than it takes."""
        self.given_back_at = self.given_back_at or database.execute("SELECT now()").fetchone()[0]
        database.execute("UPDATE reconciliations SET next_check_at = now() WHERE next_check_at > now() + interval '5 seconds'"
                         " AND complete_until < %s", [self.given_back_at])
        done = database.execute("SELECT count(*) FROM reconciliations WHERE complete_until >= %s", [self.given_back_at]).fetchone()[0]
        return [] if done else ["CallRail's list is to be looked through"]

    def recover(self, seconds, say):
        """Everything is given back, and gets this long to come to rest; gives what did not.  As an operator must, an instance is started
        on the spool of each door that went away, which may have ended while Kafka could take nothing; at rest they go again."""
        returned = [self.fleet.add("ingest") for _ in self.fleet.gone("ingest")]
        left = self.rest(time.monotonic() + seconds, say)
        for daemon in returned:
            self.fleet.remove(daemon)
        return left

    def rest(self, deadline, say):
        self.given_back_at = None
        told, quiet, left = 0, 0, []
        while time.monotonic() < deadline:
            left = self.unfinished()
            quiet = quiet + 1 if not left else 0
            if quiet == 3:              # and stays so
                return []
            if left and time.monotonic() - told > 5:
                say(f"recovering: {', '.join(left)[:150]}")
                told = time.monotonic()
            time.sleep(0.3)
        return left

    def close(self):
        self.fleet.close()
        self.sandbox.close()
        self.stub.close()
        self.environment.close()
        for disk in (self.postgres_disk, self.spool_disk):
            disk.close()


def moment(text):
    """ISO 8601, as the daemons and the sandbox write it."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def pick(rng: random.Random, things):
    return things[rng.randrange(len(things))] if things else None
