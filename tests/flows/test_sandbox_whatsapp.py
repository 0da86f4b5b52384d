"""The provider sandbox's WhatsApp: what people write reaches us as Twilio tells of it, and what is sent keeps to Twilio's rules."""

import json
import threading
import time
from datetime import datetime
from urllib.parse import parse_qsl

import pytest
import requests
from sandbox_process import (
    ACCOUNT,
    AUTH_TOKEN,
    PERSON,
    PLAN_TEMPLATE,
    REMINDER_TEMPLATE,
    SENDER,
    WAIT_S,
    WELCOME_TEMPLATE,
)
from sandbox_process import process, receiver, sandbox  # noqa: F401 (fixtures)
from twilio.request_validator import RequestValidator
from twilio.rest import Client

WEBHOOK = "/whatsapp-webhook?of=a%20b"
AUTH = (ACCOUNT, AUTH_TOKEN)


def form_of(body):
    return dict(parse_qsl(body.decode(), keep_blank_values=True))


@pytest.fixture
def writes(sandbox, receiver):  # noqa: F811
    """A person writes, and Twilio tells the receiver."""
    return lambda **more: sandbox.person_writes(**{"target": receiver.url + WEBHOOK, **more})


def seconds_to(status, message):
    """From its acceptance to that status."""
    moment = next(entry["at"] for entry in message["history"] if entry["status"] == status)
    return (datetime.fromisoformat(moment) - datetime.fromisoformat(message["at"])).total_seconds()


# --- what people write --------------------------------------------------------


def test_a_message_is_told_of_as_twilio_does(sandbox, receiver, writes):
    written = writes(body="Good morning, שלום", profile_name="Ada")
    (path, headers, body), = receiver.take(1)
    fields = form_of(body)
    assert path == WEBHOOK and RequestValidator(AUTH_TOKEN).validate(receiver.url + WEBHOOK, fields, headers["X-Twilio-Signature"])
    assert list(fields)[:4] == ["SmsMessageSid", "NumMedia", "ProfileName", "MessageType"]      # not in the order of the signature
    assert fields["MessageSid"] == fields["SmsSid"] == written["sid"]
    assert (fields["From"], fields["To"], fields["WaId"]) == (PERSON, SENDER, PERSON.removeprefix("whatsapp:+"))
    assert (fields["Body"], fields["MessageType"], fields["NumMedia"], fields["ProfileName"]) == ("Good morning, שלום", "text", "0", "Ada")
    (outcome,) = written["webhooks"]
    assert (outcome["status"], outcome["attempts"], outcome["log"]) == (204, 1, None)
    client = Client(*AUTH)
    client.api.base_url = sandbox.url + "/twilio"
    assert client.messages(written["sid"]).fetch().direction == "inbound"


def test_a_message_is_told_of_again_with_the_same_token(receiver, writes):
    receiver.answers.put(503)
    first = writes(body="one", target=receiver.url + WEBHOOK + "#rc=2&rp=5xx")
    again = writes(sid=first["sid"])
    other = writes(body="one")
    told = receiver.take(4)
    assert first["webhooks"][0]["attempts"] == 2 and again["sid"] == first["sid"] != other["sid"]
    tokens = [headers["I-Twilio-Idempotency-Token"] for _, headers, _ in told]
    assert tokens[0] == tokens[1] and tokens[3] not in tokens[:3]
    assert told[0][2] == told[1][2] == told[2][2]


def test_a_message_can_come_twice_or_with_a_wrong_signature(sandbox, receiver, writes):
    sandbox.fault(provider="twilio", what="duplicate_webhook", path="^incoming$", copies=2)
    written = writes()
    assert [form_of(body)["MessageSid"] for _, _, body in receiver.take(2)] == [written["sid"]] * 2
    sandbox.fault(provider="twilio", what="wrong_signature", path="^incoming$")
    writes()
    (_, headers, body), = receiver.take(1)
    assert not RequestValidator(AUTH_TOKEN).validate(receiver.url + WEBHOOK, form_of(body), headers["X-Twilio-Signature"])


