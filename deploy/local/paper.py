"""Calm terminal output: at most 100 columns, colours only where a person looks at it and has not set NO_COLOR."""

import os
import shutil
import sys
import textwrap

COLUMNS_MAX = 100
COLOURS = {"bold": "1", "faint": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
KIND_COLUMNS = 24
NAME_COLUMNS = 13


class Paper:
    def __init__(self, stream=sys.stdout):
        self.stream = stream
        self.terminal = stream.isatty()
        self.colours = self.terminal and "NO_COLOR" not in os.environ
        columns = shutil.get_terminal_size((COLUMNS_MAX, 24)).columns if self.terminal else COLUMNS_MAX
        self.columns = max(60, min(columns, COLUMNS_MAX))

    def painted(self, text, colour):
        return f"\033[{COLOURS[colour]}m{text}\033[0m" if self.colours and colour else text

    def line(self, text=""):
        print(text, file=self.stream, flush=True)

    def wrapped(self, text, first="  ", following="  "):
        for line in textwrap.wrap(
            text,
            self.columns,
            initial_indent=first,
            subsequent_indent=following,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [first.rstrip()]:
            self.line(line)

    def title(self, text):
        self.line()
        self.line(self.painted(text, "bold"))
        self.line()

    def head(self, text):
        self.line()
        self.line(self.painted(text, "bold"))

    def say(self, text):
        self.wrapped(text, "", "")

    def step(self, at_s, stage, kind, text, good=True):
        """One thing that happened."""
        room = self.columns - 10 - 11 - KIND_COLUMNS - 2
        text = text if len(text) <= room else text[: room - 1] + "…"
        colour = None if good else "red"
        self.line(
            f"{self.painted(f'{at_s:8.2f} s', 'faint')} {self.painted(f'{stage:10}', 'cyan')} {kind:{KIND_COLUMNS}} "
            f"{self.painted(text, colour)}"
        )

    def fact(self, name, text):
        indent = " " * (NAME_COLUMNS + 2)
        lines = textwrap.wrap(text, self.columns - len(indent)) or [""]
        self.line(f"  {self.painted(f'{name:{NAME_COLUMNS}}', 'cyan')}{lines[0]}".rstrip())
        for line in lines[1:]:
            self.line(indent + line)

    def lines(self, lines):
        for text in lines:
            self.wrapped(text, "      ", "        ")

    def command(self, what, command):
        self.line(f"  {self.painted(what, 'faint')}")
        self.line(f"    {command}")  # never wrapped: it is to be copied

    def missing(self, what, hint):
        self.line(f"  {self.painted('missing', 'red')}  {what}")
        if hint:
            self.wrapped(hint, "           ", "           ")

    def done(self, text):
        self.line()
        self.line(self.painted(text, "green"))

    def failed(self, text):
        self.line()
        self.wrapped(f"{self.painted('The sample day could not be played', 'red')}: {' '.join(text.split())}", "", "  ")
