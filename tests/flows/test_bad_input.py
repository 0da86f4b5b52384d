"""What bad input gets at the door and from the recorder: webhooks, requests and Twilio's callbacks.  What providers and
recordings can do wrong stands in test_bad_answers.py.

Each case says what the caller or the operator sees; nothing authentic is lost; and after each the next call is handled by
the same daemons."""

import base64
import hashlib
import hmac
import json
import select
import socket
import uuid
from urllib.parse import quote_plus, urlencode

import pytest
import requests
from call_pipeline import BOOKED
from call_pipeline import pipeline, process, started, the_next_call_is_handled  # noqa: F401 (fixtures)
from environment import wait_until
from sandbox_process import AUTH_TOKEN, KEYS
from twilio.request_validator import RequestValidator

SETTINGS = {"ingest": {"INGEST_REQUEST_DEADLINE": "2s"}}
WEBHOOK = "/api/v1/callrail/call.completed"
BODY_BYTES_MAX = 16 * 1024 * 1024
pytestmark = pytest.mark.usefixtures("the_next_call_is_handled")


def sign(body):
    return base64.b64encode(hmac.new(KEYS["CALLRAIL_SIGNING_KEY"].encode(), body, hashlib.sha1).digest()).decode()


def post(pipeline, body, path=WEBHOOK, content_type="application/json", **headers):  # noqa: F811
    headers = {"Content-Type": content_type, "Signature": sign(body), **headers}
    return requests.post(pipeline.ingest.url + path, data=body, headers=headers, timeout=30)


def kept_body(dead):
    """What was sent, out of a dead letter."""
    data = json.loads(dead["event"])["data"]
    return data["body"].encode() if data["encoding"] == "text" else base64.b64decode(data["body"])


def dead_letter(pipeline, answer):  # noqa: F811
    """Of a webhook: at the door it has the answer's id, from the recorder it is caused by the event of that id."""
    assert answer.status_code == 200, answer.text
    event_id = answer.json()["id"]

    def found():
        with pipeline.topics.changed:
            return [record[4]["data"] for record in pipeline.topics.records if record[0] == "dead.ingest" and record[4]
                    and event_id in (record[4]["id"], record[4].get("causationid"))]
    return wait_until(found, "the dead letter")[0]


# --- webhooks: the call's id, and the body as a whole


def an_id():
    return "CAL" + uuid.uuid4().hex


