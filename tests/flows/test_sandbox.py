"""The provider sandbox itself: it must answer like the providers, refuse what they refuse, and misbehave as told.

Its answers are held to the providers' own OpenAPI documents and its signatures to Twilio's own validator."""

import base64
import hashlib
import hmac
import json
import os
import queue
import struct
import subprocess
import sys
import threading
import wave
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
import requests
from jsonschema import Draft202012Validator
from openapi_schema_validator import OAS30Validator, OAS31Validator
from twilio.request_validator import RequestValidator
from twilio.rest import Client

ROOT = Path(__file__).resolve().parents[2]
OPENAPI = ROOT.parent / "shared" / "providers" / "openapi"
WAIT_S = 20             # for things that take milliseconds; reached only when they do not happen
ACCOUNT = "AC0123456789abcdef0123456789abcdef"
AUTH_TOKEN = "the-auth-token"
SENDER = "whatsapp:+14155238886"
PERSON = "whatsapp:+12025550147"
TEMPLATE = "HX00000000000000000000000000000001"
KEYS = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": AUTH_TOKEN + ",an-older-token", "TWILIO_WHATSAPP_FROM": SENDER,
        "CALLRAIL_ACCOUNT_ID": "ACC1", "CALLRAIL_API_KEY": "the-callrail-key", "CALLRAIL_SIGNING_KEY": "the-signing-key",
        "GEMINI_API_KEY": "the-gemini-key", "OPENAI_API_KEY": "the-openai-key"}
CALLRAIL_AUTH = {"Authorization": 'Token token="the-callrail-key"'}
CALL = {"call_id": "CAL1", "caller_number": "+12025550123", "tracking_number": "+12025550100", "duration": 61,
        "recording_file": "call.wav", "started_at": "2026-09-21T13:53:15+00:00", "agent_email": "ann@example.test"}
PROMPT = """The call took place on 2026-09-21 at 13:53 in America/New_York.

Transcript:
agent: thank you for calling how can i help you
customer: hello my water heater is leaking and that is rather expensive i guess
agent: we can come on tuesday at ten o'clock what is your address
customer: great it is twenty five oak street
agent: you are booked for tuesday at ten o'clock thank you goodbye
"""


class Sandbox:
    def __init__(self, url):
        self.url = url

    def control(self, method, path, **arguments):
        answer = requests.request(method, f"{self.url}/_sandbox{path}", timeout=WAIT_S + 5, **arguments)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def fault(self, **rule):
        return self.control("POST", "/faults", json=rule)

    def send(self, status_code=201, auth=(ACCOUNT, AUTH_TOKEN), **form):
        form = {"To": PERSON, "From": SENDER, **form}
        answer = requests.post(f"{self.url}/twilio/2010-04-01/Accounts/{ACCOUNT}/Messages.json", auth=auth, timeout=WAIT_S,
                               data={name: value for name, value in form.items() if value is not None})
        assert answer.status_code == status_code, answer.text
        return answer.json()

    def person_writes(self, **more):
        return self.control("POST", "/messages", json={"from": PERSON, "body": "hello", **more})

    def wav(self, seconds=1.0):
        file = BytesIO()
        with wave.open(file, "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(16000)
            out.writeframes(struct.pack("<h", 7) * int(16000 * seconds))
        return file.getvalue()


@pytest.fixture(scope="module")
def process():
    started = subprocess.Popen([sys.executable, "-W", "error", ROOT / "deploy/sandbox/sandbox.py", "--listen", "127.0.0.1:0",
                                "--quiet"], env={**os.environ, **KEYS}, stdout=subprocess.PIPE, text=True)
    first_line = started.stdout.readline()
    assert "listening on http://" in first_line
    yield first_line.split("listening on ")[1].split(";")[0]
    started.terminate()
    assert started.wait(WAIT_S) == 0


@pytest.fixture
def sandbox(process):
    sandbox = Sandbox(process)
    sandbox.control("POST", "/reset")
    return sandbox


class Receiver:
    """Somebody webhooks are sent to; keeps them in the order of their arrival."""

    def __init__(self):
        self.got = queue.Queue()
        self.answers = queue.Queue()        # statuses to give first; then always 204
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.put((self.path, dict(self.headers), body))
                self.send_response(204 if receiver.answers.empty() else receiver.answers.get())
                self.end_headers()

            def log_message(self, *_arguments):
                pass
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, count):
        return [self.got.get(timeout=WAIT_S) for _ in range(count)]


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()


