"""The provider sandbox itself: it must answer like the providers, refuse what they refuse, and misbehave as told.

Its answers are held to the providers' own OpenAPI documents and its signatures to Twilio's own validator."""

import base64
import hashlib
import hmac
import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import pytest
import requests
from sandbox_process import (
    ACCOUNT,
    AUTH_TOKEN,
    LEAD_TEMPLATE,
    PERSON,
    ROOT,
    SENDER,
    TEMPLATE,
    WAIT_S,
    openapi_validator,
)
from sandbox_process import process, receiver, sandbox  # noqa: F401 (fixtures)
from twilio.request_validator import RequestValidator
from twilio.rest import Client

CALLRAIL_AUTH = {"Authorization": 'Token token="the-callrail-key"'}
CALL = {
    "call_id": "CAL1",
    "caller_number": "+12025550123",
    "tracking_number": "+12025550100",
    "duration": 61,
    "recording_file": "call.wav",
    "started_at": "2026-09-21T13:53:15+00:00",
    "agent_email": "ann@example.test",
}


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
    listed = requests.get(
        f"{sandbox.url}/twilio/2010-04-01/Accounts/{ACCOUNT}/Messages.json", auth=(ACCOUNT, AUTH_TOKEN), timeout=WAIT_S
    ).json()
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


@pytest.mark.parametrize(
    "form, code",
    [
        ({"To": None}, 21604),
        ({"To": "+1 202 555"}, 21211),
        ({"To": "whatsapp:2025550147"}, 21211),
        ({"From": None}, 21603),
        ({"From": "+14155238886"}, 21910),
        ({"From": "whatsapp:+14155550000"}, 63007),
        ({"Body": ""}, 21602),
        ({"Body": "x" * 1601}, 21617),
        ({"ContentSid": TEMPLATE, "Body": None}, 21655),
        ({"ContentVariables": "{}"}, 21654),
        ({"StatusCallback": "not a url"}, 21609),
        ({"StatusCallback": "https://under_score.example.test/x"}, 21609),
        ({"MediaUrl": "ftp://x"}, 21620),
        ({"ValidityPeriod": "0"}, 20001),
        ({"StatusCalback": "https://a.test/"}, 20001),
    ],
)
def test_twilio_refuses_in_its_own_shape(sandbox, form, code):
    error = sandbox.send(400, **{"Body": "hello", **form})
    assert error == {
        "code": code,
        "message": error["message"],
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": 400,
    }
    assert sandbox.control("GET", "/messages")["messages"] == []


def test_twilio_wants_its_credentials_and_a_form(sandbox):
    assert sandbox.send(401, auth=(ACCOUNT, "wrong"), Body="hello")["code"] == 20003
    url = f"{sandbox.url}/twilio/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
    answer = requests.post(url, auth=(ACCOUNT, AUTH_TOKEN), json={"To": PERSON}, timeout=WAIT_S)
    assert answer.status_code == 415 and answer.json()["status"] == 415
    assert (
        requests.get(url.replace("Messages", "Nothing"), auth=(ACCOUNT, AUTH_TOKEN), timeout=WAIT_S).json()["code"]
        == 20404
    )
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
        return sandbox.send(
            status_code, ContentSid=TEMPLATE, ContentVariables=variables, StatusCallback=receiver.url + "/status"
        )

    assert send()["body"] == "New lead Ann: hot"
    assert statuses_of(receiver.take(4)) == ["queued", "sent", "delivered", "read"]
    for wrong in ("not json", "[]", '{"1":""}', '{"1":null}', '{"1":"a\\nb"}'):
        assert send(400, wrong)["code"] == 21656
    for variables, code in (('{"1":"Ann"}', "63028"), (json.dumps({"1": "a" * 1024, "2": "b"}), "63021")):
        send(variables=variables)
        assert dict(parse_qsl(receiver.take(2)[1][2].decode()))["ErrorCode"] == code
    assert sandbox.send(400, ContentSid=TEMPLATE, Body="and text")["code"] == 20001


def test_the_lead_template_is_approved_from_the_start(sandbox):
    sent = sandbox.send(ContentSid=LEAD_TEMPLATE, ContentVariables='{"1":"a","2":"b","3":"c"}')
    assert sent["body"].startswith("News for a\nb\nc\n")


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
    assert not RequestValidator(AUTH_TOKEN).validate(
        callback, dict(parse_qsl(body.decode())), headers["X-Twilio-Signature"]
    )


# --- CallRail -----------------------------------------------------------------


