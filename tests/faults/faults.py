"""What is done to the system, drawn from a seed.

Four lanes run beside each other: one takes processes, one lets each stage grow, shrink and freeze, one takes the parts they stand on, one
the providers.  Each lane goes through its deck, shuffled by the seed, again and again, and a round is not over before each has done so once.
A fault is a context: it does its harm, says what it did and for how long it shall last, and makes it good again.

Points in the code are dealt from a deck of their own, each with each stage that has it; which were reached stands in the daemons' logs."""

import json
import random
import signal
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone

import psycopg
from fleet import INSTANCES_MAX, SESSION_MS, pick

PRODUCT = ("ingest", "transcribe", "analyze", "notifier", "echo")
RUNTIME_POINTS = ("lookup.after", "commit.before", "commit.after", "commit.unknown", "produce.before", "produce.after", "offset.before",
                  "rebalance")
ASK_POINTS = ("ask.before", "ask.sending", "ask.answered", "ask.after")
OWN_POINTS = {"ingest": ("door.accepted", "door.reported", "spool.before", "spool.after"), "analyze": ("ask.leased",),
              "notifier": ("ask.leased",), "echo": ("ask.leased", "resume.before")}
POINTS = [(stage, point) for stage in PRODUCT for point in RUNTIME_POINTS + ASK_POINTS + OWN_POINTS.get(stage, ())]
SELDOM = {*((stage, "rebalance") for stage in PRODUCT), *(("ingest", point) for point in ASK_POINTS), ("echo", "resume.before")}
FAILING_POINTS = ("commit.unknown", "spool.before")     # they do not end the process, but fail what is done there
POINTS_AT_ONCE = 3                                      # each of another stage
NTH_MAX = {"echo": 40}                                  # of the hits in a few seconds; of the others it is
NTH_MAX_OTHERS = 6
BEYOND_LEASE_MS = 45_000
SLOW_RUNS_S = 0.05
BEFORE_MIDNIGHT_S = 3
DISCONNECT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'fire' AND pid <> pg_backend_pid()"
CLOCK_JUMPS = (("-25 h", -90_000), ("-61 min", -3_660), ("+61 min", 3_660), ("+25 h", 90_000))

# --- processes -----------------------------------------------------------------------------------------------------------------------


@contextmanager
def killed(world, rng):
    daemon = pick(rng, world.fleet.of(pick(rng, PRODUCT)))
    daemon.process.kill()
    yield daemon.instance, rng.uniform(1, 3)


@contextmanager
def killed_again_and_again(world, rng):
    daemon = pick(rng, world.fleet.of(pick(rng, PRODUCT)))
    for _ in range(3):
        time.sleep(rng.uniform(0.1, 1.5))
        daemon.process.kill()
    yield daemon.instance, 1


@contextmanager
def all_killed(world, rng):
    for daemon in [daemon for stage in PRODUCT for daemon in world.fleet.of(stage)]:
        daemon.process.kill()
    yield "every daemon at once", 2


def zombie(stage):
    """Frozen for longer than its session, while another instance takes its partitions; then it comes back."""
    @contextmanager
    def fault(world, rng):
        daemon = pick(rng, world.fleet.of(stage))
        other = world.fleet.add(stage) if len(world.fleet.of(stage)) < 2 else None
        seconds = SESSION_MS / 1000 + rng.uniform(1, 4)
        daemon.process.send_signal(signal.SIGSTOP)
        try:
            yield f"{daemon.instance} for {seconds:.1f} s", seconds
        finally:
            daemon.process.send_signal(signal.SIGCONT)
            if other:
                world.fleet.remove(other)
    fault.__name__ = "zombie"
    return fault


def deal(world, rng):
    """The next points of the deck, each of another stage; a new one is shuffled when it is at its end."""
    dealt = []
    while len(dealt) < POINTS_AT_ONCE:
        left = world.points_left
        found = next((pair for pair in left if pair[0] not in [stage for stage, _ in dealt]), None)
        if not found:
            left.extend(rng.sample(POINTS, len(POINTS)))
            continue
        left.remove(found)
        dealt.append(found)
    return dealt