def openapi_validator(provider, schema):
    """Holds a value to a schema of the provider's own document."""
    path = OPENAPI / f"{provider}.json"
    if not path.exists():
        pytest.skip(f"the provider's OpenAPI document {path} is not here")
    document = json.loads(path.read_text())
    kind = OAS31Validator if document["openapi"].startswith("3.1") else OAS30Validator
    return kind({**document, "$ref": f"#/components/schemas/{schema}"} if kind is OAS30Validator else
                {"$ref": f"#/components/schemas/{schema}", "components": document["components"]})


def statuses_of(webhooks):
    return [dict(parse_qsl(body.decode()))["MessageStatus"] for _, _, body in webhooks]


# --- Twilio -------------------------------------------------------------------

def test_twilio_client_sends_reads_and_lists(sandbox):
    sandbox.person_writes()
    client = Client(ACCOUNT, AUTH_TOKEN)
    client.api.base_url = sandbox.url + "/twilio"
    sent = client.messages.create(to=PERSON, from_=SENDER, body="Good morning")
    assert (sent.status, sent.direction, sent.num_segments) == ("queued", "outbound-api", "1")
    sandbox.control("GET", f"/messages?to={PERSON.replace('+', '%2B')}&status=read&wait_s={WAIT_S}")
    assert client.messages(sent.sid).fetch().status == "read"
    listed = client.messages.list(to=PERSON, date_sent_after=sent.date_created)
    assert [message.sid for message in listed] == [sent.sid]
    assert client.messages.list(to="whatsapp:+12025550000") == []


def test_twilio_answers_fit_its_openapi_document(sandbox):
    sandbox.person_writes()
    message = sandbox.send(Body="hello")
    openapi_validator("twilio", "api.v2010.account.message").validate(message)
    listed = requests.get(f"{sandbox.url}/twilio/2010-04-01/Accounts/{ACCOUNT}/Messages.json", auth=(ACCOUNT, AUTH_TOKEN),
                          timeout=WAIT_S).json()
    for entry in listed["messages"]:
        openapi_validator("twilio", "api.v2010.account.message").validate(entry)


def test_twilio_callbacks_are_signed_as_its_validator_wants(sandbox, receiver):
    sandbox.person_writes()
    url = receiver.url + "/api/v1/twilio/status?delivery=a%20b&n=1"
    sent = sandbox.send(Body="hello", StatusCallback=url + "#rc=2&rp=5xx")
    webhooks = receiver.take(4)
    assert statuses_of(webhooks) == ["queued", "sent", "delivered", "read"]
    for path, headers, body in webhooks:
        fields = dict(parse_qsl(body.decode(), keep_blank_values=True))
        assert path == "/api/v1/twilio/status?delivery=a%20b&n=1" and fields["MessageSid"] == sent["sid"]
        assert RequestValidator(AUTH_TOKEN).validate(url, fields, headers["X-Twilio-Signature"])
        assert not RequestValidator("another-token").validate(url, fields, headers["X-Twilio-Signature"])


def test_twilio_repeats_a_webhook_as_the_url_says(sandbox, receiver):
    sandbox.person_writes()
    sandbox.control("PUT", "/settings", json={"message_statuses": ["sent"]})
    for status in (503, 500):
        receiver.answers.put(status)
    sandbox.send(Body="hello", StatusCallback=receiver.url + "/status#rc=3&rp=5xx")
    webhooks = receiver.take(3)
    tokens = {headers["I-Twilio-Idempotency-Token"] for _, headers, _ in webhooks}
    assert len(tokens) == 1 and len({body for _, _, body in webhooks}) == 1
    sent = sandbox.control("GET", f"/webhooks?provider=twilio&wait_s={WAIT_S}")["webhooks"]
    assert (sent[0]["attempts"], sent[0]["status"]) == (3, 204)


