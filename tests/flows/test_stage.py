"""The stage runtime's promises, on a stage that does what its events tell it, with real Kafka and Postgres.

Each event takes effect once, whatever is killed when; one key strictly in order, keys in parallel; retries are finite; nothing blocks
anything else."""

import signal
import subprocess
import threading
import time

import pytest
from daemons import Supervised, event
from environment import wait_until
from provider_stub import ProviderStub


@pytest.fixture(scope="module")
def echo(schema_ready, tmp_path_factory):
    from daemons import Daemon
    echo = Daemon("echo", schema_ready, tmp_path_factory.mktemp("echo"), instance="echo-main").ready()
    yield echo
    assert echo.stop() == 0, echo.log()[-3000:]


@pytest.fixture
def provider():
    stub = ProviderStub()
    yield stub
    stub.close()


def tell(topics, key, n=1, topic="echo.in", flush=True, attributes=None, partition=-1, **data):
    told = event("echo.asked", key, {"n": n, **data}, **(attributes or {}))
    topics.send(topic, key, told, flush, partition)
    return told


def rows(database, key):
    return database.execute("SELECT n, run, event_id::text FROM echo_rows WHERE subject = %s ORDER BY position", (key,)).fetchall()


def outcomes(database, key):
    return database.execute("SELECT outcome, attempts, why FROM ledger WHERE subject = %s ORDER BY \"offset\"", (key,)).fetchall()


def test_an_event_becomes_a_row_and_an_event(echo, topics, database, key):
    told = tell(topics, key, n=7)
    answer = topics.wait("echo.out", key)[0]
    assert answer["data"]["n"] == 7
    assert (answer["causationid"], answer["correlationid"], answer["time"]) == (told["id"], key, told["time"])
    assert rows(database, key) == [(7, 0, told["id"])], "whoever reads the event can rely on the row"
    assert outcomes(database, key) == [("done", 1, None)]


def test_events_of_one_key_are_in_order_and_keys_in_parallel(echo, topics, database, key):
    for n in range(1, 41):
        tell(topics, key, n=n, flush=False)
        for other in range(10):
            tell(topics, f"{key}-{other}", n=n, flush=False, sleep_ms=20)
    topics.producer.flush()
    topics.wait("echo.out", key, count=40)
    assert [n for n, _, _ in rows(database, key)] == list(range(1, 41))
    for other in range(10):
        topics.wait("echo.out", f"{key}-{other}", count=40)
        assert [n for n, _, _ in rows(database, f"{key}-{other}")] == list(range(1, 41))


def test_a_key_is_in_order_across_topics(echo, topics, database, key):
    """While the first event of a key is slow, one of the other topic waits behind it, whichever topic is read first."""
    tell(topics, key, n=1, sleep_ms=800)
    wait_until(lambda: echo.metric("in_flight", state="running") >= 1, "the slow event being handled")
    tell(topics, key, n=2, topic="echo.more")
    topics.wait("echo.out", key, count=2)
    assert [n for n, _, _ in rows(database, key)] == [1, 2]


def test_the_same_event_twice_takes_effect_once(echo, topics, database, key):
    told = tell(topics, key, n=1)
    topics.wait("echo.out", key)
    before = echo.metric("duplicates_total")
    topics.send("echo.in", key, told)
    topics.send("echo.more", key, told)
    tell(topics, key, n=2)
    topics.wait("echo.out", key, n=2)
    assert [n for n, _, _ in rows(database, key)] == [1, 2]
    assert topics.copies("echo.out", key) == 2
    assert echo.metric("duplicates_total") == before + 2


def test_a_rejected_event_is_a_dead_letter_and_the_key_goes_on(echo, topics, database, key):
    told = tell(topics, key, n=1, reject="it is no good")
    tell(topics, key, n=2)
    letter = topics.wait("dead.echo", key)[0]
    assert letter["type"] == "event.rejected" and letter["data"]["reason"] == "it is no good"
    assert told["id"] in letter["data"]["event"] and letter["causationid"] == told["id"]
    topics.wait("echo.out", key, n=2)
    assert [n for n, _, _ in rows(database, key)] == [2]
    assert outcomes(database, key)[0] == ("rejected", 1, "it is no good")


