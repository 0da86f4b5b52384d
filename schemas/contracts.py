"""The contracts in this folder as they are read: schemas as records, and the map of topics.  generate.py writes of them.

Every JSON Schema keyword is either turned into something that is checked or refused here, by name: a schema never says more than
the program holds data to.
"""

import dataclasses
import json
import math
import pathlib
import re

HERE = pathlib.Path(__file__).resolve().parent
FOLDERS = [HERE]                # and the one with more
STRING_LENGTH_MAX = 65536       # what may be longer is a `struct text`, unless its format keeps it short
FIELDS_MAX = 64                 # RECORD_FIELDS_MAX of common/record.h
EXACT_MAX = 2**53               # limits are doubles

C_KEYWORDS = set("""auto break case char const continue default do double else enum extern float for goto if inline int long register
restrict return short signed sizeof static struct switch typedef union unsigned void volatile while bool true false""".split())
ABOUT_KEYWORDS = {"description"}
KIND_KEYWORDS = {
    "string": {"minLength", "maxLength", "format"},
    "integer": {"minimum", "maximum"},
    "number": {"minimum", "maximum"},
    "boolean": set(),
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "minItems", "maxItems"},
}
FORMATS = {None: "RECORD_ANY", "uuid": "RECORD_UUID", "date-time": "RECORD_DATE_TIME", "uri": "RECORD_URI"}
LIMITS = {
    "string": ("minLength", "maxLength"),
    "integer": ("minimum", "maximum"),
    "number": ("minimum", "maximum"),
    "array": ("minItems", "maxItems"),
}


class SchemaError(Exception):
    """Something a schema, a topic map or a folder of migrations must not say."""


# --- schemas, as records -----------------------------------------------------


@dataclasses.dataclass
class Field:
    name: str | None            # None: an array's item
    kind: str                   # string, text, integer, number, boolean, object, array
    required: bool
    nullable: bool
    about: str = ""
    least: float = -math.inf
    most: float = math.inf
    format: str | None = None
    choices: "Choices | None" = None
    record: "Record | None" = None
    item: "Field | None" = None

    @property
    def absentable(self):
        return self.nullable or not self.required


@dataclasses.dataclass
class Choices:
    c_name: str
    values: list[str]


@dataclasses.dataclass
class Record:
    c_name: str
    about: str
    fields: list[Field]
    open: bool = False          # members it does not name are passed over


@dataclasses.dataclass
class Schema:
    """One file: its records, innermost first, and its enums."""
    name: str
    about: str
    document: dict
    records: list[Record] = dataclasses.field(default_factory=list)
    choices: dict[str, Choices] = dataclasses.field(default_factory=dict)
    ranks: list[str] = dataclasses.field(default_factory=list)

    @property
    def c_name(self):
        return self.name.replace(".", "_")


