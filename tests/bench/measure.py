"""Figures, rows of the table, and what /proc says of a process."""

import os
import statistics
from dataclasses import dataclass, field
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


class CannotMeasure(Exception):
    """A row that could not be had, and why, in a sentence."""


@dataclass
class Figure:
    """One thing measured several times: its median counts."""

    runs: list
    unit: str = ""
    digits: int = 0

    @property
    def median(self):
        return statistics.median(self.runs)

    def __str__(self):
        unit = f" {self.unit}" if self.unit else ""
        spread = f" ({min(self.runs):,.{self.digits}f}–{max(self.runs):,.{self.digits}f})" if len(self.runs) > 1 else ""
        return f"{self.median:,.{self.digits}f}{unit}{spread}"

    def as_json(self):
        return {"median": self.median, "min": min(self.runs), "max": max(self.runs), "runs": self.runs, "unit": self.unit}


@dataclass
class Row:
    """One line of the table.  `reached` None: there is no goal."""

    part: str
    what: str
    measured: Figure
    goal: str = ""
    reference: object = None        # a Figure, or a number that was not measured
    reference_name: str = ""
    reached: object = None
    detail: dict = field(default_factory=dict)

    @property
    def ratio(self):
        of = self.reference.median if isinstance(self.reference, Figure) else self.reference
        return self.measured.median / of if of else None

    def cells(self):
        reference = f"{self.reference if isinstance(self.reference, Figure) else f'{self.reference:,}'} {self.reference_name}" \
            if self.reference is not None else ""
        ratio = f"{self.ratio:.2f}" if self.ratio is not None else ""
        return [self.what, self.goal, str(self.measured), reference, ratio, {True: "yes", False: "NO", None: ""}[self.reached]]

    def as_json(self):
        reference = self.reference.as_json() if isinstance(self.reference, Figure) else self.reference
        return {"part": self.part, "what": self.what, "goal": self.goal or None, "measured": self.measured.as_json(), "reference": reference,
                "reference_name": self.reference_name or None, "ratio": self.ratio, "reached": self.reached, "detail": self.detail}


def print_table(rows):
    cells = [["what", "goal", "measured (min–max)", "reference", "ratio", "reached"], *[row.cells() for row in rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    for line in cells:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")


# --- /proc


def stat(pid):
    """The fields after the name, which may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def cpu_s(pid):
    """User and system time of all its threads so far."""
    fields = stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS


def tree_cpu_s(pid):
    """The same of a process, its children, and those of its children that have ended: Postgres."""
    fields = stat(pid)
    total = (int(fields[13]) + int(fields[14])) / TICKS + cpu_s(pid)
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            try:
                total += cpu_s(child)
            except OSError:
                pass            # it ended just now
    return total


def memory_mb(pid, name="VmRSS"):
    """VmRSS: now; VmHWM: at its highest; RssAnon: without what is mapped from files."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1024
    raise CannotMeasure(f"/proc/{pid}/status has no {name}")


class Cpu:
    """CPU seconds used by the named processes between two moments: {"door": pid, "postgres": pid of the postmaster}."""

    def __init__(self, **pids):
        self.pids = pids
        self.before = self.now()

    def now(self):
        return {name: tree_cpu_s(pid) if name == "postgres" else cpu_s(pid) for name, pid in self.pids.items()}

    def used(self):
        now = self.now()
        return {name: now[name] - self.before[name] for name in self.pids}


def per_100k(used, count):
    return {name: seconds / count * 100_000 for name, seconds in used.items()}
