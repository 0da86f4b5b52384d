"""Recordings are held to their copies: each test falsifies a store in which all was well."""

import hashlib

import pytest
from checker import OK, Expected, Observed, Operation, check
from copies import observe_copies, observe_copies_without_a_row

CALLS = {f"call-{n}": f"call-{n}/call.completed" for n in range(3)}


class Store:
    """A folder or bucket, and the rows that speak of it."""

    def __init__(self):
        self.kept = {f"fire/{self.name(call)}.wav": (100, call) for call in CALLS}
        self.rows = [(call, f"fire/{self.name(call)}.wav", 100, call) for call in CALLS]

    @staticmethod
    def name(call):
        return hashlib.sha256(call.encode()).hexdigest()

    def copies(self):
        return self.kept

    def execute(self, _):
        return [(path,) for _, path, _, _ in self.rows]

    def check(self):
        operations = [Operation("calls", call, identity, 1, OK) for call, identity in CALLS.items()]
        expected = [Expected(kind, identity, identity) for identity in CALLS.values() for kind in ("recording", "copy")]
        arrived = [Observed("in", call, identity, call) for call, identity in CALLS.items()]
        seen = [*arrived, *observe_copies(self, CALLS, self.rows), *observe_copies_without_a_row(self, self)]
        counts = check(operations, expected, seen, {"calls": "in"}).counts
        return {name: count.number for name, count in counts.items() if count.number}


@pytest.fixture
def store():
    return Store()


def test_a_copy_for_each_row_and_a_row_for_each_copy_is_clean(store):
    assert store.check() == {}


def test_a_copy_that_is_gone_is_found(store):
    store.kept.pop(store.rows[1][1])
    assert store.check() == {"stuck": 2}, "the copy, and the row that speaks of it"


@pytest.mark.parametrize("kept", [(99, "call-1"), (100, "another")])
def test_a_copy_that_is_not_what_its_row_says_is_found(store, kept):
    store.kept[store.rows[1][1]] = kept
    assert store.check() == {"stuck": 1}


def test_a_second_copy_is_found(store):
    store.kept[store.rows[1][1].replace("fire/", "unassigned/")] = (100, "call-1")
    assert store.check() == {"twice": 1, "nowhere": 1}, "it has no row either"


@pytest.mark.parametrize("whose", ["a stranger", "call-1"])
def test_a_copy_without_a_row_is_found(store, whose):
    store.kept[f"fire/{store.name(whose)}.flac"] = (100, whose)
    assert store.check().get("nowhere") == 1
