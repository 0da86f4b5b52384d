"""Finds the conversation in a prompt: who said what, and when that was.

The prompt is anybody's, so several ways of writing a transcript are understood: lines that begin with a speaker, JSON
with speakers and texts, a block between marks, or, failing all that, the whole text."""

import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

AGENTS = {"agent", "csr", "rep", "representative", "operator", "employee", "staff", "left", "assistant", "a"}
CUSTOMERS = {"customer", "caller", "client", "right", "user", "b"}
SPEAKER = (
    r"agent|csr|rep|representative|operator|employee|staff|assistant|customer|caller|client|user|left|right|"
    r"unknown|speaker(?:[ _-]?\w{1,8})?|channel[ _-]?\w{1,8}|[AB]"
)
TIME = r"[\[(]?\d+(?:[:.]\d+){0,3} ?s?(?: ?(?:-|–|to|\.\.) ?\d+(?:[:.]\d+){0,3} ?s?)?[\])]?"
LINE = re.compile(
    rf"^\s*(?:[-*] )?(?:{TIME}\s+)?\[?(?P<who>{SPEAKER})\]?\s*(?:{TIME})?\s*:\s*(?P<text>\S.*)$", re.I | re.M
)
BLOCKS = (
    re.compile(r"<(transcript|conversation|call|text)\b[^>]*>\s*(.*?)\s*</\1>", re.S | re.I),
    re.compile(r"(\"\"\"|```\w*|~~~)\s*(.*?)\s*(?:\"\"\"|```|~~~)", re.S),
)
MOMENT = re.compile(r"\b(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(?:\.\d+)?\s?(Z|[+-]\d\d:?\d\d)?)?")
ZONE = re.compile(
    r"\b(?:America|Europe|Asia|Africa|Australia|Pacific|Atlantic|Indian|Etc)/[A-Za-z_]+(?:/[A-Za-z_]+)?\b|\bUTC\b"
)


@dataclass
class Utterance:
    speaker: str  # agent, customer or other
    text: str


@dataclass
class Conversation:
    utterances: list
    moment: datetime  # when it took place, in the zone the prompt names
    said: list = field(default_factory=list)  # the user messages as they are

    def by(self, speaker):
        """What one side said; everything, when nobody can be told apart."""
        said = [utterance for utterance in self.utterances if utterance.speaker == speaker]
        return said or [utterance for utterance in self.utterances if utterance.speaker == "other"]


def role_of(who):
    name = re.sub(r"[ _-]+", " ", who.strip().lower())
    if name in AGENTS or name in ("speaker 0", "channel 0", "speaker a"):
        return "agent"
    if name in CUSTOMERS or name in ("speaker 1", "channel 1", "speaker b"):
        return "customer"
    return "other"


def spoken_in_json(text):
    """The first JSON in the text that has objects with who and what."""
    decoder = json.JSONDecoder()
    for match in re.finditer(r"[\[{]", text):
        try:
            value, _ = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        found = list(utterances_in(value))
        if found:
            return found
    return []


def utterances_in(value):
    if isinstance(value, list):
        for item in value:
            yield from utterances_in(item)
    elif isinstance(value, dict):
        what = value.get("text") or value.get("transcript")
        who = value.get("speaker", value.get("role", value.get("channel")))
        if isinstance(what, str) and what.strip() and who is not None:
            yield Utterance(role_of(str(who)), what.strip())
        else:
            for item in value.values():
                yield from utterances_in(item)


def utterances_of(text):
    lines = [
        Utterance(role_of(match["who"]), match["text"].strip())
        for match in LINE.finditer(text)
        if re.search("[^\\W\\d_]", match["text"])
    ]  # "customer: +1 202 …" is not speech
    if lines:
        return lines
    found = spoken_in_json(text)
    if found:
        return found
    for block in BLOCKS:
        match = block.search(text)
        if match and match.group(2).strip():
            text = match.group(2)
            break
    return [Utterance("other", line.strip()) for line in text.splitlines() if line.strip()]


def moment_of(text):
    zone_name = ZONE.search(text)
    try:
        zone = ZoneInfo(zone_name.group(0)) if zone_name else timezone.utc
    except (ZoneInfoNotFoundError, ValueError):
        zone = timezone.utc
    match = MOMENT.search(text)
    if match is None:
        return datetime.now(zone)
    day, clock, offset = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock or '12:00'}{(offset or '').replace('Z', '+00:00')}")
    except ValueError:
        return datetime.now(zone)
    if moment.tzinfo is None:
        return moment.replace(tzinfo=zone)
    return moment.astimezone(zone) if zone_name else moment


def read_conversation(said, system=""):
    """`said`: what the user messages hold, oldest first.  The first with a conversation in it counts."""
    utterances = []
    for text in said:
        utterances = utterances_of(text)
        if any(utterance.speaker != "other" for utterance in utterances):
            break
    return Conversation(utterances, moment_of("\n".join([*said, system])), list(said))
