"""All stages behind PgBouncer in transaction mode, set up as deploy/README.md says, with one connection to Postgres for all of them: what
one transaction left in its session the next one, of whatever stage or company, would have.

The login is no owner and no superuser, so what does not run in its stage's role is refused.  PGBOUNCER names another program than
the system's, which on Debian 12 is too old."""

import os
import re
import shutil
import signal
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor

import api_client
import psycopg
import pytest
from call_pipeline import BOOKED, Pipeline
from daemons import BUILD
from environment import ROOT, free_port, wait_until
from psycopg.rows import dict_row
from sandbox_process import process  # noqa: F401 (a fixture)

PROGRAM = os.environ.get("PGBOUNCER") or shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin")
STAGES = ("ingest", "transcribe", "analyze", "notifier")
ASKED_AT_ONCE, ASKED = 12, 300


def version():
    found = PROGRAM and re.search(r"PgBouncer (\d+)\.(\d+)", subprocess.run([PROGRAM, "--version"], capture_output=True, text=True).stdout)
    return found and (int(found[1]), int(found[2]))


pytestmark = pytest.mark.skipif((version() or (0, 0)) < (1, 21), reason=f"PgBouncer is not here or older than 1.21: {PROGRAM}")


def documented():
    """The settings that operators are told to write."""
    text = (ROOT / "deploy" / "README.md").read_text()
    return re.sub("^    ", "", re.search(r"^    \[databases\]\n(?:    .*\n)+", text, re.M)[0], flags=re.M)


class Pgbouncer:
    """One pooler in a folder of its own, with as many connections to Postgres as it is told."""

    def __init__(self, folder, postgres, database, login, connections):
        self.folder, self.postgres, self.port = folder, postgres, free_port()
        self.url = f"postgresql://{login}@127.0.0.1:{self.port}/switchboard"
        (folder / "users").write_text(f'"{login}" ""\n')
        settings, places = re.subn(r"host=\S+ port=\d+ dbname=\w+", f"host=127.0.0.1 port={postgres.port} dbname={database}", documented())
        assert places == 1
        (folder / "pgbouncer.ini").write_text(
            settings + f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {folder}/users\n"
            f"default_pool_size = {connections}\nlogfile = {folder}/log\n")
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        self.start()

    def start(self):
        as_owner = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        self.process = subprocess.Popen([*as_owner, PROGRAM, "-q", self.folder / "pgbouncer.ini"], stderr=subprocess.DEVNULL)
        wait_until(self.answers, "PgBouncer's start")

    def answers(self):
        assert self.process.poll() is None, f"PgBouncer ended: {(self.folder / 'log').read_text()[-2000:]}"
        try:
            return psycopg.connect(self.url).close() is None
        except psycopg.OperationalError:
            return False

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def login(environment, schema_ready):
    """May take the stages' roles, and no more; one who is the tables' owner can do all that, and migrate."""
    if not environment.postgres:
        pytest.skip("Postgres is not ours to put a pooler before")
    login = "pooled_" + uuid.uuid4().hex[:8]
    with schema_ready.connect() as connection:
        connection.execute(f"CREATE ROLE {login} LOGIN NOINHERIT")
        connection.execute(f"GRANT switchboard_api, switchboard_operator, {', '.join('switchboard_' + stage for stage in STAGES)} TO {login}")
        connection.execute(f"GRANT SELECT ON schema_migrations TO {login}")
    return login


@pytest.fixture(scope="module")
def bouncer(environment, schema_ready, login):
    folder = environment.folder / "pgbouncer"
    folder.mkdir()
    bouncer = Pgbouncer(folder, environment.postgres, schema_ready.database_url.rsplit("/", 1)[1], login, 1)
    yield bouncer
    bouncer.stop()


@pytest.fixture(scope="module")
def pipeline(schema_ready, topics, process, bouncer, tmp_path_factory):  # noqa: F811
    pipeline = Pipeline(schema_ready, topics, process, tmp_path_factory.mktemp("pooled"),
                        **{stage: {"DATABASE_URL": bouncer.url} for stage in STAGES})
    yield pipeline
    pipeline.close()


@pytest.fixture
def servers(database, login):
    """The process numbers of the pooler's connections to Postgres."""
    return lambda: [pid for pid, in database.execute("SELECT pid FROM pg_stat_activity WHERE usename = %s", [login]).fetchall()]