@pytest.mark.parametrize("form, code", [
    ({"To": None}, 21604), ({"To": "+1 202 555"}, 21211), ({"To": "whatsapp:2025550147"}, 21211), ({"From": None}, 21603),
    ({"From": "+14155238886"}, 21910), ({"From": "whatsapp:+14155550000"}, 63007), ({"Body": ""}, 21602),
    ({"Body": "x" * 1601}, 21617), ({"ContentSid": TEMPLATE, "Body": None}, 21655), ({"ContentVariables": "{}"}, 21654),
    ({"StatusCallback": "not a url"}, 21609), ({"StatusCallback": "https://under_score.example.test/x"}, 21609),
    ({"MediaUrl": "ftp://x"}, 21620), ({"ValidityPeriod": "0"}, 20001), ({"StatusCalback": "https://a.test/"}, 20001)])
def test_twilio_refuses_in_its_own_shape(sandbox, form, code):
    error = sandbox.send(400, **{"Body": "hello", **form})
    assert error == {"code": code, "message": error["message"], "more_info": f"https://www.twilio.com/docs/errors/{code}",
                     "status": 400}
    assert sandbox.control("GET", "/messages")["messages"] == []


def test_twilio_wants_its_credentials_and_a_form(sandbox):
    assert sandbox.send(401, auth=(ACCOUNT, "wrong"), Body="hello")["code"] == 20003
    url = f"{sandbox.url}/twilio/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
    answer = requests.post(url, auth=(ACCOUNT, AUTH_TOKEN), json={"To": PERSON}, timeout=WAIT_S)
    assert answer.status_code == 415 and answer.json()["status"] == 415
    assert requests.get(url.replace("Messages", "Nothing"), auth=(ACCOUNT, AUTH_TOKEN), timeout=WAIT_S).json()["code"] == 20404
    kept = sandbox.control("GET", "/requests?provider=twilio")["requests"]
    assert [entry["status"] for entry in kept] == [401, 415, 404]
    assert kept[0]["headers"]["authorization"] == "Basic ***" and kept[0]["body"]["Body"] == "hello"


def test_twilio_free_text_outside_the_window_fails_later(sandbox, receiver):
    sandbox.person_writes(at="2020-01-01T00:00:00Z")
    sent = sandbox.send(Body="hello", StatusCallback=receiver.url + "/status")
    assert sent["status"] == "queued"
    webhooks = receiver.take(2)
    assert statuses_of(webhooks) == ["queued", "failed"]
    assert dict(parse_qsl(webhooks[1][2].decode()))["ErrorCode"] == "63016"
    sandbox.person_writes()
    sandbox.send(Body="hello", StatusCallback=receiver.url + "/status")
    assert statuses_of(receiver.take(4))[-1] == "read"


def test_twilio_templates(sandbox, receiver):
    sandbox.control("PUT", f"/templates/{TEMPLATE}", json={"body": "New lead {{1}}: {{2}}"})

    def send(status_code=201, variables='{"1":"Ann","2":"hot"}'):
        return sandbox.send(status_code, ContentSid=TEMPLATE, ContentVariables=variables, StatusCallback=receiver.url + "/status")
    assert send()["body"] == "New lead Ann: hot"
    assert statuses_of(receiver.take(4)) == ["queued", "sent", "delivered", "read"]
    for wrong in ("not json", "[]", '{"1":""}', '{"1":null}', '{"1":"a\\nb"}'):
        assert send(400, wrong)["code"] == 21656
    for variables, code in (('{"1":"Ann"}', "63028"), (json.dumps({"1": "a" * 1024, "2": "b"}), "63021")):
        send(variables=variables)
        assert dict(parse_qsl(receiver.take(2)[1][2].decode()))["ErrorCode"] == code
    assert sandbox.send(400, ContentSid=TEMPLATE, Body="and text")["code"] == 20001


