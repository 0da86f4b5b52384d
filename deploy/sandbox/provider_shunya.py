"""Shunya: transcripts and analyses, at once or as a job with a signed webhook.

There is no public description; this is the contract that Switchboard's client keeps to.  Stricter than it need be:
fields it does not know are refused, so that a typing error is seen.  What it transcribes it fetches and listens to;
what it analyses it reads."""

import asyncio
import hashlib
import hmac
import json
import secrets
import time
import uuid

import aiohttp
from aiohttp import web
from yarl import URL

import limits
from errors import shunya_error
from listener import CannotHear
from model_facts import understand
from model_reader import read_conversation
from state import STATE
from webhooks import Overrides, Webhook

BASE = "/shunya"
TRANSCRIBE_FIELDS = {"call_id": str, "audio_url": str, "callback_url": str, "language": str}
ANALYZE_FIELDS = {"transcript_text": str, "kind": str, "callback_url": str}


class Refused(Exception):
    def __init__(self, status, message, code=None):
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


# --- what is asked ------------------------------------------------------------


def authenticate(state, request):
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer" or key not in state.config.shunya_api_keys:
        raise Refused(401, "the API key is missing or unknown")


def is_address(text):
    try:
        url = URL(text)
    except ValueError:
        return False
    return url.scheme in ("http", "https") and bool(url.host)


