"""Compares what was sent with what came of it, and counts in the terms of Jepsen's queue tests.

It knows no use case: it is given operations (what was asked, and how it was answered), expectations (what must exist in the end) and
observations (what exists), and knows neither Kafka nor Postgres.  That is what makes it possible to test it with falsified records."""

from collections import defaultdict
from dataclasses import dataclass, field

OK, UNKNOWN, REFUSED = "ok", "unknown", "refused"      # how an operation was answered: 2xx, nobody knows, surely not taken
EXAMPLES_MAX = 20                                       # of each count, in the report


@dataclass(frozen=True)
class Operation:
    """One thing asked of the system, under an identity of its own.  `number` counts up within its key, in the order of sending;
    None: its order was never promised."""
    case: str
    key: str
    identity: str
    number: int | None
    answer: str
    how: str = ""                   # what its case did with it


@dataclass(frozen=True)
class Expected:
    """So many effects of a kind under an identity.  `because` is the operation it follows from."""
    kind: str
    identity: str
    because: str
    least: int = 1
    most: int = 1


@dataclass(frozen=True)
class Observed:
    """One thing that exists.  Two with the same `unique` are the same effect, told twice (an event sent again under its id).
    `at` is its place among those of its kind and key; None: it has no place."""
    kind: str
    key: str
    identity: str
    unique: str
    at: int | None = None


@dataclass
class Count:
    name: str
    about: str
    number: int = 0
    examples: list = field(default_factory=list)

    def add(self, example):
        self.number += 1
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append(example)


COUNTS = {
    "lost": "acknowledged with 2xx, and it is nowhere",
    "twice": "an effect more often than it may be: a row, an event id, a message at the provider",
    "reordered": "later than one of its key that was sent after it",
    "stuck": "kept, and not finished after the recovery",
    "nowhere": "an effect of what was never acknowledged, or never sent",
}


class Findings:
    def __init__(self):
        self.counts = {name: Count(name, about) for name, about in COUNTS.items()}
        self.excused = Count("cannot be had", "a second message at a provider without idempotency key, by a process that was frozen"
                                              " for longer than its lease between the lease's check and the request")
        self.operations = self.acknowledged = self.effects = self.repeats = 0

    def add(self, name, example):
        self.counts[name].add(example)

    @property
    def clean(self):
        return not any(count.number for count in self.counts.values())

    def as_json(self):
        shown = lambda count: {"number": count.number, "about": count.about, "examples": count.examples}  # noqa: E731
        return {"clean": self.clean, "operations": self.operations, "acknowledged": self.acknowledged, "effects": self.effects,
                "sent_again_under_the_same_id": self.repeats, "cannot_be_had": shown(self.excused),
                **{name: shown(count) for name, count in self.counts.items()}}


def index(observations):
    """{(kind, identity): {unique: first place}}, and how many were told again."""
    found, repeats = defaultdict(dict), 0
    for seen in observations:
        places = found[seen.kind, seen.identity]
        if seen.unique in places:
            repeats += 1
            if seen.at is not None and seen.at < places[seen.unique]:
                places[seen.unique] = seen.at
        else:
            places[seen.unique] = seen.at
    return found, repeats


def check(operations, expectations, observations, inbound, excuse=lambda expected, places: False, ordered=()):
    """`inbound[case]`: the kind that says an operation was kept.  `excuse`: whether an effect at more places than it may have cannot be had
    otherwise.  `ordered`: the kinds that must keep the order of their key."""
    findings = Findings()
    operations = {operation.identity: operation for operation in operations}
    observations = list(observations)
    found, findings.repeats = index(observations)
    findings.operations, findings.effects = len(operations), len(found)
    findings.acknowledged = sum(operation.answer == OK for operation in operations.values())
    kept = {identity for identity, operation in operations.items() if (inbound[operation.case], identity) in found}
    find_lost(findings, operations, kept)
    find_wrong_numbers(findings, expectations, found, kept, excuse)
    find_unasked(findings, operations, expectations, found, inbound)
    for kind in ordered:
        find_reordered(findings, operations, (seen for seen in observations if seen.kind == kind))
    return findings


def find_lost(findings, operations, kept):
    for identity, operation in operations.items():
        if operation.answer == OK and identity not in kept:
            findings.add("lost", f"{operation.case} {identity}: acknowledged, not in its topic")
        elif operation.answer == REFUSED and identity in kept:
            findings.add("nowhere", f"{operation.case} {identity}: refused, and kept all the same")


def find_wrong_numbers(findings, expectations, found, kept, excuse):
    for expected in expectations:
        if expected.because not in kept:
            continue                    # lost, and counted as that; or never kept, and nothing may follow: see find_unasked
        places = found.get((expected.kind, expected.identity), {}).values()
        number = len(places)
        if number < expected.least:
            findings.add("stuck", f"{expected.kind} {expected.identity}: {number} instead of {expected.least}")
        elif number > expected.most and excuse(expected, places):
            findings.excused.add(f"{expected.kind} {expected.identity}: {number}")
        elif number > expected.most:
            findings.add("twice", f"{expected.kind} {expected.identity}: {number} instead of {expected.most}")


def find_unasked(findings, operations, expectations, found, inbound):
    """Effects that nobody's operation explains: none expected them, or what they follow from was not kept."""
    because = {(expected.kind, expected.identity): expected.because for expected in expectations}
    for kind, identity in found:
        if kind in inbound.values():
            if identity not in operations:
                findings.add("nowhere", f"{kind} {identity}: nobody sent it")
        elif (kind, identity) not in because:
            findings.add("nowhere", f"{kind} {identity}: nothing that was sent leads to it")
        else:
            operation = operations[because[kind, identity]]
            if (inbound[operation.case], operation.identity) not in found and operation.answer != OK:
                findings.add("nowhere", f"{kind} {identity}: what it follows from was never kept")


def find_reordered(findings, operations, observations):
    """Within a key the first occurrences must come in the order of sending."""
    first = defaultdict(dict)
    for seen in observations:
        operation = operations.get(seen.identity)
        if operation and operation.number is not None and seen.at is not None:
            places = first[seen.key]
            places[operation.number] = min(seen.at, places.get(operation.number, seen.at))
    for key, places in first.items():
        furthest = None
        for number in sorted(places):
            if furthest is not None and places[number] < places[furthest]:
                findings.add("reordered", f"{key}: {number} at {places[number]} is before {furthest} at {places[furthest]}")
            if furthest is None or places[number] > places[furthest]:
                furthest = number
