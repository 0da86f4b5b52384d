"""Everything that `make test` runs, in order; the programs are built.  `run.py PART…` runs some parts.

    unit      the unit tests, plain and under AddressSanitizer and UndefinedBehaviorSanitizer
    threads   the unit tests that have threads, and the runtime's and the door's stories, under ThreadSanitizer
    flows     the stories: the daemons built with AddressSanitizer, real Kafka and Postgres, the provider sandbox
    faults    one round under fire from FAULTS_SEED (7): processes killed and frozen, Kafka, Postgres and providers away; nothing lost,
              nothing twice, nothing stuck (tests/faults/README.md)
    fuzz      each fuzzer for FUZZ_SECONDS (20) from its kept corpus: two at a time and at the lowest priority, beside the other parts,
              which often wait

Ends with "N passed, N failed" of all parts together; what skips says why."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
sys.path.insert(0, str(ROOT / "tests" / "flows"))
UNIT_TIMEOUT_S = 300
PYTEST_CACHE = ROOT / ".run" / "pytest"
LAST_FAILED = PYTEST_CACHE / "v" / "cache" / "lastfailed"
JAVA = {"JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1"}      # brokers live for minutes here: compiling them well takes longer than it saves
MALLOC_LIMIT_MB = {"fuzz_audio": 64}     # what a header says of itself must not be allocated
PYTHON = {"PYTHONDONTWRITEBYTECODE": ""}      # each of pytest's workers would compile all that it imports
# of tests/flows, about a minute or more each: the longest first
LONG_FILES = ("bad_answers", "stage", "bad_input", "sb", "api", "reconcile", "sb_watch", "sb_doctor", "coach_graph", "sb_act", "retention",
              "shunya")
# AddressSanitizer's own strstr measures the whole text at each call: minutes for the longest ones
SANITIZERS = {"ASAN_OPTIONS": "detect_leaks=1:intercept_strstr=0", "UBSAN_OPTIONS": "print_stacktrace=1",
              "TSAN_OPTIONS": f"exitcode=66:suppressions={ROOT}/tests/stage/tsan.supp"}


class Count:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def add(self, passed, failed, skipped=0):
        self.passed, self.failed, self.skipped = self.passed + passed, self.failed + failed, self.skipped + skipped


def say(text):
    print(text, flush=True)


def run_unit(program, count, tries=2, **environment):
    """One cmocka program; what it prints is shown when something is wrong.  What fails is tried once more, as in run_pytest()."""
    began = time.monotonic()
    try:
        done = subprocess.run([program], env={**os.environ, **SANITIZERS, **environment}, capture_output=True, text=True, errors="replace",
                              timeout=UNIT_TIMEOUT_S, cwd=ROOT)
        output, code = done.stdout + done.stderr, done.returncode
    except subprocess.TimeoutExpired as expired:
        output, code = f"{expired.stdout}\n{expired.stderr}\nno end within {UNIT_TIMEOUT_S} s", -1
    passed = sum(int(number) for number in re.findall(r"\[  PASSED  \] (\d+) test", output))
    failed = sum(int(number) for number in re.findall(r"\[  FAILED  \] .*?(\d+) test", output))
    skipped = sum(int(number) for number in re.findall(r"\[  SKIPPED \] .*?(\d+) test", output))
    if code != 0 and failed == 0:
        failed = 1
    again = code != 0 and tries > 1
    if not again:
        count.add(passed, failed, skipped)
    verdict = "ok  " if code == 0 else "FAIL"
    shown = "\n" + output[-6000:] if code != 0 else ""
    say(f"  {verdict} {program.relative_to(BUILD)}: {passed} passed, {failed} failed, {skipped} skipped ({time.monotonic() - began:.1f} s){shown}")
    if again:
        say(f"-- {program.name} is tried once more")
        run_unit(program, count, tries - 1, **environment)


def unit_programs(build):
    """Which there are, the Makefile says."""
    return [program for program in sorted((build / "tests").glob("test_*")) if not program.suffix and os.access(program, os.X_OK)]


def unit_of(programs):
    """One after the other, with a Postgres of their own."""
    from environment import Postgres
    count = Count()
    folder = Path(tempfile.mkdtemp(prefix="switchboard-unit-", dir="/tmp"))
    folder.chmod(0o755)
    postgres = Postgres(folder)
    try:
        for program in programs:
            run_unit(program, count, TEST_DATABASE_URL=postgres.url())
    finally:
        postgres.stop("immediate")
        subprocess.run(["rm", "-rf", str(folder)], check=False)
    return count


def unit(count):
    """Four at a time: they mostly wait."""
    programs = [unit_programs(build)[number::2] for build in (BUILD, BUILD / "address-undefined") for number in range(2)]
    with ThreadPoolExecutor(len(programs)) as four:
        for one in four.map(unit_of, programs):
            count.add(one.passed, one.failed, one.skipped)


def run_pytest(count, paths, *options, **environment):
    """What fails is tried once more: a machine that stood still for a minute is no fault of ours.  It is said when that was needed.
    (By name: --last-failed passes over the names that have blanks.)"""
    LAST_FAILED.unlink(missing_ok=True)
    failed = pytest_once(count, [*paths, *options], environment)
    names = list(json.loads(LAST_FAILED.read_text())) if LAST_FAILED.exists() else []
    if failed and names:
        say(f"-- {failed} failed; they are tried once more")
        again = Count()
        pytest_once(again, [*names, *options], environment)
        say(f"-- at the second try {again.passed} passed and {again.failed} failed")
        mended = min(again.passed, failed)
        count.add(mended, -mended)


def pytest_once(count, arguments, environment):
    command = [sys.executable, "-m", "pytest", "-q", "-o", f"cache_dir={PYTEST_CACHE}", "--durations=10", *arguments]
    process = subprocess.Popen(command, env={**os.environ, **JAVA, **PYTHON, **environment}, cwd=ROOT, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    tail = ""
    for line in process.stdout:
        sys.stdout.write(line)
        sys.stdout.flush()
        tail = (tail + line)[-4000:]
    code = process.wait()
    number = lambda word: sum(int(found) for found in re.findall(rf"(\d+) {word}", tail.splitlines()[-1] if tail else ""))  # noqa: E731
    failed = number("failed") + number("error")
    failed = failed if failed or code == 0 else 1
    count.add(number("passed"), failed, number("skipped"))
    return failed


def threads(count):
    for program in unit_programs(BUILD / "thread"):
        run_unit(program, count)
    run_pytest(count, ["tests/flows/test_stage.py", "tests/flows/test_ingest.py"], "-n", "3", SWITCHBOARD_BUILD=str(BUILD / "thread"))


def flows(count, build=BUILD / "address-undefined"):
    """Five files at a time, each worker with a Kafka and a Postgres of its own: they mostly wait.  A file's daemons live as long as its
    tests, so it stays with one worker; the longest come first, so that none of them is alone at the end."""
    files = {path.stem.removeprefix("test_"): path for path in sorted((ROOT / "tests" / "flows").glob("test_*.py"))}
    longest_first = [files.pop(name) for name in LONG_FILES] + list(files.values())
    run_pytest(count, longest_first, "-n", "5", "--dist", "loadfile", "--no-loadscope-reorder", SWITCHBOARD_BUILD=str(build))


def faults(count):
    """The harness's own tests run beside the round.  A failing round is not tried again: it says its seed."""
    build = {"SWITCHBOARD_BUILD": str(BUILD / "faults")}
    with ThreadPoolExecutor(1) as beside:
        own = beside.submit(run_pytest, count, ["tests/faults"], "-n", "2", **build)
        done = subprocess.run([sys.executable, "tests/faults/fire.py", "--short", "--seed", os.environ.get("FAULTS_SEED", "7")],
                              env={**os.environ, **build}, cwd=ROOT)
        own.result()
    count.add(*((1, 0) if done.returncode == 0 else (0, 1)))


