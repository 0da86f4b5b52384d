"""A voice note becomes the words of its message, and nothing of it is kept."""

import hashlib
import uuid
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from call_pipeline import a_number, recording, segments
from daemons import Daemon, event
from environment import ROOT, wait_until
from sandbox_process import KEYS, Sandbox
from sandbox_process import process  # noqa: F401 (a fixture)
from voice_note import Twilio, opus

ACCOUNT, TOKEN = "AC1", "the-auth-token"
SPOKEN = ROOT.parent / "shared" / "audio" / "one-question.wav"
LINES = (("customer", "they liked it"), ("customer", "and want the contract on Monday"))
WORDS = "they liked it and want the contract on Monday"


@pytest.fixture(scope="module")
def twilio():
    twilio = Twilio(ACCOUNT, TOKEN)
    yield twilio
    twilio.close()


@pytest.fixture(scope="module")
def elsewhere():
    """Where Twilio's media are stored: another host."""
    other = Twilio("nobody", "nobody")
    yield other
    other.close()


@pytest.fixture(scope="module")
def transcribe(schema_ready, topics, process, twilio, elsewhere, tmp_path_factory):  # noqa: F811
    folder = tmp_path_factory.mktemp("notes")
    daemon = Daemon("transcribe", schema_ready, folder, TRANSCRIBE_WITH="openai", RECORDINGS_DIR=str(folder / "recordings"),
                    OPENAI_API_KEY=KEYS["OPENAI_API_KEY"], OPENAI_BASE_URL=process + "/openai/v1", TWILIO_ACCOUNT_SID=ACCOUNT,
                    TWILIO_AUTH_TOKEN=TOKEN + ",an-older-one", TWILIO_BASE_URL=twilio.url,
                    RECORDING_PRIVATE_ALLOWED=f"{twilio.address},{elsewhere.address}").ready()
    yield daemon
    assert daemon.stop() == 0


@pytest.fixture
def sandbox(process, transcribe):  # noqa: F811
    sandbox = Sandbox(process)
    sandbox.control("POST", "/reset")
    return sandbox


class Coach:
    """One salesperson, and what ingest made of what they sent."""

    def __init__(self, database, topics):
        self.database, self.topics = database, topics
        self.tenant, self.phone = "acme-" + uuid.uuid4().hex[:10], a_number()
        self.email = f"ana-{uuid.uuid4().hex[:8]}@acme.test"
        database.execute("INSERT INTO companies (tenant, name) VALUES (%s, 'Acme')", [self.tenant])

    def message(self, sid, media_url, kind="voice", age_s=0, run=0, **more):
        self.database.execute(
            "INSERT INTO messages (tenant, message_id, email, phone, direction, purpose, message, \"timestamp\") VALUES"
            " (%s, %s, %s, %s, 'incoming', %s, '', now()) ON CONFLICT DO NOTHING", [self.tenant, sid, self.email, self.phone, kind])
        at = (datetime.now(timezone.utc) - timedelta(seconds=age_s)).isoformat().replace("+00:00", "Z")
        data = {"message_id": sid, "from": self.phone, "salesperson": self.email, "kind": kind, "media_url": media_url,
                "media_type": "audio/ogg"}
        self.topics.send("meetings", self.email, event("chat.received", self.email, data, tenant=self.tenant, time=at, **more))

    def heard(self, sid, **more):
        return self.topics.wait("transcripts", self.email, message_id=sid, **more)[-1]["data"]

    def text(self, sid):
        return self.database.execute("SELECT message FROM messages WHERE tenant = %s AND message_id = %s", [self.tenant, sid]).fetchone()[0]


@pytest.fixture
def coach(database, topics):
    return Coach(database, topics)


def a_sid():
    return "MM" + uuid.uuid4().hex


def said(sandbox, sid, lines=LINES):
    sandbox.control("PUT", "/transcripts", json={"file_name": f"{sid}-speaker-*", "segments": segments(lines, None)})
    return opus(recording(lines, 1))


def is_nowhere(transcribe, audio):
    """Neither in the folder of recordings, whole or begun, nor open."""
    left = [path for path in Path(transcribe.settings["RECORDINGS_DIR"]).rglob("*") if path.is_file() and path.read_bytes()[:1000] == audio[:1000]]
    return not left and hashlib.sha256(audio).hexdigest() not in transcribe.log()


def test_a_note_becomes_the_words_of_its_message(sandbox, transcribe, twilio, coach, database):
    sid = a_sid()
    audio = said(sandbox, sid)
    coach.message(sid, twilio.has(sid, audio))
    assert coach.heard(sid) == {"message_id": sid, "from": coach.phone, "salesperson": coach.email, "text": WORDS, "provider": "openai",
                                "model": "whisper-1"}
    assert coach.text(sid) == WORDS
    assert is_nowhere(transcribe, audio), "a voice is kept nowhere"
    kept = database.execute("SELECT name, length(coalesce(answer, '')) FROM asks WHERE correlation_id = %s ORDER BY name", [coach.email]).fetchall()
    assert [name for name, _ in kept] == ["note", "transcribe"] and dict(kept)["note"] == 0


def test_pocketsphinx_hears_a_note(schema_ready, topics, twilio, coach, transcribe):
    if not SPOKEN.exists():
        pytest.skip("recorded speech is not here")
    assert transcribe.stop() == 0
    for provider in ("local", "shunya"):        # Shunya is asked by address, and a note's opens to us alone
        own = {"TRANSCRIBE_WITH": provider, "SHUNYA_API_KEY": "k", "SHUNYA_BASE_URL": "http://127.0.0.1:9"}
        daemon = Daemon("transcribe", schema_ready, transcribe.folder, **{**transcribe.settings, **own, "port": transcribe.port})
        sid = a_sid()
        coach.message(sid, twilio.has(sid, opus(SPOKEN.read_bytes())))
        heard = coach.heard(sid)
        assert (heard["provider"], heard["model"]) == ("local", "pocketsphinx") and len(heard["text"].split()) >= 3, heard
        assert daemon.stop() == 0
    transcribe.start().ready()