@pytest.mark.parametrize("broken", ["", "not JSON", "[]", '{"id": 1}', '{"specversion":"1.0"', "\x01", '{"a":' * 200],
                         ids=["empty", "words", "array", "no envelope", "cut", "control", "deep"])
def test_what_is_no_event_is_a_dead_letter(echo, topics, key, broken):
    topics.send("echo.in", key, broken)
    tell(topics, key, n=2)
    letter = topics.wait("dead.echo", key)[0]
    assert letter["data"]["encoding"] == "text"
    assert letter["data"]["event"] == broken and letter["data"]["topic"] == "echo.in"
    topics.wait("echo.out", key, n=2)


def test_bytes_that_are_no_text_are_a_dead_letter(echo, topics, key):
    topics.send("echo.in", key, b"\xff\xfe{}\x00")
    letter = topics.wait("dead.echo", key)[0]
    assert (letter["data"]["event"], letter["data"]["encoding"]) == ("//57fQA=", "base64")


def test_data_that_breaks_its_schema_is_named_by_pointer(echo, topics, key):
    topics.send("echo.in", key, event("echo.asked", key, {"n": "one"}))
    letter = topics.wait("dead.echo", key)[0]
    assert letter["data"]["pointer"] == "/n"


def test_a_retry_holds_up_its_key_alone(echo, topics, database, key):
    tell(topics, key, n=1, retries=3)
    tell(topics, key, n=2)
    tell(topics, key + "-other", n=1)
    topics.wait("echo.out", key + "-other")
    answers = topics.wait("echo.out", key, count=2)
    assert [answer["data"]["attempt"] for answer in answers] == [4, 1]
    assert [n for n, _, _ in rows(database, key)] == [1, 2]


def test_conflicts_rerun_the_handler_on_fresh_reads(echo, topics, database, key):
    for other in range(30):
        tell(topics, f"{key}-{other}", n=1, counter=key, flush=False)
    topics.producer.flush()
    values = sorted(topics.wait("echo.out", f"{key}-{other}")[0]["data"]["counter"] for other in range(30))
    assert values == list(range(1, 31))
    assert database.execute("SELECT value FROM echo_counters WHERE name = %s", (key,)).fetchone() == (30,)


def test_a_statement_the_database_refuses_is_taken_out_of_its_group(echo, topics, database, key):
    for other in range(20):
        tell(topics, f"{key}-{other}", n=1, wrong=other == 7, flush=False)
    topics.producer.flush()
    letter = topics.wait("dead.echo", f"{key}-7")[0]
    assert "insert_wrong" in letter["data"]["reason"]
    for other in set(range(20)) - {7}:
        topics.wait("echo.out", f"{key}-{other}")
    assert rows(database, f"{key}-7") == []


def test_a_skipped_event_is_in_the_ledger_with_its_reason(echo, topics, database, key):
    tell(topics, key, n=1, skip=True)
    tell(topics, key, n=2)
    topics.wait("echo.out", key, n=2)
    assert outcomes(database, key)[0] == ("skipped", 1, "told to")
    assert [n for n, _, _ in rows(database, key)] == [2]


def test_an_answer_is_recorded_and_given_to_a_replay(echo, topics, database, provider, key):
    told = tell(topics, key, n=1, ask=provider.url + "/get")
    topics.wait("echo.out", key, answer="answer")
    topics.send("replay.echo", key, dict(told, run=1))
    wait_until(lambda: len(rows(database, key)) == 2, "the replay")
    replayed = [found for found in topics.wait("echo.out", key, count=2) if found["run"] == 1][0]
    assert replayed["data"]["answer"] == "answer" and replayed["id"] != topics.find("echo.out", key)[0]["id"]
    assert len(provider.asked("/get")) == 1
    topics.send("replay.echo", key, dict(told, run=2, askagain=True))
    topics.wait("echo.out", key, count=3)
    assert len(provider.asked("/get")) == 2


def test_what_must_happen_once_happens_once(echo, topics, database, provider, key):
    told = tell(topics, key, n=1, once=provider.url + "/once")
    topics.wait("echo.out", key)
    topics.send("replay.echo", key, dict(told, run=1))
    topics.wait("echo.out", key, count=2)
    assert len(provider.asked("/once", "POST")) == 1, "a replay does not repeat it"
    topics.send("replay.echo", key, dict(told, run=2, resend=True))
    topics.wait("echo.out", key, count=3)
    assert len(provider.asked("/once", "POST")) == 2, "unless it says so"


