"""What an instance of a stage says of itself in the table `instances`: that it lives, what it waits for, what it left out."""

from environment import wait_until
from test_stage import echo, provider, tell  # noqa: F401 (fixtures)


def said_by(database, instance):
    """The row of an instance; None when there is none."""
    found = database.execute("SELECT state, pid, version, seen_at, started_at FROM instances WHERE instance = %s", (instance,)).fetchone()
    return found and dict(zip(("state", "pid", "version", "seen_at", "started_at"), found, strict=True))


def work_of(database, key, instance="echo-main"):
    return next((work for work in said_by(database, instance)["state"]["works"] if work["key"] == key), None)


def test_an_instance_says_that_it_lives_and_ends(daemon, database):
    one = daemon("echo").ready()
    first = wait_until(lambda: said_by(database, one.instance), "the instance's row")
    assert (first["pid"], first["state"]["works"], first["state"]["circuits"]) == (one.process.pid, [], [])
    again = wait_until(lambda: (said := said_by(database, one.instance))["seen_at"] > first["seen_at"] and said, "it being seen again")
    assert again["started_at"] == first["started_at"]
    assert one.stop() == 0
    assert said_by(database, one.instance) is None, "who ended in good order is not missed"


def test_a_killed_instance_stays_to_be_seen_and_is_forgotten_after_a_day(daemon, database):
    one, other = daemon("echo").ready(), daemon("echo").ready()
    for each in (one, other):
        wait_until(lambda each=each: said_by(database, each.instance), "the instance's row")
        each.kill()
    database.execute("UPDATE instances SET seen_at = now() - interval '25 hours' WHERE instance = %s", (one.instance,))
    one_more = daemon("echo").ready()
    wait_until(lambda: said_by(database, one.instance) is None, "the old row being forgotten")
    assert said_by(database, other.instance), "one that died a moment ago is still told of"
    assert one_more.stop() == 0


def test_a_work_that_waits_says_for_what_and_until_when(echo, topics, database, key):
    told = tell(topics, key, n=1, retries=1, retry_ms=20_000)
    tell(topics, key, n=2)
    work = wait_until(lambda: work_of(database, key), "the work being told of")
    assert (work["event_id"], work["type"], work["state"], work["why"]) == (told["id"], "echo.asked", "waiting", "told to")
    assert (work["attempt"], work["behind"]) == (1, 1)
    assert work["since"] < work["due_at"] < work["give_up_at"]


def test_a_work_that_runs_for_long_says_since_when(echo, topics, database, key):
    tell(topics, key, n=1, sleep_ms=5000)
    work = wait_until(lambda: work_of(database, key), "the work being told of")
    assert (work["state"], work["attempt"]) == ("running", 1) and not work["due_at"] and not work["why"]
    topics.wait("echo.out", key)
    wait_until(lambda: not work_of(database, key), "the work being told of no longer")


def test_more_long_waits_than_are_told_of_are_counted_and_the_oldest_told(echo, topics, database, key):
    tell(topics, f"{key}-first", n=1, retries=1, retry_ms=15_000)
    wait_until(lambda: work_of(database, f"{key}-first"), "the first one being told of")
    for other in range(250):
        tell(topics, f"{key}-{other}", n=1, retries=1, retry_ms=15_000, flush=False)
    topics.producer.flush()
    state = lambda: said_by(database, "echo-main")["state"]  # noqa: E731
    found = wait_until(lambda: (said := state())["works_left_out"] >= 51 and said, "more than can be told of")
    assert len(found["works"]) == 200 and found["counts"]["waiting"] >= 251
    assert f"{key}-first" in [work["key"] for work in found["works"]]
    assert [work["since"] for work in found["works"]] == sorted(work["since"] for work in found["works"])


def test_an_open_circuit_is_told_with_who_waits_behind_it(echo, topics, database, provider, key):
    provider.behave = lambda *_: (503, {}, "down")
    for other in range(40):
        tell(topics, f"{key}-{other}", n=1, ask=provider.url + "/down", flush=False)
    topics.producer.flush()
    def behind():
        state = said_by(database, "echo-main")["state"]
        found = [work for work in state["works"] if work["key"].startswith(key) and work.get("provider")]
        return state["circuits"] and found and (state["circuits"][0], found[0])
    circuit, work = wait_until(behind, "the circuit being told of")
    assert circuit["provider"] == work["provider"] == "stub" and circuit["waiting"] > 0 and "503" in circuit["why"]
    assert not work["due_at"], "it waits for the provider, not for a time"
    provider.behave = lambda *_: (200, {}, "up")
    for other in range(40):
        topics.wait("echo.out", f"{key}-{other}", answer="up")
    wait_until(lambda: said_by(database, "echo-main")["state"]["circuits"] == [], "the circuit being closed")
