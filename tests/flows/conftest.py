"""What the flow tests stand on: one Kafka and one Postgres for the run, daemons and topics for each test.

Every event seen in a run is held to its schema by an independent validator when the run ends."""

import json
import sys
import uuid
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from daemons import Daemon, Topics, event, migrated  # noqa: E402
from environment import ROOT, Environment  # noqa: E402
from jsonschema import Draft202012Validator, FormatChecker  # noqa: E402


@pytest.fixture(scope="session")
def environment():
    environment = Environment()
    yield environment
    environment.close()


@pytest.fixture(scope="session")
def topics(environment):
    topics = Topics(environment.brokers)
    yield topics
    topics.close()
    hold_to_schemas(topics)


@pytest.fixture(scope="session")
def schema_ready(environment, topics, tmp_path_factory):
    return migrated(environment, tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def database(schema_ready):
    """Of a module, since the tests of another one may start Postgres anew."""
    with schema_ready.connect() as connection:
        yield connection


@pytest.fixture
def daemon(schema_ready, tmp_path):
    """Starts a daemon: daemon("transcribe", TRANSCRIBE_WITH="local").  All end with the test."""
    started = []

    def start(name, **settings):
        started.append(Daemon(name, schema_ready, tmp_path, **settings))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.kill()


@pytest.fixture
def key():
    """A conversation of this test's own."""
    return "conversation-" + uuid.uuid4().hex[:12]


def pytest_itemcollected(item):
    """Schemathesis gives the tests of all operations the same id, by which pytest-xdist would run one of them."""
    item._id = item.parent.id.child(item.name)


def validators():
    folders = [ROOT / "schemas" / "events", ROOT / "tests" / "stage" / "schemas" / "events"]
    return {path.stem: Draft202012Validator(json.loads(path.read_text()), format_checker=FormatChecker())
            for folder in folders for path in folder.glob("*.json")}


ENVELOPE = Draft202012Validator(json.loads((ROOT / "schemas" / "envelope.json").read_text()), format_checker=FormatChecker())


SOURCES = {"/ingest", "/transcribe", "/analyze", "/notifier", "/echo"}


def hold_to_schemas(topics):
    """Every event our daemons sent: its envelope, its data, its topic's type.  What tests sent themselves is left out."""
    data, wrong = validators(), []
    allowed = json.loads((ROOT / "schemas" / "topics.json").read_text())
    types = {topic["name"]: topic["types"] for topic in allowed["topics"]}
    for topic, _, offset, _, found in topics.records:
        ours = isinstance(found, dict) and found.get("source") in SOURCES
        if not ours or topic.startswith("replay."):
            continue
        errors = [error.message for error in ENVELOPE.iter_errors(found)]
        of_type = data.get(found.get("type"))
        errors += [f"{error.json_path}: {error.message}" for error in of_type.iter_errors(found["data"])] if of_type else ["unknown type"]
        if topic in types and found.get("type") not in types[topic]:
            errors.append("this type does not belong on this topic")
        if errors:
            wrong.append(f"{topic}@{offset} {found.get('type')}: {errors}")
    assert not wrong, "events that do not hold to their schemas:\n" + "\n".join(wrong[:20])


__all__ = ["event"]
