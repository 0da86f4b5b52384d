"""Gemini's generateContent: ai.google.dev/api/generate-content.

A request is read like Google's JSON-to-protobuf layer reads it: every unknown name anywhere is refused, and the answer
lists all of them with their places."""

import json
import math
import re
import secrets

from aiohttp import web

import limits
from errors import gemini_error
from faults import MODEL_FAULTS
from model_answer import CannotAnswer, answer_text
from model_reader import read_conversation
from state import STATE

BASE = "/gemini"
MODEL = re.compile(r"gemini-[a-z0-9][a-z0-9.-]{0,80}")

TYPES = ("STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL")
MIME_TYPES = ("text/plain", "application/json", "text/x.enum")
STRING_FORMATS = ("date-time", "enum")
HARM = (
    "HARM_CATEGORY_HARASSMENT",
    "HARM_CATEGORY_HATE_SPEECH",
    "HARM_CATEGORY_SEXUALLY_EXPLICIT",
    "HARM_CATEGORY_DANGEROUS_CONTENT",
    "HARM_CATEGORY_CIVIC_INTEGRITY",
)
THRESHOLD = ("BLOCK_LOW_AND_ABOVE", "BLOCK_MEDIUM_AND_ABOVE", "BLOCK_ONLY_HIGH", "BLOCK_NONE", "OFF")

# a list: repeated; a dict of one "*": a map; a tuple: an enum; "any": not looked into
MESSAGES = {
    "GenerateContentRequest": {
        "model": "string",
        "contents": ["Content"],
        "systemInstruction": "Content",
        "tools": ["any"],
        "toolConfig": "any",
        "safetySettings": ["SafetySetting"],
        "generationConfig": "GenerationConfig",
        "cachedContent": "string",
    },
    "Content": {"role": "string", "parts": ["Part"]},
    "Part": {
        "text": "string",
        "inlineData": "Blob",
        "fileData": "FileData",
        "functionCall": "any",
        "functionResponse": "any",
        "executableCode": "any",
        "codeExecutionResult": "any",
        "thought": "bool",
        "thoughtSignature": "string",
        "videoMetadata": "any",
    },
    "Blob": {"mimeType": "string", "data": "string"},
    "FileData": {"mimeType": "string", "fileUri": "string"},
    "SafetySetting": {"category": HARM, "threshold": THRESHOLD},
    "GenerationConfig": {
        "temperature": "number",
        "topP": "number",
        "topK": "int",
        "candidateCount": "int",
        "maxOutputTokens": "int",
        "stopSequences": ["string"],
        "seed": "int",
        "presencePenalty": "number",
        "frequencyPenalty": "number",
        "responseMimeType": "string",
        "responseSchema": "Schema",
        "responseJsonSchema": "any",
        "thinkingConfig": "ThinkingConfig",
        "responseModalities": [("TEXT", "IMAGE", "AUDIO")],
        "responseLogprobs": "bool",
        "logprobs": "int",
        "enableEnhancedCivicAnswers": "bool",
        "speechConfig": "any",
        "mediaResolution": ("MEDIA_RESOLUTION_LOW", "MEDIA_RESOLUTION_MEDIUM", "MEDIA_RESOLUTION_HIGH"),
    },
    "ThinkingConfig": {
        "includeThoughts": "bool",
        "thinkingBudget": "int",
        "thinkingLevel": ("MINIMAL", "LOW", "MEDIUM", "HIGH", "minimal", "low", "medium", "high"),
    },
    "Schema": {
        "type": TYPES + tuple(name.lower() for name in TYPES),
        "format": "string",
        "title": "string",
        "description": "string",
        "nullable": "bool",
        "enum": ["string"],
        "items": "Schema",
        "minItems": "int",
        "maxItems": "int",
        "properties": {"*": "Schema"},
        "required": ["string"],
        "propertyOrdering": ["string"],
        "anyOf": ["Schema"],
        "minimum": "number",
        "maximum": "number",
        "minLength": "int",
        "maxLength": "int",
        "pattern": "string",
        "minProperties": "int",
        "maxProperties": "int",
        "example": "any",
        "default": "any",
    },
}
JSON_SCHEMA_KEYWORDS = {
    "$id",
    "$defs",
    "$ref",
    "$anchor",
    "type",
    "format",
    "title",
    "description",
    "enum",
    "items",
    "prefixItems",
    "minItems",
    "maxItems",
    "minimum",
    "maximum",
    "anyOf",
    "oneOf",
    "properties",
    "additionalProperties",
    "required",
    "propertyOrdering",
}
# names whose values are names the caller chose
CAMEL = re.compile(r"_([a-z0-9])")
CAPITAL = re.compile(r"(?<!^)([A-Z])")


