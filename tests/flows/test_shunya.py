"""Shunya transcribes and analyses: at once, or as a job whose end is told by its webhook or asked for by the sweep; the first one wins."""

import hashlib
import hmac
import io
import json
import random
import time
import uuid
import wave

import pytest
import requests
from call_pipeline import BOOKED, COLD, recording
from call_pipeline import pipeline, process, started  # noqa: F401 (fixtures)
from environment import ROOT, wait_until
from sandbox_process import KEYS

AUDIO = ROOT.parent / "shared" / "audio"
SECRET = KEYS["SHUNYA_WEBHOOK_SECRET"].split(",")[0]
SETTINGS = {"transcribe": {"TRANSCRIBE_WITH": "shunya", "SHUNYA_TIMEOUT": "1s"},
            "analyze": {"ANALYZE_CALLS_WITH": "shunya", "SHUNYA_TIMEOUT": "1s"}}


@pytest.fixture(autouse=True)
def both_ask_shunya(pipeline):
    for name, settings in SETTINGS.items():
        pipeline.use(name, **settings)


def a_recording(lines):
    """As recording(), and no two are alike: the sandbox knows by it what is said."""
    with wave.open(io.BytesIO(recording(lines))) as plain:
        params, frames = plain.getparams(), plain.readframes(plain.getnframes())
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams(params)
        out.writeframes(frames + bytes(random.choices((0, 1), k=64)))
    return file.getvalue()


def said(lines):
    return [{"speaker": speaker, "start": 1.5 * number, "end": 1.5 * number + 1, "text": text}
            for number, (speaker, text) in enumerate(lines)]


def register(pipeline, lines):
    audio = a_recording(lines)
    pipeline.sandbox.control("PUT", "/transcripts", json={"sha256": hashlib.sha256(audio).hexdigest(), "segments": said(lines)})
    return audio


def call(pipeline, lines=BOOKED, company=None, **more):
    return pipeline.call(company or pipeline.company(), audio=register(pipeline, lines), **more)


def modes(pipeline, **settings):
    pipeline.sandbox.control("PUT", "/settings", json={f"shunya_{name}": value for name, value in settings.items()})


def jobs(pipeline, call_id, job_type=None):
    query = "SELECT * FROM jobs WHERE subject = %s AND (%s::text IS NULL OR job_type = %s) ORDER BY created_at"
    return pipeline.database.execute(query, [call_id, job_type, job_type]).fetchall()


def job(pipeline, call_id, job_type="transcription", status=None):
    """The one job of that kind, once it has that status."""
    def found():
        rows = jobs(pipeline, call_id, job_type)
        return rows if rows and status in (None, rows[-1]["status"]) else None
    return wait_until(found, f"the {job_type} of {call_id} being {status or 'there'}")[-1]


def shunya_jobs(pipeline, call_id):
    return pipeline.database.execute("SELECT * FROM shunya_jobs WHERE subject = %s ORDER BY created_at", [call_id]).fetchall()


def asked(pipeline, path, method="POST"):
    return pipeline.asked("shunya", method=method, path=path)


def make_due(pipeline, row, **columns):
    """Time goes by."""
    changes = ", ".join(f"{name} = now() - interval '{ago}'" for name, ago in {"next_check_at": "1 s", **columns}.items())
    pipeline.database.execute(f"UPDATE jobs SET {changes} WHERE job_id = %s", [row["job_id"]])


def signed(body, secret=SECRET, at=None):
    stamp = str(int(at or time.time()))
    return f"t={stamp},v1={hmac.new(secret.encode(), stamp.encode() + b'.' + body, hashlib.sha256).hexdigest()}"


def send_webhook(pipeline, signature=None, **fields):
    body = json.dumps({"event": "job.completed", "job_type": "transcription", "result": {"transcript_text": "hello"}, **fields}).encode()
    headers = {"Content-Type": "application/json", "X-Shunya-Signature": signed(body) if signature is None else signature}
    return requests.post(pipeline.ingest.url + "/api/v1/shunya/webhook", data=body, headers=headers, timeout=10)


def settled_once(pipeline, call_id):
    """Whatever came how often: one transcript, one analysis, one appointment, and each event once."""
    assert [len(pipeline.rows(table, call_id)) for table in ("call_transcripts", "call_analyses", "appointments")] == [1, 1, 1]
    emitted = pipeline.emitted(call_id)
    assert [emitted.count(type) for type in ("call.transcribed", "call.analyzed")] == [1, 1], emitted


# --- as it should be


