"""Makes C of the contracts in this folder.

    generate.py OUTDIR [MORE]   events.h .c, answers.h .c, requests.h .c, topics.h .c, migrations.c, settings_known.c, openapi.c; MORE is
                                a folder with topics.json and events/ of its own, added to these (the runtime's own tests have a stage)
    generate.py --asyncapi      prints asyncapi.yaml

Every JSON Schema keyword is either turned into something that is checked or refused here, by name: a schema never says more than
the program holds data to.  The generated tables are read by common/record.c; common/event.h and common/postgres.h declare the rest.
"""

import dataclasses
import hashlib
import json
import math
import pathlib
import re
import sys

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


# --- C -----------------------------------------------------------------------

GENERATED = "/* Generated by schemas/generate.py from {}. */\n"


def c_string(text):
    """A C literal; three-digit octal escapes, so that no digit after one is taken for part of it."""
    plain = {'"': '\\"', "\\": "\\\\", "\n": "\\n"}
    # "??" would be a trigraph
    return '"' + "".join(plain.get(c) or (c if " " <= c <= "~" and c != "?" else octal(c)) for c in text) + '"'


def octal(character):
    return "".join(f"\\{byte:03o}" for byte in character.encode())


def c_lines(text, width):
    """A long text as adjacent literals: whole lines where it has them, pieces of `width` where it has none."""
    pieces = [line[at:at + width] for line in text.splitlines(keepends=True) for at in range(0, len(line), width)]
    return "\n".join("    " + c_string(piece) for piece in pieces) or '    ""'


def c_comment(text):
    return text.replace("*/", "* /")


def c_number(number):
    return ("INFINITY" if number > 0 else "-INFINITY") if math.isinf(number) else repr(number)


SCALARS = {"integer": "int64_t ", "number": "double ", "boolean": "bool ", "string": "const char *", "text": "struct text "}


def struct_members(field):
    about = []
    if field.absentable and field.kind in ("string", "text", "object", "array"):
        about.append("may be NULL")
    if field.choices:
        about.append(", ".join(field.choices.values))
    if field.about:
        about.append(field.about)
    comment = f"  /* {c_comment('; '.join(about))} */" if about else ""
    if field.kind in SCALARS:
        lines = [f"{SCALARS[field.kind]}{field.name};{comment}"]
        if field.absentable and field.kind in ("integer", "number", "boolean"):
            lines.append(f"bool has_{field.name};")
    elif field.kind == "object":
        lines = [f"struct {field.record.c_name} {'*' if field.absentable else ''}{field.name};{comment}"]
    else:
        item = f"struct {field.item.record.c_name} " if field.item.record else SCALARS[field.item.kind]
        lines = [f"{item}*{field.name};{comment}", f"size_t {field.name}_count;"]
    return lines


def struct_text(record, about):
    lines = [f"/* {c_comment(about)} */"] if about else []
    lines += [f"struct {record.c_name} {{"]
    lines += ["    " + line for field in record.fields for line in struct_members(field)]
    return "\n".join(lines + ["};\n"])


def beside(record, field):
    if field.kind == "array":
        return f"AT({record.c_name}, {field.name}_count)"
    if field.absentable and field.kind in ("integer", "number", "boolean"):
        return f"AT({record.c_name}, has_{field.name})"
    return "0"


def row_text(record, field, c_name):
    flags = [flag for flag, on in (("RECORD_REQUIRED", field.required), ("RECORD_NULLABLE", field.nullable)) if on]
    return ", ".join([
        c_string(field.name) if field.name else "NULL",
        f"RECORD_{field.kind.upper()}",
        " | ".join(flags) or "0",
        f"AT({record.c_name}, {field.name})" if field.name else "0",
        beside(record, field) if field.name else "0",
        c_number(field.least),
        c_number(field.most),
        FORMATS[field.format],
        field.choices.c_name if field.choices else "NULL",
        f"&{field.record.c_name}_record" if field.record else "NULL",
        f"&{c_name}_item" if field.item else "NULL",
    ])