def snake(name):
    return CAPITAL.sub(lambda match: "_" + match.group(1).lower(), name)


# --- shape --------------------------------------------------------------------


def check_message(value, kind, path, violations, depth=0):
    """Collects what Google's reader would complain of."""

    def wrong(text):
        violations.append((path, text))

    if isinstance(kind, list):
        if not isinstance(value, list):
            return wrong(f"Invalid JSON payload received. Field '{path}' is repeated: a list was expected.")
        for number, item in enumerate(value):
            check_message(item, kind[0], f"{path}[{number}]", violations, depth + 1)
    elif isinstance(kind, dict):
        if not isinstance(value, dict):
            return wrong(f"Invalid value at '{path}': an object was expected.")
        for number, item in enumerate(value.values()):
            check_message(item, kind["*"], f"{path}[{number}].value", violations, depth + 1)
    elif isinstance(kind, tuple):
        if value not in kind:
            wrong(f"Invalid value at '{path}', {json.dumps(value)}")
    elif kind == "any":
        return None
    elif kind in MESSAGES:
        check_fields(value, kind, path, violations, depth)
    elif not is_scalar(value, kind):
        wrong(f"Invalid value at '{path}' (TYPE_{kind.upper()}), {json.dumps(value)[:200]}")
    return None


def is_scalar(value, kind):
    if kind == "string":
        return isinstance(value, str)
    if kind == "bool":
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    if kind == "int":
        return isinstance(value, int) or (isinstance(value, str) and re.fullmatch(r"-?\d{1,18}", value) is not None)
    return isinstance(value, (int, float))


def check_fields(value, kind, path, violations, depth):
    if not isinstance(value, dict):
        return violations.append((path, f"Invalid value at '{path}': an object was expected."))
    if depth > limits.GEMINI_SCHEMA_DEPTH_MAX * 3:
        return violations.append((path, f"'{path}' is nested too deeply."))
    for name, item in value.items():
        camel = CAMEL.sub(lambda match: match.group(1).upper(), name)
        inside = f"{path}.{snake(camel)}" if path else snake(camel)
        if camel not in MESSAGES[kind]:
            at = f" at '{path}'" if path else ""
            violations.append(
                (path, f"Invalid JSON payload received. Unknown name {json.dumps(name)}{at}: Cannot find field.")
            )
        elif item is not None:
            check_message(item, MESSAGES[kind][camel], inside, violations, depth + 1)
    return None


def camelled(value):
    """The whole request with its names in one spelling; a schema's own property names stay as they are."""
    if isinstance(value, list):
        return [camelled(item) for item in value]
    if not isinstance(value, dict):
        return value
    result = {}
    for name, item in value.items():
        camel = CAMEL.sub(lambda match: match.group(1).upper(), name)
        if camel == "properties" and isinstance(item, dict):
            result[camel] = {own: camelled(schema) for own, schema in item.items()}
        elif camel in ("responseJsonSchema", "enum", "required", "propertyOrdering", "example", "default"):
            result[camel] = item
        else:
            result[camel] = camelled(item)
    return result


