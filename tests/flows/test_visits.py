"""A visit's recording becomes its transcript, its analysis and its appointment's outcome, whoever listens and whoever reads."""

import datetime
import hashlib
import uuid

import pytest
from call_pipeline import pipeline, process, recording, segments, started  # noqa: F401 (fixtures)
from daemons import event
from environment import wait_until

WON = (
    ("agent", "Good morning, my name is Ana. What would you like to have done?"),
    ("customer", "The roof leaks, and your first price was too expensive."),
    ("agent", "We would replace it for nine thousand dollars. Shall we start on Monday?"),
    ("customer", "I wanted to think about it, but all right, let's do it."),
    ("agent", "Thank you, I will send the papers."),
)
LOST = (("agent", "Good morning, this is Ana."), ("customer", "I am sorry, we are going with another company."))
PENDING = (("agent", "Would you like to sign?"), ("customer", "I will sign, but first I have to talk to my wife."))
OUTCOMES = {"won": WON, "lost": LOST, "pending": PENDING}
READERS = {"rules": {"LLM_PROVIDER": "rules"}, "openai": {"LLM_PROVIDER": "openai"}, "gemini": {"LLM_PROVIDER": "gemini"}}


def an_appointment(pipeline, company):
    """Of a lead that is open."""
    contact_id, lead_id, appointment_id = (str(uuid.uuid4()) for _ in range(3))
    execute = pipeline.database.execute
    phone = "+1202" + str(2_000_000 + uuid.uuid4().int % 7_999_999)
    execute("INSERT INTO contact_cards (tenant, contact_id, phone) VALUES (%s, %s, %s)", [company.tenant, contact_id, phone])
    execute("INSERT INTO leads (tenant, lead_id, contact_id, status) VALUES (%s, %s, %s, 'hot')", [company.tenant, lead_id, contact_id])
    execute("INSERT INTO appointments (tenant, appointment_id, lead_id, source_time) VALUES (%s, %s, %s, now())",
            [company.tenant, appointment_id, lead_id])
    return appointment_id


def a_visit(pipeline, company, appointment_id, lines, hour=10, audio=None):
    """What ingest makes of a recording session that was stopped."""
    session_id = str(uuid.uuid4())
    began = datetime.datetime(2026, 11, 20, hour, tzinfo=datetime.timezone.utc)
    audio = audio or recording(lines, 1)
    pipeline.sandbox.control("PUT", f"/files/{session_id}.wav", data=audio, headers={"Content-Type": "audio/wav"})
    pipeline.sandbox.control("PUT", "/transcripts", json={"file_name": f"{session_id}-speaker-*", "segments": segments(lines, None)})
    url = f"{pipeline.sandbox.url}/files/{session_id}.wav"
    pipeline.database.execute(
        "INSERT INTO recording_sessions (tenant, session_id, appointment_id, status, audio_url, started_at, stopped_at)"
        " VALUES (%s, %s, %s, 'completed', %s, %s, %s)",
        [company.tenant, session_id, appointment_id, url, began, began + datetime.timedelta(minutes=30)])
    data = {"session_id": session_id, "appointment_id": appointment_id, "audio_url": url}
    pipeline.topics.send("visits", session_id, event("visit.recorded", session_id, data, tenant=company.tenant))
    return session_id


def row_of(pipeline, table, session_id):
    found = lambda: pipeline.database.execute(f"SELECT * FROM {table} WHERE session_id = %s", [session_id]).fetchall()  # noqa: E731
    return wait_until(found, f"a row of {session_id} in {table}")[0]