#   what is sent (%s: an id), its type, the pointer and the reason in the dead letter
UNREADABLE = {
    "no id": (b'{"duration":61}', "json", "/call_id", "is missing, and so are resource_id and id"),
    "an empty id": (b'{"call_id":""}', "json", "/call_id", "is missing"),
    "an id of nothing": (b'{"call_id":null}', "json", "/call_id", "is missing"),
    "an id that is a list": (b'{"call_id":["%s"]}', "json", "/call_id", "must be text"),
    "an id that is true": (b'{"resource_id":true}', "json", "/resource_id", "must be text"),
    "an id with a blank": (b'{"call_id":"%s x"}', "json", "/call_id", "printable ASCII"),
    "an id with a line break": (b'{"call_id":"%s\\nx"}', "json", "/call_id", "printable ASCII"),
    "an id in Chinese": ('{"id":"电话"}'.encode(), "json", "/id", "printable ASCII"),
    "an id that is huge": (b'{"call_id":"' + b"x" * 1_000_000 + b'"}', "json", "/call_id", "at most 128 bytes"),
    "an id twice": (b'{"call_id":"%s","call_id":"%s"}', "json", "/call_id", "is given twice"),
    "an id twice, in a form": (b"call_id=%s&call_id=%s", "form", "/call_id", "is given twice"),
    "no bytes": (b"", "json", None, "not JSON"),
    "HTML": (b"<html>%s</html>", "json", None, "not JSON"),
    "a list": (b'[{"call_id":"%s"}]', "json", None, "not an object"),
    "text": (b'"%s"', "json", None, "not an object"),
    "half of it": (b'{"call_id":"%s","duration":6', "json", None, "ends too early"),
    "two": (b'{"call_id":"%s"}{"call_id":"%s"}', "json", None, "not JSON"),
    "not UTF-8": (b'{"call_id":"%s","customer_name":"Zo\xeb"}', "json", None, "not UTF-8"),
    "not UTF-8, in a form": (b"call_id=%s&customer_name=Zo\xeb", "form", None, "not UTF-8"),
    "half a character": (b'{"call_id":"%s","customer_name":"\\ud83d"}', "json", None, "surrogate"),
    "a zero": (b'{"call_id":"%s","customer_name":"\\u0000"}', "json", None, "U+0000"),
    "nested deeply": (b'{"call_id":"%s","tags":' + b"[" * 5000 + b"]" * 5000 + b"}", "json", None, "nested too deeply"),
    "a form that is none": (b"call_id=%s&%%zz=1", "form", None, "hex"),
    "a form of many fields": (b"call_id=%s" + b"&a=1" * 600, "form", None, "more than 512 fields"),
    "JSON said to be a form": (b'{"call_id":"%s"}', "form", "/call_id", "is missing"),
    "a type of its own": (b'{"call_id":"%s"}', "xml", None, "content type is neither"),
}
TYPES = {"json": "application/json", "form": "application/x-www-form-urlencoded", "xml": "application/xml"}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_webhook_that_cannot_be_read_is_kept_with_the_reason(pipeline, case):
    body, content_type, pointer, reason = UNREADABLE[case]
    body = body.replace(b"%s", an_id().encode()).replace(b"%%", b"%")
    dead = dead_letter(pipeline, post(pipeline, body, content_type=TYPES[content_type]))
    assert reason in dead["reason"] and dead.get("pointer") == pointer, dead
    assert kept_body(dead) == body


# --- webhooks: every other field


TEXT = {"caller_number": 64, "customer_phone_number": 64, "customer_number": 64, "tracking_number": 64,
        "tracking_phone_number": 64, "business_phone_number": 64, "direction": 64, "customer_name": 256, "agent_email": 256}
A_TIME = "must be a time like"
AN_ADDRESS = "must be an address"
A_LENGTH = "must be a number of seconds from 0"
TRUE_OR_FALSE = "must be true or false"
REASONS = {"recording_url": AN_ADDRESS, "recording": AN_ADDRESS, "duration": A_LENGTH, "answered": TRUE_OR_FALSE,
           "voicemail": TRUE_OR_FALSE, "start_time": A_TIME, "timestamp": A_TIME,
           **{name: f"at most {limit} bytes" for name, limit in TEXT.items()}}
WRONG = [
    *[(field, value, "must be text") for field in REASONS for value in ({"a": 1}, ["b"])],
    *[(field, "7" * 100_000, reason) for field, reason in REASONS.items()],
    *[("recording_url", value, AN_ADDRESS) for value in (7, True, "ftp://a.test/b.wav", "/b.wav", "https://a.test/b c", "https://ä")],
    ("recording_url", "https://a.test/" + "b" * 5000, "at most 4096 bytes"),
    *[("duration", value, A_LENGTH) for value in ("long", -1, "0x10", "nan", "1e300", True, 604801)],
    *[("answered", value, TRUE_OR_FALSE) for value in ("perhaps", 2, "yes")],
    *[("voicemail", value, TRUE_OR_FALSE) for value in ("no", -1)],
    *[(field, value, A_TIME) for field in ("start_time", "timestamp")
      for value in ("yesterday", 1700000000, "2026-13-40T00:00:00Z", "2026-11-21", True)],
]