# --- sense --------------------------------------------------------------------


def complaints_of(body):
    """What generateContent itself refuses once the request could be read."""
    found = []
    contents = body.get("contents") or []
    if not contents:
        found.append("* GenerateContentRequest.contents: contents is not specified")
    for number, content in enumerate(contents):
        if not content.get("parts"):
            found.append(f"* GenerateContentRequest.contents[{number}].parts: contents.parts must not be empty.")
        if content.get("role", "user") not in ("user", "model", "function"):
            found.append("Please use a valid role: user, model.")
        for part_number, part in enumerate(content.get("parts") or []):
            if not set(part) & {
                "text",
                "inlineData",
                "fileData",
                "functionCall",
                "functionResponse",
                "executableCode",
                "codeExecutionResult",
            }:
                found.append(
                    f"* GenerateContentRequest.contents[{number}].parts[{part_number}].data: required oneof field "
                    "'data' must have one initialized field"
                )
    return found + complaints_of_config(body.get("generationConfig") or {})


def complaints_of_config(config):
    found = []
    where = "* GenerateContentRequest.generation_config"
    for name, least, most in (
        ("temperature", 0, 2),
        ("topP", 0, 1),
        ("candidateCount", 1, 8),
        ("maxOutputTokens", 1, limits.GEMINI_OUTPUT_TOKENS_MAX),
        ("presencePenalty", -2, 2),
        ("frequencyPenalty", -2, 2),
    ):
        if name in config and not least <= float(config[name]) <= most:
            found.append(f"{where}.{snake(name)}: must be in the range [{least}, {most}].")
    if len(config.get("stopSequences", [])) > limits.GEMINI_STOP_SEQUENCES_MAX:
        found.append(f"{where}.stop_sequences: at most {limits.GEMINI_STOP_SEQUENCES_MAX} are allowed.")
    mime = config.get("responseMimeType", "text/plain")
    if mime not in MIME_TYPES:
        found.append(f"{where}.response_mime_type: allowed mimetypes are {', '.join(MIME_TYPES)}.")
    schema, json_schema = config.get("responseSchema"), config.get("responseJsonSchema")
    if schema is not None and json_schema is not None:
        found.append(f"{where}: only one of response_schema and response_json_schema may be set.")
    if (schema is not None or json_schema is not None) and mime == "text/plain":
        found.append(f"{where}.response_mime_type: a response schema needs application/json (or text/x.enum).")
    if schema is not None:
        check_schema(schema, f"{where}.response_schema", found)
    if json_schema is not None:
        check_json_schema(json_schema, f"{where}.response_json_schema", found)
    return found


def check_schema(schema, path, found, depth=0):
    """responseSchema: the OpenAPI-like subset."""
    if depth > limits.GEMINI_SCHEMA_DEPTH_MAX:
        return found.append(f"{path}: the schema is too deep.")
    kind = schema.get("type", "").upper()
    if not kind and not schema.get("anyOf"):
        return found.append(f"{path}.type: must be specified")
    if kind == "OBJECT" and not schema.get("properties"):
        found.append(f"{path}.properties: should be non-empty for OBJECT type")
    if kind == "ARRAY" and not schema.get("items"):
        found.append(f"{path}.items: missing field.")
    if kind != "OBJECT" and (schema.get("properties") or schema.get("required")):
        found.append(f"{path}.properties: only allowed for OBJECT type")
    if kind != "ARRAY" and schema.get("items"):
        found.append(f"{path}.items: only allowed for ARRAY type")
    if schema.get("enum") is not None and kind != "STRING":
        found.append(f"{path}.enum: only allowed for STRING type")
    if kind == "STRING" and schema.get("format", "enum") not in STRING_FORMATS:
        found.append(f"{path}.format: only 'enum' and 'date-time' are supported for STRING type")
    names = schema.get("properties", {})
    for number, name in enumerate(schema.get("required", [])):
        if name not in names:
            found.append(f"{path}.required[{number}]: property is not defined")
    for number, name in enumerate(schema.get("propertyOrdering", [])):
        if name not in names:
            found.append(f"{path}.property_ordering[{number}]: property is not defined")
    for name, inner in names.items():
        check_schema(inner, f"{path}.properties[{name}]", found, depth + 1)
    if kind == "ARRAY" and schema.get("items"):
        check_schema(schema["items"], f"{path}.items", found, depth + 1)
    for number, inner in enumerate(schema.get("anyOf", [])):
        check_schema(inner, f"{path}.any_of[{number}]", found, depth + 1)
    return None


