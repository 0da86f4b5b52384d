"""The door from outside: who is let in, what becomes of what is let in, and what happens when Kafka, the disk, Postgres or the
daemon itself is gone.  Whatever was answered 2xx must be in a topic in the end."""

import base64
import hashlib
import hmac
import json
import socket
import threading
import time
import urllib.parse
import uuid

import pytest
import requests
from environment import free_port, wait_until
from twilio.request_validator import RequestValidator

KEY = "shared signing key"
TOKEN = "twilio-token"
PUBLIC = "https://hooks.example.test"
HOOKS = ["call.incoming", "call.answered", "call.completed"]


def sign(body, key=KEY):
    return base64.b64encode(hmac.new(key.encode(), body, hashlib.sha1).digest()).decode()


def post(ingest, body, hook="call.completed", company=None, key=KEY, content_type="application/json", session=requests, **headers):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    path = f"/api/v1/callrail/{company + '/' if company else ''}{hook}"
    headers = {"Content-Type": content_type, "Signature": sign(body, key), **headers}
    return session.post(ingest.url + path, data=body, headers={k: v for k, v in headers.items() if v is not None}, timeout=30)


def inbound_body(event):
    data = event["data"]
    return data["body"].encode() if data["encoding"] == "text" else base64.b64decode(data["body"])


def arrivals(topics, topic, key, count):
    """The ids of a key's records, once there are so many: what came twice stands there twice."""
    def ids():
        found = [record[4]["id"] for record in topics.records if record[0] == topic and record[3] == key]
        return len(found) >= count and found
    return wait_until(ids, f"{count} records of {key}")


@pytest.fixture
def ingest(daemon):
    return daemon("ingest", CALLRAIL_SIGNING_KEY=KEY, TWILIO_AUTH_TOKEN=TOKEN, PUBLIC_URL=PUBLIC).ready()


@pytest.fixture
def kafka(schema_ready):
    """The run's own broker, to be frozen; it is awake again after the test."""
    if not schema_ready.kafka:
        pytest.skip("Kafka is not ours to freeze: TEST_KAFKA_BROKERS is set")
    yield schema_ready.kafka
    schema_ready.kafka.thaw()


# --- who is let in, and what it becomes


@pytest.mark.parametrize("hook", HOOKS)
def test_a_webhook_is_kept_whole_and_acknowledged(ingest, topics, key, hook):
    body = json.dumps({"call_id": key, "tracking_number": "+15550100009", "note": "Zoë 你好 \"quoted\""}, ensure_ascii=False).encode()
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    answer = post(ingest, body, hook, traceparent=parent)
    assert (answer.status_code, answer.json()["status"]) == (200, "accepted")
    event, = topics.wait("inbound.callrail", key)
    assert event["id"] == answer.json()["id"]
    assert event["subject"] == event["correlationid"] == key
    assert event["traceparent"].split("-")[1] == parent.split("-")[1] and event["traceparent"] != parent
    assert inbound_body(event) == body
    assert event["data"]["hook"] == hook and event["data"].get("company") is None
    assert event["data"]["signature"] == sign(inbound_body(event)), "it can be verified again"


@pytest.mark.parametrize("content_type,body", [
    ("application/json", '{{"resource_id":"{0}","id":7,"tracking_phone_number":"+15550100009"}}'),
    ("application/json; charset=utf-8", '{{"call_id":"{0}","call_id2":[[[{{"call_id":"no"}}]]]}}'),
    ("application/x-www-form-urlencoded", "call_id={0}&tracking_number=%2B15550100009"),
    ("application/x-www-form-urlencoded", "resource_id={0}&answered=true"),
])
def test_both_spellings_json_and_forms(ingest, topics, key, content_type, body):
    body = body.format(key).encode()
    assert post(ingest, body, content_type=content_type).status_code == 200
    assert inbound_body(topics.wait("inbound.callrail", key)[0]) == body


def test_the_same_bytes_are_the_same_event(ingest, topics, key):
    first, second = (post(ingest, {"call_id": key}).json()["id"] for _ in range(2))
    other = post(ingest, {"call_id": key}, "call.answered").json()["id"]
    assert first == second != other
    assert arrivals(topics, "inbound.callrail", key, 3) == [first, first, other]


