"""The schemas, what is generated of them, and an independent validator: all three must say the same."""

import copy
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from daemons import BUILD
from jsonschema import Draft202012Validator, FormatChecker

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = ROOT / "schemas"
UUID = "886313e1-3b8a-5372-9b90-0c9aee199e5d"
ASTRAL = "\N{TELEPHONE RECEIVER}"       # one character, four bytes, two UTF-16 units
FORMATS = FormatChecker(["uuid", "date-time"])


@FORMATS.checks("uri")
def is_uri(value):
    """RFC 3986, appendix B, with a scheme and only the characters it allows; jsonschema brings no check of its own."""
    if not isinstance(value, str):
        return True
    match = re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:(//(?P<host>[^/?#]*))?(?P<path>[^?#]*)(\?(?P<query>[^#]*))?(#(?P<fragment>.*))?", value)
    allowed = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?{}-]|%[0-9A-Fa-f]{{2}})*"
    return bool(match) and all(re.fullmatch(allowed.format(r"\[\]" if part == "host" else ""), match[part] or "")
                               for part in ("host", "path", "query", "fragment"))


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


FILES = sorted([*SCHEMAS.glob("events/*.json"), *SCHEMAS.glob("answers/*.json"), *SCHEMAS.glob("requests/*.json"), SCHEMAS / "envelope.json"])
DOCUMENTS = {path.stem: read(path) for path in FILES}


# --- instances: one that is valid, and it with one thing changed --------------


def resolve(document, node):
    return document["$defs"][node["$ref"].rsplit("/", 1)[1]] if "$ref" in node else node


def kinds(node):
    types = node.get("type", ["string"])
    return [types] if isinstance(types, str) else types


def sample(document, node):
    """A valid value with every member present and as long as it may be, within reason."""
    node = resolve(document, node)
    if "enum" in node:
        return node["enum"][0]
    kind = [one for one in kinds(node) if one != "null"][0]
    if kind == "object":
        return {name: sample(document, member) for name, member in node.get("properties", {}).items()}
    if kind == "array":
        return [sample(document, node["items"])] * max(2, node.get("minItems", 0))
    if kind == "string":
        by_format = {"uuid": UUID, "date-time": "2026-11-21T06:29:49.123456+05:30", "uri": "https://example.com/a?b=c"}
        return by_format.get(node.get("format"), "x" * max(1, node.get("minLength", 0)))
    return {"boolean": True, "integer": max(node.get("minimum", 0), 0), "number": max(node.get("minimum", 0.25), 0.25)}[kind]


def texts(node):
    values = ["", "x", "caf\u00e9 \\ \" \n \u2028 " + ASTRAL, "null", UUID, UUID.upper(), UUID[:-1], UUID.replace("-", ""), "2026-11-21T06:29:49Z",
              "2026-11-21t06:29:49.1z", "2026-11-21", "2026-13-21T06:29:49Z", "2026-11-21T06:29:49", "2026-11-21T24:00:00Z",
              "a:", "http://x/%zz", "http://x/%41", "http://x/a b", "http://[::1]/", "http://x/[", "1a:b", "/x", "http://x/\u00e9", "a:b#c#d"]
    limit = node.get("maxLength", 0)
    if 0 < limit <= 70000:
        values += ["x" * limit, "x" * (limit + 1), ASTRAL * limit, ASTRAL * (limit + 1), "\u00e9" * limit + "x"]
    return values


def values_for(document, node):
    """Of each kind some; whether they are valid the validator decides."""
    values = [None, True, False, {}, [], [None], "x", 0, 1, -1, 2, 1.0, -0.0, 1.5, -1.5, 1e3, 1e-7, 2**31 - 1, 2**31, 2**53, -(2**53), 1e18]
    resolved = resolve(document, node)
    values += resolved.get("enum", [])
    named = [value for value in resolved.get("enum", []) if value is not None]
    values += [value.upper() for value in named] + [value + "x" for value in named]
    if "string" in kinds(resolved) and "enum" not in resolved:
        values += texts(resolved)
    if "array" in kinds(resolved):
        item, most = sample(document, resolved["items"]), resolved["maxItems"]
        values += [[item] * count for count in (0, 1, most, most + 1)]
    for limit in (resolved.get("minimum"), resolved.get("maximum")):
        if limit is not None:
            values += [limit, limit - 1, limit + 1, limit - 0.001, limit + 0.001]
    return values