def check_json_schema(schema, path, found, depth=0):
    """responseJsonSchema: the JSON Schema subset."""
    if isinstance(schema, bool):
        return None
    if not isinstance(schema, dict) or depth > limits.GEMINI_SCHEMA_DEPTH_MAX:
        return found.append(f"{path}: is not a schema, or too deep.")
    for name in schema:
        if name not in JSON_SCHEMA_KEYWORDS:
            found.append(f"{path}: keyword '{name}' is not supported.")
        elif "$ref" in schema and not name.startswith("$"):
            found.append(f"{path}: '{name}' is not allowed beside $ref.")
    if any(not isinstance(value, (str, int, float)) or isinstance(value, bool) for value in schema.get("enum", [])):
        found.append(f"{path}.enum: only text and numbers are supported.")
    for holder in ("properties", "$defs"):
        for name, inner in schema.get(holder, {}).items():
            check_json_schema(inner, f"{path}.{holder}[{name}]", found, depth + 1)
    for holder in ("items", "additionalProperties"):
        if holder in schema:
            check_json_schema(schema[holder], f"{path}.{holder}", found, depth + 1)
    for holder in ("anyOf", "oneOf", "prefixItems"):
        for number, inner in enumerate(schema.get(holder, [])):
            check_json_schema(inner, f"{path}.{holder}[{number}]", found, depth + 1)
    return None


# --- the answer ---------------------------------------------------------------


def as_json_schema(schema):
    """responseSchema in the words of JSON Schema."""
    result = {
        name: schema[name]
        for name in ("enum", "required", "description", "format", "pattern", "minimum", "maximum")
        if name in schema
    }
    if result.get("format") == "enum":
        del result["format"]
    for name in ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"):
        if name in schema:
            result[name] = int(schema[name])
    if "type" in schema:
        kind = schema["type"].lower()
        result["type"] = [kind, "null"] if schema.get("nullable") else kind
        if schema.get("nullable") and "enum" in result:
            result["enum"] = result["enum"] + [None]
    if "properties" in schema:
        result["properties"] = {name: as_json_schema(inner) for name, inner in schema["properties"].items()}
        result["additionalProperties"] = False
    if "items" in schema:
        result["items"] = as_json_schema(schema["items"])
    if "anyOf" in schema:
        result["anyOf"] = [as_json_schema(inner) for inner in schema["anyOf"]]
        if schema.get("nullable"):
            result["anyOf"].append({"type": "null"})
    return result


def texts_of(content):
    return "\n".join(part["text"] for part in (content or {}).get("parts") or [] if "text" in part)


def candidate_of(text, reason, index=0):
    candidate = {"finishReason": reason, "index": index}
    candidate["content"] = {"parts": [{"text": text}], "role": "model"} if text is not None else {"role": "model"}
    return candidate


def tokens_of(text):
    return math.ceil(len(text) / limits.CHARACTERS_PER_TOKEN)