def test_twilio_delivery_can_fail_and_callbacks_be_disturbed(sandbox, receiver):
    sandbox.person_writes()
    callback = receiver.url + "/status"
    sandbox.fault(provider="twilio", what="fail_message", message_status="undelivered", error_code=63024)
    sandbox.send(Body="one", StatusCallback=callback)
    assert statuses_of(receiver.take(3)) == ["queued", "sent", "undelivered"]
    sandbox.fault(provider="twilio", what="reorder_webhooks")
    sandbox.send(Body="two", StatusCallback=callback)
    assert statuses_of(receiver.take(4)) == ["read", "delivered", "sent", "queued"]
    sandbox.fault(provider="twilio", what="duplicate_webhook", path="^sent$", copies=3)
    sandbox.fault(provider="twilio", what="no_webhook", path="delivered")
    sandbox.send(Body="three", StatusCallback=callback)
    assert statuses_of(receiver.take(5)) == ["queued", "sent", "sent", "sent", "read"]
    sandbox.fault(provider="twilio", what="wrong_signature", path="queued")
    sandbox.send(Body="four", StatusCallback=callback)
    _, headers, body = receiver.take(4)[0]
    assert not RequestValidator(AUTH_TOKEN).validate(callback, dict(parse_qsl(body.decode())), headers["X-Twilio-Signature"])


# --- CallRail -----------------------------------------------------------------

def register(sandbox, receiver, call=None, **sending):
    return sandbox.control("POST", "/calls", json={"call": call or CALL, "webhooks": {
        "target": receiver.url + "/api/v1/callrail", **sending}})


def signature(body):
    return base64.b64encode(hmac.new(b"the-signing-key", body, hashlib.sha1).digest()).decode()


def test_callrail_webhooks_are_signed_and_in_order(sandbox, receiver):
    answer = register(sandbox, receiver)
    assert [entry["status"] for entry in answer["webhooks"]] == [204, 204, 204]
    webhooks = receiver.take(3)
    assert [path.rpartition("/")[2] for path, _, _ in webhooks] == ["call.incoming", "call.answered", "call.completed"]
    for _, headers, body in webhooks:
        assert headers["Signature"] == signature(body) and headers["Content-Type"] == "application/json"
    ringing, _, over = (json.loads(body) for _, _, body in webhooks)
    assert (ringing["answered"], ringing["duration"], ringing["recording"]) == (False, "0", None)
    assert over["resource_id"] == "CAL1" and over["recording"] == sandbox.url + "/files/call.wav"
    assert over["customer_phone_number"] == "+12025550123" and over["duration"] == "61"


def test_callrail_speaks_plainly_in_forms_and_in_any_order(sandbox, receiver):
    hooks = ["call.completed", "call.incoming", "call.completed"]
    register(sandbox, receiver, spelling="plain", format="form", hooks=hooks)
    webhooks = receiver.take(3)
    assert [path.rpartition("/")[2] for path, _, _ in webhooks] == hooks
    assert webhooks[0][2] == webhooks[2][2] and webhooks[0][1]["Signature"] == signature(webhooks[0][2])
    fields = dict(parse_qsl(webhooks[0][2].decode(), keep_blank_values=True))
    assert fields["call_id"] == "CAL1" and fields["answered"] == "true" and fields["duration"] == "61"
    assert fields["recording_url"] == sandbox.url + "/files/call.wav"


def test_callrail_does_not_repeat_and_misses_what_it_is_told_to(sandbox, receiver):
    receiver.answers.put(500)
    answer = register(sandbox, receiver, hooks=["call.incoming"])
    assert (answer["webhooks"][0]["status"], answer["webhooks"][0]["attempts"]) == (500, 1)
    sandbox.fault(provider="callrail", what="no_webhook", path="incoming", count=None)
    sandbox.fault(provider="callrail", what="delay_webhook", path="answered", seconds=0.2)
    sent = register(sandbox, receiver)["webhooks"]
    assert [entry["hook"] for entry in sent] == ["call.completed", "call.answered"]
    missed = register(sandbox, receiver, call={**CALL, "answered": False})["webhooks"]
    assert [entry["hook"] for entry in missed] == ["call.completed"]


