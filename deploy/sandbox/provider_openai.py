"""OpenAI's chat completions: platform.openai.com/docs/api-reference/chat."""

import json
import math
import re
import secrets
import time

from aiohttp import web

import limits
from errors import openai_error
from faults import MODEL_FAULTS
from model_answer import CannotAnswer, answer_text
from model_reader import read_conversation
from state import STATE

BASE = "/openai/v1"
MODEL = re.compile(r"(gpt|o[1-9]|chatgpt|ft:)[A-Za-z0-9.:-]{0,100}")
SCHEMA_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

CHAT_FIELDS = {
    "model": str,
    "messages": list,
    "temperature": (int, float),
    "top_p": (int, float),
    "max_completion_tokens": int,
    "max_tokens": int,
    "stop": (str, list),
    "seed": int,
    "n": int,
    "stream": bool,
    "stream_options": dict,
    "response_format": dict,
    "tools": list,
    "tool_choice": (str, dict),
    "parallel_tool_calls": bool,
    "reasoning_effort": str,
    "verbosity": str,
    "service_tier": str,
    "store": bool,
    "metadata": dict,
    "user": str,
    "safety_identifier": str,
    "prompt_cache_key": str,
    "prompt_cache_retention": str,
    "prompt_cache_options": dict,
    "frequency_penalty": (int, float),
    "presence_penalty": (int, float),
    "logit_bias": dict,
    "logprobs": bool,
    "top_logprobs": int,
    "modalities": list,
    "audio": dict,
    "prediction": dict,
    "web_search_options": dict,
    "moderation": dict,
    "function_call": (str, dict),
    "functions": list,
}
NOT_NULLABLE = {"model", "messages", "response_format", "tools"}
RANGES = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "n": (1, 128),
    "max_completion_tokens": (1, 1_000_000),
    "max_tokens": (1, 1_000_000),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
    "top_logprobs": (0, 20),
}
CHOICES = {
    "reasoning_effort": ("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    "service_tier": ("auto", "default", "flex", "scale", "priority", "fast"),
    "verbosity": ("low", "medium", "high"),
}
ROLES = {
    "developer": {"content", "name"},
    "system": {"content", "name"},
    "user": {"content", "name"},
    "assistant": {"content", "name", "refusal", "tool_calls", "function_call", "audio"},
    "tool": {"content", "tool_call_id"},
    "function": {"content", "name"},
}

# what `strict` takes; minLength and maxLength are refused because some models still refuse them
STRICT_KEYWORDS = {
    "type",
    "description",
    "title",
    "enum",
    "const",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "anyOf",
    "$ref",
    "$defs",
    "definitions",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minItems",
    "maxItems",
    "$schema",
}
STRICT_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}


class Refused(Exception):
    def __init__(self, status, message, param=None, code=None, kind=None):
        super().__init__(message)
        self.response = openai_error(status, message, param, code, kind)


def authenticate(state, request):
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if not key:
        raise Refused(
            401,
            "You didn't provide an API key. You need to provide your API key in an Authorization header using "
            "Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
        )
    if scheme != "Bearer" or key not in state.config.openai_api_keys:
        raise Refused(401, "Incorrect API key provided.", code="invalid_api_key")


# --- chat: the request --------------------------------------------------------


def check_type(name, value, wanted, param=None):
    if value is None and name not in NOT_NULLABLE:
        return
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        raise Refused(
            400,
            f"Invalid type for '{param or name}': got {type(value).__name__} instead.",
            param or name,
            "invalid_type",
        )


def check_chat(body):
    if not isinstance(body, dict):
        raise Refused(400, "We could not parse the JSON body of your request: an object was expected.")
    for name, value in body.items():
        if name not in CHAT_FIELDS:
            raise Refused(400, f"Unknown parameter: '{name}'.", name, "unknown_parameter")
        check_type(name, value, CHAT_FIELDS[name])
    for name in ("model", "messages"):
        if name not in body:
            raise Refused(400, f"Missing required parameter: '{name}'.", name, "missing_required_parameter")
    if not MODEL.fullmatch(body["model"]):
        raise Refused(
            404, f"The model `{body['model']}` does not exist or you do not have access to it.", code="model_not_found"
        )
    for name, (least, most) in RANGES.items():
        if body.get(name) is not None and not least <= body[name] <= most:
            raise Refused(400, f"Invalid value for '{name}': must be from {least} to {most}.", name, "invalid_value")
    for name, choices in CHOICES.items():
        if body.get(name) is not None and body[name] not in choices:
            raise Refused(
                400,
                f"Invalid value: '{body[name]}'. Supported values are: {', '.join(choices)}.",
                name,
                "invalid_value",
            )
    if body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
        raise Refused(
            400,
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            "max_tokens",
            "invalid_parameter_combination",
        )
    if body.get("stream"):
        raise Refused(501, "The sandbox answers whole: leave out 'stream'.", "stream")
    check_messages(body["messages"])
    check_response_format(body.get("response_format"), body["messages"])