def test_several_messages_of_the_same_second_are_on_their_way_at_once(receiver, writes):
    sids = {writes(body=str(number), wait=False)["sid"] for number in range(5)}
    assert {form_of(body)["MessageSid"] for _, _, body in receiver.take(5)} == sids


def test_a_button_and_what_is_new_are_parameters_too(receiver, writes):
    writes(button={"text": "Done", "payload": "done:1"}, extra={"Latitude": "1.5", "NewName": "x"})
    fields = form_of(receiver.take(1)[0][2])
    assert (fields["MessageType"], fields["Body"], fields["ButtonText"], fields["ButtonPayload"]) == ("button", "Done", "Done", "done:1")
    assert (fields["Latitude"], fields["NewName"]) == ("1.5", "x")


def test_a_voice_note_lies_behind_the_accounts_credentials(sandbox, receiver, writes):
    audio = sandbox.wav(0.1)
    sandbox.control("PUT", "/files/note.ogg", data=audio, headers={"Content-Type": "audio/ogg"})
    writes(body="", media=["note.ogg"])
    fields = form_of(receiver.take(1)[0][2])
    assert (fields["MessageType"], fields["NumMedia"], fields["MediaContentType0"]) == ("audio", "1", "audio/ogg")
    assert fields["MessageSid"].startswith("MM")
    url = fields["MediaUrl0"]
    assert requests.get(url, timeout=WAIT_S).status_code == 401
    assert requests.get(url[:-1] + ("0" if url[-1] != "0" else "1"), auth=AUTH, timeout=WAIT_S).status_code == 404
    led = requests.get(url, auth=AUTH, timeout=WAIT_S, allow_redirects=False)
    assert led.status_code == 307
    assert requests.get(led.headers["Location"], timeout=WAIT_S).content == audio


def test_media_may_come_after_their_message(sandbox, receiver, writes):
    sandbox.control("PUT", "/files/photo.jpg", data=b"\xff\xd8", headers={"Content-Type": "image/jpeg"})
    sandbox.control("PUT", "/settings", json={"media_after_ms": 300})
    writes(media=["photo.jpg"])
    fields = form_of(receiver.take(1)[0][2])
    began, statuses = time.monotonic(), [404]
    assert fields["MessageType"] == "image"
    while statuses[-1] == 404 and time.monotonic() - began < WAIT_S:
        statuses.append(requests.get(fields["MediaUrl0"], auth=AUTH, timeout=WAIT_S).status_code)
    assert statuses[1] == 404 and statuses[-1] == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"from": "+12025550147"},
        {"at": "yesterday"},
        {"at": "2026-01-01T00:00:00"},
        {"media": ["nothing.ogg"]},
        {"button": {"text": "x"}},
        {"extra": {"x": 1}},
        {"sid": "SM1"},
        {"target": "ftp://x"},
        {"body": "x" * 1601},
        {"unknown": 1},
    ],
)
def test_what_nobody_can_write_is_refused(sandbox, wrong):
    answer = requests.post(sandbox.url + "/_sandbox/messages", json={"from": PERSON, "body": "x", **wrong}, timeout=WAIT_S)
    assert answer.status_code == 400 and answer.json()["error"]
    assert sandbox.control("GET", "/messages")["messages"] == []


# --- STOP and START -----------------------------------------------------------


def test_who_said_stop_gets_nothing_until_start(sandbox, receiver, writes):
    writes(body="hello")
    writes(body=" stop ")
    receiver.take(2)
    error = sandbox.send(400, Body="Still there?")
    assert error["code"] == 21610
    assert sandbox.send(400, ContentSid=WELCOME_TEMPLATE, ContentVariables='{"1":"Ada"}')["code"] == 21610
    sandbox.send(To="whatsapp:+12025550148", Body="another person")
    replies = [message["body"] for message in sandbox.control("GET", "/messages")["messages"]
               if message["direction"] == "outbound-reply"]
    assert len(replies) == 1 and "unsubscribed" in replies[0]
    writes(body="Start")
    sandbox.send(Body="Welcome back")