def test_what_is_not_authentic_leaves_a_counter_and_a_log_line(ingest, topics, key):
    body = json.dumps({"call_id": key}).encode()
    for signature in [None, "", sign(body, "another key"), sign(body + b" "), sign(body).rstrip("="), base64.b64decode(sign(body)).hex()]:
        answer = post(ingest, body, Signature=signature)
        assert answer.status_code == 401, signature
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert post(ingest, body, company="nobody").status_code == 401
    assert ingest.metric("ingest_signatures_refused_total", source="callrail") == 7
    assert ingest.log().count("not authentic") == 7 and key not in ingest.log()
    post(ingest, {"call_id": key + "-after"})
    topics.wait("inbound.callrail", key + "-after")
    assert not topics.find("inbound.callrail", key)


def test_a_rotated_key_and_no_key(daemon, database, key):
    rotating = daemon("ingest", CALLRAIL_SIGNING_KEY="new, old").ready()
    assert [post(rotating, {"call_id": key}, key=name).status_code for name in ("new", "old", "new, old")] == [200, 200, 401]
    assert rotating.metric("ingest_key_last_used_seconds", source="callrail", key="1") > time.time() - 60
    assert rotating.stop() == 0
    database.execute("INSERT INTO companies (tenant, name) VALUES (%s, 'Keyless')", [key])
    keyless = daemon("ingest").ready()
    assert post(keyless, {"call_id": key}, company=key, key="").status_code == 401
    assert "CALLRAIL_SIGNING_KEY is not set" in keyless.log()
    assert requests.post(keyless.url + "/twilio-status", data={"To": "x"}, timeout=5).status_code == 401
    assert "PUBLIC_URL is not set" in keyless.log()


def add_company(database, name, keys, *numbers):
    database.execute("INSERT INTO companies (tenant, name, callrail_keys) VALUES (%s, %s, %s)", (name, name, keys))
    for number in numbers:
        database.execute("INSERT INTO tracking_numbers (number, tenant) VALUES (%s, %s)", (number, name))


def company_is_known(ingest, name, key):
    return wait_until(lambda: post(ingest, {"call_id": "known-" + name}, company=name, key=key).status_code == 200, f"{name}'s key being known")


def a_number():
    return "+1555" + str(uuid.uuid4().int)[:7]


def test_a_company_has_its_own_path_and_key(ingest, topics, database, key):
    name, other = "acme-" + uuid.uuid4().hex[:8], "other-" + uuid.uuid4().hex[:8]
    mine, theirs = a_number(), a_number()
    add_company(database, other, None, theirs)
    add_company(database, name, "acme key, older acme key", mine)
    company_is_known(ingest, name, "acme key")

    def status(call, number, **how):
        return post(ingest, {"call_id": f"{key}-{call}", "tracking_number": number}, **how).status_code

    assert status(1, mine, company=name, key="older acme key") == 200
    assert topics.wait("inbound.callrail", f"{key}-1")[0]["data"]["company"] == name
    assert status(2, mine, key="acme key") == 200, "the fixed paths try each active key"
    assert topics.wait("inbound.callrail", f"{key}-2")[0]["data"]["company"] == name, "and the key tells whose it is"
    assert status(3, mine, company=name) == 401, "the shared key is not the company's, which has its own"
    assert status(4, a_number(), company=name, key="acme key") == 200, "a number nobody has is nobody else's"
    assert status(5, mine, company=other) == 401, "not the number of the path's company"
    assert status(6, theirs, company=other) == 200, "a company without a key of its own signs with the shared one"
    for how in [{"company": name}, {}]:
        for number in [theirs, f"({theirs[2:5]}) {theirs[5:8]}-{theirs[8:]}"]:
            assert status(7, number, key="acme key", **how) == 401
    both = {"call_id": f"{key}-8", "tracking_number": mine, "tracking_phone_number": theirs}
    assert post(ingest, both, key="acme key").status_code == 401
    assert ingest.metric("ingest_signatures_refused_total", reason="another_company") == 6
    assert ingest.metric("ingest_last_heard_seconds", source=f"callrail/{name}") > time.time() - 60
    assert not topics.find("inbound.callrail", f"{key}-7")


