"""The door: webhooks a second, what they cost, and how long one waits for its answer."""

import uuid

from environment import wait_until
from measure import CannotMeasure, Cpu, Figure, Row, per_100k
from stand import KEY

CALLS = 5000            # different calls, so as many keys, over all partitions
LATENCY_RATE = 200
WARM_S = 3              # the broker's code is compiled while it runs
RUNS_EACH = ("rate", "cpu", "kafka_cpu", "p50_ms", "p99_ms", "spooled")


def spooled_so_far(server):
    """Kept by the spool because Kafka took longer than the door waits: many of them, and it is not Kafka that was measured."""
    return server.metric("ingest_kept_seconds_count", by="spool") if hasattr(server, "metric") else 0


def load(stand, server, connections, calls=CALLS):
    """One run of wrk: what was answered, and CPU seconds of server and broker for 100,000 of them."""
    prefix = uuid.uuid4().hex[:8]
    cpu, spooled = Cpu(server=server.process.pid, kafka=stand.kafka.process.pid), spooled_so_far(server)
    found = stand.wrk(server.url, connections, calls, prefix)
    cost = per_100k(cpu.used(), found["answered"])
    return {**found, "cpu": cost["server"], "kafka_cpu": cost["kafka"], "spooled": spooled_so_far(server) - spooled}


def take_turns(stand, connections, **servers):
    """Runs of each server, one after the other and so on, after a short warm-up: what else the machine does meets all of them."""
    for server in servers.values():
        stand.wrk(server.url, connections, CALLS, "warm", WARM_S)
    found = {name: [] for name in servers}
    for _ in range(stand.runs):
        for name, server in servers.items():
            found[name].append(load(stand, server, connections))
    return {name: {key: [run[key] for run in runs] for key in RUNS_EACH} for name, runs in found.items()}


def rate(found):
    return Figure(found["rate"], "/s")


def cost(found):
    return Figure(found["cpu"], "s", 2)


def webhooks(stand):
    door = stand.door()
    with stand.reference() as reference:
        found = take_turns(stand, 64, door=door, reference=reference)
        same_body = [load(stand, door, 64, 1) for _ in range(stand.runs)]
    stand.end(door)
    ours, theirs = found["door"], found["reference"]
    own = cost(ours).median
    yield Row("webhooks", f"webhooks acknowledged, 64 connections, {CALLS:,} calls", rate(ours), "≥ 2.5 × FastAPI", rate(theirs), "FastAPI",
              rate(ours).median >= 2.5 * rate(theirs).median, found)
    yield Row("webhooks", "their CPU, ingest, for 100,000", cost(ours), "≤ 3.5 s, ≤ 0.25 × FastAPI", cost(theirs), "FastAPI",
              own <= 3.5 and own <= 0.25 * cost(theirs).median)
    yield Row("webhooks", "the same body over and over", Figure([run["rate"] for run in same_body], "/s"), detail={"runs": same_body})
    yield Row("webhooks", "its CPU, ingest, for 100,000", Figure([run["cpu"] for run in same_body], "s", 2))
    yield from with_recorder(stand)


def with_recorder(stand):
    """The same daemon with Postgres: its recorder works off what was just sent, on the same two cores."""
    ingest = stand.door(DATABASE_URL=stand.environment.database_url)
    before = ingest.metric("committed_total")
    found = take_turns(stand, 64, ingest=ingest)["ingest"]
    recorded = ingest.metric("committed_total") - before
    stand.end(ingest)
    yield Row("webhooks", "acknowledged while the recorder catches up", rate(found), detail={**found, "recorded": recorded})


def linger(stand):
    """As it is, linger following the load, and the same ingest with linger 0 throughout."""
    door, without = stand.door(), stand.door(KAFKA_PROP_linger_ms="0")
    found = take_turns(stand, 16, door=door, without=without)
    stand.end(door)
    stand.end(without)
    yield Row("linger", "webhooks acknowledged, 16 connections", rate(found["door"]), "≥ 0.9 × linger 0", rate(found["without"]), "linger 0",
              rate(found["door"]).median >= 0.9 * rate(found["without"]).median, found)


# --- latency


def acknowledge(stand, server):
    """Runs at a steady rate."""
    runs = []
    for _ in range(stand.runs):
        found = stand.tool("openloop", port=server.port, key=KEY, rate=LATENCY_RATE, seconds=stand.seconds,
                           prefix=uuid.uuid4().hex[:8])
        if found["not_2xx"] or found["answered"] < found["sent"]:
            raise CannotMeasure(f"not every webhook was acknowledged: {found}")
        runs.append(found)
    return runs


def latency_rows(part, what, runs, reference=None):
    for name, goal in (("p50", None), ("p99", 10)):
        figure = Figure([run[f"ack_{name}_ms"] for run in runs], "ms", 2)
        beside = Figure([run[f"ack_{name}_ms"] for run in reference], "ms", 2) if reference else None
        yield Row(part, f"{what}, {name}", figure, f"< {goal} ms" if goal else "", beside, "FastAPI" if beside else "",
                  figure.median < goal if goal else None, {"runs": runs} if goal else {})


def ack(stand):
    door = stand.door()
    with stand.reference() as reference:
        theirs = acknowledge(stand, reference)
    yield from latency_rows("ack", f"acknowledged at {LATENCY_RATE}/s", acknowledge(stand, door), theirs)
    stand.kafka.stop()
    try:
        stand.tool("openloop", port=door.port, key=KEY, rate=LATENCY_RATE, seconds=1, prefix="away")
        wait_until(lambda: door.metric("ingest_kafka_away") == 1, "ingest noticing that Kafka is away")
        yield from latency_rows("ack", f"at {LATENCY_RATE}/s from the spool, Kafka stopped", acknowledge(stand, door))
    finally:
        stand.kafka.start()
    wait_until(lambda: door.metric("ingest_spool_messages") == 0, "the spool being sent to Kafka")
    stand.end(door)