def test_a_job_goes_from_its_submission_to_the_rows_by_webhook(pipeline):
    company = pipeline.company()
    call_id = call(pipeline, company=company)
    analysis, appointment = pipeline.row("call_analyses", call_id), pipeline.row("appointments", call_id)
    transcript = pipeline.row("call_transcripts", call_id)
    assert transcript["text"].splitlines() == [f"{speaker}: {text}" for speaker, text in BOOKED]
    assert (transcript["provider"], transcript["duration_s"]) == ("shunya", pipeline.row("recordings", call_id)["duration_s"])
    assert (analysis["provider"], analysis["booking_status"], analysis["evidence"]) == ("shunya", "booked", "vendor")
    assert appointment["assigned_rep_id"] == company.tenant + "-ana", "Ana is named in the call"
    submitted, = asked(pipeline, "/transcription/transcribe")
    recorded = pipeline.topics.wait("calls", call_id, type="call.recorded")[0]
    assert submitted["headers"]["idempotency-key"] == recorded["id"]
    assert submitted["body"] == {"call_id": call_id, "audio_url": recorded["data"]["recording_url"],
                                 "callback_url": pipeline.ingest.url + "/api/v1/shunya/webhook"}
    transcribed = pipeline.topics.wait("transcripts", call_id)[0]
    submitted, = asked(pipeline, "/analysis/start/" + call_id)
    assert submitted["headers"]["idempotency-key"] == transcribed["id"]
    assert (submitted["body"]["kind"], submitted["body"]["transcript_text"]) == ("call", transcript["text"])
    assert [(row["job_type"], row["status"], row["finished_by"], row["attempts"], row["tenant"]) for row in jobs(pipeline, call_id)] == [
        ("transcription", "completed", "webhook", 1, company.tenant), ("analysis", "completed", "webhook", 1, company.tenant)]
    assert pipeline.delivery(call_id, "read")
    settled_once(pipeline, call_id)


def test_an_answer_at_once_needs_no_job(pipeline):
    modes(pipeline, mode="sync")
    call_id = call(pipeline)
    assert pipeline.row("call_analyses", call_id)["provider"] == "shunya"
    settled_once(pipeline, call_id)
    assert jobs(pipeline, call_id) == []
    assert [(row["job_type"], row["kind"], row["status"], row["finished_by"]) for row in shunya_jobs(pipeline, call_id)] == [
        ("transcription", "call", "completed", "answer"), ("analysis", "call", "completed", "answer")]


def test_the_sandbox_really_listens(pipeline):
    if not AUDIO.exists():
        pytest.skip(f"{AUDIO} is not here")
    call_id = pipeline.call(pipeline.company(), audio=(AUDIO / "two-people-talking.wav").read_bytes())
    text = pipeline.row("call_transcripts", call_id)["text"]
    assert "good morning steve" in text and "in real time" in text, text


def test_a_voicemail_is_booked_by_nobody(pipeline):
    """Shunya is not told that nobody answered."""
    company = pipeline.company()
    call_id = call(pipeline, company=company, answered=False, voicemail=True)
    analysis = pipeline.row("call_analyses", call_id)
    assert (analysis["booking_status"], analysis["call_outcome_category"]) == ("not_booked", "voicemail")
    assert (analysis["sop_score"], analysis["sop_missed_steps"]) == (None, []), "there was no agent"
    assert pipeline.row("calls", call_id)["status"] == "missed" and not pipeline.rows("appointments", call_id)
    assert pipeline.shown_by_the_api(company, call_id)["lead"]["status"] == "hot"


# --- webhooks that come as they like


def test_a_webhook_that_comes_twice_changes_nothing(pipeline):
    pipeline.sandbox.fault(provider="shunya", what="duplicate_webhook", copies=3, count=None)
    call_id = call(pipeline)
    pipeline.row("call_analyses", call_id)
    sent = wait_until(lambda: len(found := webhooks(pipeline, call_id)) == 6 and found, "six webhooks")
    assert {webhook["status"] for webhook in sent} == {200}
    settled_once(pipeline, call_id)


def webhooks(pipeline, call_id):
    sent = pipeline.sandbox.control("GET", "/webhooks", params={"provider": "shunya"})["webhooks"]
    return [webhook for webhook in sent if call_id in webhook["body"]]