def test_callrail_api(sandbox):
    for number in range(3):
        sandbox.control("POST", "/calls", json={"call": {**CALL, "call_id": f"CAL{number}",
                                                         "started_at": f"2026-09-2{number}T10:00:00+00:00"}})
    base = sandbox.url + "/callrail/v3/a/ACC1"
    listed = requests.get(base + "/calls.json?per_page=2", headers=CALLRAIL_AUTH, timeout=WAIT_S).json()
    assert [call["id"] for call in listed["calls"]] == ["CAL2", "CAL1"]
    assert (listed["total_pages"], listed["total_records"]) == (2, 3)
    relative = requests.get(base + "/calls.json?per_page=2&relative_pagination=true", headers=CALLRAIL_AUTH, timeout=WAIT_S).json()
    rest = requests.get(relative["next_page"], headers=CALLRAIL_AUTH, timeout=WAIT_S).json()
    assert relative["has_next_page"] and [call["id"] for call in rest["calls"]] == ["CAL0"] and not rest["has_next_page"]
    one = requests.get(base + "/calls/CAL1.json?fields=agent_email", headers=CALLRAIL_AUTH, timeout=WAIT_S).json()
    assert one["agent_email"] == "ann@example.test" and one["duration"] == 61 and "transcription" not in one
    link = requests.get(base + "/calls/CAL1/recording.json", headers=CALLRAIL_AUTH, timeout=WAIT_S).json()
    assert link == {"url": sandbox.url + "/files/call.wav"}
    for path, headers, status in (("/calls.json", {}, 401), ("/calls.json", {"Authorization": "Bearer the-callrail-key"}, 401),
                                  ("/calls/CAL9.json", CALLRAIL_AUTH, 404), ("/calls.json?per_page=251", CALLRAIL_AUTH, 400)):
        answer = requests.get(base + path, headers=headers, timeout=WAIT_S)
        assert (answer.status_code, set(answer.json())) == (status, {"error"})


# --- recordings ---------------------------------------------------------------

def test_files_are_served_whole_and_in_ranges(sandbox):
    audio = sandbox.wav()
    sandbox.control("PUT", "/files/call.wav", data=audio, headers={"Content-Type": "audio/wav"})
    url = sandbox.url + "/files/call.wav"
    whole = requests.get(url, timeout=WAIT_S)
    assert whole.content == audio and whole.headers["Content-Type"] == "audio/wav"
    part = requests.get(url, headers={"Range": "bytes=4-7"}, timeout=WAIT_S)
    assert (part.status_code, part.content, part.headers["Content-Range"]) == (206, audio[4:8], f"bytes 4-7/{len(audio)}")
    assert requests.get(url, headers={"Range": "bytes=-4"}, timeout=WAIT_S).content == audio[-4:]
    assert requests.get(url, headers={"Range": f"bytes={len(audio)}-"}, timeout=WAIT_S).status_code == 416
    assert requests.get(sandbox.url + "/files/other.wav", timeout=WAIT_S).status_code == 404


def test_bad_recordings(sandbox):
    files = sandbox.url + "/files/"
    assert requests.get(files + "_html", timeout=WAIT_S).headers["Content-Type"].startswith("text/html")
    assert requests.get(files + "_empty", timeout=WAIT_S).content == b""
    redirect = requests.get(files + "_redirect?to=http://10.0.0.1/&times=2", timeout=WAIT_S, allow_redirects=False)
    assert redirect.status_code == 302 and redirect.headers["Location"].startswith("/files/_redirect")
    with requests.get(files + "_endless?length=10737418240", timeout=WAIT_S, stream=True) as endless:
        assert endless.headers["Content-Length"] == "10737418240"
        assert len(next(endless.iter_content(1_000_000))) == 1_000_000
    with requests.get(files + "_slow?bytes_per_s=50", timeout=WAIT_S, stream=True) as slow:
        assert next(slow.iter_content(4)) == b"RIFF"


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
    body = {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}], "generationConfig": {
        "responseMimeType": "application/json", "responseJsonSchema": for_gemini(answer_schema()), **config}}
    answer = requests.post(f"{sandbox.url}/gemini/v1beta/models/{model}:generateContent", json=body if raw is None else raw,
                           headers={"x-goog-api-key": key}, timeout=WAIT_S)
    assert answer.status_code == status, answer.text
    return answer.json()