UNREADABLE = [
    (b'{"duration":"61"}', "application/json", "/call_id", "is missing"),
    (b'{"call_id":"A"', "application/json", None, "ends too early"),
    (b'{"call_id":"\xff"}', "application/json", None, "not UTF-8"),
    (b'{"call_id":' + b"[" * 100, "application/json", None, "nested too deeply"),
    (b'{"call_id":"A","call_id":"B"}', "application/json", "/call_id", "twice"),
    (b'{"call_id":"' + b"x" * 129 + b'"}', "application/json", "/call_id", "at most 128"),
    (b'{"call_id":{}}', "application/json", "/call_id", "must be text"),
    (b"\0\1\2", "application/json", None, "not JSON"),
    (b"", "application/json", None, "not JSON"),
    (b"call_id=%zz", "application/x-www-form-urlencoded", None, "hex"),
    (b'{"call_id":"A"}', "text/plain", None, "content type"),
    (b'{"call_id":"A"}', None, None, "content type"),
    (b'"' * (16 * 1024 * 1024), "application/json", None, "not JSON"),
]


@pytest.mark.parametrize("body,content_type,pointer,reason", UNREADABLE, ids=[case[3] + str(n) for n, case in enumerate(UNREADABLE)])
def test_what_cannot_be_read_is_kept_with_the_reason(ingest, topics, body, content_type, pointer, reason):
    body = body if len(body) > 10_000_000 else body + b" " * (uuid.uuid4().int % 1000)
    answer = post(ingest, body, content_type=content_type)
    assert answer.status_code == 200, answer.text
    rejected = topics.wait("dead.ingest", answer_key(topics, answer))[0]["data"]
    assert reason in rejected["reason"] and rejected.get("pointer") == pointer
    assert (rejected["stage"], rejected["topic"], rejected["offset"]) == ("ingest", "inbound.callrail", -1)
    kept = json.loads(rejected["event"])
    assert inbound_body(kept) == body
    assert kept["data"]["signature"] == sign(body)


def answer_key(topics, answer):
    """The dead letter's key: what could not be read has no call, so it is the inbound event's id."""
    found = lambda: [record[3] for record in topics.records if record[4] and record[4]["id"] == answer.json()["id"]]  # noqa: E731
    return wait_until(found, "the dead letter")[0]


def test_too_large_wrong_method_and_unknown_path(ingest):
    body = b" " * (16 * 1024 * 1024 + 1)
    try:
        assert post(ingest, body).status_code == 413
    except requests.ConnectionError:
        pass                # the connection may end before such a body is sent
    assert requests.get(ingest.url + "/api/v1/callrail/call.completed", timeout=5).status_code == 405
    assert post(ingest, {}, "call.unheard-of").status_code == 404


def test_a_body_cut_off_or_without_end_is_not_kept(daemon, topics, key):
    ingest = daemon("ingest", CALLRAIL_SIGNING_KEY=KEY, INGEST_REQUEST_DEADLINE="500ms").ready()
    body = json.dumps({"call_id": key}).encode()
    head = (f"POST /api/v1/callrail/call.completed HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Signature: {sign(body)}\r\nContent-Length: {len(body) + 10}\r\n\r\n").encode()
    with socket.create_connection(("127.0.0.1", ingest.port)) as cut_off:
        cut_off.sendall(head + body)
    with socket.create_connection(("127.0.0.1", ingest.port)) as slow:
        slow.settimeout(10)
        slow.sendall(head + body)
        assert b" 408 " in slow.recv(1000)
    post(ingest, {"call_id": key + "-after"})
    topics.wait("inbound.callrail", key + "-after")
    assert not topics.find("inbound.callrail", key)


# --- Twilio


def twilio_post(ingest, parameters, query="", token=TOKEN, body=None, **headers):
    url = f"{PUBLIC}/twilio-status{query}"
    signature = RequestValidator(token).compute_signature(url, parameters)
    body = urllib.parse.urlencode(parameters) if body is None else body
    return requests.post(f"{ingest.url}/twilio-status{query}", data=body, timeout=10,
                         headers={"Content-Type": "application/x-www-form-urlencoded", "X-Twilio-Signature": signature, **headers})


