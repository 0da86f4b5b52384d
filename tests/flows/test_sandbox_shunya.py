"""The sandbox's Shunya: its contract, its jobs and their webhooks, and that it listens to what it is sent."""

import hashlib
import hmac
import json
import sys
import uuid

import pytest
import requests
from sandbox_process import KEYS, ROOT, WAIT_S
from sandbox_process import process, receiver, sandbox  # noqa: F401 (fixtures)

sys.path.insert(0, str(ROOT / "deploy" / "local"))
from speech import BOOKED_CALL, CannotSpeak, speak  # noqa: E402

TALK = "agent: Thank you for calling.\ncustomer: My roof leaks, I need someone today.\nagent: You are booked for Monday at ten."


def ask(sandbox, path, key=None, token=KEYS["SHUNYA_API_KEY"], **body):
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key or str(uuid.uuid4())}
    return requests.post(f"{sandbox.url}/shunya/api/v1/{path}", json=body, headers=headers, timeout=WAIT_S)


def stands(sandbox, job_id):
    return requests.get(f"{sandbox.url}/shunya/api/v1/jobs/{job_id}", headers={"Authorization": f"Bearer {KEYS['SHUNYA_API_KEY']}"},
                        timeout=WAIT_S)


def sync(sandbox):
    sandbox.control("PUT", "/settings", json={"shunya_mode": "sync"})


@pytest.mark.parametrize("path, body, key, status, code", [
    ("transcription/transcribe", {"audio_url": "http://x/y"}, None, 422, "missing_field"),
    ("transcription/transcribe", {"call_id": "C", "audio_url": "file:///x"}, None, 422, "invalid_request"),
    ("transcription/transcribe", {"call_id": "C", "audio_url": "http://x/y", "languge": "en"}, None, 422, "unknown_field"),
    ("transcription/transcribe", {"call_id": "C", "audio_url": 7}, None, 422, "invalid_request"),
    ("transcription/transcribe", {"call_id": "C", "audio_url": "http://x/y"}, "no uuid", 422, "missing_idempotency_key"),
    ("analysis/start/C", {}, None, 422, "missing_field"),
    ("analysis/start/C", {"transcript_text": "x", "kind": "chat"}, None, 422, "invalid_request"),
    ("analysis/start/C", {"transcript_text": "x", "callback_url": "there"}, None, 422, "invalid_request"),
])
def test_it_refuses_what_the_contract_does_not_have(sandbox, path, body, key, status, code):
    answer = ask(sandbox, path, key, **body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert answer.json()["error"]["message"]


def test_it_knows_its_keys_and_jobs(sandbox):
    answer = ask(sandbox, "analysis/start/C", token="another", transcript_text="x")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
    assert (stands(sandbox, "job_1").status_code, stands(sandbox, "job_1").json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("mode", ["sync", "job"])
def test_the_same_key_is_the_same_request(sandbox, mode):
    sandbox.control("PUT", "/settings", json={"shunya_mode": mode})
    key = str(uuid.uuid4())
    answers = [ask(sandbox, "analysis/start/C", key, transcript_text=TALK).json() for _ in range(2)]
    assert answers[0] == answers[1]
    answer = ask(sandbox, "analysis/start/C", key, transcript_text="something else")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "idempotency_conflict")


def test_a_job_ends_with_a_webhook_that_is_signed(sandbox, receiver):
    job_id = ask(sandbox, "analysis/start/CAL1", transcript_text=TALK, callback_url=receiver.url + "/hook").json()["job_id"]
    (path, headers, body), = receiver.take(1)
    told = json.loads(body)
    assert path == "/hook" and (told["event"], told["job_id"], told["job_type"], told["call_id"]) == ("job.completed", job_id, "analysis", "CAL1")
    stamp, signature = (part.split("=")[1] for part in headers["X-Shunya-Signature"].split(","))
    secret = KEYS["SHUNYA_WEBHOOK_SECRET"].split(",")[0].encode()
    assert signature == hmac.new(secret, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    found = stands(sandbox, job_id).json()
    assert (found["status"], found["result"]) == ("completed", told["result"])
    assert (found["result"]["booking_status"], found["result"]["lead_qualification"]) == ("booked", "hot")


def test_a_job_fails_when_told_to_or_when_there_is_nothing_to_fetch(sandbox, receiver):
    sandbox.fault(provider="shunya", path="analysis", what="fail_job", error_code="busy", error_message="no time")
    ask(sandbox, "analysis/start/C", transcript_text=TALK, callback_url=receiver.url)
    ask(sandbox, "transcription/transcribe", call_id="C", audio_url=sandbox.url + "/files/none.wav", callback_url=receiver.url)
    told = {webhook["job_type"]: webhook for webhook in (json.loads(body) for _, _, body in receiver.take(2))}
    assert {webhook["event"] for webhook in told.values()} == {"job.failed"}
    assert told["analysis"]["error"] == {"code": "busy", "message": "no time"}
    assert told["transcription"]["error"]["code"] == "audio_unreachable"


@pytest.mark.parametrize("said, outcome", [("customer: all right, let's do it", "won"), ("customer: we are going with another company", "lost"),
                                           ("customer: let me think about it", "pending")])
def test_a_visit_has_an_outcome_and_a_call_has_none(sandbox, said, outcome):
    sync(sandbox)
    assert ask(sandbox, "analysis/start/V", transcript_text=said, kind="visit").json()["outcome"] == outcome
    assert "outcome" not in ask(sandbox, "analysis/start/V", transcript_text=said).json()


def test_it_listens(sandbox):
    sync(sandbox)
    try:
        spoken = speak(BOOKED_CALL[-2:])
    except CannotSpeak as error:
        pytest.skip(str(error))
    sandbox.control("PUT", "/files/spoken.wav", data=spoken.wav, headers={"Content-Type": "audio/wav"})
    sandbox.control("PUT", "/files/page.wav", data=b"<html>", headers={"Content-Type": "audio/wav"})
    heard = ask(sandbox, "transcription/transcribe", call_id="C", audio_url=sandbox.url + "/files/spoken.wav").json()
    assert {segment["speaker"] for segment in heard["segments"]} == {"agent", "customer"}
    assert "booked for tuesday at ten" in heard["transcript_text"] and "thank you very much" in heard["transcript_text"]
    answer = ask(sandbox, "transcription/transcribe", call_id="C", audio_url=sandbox.url + "/files/page.wav")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "audio_unreadable")