def check_messages(messages):
    if not messages:
        raise Refused(
            400, "Invalid 'messages': empty array. Expected an array with minimum length 1.", "messages", "empty_array"
        )
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        check_type(where, message, dict)
        role = message.get("role")
        if role not in ROLES:
            raise Refused(
                400,
                f"Invalid value: {role!r}. Supported values are: {', '.join(ROLES)}.",
                f"{where}.role",
                "invalid_value",
            )
        for name in message:
            if name != "role" and name not in ROLES[role]:
                raise Refused(400, f"Unknown parameter: '{where}.{name}'.", f"{where}.{name}", "unknown_parameter")
        content = message.get("content")
        if content is None and role != "assistant":
            raise Refused(
                400, f"Missing required parameter: '{where}.content'.", f"{where}.content", "missing_required_parameter"
            )
        if content is not None and not isinstance(content, (str, list)):
            raise Refused(
                400,
                f"Invalid type for '{where}.content': expected a string or an array of objects.",
                f"{where}.content",
                "invalid_type",
            )
        for part_number, part in enumerate(content if isinstance(content, list) else []):
            if not isinstance(part, dict) or part.get("type") not in (
                "text",
                "image_url",
                "input_audio",
                "file",
                "refusal",
            ):
                raise Refused(
                    400,
                    f"Invalid value for '{where}.content[{part_number}].type'.",
                    f"{where}.content[{part_number}].type",
                    "invalid_value",
                )


def check_response_format(wanted, messages):
    if wanted is None:
        return
    kind = wanted.get("type")
    if kind not in ("text", "json_object", "json_schema"):
        raise Refused(
            400,
            f"Invalid value: {kind!r}. Supported values are: 'text', 'json_object', and 'json_schema'.",
            "response_format.type",
            "invalid_value",
        )
    for name in wanted:
        if name != "type" and not (kind == "json_schema" and name == "json_schema"):
            raise Refused(
                400, f"Unknown parameter: 'response_format.{name}'.", f"response_format.{name}", "unknown_parameter"
            )
    if kind == "json_object" and "json" not in " ".join(text_of(message) for message in messages).lower():
        raise Refused(
            400,
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
            "messages",
        )
    if kind == "json_schema":
        check_json_schema(wanted.get("json_schema"))


def check_json_schema(wanted):
    where = "response_format.json_schema"
    if not isinstance(wanted, dict):
        raise Refused(400, f"Missing required parameter: '{where}'.", where, "missing_required_parameter")
    for name in wanted:
        if name not in ("name", "strict", "schema", "description"):
            raise Refused(400, f"Unknown parameter: '{where}.{name}'.", f"{where}.{name}", "unknown_parameter")
    name = wanted.get("name")
    if name is None:
        raise Refused(
            400, f"Missing required parameter: '{where}.name'.", f"{where}.name", "missing_required_parameter"
        )
    if not isinstance(name, str) or not SCHEMA_NAME.fullmatch(name):
        raise Refused(
            400,
            f"Invalid '{where}.name': expected up to 64 of a-z, A-Z, 0-9, _ and -.",
            f"{where}.name",
            "invalid_value",
        )
    schema = wanted.get("schema")
    if not isinstance(schema, dict):
        raise Refused(
            400, f"Missing required parameter: '{where}.schema'.", f"{where}.schema", "missing_required_parameter"
        )
    if wanted.get("strict"):
        check_strict(name, schema)