def fuzz_once(program, found, *arguments):
    limits = ["-timeout=20", "-rss_limit_mb=2048", f"-malloc_limit_mb={MALLOC_LIMIT_MB.get(program.name, 2048)}"]
    return subprocess.run(["nice", "-n", "19", program, *limits, f"-artifact_prefix={found}/", *arguments], capture_output=True, text=True,
                          errors="replace", cwd=found)


def fuzz_one(program, tries=2):
    """What it said, and whether it found nothing.  What fails and then does not with the same input is tried once more."""
    seconds = os.environ.get("FUZZ_SECONDS", "20")
    corpus = ROOT / "tests" / "fuzz" / "corpus" / program.name.removeprefix("fuzz_")
    with tempfile.TemporaryDirectory() as found:
        done = fuzz_once(program, found, f"-max_total_time={seconds}", found, *([corpus] if corpus.is_dir() else []))
        runs = re.findall(r"Done (\d+) runs", done.stderr)
        if done.returncode == 0 and runs:
            return True, f"  ok   {program.name}: {runs[-1]} runs in {seconds} s"
        inputs = [path for kind in ("crash", "leak", "timeout", "oom") for path in Path(found).glob(kind + "-*")]
        again = [path for path in inputs if fuzz_once(program, found, path).returncode != 0]
        reasons = [line for line in done.stderr.splitlines() if not re.match(r"#\d+\t|\tNEW_FUNC|INFO: ", line)][-40:]
        said = "\n".join([*reasons, *(f"the input, in hex: {path.read_bytes()[:2000].hex()}" for path in inputs)])
    if inputs and not again and tries > 1:
        fine, later = fuzz_one(program, tries - 1)
        return fine, f"{said}\n-- {program.name} failed, but not again with that input; it is tried once more\n{later}"
    return False, f"{said}\n  FAIL {program.name}: it ended with {done.returncode}"


def fuzz(count):
    programs = sorted((BUILD / "fuzzer-no-link-address-undefined" / "fuzz").glob("fuzz_*"))
    with ThreadPoolExecutor(2) as two:
        for fine, said in two.map(fuzz_one, programs):
            count.add(*((1, 0) if fine else (0, 1)))
            say(said)


PARTS = {"unit": unit, "threads": threads, "flows": flows, "faults": faults, "fuzz": fuzz}


def run_part(name):
    say(f"== {name}")
    count, began = Count(), time.monotonic()
    PARTS[name](count)
    say(f"== {name}: {count.passed} passed, {count.failed} failed, {count.skipped} skipped in {time.monotonic() - began:.0f} s\n")
    return count


def main(names):
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        print(f"run.py: {unknown[0]} is no part; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    total, began = Count(), time.monotonic()
    with ThreadPoolExecutor(1) as beside:
        fuzzing = [beside.submit(run_part, name) for name in names or PARTS if name == "fuzz"]
        counts = [run_part(name) for name in names or PARTS if name != "fuzz"] + [each.result() for each in fuzzing]
    for count in counts:
        total.add(count.passed, count.failed, count.skipped)
    say(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped in {time.monotonic() - began:.0f} s")
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
