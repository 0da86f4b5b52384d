"""The sandbox's models and its ear: they answer from what they are given, in the shape that is asked for."""

import hashlib
import json

import pytest
import requests
from jsonschema import Draft202012Validator
from sandbox_process import ROOT, WAIT_S, openapi_validator
from sandbox_process import process, sandbox  # noqa: F401 (fixtures)

PROMPT = """The call took place on 2026-09-21 at 13:53 in America/New_York.

Transcript:
agent: thank you for calling how can i help you
customer: hello my water heater is leaking and that is rather expensive i guess
agent: we can come on tuesday at ten o'clock what is your address
customer: great it is twenty five oak street
agent: you are booked for tuesday at ten o'clock thank you goodbye
"""


# --- models -------------------------------------------------------------------


def answer_schema():
    return json.loads((ROOT / "schemas/answers/call_analysis.json").read_text())


def for_gemini(schema):
    """The subset `responseJsonSchema` takes."""
    dropped = {"$schema", "minLength", "maxLength"}
    if isinstance(schema, list):
        return [for_gemini(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {name: for_gemini(item) for name, item in schema.items() if name not in dropped}


def for_openai(schema):
    """The subset `strict` takes: what Gemini's takes, with a type beside every enum."""
    schema = for_gemini(schema)

    def typed(part):
        if isinstance(part, list):
            return [typed(item) for item in part]
        if not isinstance(part, dict):
            return part
        part = {name: typed(item) for name, item in part.items()}
        return {"type": "string", **part} if isinstance(part.get("enum"), list) else part

    return typed(schema)


def gemini(sandbox, status=200, model="gemini-2.5-flash", key="the-gemini-key", raw=None, **config):
    body = {
        "contents": [{"role": "user", "parts": [{"text": PROMPT}]}],
        "generationConfig": {
            "responseMimeType": "application/json",
            "responseJsonSchema": for_gemini(answer_schema()),
            **config,
        },
    }
    answer = requests.post(
        f"{sandbox.url}/gemini/v1beta/models/{model}:generateContent",
        json=body if raw is None else raw,
        headers={"x-goog-api-key": key},
        timeout=WAIT_S,
    )
    assert answer.status_code == status, answer.text
    return answer.json()


def chat(sandbox, status=200, key="the-openai-key", **body):
    body = {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": PROMPT}],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "call_analysis", "strict": True, "schema": for_openai(answer_schema())},
        },
        **body,
    }
    answer = requests.post(
        f"{sandbox.url}/openai/v1/chat/completions",
        timeout=WAIT_S,
        headers={"Authorization": f"Bearer {key}"},
        json={k: v for k, v in body.items() if v is not None},
    )
    assert answer.status_code == status, answer.text
    return answer.json()


def check_analysis(text):
    analysis = json.loads(text)
    Draft202012Validator(answer_schema(), format_checker=Draft202012Validator.FORMAT_CHECKER).validate(analysis)
    quotes = [item["quote"] for item in analysis["objections"] + analysis["evidence"]] + [
        analysis["appointment"]["quote"]
    ]
    assert all(quote in PROMPT for quote in quotes), quotes
    assert (analysis["booking_status"], analysis["lead_qualification"]) == ("booked", "hot")
    assert [item["category"] for item in analysis["objections"]] == ["price"]
    assert analysis["appointment"]["scheduled_start"] == "2026-09-22T10:00:00-04:00"
    assert analysis["appointment"]["location"] == "twenty five oak street"
    assert analysis["appointment"]["service_type"] == "water heater repair"


def test_gemini_reads_the_transcript(sandbox):
    answer = gemini(sandbox)
    assert answer["candidates"][0]["finishReason"] == "STOP"
    check_analysis(answer["candidates"][0]["content"]["parts"][0]["text"])
    openapi_validator("gemini", "GenerateContentResponse").validate(answer)


def test_openai_reads_the_transcript(sandbox):
    answer = chat(sandbox)
    assert answer["choices"][0]["finish_reason"] == "stop"
    check_analysis(answer["choices"][0]["message"]["content"])
    openapi_validator("openai", "CreateChatCompletionResponse").validate(answer)


def test_models_answer_what_was_said_and_nothing_else(sandbox):
    said = PROMPT.replace("you are booked for tuesday at ten o'clock", "sorry we do not repair those")
    messages = [{"role": "user", "content": said}]
    analysis = json.loads(chat(sandbox, messages=messages)["choices"][0]["message"]["content"])
    assert (analysis["booking_status"], analysis["appointment"]) == ("service_not_offered", None)
    nothing = [{"role": "user", "content": "agent: hello\ncustomer: wrong number sorry"}]
    analysis = json.loads(chat(sandbox, messages=nothing)["choices"][0]["message"]["content"])
    assert (analysis["call_outcome_category"], analysis["lead_qualification"]) == ("wrong_number", "cold")


def coached(sandbox, name, told):
    """What both models make of it, which is the same."""
    schema = json.loads((ROOT / f"schemas/answers/{name}.json").read_text())
    content = json.dumps(told)
    wanted = {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": for_openai(schema)}}
    said = chat(sandbox, messages=[{"role": "user", "content": content}], response_format=wanted)["choices"][0]["message"]["content"]
    body = {"contents": [{"role": "user", "parts": [{"text": content}]}],
            "generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": for_gemini(schema)}}
    assert gemini(sandbox, raw=body)["candidates"][0]["content"]["parts"][0]["text"] == said
    Draft202012Validator(schema).validate(json.loads(said))
    return json.loads(said)


MEETING = {"title": "Demo", "description": "They ask for the export.", "client": "Jane Doe", "client_company": "Globex"}


def test_models_plan_the_meeting_they_are_told_of(sandbox):
    plan = coached(sandbox, "meeting_plan", {"meeting": MEETING, "known_of_client": [{"outcome": "they want a quote"}], "language": None})
    assert "Jane Doe" in plan["summary"] and "they want a quote" in plan["summary"] and "export" in " ".join(plan["steps"])
    other = coached(sandbox, "meeting_plan", {"meeting": {**MEETING, "client": "Bob Ray", "description": "Der Preis und die Laufzeit."}})
    assert other["language"] == "de" and "Bob Ray" in other["summary"] and not set(other["steps"]) & set(plan["steps"])


@pytest.mark.parametrize(
    "message, about, act, mode",
    [
        ("What about the export?", {}, "answer", "advice"),
        ("Let us do a roleplay", {}, "answer", "roleplay"),
        ("We have that.", {"mode": "roleplay"}, "answer", "roleplay"),
        ("We have that.", {"mode": "roleplay", "leaves_roleplay": True}, "answer", "advice"),
        ("They signed for 3 years.", {}, "answer", "advice"),
        ("They signed for 3 years.", {"reminded": MEETING}, "complete", "advice"),
        ("Should they have signed?", {"reminded": MEETING}, "answer", "advice"),
        ("send me the plan again", {}, "plan", "advice"),
        ("great", {"plan_waiting": True}, "plan", "advice"),
    ],
)
def test_models_answer_a_salesperson(sandbox, message, about, act, mode):
    told = {"mode": "advice", "language": "en", "meeting": {**MEETING, "plan": {"summary": "s", "steps": ["a", "show the export", "c"]}},
            "messages": [], "message": message, **about}
    answer = coached(sandbox, "chat_answer", told)
    assert (answer["act"], answer["mode"], answer["language"]) == (act, mode, "en")
    assert (answer["quote"] or "") in message and bool(answer["text"]) == (act == "answer")
    if message == "What about the export?":
        assert "show the export" in answer["text"]


def test_gemini_openapi_like_schema(sandbox):
    schema = {
        "type": "OBJECT",
        "required": ["booking_status", "appointment"],
        "properties": {
            "booking_status": {"type": "STRING", "enum": ["booked", "not_booked"]},
            "appointment": {
                "type": "OBJECT",
                "nullable": True,
                "properties": {"location": {"type": "STRING", "nullable": True}},
            },
        },
    }
    answer = gemini(sandbox, responseSchema=schema, responseJsonSchema=None)
    assert json.loads(answer["candidates"][0]["content"]["parts"][0]["text"]) == {
        "booking_status": "booked",
        "appointment": {"location": "twenty five oak street"},
    }


@pytest.mark.parametrize(
    "config, place",
    [
        ({"temprature": 1}, "temprature"),
        ({"temperature": 3}, "temperature"),
        ({"maxOutputTokens": 10_000_000}, "max_output"),
        (
            {"responseJsonSchema": {"type": "object", "properties": {"a": {"type": "string", "pattern": "x"}}}},
            "pattern",
        ),
        ({"responseSchema": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}}, "only one of"),
        ({"responseJsonSchema": None, "responseSchema": {"type": "OBJECT"}}, "non-empty for OBJECT"),
        ({"responseJsonSchema": None, "responseSchema": {"type": "ARRAY"}}, "items: missing"),
        (
            {"responseJsonSchema": None, "responseSchema": {"type": "OBJECT", "additionalProperties": False}},
            "additionalProperties",
        ),
        ({"responseMimeType": "text/plain"}, "response_mime_type"),
    ],
)
def test_gemini_refuses_in_its_own_shape(sandbox, config, place):
    error = gemini(sandbox, 400, **config)
    assert error["error"]["status"] == "INVALID_ARGUMENT" and place in error["error"]["message"]
    openapi_validator("gemini", "ErrorBody").validate(error)


