"""sb, the operators' command: `sb up` with the real daemons in a checkout of its own, and every other command against it."""

import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Producer
from daemons import BUILD
from environment import ROOT, free_port, wait_until

SB = BUILD / "bin" / "sb"
COMMANDS = ("up", "down", "status", "topics", "tail", "logs", "trace", "why", "impact", "token", "verify", "export", "erase",
            "doctor", "dlq", "replay", "rewind", "pause", "resume", "company", "user", "number", "seed-data", "cleanup-seed-data")
DAEMONS = ("ingest", "transcribe", "analyze", "notifier")
FINE, FAILED, WRONG = 0, 1, 2
UP_S = 180
DOWN_S = 90


def run(*arguments, cwd=ROOT, env=None, seconds=60):
    return subprocess.run([SB, *arguments], cwd=cwd, env=env, capture_output=True, text=True, timeout=seconds)


def processes_of(folder):
    """Processes that have something of this checkout in their environment or command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            said = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in said and int(path.name) != os.getpid():
            found.append(int(path.name))
    return found


class Checkout:
    """What `sb up` needs of a checkout, with a `.run` and ports of its own."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "deploy").symlink_to(ROOT / "deploy")
        (folder / ".run" / "kafka").mkdir(parents=True)
        libs = ROOT / ".run" / "kafka" / "libs"
        assert libs.is_dir(), "Kafka is not there: run `make kafka` first"
        (folder / ".run" / "kafka" / "libs").symlink_to(libs)
        self.listens = {"INGEST_LISTEN": free_port(), "TRANSCRIBE_METRICS_LISTEN": free_port(), "ANALYZE_METRICS_LISTEN": free_port(),
                        "NOTIFIER_METRICS_LISTEN": free_port()}
        clean = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
        self.env = {**clean, "LOCAL_KAFKA_PORT": str(self.two_ports()), "LOCAL_POSTGRES_PORT": str(free_port()),
                    "ASAN_OPTIONS": "detect_leaks=0", **{name: f"127.0.0.1:{port}" for name, port in self.listens.items()}}
        self.said = ""
        self.process = None

    @staticmethod
    def two_ports():
        """Kafka's, and the next one for its controller."""
        while True:
            port = free_port()
            with socket.socket() as probe:
                try:
                    probe.bind(("127.0.0.1", port + 1))
                    return port
                except OSError:
                    pass

    def sb(self, *arguments, **settings):
        return run(*arguments, cwd=self.folder, env={**self.env, **settings})

    def up(self, *arguments, sandbox=False, **settings):
        self.said = ""
        without = [] if sandbox else ["--without", "sandbox"]
        self.process = subprocess.Popen([SB, "up", *without, *arguments], cwd=self.folder, env={**self.env, **settings},
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        threading.Thread(target=self.listen, args=(self.process,), daemon=True).start()
        return self

    def listen(self, process):
        for line in process.stdout:
            self.said += line

    def wait_for(self, pattern, seconds=UP_S):
        def there():
            found = re.search(pattern, self.said, re.M)
            assert found or self.process.poll() is None, f"sb up ended with {self.process.returncode}: {self.said}"
            return found
        return wait_until(there, f"/{pattern}/ in what sb up says", seconds)

    def ready(self):
        self.wait_for("^ready after")
        return self

    def status(self):
        result = self.sb("status", "--json")
        return result.returncode, json.loads(result.stdout)

    def part(self, name):
        return next(part for part in self.status()[1]["parts"] if part["name"] == name)

    def settings(self):
        """What `. .run/env` gives a shell."""
        said = subprocess.run(["sh", "-c", ". .run/env; env"], cwd=self.folder, capture_output=True, text=True, check=True).stdout
        return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)

    def connect(self):
        return psycopg.connect(self.settings()["DATABASE_URL"], autocommit=True)

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(DOWN_S)
        cluster = self.folder / ".run" / "postgres"
        if cluster.is_symlink():
            shutil.rmtree(cluster.resolve(), ignore_errors=True)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    checkout = Checkout(tmp_path_factory.mktemp("checkout"))
    yield checkout
    checkout.end()


@pytest.fixture
def up(checkout):
    """Runs; started by the first test that needs it and kept for the next ones."""
    if checkout.process is None or checkout.process.poll() is not None:
        checkout.up().ready()
    return checkout