def record_table(record):
    lines = []
    for field in record.fields:
        if field.item:
            c_name = f"{record.c_name}_{field.name}"
            row = row_text(record, field.item, c_name)
            lines.append(f"static const struct record_field {c_name}_item = {{ {row} }};")
    lines.append(f"static const struct record_field {record.c_name}_fields[] = {{")
    lines += [f"    {{ {row_text(record, field, f'{record.c_name}_{field.name}')} }}," for field in record.fields]
    lines.append("};")
    lines.append(f"static const struct record {record.c_name}_record = {{ sizeof(struct {record.c_name}), {record.c_name}_fields, "
                 f"LENGTH({record.c_name}_fields), {'true' if record.open else 'false'} }};\n")
    return "\n".join(lines)


def choices_text(schemas):
    tables = {}
    for schema in schemas:
        for choices in schema.choices.values():
            if tables.setdefault(choices.c_name, choices.values) != choices.values:
                raise SchemaError(f'{schema.name}: "{choices.c_name}" is another list elsewhere')
    return "\n".join(f"static const char *const {name}[] = {{ {', '.join(map(c_string, values))}, NULL }};"
                     for name, values in tables.items()) + "\n"


def rank_names(schemas):
    return sorted({name for schema in schemas for name in schema.ranks})


def records_header(schemas, folder, include):
    parts = [GENERATED.format(f"schemas/{folder}/"), "#pragma once\n", f'#include "{include}"\n']
    for schema in schemas:
        for record in schema.records:
            about = schema.about if record.c_name == schema.c_name else record.about
            parts.append(struct_text(record, f"{schema.name}: {about}" if record.c_name == schema.c_name else about))
        name = schema.c_name
        parts.append(f"bool {name}_read(struct text json, struct arena *arena, struct {name} *ret, struct problem *why);\n"
                     f"void {name}_write(struct buf *out, const struct {name} *data);\n")
    return parts


def records_code(schemas, folder):
    parts = [GENERATED.format(f"schemas/{folder}/"),
             f'#include "{folder}.h"\n\n#include <math.h>\n\n#include "common/record.h"\n',
             "#define AT(record, member) offsetof(struct record, member)\n",
             choices_text(schemas)]
    for schema in schemas:
        name = schema.c_name
        parts += [record_table(record) for record in schema.records]
        parts.append(f"bool {name}_read(struct text json, struct arena *arena, struct {name} *ret, struct problem *why)\n{{\n"
                     f"    return record_read(json, &{name}_record, arena, ret, why);\n}}\n")
        parts.append(f"void {name}_write(struct buf *out, const struct {name} *data)\n{{\n"
                     f"    record_write(out, &{name}_record, data);\n}}\n")
    return parts


# --- events ------------------------------------------------------------------


def events_header(schemas):
    parts = records_header(schemas, "events", "common/event.h")
    parts.append("\n".join(f"extern const struct event_type EVENT_{schema.c_name.upper()};" for schema in schemas) + "\n")
    ranks = "\n".join(f"int {name}_rank(const char *value);" for name in rank_names(schemas))
    parts.append(f"/* Where a value stands in its ordered list, from 0; -1: not in it, or NULL. */\n{ranks}\n")
    return "\n".join(parts)


def event_topic(schema, topics):
    """-> its topic and, when each stage has one of its own for it, how their names begin; in C"""
    carriers = [number for number, topic in enumerate(topics) if schema.name in topic["types"]]
    if not carriers:
        raise SchemaError(f'topics.json: no topic carries "{schema.name}"')
    per_stage = {topics[number].get("per_stage") for number in carriers}
    if per_stage == {None} and len(carriers) == 1:
        return f"&topics[{carriers[0]}]", "NULL"
    if len(per_stage) > 1 or None in per_stage:
        raise SchemaError(f'topics.json: "{schema.name}" is carried by more than one topic')
    return "NULL", c_string(per_stage.pop())