def test_gemini_keys_models_and_contents(sandbox):
    assert gemini(sandbox, 400, key="wrong")["error"]["details"][0]["reason"] == "API_KEY_INVALID"
    assert gemini(sandbox, 404, model="gpt-4o")["error"]["status"] == "NOT_FOUND"
    assert "contents is not specified" in gemini(sandbox, 400, raw={})["error"]["message"]
    assert (
        "must not be empty"
        in gemini(sandbox, 400, raw={"contents": [{"role": "user", "parts": []}]})["error"]["message"]
    )
    wrong = gemini(sandbox, 400, raw={"contents": [{"parts": [{"txt": "a"}]}]})["error"]
    assert wrong["details"][0]["fieldViolations"][0]["field"] == "contents[0].parts[0]"


def strict(schema):
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}}


@pytest.mark.parametrize(
    "body, param",
    [
        ({"temprature": 1}, "temprature"),
        ({"temperature": 3}, "temperature"),
        ({"messages": []}, "messages"),
        ({"max_tokens": 5, "max_completion_tokens": 5}, "max_tokens"),
        ({"messages": [{"role": "bot", "content": "a"}]}, "messages[0].role"),
        ({"response_format": {"type": "json_object"}}, "messages"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}}},
            "response_format.json_schema.name",
        ),
        (strict({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}), "response_format"),
        (
            strict(
                {
                    "type": "object",
                    "properties": {"a": {"type": "string"}},
                    "required": [],
                    "additionalProperties": False,
                }
            ),
            "response_format",
        ),
        (
            strict(
                {
                    "type": "object",
                    "properties": {"a": {"enum": ["b"]}},
                    "required": ["a"],
                    "additionalProperties": False,
                }
            ),
            "response_format",
        ),
        (
            strict(
                {
                    "type": "object",
                    "properties": {"a": {"type": "string", "maxLength": 5}},
                    "required": ["a"],
                    "additionalProperties": False,
                }
            ),
            "response_format",
        ),
        (strict({"anyOf": [{"type": "string"}]}), "response_format"),
    ],
)
def test_openai_refuses_in_its_own_shape(sandbox, body, param):
    error = chat(sandbox, 400, **body)
    assert set(error["error"]) == {"message", "type", "param", "code"}
    assert (error["error"]["type"], error["error"]["param"]) == ("invalid_request_error", param)
    openapi_validator("openai", "ErrorResponse").validate(error)