@pytest.mark.parametrize("field,value,reason", WRONG, ids=[f"{field} is {str(value)[:20]}" for field, value, _ in WRONG])
def test_a_field_that_is_wrong_is_named(pipeline, field, value, reason):
    call_id = an_id()
    body = json.dumps({"call_id": call_id, field: value}).encode()
    dead = dead_letter(pipeline, post(pipeline, body))
    assert (dead["pointer"], dead["topic"]) == ("/" + field, "inbound.callrail") and reason in dead["reason"], dead
    assert kept_body(dead) == body and not pipeline.rows("calls", call_id)


@pytest.mark.parametrize("content_type", ["json", "form"])
@pytest.mark.parametrize("field", REASONS)
def test_a_field_given_twice_is_named(pipeline, field, content_type):
    call_id = an_id()
    good = {"duration": ("1", "2"), "answered": ("true", "false"), "voicemail": ("true", "false")}.get(
        field, ("https://a.test/1", "https://a.test/2") if "recording" in field else
        ("2026-11-20T15:00:00Z", "2026-11-20T16:00:00Z") if "time" in field else ("1", "2"))
    body = ('{"call_id":"%s","%s":"%s","%s":"%s"}' if content_type == "json" else "call_id=%s&%s=%s&%s=%s") % \
        (call_id, field, good[0], field, good[1])
    dead = dead_letter(pipeline, post(pipeline, body.encode(), content_type=TYPES[content_type]))
    assert (dead["pointer"], dead["reason"]) == ("/" + field, "is given twice")
    assert kept_body(dead) == body.encode()


@pytest.mark.parametrize("nothing", [None, ""], ids=["null", "empty"])
@pytest.mark.parametrize("field", REASONS)
def test_a_field_that_says_nothing_is_as_if_it_were_missing(pipeline, field, nothing):
    missing, empty = an_id(), an_id()
    assert post(pipeline, json.dumps({"call_id": missing}).encode()).status_code == 200
    assert post(pipeline, json.dumps({"call_id": empty, field: nothing}).encode()).status_code == 200
    names = ["tenant", "status", "direction", "tracking_number", "customer_number", "customer_name", "answered", "voicemail",
             "duration_s", "recording_url"]
    assert [pipeline.row("calls", missing)[name] for name in names] == [pipeline.row("calls", empty)[name] for name in names]


def test_a_huge_webhook_is_a_webhook(pipeline):
    call_id = an_id()
    head = b'{"call_id":"%s","note":"' % call_id.encode()
    body = head + b"x" * (BODY_BYTES_MAX - len(head) - 2) + b'"}'
    assert post(pipeline, body).status_code == 200
    assert pipeline.row("calls", call_id)["status"] == "completed"


def test_what_looks_like_a_number_and_is_none_is_nobodys(pipeline):
    call_id = an_id()
    said = {"call_id": call_id, "caller_number": "'; DROP TABLE calls; --", "tracking_number": "\u202e+1 (202", "duration": "61.4"}
    assert post(pipeline, json.dumps(said).encode()).status_code == 200
    row = pipeline.row("calls", call_id)
    assert (row["tenant"], row["customer_number"], row["contact_id"], row["duration_s"]) == ("unassigned", None, None, 61)


# --- requests


@pytest.mark.parametrize("method,path,status", [
    ("POST", "/api/v1/vonage/call.completed", 404),
    ("POST", "/api/v1/callrail/call.exploded", 404),
    ("POST", "/api/v1/callrail/", 404),
    ("POST", "/api/v1/callrail/../callrail/call.completed%00", 400),
    ("POST", "/" + "x" * 10_000, 431),
    ("GET", WEBHOOK, 405),
    ("DELETE", WEBHOOK, 405),
    ("POST", "/api/v1/callrail/nobody/call.completed", 401),
], ids=lambda value: value[:40] if isinstance(value, str) else value)
def test_what_is_not_there_is_said(pipeline, method, path, status):
    body = json.dumps({"call_id": an_id()}).encode()
    answer = requests.request(method, pipeline.ingest.url + path, data=body, headers={"Signature": sign(body)}, timeout=10)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json" and answer.json()["status"] == status


