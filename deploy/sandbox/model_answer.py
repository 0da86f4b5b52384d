"""Puts what was understood into the shape a schema asks for, and holds the result to that schema."""

import json

import jsonschema
from jsonschema import FormatChecker

from model_coach import coached
from model_facts import understand

INVENTED = "seventeen purple elephants asked for the invoice"
NONSENSE = {"weather": "sunny", "answer": 42}
PROSE = "Here is what I found: it was a nice call, and everybody was friendly."
DEPTH_MAX = 32


class CannotAnswer(Exception):
    """The schema asks for something the rules cannot give."""


def resolved(schema, root):
    for _ in range(DEPTH_MAX):
        reference = schema.get("$ref")
        if reference is None:
            return schema
        schema = root
        for name in reference.removeprefix("#").strip("/").split("/"):
            schema = schema.get(name, {}) if name else schema
    raise CannotAnswer("the schema refers to itself")


def kinds_of(schema):
    kinds = schema.get("type")
    if kinds is None:
        return [] if "properties" not in schema else ["object"]
    return [kind.lower() for kind in ([kinds] if isinstance(kinds, str) else kinds)]


def nullable(schema, root):
    if "null" in kinds_of(schema) or None in schema.get("enum", [0]):
        return True
    return any(nullable(resolved(option, root), root) for option in schema.get("anyOf", []) + schema.get("oneOf", []))


def filled(schema, value, root, depth=0):
    """`value`, as far as it fits, in the shape of `schema`; what is not known is null or the least that is allowed."""
    schema = resolved(schema, root)
    if depth > DEPTH_MAX:
        raise CannotAnswer("the schema is too deep")
    if value is None and nullable(schema, root):
        return None
    for options in (schema.get("anyOf"), schema.get("oneOf")):
        if options:
            useful = [option for option in options if "null" not in kinds_of(resolved(option, root))]
            return filled((useful or options)[0], value, root, depth + 1)
    if "enum" in schema:
        return chosen(schema["enum"], value)
    if "const" in schema:
        return schema["const"]
    kinds = [kind for kind in kinds_of(schema) if kind != "null"]
    kind = kinds[0] if kinds else None
    if kind == "object":
        return filled_object(schema, value if isinstance(value, dict) else {}, root, depth)
    if kind == "array":
        items = value if isinstance(value, list) else []
        items = items[: schema.get("maxItems", len(items))]
        items += [None] * (schema.get("minItems", 0) - len(items))
        return [filled(schema.get("items", {}), item, root, depth + 1) for item in items]
    if kind in ("number", "integer"):
        return filled_number(schema, value, kind)
    if kind == "boolean":
        return bool(value)
    if kind == "string":
        return filled_text(schema, value)
    return value


def filled_object(schema, value, root, depth):
    result = {}
    names = schema.get("propertyOrdering") or list(schema.get("properties", {}))
    for name in names:
        if name in value or name in schema.get("required", []):
            result[name] = filled(schema["properties"][name], value.get(name), root, depth + 1)
    if not schema.get("properties") and schema.get("additionalProperties") is not False:
        return value
    return result


def filled_number(schema, value, kind):
    number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else 0
    number = max(number, schema.get("minimum", number))
    number = min(number, schema.get("maximum", number))
    if kind == "number":
        return number
    # a share asked for as a whole number from 0 to 100
    return (
        round(number * 100)
        if isinstance(value, float) and schema.get("maximum") == 100 and value <= 1
        else round(number)
    )


def filled_text(schema, value):
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value)
    least = schema.get("minLength", 0)
    if len(text) < least:
        text = "unknown".ljust(least, ".") if not text else text.ljust(least, ".")
    return text[: schema.get("maxLength", len(text))]


def chosen(options, value):
    if value in options:
        return value
    same = [option for option in options if isinstance(option, str) and option.lower() == str(value).lower()]
    return same[0] if same else "other" if "other" in options else options[-1]


def with_invented_quotes(value, which, done=None):
    """The same answer, with words nobody said where quotes belong."""
    done = done if done is not None else []
    if isinstance(value, list):
        return [with_invented_quotes(item, which, done) for item in value]
    if not isinstance(value, dict):
        return value
    result = {}
    for name, item in value.items():
        if name == "quote" and isinstance(item, str) and (which == "all" or not done):
            done.append(name)
            item = INVENTED
        result[name] = with_invented_quotes(item, which, done)
    return result


def known_items(schema, facts, root):
    """Drops list items whose enum does not know them, such as evidence for a field the schema does not ask about."""
    evidence = schema.get("properties", {}).get("evidence", {}).get("items", {})
    fields = resolved(evidence, root).get("properties", {}).get("field", {}).get("enum") if evidence else None
    if fields is None:
        return facts
    return {**facts, "evidence": [item for item in facts["evidence"] if item["field"] in fields]}


def answer_text(conversation, schema, wants_json, rule=None):
    """The text a model would answer; `rule` is a fault that spoils it, or None."""
    facts = coached(conversation.said, schema and resolved(schema, schema)) or understand(conversation)
    if rule and rule.what == "nonsense":
        return json.dumps(NONSENSE) if wants_json else PROSE
    if not wants_json:
        return facts["summary"]
    if schema is None:
        value = facts
    else:
        value = filled(schema, known_items(resolved(schema, schema), facts, schema), schema)
        try:
            jsonschema.validate(value, schema, format_checker=FormatChecker())
        except jsonschema.ValidationError as error:
            raise CannotAnswer(f"{error.json_path}: {error.message}") from error
        except jsonschema.SchemaError as error:
            raise CannotAnswer(f"the schema is not one: {error.message}") from error
    if rule and rule.what == "invented_quote":
        value = with_invented_quotes(value, rule.get("which", "all"))
    return json.dumps(value, ensure_ascii=False)