def test_a_request_whose_answer_was_lost_is_looked_up_first(echo, topics, database, provider, key):
    provider.behave = lambda method, path, number: (200, {}, "", "cut", "acts")
    tell(topics, key, n=1, once=provider.url + "/once")
    answer = topics.wait("echo.out", key)[0]
    assert answer["data"]["answer"] == "found"
    assert len(provider.asked("/once", "POST")) == 1
    assert list(provider.acted.values()) == [1]


def test_what_cannot_be_looked_up_is_not_sent_again_but_left_to_a_person(echo, topics, database, provider, key):
    provider.behave = lambda method, path, number: (200, {}, "", "cut", "acts") if number == 1 else (200, {}, "answer")
    told = tell(topics, key, n=1, once=provider.url + "/post", at_most_once=True)
    topics.wait("dead.echo", key)
    assert database.execute("SELECT state FROM asks WHERE event_id = %s", (told["id"],)).fetchall() == [("uncertain",)]
    topics.send("replay.echo", key, dict(told, run=1))
    reason = topics.wait("dead.echo", key, count=2)[1]["data"]["reason"]
    assert reason.startswith("it is not known whether an earlier try succeeded: ")
    assert len(provider.asked("/post", "POST")) == 1 and rows(database, key) == []
    topics.send("replay.echo", key, dict(told, run=2, resend=True))         # somebody has looked, and it did not arrive
    assert topics.wait("echo.out", key)[0]["data"]["answer"] == "answer"


def test_a_process_that_ends_while_it_asks_leaves_to_a_person_what_cannot_be_looked_up(echo, topics, database, provider, key):
    over = threading.Event()
    provider.behave = lambda *_: (over.wait(60) and 200, {}, "too late")
    told = tell(topics, key, n=1, once=provider.url + "/post", at_most_once=True)
    wait_until(lambda: provider.asked("/post", "POST"), "the request")
    echo.kill()
    database.execute("UPDATE asks SET lease_until = now() WHERE event_id = %s", (told["id"],))
    echo.start().ready()
    assert topics.wait("dead.echo", key)[0]["data"]["reason"] == "it is not known whether stub acted on an earlier try, and it cannot be looked up"
    assert database.execute("SELECT state FROM asks WHERE event_id = %s", (told["id"],)).fetchall() == [("uncertain",)]
    assert len(provider.asked("/post")) == 1
    over.set()


def test_an_answer_that_is_no_text_is_final(echo, topics, provider, key):
    provider.behave = lambda *_: (200, {}, "\udcff")
    tell(topics, key, n=1, ask=provider.url + "/bytes")
    assert topics.wait("dead.echo", key)[0]["data"]["reason"].startswith("the answer of stub is not UTF-8")


def test_what_was_sent_since_a_restored_copy_is_looked_up_first(echo, topics, database, provider, key):
    """The copy knows of none of it: neither of the events, nor that one of them asked."""
    sent, other = tell(topics, key, n=1, once=provider.url + "/once"), key + "-other"
    topics.wait("echo.out", key)
    for table, column in (("asks", "event_id"), ("ledger", "event_id"), ("emitted", "cause_id"), ("echo_rows", "event_id")):
        database.execute(f"DELETE FROM {table} WHERE {column} = %s", (sent["id"],))
    database.execute("INSERT INTO restores (backup_at) VALUES ('2026-01-02T03:04:05Z')")
    try:
        topics.send("echo.in", key, sent)
        asked = "SELECT state, answer, attempt FROM asks WHERE event_id = %s AND state = 'answered'"
        row = wait_until(lambda: database.execute(asked, (sent["id"],)).fetchone(), "the answer being found")
        assert row == ("answered", "found", 1)
        assert len(provider.asked("/once", "POST")) == 1, "not asked again"
        wait_until(lambda: outcomes(database, key) == [("done", 1, None)], "the event being done again")
        tell(topics, other, n=1, once=provider.url + "/once")
        topics.wait("echo.out", other)
        assert len(provider.asked("/once", "POST")) == 2, "what was not found is asked"
        assert sorted(provider.acted.values()) == [1, 1]
    finally:
        database.execute("DELETE FROM restores")


