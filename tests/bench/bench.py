"""What Switchboard does on this machine, beside its references and its goals: one table, and the same as JSON in .run/bench/RESULT.json.

    make bench                      everything
    make bench ONLY=hop,commit      parts

A goal that is missed is shown, not failed: the exit code is 1 only when something could not be measured."""

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "flows"))

import api  # noqa: E402
import coach  # noqa: E402
import door  # noqa: E402
import reminders  # noqa: E402
import stage  # noqa: E402
from environment import ROOT  # noqa: E402
from measure import CannotMeasure, print_table  # noqa: E402
from stand import Stand  # noqa: E402

# in this order: idle means that nothing waits in the topics either, after ack the broker is as slow as any program just started, and api
# fills the disk's cache
# in this order; the coach's ingest would first record what webhooks and linger left in the topic
PARTS = {"idle": stage.idle, "coach": coach.coach, "webhooks": door.webhooks, "linger": door.linger, "hop": stage.hop, "commit": stage.commit,
         "slow": stage.slow, "flat": stage.flat, "ack": door.ack, "api": api.api, "reminders": reminders.reminders}
RESULT = ROOT / ".run" / "bench" / "RESULT.json"
FILES_MIN = 8192                # 1,000 calls in flight, and the load's own connections


def arguments():
    parser = argparse.ArgumentParser(prog="bench.py", description=__doc__.split("\n")[0])
    parser.add_argument("--only", default=",".join(PARTS), metavar="PART,…", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="one short run of each: to see that it works, not for figures")
    given = parser.parse_args()
    wanted = [part for part in given.only.split(",") if part]
    unknown = [part for part in wanted if part not in PARTS]
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    given.only = [part for part in PARTS if part in wanted]
    return given


def allow_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES_MIN:
        sys.exit(f"bench: at most {hard} files may be open here (ulimit -Hn), {FILES_MIN} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, FILES_MIN), hard))


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def about(began, busy_before):
    revision = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)), "took_s": round(time.time() - began), "revision": revision or None,
            "cores": os.cpu_count(), "processor": processor(), "kernel": platform.release(), "load_average_before": busy_before}


def measure(stand, parts):
    rows, failures = [], {}
    for part in parts:
        print(f"bench: {part} …", file=sys.stderr, flush=True)
        try:
            for row in PARTS[part](stand):
                rows.append(row)
                print(f"  {row.what}: {row.measured}", file=sys.stderr, flush=True)
        except (CannotMeasure, AssertionError, OSError, subprocess.SubprocessError) as failure:
            failures[part] = str(failure) or repr(failure)
            print(f"  {part} could not be measured: {failures[part]}", file=sys.stderr, flush=True)
            stand.clear()
    return rows, failures


def main():
    given = arguments()
    if not shutil.which("wrk"):
        sys.exit("bench: wrk is not installed: `make deps-test` installs it")
    allow_files()
    began, busy_before = time.time(), os.getloadavg()[0]
    if busy_before > 0.5:
        print(f"bench: the machine is busy (load {busy_before:.1f}): figures will be worse and scatter more", file=sys.stderr)
    stand = Stand(*(1, 1, 0.05) if given.quick else (3, 3, 1))
    try:
        rows, failures = measure(stand, given.only)
    finally:
        stand.close()
    result = {**about(began, busy_before), "quick": given.quick, "rows": [row.as_json() for row in rows], "not_measured": failures}
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    print_table(rows)
    for part, why in failures.items():
        print(f"{part} could not be measured: {why}")
    print(f"All of it: {RESULT.relative_to(ROOT)}; what the rows mean: tests/bench/README.md")
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("bench: stopped")