def send(up, topic, key, message):
    producer = Producer({"bootstrap.servers": up.settings()["KAFKA_BROKERS"], "partitioner": "murmur2_random"})
    producer.produce(topic, json.dumps(message) if isinstance(message, dict) else message, key=key)
    assert producer.flush(30) == 0


# --- without anything running ----------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_examples(command):
    result = run(command, "--help")
    assert result.returncode == FINE and result.stderr == ""
    for expected in (f"sb {command}: ", "Usage: sb " + command, "Examples", "Exit codes"):
        assert expected in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 150


def test_the_overview_names_every_command():
    result = run("--help")
    assert result.returncode == FINE
    assert all(re.search(rf"^  {command} ", result.stdout, re.M) for command in COMMANDS)
    assert run().returncode == WRONG
    assert run("nonsense").returncode == WRONG and "no command" in run("nonsense").stderr
    assert run("help", "nonsense").returncode == WRONG and 'no command "nonsense"' in run("help", "nonsense").stderr
    assert run("help", "tail").stdout == run("tail", "--help").stdout


@pytest.mark.parametrize("arguments", [("up", "--without", "x"), ("up", "y"), ("up", "--day", "--without", "sandbox"), ("down", "now"),
                                       ("status", "--x"), ("topics", "calls"), ("tail", "nope"), ("tail", "--since", "5x"),
                                       ("tail", "--since", "1h", "--from-start"), ("tail", "--json", "--header"), ("tail", "--json", "--raw"),
                                       ("replay", "analyze", "--since", "1h", "--until", "2h"), ("export", "--json"), ("token",), ("token", "make"), ("token", "create"),
                                       ("token", "create", "--tenant", "a", "--role", "king"), ("token", "revoke", "x"),
                                       ("token", "create", "--tenant", "a", "--role", "csr", "--expires", "soon")])
def test_a_wrong_command_line_is_told_and_exits_with_2(arguments):
    result = run(*arguments)
    assert result.returncode == WRONG and result.stdout == ""
    assert result.stderr.startswith(f"sb {arguments[0]}: ") and "--help" in result.stderr


def test_nothing_runs(tmp_path):
    checkout = Checkout(tmp_path)
    assert checkout.sb("down").returncode == FINE
    status = checkout.sb("status")
    assert status.returncode == FAILED and "does not run here" in status.stdout
    topics = checkout.sb("topics")
    assert topics.returncode == FINE and "inbound.callrail" in topics.stdout
    for command in (("tail",), ("token", "list")):
        result = checkout.sb(*command)
        assert result.returncode == WRONG and "sb up" in result.stderr