def test_a_webhook_that_comes_before_our_post_is_answered_waits_for_it(pipeline):
    pipeline.use("transcribe", SHUNYA_TIMEOUT="10s")
    pipeline.sandbox.fault(provider="shunya", path="transcribe", what="stall", when="after", seconds=2)
    call_id = call(pipeline)
    webhook = wait_until(lambda: webhooks(pipeline, call_id), "the webhook")[0]
    assert webhook["status"] == 200 and jobs(pipeline, call_id) == [], "it was taken before there was a row"
    assert pipeline.row("call_transcripts", call_id)["provider"] == "shunya"
    pipeline.row("call_analyses", call_id)
    settled_once(pipeline, call_id)


def test_a_job_whose_webhook_never_comes_is_asked_for(pipeline):
    pipeline.sandbox.fault(provider="shunya", what="no_webhook", count=None)
    call_id = call(pipeline)
    for job_type in ("transcription", "analysis"):
        make_due(pipeline, job(pipeline, call_id, job_type))
        ended = job(pipeline, call_id, job_type, "completed")
        assert ended["finished_by"] == "sweep"
    pipeline.row("call_analyses", call_id)
    settled_once(pipeline, call_id)


def test_without_a_public_address_there_is_no_callback_and_the_sweep_brings_the_end(pipeline):
    daemon = pipeline.daemons["transcribe"]
    public_url = daemon.settings.pop("PUBLIC_URL")
    pipeline.restart("transcribe").ready()
    call_id = call(pipeline, COLD)
    row = job(pipeline, call_id)
    assert "callback_url" not in asked(pipeline, "/transcription/transcribe")[0]["body"]
    make_due(pipeline, row)
    assert job(pipeline, call_id, status="completed")["finished_by"] == "sweep"
    pipeline.restart("transcribe", PUBLIC_URL=public_url).ready()


def test_a_job_that_goes_on_is_asked_for_with_growing_pauses_and_is_overdue_in_the_end(pipeline):
    pipeline.sandbox.fault(provider="shunya", path="transcription", what="stuck_job")
    call_id = call(pipeline)
    make_due(pipeline, job(pipeline, call_id))
    running = job(pipeline, call_id, status="running")
    pause_s = (running["next_check_at"] - running["updated_at"]).total_seconds()
    assert running["attempts"] == 2 and 14 < pause_s < 16
    make_due(pipeline, running, submitted_at="16 min")
    overdue = job(pipeline, call_id, status="overdue")
    assert (overdue["next_check_at"] - overdue["updated_at"]).total_seconds() > 7 * 60
    make_due(pipeline, overdue, submitted_at="25 h")
    failed = job(pipeline, call_id, status="failed")
    assert failed["finished_by"] == "sweep" and "24 hours" in failed["error"]
    assert "24 hours" in pipeline.dead_letter("transcribe", call_id)["reason"]
    assert len(asked(pipeline, "/jobs/", "GET")) == 2, "a job that is too old is not asked for once more"


def test_a_job_of_a_paused_company_is_not_sent_until_it_goes_on(pipeline):
    pipeline.sandbox.fault(provider="shunya", what="no_webhook", count=None)
    company = pipeline.company()
    paused, other = call(pipeline, company=company), call(pipeline)
    rows = [job(pipeline, call_id) for call_id in (paused, other)]
    pipeline.database.execute("INSERT INTO pauses (kind, name, by) VALUES ('tenant', %s, 'a test')", [company.tenant])
    for row in rows:                        # the paused company's is the first in the order in which they are sent
        make_due(pipeline, row)
    assert job(pipeline, other, status="completed")["finished_by"] == "sweep"
    assert pipeline.topics.find("due.transcribe", paused) == [] and job(pipeline, paused)["attempts"] == 1
    pipeline.database.execute("DELETE FROM pauses")
    assert job(pipeline, paused, status="completed")["finished_by"] == "sweep"


def test_webhook_and_sweep_at_once_end_a_job_once(pipeline):
    calls = []
    for number in range(8):
        calls.append(call(pipeline))
        make_due(pipeline, job(pipeline, calls[-1]))
    for call_id in calls:
        job(pipeline, call_id, status="completed")
        pipeline.row("call_analyses", call_id)
        settled_once(pipeline, call_id)


# --- failures


