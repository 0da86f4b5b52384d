"""The sample day's visit: the rep records it through the API, and it must be won.

It is of the appointment that the day's first call made, takes the way of a call's recording, and decides the
appointment."""

import uuid
from dataclasses import dataclass

import psycopg
import sample
import speech

TITLE = "The visit: the rep records it, and the customer agrees"
SCRIPT = (
    ("agent", "Good morning. My name is Robert. What can I do for you?"),
    ("customer", "Hello. The water heater is leaking."),
    ("agent", "I see. We will put in a new one. It costs nine hundred dollars."),
    ("customer", "That is a lot of money. But please go ahead."),
    ("agent", "Thank you. I will call you on Friday. Goodbye."),
    ("customer", "Thank you. Goodbye."),
)
RESULTS = """
SELECT s.status, r.path AS recording, t.text AS transcript, t.words, v.outcome, v.provider AS analysis_provider,
       v.sentiment_score, v.summary, v.sop_missed_steps, p.outcome AS appointment_outcome, l.status AS lead
FROM recording_sessions s
LEFT JOIN session_recordings r ON r.tenant = s.tenant AND r.session_id = s.session_id
LEFT JOIN recording_transcripts t ON t.tenant = s.tenant AND t.session_id = s.session_id
LEFT JOIN recording_analyses v ON v.tenant = s.tenant AND v.session_id = s.session_id
LEFT JOIN appointments p ON p.tenant = s.tenant AND p.appointment_id = s.appointment_id
LEFT JOIN leads l ON l.tenant = p.tenant AND l.lead_id = p.lead_id
WHERE s.tenant = %s AND s.session_id = %s"""


@dataclass
class Visit:
    appointment_id: str
    session_id: str = ""
    file: str = ""
    spoken: speech.SpokenCall | None = None


def prepare(sandbox, appointment_id):
    visit = Visit(appointment_id, file=f"visit-{uuid.uuid4().hex}.wav", spoken=speech.speak(SCRIPT))
    sandbox.control("PUT", f"/files/{visit.file}", raw=visit.spoken.wav, content_type="audio/wav")
    return visit


def heard_by_sandbox(sandbox, visit):
    """For a transcription by the sandbox's OpenAI, which gets each channel on its own."""
    for speaker in speech.VOICES:
        said = [segment for segment in visit.spoken.segments if segment["speaker"] == speaker]
        sandbox.control("PUT", "/transcripts", {"file_name": f"{visit.session_id}-{speaker}-*", "segments": said})


def results(database, company, visit):
    try:
        return database.execute(RESULTS, (company.tenant, visit.session_id)).fetchone() or {}
    except psycopg.Error as error:
        raise sample.CannotGoOn(f"Postgres does not answer any more: {error}") from None


def missing(row, rejected):
    """(what, hint) of everything that must be there and is not; `row` as results() gives it."""
    outcome = row.get("outcome")
    checks = (
        (not rejected, "an event: it lies in a dead-letter topic", "; ".join(rejected)),
        (row.get("status") == "completed", "the visit, completed", "stage ingest: topic inbound.api"),
        (row.get("recording"), "the copy of its recording", "stage transcribe: may it reach the sandbox's address?"),
        (row.get("words"), "the transcript in recording_transcripts", "stage transcribe: topic visits"),
        (outcome == "won", "the visit being won", f"stage analyze: it is {outcome or 'not analysed'}"),
        (row.get("appointment_outcome") == "won", "the appointment being won", "stage analyze: the visit decides it"),
        (row.get("lead") == "closed", "the lead being closed", f"it is {row.get('lead')}"),
    )
    return [(what, hint) for there, what, hint in checks if not there]


def facts_of(row):
    """(name, words) of what the tables say of the visit."""
    facts = [("visit", f"{row['status']}, {row['outcome'] or 'not understood'}; the lead is {row['lead']}")]
    if row["outcome"]:
        facts.append(("analysis", f"mood {row['sentiment_score']:+.2f}, by {row['analysis_provider']}"))
        facts.append(("summary", row["summary"]))
        facts += [("missed step", str(step)) for step in sample.as_list(row["sop_missed_steps"])]
    return facts