def chat(sandbox, status=200, key="the-openai-key", **body):
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": PROMPT}], "response_format": {
        "type": "json_schema", "json_schema": {"name": "call_analysis", "strict": True, "schema": for_openai(answer_schema())}}, **body}
    answer = requests.post(f"{sandbox.url}/openai/v1/chat/completions", timeout=WAIT_S,
                           headers={"Authorization": f"Bearer {key}"}, json={k: v for k, v in body.items() if v is not None})
    assert answer.status_code == status, answer.text
    return answer.json()


def check_analysis(text):
    analysis = json.loads(text)
    Draft202012Validator(answer_schema(), format_checker=Draft202012Validator.FORMAT_CHECKER).validate(analysis)
    quotes = [item["quote"] for item in analysis["objections"] + analysis["evidence"]] + [analysis["appointment"]["quote"]]
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


def test_gemini_openapi_like_schema(sandbox):
    schema = {"type": "OBJECT", "required": ["booking_status", "appointment"], "properties": {
        "booking_status": {"type": "STRING", "enum": ["booked", "not_booked"]},
        "appointment": {"type": "OBJECT", "nullable": True, "properties": {"location": {"type": "STRING", "nullable": True}}}}}
    answer = gemini(sandbox, responseSchema=schema, responseJsonSchema=None)
    assert json.loads(answer["candidates"][0]["content"]["parts"][0]["text"]) == {
        "booking_status": "booked", "appointment": {"location": "twenty five oak street"}}


@pytest.mark.parametrize("config, place", [
    ({"temprature": 1}, "temprature"), ({"temperature": 3}, "temperature"), ({"maxOutputTokens": 10_000_000}, "max_output"),
    ({"responseJsonSchema": {"type": "object", "properties": {"a": {"type": "string", "pattern": "x"}}}}, "pattern"),
    ({"responseSchema": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}}, "only one of"),
    ({"responseJsonSchema": None, "responseSchema": {"type": "OBJECT"}}, "non-empty for OBJECT"),
    ({"responseJsonSchema": None, "responseSchema": {"type": "ARRAY"}}, "items: missing"),
    ({"responseJsonSchema": None, "responseSchema": {"type": "OBJECT", "additionalProperties": False}}, "additionalProperties"),
    ({"responseMimeType": "text/plain"}, "response_mime_type")])
def test_gemini_refuses_in_its_own_shape(sandbox, config, place):
    error = gemini(sandbox, 400, **config)
    assert error["error"]["status"] == "INVALID_ARGUMENT" and place in error["error"]["message"]
    openapi_validator("gemini", "ErrorBody").validate(error)


def test_gemini_keys_models_and_contents(sandbox):
    assert gemini(sandbox, 400, key="wrong")["error"]["details"][0]["reason"] == "API_KEY_INVALID"
    assert gemini(sandbox, 404, model="gpt-4o")["error"]["status"] == "NOT_FOUND"
    assert "contents is not specified" in gemini(sandbox, 400, raw={})["error"]["message"]
    assert "must not be empty" in gemini(sandbox, 400, raw={"contents": [{"role": "user", "parts": []}]})["error"]["message"]
    wrong = gemini(sandbox, 400, raw={"contents": [{"parts": [{"txt": "a"}]}]})["error"]
    assert wrong["details"][0]["fieldViolations"][0]["field"] == "contents[0].parts[0]"


def strict(schema):
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}}