@pytest.mark.parametrize("signature", [None, "", "nonsense", "A" * 100_000, sign(b"another body")],
                         ids=["none", "empty", "nonsense", "huge", "of another body"])
def test_what_is_not_signed_leaves_no_trace(pipeline, signature):
    call_id = an_id()
    headers = {"Content-Type": "application/json", **({"Signature": signature} if signature is not None else {})}
    answer = requests.post(pipeline.ingest.url + WEBHOOK, data=json.dumps({"call_id": call_id}), headers=headers, timeout=10)
    assert answer.status_code == (431 if signature and len(signature) > 50_000 else 401), answer.text
    good = an_id()
    post(pipeline, json.dumps({"call_id": good}).encode())
    pipeline.row("calls", good)
    assert not pipeline.rows("calls", call_id) and not pipeline.events(call_id)


def exchange(pipeline, *pieces, pause_s=0.0):  # noqa: F811
    """Sends the pieces until there is an answer, and gives it whole."""
    with socket.create_connection(("127.0.0.1", pipeline.ingest.port), timeout=20) as connection:
        answer = b""
        try:
            for piece in pieces:
                connection.sendall(piece)
                if select.select([connection], [], [], pause_s)[0]:
                    break
            while got := connection.recv(65536):
                answer += got
        except ConnectionError:
            pass
        return answer


def head(body, *fields):
    lines = [f"POST {WEBHOOK} HTTP/1.1", "Host: x", "Connection: close", "Content-Type: application/json",
             f"Signature: {sign(body)}", *fields]
    return "\r\n".join([*lines, "", ""]).encode()


def cut_off(pipeline, body):  # noqa: F811
    with socket.create_connection(("127.0.0.1", pipeline.ingest.port)) as connection:
        connection.sendall(head(body, f"Content-Length: {len(body) + 10}") + body)
    return b""


def one_byte_a_second(pipeline, body):  # noqa: F811
    return exchange(pipeline, head(body, f"Content-Length: {len(body)}"), *[b"{"] * 5, pause_s=0.7)


def head_that_never_ends(pipeline, body):  # noqa: F811
    return exchange(pipeline, head(body)[:-2], *[b"X: y\r\n"] * 5, pause_s=0.7)


def too_large(pipeline, body):  # noqa: F811
    return exchange(pipeline, head(body, f"Content-Length: {BODY_BYTES_MAX + 1}"))


def too_large_undeclared(pipeline, body):  # noqa: F811
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    return exchange(pipeline, head(body, "Transfer-Encoding: chunked"), *[chunk] * 17)


def two_lengths(pipeline, body):  # noqa: F811
    return exchange(pipeline, head(body, f"Content-Length: {len(body)}", f"Content-Length: {len(body) + 1}") + body)


def length_and_chunks(pipeline, body):  # noqa: F811
    return exchange(pipeline, head(body, f"Content-Length: {len(body)}", "Transfer-Encoding: chunked") + body)


def length_of_nonsense(pipeline, body):  # noqa: F811
    return exchange(pipeline, head(body, "Content-Length: many") + body)


def address_of_100_kb(pipeline, body):  # noqa: F811
    return exchange(pipeline, head(body).replace(b"/api", b"/" + b"x" * 100_000, 1) + body)


def many_fields(pipeline, body):  # noqa: F811
    return exchange(pipeline, head(body, *["X: y"] * 1000, f"Content-Length: {len(body)}") + body)


def no_http(pipeline, body):  # noqa: F811
    return exchange(pipeline, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + body + b"\r\n\r\n")


@pytest.mark.parametrize("send,statuses", [
    (cut_off, []), (one_byte_a_second, [408]), (head_that_never_ends, [408]), (too_large, [413]), (too_large_undeclared, [413]),
    (two_lengths, [400]), (length_and_chunks, [400]), (length_of_nonsense, [400]), (no_http, [400, 505]),
    (address_of_100_kb, [414]), (many_fields, [431]),
], ids=lambda value: getattr(value, "__name__", None))
def test_a_request_that_is_none_is_refused_and_not_kept(pipeline, send, statuses):
    call_id = an_id()
    answer = send(pipeline, json.dumps({"call_id": call_id}).encode())
    assert not statuses or answer.startswith(b"HTTP/1.") and int(answer.split()[1]) in statuses, answer[:200]
    good = an_id()
    post(pipeline, json.dumps({"call_id": good}).encode())
    pipeline.row("calls", good)
    assert not pipeline.events(call_id)


