"""What `make coverage` prints: how many lines and branches of each folder the unit and flow tests went through.

The programs are built with gcc's counters (COVERAGE=1); each process adds its own when it ends, those that were killed do not.  The lines
themselves are shown by build/coverage/report/index.html."""

import json
import re
import subprocess
import sys
from pathlib import Path

import run

ROOT = run.ROOT
BUILD = ROOT / "build" / "coverage"
REPORT = BUILD / "report"
FOLDERS = ("common", "common/stage", "ingest", "transcribe", "analyze", "notifier", "deploy/sb")
LEAST_SHOWN = 10        # files of which the fewest lines were gone through


def forget_earlier_runs():
    for counters in BUILD.rglob("*.gcda"):
        counters.unlink()


def run_tests():
    count = run.unit_of(BUILD)
    run.flows(count, BUILD)
    return count


def measure():
    """Of each file: its path, and how many lines and branches there are and were gone through."""
    REPORT.mkdir(exist_ok=True)
    filters = [argument for folder in FOLDERS for argument in ("--filter", re.escape(f"{ROOT}/{folder}/") + "[^/]*$")]
    subprocess.run(["gcovr", "--root", ROOT, "--object-directory", BUILD, *filters, "--gcov-ignore-parse-errors", "-j", "2", "--json-summary",
                    REPORT / "summary.json", "--html-details", REPORT / "index.html", BUILD], check=True)
    return json.loads((REPORT / "summary.json").read_text())["files"]


def percent(files, what):
    covered, total = (sum(file[f"{what}_{kind}"] for file in files) for kind in ("covered", "total"))
    return f"{100 * covered / total:5.1f} % of {total:6,}" if total else "-"


def line_of(name, files):
    return f"{name:28}{len(files):4} files   lines {percent(files, 'line'):20} branches {percent(files, 'branch')}"


def tell(files):
    for folder in FOLDERS:
        found = [file for file in files if str(Path(file["filename"]).parent) == folder]
        if found:
            run.say(line_of(folder, found))
    run.say(line_of("all", files))
    run.say("\nleast gone through:")
    for file in sorted(files, key=lambda file: file["line_percent"])[:LEAST_SHOWN]:
        run.say(f"  {file['filename']:40}{file['line_percent']:5.1f} % of {file['line_total']:4} lines")
    run.say(f"\nline by line: {(REPORT / 'index.html').relative_to(ROOT)}")


def main():
    forget_earlier_runs()
    count = run_tests()
    tell(measure())
    run.say(f"{count.passed} passed, {count.failed} failed, {count.skipped} skipped")
    return 1 if count.failed or not count.passed else 0


if __name__ == "__main__":
    sys.exit(main())