def test_a_call_goes_its_whole_way_over_one_connection(pipeline, servers):
    company = pipeline.company()
    call_id = pipeline.call(company, BOOKED)
    pipeline.delivery(call_id, "read")
    shown = pipeline.shown_by_the_api(company, call_id)
    assert (shown["status"], shown["analysis"]["booking_status"]) == ("completed", "booked")
    assert {row["stage"]: row["outcome"] for row in shown["history"]} == dict.fromkeys(STAGES, "done")
    assert len(servers()) == 1
    for daemon in pipeline.daemons.values():
        assert "permission denied" not in daemon.log() and "row-level security" not in daemon.log()


def askers_of(company):
    """Of one company: whoever sees all of it, and two reps; each with what they see."""
    calls = {company.call() for _ in range(5)}
    reps = [company.user() for _ in range(2)]
    visits = [{company.appointment(assigned_rep_id=rep) for _ in range(3)} for rep, _ in reps]
    return [(company.api(), calls, visits[0] | visits[1]), *((api, calls, own) for (_, api), own in zip(reps, visits, strict=True))]


def test_everybody_sees_their_own_however_many_ask_while_the_stages_write(pipeline):
    companies = [api_client.Company(pipeline.database, pipeline.ingest.url) for _ in range(3)]
    askers = [asker for company in companies for asker in askers_of(company)]
    busy = pipeline.company()

    def ask(n):
        api, calls, visits = askers[n % len(askers)]
        return set(api.ids(limit=200)) == calls and set(api.ids("/api/v1/appointments", limit=200)) == visits

    called = [pipeline.call(busy, BOOKED) for _ in range(5)]
    with ThreadPoolExecutor(ASKED_AT_ONCE) as asking:
        assert all(asking.map(ask, range(ASKED)))
    for call_id in called:
        pipeline.delivery(call_id, "read")


def test_nothing_is_left_in_the_session(pipeline, bouncer, environment, login):
    """What it would have told the next one: compared with a session in which nothing ever was."""
    asked = """SELECT current_user, (SELECT json_object_agg(name, setting ORDER BY name) FROM pg_settings WHERE source = 'session'
                                     AND name NOT IN ('application_name', 'client_encoding', 'DateStyle', 'TimeZone',
                                                      'standard_conforming_strings')) AS settings,
               coalesce(current_setting('switchboard.tenant', true), '') AS tenant,
               coalesce(current_setting('switchboard.person', true), '') AS person,
               (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) AS locks,
               (SELECT count(*) FROM pg_class WHERE relpersistence = 't') AS temporary"""
    pipeline.delivery(pipeline.call(pipeline.company(), BOOKED), "read")
    with psycopg.connect(bouncer.url, autocommit=True, row_factory=dict_row) as pooled:
        left = pooled.execute(asked).fetchone()
    assert left == {"current_user": login, "settings": None, "tenant": "", "person": "", "locks": 0, "temporary": 0}


def test_connections_and_the_pooler_itself_may_go(pipeline, bouncer, servers, database):
    """Postgres ends the connection, then the pooler dies: the next ones know nothing of the stages, and the stages wait meanwhile."""
    company = pipeline.company()
    before = servers()
    database.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::integer[]) AS pid", [before])
    pipeline.delivery(pipeline.call(company, BOOKED), "read")
    assert not set(servers()) & set(before)
    bouncer.stop()
    call_id = pipeline.call(company, BOOKED)
    bouncer.start()
    pipeline.delivery(call_id, "read")


@pytest.mark.parametrize("command", ["export", "erase"])
def test_what_needs_a_session_says_so(pipeline, bouncer, command, tmp_path):
    call_id = pipeline.call(pipeline.company(), caller_number="+12025550147")
    pipeline.row("calls", call_id)
    env = {"PATH": "/usr/bin", "DATABASE_URL": bouncer.url, "KAFKA_BROKERS": pipeline.environment.brokers, "ASAN_OPTIONS": "detect_leaks=0"}
    done = subprocess.run([BUILD / "bin" / "sb", command, call_id], cwd=tmp_path, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 1 and "a DATABASE_URL that leads to Postgres itself" in done.stderr