def generated(state, model, body):
    config = body.get("generationConfig") or {}
    system = texts_of(body.get("systemInstruction"))
    said = [texts_of(content) for content in body["contents"] if content.get("role", "user") == "user"]
    schema = config.get("responseJsonSchema")
    if config.get("responseSchema") is not None:
        schema = as_json_schema(config["responseSchema"])
    wants_json = schema is not None or config.get("responseMimeType") == "application/json"
    rule = state.faults.take(set(MODEL_FAULTS), "gemini", model)
    prompt_tokens = tokens_of(system + "".join(said))
    base = {
        "modelVersion": model,
        "responseId": secrets.token_urlsafe(16),
        "usageMetadata": {"promptTokenCount": prompt_tokens, "totalTokenCount": prompt_tokens},
    }
    if rule and rule.what == "refused":
        return {**base, "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}
    text = answer_text(read_conversation(said, system), schema, wants_json, rule)
    tokens, tokens_max = tokens_of(text), int(config.get("maxOutputTokens", limits.GEMINI_OUTPUT_TOKENS_MAX))
    reason = "STOP"
    if rule and rule.what == "cut_off":
        tokens_max = max(1, tokens // 2)
    if tokens > tokens_max:
        text, tokens, reason = text[: tokens_max * limits.CHARACTERS_PER_TOKEN], tokens_max, "MAX_TOKENS"
    base["usageMetadata"] = {
        "promptTokenCount": prompt_tokens,
        "candidatesTokenCount": tokens,
        "totalTokenCount": prompt_tokens + tokens,
    }
    return {
        "candidates": [candidate_of(text, reason, index) for index in range(int(config.get("candidateCount", 1)))],
        **base,
    }


def refusal(state, request):
    key = request.headers.get("x-goog-api-key") or request.query.get("key")
    if not key:
        return gemini_error(
            403,
            "Method doesn't allow unregistered callers (callers without established identity). "
            "Please use API Key or other form of API consumer identity to call this API.",
        )
    if key not in state.config.gemini_api_keys:
        return gemini_error(
            400,
            "API key not valid. Please pass a valid API key.",
            [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "API_KEY_INVALID",
                    "domain": "googleapis.com",
                    "metadata": {"service": "generativelanguage.googleapis.com"},
                }
            ],
        )
    return None


async def generate_content(request):
    state, model = request.app[STATE], request.match_info["model"]
    refused = refusal(state, request)
    if refused:
        return refused
    if not MODEL.fullmatch(model):
        return gemini_error(
            404,
            f"models/{model} is not found for API version v1beta, or is not supported for generateContent. "
            "Call ListModels to see the list of available models and their supported methods.",
        )
    if request.content_type != "application/json":
        return gemini_error(400, "Invalid JSON payload received. The body must be application/json.")
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        return gemini_error(400, f"Invalid JSON payload received. {error}")
    violations = []
    check_message(body, "GenerateContentRequest", "", violations)
    if violations:
        return gemini_error(
            400,
            "\n".join(text for _, text in violations),
            [
                {
                    "@type": "type.googleapis.com/google.rpc.BadRequest",
                    "fieldViolations": [{"field": path, "description": text} for path, text in violations],
                }
            ],
        )
    body = camelled(body)
    complaints = complaints_of(body)
    if complaints:
        return gemini_error(400, "\n".join(complaints) + "\n")
    try:
        return web.json_response(generated(state, model, body))
    except CannotAnswer as error:
        return gemini_error(500, f"the sandbox could not answer: {error}")


async def get_model(request):
    model = request.match_info["model"]
    refused = refusal(request.app[STATE], request)
    if refused:
        return refused
    if not MODEL.fullmatch(model):
        return gemini_error(404, f"models/{model} is not found for API version v1beta.")
    return web.json_response({"name": f"models/{model}", "supportedGenerationMethods": ["generateContent"]})


async def not_streamed(_request):
    return gemini_error(501, "the sandbox answers whole: use generateContent")


routes = [
    web.get(BASE + "/v1beta/models/{model}", get_model),
    web.post(BASE + "/v1beta/models/{model}:generateContent", generate_content),
    web.post(BASE + "/v1beta/models/{model}:streamGenerateContent", not_streamed),
]
