"""Retention: days of the ledger that are over go, those that are not stay, and no stage is held up meanwhile."""

import threading
import uuid

import pytest
from daemons import Daemon, event
from environment import wait_until

KEPT_DAYS, EMITTED_DAYS, OLDEST_DAYS = 31, 2, 45
ROWS_A_DAY = 2000
LATE_ROWS = 20_000         # of days that have no partition: a replay of old events after a long outage
COLUMNS = ('stage, event_id, day, event_type, topic, partition, "offset", subject, outcome, attempts, received_at, started_at, worked_us')
FILL = (f"INSERT INTO ledger ({COLUMNS}) SELECT 'past', gen_random_uuid(), (%(day)s)::date, 'x', 'x', 0, n, 'past', 'done', 1, now(), now(), 0"
        " FROM generate_series(1, %(rows)s) AS n")
FILL_EMITTED = ("INSERT INTO emitted (stage, cause_id, run, day, number, topic, key, payload) SELECT 'past', gen_random_uuid(), 0, (%(day)s)::date, 0,"
                " 'x', 'past', '{}' FROM generate_series(1, %(rows)s) AS n")
CLEAN = "SELECT runtime_partitions(%s, %s)"


def today(database, offset=0):
    return database.execute("SELECT (now() AT TIME ZONE 'UTC')::date + %s", (offset,)).fetchone()[0]


def partition(table, day):
    return f"{table}_{day:%Y%m%d}"


def make_partition(database, table, day):
    name = partition(table, day)
    if not database.execute("SELECT to_regclass(%s)", (name,)).fetchone()[0]:
        database.execute(f"CREATE TABLE {name} PARTITION OF {table} FOR VALUES FROM ('{day}') TO ('{day}'::date + 1)")


def days_of(database, table):
    return dict(database.execute(f"SELECT day, count(*) FROM {table} WHERE stage = 'past' GROUP BY day").fetchall())


@pytest.fixture
def past(database):
    """A ledger of many days, each in its partition; and rows of days that have none, in the default partition."""
    days = [today(database, -ago) for ago in range(OLDEST_DAYS, 1, -1)]
    for day in days:
        make_partition(database, "ledger", day)
        make_partition(database, "emitted", day)
        database.execute(FILL, {"day": day, "rows": ROWS_A_DAY})
        database.execute(FILL_EMITTED, {"day": day, "rows": ROWS_A_DAY})
    database.execute(FILL, {"day": "2020-02-29", "rows": LATE_ROWS})
    database.execute(FILL, {"day": today(database, 30), "rows": 10})
    yield days
    for table in ("ledger", "emitted"):
        database.execute(f"DELETE FROM {table} WHERE stage = 'past'")
        for day in days:
            database.execute(f"DROP TABLE IF EXISTS {partition(table, day)}")


@pytest.fixture(scope="module")
def echo(schema_ready, tmp_path_factory):
    daemon = Daemon("echo", schema_ready, tmp_path_factory.mktemp("echo")).ready()
    yield daemon
    assert daemon.stop() == 0


class Stream:
    """Events one after the other, each sent when the one before has taken effect: what holds one up holds up all."""

    def __init__(self, topics, key):
        self.topics, self.key, self.sent, self.over = topics, key, 0, threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.error = None

    def run(self):
        try:
            while not self.over.is_set():
                self.sent += 1
                self.topics.send("echo.in", self.key, event("echo.asked", self.key, {"n": self.sent}))
                self.topics.wait("echo.out", self.key, count=self.sent)
        except BaseException as error:
            self.error = error

    def __enter__(self):
        self.thread.start()
        wait_until(lambda: self.sent > 3 or self.error, "the stream")
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        assert self.error is None, self.error

    def goes_on(self, events):
        """That many more, while something else is as it is."""
        until = self.sent + events
        wait_until(lambda: self.sent >= until or self.error, f"{events} more events")


def all_in_order(database, stream):
    """Each once, at the first try."""
    rows = database.execute("SELECT n FROM echo_rows WHERE subject = %s ORDER BY position", (stream.key,)).fetchall()
    assert [n for n, in rows] == list(range(1, stream.sent + 1))
    assert database.execute("SELECT max(attempts) FROM ledger WHERE subject = %s", (stream.key,)).fetchone()[0] == 1


def test_what_is_over_is_dropped_and_the_rest_stays(database, past):
    database.execute(CLEAN, (KEPT_DAYS, EMITTED_DAYS))
    kept = {day: ROWS_A_DAY for day in past if day >= today(database, -KEPT_DAYS)}
    assert days_of(database, "ledger") == {**kept, today(database, 30): 10}
    assert days_of(database, "emitted") == {day: ROWS_A_DAY for day in past if day >= today(database, -EMITTED_DAYS)}
    left = database.execute("SELECT relname FROM pg_class WHERE relname ~ '^(ledger|emitted)_\\d{8}$' ORDER BY 1").fetchall()
    wanted = [(partition(table, today(database, -ago)),) for table, days in (("emitted", EMITTED_DAYS), ("ledger", KEPT_DAYS))
              for ago in range(days, -3, -1)]
    assert left == wanted


