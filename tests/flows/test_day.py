"""The sample day's own parts; the whole of it is played by `make run ONCE=1`."""

import array
import importlib
import io
import os
import subprocess
import sys
import wave
from datetime import datetime, timezone
from types import SimpleNamespace

import pytest
from sandbox_process import ROOT, WAIT_S

FOLDER = ROOT / "deploy/local"


@pytest.fixture
def part(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


def test_the_call_has_the_agent_left_and_the_customer_right(part):
    speech = part("speech")
    call = speech.speak((("agent", "Good morning."), ("customer", "Hello.")))
    with wave.open(io.BytesIO(call.wav)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 16_000)
        assert file.getnframes() / 16_000 == pytest.approx(call.seconds, abs=0.01)
        samples = array.array("h", file.readframes(file.getnframes()))
    for segment in call.segments:
        begin, end = (int(segment[name] * 16_000) for name in ("start", "end"))
        left, right = (max(map(abs, samples[2 * begin + side : 2 * end : 2])) for side in (0, 1))
        assert (left > 1000, right > 1000) == (segment["speaker"] == "agent", segment["speaker"] == "customer")


def test_a_voice_that_is_not_there_is_said(part):
    speech = part("speech")
    with pytest.raises(speech.CannotSpeak, match="nobody"):
        speech.speak((("agent", "Good morning."),), {"agent": "nobody"})


def test_settings_are_read_as_the_daemons_read_them(part, tmp_path):
    path = tmp_path / ".env"
    path.write_text('# a remark\nexport A="x \\"q\\" \\$HOME"\nB=\'one # two\'\nC=plain value # a remark\nD=\nE=a#b\n')
    expected = {"A": 'x "q" $HOME', "B": "one # two", "C": "plain value", "D": "", "E": "a#b"}
    assert part("day").settings_of_file(path) == expected


def test_a_day_after_a_day_has_a_salesperson_with_another_phone(part, monkeypatch):
    """The coach could write freely to the first, as far as it knows; a sandbox that was started in between would not take it."""
    coach = part("coach")
    days = [coach.Coached(SimpleNamespace(company=SimpleNamespace(tenant="sample")), None) for _ in range(3)]
    for known, day in zip(([], coach.PHONES[:1], coach.PHONES), days):
        monkeypatch.setattr(day, "asked", lambda *_, known=known: [{"phone": phone} for phone in known])
    assert [day.phone for day in days] == [coach.PHONES[0], coach.PHONES[1], coach.PHONES[0]]


ACCEPTED, REFUSED = {"status": 200}, {"status": 401}
DONE = {
    "status": "completed", "brought_by": "hook", "contact_phone": "+12025550123", "lead": "hot", "recording": "a.wav", "words": 81,
    "booking_status": "booked", "objections": [{"category": "price", "quote": "too expensive"}], "appointment_id": "1",
    "delivery": "delivered",
}


def test_all_of_a_call_that_is_booked_must_be_there(part):
    sample = part("sample")
    booked, *_ = sample.CALLS
    webhooks = [ACCEPTED] * 3
    assert sample.missing(booked, DONE, webhooks, []) == []
    for name in DONE:
        assert sample.missing(booked, {**DONE, name: None}, webhooks, []), name
    assert len(sample.missing(booked, {}, [], [])) == 11
    assert sample.missing(booked, DONE, [ACCEPTED, ACCEPTED, REFUSED], [])[0][0] == "1 of CallRail's 3 webhooks acknowledged"
    assert sample.missing(booked, DONE, webhooks, ["transcribe cannot handle it"])[0][1] == "transcribe cannot handle it"
    assert sample.missing(booked, {**DONE, "delivery": "failed"}, webhooks, [])[0][0] == "the WhatsApp message, delivered"


def test_a_call_that_is_not_booked_must_not_be(part):
    sample = part("sample")
    _, price, _ = sample.CALLS
    row = {**DONE, "booking_status": "not_booked", "appointment_id": None, "delivery": None}
    assert sample.missing(price, row, [ACCEPTED] * 3, []) == []
    assert sample.missing(price, DONE, [ACCEPTED] * 3, [])[0][0] == "the call being not booked"
    (what, hint), = sample.missing(price, {**row, "objections": [{"category": "timing"}]}, [ACCEPTED] * 3, [])
    assert (what, hint) == ("the objection to the price", "stage analyze: timing")


def test_a_lost_call_must_have_been_fetched(part):
    sample = part("sample")
    _, _, lost = sample.CALLS
    row = {"status": "missed", "brought_by": "fetch", "contact_phone": "+12025550125", "lead": "new"}
    assert lost.hooks == () and sample.missing(lost, row, [], []) == []
    (what, _), = sample.missing(lost, {**row, "brought_by": "hook"}, [], [])
    assert what == "the call, missed, in calls, fetched from CallRail"


VISITED = {"status": "completed", "recording": "v.wav", "words": 54, "outcome": "won", "appointment_outcome": "won", "lead": "closed"}


def test_all_of_a_visit_that_is_won_must_be_there(part):
    visit = part("visit")
    assert visit.missing(VISITED, []) == []
    for name in VISITED:
        assert len(visit.missing({**VISITED, name: None}, [])) == 1, name
    assert visit.missing({**VISITED, "outcome": "pending"}, [])[0] == ("the visit being won", "stage analyze: it is pending")
    assert visit.missing(VISITED, ["transcribe cannot handle it"])[0][1] == "transcribe cannot handle it"


def test_each_call_has_a_caller_of_its_own(part):
    sample = part("sample")
    assert len({call.caller for call in sample.CALLS}) == len(sample.CALLS) == 3


COACHED = {"status": "completed", "last_client_reply": "they sign for one year, and want the first visit in December", "plan_provider": "rules",
           "note": "logged", "hubspot_note_id": "1"}


def test_all_of_a_coached_meeting_must_be_there(part):
    coach = part("coach")
    assert coach.missing(COACHED, True) == [] == coach.missing({**COACHED, "note": "no_contact", "hubspot_note_id": None}, False)
    for name in COACHED:
        assert len(coach.missing({**COACHED, name: None}, True)) == 1, name
    assert len(coach.missing({}, True)) == 5 == len(coach.missing({}, False))
    (what, hint), = coach.missing({**COACHED, "note": "refused", "note_error": "MISSING_SCOPES"}, True)
    assert (what, hint) == ("the note at HubSpot", "stage notifier: it is refused MISSING_SCOPES")


def a_conversation(chat):
    at = datetime(2026, 11, 26, 9, 5, tzinfo=timezone.utc)
    return [chat.Said(at, "Your plan for the contract with Stone Bakery.\n\n1. " + "Say what it saves them. " * 8, "read"),
            chat.Said(at, "Thanks"),
            chat.Said(at, "שלום, הפגישה מחר בשעה 10:30 עם בי סטון בנושא חידוש החוזה, בהצלחה ולהתראות!", "sent"),
            chat.Said(at, "長い日本語の文章はここで折り返されます。" * 4, "queued"),
            chat.Said(at, "https://example.test/" + "x" * 200)]


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_conversation_is_drawn_within_the_terminal(part, columns):
    chat = part("chat")
    lines = chat.drawn(a_conversation(chat), "Nora", True, columns)
    assert max(map(chat.columns_of, lines)) <= min(columns, 80)
    tops, bottoms = ([line for line in lines if corner in line] for corner in "╭╰")
    assert len(tops) == len(bottoms) == 5
    assert [line.index("╭") > 2 for line in tops] == [False, True, False, False, True], "what the person wrote is on the right"
    assert ["✓✓" in line for line in bottoms] == [True, False, False, False, False]
    assert "✓ " in bottoms[2] and "… " in bottoms[3]
    assert len({chat.columns_of(line) for line in lines if line.startswith("  │ Your") or "Say what" in line}) == 1, "the frame is straight"


def test_right_to_left_words_keep_their_order_and_their_side(part):
    chat = part("chat")
    *_, said, _, _ = a_conversation(chat)
    _, *middle, bottom = chat.bubble(said, 80)
    assert " ".join(line.strip(" │") for line in middle) == said.text, "as they were written: turning them is the terminal's affair"
    assert len(middle) == 2 and middle[1].endswith(said.text[-8:] + " │") and "│   " in middle[1], "a short line begins on the right"
    assert not any(chat.runs_right_to_left(line) for line in (middle[0][:2], bottom)), "the time stands on a line of its own"


def test_without_a_terminal_it_is_plain(part):
    chat = part("chat")
    lines = chat.drawn(a_conversation(chat), "Nora", False)
    assert max(map(chat.columns_of, lines)) <= 80 and not set("╭│╰✓") & set("".join(lines))
    heads = [line for line in lines if line.endswith(":") and not line.startswith("      ")]
    assert [head.split(" ", 3)[3] for head in heads] == ["coach (read):", "Nora:", "coach (sent):", "coach (queued):", "Nora:"]


def test_what_a_terminal_would_obey_is_not_shown(part):
    chat = part("chat")
    message = {"at": "2026-11-26T09:05:00Z", "direction": "inbound", "body": "a\x1b[2Jb\u0007", "media": ["http://x/Media/ME1"], "status": "received"}
    assert chat.said_of(message).text == "[ME1]\na[2Jb"


@pytest.mark.parametrize("missing", ["postgres", "settings"])
def test_what_is_missing_is_said_in_a_sentence(tmp_path, missing):
    names = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "SANDBOX_URL")}
    if missing == "postgres":
        names["DATABASE_URL"] = f"postgresql://{tmp_path}:1/nothing"
    elif (ROOT / ".run/env").exists() or (ROOT / ".env").exists():
        pytest.skip("settings are found in .env or .run/env here")
    day = [sys.executable, "-W", "error", FOLDER / "day.py"]
    done = subprocess.run(day, env=names, capture_output=True, text=True, timeout=WAIT_S)
    assert done.returncode == 1 and done.stderr == ""
    assert "The sample day could not be played: " in done.stdout
    assert ("Postgres" if missing == "postgres" else "DATABASE_URL is not set") in done.stdout
