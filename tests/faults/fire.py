"""Nothing lost, nothing twice, nothing stuck: use cases send, faults are drawn from a seed, and in the end everything is compared.

    fire.py --seed 7 --minutes 30       rounds of load and faults for so long, each checked by itself
    fire.py --seed 7 --short            one round: what `make test` runs

Ends with 1 when anything but zero was counted.  Everything that is needed to look into it is kept in --keep (.run/faults): report.json,
the loads' records, the daemons' logs."""

import argparse
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import psycopg

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "tests" / "flows")]
os.environ.setdefault("SWITCHBOARD_BUILD", str(ROOT / "build" / "faults"))

from cases import CASES  # noqa: E402
from faults import POINTS, PRODUCT, Nemesis, reached  # noqa: E402
from fleet import World  # noqa: E402
from load import Load  # noqa: E402
from screen import Screen  # noqa: E402

SHORT = {"seconds": 105, "events": 21_000, "calls": 150}
ROUND = {"seconds": 180, "events": 150_000, "calls": 600}
RECOVER_S = 150


def parsed(arguments):
    parser = argparse.ArgumentParser(prog="fire.py", description="Holds Switchboard to its promises under fire.")
    parser.add_argument("--seed", type=int, default=None, help="of the faults and the load; drawn and printed when not given")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--short", action="store_true", help="one short round")
    parser.add_argument("--calm", action="store_true", help="no faults: what fails then is the checker or the load")
    parser.add_argument("--keep", type=Path, default=ROOT / ".run" / "faults")
    parser.add_argument("--events", type=int, help="events of a round")
    parser.add_argument("--calls", type=int, help="calls of a round")
    parser.add_argument("--seconds", type=float, help="how long a round sends")
    return parser.parse_args(arguments)


def finished(world):
    """How many events of the product's and the test's stages are in the ledger; None while Postgres is away."""
    try:
        with psycopg.connect(world.environment.database_url, autocommit=True, connect_timeout=1,
                             options="-c statement_timeout=1000") as database:
            return database.execute("SELECT count(*) FROM ledger").fetchone()[0]
    except psycopg.Error:
        return None


class Rounds:
    def __init__(self, options, screen):
        self.options, self.screen, self.reports = options, screen, []
        self.size = {**(SHORT if options.short else ROUND),
                     **{name: value for name in ("seconds", "events", "calls") if (value := getattr(options, name))}}

    def run(self, world, number):
        options, screen = self.options, self.screen
        seed = options.seed * 1000 + number
        screen.line()
        screen.line(f"round {number}, seed {options.seed}", "bold")
        world.forget_copies()
        load = Load(world, options.keep / f"record.{number}", f"s{options.seed}r{number}", seed, **self.size).start()
        nemesis = None if options.calm else Nemesis(world, seed, screen.say, long=not options.short).start()
        began = time.monotonic()
        while not self.enough(load, nemesis, time.monotonic() - began):
            screen.row(load, world.fleet, finished(world))
            time.sleep(0.5)
        if nemesis:
            nemesis.stop()
        screen.say("no more faults; the senders end, and everything comes to rest")
        load.join(RECOVER_S)
        for daemon in world.fleet.all():
            daemon.process.send_signal(signal.SIGCONT) if daemon.process.poll() is None else None
        unfinished = world.recover(RECOVER_S, screen.say)
        screen.row(load, world.fleet, finished(world), at_once=True)
        return self.judge(world, load, nemesis, number, unfinished, time.monotonic() - began)

    def enough(self, load, nemesis, seconds):
        """Every fault had its turn, in the load's time; who still waits for an answer then gets it without them."""
        if nemesis and not nemesis.all_had_their_turn:
            return seconds > self.size["seconds"] * 3
        return load.over or nemesis is not None and seconds > self.size["seconds"]

    def judge(self, world, load, nemesis, number, unfinished, took_s):
        findings = load.check(world)
        faults = nemesis.done if nemesis else []
        void = load.failed + (nemesis.failed if nemesis else [])
        self.screen.report(f"round {number}, seed {self.options.seed}", findings, unfinished, f"{len(faults)} faults, {took_s:.0f} s")
        for reason in void:
            self.screen.line(f"  the test itself failed: {reason}", "red")
        clean = findings.clean and not unfinished and not void
        self.reports.append({"round": number, "seed": self.options.seed, "unfinished": unfinished, "void": void,
                             "faults": faults, "seconds": round(took_s), **findings.as_json(), "clean": clean})
        if clean:
            load.record.path.unlink()
        if unfinished:
            (self.options.keep / f"left.{number}.json").write_text(json.dumps(world.left(), indent=2))
        return clean

    def write(self, points):
        """`points`: how often something was done at which."""
        report = {"seed": self.options.seed, "clean": all(report["clean"] for report in self.reports),
                  "operations": sum(report["operations"] for report in self.reports),
                  "points": {f"{stage} {point}": points[stage, point] for stage, point in POINTS}, "rounds": self.reports}
        (self.options.keep / "report.json").write_text(json.dumps(report, indent=2) + "\n")
        return report


def keep_logs(world, keep):
    for log in world.folder.glob("*/log"):
        shutil.copy(log, keep / f"{log.parent.name}.log")


def main(arguments):
    options, screen = parsed(arguments), Screen()
    options.seed = options.seed if options.seed is not None else int(time.time()) % 1_000_000
    options.keep.mkdir(parents=True, exist_ok=True)
    screen.line(f"seed {options.seed}: run it again with --seed {options.seed}", "bold")
    rounds, ends = Rounds(options, screen), time.monotonic() + options.minutes * 60
    world = World(bucket=options.seed % 2 == 1)
    screen.line(f"recordings are kept in a {'bucket' if world.bucket else 'folder'}")
    try:
        for stage in PRODUCT:
            if not world.fleet.instances[stage]:
                world.fleet.add(stage)
        for daemon in world.fleet.all():
            daemon.ready()
        for case in CASES:
            getattr(case, "prepare", lambda world: None)(world)
        number, clean = 1, rounds.run(world, 1)
        while clean and not options.short and time.monotonic() < ends:
            number += 1
            clean = rounds.run(world, number)
    finally:
        points = reached(world)
        keep_logs(world, options.keep)
        world.close()
    report = rounds.write(points)
    screen.line()
    screen.line(f"reached {sum(number > 0 for number in report['points'].values())} of {len(POINTS)} places in the code")
    screen.line(f"{'all well' if report['clean'] else 'NOT well'}: {report['operations']:,} operations in {len(rounds.reports)} rounds,"
                f" seed {options.seed}; {options.keep}/report.json", "green" if report["clean"] else "red")
    return 0 if report["clean"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