@contextmanager
def at_points(world, rng):
    """Processes die, freeze, dawdle or fail at named places in their code; where they hand over partitions, there is reason to."""
    rules, others, longest_ms = {}, [], 0
    for stage, point in deal(world, rng):
        action = "error" if point in FAILING_POINTS else rng.choice(("kill", "kill", "kill", "stop", "delay"))
        ms = {"stop": rng.randrange(500, SESSION_MS + 3000), "delay": rng.randrange(20, 400)}.get(action)
        nth = 1 if (stage, point) in SELDOM else rng.randrange(1, NTH_MAX.get(stage, NTH_MAX_OTHERS))
        rules[stage] = f"{point}={action}{f':{ms}' if ms else ''} {f'nth={nth}' if action in ('kill', 'stop') else 'p=0.3'}"
        longest_ms = max(longest_ms, ms or 0)
        world.set_points(stage, rng.randrange(2**31), [rules[stage]])
        if point == "rebalance" and len(world.fleet.of(stage)) < INSTANCES_MAX:
            others.append(world.fleet.add(stage))
    try:
        yield ", ".join(f"{stage}: {rule}" for stage, rule in rules.items()), rng.uniform(4, 8) + longest_ms / 1000
    finally:
        for stage in rules:
            world.set_points(stage, 0, [])
        for daemon in others:
            world.fleet.remove(daemon)


def reached(world):
    """{(stage, point): how often something was done there}"""
    done = Counter()
    for daemon in world.fleet.all():
        for line in daemon.log().splitlines():
            with suppress(ValueError):
                said = json.loads(line)
                if said.get("message") == "fault":
                    done[daemon.name, said["point"]] += 1
    return done


def scaled(stage):
    """1 → 3 → 1, some going politely and some not."""
    @contextmanager
    def fault(world, rng):
        added = [world.fleet.add(stage) for _ in range(INSTANCES_MAX - len(world.fleet.of(stage)))]
        try:
            yield f"{stage} to {INSTANCES_MAX}", rng.uniform(6, 10)
        finally:
            for daemon in added:
                world.fleet.remove(daemon, rng.choice((signal.SIGTERM, signal.SIGKILL)))
    fault.__name__ = "scaled"
    return fault


@contextmanager
def clock_jumped(world, rng):
    """A process's wall clock jumps, and later back; monotonic time goes on."""
    daemon = pick(rng, world.fleet.of(pick(rng, PRODUCT)))
    name, off_s = rng.choice(CLOCK_JUMPS)
    world.set_clock(daemon.instance, off_s)
    try:
        yield f"{daemon.instance} by {name}", rng.uniform(5, 8)
    finally:
        world.set_clock(daemon.instance, 0)


@contextmanager
def midnight(world, rng):
    """For all of them at once the UTC day ends in a moment."""
    now = datetime.now(timezone.utc)
    off_s = (timedelta(days=1) - (now - now.replace(hour=0, minute=0, second=0, microsecond=0))).total_seconds() - BEFORE_MIDNIGHT_S
    daemons = [daemon for stage in PRODUCT for daemon in world.fleet.of(stage)]
    for daemon in daemons:
        world.set_clock(daemon.instance, int(off_s))
    try:
        yield f"in {BEFORE_MIDNIGHT_S} s on every clock", BEFORE_MIDNIGHT_S + rng.uniform(3, 5)
    finally:
        for daemon in daemons:
            world.set_clock(daemon.instance, 0)


@contextmanager
def frozen_beyond_its_lease(world, rng):
    """What cannot be had: between the check of the lease and the request.  Another instance sends; then this one does."""
    other = world.fleet.add("notifier")
    world.set_points("notifier", rng.randrange(2**31), [f"ask.sending=stop:{BEYOND_LEASE_MS} nth=1"], only=1)
    try:
        yield f"notifier-1 at ask.sending for {BEYOND_LEASE_MS // 1000} s", BEYOND_LEASE_MS / 1000 + 5
    finally:
        world.set_points("notifier", 0, [], only=1)
        world.fleet.remove(other)


# --- the parts they stand on -----------------------------------------------------------------------------------------------------------


@contextmanager
def kafka_restarted(world, rng):
    kind = rng.choice((signal.SIGKILL, signal.SIGTERM))
    seconds = rng.uniform(0.5, 4)
    world.environment.kafka.stop(kind)
    try:
        yield f"by {kind.name}, away for {seconds:.1f} s", seconds
    finally:
        world.environment.kafka.start()