def event_type_code(schema, topics):
    name = schema.c_name
    topic, per_stage = event_topic(schema, topics)
    return (f"static void {name}_write_any(struct buf *out, const void *data)\n{{\n"
            f"    record_write(out, &{name}_record, data);\n}}\n\n"
            f"static bool {name}_check(struct text json, struct problem *why)\n{{\n"
            f"    return record_check(json, &{name}_record, why);\n}}\n\n"
            f"const struct event_type EVENT_{name.upper()} = {{\n"
            f'    "{schema.name}", {topic}, {per_stage}, "/schemas/events/{schema.name}.json", {name}_write_any, {name}_check,\n'
            f"}};\n")


def events_code(schemas, topics):
    parts = records_code(schemas, "events")
    parts += [event_type_code(schema, topics) for schema in schemas]
    listed = "\n".join(f"    &EVENT_{schema.c_name.upper()}," for schema in schemas)
    parts.append(f"const struct event_type *const event_types[] = {{\n{listed}\n    NULL,\n}};\n")
    for name in rank_names(schemas):
        parts.append(f"int {name}_rank(const char *value)\n{{\n    return record_rank({name}_choices, value);\n}}\n")
    return "\n".join(parts)


# --- answers -----------------------------------------------------------------


def answers_header(schemas):
    for schema in schemas:
        if schema.ranks:
            raise SchemaError(f"{schema.name}: answers have no ordered lists")
    texts = "\n".join(f"extern const char {schema.c_name}_schema[];" for schema in schemas)
    prompts = "\n".join(f"extern const char {name}_prompt[], {name}_prompt_version[];" for name in read_prompts())
    include = 'common/arena.h"\n#include "common/buf.h'
    return "\n".join(records_header(schemas, "answers", include) + [f"/* The schemas themselves, for the model. */\n{texts}\n",
                                                                   f"/* Prompts: the newest version of each, and which it is. */\n{prompts}\n"])


def for_model(node):
    """The schema without what models' servers refuse; we hold the answer to the whole of it."""
    if isinstance(node, list):
        return [for_model(item) for item in node]
    if isinstance(node, dict):
        return {key: for_model(value) for key, value in node.items() if key not in ("$schema", "title", "minLength", "maxLength")}
    return node


def read_prompts():
    """-> name: (version, text) of the prompts of all stages, <stage>/prompts/<name>.v<number>.txt; the highest number counts."""
    prompts = {}
    for path in sorted(HERE.parent.glob("*/prompts/*.txt")):
        match = re.fullmatch(r"([a-z][a-z0-9_]*)\.v([1-9][0-9]*)\.txt", path.name)
        if not match:
            raise SchemaError(f'{path.name}: the name of a prompt must be like "what_for.v1.txt"')
        if int(match[2]) > prompts.get(match[1], (0, ""))[0]:
            prompts[match[1]] = (int(match[2]), path.read_text(encoding="utf-8"))
    return prompts


def answers_code(schemas):
    parts = records_code(schemas, "answers")
    for name, (version, text) in read_prompts().items():
        parts.append(f"const char {name}_prompt[] =\n{c_lines(text, 100)};\n"
                     f"const char {name}_prompt_version[] = \"{name}.v{version}\";\n")
    for schema in schemas:
        document = for_model(schema.document)
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        parts.append(f"const char {schema.c_name}_schema[] =\n{c_lines(text, 100)};\n")
    return "\n".join(parts)


# --- requests ----------------------------------------------------------------


def requests_header(schemas):
    for schema in schemas:
        if schema.ranks:
            raise SchemaError(f"{schema.name}: requests have no ordered lists")
    return "\n".join(records_header(schemas, "requests", 'common/arena.h"\n#include "common/buf.h'))


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


TOPICS_HEADER = """#pragma once

#include "common/event.h"

/* The topics each stage reads, replay.<stage> the last; both lists end with NULL. */
struct stage_topics {
    const char *stage;
    const char *const *reads;
};
extern const struct stage_topics stage_topics[];
"""