def test_a_failed_job_is_a_dead_letter_and_is_submitted_anew_when_that_is_retried(pipeline):
    pipeline.sandbox.fault(provider="shunya", path="transcription", what="fail_job", error_code="audio_unreadable",
                           error_message="too noisy")
    company = pipeline.company()
    call_id = call(pipeline, company=company)
    failed = job(pipeline, call_id, status="failed")
    processing = pipeline.shown_by_the_api(company, call_id)["processing"]
    assert (processing["state"], processing["stage"]) == ("failed", "transcribe") and "too noisy" in processing["reason"]
    assert "audio_unreadable: too noisy" in failed["error"] and failed["finished_by"] == "webhook"
    letter = pipeline.dead_letter("transcribe", call_id)
    assert "audio_unreadable: too noisy" in letter["reason"]
    assert pipeline.rows("call_transcripts", call_id) == []
    event = json.loads(letter["event"])
    assert event["type"] == "job.finished"
    pipeline.topics.send("replay.transcribe", call_id, {**event, "run": 1})
    pipeline.row("call_analyses", call_id)
    settled_once(pipeline, call_id)
    assert [row["status"] for row in jobs(pipeline, call_id, "transcription")] == ["failed", "completed"]


@pytest.mark.parametrize("mode", ["sync", "job"])
@pytest.mark.parametrize("stage, job_type, field", [("transcribe", "transcription", "transcript_text"),
                                                    ("analyze", "analysis", "sentiment_score")])
def test_an_answer_that_lacks_what_it_must_have_is_a_dead_letter(pipeline, mode, stage, job_type, field):
    modes(pipeline, mode=mode)
    pipeline.sandbox.fault(provider="shunya", path=job_type, what="lacking", field=field)
    call_id = call(pipeline)
    letter = pipeline.dead_letter(stage, call_id)
    assert (letter["pointer"], letter["reason"]) == ("/" + field, "is missing")
    if mode == "job":
        assert job(pipeline, call_id, job_type, "failed")["error"] == f"/{field} is missing"


@pytest.mark.parametrize("status", [404, 409, 422, 400])
def test_a_refusal_is_final_and_says_why(pipeline, status):
    pipeline.sandbox.fault(provider="shunya", path="transcribe", what="status", status=status,
                           body={"error": {"code": "unsupported", "message": "this cannot be done"}})
    call_id = call(pipeline)
    assert f"HTTP status {status}: unsupported: this cannot be done" in pipeline.dead_letter("transcribe", call_id)["reason"]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_what_may_work_later_is_tried_again_with_the_same_key(pipeline, status):
    pipeline.sandbox.fault(provider="shunya", path="transcribe", what="status", status=status, headers={"Retry-After": "1"}, count=2)
    call_id = call(pipeline)
    pipeline.row("call_analyses", call_id)
    tries = asked(pipeline, "/transcription/transcribe")
    assert [one["status"] for one in tries] == [status, status, 202]
    assert len({one["headers"]["idempotency-key"] for one in tries}) == 1
    settled_once(pipeline, call_id)


@pytest.mark.parametrize("fault", [{"what": "cut", "when": "after"}, {"what": "malformed_json"}, {"what": "truncated_json"},
                                   {"what": "status", "status": 502, "when": "after"}])
def test_a_lost_answer_is_asked_for_again_and_the_job_is_the_same(pipeline, fault):
    pipeline.sandbox.fault(provider="shunya", path="transcribe", **fault)
    call_id = call(pipeline)
    pipeline.row("call_analyses", call_id)
    tries = asked(pipeline, "/transcription/transcribe")
    assert len(tries) == 2 and len({one["headers"]["idempotency-key"] for one in tries}) == 1
    assert len(jobs(pipeline, call_id, "transcription")) == 1
    settled_once(pipeline, call_id)


@pytest.mark.parametrize("status", [401, 403])
def test_wrong_credentials_stop_the_requests_and_say_which_setting(pipeline, status):
    rule, = pipeline.sandbox.fault(provider="shunya", what="status", status=status, count=None)["faults"]
    call_id = call(pipeline)
    transcribe = pipeline.daemons["transcribe"]
    def says():
        answer = requests.get(transcribe.url + "/ready", timeout=5)
        return answer.status_code == 503 and "shunya" in answer.text and answer.text
    assert "key" in wait_until(says, "/ready naming the circuit")
    pipeline.sandbox.control("DELETE", f"/faults/{rule['id']}")
    pipeline.row("call_analyses", call_id)
    settled_once(pipeline, call_id)


def test_an_unknown_job_at_the_vendor_fails(pipeline):
    pipeline.sandbox.fault(provider="shunya", path="transcription", what="stuck_job")
    call_id = call(pipeline)
    row = job(pipeline, call_id)
    pipeline.sandbox.fault(provider="shunya", path="jobs/", what="status", status=404)
    make_due(pipeline, row)
    assert "HTTP status 404" in job(pipeline, call_id, status="failed")["error"]
    assert "HTTP status 404" in pipeline.dead_letter("transcribe", call_id)["reason"]