@pytest.mark.parametrize("body, param", [
    ({"temprature": 1}, "temprature"), ({"temperature": 3}, "temperature"), ({"messages": []}, "messages"),
    ({"max_tokens": 5, "max_completion_tokens": 5}, "max_tokens"), ({"messages": [{"role": "bot", "content": "a"}]}, "messages[0].role"),
    ({"response_format": {"type": "json_object"}}, "messages"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}}}, "response_format.json_schema.name"),
    (strict({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}), "response_format"),
    (strict({"type": "object", "properties": {"a": {"type": "string"}}, "required": [], "additionalProperties": False}), "response_format"),
    (strict({"type": "object", "properties": {"a": {"enum": ["b"]}}, "required": ["a"], "additionalProperties": False}), "response_format"),
    (strict({"type": "object", "properties": {"a": {"type": "string", "maxLength": 5}}, "required": ["a"],
             "additionalProperties": False}), "response_format"),
    (strict({"anyOf": [{"type": "string"}]}), "response_format")])
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
    answer = requests.post(f"{sandbox.url}/openai/v1/audio/transcriptions", files=files, timeout=WAIT_S,
                           data={k: v for k, v in form.items() if v is not None}, headers={"Authorization": "Bearer the-openai-key"})
    assert answer.status_code == status, answer.text
    return answer.json() if answer.headers["Content-Type"].startswith("application/json") else answer.text


def test_transcriptions_say_what_was_registered_and_nothing_else(sandbox):
    silent = transcribe(sandbox)
    assert (silent["text"], silent["segments"], silent["duration"]) == ("", [], 1.0)
    segments = [{"start": 0, "end": 0.4, "text": "good morning", "speaker": "agent"},
                {"start": 0.5, "end": 1, "text": "hello", "speaker": "customer"}]
    sandbox.control("PUT", "/transcripts", json={"sha256": hashlib.sha256(sandbox.wav()).hexdigest(), "segments": segments})
    heard = transcribe(sandbox, **{"timestamp_granularities[]": ["word", "segment"]})
    openapi_validator("openai", "CreateTranscriptionResponseVerboseJson").validate(heard)
    assert heard["text"] == "good morning hello" and [word["word"] for word in heard["words"]] == ["good", "morning", "hello"]
    speakers = transcribe(sandbox, model="gpt-4o-transcribe-diarize", response_format="diarized_json")
    openapi_validator("openai", "CreateTranscriptionResponseDiarizedJson").validate(speakers)
    assert [segment["speaker"] for segment in speakers["segments"]] == ["A", "B"]
    assert transcribe(sandbox, response_format="json")["text"] == "good morning hello"
    assert "00:00:00,500 --> 00:00:01,000" in transcribe(sandbox, response_format="srt")
    kept = sandbox.control("GET", "/requests?provider=openai")["requests"][-1]
    assert kept["body"]["file"]["filename"] == "call.wav" and kept["body"]["response_format"] == "srt"


@pytest.mark.parametrize("status, form", [
    (400, {"response_formt": "json"}), (400, {"model": None}), (404, {"model": "whisper-9"}), (400, {"name": "call.txt"}),
    (400, {"file": b"<html>not audio</html>"}), (400, {"file": b""}), (400, {"model": "gpt-4o-transcribe"}),
    (400, {"response_format": "json", "timestamp_granularities[]": "word"}), (400, {"language": "English"}),
    (413, {"file": b"RIFF\0\0\0\0WAVE" + bytes(26_214_400)})])
def test_transcriptions_refuse_in_openais_shape(sandbox, status, form):
    error = transcribe(sandbox, status, **form)
    openapi_validator("openai", "ErrorResponse").validate(error)


# --- faults and the control interface -----------------------------------------