def topics_header():
    return GENERATED.format("schemas/topics.json") + TOPICS_HEADER


def topics_code(topic_map, topics):
    rows = "\n".join(f"    {{ {c_string(topic['name'])}, {c_string(topic['writer'])}, {topic['partitions']}, "
                     f"INT64_C({retention_ms(topic)}), {topic['message_bytes_max']} }}," for topic in topics)
    reads = "\n".join(f"static const char *const {stage['name']}_reads[] = {{ {', '.join(map(c_string, stage['reads']))}, NULL }};"
                      for stage in topic_map["stages"])
    stages = "\n".join(f"    {{ {c_string(stage['name'])}, {stage['name']}_reads }}," for stage in topic_map["stages"])
    return (GENERATED.format("schemas/topics.json") + '#include "topics.h"\n\n'
            f"const struct topic topics[] = {{\n{rows}\n    {{ .name = NULL }},\n}};\n\n{reads}\n\n"
            f"const struct stage_topics stage_topics[] = {{\n{stages}\n    {{ .stage = NULL }},\n}};\n")


# --- migrations and settings -------------------------------------------------


def migrations_code():
    rows = []
    for number, path in enumerate(sorted((HERE / "postgres").glob("*.sql")), start=1):
        match = re.fullmatch(r"(\d{4})_([a-z0-9_]+)", path.stem)
        if not match:
            raise SchemaError(f'postgres/{path.name}: the name must be like "0001_what_it_does.sql"')
        if int(match[1]) != number:
            raise SchemaError(f"postgres/{path.name}: the number must be {number:04}: no gaps, no duplicates")
        text = path.read_text(encoding="utf-8")
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        rows.append(f'    {{ {number}, "{match[2]}",\n{c_lines(text, 200)},\n    "{sha256}" }},')
    body = "\n".join(rows)
    return (GENERATED.format("schemas/postgres/") + '#include "common/postgres.h"\n\n'
            f"const struct migration migrations[] = {{\n{body}\n    {{ .number = 0 }},\n}};\n")


SETTINGS_DECLARATIONS = """/* Every daemon's setting names, NULL at the end, and beside each a remark or NULL. */
extern const char *const settings_known[];
extern const char *const settings_remarks[];
"""


def settings_code():
    path = HERE / "settings.json"
    settings = json.loads(path.read_text(encoding="utf-8"))["settings"] if path.exists() else []
    names = [setting["name"] for setting in settings]
    if len(set(names)) != len(names):
        raise SchemaError("settings.json: a name is given twice")
    known = "\n".join(f"    {c_string(name)}," for name in names)
    remarks = "\n".join(f"    {c_string(setting['remark']) if setting.get('remark') else 'NULL'}," for setting in settings)
    return (GENERATED.format("schemas/settings.json") + f"#include <stddef.h>\n\n{SETTINGS_DECLARATIONS}\n"
            f"const char *const settings_known[] = {{\n{known}\n    NULL,\n}};\n\n"
            f"const char *const settings_remarks[] = {{\n{remarks}\n    NULL,\n}};\n")


# --- OpenAPI -----------------------------------------------------------------


def openapi_code():
    text = (HERE / "openapi.yaml").read_text(encoding="utf-8")
    return (GENERATED.format("schemas/openapi.yaml") + "extern const char openapi_yaml[];\n"
            f"const char openapi_yaml[] =\n{c_lines(text, 200)};\n")


# --- AsyncAPI ----------------------------------------------------------------

ABOUT = ("Events between the stages of Switchboard: CloudEvents 1.0, structured JSON, one line a message, keyed by the conversation. "
         "Whoever reads an event can rely on the rows it speaks of; each takes effect once. "
         "States are ordered lists in the schemas and only move forward.")