def test_a_request_that_was_lost_before_it_acted_is_sent_again(echo, topics, provider, key):
    provider.behave = lambda method, path, number: (500, {}, "") if number == 1 else (200, {}, "done")
    tell(topics, key, n=1, once=provider.url + "/once")
    assert topics.wait("echo.out", key)[0]["data"]["answer"] == "done"
    assert list(provider.acted.values()) == [1]


def test_an_answer_counts_also_when_another_instance_took_over_meanwhile(echo, topics, database, provider, key):
    over = threading.Event()
    provider.behave = lambda *_: (over.wait(10) and 200, {}, "done")
    told = tell(topics, key, n=1, once=provider.url + "/once")
    wait_until(lambda: provider.asked("/once", "POST"), "the request")
    database.execute("UPDATE asks SET attempt = attempt + 1 WHERE event_id = %s", (told["id"],))
    over.set()
    assert topics.wait("echo.out", key)[0]["data"]["answer"] == "done"
    assert database.execute("SELECT state, answer FROM asks WHERE event_id = %s", (told["id"],)).fetchone() == ("answered", "done")


def test_a_probe_that_finds_its_answer_closes_the_circuit(echo, topics, provider, key):
    """So many lost answers open the circuit; each is looked up then, and nobody has to be asked again."""
    tell(topics, key, n=1, ask=provider.url + "/get")
    topics.wait("echo.out", key)
    together = threading.Barrier(8)             # or the first may be looked up, and well, before the last is lost
    provider.behave = lambda method, *_: (200, {}, "", "cut", "acts") if method == "GET" or together.wait(30) >= 0 else None
    for other in range(8):
        tell(topics, f"{key}-{other}", n=1, once=provider.url + "/once", flush=False)
    topics.producer.flush()
    wait_until(lambda: echo.metric("circuit_open", provider="stub") == 1, "the circuit opening")
    for other in range(8):
        assert topics.wait("echo.out", f"{key}-{other}")[0]["data"]["answer"] == "found"
    assert list(provider.acted.values()) == [1] * 8 and echo.metric("circuit_open", provider="stub") == 0


def test_retry_after_is_honoured(echo, topics, provider, key):
    times = []
    def busy(method, path, number):
        times.append(time.monotonic())
        return (429, {"Retry-After": "2"}, "") if number == 1 else (200, {}, "at last")
    provider.behave = busy
    tell(topics, key, n=1, ask=provider.url + "/busy")
    topics.wait("echo.out", key, answer="at last")
    assert times[1] - times[0] >= 2


def test_a_refusal_is_final(echo, topics, provider, key):
    provider.behave = lambda *_: (422, {}, "the field x is missing")
    tell(topics, key, n=1, ask=provider.url + "/no")
    assert topics.wait("dead.echo", key)[0]["data"]["reason"] == "HTTP status 422: the field x is missing"


def test_a_provider_that_cannot_prove_who_it_is_is_told_nothing(daemon, echo, topics, tmp_path, key):
    """Its certificate is its own: the request, with whatever key it carries, does not leave."""
    certificate = tmp_path / "own.pem"
    made = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1", "-addext",
                           "subjectAltName=IP:127.0.0.1", "-keyout", certificate, "-out", tmp_path / "cert"], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    certificate.write_text(certificate.read_text() + (tmp_path / "cert").read_text())
    impostor = ProviderStub(certificate)
    assert echo.stop() == 0
    impatient = daemon("echo", RETRY_AGE_MAX="1s").ready()
    tell(topics, key, n=1, ask=impostor.url + "/get")
    reason = topics.wait("dead.echo", key)[0]["data"]["reason"]
    assert "could not reach https://127.0.0.1" in reason and "certificate" in reason
    assert impostor.requests == []
    impostor.close()
    assert impatient.stop() == 0
    echo.start().ready()