def register(sandbox, receiver, call=None, **sending):
    return sandbox.control(
        "POST",
        "/calls",
        json={"call": call or CALL, "webhooks": {"target": receiver.url + "/api/v1/callrail", **sending}},
    )


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


def callrail_get(sandbox, path, status=200, headers=CALLRAIL_AUTH, **query):
    base = sandbox.url + "/callrail/v3/a/ACC1"
    answer = requests.get(base + path, headers=headers, params=query, timeout=WAIT_S)
    assert answer.status_code == status and (status == 200 or set(answer.json()) == {"error"}), answer.text
    return answer.json()


def add_calls(sandbox, **minutes_ago):
    """Calls by their ids, that began so long ago and lasted for a minute."""
    for call_id, ago in minutes_ago.items():
        started_at = (datetime.now(timezone.utc) - timedelta(minutes=ago)).isoformat()
        call = {**CALL, "call_id": call_id, "started_at": started_at}
        sandbox.control("POST", "/calls", json={"call": call})


def ids(listed):
    return [call["id"] for call in listed["calls"]]


def test_callrail_lists_the_newest_first_a_page_at_a_time(sandbox):
    add_calls(sandbox, CAL0=30, CAL1=20, CAL2=10)
    listed = callrail_get(sandbox, "/calls.json", per_page=2)
    assert ids(listed) == ["CAL2", "CAL1"]
    assert (listed["page"], listed["total_pages"], listed["total_records"]) == (1, 2, 3)
    assert ids(callrail_get(sandbox, "/calls.json", per_page=2, page=2)) == ["CAL0"]
    assert ids(callrail_get(sandbox, "/calls.json", per_page=2, page=3)) == []


def test_callrail_relative_pages_go_on_behind_the_last_call_whatever_has_come_or_gone(sandbox):
    add_calls(sandbox, CAL0=30, CAL1=20, CAL2=10)
    listed = callrail_get(sandbox, "/calls.json", per_page=2, relative_pagination="true")
    assert listed["has_next_page"] and ids(listed) == ["CAL2", "CAL1"]
    add_calls(sandbox, CAL3=5)
    sandbox.control("DELETE", "/calls/CAL2")
    rest = requests.get(listed["next_page"], headers=CALLRAIL_AUTH, timeout=WAIT_S).json()
    assert ids(rest) == ["CAL0"] and not rest["has_next_page"] and rest["next_page"] is None


def test_callrail_knows_no_length_while_people_talk_and_lists_no_call_before_it_rings(sandbox):
    add_calls(sandbox, talking=0.2, coming=-5)
    call, = callrail_get(sandbox, "/calls.json", fields="agent_email")["calls"]
    assert (call["id"], call["answered"], call["duration"], call["recording"]) == ("talking", True, None, None)


def test_callrail_dates_are_days_of_the_accounts_time_zone(sandbox):
    sandbox.control("PUT", "/settings", json={"callrail_time_zone": "Pacific/Auckland"})
    auckland = ZoneInfo("Pacific/Auckland")
    midnight = datetime.now(auckland).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=3)
    for call_id, start in {"before": -1, "first": 0, "last": 24 * 60 - 1, "behind": 24 * 60}.items():
        started_at = (midnight + timedelta(minutes=start)).astimezone(timezone.utc).isoformat()
        sandbox.control("POST", "/calls", json={"call": {**CALL, "call_id": call_id, "started_at": started_at}})
    day = midnight.date().isoformat()
    listed = callrail_get(sandbox, "/calls.json", start_date=day, end_date=day)
    assert ids(listed) == ["last", "first"]
    assert listed["calls"][1]["start_time"] == midnight.isoformat(timespec="milliseconds")
    assert ids(callrail_get(sandbox, "/calls.json", start_date=day + "T00:01", end_date=day + "T23:59:30")) == ["last"]


def test_callrail_allows_so_many_requests_an_hour_and_does_not_say_when_again(sandbox):
    sandbox.control("PUT", "/settings", json={"callrail_requests_per_hour": 2})
    for status in (200, 200, 429):
        callrail_get(sandbox, "/calls.json", status)
    answer = requests.get(sandbox.url + "/callrail/v3/a/ACC1/calls.json", headers=CALLRAIL_AUTH, timeout=WAIT_S)
    assert answer.status_code == 429 and "Retry-After" not in answer.headers


