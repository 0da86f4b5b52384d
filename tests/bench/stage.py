"""A stage: its hop, what it commits, slow providers, memory.  The test stage does what its events tell it."""

import time

from measure import CannotMeasure, Cpu, Figure, Row, memory_mb, per_100k
from stand import REFERENCE_TOPIC

HOP_RATE = 200
WARM_EVENTS = 50_000            # the broker's code is compiled while it runs
KEYS = 1000
COMMIT_EVENTS = 60_000
FLAT_EVENTS = 1_000_000
FLAT_SAMPLES = 10
FLAT_SETTLE_S = 0.5             # what is kept for the next events comes and goes, up to a bound: the most of several samples tells a leak
FLAT_GROWTH_MAX = 0.05
IDLE_S = 3
SILENT = '"silent":true'
DAEMONS = {"ingest": {"CALLRAIL_SIGNING_KEY": "key"}, "transcribe": {"TRANSCRIBE_WITH": "local"}, "analyze": {}, "notifier": {}}


# --- the hop


def hops(stand, before, after):
    runs = []
    for _ in range(stand.runs):
        runs.append(stand.tool("hop", brokers=stand.environment.brokers, **{"in": before, "out": after}, rate=HOP_RATE,
                               seconds=stand.seconds))
        if runs[-1]["received"] < runs[-1]["sent"]:
            raise CannotMeasure(f"not every event came out: {runs[-1]}")
    return runs


def hop(stand):
    stand.empty_tables()
    stand.fill(WARM_EVENTS, WARM_EVENTS, topic=REFERENCE_TOPIC)
    alone = hops(stand, REFERENCE_TOPIC, REFERENCE_TOPIC)
    echo = stand.daemon("echo", instance="echo-bench").ready()
    runs = hops(stand, "echo.in", "echo.out")
    stand.end(echo)
    for name, goal in (("p50", 3), ("p99", 15)):
        figure, leg = (Figure([run[f"hop_{name}_ms"] for run in of], "ms", 2) for of in (runs, alone))
        yield Row("hop", f"one stage at {HOP_RATE}/s, event in to event out, {name}", figure, f"< {goal} ms", leg, "Kafka alone, one leg",
                  figure.median < goal, {"runs": runs, "leg": alone})


# --- a topic full of events


def ledger(stand, began, count, at_once):
    """What the database itself says of the events committed since then: from the first `at_once`, which are done together, to the last."""
    with stand.environment.connect() as connection:
        found, rows, seconds, middle = connection.execute(
            """SELECT count(*), (SELECT count(*) FROM echo_rows), extract(epoch FROM max(committed_at) - min(committed_at))::float8,
               extract(epoch FROM percentile_disc(0.9) WITHIN GROUP (ORDER BY committed_at)
                                - percentile_disc(0.1) WITHIN GROUP (ORDER BY committed_at))::float8
               FROM ledger WHERE stage = 'echo' AND outcome = 'done' AND committed_at >= %s""", (began,)).fetchone()
    if (found, rows) != (count, count):
        raise CannotMeasure(f"of {count} events {found} are in the ledger as done, and there are {rows} rows")
    return {"rate": (count - at_once) / seconds, "middle_rate": 0.8 * count / middle if middle else None, "seconds": seconds}


def drain(stand, echo, events, told, at_once):
    """Fills the topic while the stage is stopped, starts it, and waits until everything is committed."""
    stand.empty_tables()
    stand.fill(events, KEYS, told)
    with stand.environment.connect() as connection:
        began, = connection.execute("SELECT clock_timestamp()").fetchone()
    cpu = Cpu(kafka=stand.kafka.process.pid, postgres=stand.postmaster())
    echo.start().ready()
    running = stand.committed(echo, events)
    used = {"echo": Cpu(echo=echo.process.pid).before["echo"], **cpu.used()}
    peak_mb, now_mb = memory_mb(echo.process.pid, "VmHWM"), memory_mb(echo.process.pid)
    echo.stop()
    return {**ledger(stand, began, events, at_once), "running_max": running, "peak_mb": peak_mb, "rss_mb": now_mb,
            "cpu_s_per_100k": per_100k(used, events)}


def drains(stand, events, told, at_once=1):
    """Several such runs of one stage."""
    echo = stand.daemon("echo", instance="echo-bench").ready()
    echo.stop()
    runs = [drain(stand, echo, max(2 * KEYS, int(events * stand.share)), told, at_once) for _ in range(stand.runs)]
    stand.running.remove(echo)
    return runs