# --- Twilio's callbacks


def a_callback(**fields):
    told = {"MessageSid": "SM" + uuid.uuid4().hex, "MessageStatus": "delivered", "To": "whatsapp:+12025550146", **fields}
    return {name: value for name, value in told.items() if value is not None}


def call_back(pipeline, fields, query="", body=None, content_type=TYPES["form"]):  # noqa: F811
    url = f"{pipeline.ingest.url}/twilio-status{query}"
    signature = RequestValidator(AUTH_TOKEN).compute_signature(url, fields)
    return requests.post(url, data=fields if body is None else body, timeout=10,
                         headers={"Content-Type": content_type, "X-Twilio-Signature": signature})


def callback_dead_letter(pipeline, is_it):  # noqa: F811
    def found():
        with pipeline.topics.changed:
            letters = [record[4]["data"] for record in pipeline.topics.records if record[0] == "dead.ingest" and record[4]]
        return [letter for letter in letters if letter["topic"] == "inbound.twilio" and is_it(letter)]
    return wait_until(found, "the dead letter")[0]


def settled_callback(pipeline, to, count=1):  # noqa: F811
    """How the notifier settled the last of so many callbacks about messages to somebody."""
    find = ("SELECT outcome, why FROM ledger WHERE stage = 'notifier' AND event_type = 'message.reported' AND subject = %s"
            " ORDER BY committed_at DESC")
    return wait_until(lambda: len(rows := pipeline.database.execute(find, [to]).fetchall()) == count and rows, "the callback")[0]


def body_hash_query(body):
    return "?bodySHA256=" + hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("fields,pointer,reason", [
    (a_callback(MessageSid=None), "/MessageSid", "is missing"),
    (a_callback(MessageSid=""), "/MessageSid", "is missing"),
    (a_callback(MessageSid="S" * 5000), "/MessageSid", "must have at most"),
    (a_callback(MessageStatus=None), "/MessageStatus", "is missing"),
    (a_callback(MessageStatus="x" * 5000), "/MessageStatus", "must have at most"),
    (a_callback(MessageStatus="read\0"), "/MessageStatus", "none of them zero"),
    (a_callback(To=None), "/To", "is missing"),
    (a_callback(To="whatsapp:+1" + "0" * 5000), "/To", "must have at most"),
    ({}, "/MessageSid", "is missing"),
], ids=["no sid", "an empty sid", "a huge sid", "no status", "a huge status", "a status with a zero", "no recipient", "a huge recipient", "nothing"])
def test_a_callback_that_cannot_be_read_is_kept_with_the_reason(pipeline, fields, pointer, reason):
    fields = {**fields, "Note": uuid.uuid4().hex}
    assert call_back(pipeline, fields).status_code == 204

    dead = callback_dead_letter(pipeline, lambda letter: fields["Note"] in letter["event"])
    assert dead["pointer"] == pointer and reason in dead["reason"] and dead["topic"] == "inbound.twilio"


@pytest.mark.parametrize("body,content_type", [
    (b'{"MessageSid":"SM1"}', TYPES["json"]), (b"", TYPES["json"]), (b"\xff\xfe\0\0", "text/plain"), (b"[" * 100_000, TYPES["json"]),
], ids=["JSON", "nothing", "bytes", "much"])
def test_a_callback_that_is_no_form_is_kept_with_the_reason(pipeline, body, content_type):
    body += uuid.uuid4().hex.encode()
    assert call_back(pipeline, {}, body_hash_query(body), body, content_type).status_code == 204
    dead = callback_dead_letter(pipeline, lambda letter: kept_body(letter) == body)
    assert dead["reason"] == "the content type is not " + TYPES["form"] and dead["topic"] == "inbound.twilio"