def places(document, node, path=()):
    """Every member and item below a value, as (path, its schema)."""
    node = resolve(document, node)
    for name, member in node.get("properties", {}).items():
        yield (*path, name), member
        yield from places(document, member, (*path, name))
    if "items" in node:
        yield (*path, 1), node["items"]
        yield from places(document, node["items"], (*path, 1))


def changed(instance, path, change):
    """A copy in which `change(container, key)` was done to the place at `path`."""
    instance = copy.deepcopy(instance)
    at = instance
    for step in path[:-1]:
        at = at[step]
    change(at, path[-1])
    return instance


def put(value):
    return lambda container, key: container.__setitem__(key, value)


def instances(document):
    whole = sample(document, document)
    yield whole
    yield {name: value for name, value in whole.items() if name in document.get("required", [])}
    yield dict(reversed(whole.items()))
    yield from ([], None, 1, "x", {})
    for path, node in places(document, document):
        for value in values_for(document, node):
            yield changed(whole, path, put(value))
        if isinstance(path[-1], str):
            yield changed(whole, path, lambda container, key: container.pop(key))
            yield changed(whole, path, lambda container, key: container.__setitem__(key + "x", 1))
            yield changed(whole, path, lambda container, key: container.__setitem__("a/b~c " + ASTRAL, None))


# --- the readers -------------------------------------------------------------


@pytest.fixture(scope="session")
def record_check():
    def check(name, lines):
        """-> for each line of JSON: (True, it as written again) or (False, pointer, reason)"""
        answers = subprocess.run([BUILD / "tests" / "record_check"], input="".join(f"{name}\t{line}\n" for line in lines), encoding="utf-8",
                                 capture_output=True, check=True).stdout.split("\n")[:-1]
        assert len(answers) == len(lines)
        return [(True, answer[3:]) if answer.startswith("ok\t") else (False, *answer.split("\t", 2)[1:]) for answer in answers]

    return check


def pointer(steps):
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def pointers(error):
    """Where a reader may say that this error is: at a missing or unknown member it names the member itself."""
    if error.validator == "required":
        return {pointer([*error.absolute_path, name]) for name in error.validator_value if name not in error.instance}
    if error.validator == "additionalProperties":
        return {pointer([*error.absolute_path, name]) for name in error.instance if name not in error.schema["properties"]}
    return {pointer(error.absolute_path)}


def without_absent(node, value, document):
    """What is null where it may be left out is left out when it is written."""
    node = resolve(document, node)
    if isinstance(value, list):
        return [without_absent(node["items"], item, document) for item in value]
    if not isinstance(value, dict) or "properties" not in node:
        return value
    return {name: without_absent(node["properties"][name], member, document) for name, member in value.items()
            if name in node["properties"] and not (member is None and name not in node.get("required", []))}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_schema_is_valid(name):
    Draft202012Validator.check_schema(DOCUMENTS[name])