# --- the door


def test_a_webhook_of_an_unknown_job_is_kept_for_ten_minutes_and_is_then_a_dead_letter(pipeline):
    call_id, job_id = "CAL" + uuid.uuid4().hex, "job_" + uuid.uuid4().hex
    assert send_webhook(pipeline, job_id=job_id, call_id=call_id).status_code == 200
    received = pipeline.topics.wait("inbound.shunya", call_id)[0]
    assert received["id"] and pipeline.topics.find("dead.ingest", call_id) == []
    old = {**received, "id": str(uuid.uuid4()), "subject": (other := "CAL" + uuid.uuid4().hex), "time": "2026-11-21T07:00:00Z"}
    pipeline.topics.send("inbound.shunya", other, old)
    letter = pipeline.dead_letter("ingest", other)
    assert f"nobody here has submitted shunya's job {job_id}" in letter["reason"] and "10 minutes" in letter["reason"]


@pytest.mark.parametrize("fields, pointer", [({"call_id": None}, "/call_id"), ({"job_id": ""}, "/job_id"),
                                             ({"event": "job.started"}, "/event"), ({"call_id": "CAL 1"}, "/call_id")])
def test_an_authentic_webhook_that_cannot_be_read_is_kept(pipeline, fields, pointer):
    marker = uuid.uuid4().hex
    assert send_webhook(pipeline, **{"job_id": "job_" + marker, "call_id": "CAL" + marker, "note": marker, **fields}).status_code == 200
    letters = lambda: [one for one in pipeline.topics.find("dead.ingest") if marker in one["data"]["event"]]  # noqa: E731
    assert wait_until(letters, "the dead letter")[0]["data"]["pointer"] == pointer


def test_a_webhook_that_is_not_authentic_is_refused(pipeline):
    body = {"job_id": "job_1", "call_id": "CAL1"}
    raw = json.dumps({"event": "job.completed", "job_type": "transcription", "result": {"transcript_text": "hello"}, **body}).encode()
    legacy = "sha256=" + hmac.new(SECRET.encode(), raw, hashlib.sha256).hexdigest()
    wrong = ["", legacy, signed(raw, "another"), signed(raw + b" "), signed(raw, at=time.time() - 301), signed(raw, at=time.time() + 302)]
    assert [send_webhook(pipeline, signature, **body).status_code for signature in wrong] == [401] * len(wrong)
    older = KEYS["SHUNYA_WEBHOOK_SECRET"].split(",")[1]
    assert send_webhook(pipeline, signed(raw, older, at=time.time() - 290), **body).status_code == 200


def test_the_older_signature_is_taken_when_it_is_wanted(pipeline):
    pipeline.use("ingest", SHUNYA_SIGNATURE_LEGACY="1")
    modes(pipeline, signature="legacy")
    call_id = call(pipeline)
    pipeline.row("call_analyses", call_id)
    settled_once(pipeline, call_id)
    pipeline.use("ingest", SHUNYA_SIGNATURE_LEGACY="0")


# --- whatever is killed when


def test_a_replay_uses_the_job_that_ended_and_asks_anew_when_it_is_told_to(pipeline):
    call_id = call(pipeline)
    analysis = pipeline.row("call_analyses", call_id)
    recorded = pipeline.topics.wait("calls", call_id, type="call.recorded")[0]
    def replayed(run):
        rows = pipeline.rows("call_analyses", call_id)
        return rows[0]["run"] == run and rows
    pipeline.topics.send("replay.transcribe", call_id, {**recorded, "run": 1})
    again, = wait_until(lambda: replayed(1), "the replay")
    assert len(asked(pipeline, "/transcription/transcribe")) == 1 and len(asked(pipeline, "/analysis/start")) == 1
    assert {**analysis, "run": 1, "updated_at": again["updated_at"]} == again
    pipeline.topics.send("replay.transcribe", call_id, {**recorded, "run": 2, "askagain": True})
    wait_until(lambda: replayed(2), "the replay with new answers")
    keys = [one["headers"]["idempotency-key"] for one in asked(pipeline, "/transcription/transcribe")]
    assert len(keys) == 2 and len(set(keys)) == 2


