"""What salespeople write by WhatsApp: kept at the door, recorded once, and told in the conversation of who wrote it."""

import urllib.parse
import uuid

import pytest
import requests
from call_pipeline import a_number
from daemons import Daemon
from environment import wait_until
from twilio.request_validator import RequestValidator

TOKEN = "twilio-token"
PUBLIC = "https://hooks.example.test"
PATH = "/whatsapp-webhook"


@pytest.fixture(scope="module")
def ingest(schema_ready, topics, tmp_path_factory):
    with schema_ready.connect() as connection:
        connection.execute("INSERT INTO companies (tenant, name) VALUES ('coached', 'Everybody else''s') ON CONFLICT DO NOTHING")
    daemon = Daemon("ingest", schema_ready, tmp_path_factory.mktemp("chats"), TWILIO_AUTH_TOKEN=TOKEN, PUBLIC_URL=PUBLIC,
                    DEFAULT_TENANT="coached").ready()
    yield daemon
    assert daemon.stop() == 0


class Person:
    """A salesperson of a company of their own, with one number."""

    def __init__(self, database, email=None, phone=None, used=None):
        self.tenant, self.phone = "acme-" + uuid.uuid4().hex[:10], phone or a_number()
        self.email = email or f"ana-{uuid.uuid4().hex[:8]}@acme.test"
        database.execute("INSERT INTO companies (tenant, name) VALUES (%s, 'Acme')", [self.tenant])
        database.execute("INSERT INTO users (tenant, email, user_id, name, phone, role) VALUES (%s, %s, %s, 'Ana Silva', %s, 'rep')",
                         [self.tenant, self.email, self.tenant + "-ana", self.phone])
        self.has(database, self.phone, used)

    def has(self, database, phone, used=None):
        database.execute("INSERT INTO user_phones (tenant, phone, email, last_received_at, created_at) VALUES"
                         " (%s, %s, %s, %s, now() - interval '1 year')", [self.tenant, phone, self.email, used])


def message(phone, body="hello", sid=None, **more):
    return {"MessageSid": sid or "SM" + uuid.uuid4().hex, "From": "whatsapp:" + phone, "To": "whatsapp:+14155238886", "Body": body,
            "NumMedia": "0", "MessageType": "text", "ProfileName": "Ana", **more}