def report(to, status="delivered", sid=None):
    return {"MessageSid": sid or "SM" + uuid.uuid4().hex, "MessageStatus": status, "To": to, "From": "whatsapp:+15550100009"}


def test_a_delivery_report_is_kept_and_acknowledged(ingest, topics):
    to = "whatsapp:" + a_number()
    answer = twilio_post(ingest, report(to), "?delivery=8f14e45f&x=a%20b")
    assert (answer.status_code, answer.content) == (204, b"")
    event, = topics.wait("inbound.twilio", to)
    assert event["type"] == "twilio.status.received" and event["subject"] == to
    assert event["data"]["url"] == PUBLIC + "/twilio-status?delivery=8f14e45f&x=a%20b"
    parameters = dict(urllib.parse.parse_qsl(event["data"]["body"], keep_blank_values=True))
    assert RequestValidator(TOKEN).validate(event["data"]["url"], parameters, event["data"]["signature"]), "it can be verified again"


def test_a_repeated_report_has_the_same_id(ingest, topics):
    to, sid = "whatsapp:" + a_number(), "SM" + uuid.uuid4().hex
    for _ in range(2):
        assert twilio_post(ingest, report(to, "sent", sid)).status_code == 204
    assert twilio_post(ingest, report(to, "read", sid)).status_code == 204
    token = {"I-Twilio-Idempotency-Token": uuid.uuid4().hex}
    for status in ("sent", "read"):
        assert twilio_post(ingest, report(to, status, sid), **token).status_code == 204
    ids = arrivals(topics, "inbound.twilio", to, 5)
    assert ids[0] == ids[1] != ids[2] and ids[3] == ids[4] not in ids[:3]


def test_a_report_not_from_twilio_or_unreadable(ingest, topics):
    to = "whatsapp:" + a_number()
    assert twilio_post(ingest, report(to), token="wrong").status_code == 401
    assert twilio_post(ingest, report(to), body="To=somebody+else").status_code == 401
    before = len(topics.find("dead.ingest"))
    assert twilio_post(ingest, {"MessageSid": "SM1", "To": to}).status_code == 204
    wait_until(lambda: len(topics.find("dead.ingest")) > before, "the dead letter")
    rejected = topics.find("dead.ingest")[-1]["data"]
    assert (rejected["pointer"], rejected["topic"]) == ("/MessageStatus", "inbound.twilio")


# --- when something is away


def burst(ingest, prefix, count, threads=4):
    """So many webhooks; gives (call id, status, seconds) of each."""
    found, lock = [], threading.Lock()

    def work(first):
        with requests.Session() as session:
            for number in range(first, count, threads):
                began = time.monotonic()
                answer = post(ingest, {"call_id": f"{prefix}-{number}"}, session=session)
                with lock:
                    found.append((f"{prefix}-{number}", answer.status_code, time.monotonic() - began))

    workers = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return found


def kafka_has_all(ingest, key):
    """Nothing is in the spool and the next one goes to Kafka: the topics are made by then."""
    def goes_to_kafka():
        before = ingest.metric("ingest_kept_seconds_count", by="kafka")
        status = post(ingest, {"call_id": key + "-before"}).status_code
        by_kafka = ingest.metric("ingest_kept_seconds_count", by="kafka") > before
        return status == 200 and by_kafka and ingest.metric("ingest_spool_messages") == 0
    wait_until(goes_to_kafka, "webhooks going to Kafka")


def all_arrive(topics, found):
    for call, status, _ in found:
        if status == 200:
            topics.wait("inbound.callrail", call)