def test_a_provider_that_fails_for_everyone_is_probed_and_nothing_is_lost(daemon, echo, topics, provider, key):
    provider.behave = lambda *_: (503, {}, "down")
    for other in range(40):
        tell(topics, f"{key}-{other}", n=1, ask=provider.url + "/down", flush=False)
    topics.producer.flush()
    wait_until(lambda: echo.metric("circuit_open", provider="stub") == 1, "the circuit opening")
    asked = len(provider.asked("/down"))
    provider.behave = lambda *_: (200, {}, "up")
    for other in range(40):
        topics.wait("echo.out", f"{key}-{other}", answer="up")
    assert echo.metric("circuit_open", provider="stub") == 0
    assert asked < 120, "while it is open only a probe asks"


def test_a_long_wait_is_parked_and_resumed_in_order(echo, topics, database, key):
    tell(topics, key, n=1, retries=1, retry_ms=600_000)
    tell(topics, key, n=2)
    tell(topics, key + "-other", n=1)
    topics.wait("echo.out", key + "-other")
    parked = lambda: database.execute("SELECT count(*) FROM parked WHERE subject = %s", (key,)).fetchone()[0]  # noqa: E731
    wait_until(lambda: parked() == 2, "both being parked")
    assert [outcome for outcome, _, _ in outcomes(database, key)] == ["parked", "parked"]
    database.execute("UPDATE parked SET resume_at = now() WHERE subject = %s AND resume_at <> 'infinity'", (key,))
    topics.wait("echo.out", key, count=2)
    assert [n for n, _, _ in rows(database, key)] == [1, 2]
    wait_until(lambda: parked() == 0, "nothing being parked")
    assert sorted(outcome for outcome, _, _ in outcomes(database, key)) == ["done", "done"]


def test_what_is_no_event_does_not_park_behind_others(echo, topics, database, key):
    tell(topics, key, n=1, retries=1, retry_ms=600_000)
    parked = lambda: database.execute("SELECT count(*) FROM parked WHERE subject = %s", (key,)).fetchone()[0]  # noqa: E731
    wait_until(lambda: parked() == 1, "the first being parked")
    topics.send("echo.in", key, "no event")
    tell(topics, key, n=2)
    assert topics.wait("dead.echo", key)[0]["data"]["event"] == "no event"
    wait_until(lambda: parked() == 2, "the second being parked behind the first")
    database.execute("UPDATE parked SET resume_at = now() WHERE subject = %s AND resume_at <> 'infinity'", (key,))
    topics.wait("echo.out", key, count=2)
    assert [n for n, _, _ in rows(database, key)] == [1, 2]
    wait_until(lambda: parked() == 0, "nothing being parked")


def test_a_waiting_key_makes_room_for_the_others_of_its_partition(daemon, echo, topics, database, key):
    """Its many events would fill what the stage takes at once; they are parked long before they are due."""
    assert echo.stop() == 0
    alone = daemon("echo", IN_FLIGHT_MAX=8).ready()
    tell(topics, key, n=1, retries=1, retry_ms=120_000)
    for n in range(2, 31):
        tell(topics, key, n=n, flush=False)
    topics.wait("echo.in", key)
    tell(topics, key + "-other", n=1, partition=topics.partition_of("echo.in", key))
    topics.wait("echo.out", key + "-other", seconds=30)
    assert rows(database, key) == []
    database.execute("UPDATE parked SET resume_at = now() WHERE subject = %s AND resume_at <> 'infinity'", (key,))
    topics.wait("echo.out", key, count=30)
    assert [n for n, _, _ in rows(database, key)] == list(range(1, 31)), "in order"
    assert alone.stop() == 0
    echo.start().ready()


def test_what_made_room_is_tried_again_about_as_soon_as_in_place(daemon, echo, topics, database, key):
    assert echo.stop() == 0
    alone = daemon("echo", IN_FLIGHT_MAX=8).ready()
    tell(topics, key, n=1, retries=6)
    for n in range(2, 31):
        tell(topics, key, n=n, flush=False)
    topics.producer.flush()
    wait_until(lambda: outcomes(database, key), "the first being parked")
    assert outcomes(database, key)[0][0] == "parked"
    topics.wait("echo.out", key, count=30, seconds=60)
    assert [n for n, _, _ in rows(database, key)] == list(range(1, 31)), "in order"
    assert alone.stop() == 0
    echo.start().ready()