def test_faults_are_counted_seeded_and_leave_a_trace(sandbox):
    sandbox.fault(provider="gemini", what="status", status=429, headers={"Retry-After": "3"}, count=2, skip=1)
    statuses = []
    for _ in range(4):
        answer = requests.post(f"{sandbox.url}/gemini/v1beta/models/gemini-2.5-flash:generateContent", json={}, timeout=WAIT_S,
                               headers={"x-goog-api-key": "the-gemini-key"})
        statuses.append((answer.status_code, answer.headers.get("Retry-After")))
    assert statuses == [(400, None), (429, "3"), (429, "3"), (400, None)]
    kept = sandbox.control("GET", "/requests?provider=gemini")["requests"]
    assert [entry["fault"] for entry in kept] == [None, "status", "status", None]
    assert kept[0]["headers"]["x-goog-api-key"] == "***"

    def drawn():
        sandbox.control("DELETE", "/faults")
        sandbox.fault(provider="files", what="status", status=503, probability=0.5, seed=7)
        return [requests.get(sandbox.url + "/files/none", timeout=WAIT_S).status_code for _ in range(20)]
    first = drawn()
    assert first == drawn() and {404, 503} == set(first)


def test_faults_before_and_after_acting(sandbox):
    sandbox.person_writes()

    def broken(**rule):
        sandbox.fault(provider="twilio", path="Messages", **rule)
        with pytest.raises(requests.exceptions.RequestException):
            sandbox.send(Body="hello")
        return len([entry for entry in sandbox.control("GET", "/messages")["messages"] if entry["direction"] != "inbound"])
    assert broken(what="cut") == 0
    assert broken(what="cut", when="after") == 1
    assert broken(what="cut", when="after", bytes=20) == 2
    sandbox.fault(provider="twilio", what="status", status=500, when="after")
    assert sandbox.send(500, Body="hello")["code"] == 20500
    assert len(sandbox.control("GET", "/messages")["messages"]) == 4
    for what in ("malformed_json", "truncated_json", "empty"):
        sandbox.fault(provider="twilio", what=what)
        with pytest.raises(ValueError):
            sandbox.send(Body="hello")
    sandbox.fault(provider="twilio", what="stall", seconds=0.3)
    sandbox.fault(provider="twilio", what="slow", bytes_per_s=5000)
    assert sandbox.send(Body="hello")["status"] == "queued"
    assert sandbox.control("GET", "/requests?provider=twilio")["requests"][-1]["took_ms"] >= 300
    assert sandbox.send(Body="hello")["status"] == "queued"


@pytest.mark.parametrize("method, path, body, says", [
    ("POST", "/faults", {"what": "explode"}, "what"), ("POST", "/faults", {"what": "cut", "when": "never"}, "when"),
    ("POST", "/faults", {"what": "stall", "secs": 1}, "secs"), ("POST", "/faults", {"what": "status"}, "status"),
    ("POST", "/faults", {"what": "cut", "path": "("}, "path"), ("POST", "/calls", {"call": {}}, "caller_number"),
    ("POST", "/calls", {"call": CALL, "webhooks": {"target": "http://x", "hooks": ["call.lost"]}}, "hooks"),
    ("PUT", "/settings", {"colour": "red"}, "colour"), ("PUT", "/templates/HX1", {"body": "x"}, "ContentSid"),
    ("PUT", "/transcripts", {"text": "x"}, "sha256"), ("POST", "/messages", {"from": "me", "body": "x"}, "from")])
def test_control_says_what_is_wrong(sandbox, method, path, body, says):
    answer = requests.request(method, f"{sandbox.url}/_sandbox{path}", json=body, timeout=WAIT_S)
    assert answer.status_code == 400 and says in answer.json()["error"]


def test_chat_can_be_read(sandbox):
    sandbox.person_writes()
    sandbox.send(Body="first line\nsecond line")
    text = requests.get(sandbox.url + "/_sandbox/messages?format=text", timeout=WAIT_S).text
    assert f"{PERSON} writes:\n    hello\n" in text and f"{PERSON} gets, " in text and "    second line\n" in text


def test_a_port_in_use_is_said(process):
    other = subprocess.run([sys.executable, ROOT / "deploy/sandbox/sandbox.py", "--listen", process.removeprefix("http://")],
                           capture_output=True, text=True, timeout=WAIT_S)
    assert other.returncode == 1 and "could not listen on" in other.stderr and "--listen" in other.stderr