@pytest.mark.parametrize("name", DOCUMENTS)
def test_readers_agree_with_an_independent_validator(name, record_check):
    document = DOCUMENTS[name]
    validator = Draft202012Validator(document, format_checker=FORMATS)
    tried = list(instances(document))
    answers = record_check(name, [json.dumps(instance, ensure_ascii=index % 2 == 0) for index, instance in enumerate(tried)])
    count_valid = 0
    for instance, answer in zip(tried, answers):
        if name == "envelope" and answer[1:] == ("/subject", "must have at most 256 bytes, has 1024"):
            continue        # a Kafka key is bytes, which a schema cannot count
        errors = list(validator.iter_errors(instance))
        shown = json.dumps(instance)[:600]
        assert answer[0] == (not errors), f"{shown}: {answer} {[error.message[:200] for error in errors]}"
        if errors:
            assert answer[1] in set().union(*map(pointers, errors)), f"{shown}: {answer}"
            continue
        count_valid += 1
        again = json.loads(answer[1])
        if name != "envelope":
            assert again == without_absent(document, instance, document)
        assert not list(validator.iter_errors(again))
    assert 0 < count_valid < len(tried)


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name != "envelope"])
def test_a_member_given_twice_is_refused(name, record_check):
    whole = sample(DOCUMENTS[name], DOCUMENTS[name])
    members = [f"{json.dumps(key)}:{json.dumps(value)}" for key, value in whole.items()]
    lines = ["{" + ",".join([*members, member]) + "}" for member in members]
    assert record_check(name, lines) == [(False, f"/{key}", "is given twice") for key in whole]


# --- the generator -----------------------------------------------------------


def generate(folder, *arguments):
    return subprocess.run([sys.executable, folder / "generate.py", *arguments], capture_output=True, encoding="utf-8", check=False)


@pytest.fixture
def schemas(tmp_path):
    return shutil.copytree(SCHEMAS, tmp_path / "schemas", ignore=shutil.ignore_patterns("__pycache__"))


def member(change):
    """Changes the schema of call.recorded's duration_s."""
    return lambda document: document["properties"]["duration_s"].update(change)