def asyncapi():
    events = read_schemas("events")
    topic_map, topics = read_topics()
    check_types(topics, events)
    types_read = {}
    for stage in topic_map["stages"]:
        of_stage = [topic for topic in topics if topic["name"] in stage["reads"]]
        types_read[f"replay.{stage['name']}"] = [name for topic in of_stage for name in topic["types"]]
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Switchboard", "version": "1.0.0", "description": ABOUT},
        "defaultContentType": "application/cloudevents+json",
        "channels": {topic["name"]: asyncapi_channel(topic, topic["types"] or types_read.get(topic["name"], [])) for topic in topics},
        "operations": asyncapi_operations(topic_map, topics),
        "components": {"messages": {schema.name: asyncapi_message(schema) for schema in events}},
    }


def asyncapi_channel(topic, types):
    channel = {"address": topic["name"], "description": topic["about"]}
    if types:
        channel["messages"] = {name: {"$ref": f"#/components/messages/{name}"} for name in types}
    configuration = {"retention.ms": retention_ms(topic), "max.message.bytes": topic["message_bytes_max"]}
    channel["bindings"] = {"kafka": {"partitions": topic["partitions"], "topicConfiguration": configuration, "bindingVersion": "0.5.0"}}
    return channel


def asyncapi_operations(topic_map, topics):
    operations = {}
    for stage in topic_map["stages"]:
        name = stage["name"]
        for action, listed in (("receive", stage["reads"]), ("send", [topic["name"] for topic in topics if topic["writer"] == name])):
            for topic in listed:
                operations[f"{name}.{action}.{topic}"] = {"action": action, "channel": {"$ref": f"#/channels/{topic}"}}
    return operations


def asyncapi_message(schema):
    about = {"type": {"const": schema.name}, "data": {"$ref": f"./events/{schema.name}.json"}}
    return {
        "name": schema.name,
        "summary": schema.about,
        "contentType": "application/cloudevents+json",
        "payload": {"allOf": [{"$ref": "./envelope.json"}, {"properties": about}]},
        "bindings": {"kafka": {"key": {"type": "string", "description": "the event's subject"}, "bindingVersion": "0.5.0"}},
    }


def yaml_scalar(value):
    if isinstance(value, str) and re.fullmatch(r"[$A-Za-z][A-Za-z0-9_./-]*", value) and value not in ("true", "false", "null"):
        return value
    return json.dumps(value, ensure_ascii=False)


def yaml_lines(value, indent=""):
    items = [(f"{yaml_scalar(key)}:", one) for key, one in value.items()] if isinstance(value, dict) else [("-", one) for one in value]
    for head, one in items:
        if not isinstance(one, (dict, list)):
            yield f"{indent}{head} {yaml_scalar(one)}"
        elif head == "-":
            nested = list(yaml_lines(one, indent + "  "))
            yield f"{indent}- {nested[0].strip()}"
            yield from nested[1:]
        else:
            yield f"{indent}{head}"
            yield from yaml_lines(one, indent + "  ")


# --- main --------------------------------------------------------------------


def generate(folder):
    events, answers, requests = (read_schemas(name) for name in ("events", "answers", "requests"))
    topic_map, topics = read_topics()
    check_types(topics, events)
    files = {
        "events.h": events_header(events),
        "events.c": events_code(events, topics),
        "answers.h": answers_header(answers),
        "answers.c": answers_code(answers),
        "requests.h": requests_header(requests),
        "requests.c": "\n".join(records_code(requests, "requests")),
        "topics.h": topics_header(),
        "topics.c": topics_code(topic_map, topics),
        "migrations.c": migrations_code(),
        "settings_known.c": settings_code(),
        "openapi.c": openapi_code(),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def main(arguments):
    if len(arguments) not in (1, 2):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    try:
        if arguments[0] == "--asyncapi":
            print("# Generated by schemas/generate.py --asyncapi from topics.json and events/.")
            print("\n".join(yaml_lines(asyncapi())))
        else:
            FOLDERS.extend(pathlib.Path(more) for more in arguments[1:])
            generate(pathlib.Path(arguments[0]))
    except (SchemaError, OSError, ValueError) as error:
        print(f"generate.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