def test_twilios_credentials_stay_with_twilio(sandbox, twilio, elsewhere, coach):
    sid = a_sid()
    elsewhere.media["/stored"] = [(200, {}, said(sandbox, sid))]
    coach.message(sid, twilio.has(sid, (307, {"Location": elsewhere.url + "/stored"}, b"")))
    assert coach.heard(sid)["text"] == WORDS
    assert twilio.asked[-1][1] == twilio.wanted and elsewhere.asked[-1] == ("/stored", None)
    for address in (f"{elsewhere.url}/stored", f"http://{twilio.address}@{elsewhere.address}/stored", f"{twilio.url}.evil.test/x"):
        sid = a_sid()
        said(sandbox, sid)
        coach.message(sid, address, age_s=3600)
        if "evil" not in address:
            coach.heard(sid)
    assert all(given is None or "the-auth" not in given and given != twilio.wanted for _, given in elsewhere.asked)


def test_what_leads_inside_is_not_followed(sandbox, transcribe, twilio, coach):
    sid = a_sid()
    coach.message(sid, twilio.has(sid, (302, {"Location": "http://127.0.0.1:9/secret"}, b"")))
    assert coach.heard(sid)["text"] == ""
    assert "may not" in transcribe.log() or "private" in transcribe.log()


def test_a_note_that_twilio_does_not_have_yet_is_waited_for(sandbox, twilio, coach):
    sid = a_sid()
    coach.message(sid, twilio.has(sid, (404, {}, b""), (503, {}, b""), said(sandbox, sid)))
    assert coach.heard(sid)["text"] == WORDS
    assert twilio.times(sid) == 3


def test_it_is_not_fetched_again_when_only_the_listening_failed(sandbox, twilio, coach):
    sid = a_sid()
    sandbox.fault(provider="openai", what="status", status=500, count=2)
    coach.message(sid, twilio.has(sid, said(sandbox, sid)))
    assert coach.heard(sid)["text"] == WORDS
    assert twilio.times(sid) == 1


@pytest.mark.parametrize("answer", [
    (404, {}, b""), (410, {}, b""), b"", b"<!doctype html><title>Sign in</title>", b"\x00\x00\x00\x18ftypM4A ", b"OggS\x00" + bytes(60),
    b"OggS" + bytes(7 * 1024 * 1024),
], ids=["gone", "deleted", "empty", "a page", "m4a", "broken Ogg", "too large"])
def test_what_cannot_be_heard_is_a_note_of_no_words(sandbox, transcribe, twilio, coach, answer):
    sid = a_sid()
    coach.message(sid, twilio.has(sid, answer), age_s=3600)
    assert coach.heard(sid) == {"message_id": sid, "from": coach.phone, "salesperson": coach.email, "text": ""}
    assert sid in transcribe.log() and coach.text(sid) == ""


def test_nobody_speaks(sandbox, twilio, coach):
    sid = a_sid()
    coach.message(sid, twilio.has(sid, opus(sandbox.wav(2))))
    assert coach.heard(sid)["text"] == "" and coach.heard(sid)["provider"] == "openai"


def test_a_long_note_is_cut_between_characters(sandbox, twilio, coach):
    sid = a_sid()
    coach.message(sid, twilio.has(sid, said(sandbox, sid, (("customer", "ä" * 3000), ("customer", "ö" * 3000)))))
    assert coach.heard(sid)["text"] == "ä" * 3000 + " " + "ö" * 1095 == coach.text(sid)


def test_a_replay_has_the_words_when_twilio_has_the_note_no_more(sandbox, twilio, coach, topics):
    sid = a_sid()
    coach.message(sid, twilio.has(sid, said(sandbox, sid)))
    coach.heard(sid)
    twilio.has(sid, (404, {}, b""))
    coach.message(sid, twilio.url + "/2010-04-01/gone", age_s=3600)
    told = wait_until(lambda: len(found := topics.find("transcripts", coach.email)) == 2 and found, "it being told again")
    assert told[-1]["data"]["text"] == WORDS and coach.text(sid) == WORDS


def test_texts_and_pictures_are_passed_over(sandbox, twilio, coach, database):
    sid = a_sid()
    coach.message(sid, twilio.has(sid, b"a picture"), kind="media")
    ended = wait_until(lambda: database.execute("SELECT outcome FROM ledger WHERE stage = 'transcribe' AND correlation_id = %s",
                                                [coach.email]).fetchone(), "it being passed over")
    assert ended[0] == "skipped" and twilio.times(sid) == 0


def test_wrong_credentials_hold_up_no_other_work(schema_ready, sandbox, transcribe, twilio, coach, topics):
    assert transcribe.stop() == 0
    daemon = Daemon("transcribe", schema_ready, transcribe.folder, **{**transcribe.settings, "TWILIO_AUTH_TOKEN": "wrong", "port": transcribe.port})
    sids = [a_sid() for _ in range(10)]
    for sid in sids:
        coach.message(sid, twilio.has(sid, said(sandbox, sid)))
    wait_until(lambda: twilio.times(sids[0]) >= 3, "Twilio refusing")
    daemon.ready()
    assert daemon.stop() == 0
    transcribe.start().ready()
    assert coach.heard(sids[-1])["text"] == WORDS