def test_a_submission_whose_process_is_killed_is_made_again_with_the_same_key(pipeline):
    pipeline.use("transcribe", SHUNYA_TIMEOUT="10s")
    pipeline.sandbox.fault(provider="shunya", path="transcribe", what="stall", when="after", seconds=5)
    call_id = call(pipeline)
    wait_until(lambda: pipeline.asked("shunya", path="/transcription/transcribe"), "the request")
    transcribe = pipeline.daemons["transcribe"]
    transcribe.kill()
    sent = pipeline.database.execute("UPDATE asks SET lease_until = now() WHERE subject = %s AND state = 'sent' RETURNING 1", [call_id])
    assert sent.fetchall(), "the row was there before the request left"
    transcribe.start().ready()
    pipeline.row("call_analyses", call_id)
    tries = asked(pipeline, "/transcription/transcribe")
    assert len(tries) == 2 and len({one["headers"]["idempotency-key"] for one in tries}) == 1
    assert len(jobs(pipeline, call_id, "transcription")) == 1
    settled_once(pipeline, call_id)


def test_whatever_is_killed_while_jobs_go_through_each_ends_once(pipeline):
    modes(pipeline, gap_ms=300)
    pipeline.sandbox.fault(provider="shunya", what="no_webhook", probability=0.3, seed=7, count=None)
    pipeline.sandbox.fault(provider="shunya", what="duplicate_webhook", probability=0.3, seed=8, count=None)
    calls = [call(pipeline) for _ in range(10)]
    for name in ("transcribe", "ingest", "analyze", "transcribe", "analyze", "ingest"):
        time.sleep(random.uniform(0.1, 0.6))        # any moment will do
        daemon = pipeline.daemons[name]
        daemon.kill()
        pipeline.database.execute("UPDATE asks SET lease_until = now() WHERE stage = %s AND state = 'sent'", [name])
        daemon.start().ready()
    def none_is_open():     # row by row as the sweep takes them, or the two would wait for each other
        pipeline.database.execute("UPDATE jobs SET next_check_at = now() WHERE job_id IN (SELECT job_id FROM jobs WHERE finished_at IS NULL"
                                  " AND submitted_at < now() - interval '2 s' FOR UPDATE SKIP LOCKED)")
        return all(pipeline.rows("call_analyses", call_id) for call_id in calls)
    wait_until(none_is_open, "all ten calls being analysed")
    for call_id in calls:
        settled_once(pipeline, call_id)
        ended = [(row["job_type"], row["status"]) for row in jobs(pipeline, call_id)]
        assert ended == [("transcription", "completed"), ("analysis", "completed")]


# --- somebody else is asked from now on

MEANWHILE = {
    "transcribe": ("transcription", {"TRANSCRIBE_WITH": "openai"}, {"transcript_text": "agent: You are booked for Monday."}),
    "analyze": ("analysis", {"ANALYZE_CALLS_WITH": "llm"}, {"lead_qualification": "cold", "booking_status": "not_booked",
                                                            "call_outcome_category": "other", "sentiment_score": 0}),
}


@pytest.mark.parametrize("stage", MEANWHILE)
@pytest.mark.parametrize("shunya", ["refuses our key", "is set no more"])
def test_a_job_that_is_still_open_then_holds_nobody_up(pipeline, stage, shunya):
    job_type, others, result = MEANWHILE[stage]
    pipeline.sandbox.fault(provider="shunya", what="no_webhook", count=None)
    waiting = pipeline.call(pipeline.company(), audio=register(pipeline, BOOKED))
    if stage == "analyze":
        make_due(pipeline, job(pipeline, waiting))
    row, daemon = job(pipeline, waiting, job_type), pipeline.daemons[stage]
    pipeline.sandbox.fault(provider="shunya", what="status", status=401, count=None)
    unset = ("SHUNYA_API_KEY", "SHUNYA_BASE_URL") if shunya == "is set no more" else ()
    taken = {name: daemon.settings.pop(name) for name in unset}
    pipeline.restart(stage, **others).ready()
    make_due(pipeline, row)
    wait_until(lambda: daemon.metric("asks_total", provider="shunya", outcome="retry") > 0, "Shunya being asked in vain")
    for other in MEANWHILE:
        pipeline.use(other, **MEANWHILE[other][1])
    pipeline.row("call_analyses", pipeline.call(pipeline.company(), BOOKED))
    assert requests.get(daemon.url + "/ready", timeout=5).ok
    assert send_webhook(pipeline, job_id=row["provider_job_id"], job_type=job_type, call_id=waiting, result=result).ok
    assert job(pipeline, waiting, job_type, "completed")["finished_by"] == "webhook"
    pipeline.row("call_analyses", waiting)
    daemon.settings.update(taken)