def test_away_from_a_checkout_nothing_is_looked_for_at_random(tmp_path):
    away = shutil.copy(SB, tmp_path / "sb")
    env = {"PATH": os.environ["PATH"], "ASAN_OPTIONS": "detect_leaks=0"}
    for command in ("logs", "down"):
        done = subprocess.run([away, command], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == FAILED and f"sb {command}: this is no checkout of Switchboard" in done.stderr


def test_a_kafka_that_is_not_there_is_told(tmp_path):
    checkout = Checkout(tmp_path)
    for command in ("tail", "topics"):
        result = checkout.sb(command, KAFKA_BROKERS="127.0.0.1:1")
        assert result.returncode == FAILED and "127.0.0.1:1" in result.stderr


def test_a_port_in_use_is_told_with_who_has_it_and_what_to_set(tmp_path):
    checkout = Checkout(tmp_path)
    with socket.create_server(("127.0.0.1", checkout.listens["ANALYZE_METRICS_LISTEN"])):
        result = checkout.sb("up", "--without", "sandbox")
    assert result.returncode == FAILED
    for expected in (str(checkout.listens["ANALYZE_METRICS_LISTEN"]), "analyze", str(os.getpid()), "ANALYZE_METRICS_LISTEN"):
        assert expected in result.stderr


def test_a_wrong_setting_is_told(tmp_path):
    checkout = Checkout(tmp_path)
    result = checkout.sb("up", LOCAL_KAFKA_PORT="nine")
    assert result.returncode == WRONG and "LOCAL_KAFKA_PORT" in result.stderr
    (tmp_path / ".env").write_text("INGEST_LISTEN=5000\n")
    del checkout.env["INGEST_LISTEN"]
    result = checkout.sb("up")
    assert result.returncode == WRONG and "INGEST_LISTEN" in result.stderr and "line 1" in result.stderr


# --- everything runs -------------------------------------------------------------------


def test_up_makes_everything_and_says_so(up):
    for part in ("postgres", "kafka", *DAEMONS):
        assert re.search(rf"^  {part} +ready ", up.said, re.M), up.said
    code, status = up.status()
    assert code == FINE, status
    assert all(part["well"] for part in status["parts"])
    assert {stage["name"]: stage["dead"] for stage in status["stages"]} == {name: 0 for name in DAEMONS}
    assert all(stage["behind"] == 0 and stage["in_flight"] == 0 and stage["parked"] == 0 for stage in status["stages"])
    with up.connect() as connection:
        assert connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (False,)


def test_secrets_are_for_the_owner_alone_and_on_no_command_line(up):
    assert (up.folder / ".run" / "env").stat().st_mode & 0o077 == 0
    password = re.search(r"switchboard:(\w+)@", up.settings()["DATABASE_URL"])[1]
    for pid in processes_of(up.folder):
        assert password.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_another_up_is_refused_with_the_process_that_runs(up):
    result = up.sb("up")
    assert result.returncode == FAILED and str(up.process.pid) in result.stderr and "sb down" in result.stderr


def test_status_for_people(up):
    result = up.sb("status")
    assert result.returncode == FINE, result.stdout
    assert re.search(r"^analyze +ready +\d+ \w+ +\d+ +127.0.0.1:\d+: ready", result.stdout, re.M)
    wait_until(lambda: re.search(r"^transcribe +1 +0 +- +0 +0 +0 +0 +- +-$", up.sb("status").stdout, re.M), "the instances having told of themselves")


def test_status_counts_what_is_behind(up):
    """What a stage has not handled because it is stopped."""
    before = next(stage for stage in up.status()[1]["stages"] if stage["name"] == "notifier")["behind"]
    os.kill(up.part("notifier")["pid"], signal.SIGSTOP)
    for number in range(3):
        send(up, "results", f"behind-{number}", "not an event")
    code, status = up.status()
    stage = next(stage for stage in status["stages"] if stage["name"] == "notifier")
    assert code == FAILED and stage["behind"] == before + 3
    assert "no answer in time" in next(part for part in status["parts"] if part["name"] == "notifier")["said"]
    os.kill(up.part("notifier")["pid"], signal.SIGCONT)

    def handled():
        notifier = next(stage for stage in up.status()[1]["stages"] if stage["name"] == "notifier")
        return notifier["behind"] == 0 and notifier["dead"] >= 3
    wait_until(handled, "the notifier giving up what is no event")


def test_topics_shows_the_map_and_what_is_there(up):
    result = up.sb("topics", "--json")
    assert result.returncode == FINE, result.stderr
    topics = {topic["topic"]: topic for topic in json.loads(result.stdout)}
    map_of = json.loads((ROOT / "schemas" / "topics.json").read_text())
    for wanted in map_of["topics"]:
        shown = topics[wanted["name"]]
        assert (shown["writer"], shown["types"]) == (wanted["writer"], wanted["types"])
        assert len(shown["there"]) == shown["partitions"] == map_of["partitions"]
        assert shown["retention_ms"] == wanted["retention_days"] * 86_400_000
        readers = {stage["name"] for stage in map_of["stages"] if wanted["name"] in stage["reads"]}
        assert readers <= set(shown["readers"])
    assert {"dead.analyze", "replay.analyze"} <= topics.keys()
    assert "call.progressed, call.recorded" in up.sb("topics").stdout


class Tail:
    """`sb tail` that goes on until it is told to stop."""

    def __init__(self, up, *arguments, terminal=False):
        self.output = None
        self.lines, stdout = [], subprocess.PIPE
        if terminal:
            self.output, stdout = pty.openpty()
        self.process = subprocess.Popen([SB, "tail", *arguments], cwd=up.folder, env=up.env, stdout=stdout, stderr=subprocess.PIPE)
        if terminal:
            os.close(stdout)
        source = os.fdopen(self.output, "rb") if terminal else self.process.stdout
        self.thread = threading.Thread(target=self.read, args=(source,), daemon=True)
        self.thread.start()

    def read(self, source):
        try:
            for line in source:
                self.lines.append(line.decode().rstrip("\r\n"))
        except OSError:
            pass                        # a terminal's other end was closed

    def wait(self, count):
        wait_until(lambda: len(self.lines) >= count, f"{count} lines of sb tail")
        return self

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        error = self.process.stderr.read().decode()
        assert self.process.wait(30) == FINE, error
        self.thread.join(10)
        return error


def test_tail_gives_history_in_the_order_of_time(up, key):
    for number in range(20):
        send(up, "replies", f"{key}-{number % 7}", {"type": "test.order", "subject": key, "data": {"number": number}})
        time.sleep(0.002)               # Kafka's times are whole milliseconds
    tail = Tail(up, "replies", "--from-start", "--type", "test.order", "--key", f"{key}-*", "--json").wait(20)
    tail.stop()
    events = [json.loads(line) for line in tail.lines]
    assert [one["event"]["data"]["number"] for one in events] == list(range(20))
    assert {one["topic"] for one in events} == {"replies"} and len({one["partition"] for one in events}) > 1


def test_tail_filters_and_says_what_it_left_out(up, key):
    for number in range(4):
        send(up, "replies", key, {"type": "test.filter" if number % 2 else "test.other", "data": {"text": f"word{number}"}})
    tail = Tail(up, "replies", "--since", "10m", "--key", key, "--type", "test.f*", "--raw").wait(2)
    error = tail.stop()
    assert [json.loads(line)["data"]["text"] for line in tail.lines] == ["word1", "word3"]
    assert re.search(r"2 shown; left out: \d+ that do not match", error)
    tail = Tail(up, "--from-start", "--key", key, "--grep", "word2").wait(1)
    tail.stop()
    assert len(tail.lines) == 1 and "test.other" in tail.lines[0] and '"word2"' in tail.lines[0]


def test_tail_chooses_a_company_and_shows_where_an_event_stands(up, key):
    for tenant in ("elm", "oak"):
        send(up, "replies", key, {"type": "test.header", "id": f"id-of-{tenant}", "run": 2, "tenant": tenant, "data": {"text": tenant}})
    send(up, "replies", key, {"type": "test.header", "data": {"text": "of nobody"}})
    tail = Tail(up, "replies", "--from-start", "--key", key, "--tenant", "el?", "--header").wait(2)
    assert re.search(r"1 shown; left out: \d+ that do not match", tail.stop())
    assert len(tail.lines) == 2 and '"text":"elm"' in tail.lines[0].replace(" ", "")
    assert re.fullmatch(r" +partition \d+, offset \d+, id id-of-elm, run 2, tenant elm", tail.lines[1])


def test_a_line_that_is_cut_says_so(up, key):
    send(up, "replies", key, {"type": "test.long", "data": {"text": "x" * 100_000}})
    tail = Tail(up, "replies", "--from-start", "--key", key).wait(2)
    tail.stop()
    assert len(tail.lines[0]) < 70_000 and re.search(r"not all of its 100\d+ bytes: --raw", tail.lines[1])


def test_tail_follows_from_now_on(up, key):
    send(up, "replies", key, {"type": "test.before", "data": {}})
    tail = Tail(up, "--key", key)

    def seen():
        send(up, "replies", key, {"type": "test.after", "data": {}})
        return tail.lines
    wait_until(seen, "a line of sb tail", pause_s=0.2)
    tail.stop()
    assert all("test.after" in line for line in tail.lines)


def test_a_terminal_gets_colours_short_lines_and_nothing_that_drives_it(up, key):
    send(up, "replies", key, '{"type":"test.terminal","data":{"text":"\x1b[2J\x9b' + "ä" * 500 + '"}}')
    tail = Tail(up, "replies", "--from-start", "--key", key, terminal=True).wait(1)
    tail.stop()
    line = tail.lines[0]
    assert "\x1b[2m" in line and "…" in line
    plain = re.sub(r"\x1b\[\d*m", "", line)
    assert len(plain) < 200 and not re.search(r"[\x00-\x1f\x7f-\x9f]", plain)


def test_a_token_is_shown_once_kept_as_its_hash_and_revoked(up):
    with up.connect() as connection:
        connection.execute("INSERT INTO companies (tenant, name) VALUES ('tokens', 'Tokens Ltd') ON CONFLICT DO NOTHING")
        connection.execute("INSERT INTO users (tenant, email, user_id, name, role) VALUES ('tokens', 'ann@tokens.example', 'ann', 'Ann', 'csr')"
                           " ON CONFLICT DO NOTHING")
        made = up.sb("token", "create", "--tenant", "tokens", "--role", "csr", "--email", "Ann@Tokens.example", "--expires", "30d",
                     "--label", "a 'quoted' \"label\"")
        assert made.returncode == FINE, made.stderr
        token = made.stdout.strip()
        assert re.fullmatch(r"sb_[A-Za-z0-9_-]{43}", token) and made.stdout.count("\n") == 1 and token not in made.stderr
        row = connection.execute("SELECT token_id, tenant, email, role, label, expires_at - now() BETWEEN '29 days' AND '30 days', revoked_at"
                                 " FROM api_tokens WHERE token_hash = %s", (sha256(token.encode()).digest(),)).fetchone()
        assert row[1:] == ("tokens", "ann@tokens.example", "csr", "a 'quoted' \"label\"", True, None)
        listed = up.sb("token", "list")
        assert token not in listed.stdout and re.search(rf"^{row[0]} +tokens +csr +ann@.* valid$", listed.stdout, re.M)
        assert up.sb("token", "revoke", str(row[0])).returncode == FINE
        assert re.search(rf"^{row[0]} .* revoked$", up.sb("token", "list").stdout, re.M)
        mine = next(one for one in json.loads(up.sb("token", "list", "--json").stdout) if one["token_id"] == str(row[0]))
        assert (mine["tenant"], mine["email"], mine["label"], mine["state"]) == ("tokens", "ann@tokens.example", "a 'quoted' \"label\"", "revoked")
        assert connection.execute("SELECT revoked_at IS NOT NULL FROM api_tokens WHERE token_id = %s", (row[0],)).fetchone() == (True,)


@pytest.mark.parametrize("arguments, expected", [
    (("create", "--tenant", "nobody", "--role", "csr"), 'no company "nobody"'),
    (("create", "--tenant", "unassigned", "--role", "csr", "--email", "x@y.example"), 'no user "x@y.example"'),
    (("revoke", "886313e1-3b8a-4372-9b90-0c9aee199e5d"), "no token"),
])
def test_what_a_token_cannot_be(up, arguments, expected):
    result = up.sb("token", *arguments)
    assert result.returncode == FAILED and expected in result.stderr and result.stdout == ""


def test_a_backup_is_made_with_the_words_of_the_document(up, tmp_path):
    """Here the user is let into its own database alone."""
    document = (ROOT / "deploy" / "BACKUP.md").read_text().split("## Backup, while all runs")[1].split("##")[0]
    commands = "\n".join(line.strip() for line in document.splitlines() if line.startswith("    "))
    done = subprocess.run(["sh", "-e", "-c", commands], cwd=tmp_path, env={**os.environ, **up.settings()}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "CREATE ROLE switchboard_analyze" in (tmp_path / "roles.sql").read_text() and "PASSWORD" not in (tmp_path / "roles.sql").read_text()
    listed = subprocess.run(["pg_restore", "--list", tmp_path / "switchboard.dump"], capture_output=True, text=True, check=True).stdout
    assert "TABLE DATA public companies" in listed and re.fullmatch(r"[\d-]+T[\d:]+Z\n", (tmp_path / "moment").read_text())


def test_what_dies_is_started_again_with_its_last_words(up):
    before = up.part("analyze")
    os.kill(before["pid"], signal.SIGKILL)
    up.wait_for(r"^  analyze +died .* starting again in 0.5 s: killed by SIGKILL")

    def again():
        part = up.part("analyze")
        return part["well"] and part["pid"] != before["pid"] and part
    assert wait_until(again, "analyze being ready again")["restarts"] == before["restarts"] + 1


# --- the end ---------------------------------------------------------------------------


def test_down_ends_everything_and_what_was_kept_is_there_again(up, key):
    send(up, "replies", key, {"type": "test.kept", "data": {}})
    log = up.folder / ".run" / "log" / "analyze.log"
    os.truncate(log, 16 * 1024 * 1024)  # as full as it may get
    result = up.sb("down")
    assert result.returncode == FINE and "ended after" in result.stdout
    assert up.process.wait(10) == FINE
    assert processes_of(up.folder) == []
    order = [name for name in re.findall(r"^  (\w+) +ended", up.said, re.M)]
    assert set(order[:4]) == set(DAEMONS) and set(order[4:]) == {"postgres", "kafka"}
    up.up().ready()
    tail = Tail(up, "replies", "--from-start", "--key", key).wait(1)
    tail.stop()
    assert log.stat().st_size < 1024 * 1024 and log.with_name("analyze.log.1").stat().st_size >= 16 * 1024 * 1024


def test_ctrl_c_ends_everything(up):
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(DOWN_S) == FINE
    assert processes_of(up.folder) == []


def test_a_killed_sb_leaves_nothing_running_and_the_next_waits_for_it(up):
    up.process.kill()
    up.process.wait()
    up.up().ready()                     # no data was opened twice, no port was still in use
    up.process.kill()
    up.process.wait()
    wait_until(lambda: processes_of(up.folder) == [], "all parts ending after a kill -9 of sb", DOWN_S)
    assert up.sb("down").returncode == FINE


def test_what_cannot_start_ends_everything_with_its_own_words(checkout):
    checkout.up(LLM_PROVIDER="bogus")
    assert checkout.process.wait(UP_S) == FAILED
    wait_until(lambda: "could not start" in checkout.said, "the sentence")
    assert re.search(r'analyze could not start: exit code 2; it said last: LLM_PROVIDER is "bogus"', checkout.said)
    assert processes_of(checkout.folder) == []


def test_ones_own_kafka_and_postgres_are_used(checkout, tmp_path):
    """`sb up` in another checkout, with the addresses of the first one's parts."""
    parts = ("--without", "ingest", "--without", "transcribe", "--without", "analyze", "--without", "notifier")
    checkout.up(*parts).ready()
    settings = checkout.settings()
    other = Checkout(tmp_path)
    (tmp_path / ".env").write_text(f"DATABASE_URL={settings['DATABASE_URL']}\nKAFKA_BROKERS={settings['KAFKA_BROKERS']}\n")
    try:
        other.up().ready()
        assert not (tmp_path / ".run" / "postgres").exists() and not (tmp_path / ".run" / "kafka" / "data").exists()
        assert {part["name"] for part in other.status()[1]["parts"]} == {"schemas", *DAEMONS}
    finally:
        other.end()
        checkout.sb("down")


@pytest.fixture
def without_parts(tmp_path):
    """A checkout with the sandbox, of which `sb up` makes .run/env, and then looks for a Kafka in vain."""
    sandbox = ROOT / ".run" / "venv-sandbox"
    if not sandbox.is_dir():
        pytest.skip("the sandbox's Python packages are not there: make venvs")
    other = Checkout(tmp_path)
    (tmp_path / ".run" / "venv-sandbox").symlink_to(sandbox)
    other.env |= {"KAFKA_BROKERS": "127.0.0.1:1", "DATABASE_URL": "postgresql://127.0.0.1:1/x", "LOCAL_SANDBOX_PORT": str(free_port())}

    def up():
        other.up(sandbox=True).wait_for("^  sandbox +ready")
        return other.settings()
    yield up
    other.end()


def test_real_keys_are_not_sent_to_the_sandbox(without_parts, tmp_path):
    """A provider whose key is in .env keeps its own address; the others get the sandbox's and a test key."""
    (tmp_path / ".env").write_text("GEMINI_API_KEY=a-real-key\n")
    settings = without_parts()
    assert "GEMINI_API_KEY" not in settings and "GEMINI_BASE_URL" not in settings and settings["LLM_PROVIDER"] == "gemini"
    assert settings["OPENAI_API_KEY"] and settings["OPENAI_BASE_URL"].startswith(settings["SANDBOX_URL"])
    assert "a-real-key" not in (tmp_path / ".run" / "env").read_text()


def test_the_daemons_are_told_what_the_sandbox_accepts(without_parts):
    """The test keys stand in two places: deploy/sb/environment.c and deploy/sandbox/config.py."""
    settings = without_parts()
    said = subprocess.run([ROOT / ".run" / "venv-sandbox" / "bin" / "python", ROOT / "deploy" / "sandbox" / "sandbox.py", "--print-env",
                           "--public-url", settings["SANDBOX_URL"]], capture_output=True, text=True, check=True).stdout
    accepted = dict(line.split("=", 1) for line in said.splitlines())
    assert accepted == {name: settings[name] for name in accepted}
