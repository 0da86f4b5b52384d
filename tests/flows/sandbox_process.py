"""The provider sandbox as a process of its own, and somebody its webhooks are sent to."""

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

import pytest
import requests
from openapi_schema_validator import OAS30Validator, OAS31Validator

ROOT = Path(__file__).resolve().parents[2]
OPENAPI = ROOT.parent / "shared" / "providers" / "openapi"
WAIT_S = 20  # for things that take milliseconds; reached only when they do not happen
ACCOUNT = "AC0123456789abcdef0123456789abcdef"
AUTH_TOKEN = "the-auth-token"
SENDER = "whatsapp:+14155238886"
PERSON = "whatsapp:+12025550147"
TEMPLATE = "HX00000000000000000000000000000001"
LEAD_TEMPLATE = "HX00000000000000000000000000000002"
WELCOME_TEMPLATE = "HX00000000000000000000000000000003"
PLAN_TEMPLATE = "HX00000000000000000000000000000004"
REMINDER_TEMPLATE = "HX00000000000000000000000000000005"
KEYS = {
    "TWILIO_ACCOUNT_SID": ACCOUNT,
    "TWILIO_AUTH_TOKEN": AUTH_TOKEN + ",an-older-token",
    "TWILIO_WHATSAPP_FROM": SENDER,
    "TWILIO_CONTENT_SID_LEAD": LEAD_TEMPLATE,
    "TWILIO_CONTENT_SID_WELCOME": WELCOME_TEMPLATE,
    "TWILIO_CONTENT_SID_PLAN": PLAN_TEMPLATE,
    "TWILIO_CONTENT_SID_REMINDER": REMINDER_TEMPLATE,
    "CALLRAIL_ACCOUNT_ID": "ACC1",
    "CALLRAIL_API_KEY": "the-callrail-key",
    "CALLRAIL_SIGNING_KEY": "the-signing-key",
    "GEMINI_API_KEY": "the-gemini-key",
    "OPENAI_API_KEY": "the-openai-key",
    "SHUNYA_API_KEY": "the-shunya-key",
    "SHUNYA_WEBHOOK_SECRET": "the-shunya-secret,an-older-secret",
    "OUTLOOK_WEBHOOK_SECRET": "the-outlook-secret,an-older-secret",
    "HUBSPOT_ACCESS_TOKEN": "the-hubspot-token",
    "GRAPH_TENANT_ID": "11111111-2222-4333-8444-555555555555",
    "GRAPH_CLIENT_ID": "66666666-7777-4888-9999-aaaaaaaaaaaa",
    "GRAPH_CLIENT_SECRET": "the-graph-secret,an-older-secret",
}


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
        answer = requests.post(
            f"{self.url}/twilio/2010-04-01/Accounts/{ACCOUNT}/Messages.json",
            auth=auth,
            timeout=WAIT_S,
            data={name: value for name, value in form.items() if value is not None},
        )
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
    started = subprocess.Popen(
        [sys.executable, "-W", "error", ROOT / "deploy/sandbox/sandbox.py", "--listen", "127.0.0.1:0", "--quiet"],
        env={**os.environ, **KEYS},
        stdout=subprocess.PIPE,
        text=True,
    )
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
        self.answers = queue.Queue()  # statuses to give first; then always 204
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
    return kind(
        {**document, "$ref": f"#/components/schemas/{schema}"}
        if kind is OAS30Validator
        else {"$ref": f"#/components/schemas/{schema}", "components": document["components"]}
    )
