"""deploy/BACKUP.md, done: the database is lost, and a copy of it is restored that is older than what Kafka's groups have finished.

Calls are made before, during and after the copy, and while there is no database; in the end each has taken effect once: its rows, its
events, and the one message at the provider, those included whose sending the copy knows nothing of."""

import json
import os
import subprocess
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import urlparse

import psycopg
import pytest
from call_pipeline import BOOKED, Pipeline
from daemons import BUILD, Topics
from environment import Environment, Postgres, wait_until
from psycopg.rows import dict_row
from sandbox_process import process  # noqa: F401 (a fixture)

SB = BUILD / "bin" / "sb"
STAGES = {"ingest": ("inbound.callrail", "inbound.twilio"), "transcribe": ("calls",), "analyze": ("transcripts",),
          "notifier": ("results", "messages")}
OF_A_CALL = sorted(["callrail.call.received"] * 3 + ["call.progressed"] * 3 + ["call.recorded", "call.transcribed", "call.analyzed",
                                                                                "delivery.changed"])
ROWS = ("calls", "recordings", "call_transcripts", "call_analyses", "appointments")
MARGIN = timedelta(days=1)          # RETRY_AGE_MAX: what was under way at the copy's moment is no older


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A Kafka and a Postgres of its own: it loses one of them."""
    environment = Environment()
    yield environment
    environment.close()


@pytest.fixture
def pipeline(place, process, tmp_path):  # noqa: F811
    topics = Topics(place.brokers)
    pipeline = Pipeline(place, topics, process, tmp_path)
    yield pipeline
    pipeline.close()
    topics.close()


@pytest.fixture
def elsewhere(place):
    """Another server, with nothing in it yet."""
    folder = place.folder / "elsewhere"
    folder.mkdir()
    server = Postgres(folder)
    yield server
    server.stop("immediate")


def program(name, *arguments, **more):
    path = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda found: int(found.parent.name)) / name
    return subprocess.run([path, *arguments], check=True, capture_output=True, text=True, env={"PATH": os.environ["PATH"]}, **more)


def back_up(url, folder):
    """As deploy/BACKUP.md says: its moment, the roles, the data."""
    moment = datetime.now(timezone.utc)
    (folder / "roles.sql").write_text(program("pg_dumpall", "--roles-only", "--no-role-passwords", f"--database={urlparse(url).path[1:]}", f"--dbname={url}").stdout)
    program("pg_dump", "--format=custom", f"--file={folder / 'switchboard.dump'}", url)
    return moment


def restore(server, folder, moment):
    program("psql", "--quiet", f"--file={folder / 'roles.sql'}", server.url())      # it has some of them: that is said and passed over
    program("createdb", f"--maintenance-db={server.url()}", "switchboard")
    program("pg_restore", "--exit-on-error", f"--dbname={server.url('switchboard')}", folder / "switchboard.dump")
    with psycopg.connect(server.url("switchboard"), autocommit=True) as connection:
        connection.execute("INSERT INTO restores (backup_at) VALUES (%s)", (moment,))
    return server.url("switchboard")


def rewind(place, stage, url, to, folder):
    """Kafka counts one that was killed among the group's members until its session is over; sb refuses until then."""
    env = {"PATH": os.environ["PATH"], "DATABASE_URL": url, "KAFKA_BROKERS": place.brokers, "ASAN_OPTIONS": "detect_leaks=0"}
    command = [SB, "rewind", stage, "--to", to.strftime("%Y-%m-%dT%H:%M:%SZ"), "--yes", "--as", "ada", "--json"]

    def rewound():
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 or "the stage runs" in done.stderr, done.stderr
        return done.returncode == 0 and json.loads(done.stdout)
    return wait_until(rewound, f"{stage} being rewound", pause_s=0.5)["events"]


class Calls:
    """One call after the other, until it is over."""

    def __init__(self, pipeline, company):
        self.pipeline, self.company, self.made, self.over = pipeline, company, [], threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.over.is_set():
            self.made.append(self.pipeline.call(self.company, BOOKED))

    def __enter__(self):
        self.thread.start()
        wait_until(lambda: len(self.made) >= 2, "the first calls")
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def finished(pipeline, stage):
    wait_until(lambda: all(pipeline.topics.behind(stage, name) == 0 for name in STAGES[stage]), f"{stage} having caught up", pause_s=0.2)


def test_a_copy_older_than_kafkas_offsets_is_restored_and_each_event_takes_effect_once(place, pipeline, elsewhere, tmp_path):
    company = pipeline.company()
    calls = [pipeline.call(company, BOOKED) for _ in range(3)]
    for call_id in calls:
        pipeline.delivery(call_id, "read")
    with Calls(pipeline, company) as meanwhile:
        moment = back_up(place.database_url, tmp_path)
        count = len(meanwhile.made)
        wait_until(lambda: len(meanwhile.made) >= count + 3, "calls after the copy")
    calls += meanwhile.made
    for call_id in calls:
        pipeline.delivery(call_id, "read")
    sent = {message["sid"] for message in pipeline.messages(company.rep)}
    assert len(sent) == len(calls)

    pipeline.database.close()
    place.postgres.stop("immediate")
    place.postgres = None
    calls += [pipeline.call(company, BOOKED) for _ in range(2)]         # the door takes them in
    for name in ("transcribe", "analyze", "notifier", "ingest"):
        pipeline.daemons[name].kill()
    url = restore(elsewhere, tmp_path, moment)
    again = {name: rewind(place, name, url, moment - MARGIN, tmp_path) for name in STAGES}
    assert all(again.values()), "each of them had come further than the copy knows"
    for name in STAGES:
        daemon = pipeline.daemons[name]
        daemon.settings["DATABASE_URL"] = url
        daemon.start().ready()
        finished(pipeline, name)
    pipeline.database = psycopg.connect(url, autocommit=True, row_factory=dict_row)

    for call_id in calls:
        message = pipeline.delivery(call_id, "read")
        assert message["provider_id"] in {found["sid"] for found in pipeline.messages(company.rep)}
        assert [len(pipeline.rows(table, call_id)) for table in ROWS] == [1] * len(ROWS)
        assert len(pipeline.rows("call_reports", call_id)) == 3
        assert set(pipeline.types(call_id)) == set(OF_A_CALL)
    messages = pipeline.messages(company.rep)
    assert len(messages) == len(calls), "each was told once"
    assert sent < {message["sid"] for message in messages}
    known = pipeline.database.execute("SELECT provider_id FROM deliveries WHERE subject = ANY (%s)", (calls,)).fetchall()
    assert sorted(row["provider_id"] for row in known) == sorted(message["sid"] for message in messages)
    assert not pipeline.database.execute("SELECT stage, why FROM ledger WHERE outcome = 'rejected'").fetchall()