@pytest.mark.parametrize("sent,read", [(b"%ff", "?"), (b"%F0%9F%98", "???")], ids=["no character", "half a character"])
def test_a_callback_that_is_not_utf8_changes_nothing(pipeline, sent, read):
    delivery, to = pipeline.delivery(pipeline.call(pipeline.company(), BOOKED), "read"), "whatsapp:" + uuid.uuid4().hex
    fields = {"MessageSid": delivery["provider_id"], "MessageStatus": read, "To": to}
    assert call_back(pipeline, fields, "", urlencode(fields).replace(quote_plus(read), sent.decode()).encode()).status_code == 204
    assert settled_callback(pipeline, to) == {"outcome": "skipped", "why": f'status "{read}" is not known'}
    assert pipeline.delivery(delivery["subject"])["status"] == "read"


def test_a_callback_whose_form_cannot_be_read_has_no_signature(pipeline):
    to = uuid.uuid4().hex
    body = f"MessageSid=SM1&MessageStatus=%zz&To={to}".encode()
    assert call_back(pipeline, {"MessageSid": "SM1", "MessageStatus": "%zz", "To": to}, "", body).status_code == 401
    assert not pipeline.topics.find("inbound.twilio", to)


@pytest.mark.parametrize("fields,query,outcome,why", [
    (a_callback(), "", "skipped", 'message "{sid}" is not one of ours'),
    (a_callback(), "?delivery=" + str(uuid.uuid4()), "skipped", 'message "{sid}" is not one of ours'),
    (a_callback(), "?delivery=%27%3B+DROP+TABLE+asks", "skipped", 'message "{sid}" is not one of ours'),
    (a_callback(), "?delivery=" + "x" * 3000, "skipped", 'message "{sid}" is not one of ours'),
    (a_callback(), "?delivery={delivery}", "skipped", 'message "{sid}" is not the one this delivery is known by'),
    (a_callback(MessageSid="{sid}", MessageStatus="exploded"), "", "skipped", 'status "exploded" is not known'),
    (a_callback(MessageSid="{sid}", MessageStatus="queued"), "", "skipped", '"queued" is no news after "read"'),
    (a_callback(MessageSid="{sid}", MessageStatus="failed", ErrorCode="9" * 500, ErrorMessage="€" * 2000), "", "done", None),
], ids=["of nobody", "of no delivery", "with SQL", "with much", "of another message", "no known status", "old news", "huge reasons"])
def test_a_callback_that_says_nothing_useful_changes_nothing(pipeline, fields, query, outcome, why):
    company = pipeline.company()
    delivery = pipeline.delivery(pipeline.call(company, BOOKED), "read")
    fields = {name: value.replace("{sid}", delivery["provider_id"]) for name, value in fields.items()}
    fields["To"] = "whatsapp:" + company.rep
    assert call_back(pipeline, fields, query.replace("{delivery}", str(delivery["delivery_id"]))).status_code == 204
    assert settled_callback(pipeline, fields["To"], 5) == {"outcome": outcome, "why": why and why.format(sid=fields["MessageSid"])}
    now = pipeline.delivery(delivery["subject"])
    assert now["status"] == ("read" if outcome == "skipped" else "failed") and now["provider_id"] == delivery["provider_id"]


def test_a_callback_that_is_not_signed_is_refused(pipeline):
    to = "whatsapp:+12025550145"
    answer = requests.post(pipeline.ingest.url + "/twilio-status", data=a_callback(To=to), timeout=10,
                           headers={"X-Twilio-Signature": "bm9uc2Vuc2U="})
    assert answer.status_code == 401 and answer.headers["Content-Type"] == "application/problem+json"
    assert not pipeline.topics.find("inbound.twilio", to)