def test_openai_keys_and_models(sandbox):
    assert chat(sandbox, 401, key="wrong")["error"]["code"] == "invalid_api_key"
    assert chat(sandbox, 404, model="llama")["error"]["code"] == "model_not_found"
    short = chat(sandbox, max_completion_tokens=5)
    assert short["choices"][0]["finish_reason"] == "length"


def test_models_can_be_told_to_answer_badly(sandbox):
    sandbox.fault(provider="gemini", what="invented_quote")
    text = gemini(sandbox)["candidates"][0]["content"]["parts"][0]["text"]
    assert all(item["quote"] not in PROMPT for item in json.loads(text)["evidence"])
    sandbox.fault(provider="gemini", what="cut_off")
    cut = gemini(sandbox)["candidates"][0]
    assert cut["finishReason"] == "MAX_TOKENS"
    with pytest.raises(ValueError):
        json.loads(cut["content"]["parts"][0]["text"])
    sandbox.fault(provider="gemini", what="refused")
    refused = gemini(sandbox)
    assert "candidates" not in refused and refused["promptFeedback"]["blockReason"]
    sandbox.fault(provider="openai", what="refused")
    message = chat(sandbox)["choices"][0]["message"]
    assert message["content"] is None and message["refusal"]
    sandbox.fault(provider="openai", what="nonsense")
    assert "booking_status" not in json.loads(chat(sandbox)["choices"][0]["message"]["content"])
    check_analysis(chat(sandbox)["choices"][0]["message"]["content"])