def rate(runs):
    return Figure([run["rate"] for run in runs], "/s")


def cpu(runs, name="echo"):
    return Figure([run["cpu_s_per_100k"][name] for run in runs], "s", 2)


def commit(stand):
    silent = drains(stand, COMMIT_EVENTS, SILENT)
    yield Row("commit", "events committed, one row each", rate(silent), "≥ 20,000/s", reached=rate(silent).median >= 20_000,
              detail={"runs": silent})
    yield Row("commit", "their CPU, the stage, for 100,000", cpu(silent))
    yield Row("commit", "their CPU, Postgres, for 100,000", cpu(silent, "postgres"))
    emitting = drains(stand, COMMIT_EVENTS, "")
    yield Row("commit", "the same, and an event sent for each", rate(emitting), detail={"runs": emitting})
    yield Row("commit", "memory of the stage meanwhile, highest", Figure([run["peak_mb"] for run in emitting], "MB", 1))


# --- slow providers

SLOW = [    # milliseconds, events, goal of HTTP, goal of sleep_ms
    (100, 40_000, 7_500, 9_000),
    (10, 60_000, 8_000, 20_000),
]


def slow(stand):
    for ms, events, by_http, in_process in SLOW:
        ideal = KEYS * 1000 // ms
        with stand.stub(ms) as stub:
            runs = drains(stand, events, f'{SILENT},"ask":"{stub.url}/"', KEYS)
        yield Row("slow", f"{KEYS:,} keys, {ms} ms of a provider over HTTP", rate(runs), f"≥ {by_http:,}/s", ideal, "ideal",
                  rate(runs).median >= by_http, {"runs": runs})
        if ms == 100:
            peak, running = Figure([run["peak_mb"] for run in runs], "MB", 1), max(run["running_max"] for run in runs)
            yield Row("slow", f"memory meanwhile, highest ({running:,} calls in flight)", peak, "< 100 MB with 1,000",
                      reached=peak.median < 100 and running >= 0.9 * KEYS)
        runs = drains(stand, events, f'{SILENT},"sleep_ms":{ms}', KEYS)
        yield Row("slow", f"{KEYS:,} keys, {ms} ms in the process", rate(runs), f"≥ {in_process:,}/s", ideal, "ideal",
                  rate(runs).median >= in_process, {"runs": runs})


# --- memory


def idle(stand):
    """Each daemon as started, with nothing to do."""
    found = {name: [] for name in DAEMONS}
    anonymous = {name: [] for name in DAEMONS}
    for _ in range(stand.runs):
        daemons = [stand.daemon(name, **settings).ready() for name, settings in DAEMONS.items()]
        time.sleep(IDLE_S)
        for daemon in daemons:
            found[daemon.name].append(memory_mb(daemon.process.pid))
            anonymous[daemon.name].append(memory_mb(daemon.process.pid, "RssAnon"))
        for daemon in daemons:
            stand.end(daemon)
    for name, runs in found.items():
        figure = Figure(runs, "MB", 1)
        yield Row("idle", f"memory of {name}, idle", figure, "< 20 MB", reached=figure.median < 20, detail={"anonymous_mb": anonymous[name]})


def flat(stand):
    """One stage through a million events, each of another key; its memory after each tenth."""
    stand.empty_tables()
    echo = stand.daemon("echo", instance="echo-bench").ready()
    events = int(FLAT_EVENTS * stand.share) // FLAT_SAMPLES
    samples = []
    for number in range(1, FLAT_SAMPLES + 1):
        stand.fill(events, events)
        stand.committed(echo, number * events)
        time.sleep(FLAT_SETTLE_S)
        pid = echo.process.pid
        samples.append({"events": number * events, "rss_mb": memory_mb(pid), "peak_mb": memory_mb(pid, "VmHWM")})
    stand.end(echo)
    half = FLAT_SAMPLES // 2
    first, last = (max(sample["rss_mb"] for sample in of) for of in (samples[:half], samples[half:]))
    yield Row("flat", f"memory up to {FLAT_SAMPLES * events:,} events of as many keys", Figure([last], "MB", 1),
              f"flat: ≤ {FLAT_GROWTH_MAX:.0%} above", Figure([first], "MB", 1), f"up to {half * events:,}",
              last <= first * (1 + FLAT_GROWTH_MAX), {"samples": samples})