def appointment(pipeline, appointment_id):
    return pipeline.database.execute("SELECT a.*, l.status AS lead_status FROM appointments a LEFT JOIN leads l USING (tenant, lead_id)"
                                     " WHERE appointment_id = %s", [appointment_id]).fetchone()


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_visit_decides_its_appointment(pipeline, reader, outcome):
    pipeline.use("analyze", ANALYZE_CALLS_WITH="llm", **READERS[reader])
    company = pipeline.company()
    appointment_id = an_appointment(pipeline, company)
    session_id = a_visit(pipeline, company, appointment_id, OUTCOMES[outcome])
    analysis = row_of(pipeline, "recording_analyses", session_id)
    assert (analysis["tenant"], analysis["provider"], analysis["outcome"]) == (company.tenant, reader, outcome)
    transcript = row_of(pipeline, "recording_transcripts", session_id)
    assert transcript["text"].splitlines() == [f"speaker: {text}" for _, text in OUTCOMES[outcome]]
    quotes = [item["quote"] for item in analysis["evidence"] if item["field"] == "outcome"]
    assert quotes and all(quote in transcript["text"] for quote in quotes)
    decided = appointment(pipeline, appointment_id)
    assert (decided["outcome"], decided["lead_status"]) == (outcome, "hot" if outcome == "pending" else "closed")
    copy = row_of(pipeline, "session_recordings", session_id)
    content = (pipeline.folder / "recordings" / copy["path"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == copy["sha256"]
    told = pipeline.topics.wait("results", session_id)[0]["data"]
    assert (told["outcome"], told["appointment_id"], told["provider"]) == (outcome, appointment_id, reader)


def test_the_latest_visit_decides_in_whatever_order_they_are_handled(pipeline):
    pipeline.use("analyze", ANALYZE_CALLS_WITH="llm", **READERS["rules"])
    company = pipeline.company()
    appointment_id = an_appointment(pipeline, company)
    row_of(pipeline, "recording_analyses", a_visit(pipeline, company, appointment_id, WON, hour=15))
    row_of(pipeline, "recording_analyses", a_visit(pipeline, company, appointment_id, LOST, hour=9))
    assert appointment(pipeline, appointment_id)["outcome"] == "won"
    row_of(pipeline, "recording_analyses", a_visit(pipeline, company, appointment_id, PENDING, hour=16))
    assert appointment(pipeline, appointment_id)["outcome"] == "pending"


def test_an_outcome_that_rests_on_words_nobody_said_is_none(pipeline):
    pipeline.use("analyze", ANALYZE_CALLS_WITH="llm", **READERS["gemini"])
    pipeline.sandbox.fault(provider="gemini", what="invented_quote", which="all")
    company = pipeline.company()
    appointment_id = an_appointment(pipeline, company)
    analysis = row_of(pipeline, "recording_analyses", a_visit(pipeline, company, appointment_id, WON))
    assert (analysis["outcome"], analysis["evidence"], analysis["objections"]) == ("pending", [], [])
    assert analysis["dropped_without_evidence"] > 0
    assert appointment(pipeline, appointment_id)["lead_status"] == "hot"


@pytest.mark.parametrize("mode", ["sync", "job"])
@pytest.mark.parametrize("outcome", ["won", "lost"])
def test_shunya_listens_to_a_visit_and_says_what_it_came_to(pipeline, mode, outcome):
    pipeline.use("transcribe", TRANSCRIBE_WITH="shunya")
    pipeline.use("analyze", ANALYZE_CALLS_WITH="shunya")
    pipeline.sandbox.control("PUT", "/settings", json={"shunya_mode": mode})
    audio = recording(OUTCOMES[outcome]) + uuid.uuid4().bytes       # behind the samples: no two are alike
    said = [{**segment, "speaker": speaker} for segment, (speaker, _) in zip(segments(OUTCOMES[outcome], None), OUTCOMES[outcome])]
    pipeline.sandbox.control("PUT", "/transcripts", json={"sha256": hashlib.sha256(audio).hexdigest(), "segments": said})
    company = pipeline.company()
    appointment_id = an_appointment(pipeline, company)
    session_id = a_visit(pipeline, company, appointment_id, OUTCOMES[outcome], audio=audio)
    analysis = row_of(pipeline, "recording_analyses", session_id)
    assert (analysis["provider"], analysis["outcome"], analysis["evidence"]) == ("shunya", outcome, "vendor")
    assert row_of(pipeline, "recording_transcripts", session_id)["speakers"] == 2
    assert appointment(pipeline, appointment_id)["outcome"] == outcome
    kinds = pipeline.database.execute("SELECT kind, status FROM jobs WHERE subject = %s", [session_id]).fetchall()
    assert kinds == ([] if mode == "sync" else [{"kind": "visit", "status": "completed"}] * 2)
    pipeline.use("transcribe", TRANSCRIBE_WITH="openai")


def test_a_visit_in_which_nobody_speaks_has_no_analysis(pipeline):
    company = pipeline.company()
    appointment_id = an_appointment(pipeline, company)
    session_id = a_visit(pipeline, company, appointment_id, (("customer", ""),))
    assert row_of(pipeline, "recording_transcripts", session_id)["words"] == 0
    assert pipeline.settled("analyze", session_id, "visit.transcribed")["outcome"] == "skipped"
    assert appointment(pipeline, appointment_id)["outcome"] == "pending"


def test_a_visit_that_is_not_there_is_a_dead_letter(pipeline):
    session_id = str(uuid.uuid4())
    data = {"session_id": session_id, "appointment_id": str(uuid.uuid4()), "audio_url": "http://127.0.0.1:1/none.wav"}
    pipeline.topics.send("visits", session_id, event("visit.recorded", session_id, data))
    assert pipeline.dead_letter("transcribe", session_id)["reason"] == f'visit "{session_id}" is not there'