def test_what_waited_for_another_is_not_older_for_that(echo, topics, database, key):
    tell(topics, key, n=1, retries=1, retry_ms=600_000)
    tell(topics, key, n=2, retries=2, retry_ms=1)
    parked = lambda: database.execute("SELECT count(*) FROM parked WHERE subject = %s", (key,)).fetchone()[0]  # noqa: E731
    wait_until(lambda: parked() == 2, "both being parked")
    database.execute("UPDATE parked SET first_at = now() - interval '25 hours' WHERE subject = %s AND resume_at = 'infinity'", (key,))
    database.execute("UPDATE parked SET resume_at = now() WHERE subject = %s AND resume_at <> 'infinity'", (key,))
    topics.wait("echo.out", key, count=2)
    assert not topics.find("dead.echo", key)


def test_a_parked_event_that_never_succeeds_is_given_up_at_its_age(echo, topics, database, key):
    tell(topics, key, n=1, retries=-1, retry_ms=600_000)
    tell(topics, key, n=2)
    parked = lambda: database.execute("SELECT count(*) FROM parked WHERE subject = %s", (key,)).fetchone()[0]  # noqa: E731
    wait_until(lambda: parked() == 2, "both being parked")
    database.execute("UPDATE parked SET resume_at = now(), first_at = now() - interval '25 hours' WHERE subject = %s"
                     " AND resume_at <> 'infinity'", (key,))
    letter = topics.wait("dead.echo", key)[0]
    assert letter["data"]["reason"].startswith("gave up after")
    topics.wait("echo.out", key, n=2)
    assert [n for n, _, _ in rows(database, key)] == [2]


def test_a_due_row_becomes_an_event(echo, topics, database, key):
    due = "2026-11-21 07:00:00+00"
    database.execute("INSERT INTO echo_due VALUES (%s, %s, %s)", (key, due, key))
    topics.wait("echo.out", key, n=0)
    assert rows(database, key)[0][0] == 0
    assert database.execute("SELECT count(*) FROM echo_due WHERE id = %s", (key,)).fetchone() == (0,)


def test_an_event_for_nobody_is_passed_over(echo, topics, key):
    topics.send("echo.in", key, event("echo.unheard", key, {}))
    tell(topics, key, n=2)
    topics.wait("echo.out", key, n=2)
    assert not topics.find("dead.echo", key)


# --- what is killed when ---------------------------------------------------------------------------------------------------------


def expect_each_once(topics, database, keys, per_key):
    for one in keys:
        topics.wait("echo.out", one, count=per_key, seconds=120)
        assert [n for n, _, _ in rows(database, one)] == list(range(1, per_key + 1)), "each once, in order"
        assert len(topics.find("echo.out", one)) == per_key


def load(topics, keys, per_key, **data):
    for n in range(1, per_key + 1):
        for one in keys:
            tell(topics, one, n=n, flush=False, **data)
    topics.producer.flush()


def test_kill_9_under_load_loses_and_doubles_nothing(echo, topics, database, key):
    keys = [f"{key}-{other}" for other in range(50)]
    load(topics, keys, 40)
    for _ in range(3):
        done = len(topics.find("echo.out"))
        wait_until(lambda: len(topics.find("echo.out")) > done + 50 or len(rows(database, keys[-1])) == 40, "some progress")
        echo.kill()
        echo.start().ready()
    expect_each_once(topics, database, keys, 40)


def test_what_is_no_event_is_a_dead_letter_once_whoever_is_killed(daemon, topics, key):
    """Its dead letter is committed, its offset is not: redelivered, it is found in the ledger like any other record."""
    echo = daemon("echo", KAFKA_PROP_auto_commit_interval_ms=60_000).ready()
    topics.send("echo.in", key, "not JSON")
    letter = topics.wait("dead.echo", key)[0]
    echo.kill()
    tell(topics, key, n=2)
    echo.start().ready()
    topics.wait("echo.out", key, n=2)
    assert [found["id"] for found in topics.find("dead.echo", key)] == [letter["id"]]


def test_an_event_that_crashes_the_process_is_rejected_unseen(echo, topics, database, key):
    tell(topics, key, n=1, crash=True)
    tell(topics, key, n=2)
    for _ in range(3):
        wait_until(lambda: echo.process.poll() is not None, "the crash")
        echo.start()
    letter = topics.wait("dead.echo", key)[0]
    assert "crashed" in letter["data"]["reason"]
    topics.wait("echo.out", key, n=2)
    echo.ready()