def test_kafka_away_webhooks_go_to_the_disk_and_from_there_to_kafka(ingest, topics, kafka, key):
    kafka_has_all(ingest, key)
    kafka.freeze()
    began = time.monotonic()
    assert post(ingest, {"call_id": key + "-first"}).status_code == 200
    assert 0.2 < time.monotonic() - began < 2
    found = burst(ingest, key, 400, 2)
    assert {status for _, status, _ in found} == {200}
    times = sorted(seconds for _, _, seconds in found)
    print(f"from the spool: p50 {times[200] * 1000:.1f} ms, p99 {times[395] * 1000:.1f} ms")
    assert times[200] < 0.1, "nobody waits for a Kafka that is known to be away"
    assert ingest.metric("ingest_spool_messages") == 401 and ingest.metric("ingest_kafka_away") == 1
    assert requests.get(ingest.url + "/ready", timeout=5).status_code == 200
    kafka.thaw()
    all_arrive(topics, found + [(key + "-first", 200, 0)])
    wait_until(lambda: ingest.metric("ingest_spool_messages") == 0, "the spool being empty")
    by_kafka = lambda: ingest.metric("ingest_kept_seconds_count", by="kafka")  # noqa: E731
    kept = by_kafka()
    wait_until(lambda: post(ingest, {"call_id": key + "-last"}).status_code == 200 and by_kafka() > kept, "Kafka being known to be back")
    assert ingest.metric("ingest_kafka_away") == 0


def test_order_of_a_call_survives_the_spool(ingest, topics, kafka, key):
    sent = []

    def send(note):
        body = {"call_id": key, "note": note}
        assert post(ingest, body).status_code == 200
        sent.append(note)

    kafka_has_all(ingest, key + "-other")
    for number in range(30):
        if number == 5:
            kafka.freeze()
        if number == 20:
            kafka.thaw()
        send(number)
    events = topics.wait("inbound.callrail", key, count=30)
    notes = list(dict.fromkeys(json.loads(event["data"]["body"])["note"] for event in events))
    assert notes == sent


def test_what_was_spooled_survives_kill_9(ingest, topics, kafka, key):
    kafka_has_all(ingest, key)
    kafka.freeze()
    found = burst(ingest, key, 200)
    assert {status for _, status, _ in found} == {200}
    ingest.kill()
    ingest.start().ready()
    assert ingest.metric("ingest_spool_messages") >= 200
    found += burst(ingest, key + "-later", 20)
    kafka.thaw()
    all_arrive(topics, found)
    wait_until(lambda: ingest.metric("ingest_spool_messages") == 0, "the spool being empty")


def test_scaled_in_it_sends_what_the_spool_holds_or_says_that_it_could_not(ingest, topics, kafka, key):
    kafka_has_all(ingest, key)
    kafka.freeze()
    lost_to_its_disk = burst(ingest, key + "-away", 50)
    ingest.stop()
    assert "ends with messages that Kafka does not have yet" in ingest.log()
    ingest.start().ready()
    found = burst(ingest, key, 300)
    assert {status for _, status, _ in found + lost_to_its_disk} == {200} and ingest.metric("ingest_spool_messages") >= 350
    kafka.thaw()
    ingest.stop()
    all_arrive(topics, found + lost_to_its_disk)
    assert ingest.log().count("ends with messages that Kafka does not have yet") == 1


def test_killed_at_any_moment_nothing_acknowledged_is_lost(ingest, topics, key):
    found, stop = [], threading.Event()

    def send(worker):
        number = 0
        while not stop.is_set():
            number += 1
            try:
                answer = post(ingest, {"call_id": f"{key}-{worker}-{number}"})
                if answer.status_code == 200:
                    found.append((f"{key}-{worker}-{number}", 200, 0))
            except requests.RequestException:
                time.sleep(0.02)

    workers = [threading.Thread(target=send, args=(n,)) for n in range(8)]
    for worker in workers:
        worker.start()
    for _ in range(3):
        enough = len(found) + 200
        wait_until(lambda: len(found) >= enough, "webhooks being accepted")
        ingest.kill()
        ingest.start().ready()
    stop.set()
    for worker in workers:
        worker.join()
    all_arrive(topics, found)


def test_without_a_spool_it_asks_to_come_again(daemon, topics, kafka, key):
    ingest = daemon("ingest", CALLRAIL_SIGNING_KEY=KEY, SPOOL="off").ready()
    kafka_has_all(ingest, key)
    kafka.freeze()
    for _ in range(2):
        answer = post(ingest, {"call_id": key + "-away"})
        assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0
    assert requests.get(ingest.url + "/ready", timeout=5).status_code == 503
    kafka.thaw()
    wait_until(lambda: post(ingest, {"call_id": key + "-back"}).status_code == 200, "Kafka being back")
    topics.wait("inbound.callrail", key + "-back")