def test_callrail_shows_one_call_and_refuses_what_it_does_not_know(sandbox):
    add_calls(sandbox, CAL1=20)
    one = callrail_get(sandbox, "/calls/CAL1.json", fields="agent_email")
    assert one["agent_email"] == "ann@example.test" and one["duration"] == 61 and "transcription" not in one
    link = callrail_get(sandbox, "/calls/CAL1/recording.json")
    assert link == {"url": sandbox.url + "/files/call.wav"}
    callrail_get(sandbox, "/calls.json", 401, headers={})
    callrail_get(sandbox, "/calls.json", 401, headers={"Authorization": "Bearer the-callrail-key"})
    callrail_get(sandbox, "/calls/CAL9.json", 404)
    long_ago = (datetime.now(timezone.utc) - timedelta(days=800)).date().isoformat()
    for wrong in ({"per_page": 251}, {"page": 0}, {"fields": "secrets"}, {"start_date": "yesterday"}, {"start_date": long_ago},
                  {"startdate": long_ago}):
        callrail_get(sandbox, "/calls.json", 400, **wrong)


# --- recordings ---------------------------------------------------------------


def test_files_are_served_whole_and_in_ranges(sandbox):
    audio = sandbox.wav()
    sandbox.control("PUT", "/files/call.wav", data=audio, headers={"Content-Type": "audio/wav"})
    url = sandbox.url + "/files/call.wav"
    whole = requests.get(url, timeout=WAIT_S)
    assert whole.content == audio and whole.headers["Content-Type"] == "audio/wav"
    part = requests.get(url, headers={"Range": "bytes=4-7"}, timeout=WAIT_S)
    assert (part.status_code, part.content, part.headers["Content-Range"]) == (
        206,
        audio[4:8],
        f"bytes 4-7/{len(audio)}",
    )
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


# --- faults and the control interface -----------------------------------------


def test_faults_are_counted_seeded_and_leave_a_trace(sandbox):
    sandbox.fault(provider="gemini", what="status", status=429, headers={"Retry-After": "3"}, count=2, skip=1)
    statuses = []
    for _ in range(4):
        answer = requests.post(
            f"{sandbox.url}/gemini/v1beta/models/gemini-2.5-flash:generateContent",
            json={},
            timeout=WAIT_S,
            headers={"x-goog-api-key": "the-gemini-key"},
        )
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
        return len(
            [entry for entry in sandbox.control("GET", "/messages")["messages"] if entry["direction"] != "inbound"]
        )

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
    last = sandbox.control("GET", "/requests?provider=twilio")["requests"][-1]
    assert (last["body"]["Body"], last["fault"], last["status"]) == ("hello", "empty", 201)
    sandbox.fault(provider="twilio", what="stall", seconds=0.3)
    sandbox.fault(provider="twilio", what="slow", bytes_per_s=5000)
    assert sandbox.send(Body="hello")["status"] == "queued"
    assert sandbox.control("GET", "/requests?provider=twilio")["requests"][-1]["took_ms"] >= 300
    assert sandbox.send(Body="hello")["status"] == "queued"


@pytest.mark.parametrize(
    "method, path, body, says",
    [
        ("POST", "/faults", {"what": "explode"}, "what"),
        ("POST", "/faults", {"what": "cut", "when": "never"}, "when"),
        ("POST", "/faults", {"what": "stall", "secs": 1}, "secs"),
        ("POST", "/faults", {"what": "status"}, "status"),
        ("POST", "/faults", {"what": "cut", "path": "("}, "path"),
        ("POST", "/calls", {"call": {}}, "caller_number"),
        ("POST", "/calls", {"call": CALL, "webhooks": {"target": "http://x", "hooks": ["call.lost"]}}, "hooks"),
        ("PUT", "/settings", {"colour": "red"}, "colour"),
        ("PUT", "/templates/HX1", {"body": "x"}, "ContentSid"),
        ("PUT", "/transcripts", {"text": "x"}, "sha256"),
        ("POST", "/messages", {"from": "me", "body": "x"}, "from"),
    ],
)
def test_control_says_what_is_wrong(sandbox, method, path, body, says):
    answer = requests.request(method, f"{sandbox.url}/_sandbox{path}", json=body, timeout=WAIT_S)
    assert answer.status_code == 400 and says in answer.json()["error"]


def test_chat_can_be_read(sandbox):
    sandbox.person_writes()
    sandbox.send(Body="first line\nsecond line")
    text = requests.get(sandbox.url + "/_sandbox/messages?format=text", timeout=WAIT_S).text
    assert f"{PERSON} writes:\n    hello\n" in text and f"{PERSON} gets, " in text and "    second line\n" in text


def test_a_port_in_use_is_said(process):
    other = subprocess.run(
        [sys.executable, ROOT / "deploy/sandbox/sandbox.py", "--listen", process.removeprefix("http://")],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
    )
    assert other.returncode == 1 and "could not listen on" in other.stderr and "--listen" in other.stderr