def test_stop_is_a_word_alone_and_can_be_left_to_us(sandbox):
    sandbox.person_writes(body="please stop the clock")
    sandbox.send(Body="why?")
    sandbox.control("PUT", "/settings", json={"opt_out": "off"})
    sandbox.person_writes(body="STOP")
    sandbox.send(Body="You get nothing more")


# --- what is sent -------------------------------------------------------------


@pytest.mark.parametrize("template", [WELCOME_TEMPLATE, PLAN_TEMPLATE, REMINDER_TEMPLATE])
def test_the_coachs_templates_are_approved_from_the_start(sandbox, template):
    assert "Ada" in sandbox.send(ContentSid=template, ContentVariables='{"1":"Ada"}')["body"]


def test_what_is_sent_too_fast_waits_in_the_senders_queue(sandbox):
    sandbox.control("PUT", "/settings", json={"messages_per_s": 10, "message_gap_ms": 0})
    sandbox.person_writes()
    for number in range(6):
        sandbox.send(Body=str(number))
    arrived = sandbox.control("GET", f"/messages?status=read&wait_s={WAIT_S}&count=6")["messages"]
    waited = [seconds_to("sent", message) for message in arrived]
    assert [message["body"] for message in arrived] == list("012345")
    assert waited[0] < 0.2 and 0.3 < waited[-1] < 1.5
    sandbox.control("PUT", "/settings", json={"messages_per_s": 0.00005})
    sandbox.send(Body="this one takes its turn")
    assert sandbox.send(400, Body="and this one would wait for hours")["code"] == 21611


def test_too_many_requests_at_a_time_are_refused_and_can_be_repeated(sandbox):
    sandbox.person_writes()
    sandbox.control("PUT", "/settings", json={"messages_at_once": 2, "message_takes_ms": 300})
    url = f"{sandbox.url}/twilio/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
    statuses = []

    def send(number):
        form = {"To": PERSON, "From": SENDER, "Body": str(number)}
        statuses.append(requests.post(url, auth=AUTH, data=form, timeout=WAIT_S))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [answer.json()["code"] for answer in statuses if answer.status_code == 429]
    assert refused == [20429] * 3
    assert len([m for m in sandbox.control("GET", "/messages")["messages"] if m["direction"] == "outbound-api"]) == 2
    sandbox.send(Body="again")


def test_a_message_can_be_overtaken(sandbox):
    sandbox.person_writes()
    sandbox.fault(provider="twilio", what="slow_message", seconds=0.5)
    for part in ("(1/2) first", "(2/2) second"):
        sandbox.send(Body=part)
    first, second = sandbox.control("GET", f"/messages?status=read&wait_s={WAIT_S}&count=2")["messages"]
    assert (first["body"], second["body"]) == ("(1/2) first", "(2/2) second")
    assert seconds_to("delivered", first) > seconds_to("delivered", second)


# --- news of a meeting --------------------------------------------------------


def test_news_of_a_meeting_carry_the_secret(sandbox, receiver):
    told = {"meeting": {"title": "Renewal", "start_time": "2026-11-27T10:00:00Z"}, "client": {"name": "Bea"}}
    answer = sandbox.control("POST", "/meetings", json={**told, "target": receiver.url + "/outlook-webhook/acme"})
    sandbox.control("POST", "/meetings", json={**told, "target": receiver.url + "/outlook-webhook", "secret": "another"})
    sandbox.control("POST", "/meetings", json={**told, "target": receiver.url + "/outlook-webhook", "signed": False})
    (path, headers, body), (_, other, _), (_, without, _) = receiver.take(3)
    assert path == "/outlook-webhook/acme" and json.loads(body) == told and answer["webhooks"][0]["status"] == 204
    assert (headers["X-Webhook-Secret"], other["X-Webhook-Secret"]) == ("the-outlook-secret", "another")
    assert "X-Webhook-Secret" not in without