def test_sigterm_finishes_what_runs(daemon, echo, topics, database, key):
    tell(topics, key, n=1, sleep_ms=1500)
    wait_until(lambda: echo.metric("in_flight", state="running") >= 1, "the handler running")
    assert echo.stop() == 0
    assert [n for n, _, _ in rows(database, key)] == [1]
    echo.start().ready()
    topics.wait("echo.out", key)


@pytest.mark.parametrize("kind,stall_s,answered", [("ask", 30, False), ("once", 2.5, True)], ids=["harmless to repeat", "once"])
def test_sigterm_leaves_a_long_request_that_is_harmless_to_repeat(daemon, echo, topics, database, key, provider, kind, stall_s, answered):
    """And no other: one of ASK_ONCE has the whole deadline."""
    provider.behave = lambda method, path, number: (200, {"stall_s": stall_s}, "late", *["stall"] * (number == 1))
    assert echo.stop() == 0
    draining = daemon("echo", instance=echo.instance, DRAIN_DEADLINE="6s").ready()
    tell(topics, key, n=1, **{kind: f"{provider.url}/{kind}"})
    wait_until(lambda: provider.requests, "the provider being asked")
    assert draining.stop() == 0
    assert "ended before everything was done" not in draining.log()
    assert len(rows(database, key)) == answered
    echo.start().ready()
    topics.wait("echo.out", key)
    assert outcomes(database, key) == [("done", 1, None)] and len(provider.requests) == (1 if answered else 2)


def test_instances_come_and_go_under_load(daemon, echo, topics, database, key):
    keys = [f"{key}-{other}" for other in range(60)]
    load(topics, keys, 20, sleep_ms=10)
    second, third = daemon("echo"), daemon("echo")
    second.ready(), third.ready()
    load(topics, [one + "-b" for one in keys], 20, sleep_ms=10)
    assert second.stop() == 0
    third.kill()
    expect_each_once(topics, database, keys + [one + "-b" for one in keys], 20)


def test_a_zombie_that_comes_back_changes_nothing(daemon, echo, topics, database, key):
    """Frozen for longer than its session: another instance takes over, then both believe that the event is theirs."""
    keys = [f"{key}-{other}" for other in range(20)]
    load(topics, keys, 5, sleep_ms=300)
    wait_until(lambda: echo.metric("in_flight", state="running") >= 1, "handlers running")
    second = daemon("echo")
    echo.kill(signal.SIGSTOP)
    expect_each_once(topics, database, keys, 5)
    echo.kill(signal.SIGCONT)
    wait_until(lambda: echo.metric("in_flight") == 0 or echo.process.poll() is not None, "the zombie coming to rest")
    expect_each_once(topics, database, keys, 5)
    assert second.stop() == 0
    if echo.process.poll() is not None:
        echo.start()
    echo.ready()


def test_a_zombie_that_resumed_what_was_parked_changes_nothing(daemon, echo, topics, database, key):
    """Its event was in the ledger before it began: that the other instance ended it must be found there all the same."""
    tell(topics, key, n=1, retries=1, retry_ms=600_000, sleep_ms=3000)
    wait_until(lambda: outcomes(database, key) == [("parked", 1, "told to")], "it being parked")
    database.execute("UPDATE parked SET resume_at = now() WHERE subject = %s", (key,))
    wait_until(lambda: echo.metric("in_flight", state="running") >= 1, "it being handled again")
    echo.kill(signal.SIGSTOP)
    second = daemon("echo")
    topics.wait("echo.out", key)
    echo.kill(signal.SIGCONT)
    wait_until(lambda: echo.metric("in_flight") == 0 or echo.process.poll() is not None, "the zombie coming to rest")
    assert [n for n, _, _ in rows(database, key)] == [1] and outcomes(database, key) == [("done", 2, None)]
    assert len(topics.find("echo.out", key)) == 1
    assert second.stop() == 0
    if echo.process.poll() is not None:
        echo.start()
    echo.ready()