@contextmanager
def kafka_frozen(world, rng):
    seconds = rng.choice((rng.uniform(0.3, 2), rng.uniform(7, 10)))
    world.environment.kafka.freeze()
    try:
        yield f"for {seconds:.1f} s", seconds
    finally:
        world.environment.kafka.thaw()


@contextmanager
def kafka_slow(world, rng):
    """It runs for a small part of the time only."""
    pause_s, over = rng.uniform(0.05, 0.4), threading.Event()

    def dawdle():
        while not over.wait(SLOW_RUNS_S):
            world.environment.kafka.freeze()
            over.wait(pause_s)
            world.environment.kafka.thaw()
    dawdling = threading.Thread(target=dawdle)
    dawdling.start()
    try:
        yield f"{SLOW_RUNS_S * 1000:.0f} ms of every {(SLOW_RUNS_S + pause_s) * 1000:.0f} ms", rng.uniform(4, 8)
    finally:
        over.set()
        dawdling.join()


@contextmanager
def postgres_restarted(world, rng):
    mode, seconds = rng.choice(("fast", "immediate")), rng.uniform(0.5, 5)
    world.environment.postgres.stop(mode)
    try:
        yield f"{mode}, away for {seconds:.1f} s", seconds
    finally:
        world.environment.postgres.start()


@contextmanager
def connections_terminated(world, rng):
    times = rng.randrange(2, 6)
    for _ in range(times):
        with suppress(psycopg.Error), psycopg.connect(world.environment.postgres.url(), autocommit=True) as admin:
            admin.execute(DISCONNECT)
        time.sleep(rng.uniform(0.1, 0.7))
    yield f"{times} times", 1


@contextmanager
def failed_over(world, rng):
    """The server they are connected to is the primary no more: it can be read, and takes no writes; then they are led to one that does."""
    admin = psycopg.connect(world.environment.postgres.url(), autocommit=True)
    lead = lambda setting: (admin.execute(f"ALTER DATABASE fire {setting} default_transaction_read_only" + " = on" * (setting == "SET")),  # noqa: E731
                            admin.execute(DISCONNECT))
    lead("SET")
    try:
        seconds = rng.uniform(2, 5)
        yield f"for {seconds:.1f} s", seconds
    finally:
        lead("RESET")
        admin.close()


@contextmanager
def database_disk_full(world, rng):
    if not world.postgres_disk.own:
        yield "skipped: only root can give it a disk of its own", 0
        return
    world.postgres_disk.fill()
    try:
        yield "", rng.uniform(3, 6)
    finally:
        world.postgres_disk.empty()


@contextmanager
def spool_disk_full(world, rng):
    """Kafka silent and the spool full: the door can keep nothing, and must say so."""
    if not world.spool_disk.own:
        yield "skipped: only root can give it a disk of its own", 0
        return
    world.spool_disk.fill()
    world.environment.kafka.freeze()
    try:
        yield "while Kafka is silent", rng.uniform(3, 5)
    finally:
        world.environment.kafka.thaw()
        world.spool_disk.empty()


def provider(about, *rules, stub=None):
    """The sandbox, and the echo stage's provider, misbehave so."""
    @contextmanager
    def fault(world, rng):
        seed = rng.randrange(2**31)
        made = [world.sandbox.control("POST", "/faults", json={"seed": seed, "count": None, **rule})["faults"][0]["id"] for rule in rules]
        well = world.stub.behave
        if stub:
            world.stub.behave = lambda *_: stub if rng.random() < 0.5 else (200, {}, "answer")
        try:
            yield about, rng.uniform(5, 8)
        finally:
            world.stub.behave = well
            for number in made:
                world.sandbox.control("DELETE", f"/faults/{number}")
    fault.__name__ = "provider"
    return fault