async def body_of(request, fields, needed):
    if request.content_type != "application/json":
        raise Refused(422, "the body must be application/json")
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise Refused(422, f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise Refused(422, "the body must be an object")
    for name, value in body.items():
        if name not in fields:
            raise Refused(422, f"unknown field: {name}", "unknown_field")
        if not isinstance(value, fields[name]):
            raise Refused(422, f"{name} must be a {fields[name].__name__}")
    for name in needed:
        if not body.get(name):
            raise Refused(422, f"{name} is required", "missing_field")
    if "callback_url" in body and not is_address(body["callback_url"]):
        raise Refused(422, "callback_url must be an http or https address")
    return body


def key_of(request):
    key = request.headers.get("Idempotency-Key", "")
    try:
        return str(uuid.UUID(key))
    except ValueError:
        raise Refused(422, "the header Idempotency-Key must be a UUID", "missing_idempotency_key") from None


# --- the work -----------------------------------------------------------------


async def fetched(url):
    try:
        timeout = aiohttp.ClientTimeout(total=limits.SHUNYA_FETCH_S)
        async with aiohttp.ClientSession(timeout=timeout) as client, client.get(URL(url, encoded=True)) as answer:
            if answer.status != 200:
                raise Refused(422, f"audio_url answered HTTP status {answer.status}", "audio_unreachable")
            audio = await answer.content.read(limits.SHUNYA_AUDIO_BYTES_MAX + 1)
            while len(audio) <= limits.SHUNYA_AUDIO_BYTES_MAX and (more := await answer.content.read(1024 * 1024)):
                audio += more
    except (aiohttp.ClientError, asyncio.TimeoutError, ValueError) as error:
        raise Refused(422, f"audio_url could not be fetched: {error}", "audio_unreachable") from None
    if len(audio) > limits.SHUNYA_AUDIO_BYTES_MAX:
        raise Refused(422, f"the audio has more than {limits.SHUNYA_AUDIO_BYTES_MAX} bytes", "audio_too_large")
    return audio


def registered(state, audio):
    """What a test registered for this audio, in Shunya's form; None: it has to be listened to."""
    known = state.transcripts.get(hashlib.sha256(audio).hexdigest())
    if known is None:
        return None
    return [
        {
            "speaker": segment.get("speaker", "speaker"),
            "start_s": segment["start"],
            "end_s": segment["end"],
            "text": segment["text"],
        }
        for segment in known["segments"]
    ]


async def transcribed(state, body):
    audio = await fetched(body["audio_url"])
    segments = registered(state, audio)
    if segments is None:
        try:
            segments = await asyncio.get_running_loop().run_in_executor(None, state.listener.hear, audio)
        except CannotHear as error:
            raise Refused(422, str(error), "audio_unreadable") from None
    return {
        "transcript_text": "\n".join(f"{segment['speaker']}: {segment['text']}" for segment in segments),
        "language": body.get("language", "en"),
        "confidence": 0.9,
        "segments": segments,
    }


async def analysed(_state, body):
    facts = understand(read_conversation([body["transcript_text"]]))
    appointment = facts["appointment"]
    analysis = {
        name: facts[name]
        for name in ("lead_qualification", "booking_status", "call_outcome_category", "sentiment_score", "objections",
                     "sop_compliance", "summary")  # fmt: skip
    }
    if appointment:
        start = appointment["scheduled_start"]
        analysis["appointment"] = {
            "scheduled_start": start[:19] if start else None,  # it does not know where the company is: local time
            "service_type": appointment["service_type"],
            "location": appointment["location"],
            "assigned_rep_id": None,
        }
    if body.get("kind") == "visit":
        analysis["outcome"] = facts["outcome"]
    return analysis


# --- jobs and their webhooks --------------------------------------------------


def shown(job):
    return {name: job[name] for name in ("job_id", "status", "job_type", "call_id", "result", "error")}


def signature_of(state, body):
    key = state.config.shunya_webhook_secrets[0].encode()
    if state.settings["shunya_signature"] == "legacy":
        return "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest()
    stamp = str(int(time.time()))
    return f"t={stamp},v1={hmac.new(key, stamp.encode() + b'.' + body, hashlib.sha256).hexdigest()}"


def webhook_of(state, job):
    event = "job.completed" if job["status"] == "completed" else "job.failed"
    fields = {name: job[name] for name in ("job_id", "job_type", "call_id", "result", "error")}
    body = json.dumps({"event": event, **fields}).encode()
    return Webhook(
        "shunya",
        event,
        job["callback_url"],
        body,
        {"Content-Type": "application/json", "X-Shunya-Signature": signature_of(state, body)},
        Overrides(retries=0, total_s=limits.SHUNYA_WEBHOOK_TOTAL_S),
        "X-Shunya-Signature",
    )


def spoilt(state, job_type, result):
    """Without a field that must be there, when a rule says so."""
    rule = state.faults.take({"lacking"}, "shunya", job_type)
    return {name: value for name, value in result.items() if rule is None or name != rule.get("field")}


async def run(state, job, work, body):
    gap_s = state.settings["shunya_gap_ms"] / 1000
    await asyncio.sleep(gap_s)
    job["status"] = "running"
    if state.faults.take({"stuck_job"}, "shunya", job["job_type"]):
        return
    rule = state.faults.take({"fail_job"}, "shunya", job["job_type"])
    try:
        if rule:
            message = rule.get("error_message", "the sandbox was told to fail")
            raise Refused(422, message, rule.get("error_code", "failed"))
        result = spoilt(state, job["job_type"], await work(state, body))
        await asyncio.sleep(gap_s)
        job.update(status="completed", result=result)
    except Refused as refused:
        job.update(status="failed", error={"code": refused.code or "failed", "message": refused.message})
    state.news.tell()
    if job["callback_url"] and not state.webhooks.full():
        state.webhooks.start([(0, webhook_of(state, job))])


async def done(state, job_type, call_id, body, work):
    """-> (status, answer)"""
    if state.settings["shunya_mode"] == "sync":
        return 200, spoilt(state, job_type, await work(state, body))
    job = {
        "job_id": "job_" + secrets.token_hex(12),
        "status": "queued",
        "job_type": job_type,
        "call_id": call_id,
        "result": None,
        "error": None,
        "callback_url": body.get("callback_url"),
    }
    state.jobs[job["job_id"]] = job
    state.start(run(state, job, work, body))
    return 202, {"job_id": job["job_id"]}


async def once(state, request, job_type, call_id, body, work):
    """The same key is the same request, and has the same answer."""
    key = key_of(request)
    asked = (request.path, hashlib.sha256(await request.read()).hexdigest())
    if key in state.submitted and state.submitted[key][0] != asked:
        raise Refused(409, "this Idempotency-Key was used for another request", "idempotency_conflict")
    if key not in state.submitted:
        state.submitted[key] = (asked, asyncio.create_task(done(state, job_type, call_id, body, work)))
    try:
        status, answer = await asyncio.shield(state.submitted[key][1])
    except Refused:
        state.submitted.pop(key, None)
        raise
    return web.json_response(answer, status=status)


# --- routes -------------------------------------------------------------------


def refusing(handler):
    async def answer(request):
        state = request.app[STATE]
        try:
            authenticate(state, request)
            return await handler(state, request)
        except Refused as refused:
            return shunya_error(refused.status, refused.message, refused.code)

    return answer


@refusing
async def transcribe(state, request):
    body = await body_of(request, TRANSCRIBE_FIELDS, ("call_id", "audio_url"))
    if not is_address(body["audio_url"]):
        raise Refused(422, "audio_url must be an http or https address")
    return await once(state, request, "transcription", body["call_id"], body, transcribed)


@refusing
async def analyze(state, request):
    body = await body_of(request, ANALYZE_FIELDS, ("transcript_text",))
    if body.get("kind", "call") not in ("call", "visit"):
        raise Refused(422, "kind is call or visit")
    if len(body["transcript_text"]) > limits.SHUNYA_TRANSCRIPT_CHARACTERS_MAX:
        raise Refused(413, f"transcript_text has more than {limits.SHUNYA_TRANSCRIPT_CHARACTERS_MAX} characters")
    return await once(state, request, "analysis", request.match_info["call_id"], body, analysed)


@refusing
async def job_state(state, request):
    job = state.jobs.get(request.match_info["job_id"])
    if job is None:
        raise Refused(404, "there is no such job")
    return web.json_response(shown(job))


routes = [
    web.post(BASE + "/api/v1/transcription/transcribe", transcribe),
    web.post(BASE + "/api/v1/analysis/start/{call_id}", analyze),
    web.get(BASE + "/api/v1/jobs/{job_id}", job_state),
]