def post(ingest, fields, token=TOKEN, body=None, **headers):
    """As Twilio does: signed over the public address and the form."""
    signature = RequestValidator(token).compute_signature(PUBLIC + PATH, fields)
    body = body if body is not None else urllib.parse.urlencode(fields)
    return requests.post(ingest.url + PATH, data=body, timeout=10,
                         headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-8", "X-Twilio-Signature": signature, **headers})


def write(ingest, phone, body="hello", **more):
    fields = message(phone, body, **more)
    answer = post(ingest, fields)
    assert answer.status_code == 200, answer.text
    return fields["MessageSid"]


def rows(database, sid):
    return database.execute("SELECT tenant, email, phone, purpose, message, direction FROM messages WHERE message_id = %s", [sid]).fetchall()


def recorded(database, sid):
    return wait_until(lambda: rows(database, sid), f"message {sid} being recorded")


def test_a_message_reaches_the_conversation_of_its_writer(ingest, topics, database):
    ana = Person(database)
    answer = post(ingest, fields := message(ana.phone, "Zoë 你好 👋 & more = +"))
    assert (answer.status_code, answer.text, answer.headers["Content-Type"].split(";")[0]) == (200, "<Response/>", "text/xml")
    received, = topics.wait("meetings", ana.email)
    assert (received["type"], received["tenant"]) == ("chat.received", ana.tenant)
    assert received["data"] == {"message_id": fields["MessageSid"], "from": ana.phone, "salesperson": ana.email, "kind": "text",
                                "text": "Zoë 你好 👋 & more = +"}
    assert recorded(database, fields["MessageSid"]) == [(ana.tenant, ana.email, ana.phone, "text", "Zoë 你好 👋 & more = +", "incoming")]
    kept, = topics.wait("inbound.twilio", "whatsapp:" + ana.phone)
    assert kept["data"]["url"] == PUBLIC + PATH
    at = database.execute("SELECT last_received_at FROM user_phones WHERE tenant = %s", [ana.tenant]).fetchone()[0]
    assert at.isoformat().replace("+00:00", "Z") == kept["data"]["received_at"], "free text may be sent for a day from here on"


def test_the_same_message_twice_is_one(ingest, topics, database):
    ana = Person(database)
    sid = write(ingest, ana.phone, "once")
    write(ingest, ana.phone, "once", sid=sid)
    token = {"I-Twilio-Idempotency-Token": uuid.uuid4().hex}
    for _ in range(2):          # a later try of Twilio's, which has a token
        assert post(ingest, message(ana.phone, "once", sid), **token).status_code == 200
    last = write(ingest, ana.phone, "the last")
    topics.wait("meetings", ana.email, message_id=last)
    assert [event["data"]["message_id"] for event in topics.find("meetings", ana.email)] == [sid, last]
    assert len(recorded(database, sid)) == 1


def test_messages_of_one_moment_keep_their_order(ingest, topics, database):
    ana = Person(database)
    sids = [write(ingest, ana.phone, str(number)) for number in range(10)]
    told = topics.wait("meetings", ana.email, count=10)
    assert [event["data"]["message_id"] for event in told] == sids
    in_rows = database.execute('SELECT message_id FROM messages WHERE tenant = %s ORDER BY "timestamp"', [ana.tenant]).fetchall()
    assert [sid for sid, in in_rows] == sids


def test_the_number_last_written_from_receives(ingest, topics, database):
    ana = Person(database)
    first, second = ana.phone, a_number()
    ana.has(database, second)
    for phone in (second, first, second):
        topics.wait("meetings", ana.email, message_id=write(ingest, phone))
        assert database.execute("SELECT phone FROM users WHERE tenant = %s", [ana.tenant]).fetchone()[0] == phone


def test_a_number_of_two_companies_speaks_to_the_one_where_it_was_used_last(ingest, topics, database):
    phone = a_number()
    older = Person(database, phone=phone, used="2026-01-01T00:00:00Z")
    newer = Person(database, phone=phone, used="2026-02-01T00:00:00Z")
    sid = write(ingest, phone)
    assert recorded(database, sid)[0][:2] == (newer.tenant, newer.email)
    topics.wait("meetings", newer.email, message_id=sid)
    assert not topics.find("meetings", older.email)
    database.execute("UPDATE user_phones SET created_at = now() WHERE tenant = %s", [older.tenant])         # it registered anew
    assert recorded(database, write(ingest, phone))[0][0] == older.tenant


def test_a_number_nobody_has_is_kept_and_told_by_its_number(ingest, topics, database):
    phone = a_number()
    sid = write(ingest, phone, "who are you?")
    told, = topics.wait("meetings", phone)
    assert told["data"] == {"message_id": sid, "from": phone, "kind": "text", "text": "who are you?"} and told["tenant"] == "coached"
    assert recorded(database, sid) == [("coached", None, phone, "text", "who are you?", "incoming")]


def test_a_number_nobody_has_is_a_dead_letter_without_a_company_to_answer(ingest, topics, database):
    assert ingest.stop() == 0
    company = ingest.settings.pop("DEFAULT_TENANT")
    ingest.start().ready()
    phone = a_number()
    write(ingest, phone)
    letter, = topics.wait("dead.ingest", "whatsapp:" + phone)
    assert "DEFAULT_TENANT is not set" in letter["data"]["reason"] and phone not in letter["data"]["reason"]
    ana = Person(database)
    topics.wait("meetings", ana.email, message_id=write(ingest, ana.phone))
    assert ingest.stop() == 0
    ingest.settings["DEFAULT_TENANT"] = company
    ingest.start().ready()


@pytest.mark.parametrize("kind, fields", [
    ("voice", {"NumMedia": "1", "MediaUrl0": "https://api.twilio.com/2010-04-01/Accounts/AC1/Messages/MM1/Media/ME1", "Body": "",
               "MediaContentType0": "audio/ogg; codecs=opus", "MessageType": "audio"}),
    ("media", {"NumMedia": "1", "MediaUrl0": "https://api.twilio.com/x", "MediaContentType0": "image/jpeg", "MessageType": "image"}),
    ("media", {"Latitude": "38.9", "Longitude": "-77.0", "MessageType": "location", "Body": ""}),
    ("text", {"ButtonText": "Plan", "ButtonPayload": "plan", "MessageType": "button", "Body": ""}),
])
def test_what_is_no_text_is_told_as_what_it_is(ingest, topics, database, kind, fields):
    ana = Person(database)
    sid = write(ingest, ana.phone, fields.get("Body", "look"), **{name: value for name, value in fields.items() if name != "Body"})
    told, = topics.wait("meetings", ana.email)
    assert told["data"]["kind"] == kind == recorded(database, sid)[0][3]
    assert told["data"].get("media_url") == (fields["MediaUrl0"] if kind == "voice" else None)


def test_who_is_not_let_in_and_what_cannot_be_read(ingest, topics):
    phone = a_number()
    assert post(ingest, message(phone), token="wrong").status_code == 401
    assert post(ingest, message(phone), body="MessageSid=SM1&From=somebody+else").status_code == 401
    assert post(ingest, {"From": "whatsapp:" + phone, "Body": phone}).status_code == 200
    assert post(ingest, {"MessageSid": "SM1", "Body": phone}).status_code == 200
    letters = wait_until(lambda: (found := [event for event in topics.find("dead.ingest", type="event.rejected")
                                            if phone.lstrip("+") in event["data"]["event"]]) and len(found) == 2 and found, "two dead letters")
    assert sorted(letter["data"]["pointer"] for letter in letters) == ["/From", "/MessageSid"]
    assert not topics.find("inbound.twilio", "whatsapp:" + phone)
