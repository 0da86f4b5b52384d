"""What a person reads while it runs, and the report at the end."""

import os
import sys
import threading
import time

COLOURS = {"bold": "1", "faint": "2", "red": "31", "green": "32", "yellow": "33"}
ROW_S = 5


class Screen:
    """A row each few seconds, and a line for each fault as it begins."""

    def __init__(self, stream=sys.stdout):
        self.stream, self.began, self.lock = stream, time.monotonic(), threading.Lock()
        self.colours = stream.isatty() and "NO_COLOR" not in os.environ
        self.rows, self.next_row = 0, 0.0

    def paint(self, text, colour):
        return f"\033[{COLOURS[colour]}m{text}\033[0m" if self.colours else text

    def line(self, text="", colour=None):
        with self.lock:
            print(self.paint(text, colour) if colour else text, file=self.stream, flush=True)

    def say(self, text):
        self.line(f"{time.monotonic() - self.began:7.1f} s   {text}", "yellow")

    def row(self, load, fleet, finished, at_once=False):
        if time.monotonic() < self.next_row and not at_once:
            return
        self.next_row = time.monotonic() + ROW_S
        if self.rows % 12 == 0:
            self.line(f"{'':7}         {'sent':>9} {'acknowledged':>13} {'finished':>9} {'instances':>10} {'restarts':>9}", "faint")
        self.rows += 1
        shown = "–" if finished is None else f"{finished:,}"
        there = sum(daemon.process.poll() is None for daemon in fleet.all())
        self.line(f"{time.monotonic() - self.began:7.1f} s   {'':4}{load.record.sent:9,} {load.record.acknowledged:13,} {shown:>9}"
                  f" {there:10} {fleet.restarts:9}")

    def report(self, title, findings, unfinished, extra):
        self.line()
        self.line(title, "bold")
        self.line(f"  {findings.operations:,} operations, {findings.acknowledged:,} acknowledged, {findings.effects:,} effects,"
                  f" {findings.repeats:,} sent again under the same id; {extra}")
        for name, count in findings.counts.items():
            self.line(f"  {name:>10} {count.number:7,}   {count.about}", "red" if count.number else None)
            for example in count.examples[:5]:
                self.line(f"{'':21}{example[:200]}", "red")
        if findings.excused.number:
            self.line(f"  {'apart':>10} {findings.excused.number:7,}   {findings.excused.about}")
        for left in unfinished:
            self.line(f"  {'stuck':>10}           {left}", "red")