REFUSED = {
    "a keyword": (member({"multipleOf": 2}), 'properties/duration_s: the keyword "multipleOf"'),
    "a keyword of another type": (member({"maxLength": 2}), 'the keyword "maxLength"'),
    "a misspelt keyword": (member({"minumum": 2}), 'the keyword "minumum"'),
    "a keyword at the root": (lambda document: document.update({"oneOf": []}), 'call.recorded.json#: the keyword "oneOf"'),
    "a format": (lambda document: document["properties"]["recording_url"].update({"format": "email"}), 'the format "email"'),
    "two types": (member({"type": ["integer", "string"]}), "the type must be one of"),
    "no type": (lambda document: document["properties"]["duration_s"].pop("type"), "the type must be one of"),
    "an enum of numbers": (lambda document: document["properties"].update({"x": {"type": "integer", "enum": [1]}}), "an enum must be of strings"),
    "an array without an end": (lambda document: document["properties"].update({"x": {"type": "array", "items": {"type": "string"}}}),
                                "an array needs maxItems"),
    "an object that is open": (lambda document: document.pop("additionalProperties"), "additionalProperties must be false"),
    "an object of our own that is open": (lambda document: document.update({"additionalProperties": True}), "additionalProperties must be false"),
    "a required member without schema": (lambda document: document["required"].append("x"), '"x" is required and not a property'),
    "a name C cannot have": (lambda document: document["properties"].update({"default": {"type": "boolean"}}), '"default" cannot be a name'),
    "a reference to nothing": (lambda document: document["properties"].update({"x": {"$ref": "#/$defs/x"}}), 'there is no "#/$defs/x"'),
    "another title": (lambda document: document.update({"title": "call.recordet"}), "the title must be the file's name"),
    "a limit beyond doubles": (member({"maximum": 2**60}), "is no limit"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_generator_refuses_schemas_it_cannot_hold_data_to(what, schemas, tmp_path):
    change, reason = REFUSED[what]
    path = schemas / "events" / "call.recorded.json"
    document = read(path)
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")
    result = generate(schemas, tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert reason in result.stderr and "Traceback" not in result.stderr


def topic_change(path, change):
    document = read(path / "topics.json")
    change(document)
    (path / "topics.json").write_text(json.dumps(document), encoding="utf-8")


BROKEN = {
    "a name given twice": (lambda path: (path / "events/call.recorded.json").write_text('{"title":"a","title":"a"}'), '"title" is given twice'),
    "no JSON": (lambda path: (path / "events/call.recorded.json").write_text("{"), "generate.py: "),
    "a gap in the migrations": (lambda path: (path / "postgres/0002_companies.sql").unlink(), "the number must be 0002"),
    "a number twice": (lambda path: (path / "postgres/0002_more.sql").write_text("SELECT 1;"), "the number must be 0003"),
    "a migration without a number": (lambda path: (path / "postgres/more.sql").write_text(""), 'like "0001_what_it_does.sql"'),
    "a type no topic carries": (lambda path: topic_change(path, lambda topics: topics["topics"][0].update({"types": []})), "no topic carries"),
    "a type on two topics": (lambda path: topic_change(path, lambda topics: topics["topics"][0]["types"].append("call.recorded")),
                             "carried by more than one topic"),
    "a type without schema": (lambda path: (path / "events/call.recorded.json").unlink(), "which has no schema"),
    "a topic twice": (lambda path: topic_change(path, lambda topics: topics["topics"].append(topics["topics"][0])), "is given twice"),
    "a writer that is no stage": (lambda path: topic_change(path, lambda topics: topics["topics"][0].update({"writer": "x"})), "which is no stage"),
    "a stage that reads no topic": (lambda path: topic_change(path, lambda topics: topics["stages"][0]["reads"].append("x")), "which is no topic"),
    "partitions that differ": (lambda path: topic_change(path, lambda topics: topics["topics"][0].update({"partitions": 3})), "one partition count"),
    "a setting twice": (lambda path: (path / "settings.json").write_text('{"settings":[{"name":"A"},{"name":"A"}]}'), "a name is given twice"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_generator_refuses_what_does_not_fit_together(what, schemas, tmp_path):
    change, reason = BROKEN[what]
    change(schemas)
    result = generate(schemas, tmp_path)
    assert result.returncode == 1
    assert reason in result.stderr and "Traceback" not in result.stderr


def test_asyncapi_is_current():
    result = generate(SCHEMAS, "--asyncapi")
    assert result.returncode == 0, result.stderr
    assert result.stdout == (SCHEMAS / "asyncapi.yaml").read_text(encoding="utf-8"), "run: schemas/generate.py --asyncapi > schemas/asyncapi.yaml"


def references(node):
    if isinstance(node, dict):
        yield from ([node["$ref"]] if "$ref" in node else [])
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else []:
        yield from references(child)


def test_asyncapi_names_everything():
    document = yaml.safe_load((SCHEMAS / "asyncapi.yaml").read_text(encoding="utf-8"))
    topics = read(SCHEMAS / "topics.json")
    assert document["asyncapi"] == "3.0.0"
    assert {topic["name"] for topic in topics["topics"]} <= set(document["channels"])
    assert {f"dead.{stage['name']}" for stage in topics["stages"]} <= set(document["channels"])
    assert set(document["components"]["messages"]) == {path.stem for path in SCHEMAS.glob("events/*.json")}
    assert "transcribe.receive.calls" in document["operations"] and "ingest.send.calls" in document["operations"]
    for reference in references(document):
        if reference.startswith("#/"):
            at = document
            for step in reference[2:].split("/"):
                at = at[step]
        else:
            assert (SCHEMAS / reference).exists()


def test_ranks_are_the_same_in_the_database():
    """An ordered list of the schemas is the same list in the database, in a function of the same name.  It has others of its own."""
    migrations = "\n".join(path.read_text(encoding="utf-8") for path in sorted(SCHEMAS.glob("postgres/*.sql")))
    in_database = {name: re.findall(r"'([^']*)'", values)
                   for name, values in re.findall(r"FUNCTION (\w+)_rank\(.*?array_position\(ARRAY\[(.*?)\]", migrations, re.DOTALL)}
    in_schemas = {name: node["enum"] for document in DOCUMENTS.values() for name, node in document.get("$defs", {}).items()}
    assert in_schemas and {name: in_database.get(name) for name in in_schemas} == in_schemas