def check_strict(name, root):
    """The rules of `strict`: developers.openai.com/docs/guides/structured-outputs."""
    count = 0

    def refuse(context, text):
        raise Refused(
            400, f"Invalid schema for response_format '{name}': In context={context!r}, {text}", "response_format"
        )

    def check(schema, context, depth):
        nonlocal count
        if not isinstance(schema, dict):
            refuse(context, "a schema must be an object.")
        for keyword in schema:
            if keyword not in STRICT_KEYWORDS:
                refuse(context, f"'{keyword}' is not permitted.")
        if "$ref" in schema:
            if set(schema) - {"$ref", "description"}:
                refuse(context, "$ref cannot have keywords other than 'description'.")
            return
        if depth > limits.OPENAI_SCHEMA_DEPTH_MAX:
            refuse(context, f"the schema has more than {limits.OPENAI_SCHEMA_DEPTH_MAX} levels of nesting.")
        kinds = schema.get("type")
        kinds = kinds if isinstance(kinds, list) else [kinds]
        if kinds == [None] and "anyOf" not in schema:
            refuse(context, "schema must have a 'type' key.")
        if "object" in kinds:
            names = list(schema.get("properties", {}))
            count += len(names)
            if count > limits.OPENAI_SCHEMA_PROPERTIES_MAX:
                refuse(context, f"the schema has more than {limits.OPENAI_SCHEMA_PROPERTIES_MAX} properties.")
            if schema.get("additionalProperties") is not False:
                refuse(context, "'additionalProperties' is required to be supplied and to be false.")
            missing = [own for own in names if own not in schema.get("required", [])]
            extra = [own for own in schema.get("required", []) if own not in names]
            if missing or extra or ("required" not in schema and names):
                refuse(
                    context,
                    "'required' is required to be supplied and to be an array including every key in properties. "
                    + (f"Missing '{missing[0]}'." if missing else f"Extra required key '{(extra or [''])[0]}'."),
                )
        if "array" in kinds and "items" not in schema:
            refuse(context, "array schema missing items.")
        if "string" in kinds and "format" in schema and schema["format"] not in STRICT_FORMATS:
            refuse(context, f"'{schema['format']}' is not a valid format.")
        for holder in ("properties", "$defs", "definitions"):
            for own, inner in schema.get(holder, {}).items():
                check(inner, context + (holder, own), depth + 1)
        if "items" in schema:
            check(schema["items"], context + ("items",), depth + 1)
        for number, inner in enumerate(schema.get("anyOf", [])):
            check(inner, context + ("anyOf", str(number)), depth)

    if root.get("type") != "object" or "anyOf" in root:
        raise Refused(
            400,
            f"Invalid schema for response_format '{name}': schema must be a JSON Schema of 'type: \"object\"', got "
            f"'type: \"{root.get('type')}\"'.",
            "response_format",
        )
    check(root, (), 0)


# --- chat: the answer ---------------------------------------------------------


def text_of(message):
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(part.get("text", "") for part in content if part.get("type") == "text")
    return content or ""


def tokens_of(text):
    return math.ceil(len(text) / limits.CHARACTERS_PER_TOKEN)


def completed(state, body):
    system = "\n".join(text_of(message) for message in body["messages"] if message["role"] in ("system", "developer"))
    said = [text_of(message) for message in body["messages"] if message["role"] == "user"]
    wanted = body.get("response_format") or {}
    schema = wanted.get("json_schema", {}).get("schema")
    rule = state.faults.take(set(MODEL_FAULTS), "openai", body["model"])
    reason, refusal, text, tokens = "stop", None, None, 0
    if rule and rule.what == "refused":
        refusal = "I'm sorry, but I can't help with that."
    else:
        text = answer_text(read_conversation(said, system), schema, wanted.get("type", "text") != "text", rule)
        tokens = tokens_of(text)
        tokens_max = body.get("max_completion_tokens") or body.get("max_tokens") or tokens
        if rule and rule.what == "cut_off":
            tokens_max = max(1, tokens // 2)
        if tokens > tokens_max:
            text, tokens, reason = text[: tokens_max * limits.CHARACTERS_PER_TOKEN], tokens_max, "length"
    prompt_tokens = tokens_of(system + "".join(said))
    return {
        "id": "chatcmpl-" + secrets.token_hex(14),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body["model"],
        "service_tier": "default",
        "choices": [
            {
                "index": index,
                "finish_reason": reason,
                "logprobs": None,
                "message": {"role": "assistant", "content": text, "refusal": refusal, "annotations": []},
            }
            for index in range(body.get("n") or 1)
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": tokens,
            "total_tokens": prompt_tokens + tokens,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
    }


def answered(value):
    return web.json_response(
        value, headers={"x-request-id": "req_" + secrets.token_hex(16), "openai-version": "2020-10-01"}
    )


async def chat_completions(request):
    state = request.app[STATE]
    try:
        authenticate(state, request)
        if request.content_type != "application/json":
            raise Refused(
                415,
                f"Unsupported content type: '{request.content_type}'. This API method only accepts "
                "'application/json' requests.",
                code="unsupported_content_type",
            )
        try:
            body = json.loads(await request.read())
        except (ValueError, RecursionError):
            raise Refused(400, "We could not parse the JSON body of your request.") from None
        check_chat(body)
        return answered(completed(state, body))
    except Refused as refused:
        return refused.response
    except CannotAnswer as error:
        return openai_error(500, f"the sandbox could not answer: {error}")


async def get_model(request):
    try:
        authenticate(request.app[STATE], request)
        model = request.match_info["model"]
        if not MODEL.fullmatch(model):
            raise Refused(404, f"The model '{model}' does not exist", param="model", code="model_not_found")
        return answered({"id": model, "object": "model", "created": 0, "owned_by": "openai"})
    except Refused as refused:
        return refused.response


routes = [
    web.get(BASE + "/models/{model}", get_model),
    web.post(BASE + "/chat/completions", chat_completions),
]
