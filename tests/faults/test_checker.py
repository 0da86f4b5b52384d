"""The checker finds what it is there for: each test falsifies a record of a run in which all was well."""

import pytest
from checker import COUNTS, OK, REFUSED, UNKNOWN, Expected, Observed, Operation, check

KEYS, PER_KEY = 5, 8
INBOUND = {"orders": "in"}
ORDERED = ("row", "out")


class Run:
    """A run in which all was well: each operation is in its topic, has a row, an event and one message."""

    def __init__(self):
        self.operations, self.expectations, self.observations = [], [], []
        for key in (f"k{n}" for n in range(KEYS)):
            for number in range(1, PER_KEY + 1):
                identity = f"{key}/{number}"
                self.operations.append(Operation("orders", key, identity, number, OK))
                self.expectations += [Expected(kind, identity, identity) for kind in ("row", "out", "message")]
                self.observations.append(Observed("in", key, identity, "event-" + identity, number * 10))
                self.observations += [Observed(kind, key, identity, f"{kind}-{identity}", number * 10) for kind in ("row", "out", "message")]

    def place(self, kind, identity):
        return next(n for n, seen in enumerate(self.observations) if (seen.kind, seen.identity) == (kind, identity))

    def drop(self, kind, identity):
        return self.observations.pop(self.place(kind, identity))

    def change(self, kind, identity, **fields):
        place = self.place(kind, identity)
        self.observations[place] = Observed(**{**vars(self.observations[place]), **fields})

    def answered(self, identity, answer):
        place = next(n for n, operation in enumerate(self.operations) if operation.identity == identity)
        self.operations[place] = Operation(**{**vars(self.operations[place]), "answer": answer})

    def check(self, **more):
        return check(self.operations, self.expectations, self.observations, INBOUND, ordered=ORDERED, **more)


def numbers(findings):
    return {name: count.number for name, count in findings.counts.items() if count.number}


@pytest.fixture
def run():
    return Run()


def test_a_run_in_which_all_was_well_is_clean(run):
    findings = run.check()
    assert findings.clean and numbers(findings) == {}
    assert (findings.operations, findings.acknowledged) == (40, 40)


def test_what_was_acknowledged_and_is_nowhere_is_lost_and_told_once(run):
    for kind in ("in", "row", "out", "message"):
        run.drop(kind, "k1/3")
    findings = run.check()
    assert numbers(findings) == {"lost": 1} and "k1/3" in findings.counts["lost"].examples[0]


@pytest.mark.parametrize("kind", ["row", "out", "message"])
def test_a_dropped_effect_is_stuck(run, kind):
    run.drop(kind, "k2/4")
    findings = run.check()
    assert numbers(findings) == {"stuck": 1} and findings.counts["stuck"].examples == [f"{kind} k2/4: 0 instead of 1"]


@pytest.mark.parametrize("kind", ["row", "out", "message"])
def test_a_doubled_effect_is_found(run, kind):
    run.observations.append(Observed(kind, "k0", "k0/8", "another one", 85))
    assert numbers(run.check()) == {"twice": 1}


def test_an_event_sent_again_under_its_id_is_one_effect(run):
    run.observations.append(Observed("out", "k0", "k0/2", "out-k0/2", 999))
    findings = run.check()
    assert findings.clean and findings.repeats == 1


@pytest.mark.parametrize("kind", ["row", "out"])
def test_a_swapped_order_is_found_once(run, kind):
    run.change(kind, "k3/2", at=30)
    run.change(kind, "k3/3", at=20)
    assert numbers(run.check()) == {"reordered": 1}


def test_one_that_came_too_late_is_found_against_all_it_overtook(run):
    run.change("row", "k3/1", at=75)        # behind 7, before 8
    assert numbers(run.check()) == {"reordered": 6}


def test_a_repeat_that_comes_late_is_no_reordering(run):
    run.observations.insert(0, Observed("out", "k0", "k0/2", "out-k0/2", 999))
    assert run.check().clean


def test_an_order_that_was_never_promised_is_not_asked_for(run):
    run.operations = [Operation(**{**vars(operation), "number": None}) for operation in run.operations]
    run.change("row", "k3/2", at=9999)
    assert run.check().clean


@pytest.mark.parametrize("answer,expected", [(UNKNOWN, {}), (REFUSED, {"nowhere": 1})])
def test_what_was_not_acknowledged_may_be_kept_unless_it_was_refused(run, answer, expected):
    run.answered("k4/4", answer)
    assert numbers(run.check()) == expected


def test_what_was_kept_without_an_answer_must_be_finished(run):
    run.answered("k4/4", UNKNOWN)
    run.drop("message", "k4/4")
    assert numbers(run.check()) == {"stuck": 1}


@pytest.mark.parametrize("answer", [UNKNOWN, REFUSED])
def test_what_was_not_kept_needs_no_effect(run, answer):
    run.answered("k4/4", answer)
    for kind in ("in", "row", "out", "message"):
        run.drop(kind, "k4/4")
    assert run.check().clean


def test_effects_of_what_was_never_kept_are_found(run):
    run.answered("k4/4", UNKNOWN)
    run.drop("in", "k4/4")
    assert numbers(run.check()) == {"nowhere": 3}


def test_what_nobody_sent_is_found(run):
    run.observations += [Observed("in", "k9", "k9/1", "event", 1), Observed("row", "k9", "k9/1", "row", 1)]
    assert numbers(run.check()) == {"nowhere": 2}


def test_what_cannot_be_had_is_counted_apart(run):
    run.observations.append(Observed("message", "k0", "k0/8", "another one", 85))
    run.observations.append(Observed("row", "k0", "k0/8", "another one", 85))
    findings = run.check(excuse=lambda expected, number: expected.kind == "message")
    assert numbers(findings) == {"twice": 1} and findings.excused.number == 1
    assert not run.check(excuse=lambda expected, number: False).clean


def test_the_report_names_every_count(run):
    run.drop("row", "k1/1")
    report = run.check().as_json()
    assert set(COUNTS) <= set(report) and not report["clean"]
    assert report["stuck"]["number"] == 1 and report["stuck"]["examples"] == ["row k1/1: 0 instead of 1"]