def test_a_full_spool_asks_to_come_again(daemon, topics, kafka, key):
    ingest = daemon("ingest", CALLRAIL_SIGNING_KEY=KEY, SPOOL_BYTES_MAX="1MiB").ready()
    kafka_has_all(ingest, key)
    kafka.freeze()
    found = []
    for number in range(40):
        answer = post(ingest, {"call_id": f"{key}-{number}", "note": "x" * 60_000})
        found.append((f"{key}-{number}", answer.status_code, 0))
    assert {status for _, status, _ in found} == {200, 503}
    assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0
    assert "the spool could not be written" in ingest.log()
    kafka.thaw()
    all_arrive(topics, found)


def test_too_many_at_once_are_asked_to_come_again(daemon, topics, kafka, key):
    ingest = daemon("ingest", CALLRAIL_SIGNING_KEY=KEY, INGEST_IN_FLIGHT_PER_KEY_MAX="1").ready()
    kafka_has_all(ingest, key)
    kafka.freeze()          # so that the first one waits for its 250 ms
    found = burst(ingest, key, 8, 8)
    assert {status for _, status, _ in found} == {200, 429}
    assert ingest.metric("ingest_too_many_total", source="callrail") > 0
    kafka.thaw()
    all_arrive(topics, found)


def test_starting_without_kafka_it_accepts_at_once(daemon, schema_ready, topics, key, kafka):
    kafka.freeze()
    ingest = daemon("ingest", CALLRAIL_SIGNING_KEY=KEY).ready()
    found = burst(ingest, key, 20)
    assert {status for _, status, _ in found} == {200}
    kafka.thaw()
    all_arrive(topics, found)


def test_without_postgres_the_last_known_keys_hold(daemon, topics, database, key):
    name = "copied-" + uuid.uuid4().hex[:8]
    add_company(database, name, "its key", a_number())
    settings = {"CALLRAIL_SIGNING_KEY": KEY, "INSTANCE": "ingest-" + uuid.uuid4().hex[:6]}
    ingest = daemon("ingest", instance=settings["INSTANCE"], CALLRAIL_SIGNING_KEY=KEY).ready()
    company_is_known(ingest, name, "its key")
    assert ingest.stop() == 0
    ingest.settings["DATABASE_URL"] = f"postgresql://postgres@127.0.0.1:{free_port()}/nothing"
    ingest.start().ready()
    assert post(ingest, {"call_id": key}, company=name, key="its key").status_code == 200
    assert post(ingest, {"call_id": key + "-2"}).status_code == 200
    topics.wait("inbound.callrail", key)
    ready = requests.get(ingest.url + "/ready", timeout=5)
    assert ready.status_code == 200 and "the recorder waits" in ready.text
    copy, = ingest.folder.glob("state/keys.json")
    assert copy.stat().st_mode & 0o777 == 0o600


def test_it_ends_cleanly_under_load(ingest, topics, key):
    found, stop = [], threading.Event()

    def send(worker):
        number = 0
        while not stop.is_set():
            number += 1
            try:
                status = post(ingest, {"call_id": f"{key}-{worker}-{number}"}).status_code
            except requests.RequestException:
                return
            found.append((f"{key}-{worker}-{number}", status, 0))

    workers = [threading.Thread(target=send, args=(n,)) for n in range(4)]
    for worker in workers:
        worker.start()
    wait_until(lambda: len(found) > 100, "webhooks being accepted")
    assert ingest.stop() == 0
    stop.set()
    for worker in workers:
        worker.join()
    assert {status for _, status, _ in found} <= {200, 503}
    all_arrive(topics, found)


def test_the_operators_see_it(ingest, key):
    post(ingest, {"call_id": key})
    assert requests.get(ingest.url + "/health", timeout=5).status_code == 200
    text = requests.get(ingest.url + "/metrics", timeout=5).text
    assert ingest.metric("ingest_requests_total", route="/api/v1/callrail/call.completed", status="200") == 1
    for name in ["ingest_in_flight", "ingest_spool_messages", "ingest_spool_bytes", "ingest_spool_aside", "ingest_kafka_away",
                 "ingest_not_kept_total", "ingest_last_heard_seconds"]:
        assert f"# HELP switchboard_{name} " in text