EVERYONE = ("twilio", "openai", "shunya", "files", "callrail", "hubspot", "s3")
POST = {"provider": "twilio", "method": "POST"}
PROVIDERS = [
    provider("429 with Retry-After", *({"provider": name, "what": "status", "status": 429, "headers": {"Retry-After": "1"}, "probability": 0.4}
                                       for name in EVERYONE), stub=(429, {"Retry-After": "1"}, "")),
    provider("5xx", *({"provider": name, "what": "status", "status": 503, "probability": 0.4} for name in EVERYONE),
             stub=(503, {}, "")),
    provider("all of them down", *({"provider": name, "what": "status", "status": 500} for name in EVERYONE)),
    provider("answers after the time-out", *({"provider": name, "what": "stall", "seconds": 5, "when": "after", "probability": 0.3}
                                             for name in ("twilio", "openai", "shunya", "hubspot", "s3"))),
    provider("connections cut after it acted", {**POST, "what": "cut", "when": "after", "probability": 0.4},
             *({"provider": name, "what": "cut", "when": "after", "probability": 0.4} for name in ("openai", "shunya", "hubspot", "s3")),
             stub=(200, {}, "", "cut", "acts")),
    provider("500 although it acted", {**POST, "what": "status", "status": 500, "when": "after", "probability": 0.4},
             {"provider": "s3", "method": "PUT", "what": "status", "status": 500, "when": "after", "probability": 0.4}),
    provider("each report three times", {"provider": "twilio", "what": "duplicate_webhook", "copies": 3}),
    provider("reports in reverse", {"provider": "twilio", "what": "reorder_webhooks"}),
    provider("reports before the answer", {**POST, "what": "stall", "seconds": 1, "when": "after"}),
    provider("reports never", {"provider": "twilio", "what": "no_webhook", "probability": 0.7}),
    provider("jobs' webhooks never", {"provider": "shunya", "what": "no_webhook", "probability": 0.8}),
    provider("jobs' webhooks three times, before the answer", {"provider": "shunya", "what": "duplicate_webhook", "copies": 3},
             {"provider": "shunya", "method": "POST", "what": "stall", "seconds": 1, "when": "after"}),
]

DECKS = {
    "processes": [killed, killed, killed_again_and_again, all_killed, at_points, at_points, at_points, at_points, at_points,
                  clock_jumped, clock_jumped, midnight],
    "instances": [fault(stage) for stage in PRODUCT for fault in (scaled, zombie)],
    "parts": [kafka_restarted, kafka_frozen, kafka_frozen, kafka_slow, postgres_restarted, postgres_restarted, connections_terminated,
              failed_over, database_disk_full, spool_disk_full],
    "providers": PROVIDERS,
}
LONG = [frozen_beyond_its_lease]    # processes, too; a minute
PAUSE_S = (0.5, 2.5)                # between two faults of a lane


class Nemesis:
    """Runs the lanes until it is stopped; then all is well again."""

    def __init__(self, world, seed, say, long=False):
        self.world, self.say, self.over = world, say, threading.Event()
        world.points_left = random.Random(f"{seed} points").sample(POINTS, len(POINTS))
        self.now = {}               # lane: what it does
        self.done, self.failed = [], []
        self.to_begin = {lane: len(deck) for lane, deck in DECKS.items()}           # how many of its faults had no turn yet
        self.threads = [threading.Thread(target=self.lane, args=(lane, deck + LONG * (long and lane == "processes"),
                                                                 random.Random(f"{seed} {lane}")), daemon=True) for lane, deck in DECKS.items()]

    def lane(self, lane, deck, rng):
        while True:
            for fault in rng.sample(deck, len(deck)):
                own = random.Random(rng.randrange(2**63))       # so that what one draws does not change the next
                if self.over.wait(own.uniform(*PAUSE_S)):
                    return
                self.run(lane, fault, own)
                self.to_begin[lane] -= 1

    @property
    def all_had_their_turn(self):
        return max(self.to_begin.values()) <= 0

    def run(self, lane, fault, rng):
        name = fault.__name__.replace("_", " ")
        try:
            with fault(self.world, rng) as (about, seconds):
                self.now[lane] = f"{name} {about}".strip()
                self.done.append(self.now[lane])
                self.say(f"{lane}: {self.now[lane]}")
                self.over.wait(seconds)
        except Exception as error:      # the harness failed, not the system: the run is void, and says so
            self.failed.append(f"{name}: {type(error).__name__}: {error}")
            self.say(f"{lane}: {name} could not be done: {error}")
        self.now.pop(lane, None)

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join()