# --- transcriptions -----------------------------------------------------------


def transcribe(sandbox, status=200, file=None, name="call.wav", **form):
    form = {"model": "whisper-1", "response_format": "verbose_json", **form}
    files = {"file": (name, sandbox.wav() if file is None else file, "audio/wav")}
    answer = requests.post(
        f"{sandbox.url}/openai/v1/audio/transcriptions",
        files=files,
        timeout=WAIT_S,
        data={k: v for k, v in form.items() if v is not None},
        headers={"Authorization": "Bearer the-openai-key"},
    )
    assert answer.status_code == status, answer.text
    return answer.json() if answer.headers["Content-Type"].startswith("application/json") else answer.text


def flac_of(seconds):
    """The beginning of a FLAC file: its STREAMINFO."""
    packed = (16_000 << 44) | (15 << 36) | int(seconds * 16_000)
    return b"fLaC\0\0\0\x22" + bytes(10) + packed.to_bytes(8, "big") + bytes(16)


def test_transcriptions_say_what_was_registered_and_nothing_else(sandbox):
    silent = transcribe(sandbox)
    assert (silent["text"], silent["segments"], silent["duration"]) == ("", [], 1.0)
    segments = [
        {"start": 0, "end": 0.4, "text": "good morning", "speaker": "agent"},
        {"start": 0.5, "end": 1, "text": "hello", "speaker": "customer"},
    ]
    sandbox.control(
        "PUT", "/transcripts", json={"sha256": hashlib.sha256(sandbox.wav()).hexdigest(), "segments": segments}
    )
    heard = transcribe(sandbox, **{"timestamp_granularities[]": ["word", "segment"]})
    openapi_validator("openai", "CreateTranscriptionResponseVerboseJson").validate(heard)
    assert heard["text"] == "good morning hello" and [word["word"] for word in heard["words"]] == [
        "good",
        "morning",
        "hello",
    ]
    speakers = transcribe(sandbox, model="gpt-4o-transcribe-diarize", response_format="diarized_json")
    openapi_validator("openai", "CreateTranscriptionResponseDiarizedJson").validate(speakers)
    assert [segment["speaker"] for segment in speakers["segments"]] == ["A", "B"]
    assert transcribe(sandbox, response_format="json")["text"] == "good morning hello"
    assert "00:00:00,500 --> 00:00:01,000" in transcribe(sandbox, response_format="srt")
    sandbox.control("PUT", "/transcripts", json={"file_name": "CAL1-agent-*", "text": "by its name"})
    assert transcribe(sandbox, name="CAL1-agent-1.flac", file=flac_of(2.5))["text"] == "by its name"
    assert transcribe(sandbox, name="CAL1-customer-1.flac", file=flac_of(2.5))["duration"] == 2.5
    kept = sandbox.control("GET", "/requests?provider=openai")["requests"][-3]
    assert kept["body"]["file"]["filename"] == "call.wav" and kept["body"]["response_format"] == "srt"


@pytest.mark.parametrize(
    "status, form",
    [
        (400, {"response_formt": "json"}),
        (400, {"model": None}),
        (404, {"model": "whisper-9"}),
        (400, {"name": "call.txt"}),
        (400, {"file": b"<html>not audio</html>"}),
        (400, {"file": b""}),
        (400, {"model": "gpt-4o-transcribe"}),
        (400, {"response_format": "json", "timestamp_granularities[]": "word"}),
        (400, {"language": "English"}),
        (413, {"file": b"RIFF\0\0\0\0WAVE" + bytes(26_214_400)}),
    ],
)
def test_transcriptions_refuse_in_openais_shape(sandbox, status, form):
    error = transcribe(sandbox, status, **form)
    openapi_validator("openai", "ErrorResponse").validate(error)