def test_rows_that_came_before_their_partition_are_found_and_go_in_time(database):
    """The default partition holds a day: that day gets no partition, which would need to move them under a lock."""
    day = today(database, 2)
    for table in ("ledger", "emitted"):
        database.execute(f"DROP TABLE IF EXISTS {partition(table, day)}")
    database.execute(FILL, {"day": day, "rows": 5})
    try:
        database.execute(CLEAN, (KEPT_DAYS, EMITTED_DAYS))
        assert not database.execute("SELECT to_regclass(%s)", (partition("ledger", day),)).fetchone()[0]
        assert database.execute("SELECT to_regclass(%s)", (partition("emitted", day),)).fetchone()[0], "the other table is its own matter"
        assert days_of(database, "ledger") == {day: 5}
    finally:
        database.execute("DELETE FROM ledger WHERE stage = 'past'")
        database.execute(CLEAN, (KEPT_DAYS, EMITTED_DAYS))
    assert database.execute("SELECT to_regclass(%s)", (partition("ledger", day),)).fetchone()[0], "made once nothing stands in its way"


def test_a_stage_goes_on_across_the_drop(database, schema_ready, echo, topics, key, past):
    with Stream(topics, key) as stream, schema_ready.connect() as cleaner:
        cleaner.execute("SET ROLE switchboard_echo")
        cleaner.execute(CLEAN, (KEPT_DAYS, EMITTED_DAYS))
        stream.goes_on(5)
    assert min(days_of(database, "ledger")) == today(database, -KEPT_DAYS)
    all_in_order(database, stream)


def test_what_is_deleted_row_by_row_holds_no_stage_up(database, schema_ready, echo, topics, key, past):
    """As when there are millions of them: the deletion waits for one of the rows, and until it is done nothing is locked for others."""
    with schema_ready.connect() as holder, schema_ready.connect() as cleaner, Stream(topics, key) as stream:
        holder.execute("BEGIN")
        holder.execute("SELECT 1 FROM ledger_default WHERE day = '2020-02-29' LIMIT 1 FOR UPDATE")
        cleaning = threading.Thread(target=cleaner.execute, args=(CLEAN, (KEPT_DAYS, EMITTED_DAYS)))
        cleaning.start()
        wait_until(lambda: database.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s",
                                            ("%runtime_partitions%",)).fetchone(), "the deletion waiting")
        stream.goes_on(100)
        assert cleaning.is_alive(), "it still waits"
        holder.execute("ROLLBACK")
        cleaning.join()
    assert min(days_of(database, "ledger")) == today(database, -KEPT_DAYS)
    all_in_order(database, stream)


def test_a_backup_that_reads_does_not_make_a_stage_wait(database, schema_ready, echo, topics, key, past):
    """The drop needs the table for itself, the backup keeps it; whoever waits in line for it would hold up every commit behind it."""
    with schema_ready.connect() as backup, schema_ready.connect() as cleaner, Stream(topics, key) as stream:
        backup.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        while not backup.execute("SELECT count(*) FROM ledger WHERE day = %s", (past[0],)).fetchone()[0]:
            backup.execute("ROLLBACK")              # the stage itself, which has just started, was faster
            make_partition(database, "ledger", past[0])
            database.execute(FILL, {"day": past[0], "rows": ROWS_A_DAY})
            backup.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        backup.execute("SELECT count(*) FROM ledger")
        over = threading.Event()

        def clean():
            while not over.is_set():
                cleaner.execute(CLEAN, (KEPT_DAYS, EMITTED_DAYS))
        cleaning = threading.Thread(target=clean)
        cleaning.start()
        stream.goes_on(20)
        assert days_of(database, "ledger")[past[0]] == ROWS_A_DAY, "what the backup reads is there"
        over.set()
        cleaning.join()
        backup.execute("ROLLBACK")
        cleaner.execute(CLEAN, (KEPT_DAYS, EMITTED_DAYS))
        stream.goes_on(5)
    assert min(days_of(database, "ledger")) == today(database, -KEPT_DAYS), "dropped when it can be"
    all_in_order(database, stream)


def test_two_stages_clean_at_once(schema_ready, database, past):
    """One does it, the others leave it to it."""
    errors = []

    def clean():
        try:
            with schema_ready.connect() as connection:
                connection.execute(CLEAN, (KEPT_DAYS, EMITTED_DAYS))
        except Exception as error:
            errors.append(error)
    threads = [threading.Thread(target=clean) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert min(days_of(database, "ledger")) == today(database, -KEPT_DAYS)


def test_a_late_event_of_a_dropped_day_still_takes_effect_once(database, echo, topics, key):
    """Its day has no partition any more: it stands in the default one, and is known when it comes again."""
    told = event("echo.asked", key, {"n": 1}, id=str(uuid.uuid4()))
    database.execute(FILL.replace("gen_random_uuid()", f"'{told['id']}'").replace("'past'", "'echo'"), {"day": "2020-02-29", "rows": 1})
    before = echo.metric("duplicates_total")
    topics.send("echo.in", key, told)
    wait_until(lambda: echo.metric("duplicates_total") > before, "the duplicate's count")
    assert database.execute("SELECT count(*) FROM echo_rows WHERE subject = %s", (key,)).fetchone()[0] == 0
    database.execute("DELETE FROM ledger WHERE event_id = %s", (told["id"],))