def test_postgres_goes_and_comes_back(echo, topics, database, schema_ready, key):
    if not schema_ready.postgres:
        pytest.skip("the database is not the test's own")
    keys = [f"{key}-{other}" for other in range(20)]
    load(topics, keys, 10)
    schema_ready.postgres.stop("immediate")
    load(topics, keys[:5], 0)
    wait_until(lambda: echo.metric("postgres_away_seconds") > 0, "the stage noticing")
    schema_ready.postgres.start()
    with schema_ready.connect() as fresh:
        expect_each_once(topics, fresh, keys, 10)
    echo.ready()


def test_postgres_goes_while_an_answer_is_looked_up(echo, topics, provider, schema_ready, key):
    if not schema_ready.postgres:
        pytest.skip("Postgres is not ours to stop: TEST_DATABASE_URL is set")

    stopped = []            # and how much the stage had said by then

    def behave(method, path, number):
        if method == "GET" and key in path and not stopped:
            schema_ready.postgres.stop("immediate")
            stopped.append(len(echo.log()))
        return (200, {}, "", "cut", "acts")
    provider.behave = behave
    told = tell(topics, key, n=1, once=f"{provider.url}/once/{key}")
    wait_until(lambda: stopped and key in echo.log()[stopped[0]:], "the answer not being kept")
    schema_ready.postgres.start()
    assert topics.wait("echo.out", key)[0]["data"]["answer"] == "found"
    with schema_ready.connect() as database:
        assert database.execute("SELECT state, answer FROM asks WHERE event_id = %s", (told["id"],)).fetchone() == ("answered", "found")


def test_postgres_was_away_while_nothing_happened(echo, topics, schema_ready, key):
    """Each connection finds out for itself that it was lost; then events are taken again."""
    if not schema_ready.postgres:
        pytest.skip("the database is not the test's own")
    tell(topics, key, n=1)
    topics.wait("echo.out", key)
    schema_ready.postgres.stop("immediate")
    schema_ready.postgres.start()
    for n in range(2, 5):
        tell(topics, key, n=n)
        topics.wait("echo.out", key, n=n)
    assert echo.metric("postgres_away_seconds") == 0


def test_the_broker_goes_and_comes_back(echo, topics, schema_ready, key):
    if not schema_ready.kafka:
        pytest.skip("the broker is not the test's own")
    keys = [f"{key}-{other}" for other in range(20)]
    load(topics, keys, 10, sleep_ms=20)
    with Supervised(echo):      # a broker that forgot the group fences its members: the stage ends and is started again
        schema_ready.kafka.stop(signal.SIGKILL)
        time.sleep(1)           # in which a broker would have been needed
        schema_ready.kafka.start()
        with schema_ready.connect() as fresh:
            expect_each_once(topics, fresh, keys, 10)
        wait_until(lambda: topics.behind("echo", "echo.in") == 0, "a member that may commit")
        echo.ready()


def test_a_frozen_postgres_is_waited_for_and_not_for_ever(echo, topics, schema_ready, key):
    if not schema_ready.postgres:
        pytest.skip("the database is not the test's own")
    with schema_ready.connect() as fresh:
        fresh.execute("BEGIN")
        fresh.execute("LOCK TABLE echo_rows IN ACCESS EXCLUSIVE MODE")
        tell(topics, key, n=1)
        time.sleep(7)       # longer than the lock time-out
        fresh.execute("ROLLBACK")
    topics.wait("echo.out", key)
    with schema_ready.connect() as fresh:
        assert rows(fresh, key) == rows(fresh, key)[:1]


def test_what_cannot_be_parked_for_now_is_no_dead_letter(echo, topics, schema_ready, key):
    """Its table is locked for longer than anybody waits, as while an index is made."""
    with schema_ready.connect() as fresh:
        fresh.execute("BEGIN")
        fresh.execute("LOCK TABLE parked IN SHARE MODE")
        tell(topics, key, n=1, retries=1, retry_ms=600_000)
        time.sleep(7)       # longer than the lock time-out
        fresh.execute("ROLLBACK")
        wait_until(lambda: outcomes(fresh, key), "it being parked")
        assert outcomes(fresh, key) == [("parked", 1, "told to")]
        fresh.execute("UPDATE parked SET resume_at = now() WHERE subject = %s", (key,))
    topics.wait("echo.out", key)