class SchemaReader:
    def __init__(self, path):
        self.path = path
        self.document = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=self.without_duplicates)
        self.schema = Schema(path.stem, self.document.get("description", ""), self.document)
        if self.document.get("title") != path.stem:
            self.refuse("", f'the title must be the file\'s name, "{path.stem}"')
        root = {key: value for key, value in self.document.items() if key not in ("$schema", "title", "$defs")}
        self.read_defs()
        if self.read_field(root, self.schema.c_name, None, True, "").kind != "object":
            self.refuse("", "the type must be object")

    def refuse(self, where, why):
        raise SchemaError(f"{self.path.name}#{where}: {why}")

    def without_duplicates(self, pairs):
        names = [name for name, _ in pairs]
        for name in names:
            if names.count(name) > 1:
                self.refuse("", f'"{name}" is given twice')
        return dict(pairs)

    def read_defs(self):
        for name, value in self.document.get("$defs", {}).items():
            where = f"/$defs/{name}"
            self.check_name(name, where)
            if not self.is_strings(value.get("enum")) or value.get("x-ordered") is not True:
                self.refuse(where, "a $def must be an enum of strings with x-ordered true")
            self.check_keywords(value, {"enum", "x-ordered"}, where)
            self.schema.choices[name] = Choices(f"{name}_choices", value["enum"])
            self.schema.ranks.append(name)

    @staticmethod
    def is_strings(value):
        return isinstance(value, list) and value and all(isinstance(one, str) for one in value) and len(set(value)) == len(value)

    def check_name(self, name, where):
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in C_KEYWORDS:
            self.refuse(where, f'"{name}" cannot be a name in C')

    def check_keywords(self, node, known, where):
        for keyword in node:
            if keyword not in known | ABOUT_KEYWORDS:
                self.refuse(where, f'the keyword "{keyword}" is not one this generator can hold data to')

    def kind_of(self, node, where):
        """-> (kind, nullable, enum or None)"""
        types = node.get("type", ["string", "null"] if "enum" in node else [])
        types = [types] if isinstance(types, str) else list(types)
        enum = node.get("enum")
        nullable = "null" in types and (enum is None or None in enum)
        kinds = [one for one in types if one != "null"]
        if len(kinds) != 1 or kinds[0] not in KIND_KEYWORDS:
            self.refuse(where, f'the type must be one of {", ".join(KIND_KEYWORDS)}, or that and null')
        if enum is not None:
            enum = [one for one in enum if one is not None]
            if kinds[0] != "string" or not self.is_strings(enum):
                self.refuse(where, "an enum must be of strings")
        return kinds[0], nullable, enum

    def read_reference(self, node, name, required, where):
        self.check_keywords(node, {"$ref"}, where)
        target = node["$ref"].removeprefix("#/$defs/")
        if target not in self.schema.choices:
            self.refuse(where, f'there is no "{node["$ref"]}"')
        about = node.get("description", self.document["$defs"][target].get("description", ""))
        return Field(name, "string", required, False, about, choices=self.schema.choices[target])

    def read_field(self, node, c_name, name, required, where):
        """`c_name` is that of the struct this value becomes, should it be an object."""
        if "$ref" in node:
            return self.read_reference(node, name, required, where)
        kind, nullable, enum = self.kind_of(node, where)
        known = KIND_KEYWORDS[kind] | {"type"} if enum is None else {"type", "enum"}
        self.check_keywords(node, known, where)
        field = Field(name, kind, required, nullable, node.get("description", ""))
        if enum is not None:
            field.choices = self.schema.choices[c_name] = Choices(f"{c_name}_choices", enum)
        self.read_limits(node, field, where)
        if kind == "object":
            field.record = self.read_object(node, c_name, where)
        if kind == "array":
            field.item = self.read_items(node, c_name, where)
        return field

    def read_limits(self, node, field, where):
        if field.kind not in LIMITS:
            return
        least, most = (node.get(keyword) for keyword in LIMITS[field.kind])
        for limit in (least, most):
            if limit is not None and (isinstance(limit, bool) or not isinstance(limit, (int, float)) or abs(limit) > EXACT_MAX):
                self.refuse(where, f"{limit} is no limit")
        field.least = -math.inf if least is None else least
        field.most = math.inf if most is None else most
        if field.kind == "array" and most is None:
            self.refuse(where, "an array needs maxItems")
        if field.kind != "string" or field.choices:
            return
        field.format = node.get("format")
        if field.format not in FORMATS:
            self.refuse(where, f'the format "{field.format}" is not one this generator can hold data to')
        if field.most > STRING_LENGTH_MAX and not field.format:
            field.kind = "text"

    def read_items(self, node, c_name, where):
        if "items" not in node:
            self.refuse(where, "an array needs items")
        item = self.read_field(node["items"], c_name, None, True, where + "/items")
        if item.nullable or item.kind in ("array", "text"):
            self.refuse(where + "/items", "an item must not be null, an array, or a string without a limit")
        return item

    def read_object(self, node, c_name, where):
        """What others say may hold more than we know; what we say ourselves must not."""
        is_open = node.get("additionalProperties") is True and self.path.parent.name == "answers"
        if node.get("additionalProperties") is not False and not is_open:
            self.refuse(where, "additionalProperties must be false")
        members, required = node.get("properties", {}), node.get("required", [])
        for name in required:
            if name not in members:
                self.refuse(where, f'"{name}" is required and not a property')
        if not 1 <= len(members) <= FIELDS_MAX:
            self.refuse(where, f"an object needs 1 to {FIELDS_MAX} properties")
        fields = []
        for name, member in members.items():
            at = f"{where}/properties/{name}"
            self.check_name(name, at)
            fields.append(self.read_field(member, f"{c_name}_{name}", name, name in required, at))
        record = Record(c_name, node.get("description", ""), fields, is_open)
        self.schema.records.append(record)
        return record


def read_schemas(folder):
    paths = [path for above in FOLDERS for path in (above / folder).glob("*.json")]
    return [SchemaReader(path).schema for path in sorted(paths, key=lambda path: path.name)]


# --- topics ------------------------------------------------------------------


def read_topics():
    """-> (map, every topic): those of each stage are written out, dead.*, replay.* and due.* of all stages behind the rest."""
    topic_map = json.loads((HERE / "topics.json").read_text(encoding="utf-8"))
    for above in FOLDERS[1:]:
        more = json.loads((above / "topics.json").read_text(encoding="utf-8"))
        topic_map["topics"] += more["topics"]
        topic_map["stages"] += more["stages"]
    topics = [dict(topic) for topic in topic_map["topics"]]
    for pattern in topic_map["per_stage"]:
        for stage in topic_map["stages"]:
            topics.append(dict(pattern, name=pattern["name"] + stage["name"], writer=stage["name"], per_stage=pattern["name"]))
    names = [topic["name"] for topic in topics]
    stages = {stage["name"] for stage in topic_map["stages"]}
    for topic in topics:
        topic.setdefault("partitions", topic_map["partitions"])
        if names.count(topic["name"]) > 1:
            raise SchemaError(f'topics.json: "{topic["name"]}" is given twice')
        if topic["writer"] not in stages:
            raise SchemaError(f'topics.json: "{topic["name"]}" is written by "{topic["writer"]}", which is no stage')
    check_reads(topic_map, topics)
    return topic_map, topics


def check_reads(topic_map, topics):
    by_name = {topic["name"]: topic for topic in topics}
    for stage in topic_map["stages"]:
        stage["reads"] = stage["reads"] + [f"replay.{stage['name']}"]
        for name in stage["reads"]:
            if name not in by_name:
                raise SchemaError(f'topics.json: "{stage["name"]}" reads "{name}", which is no topic')
        if len({by_name[name]["partitions"] for name in stage["reads"]}) > 1:
            raise SchemaError(f'topics.json: the topics "{stage["name"]}" reads must have one partition count')


def check_types(topics, events):
    names = {schema.name for schema in events}
    for topic in topics:
        for name in topic["types"]:
            if name not in names:
                raise SchemaError(f'topics.json: "{topic["name"]}" carries "{name}", which has no schema')


def retention_ms(topic):
    return topic["retention_days"] * 24 * 3600 * 1000
