"""A WhatsApp conversation in the terminal, as on the person's phone: what they got left, what they wrote right.

Bubbles with the time and ticks below the text; where nobody looks at a terminal, plain lines.  The time stands on a line
without any of the text, so that a terminal which turns right-to-left words around leaves it where it is."""

import unicodedata
from dataclasses import dataclass
from datetime import datetime

COLUMNS_MAX = 80
BUBBLE_SHARE = 0.75  # of the terminal, with its frame: which side it is on shall be seen
FRAME_COLUMNS = 4  # "│ " and " │"
INDENT, PLAIN_INDENT = 2, 6
TICKS = {"sent": "✓", "delivered": "✓✓", "read": "✓✓", "failed": "✗", "undelivered": "✗"}
WAITING = "…"  # accepted, queued: it has not left yet
RIGHT_TO_LEFT = {"R", "AL"}


@dataclass
class Said:
    """One message; `status` None: the person's own."""

    at: datetime
    text: str
    status: str | None = None

    @property
    def mine(self):
        return self.status is None

    @property
    def below(self):
        """The time and the ticks, in local time as on a phone."""
        ticks = "" if self.mine else " " + TICKS.get(self.status, WAITING)
        return self.at.astimezone().strftime("%H:%M") + ticks


def said_of(message):
    """A message as the sandbox lists it."""
    at = datetime.fromisoformat(message["at"].replace("Z", "+00:00"))
    media = " ".join("[" + address.rpartition("/")[2] + "]" for address in message["media"])
    text = "\n".join(part for part in (media, message["body"]) if part)
    text = "".join(
        c for c in text if c == "\n" or unicodedata.category(c) != "Cc"
    )  # nothing that a terminal would obey
    return Said(at, text, None if message["direction"] == "inbound" else message["status"])


# --- how wide, and which way --------------------------------------------------


def columns_of(text):
    """The columns a terminal takes for it: none for marks that stand on another character, two for wide ones."""
    width = 0
    for character in text:
        if unicodedata.category(character) in ("Mn", "Me", "Cf"):
            continue
        width += 2 if unicodedata.east_asian_width(character) in "WF" else 1
    return width


def runs_right_to_left(text):
    """Whether the first letter that has a direction is of a script written from right to left."""
    for character in text:
        direction = unicodedata.bidirectional(character)
        if direction in RIGHT_TO_LEFT or direction == "L":
            return direction in RIGHT_TO_LEFT
    return False


def pieces_of(word, columns):
    """A word that is longer than a line, in pieces that are not; a mark stays with its character."""
    piece = ""
    for character in word:
        if piece and columns_of(piece + character) > columns:
            yield piece
            piece = ""
        piece += character
    if piece:
        yield piece


def wrapped(text, columns):
    """Lines of at most so many columns; paragraphs stay apart."""
    lines = []
    for paragraph in text.splitlines() or [""]:
        line = ""
        for word in (piece for word in paragraph.split() for piece in pieces_of(word, columns)):
            longer = f"{line} {word}" if line else word
            if columns_of(longer) > columns:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


def padded(line, columns):
    """On the side where its writing begins."""
    blanks = " " * (columns - columns_of(line))
    return blanks + line if runs_right_to_left(line) else line + blanks


# --- drawing ------------------------------------------------------------------


def bubble(said, columns):
    """Its lines, indented to its side of a terminal of so many columns."""
    room = int(columns * BUBBLE_SHARE) - FRAME_COLUMNS
    lines = wrapped(said.text, room)
    inside = max([columns_of(line) for line in lines] + [columns_of(said.below) + 2])
    frame = [
        "╭" + "─" * (inside + 2) + "╮",
        *("│ " + padded(line, inside) + " │" for line in lines),
        "╰" + "─" * (inside - columns_of(said.below) - 1) + f" {said.below} " + "─╯",
    ]
    side = columns - inside - FRAME_COLUMNS if said.mine else INDENT
    return [" " * side + line for line in frame]


def plain(said, name):
    """Without frames: who said it and when, then the words."""
    status = "" if said.mine else f" ({said.status})"
    who = name if said.mine else "coach"
    head = f"  {said.at.astimezone():%H:%M} {who}{status}:"
    return [head, *((" " * PLAIN_INDENT + line).rstrip() for line in wrapped(said.text, COLUMNS_MAX - PLAIN_INDENT))]


def drawn(conversation, name, terminal, columns=COLUMNS_MAX):
    """The conversation's lines; `name`: whose phone it is."""
    columns = min(columns, COLUMNS_MAX)
    return [line for said in conversation for line in (bubble(said, columns) if terminal else plain(said, name))]
