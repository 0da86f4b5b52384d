"""/_sandbox: what tests and the sample day ask and tell the sandbox.  Not part of any provider."""

import hashlib
import json
import re
from zoneinfo import available_timezones

from aiohttp import web

import limits
import outlook_hook
import provider_callrail
import provider_files
import provider_twilio
import provider_twilio_inbound
from faults import problem_of as problem_of_rule
from state import SETTINGS, STATE
from store import Full

INDEX = """the provider sandbox

GET    /_sandbox/health
GET    /_sandbox/requests?provider=&method=&path=&since=&wait_s=&count=    what the providers got
DELETE /_sandbox/requests
GET    /_sandbox/webhooks?provider=&hook=&since=&wait_s=&count=            what they sent, and how it was answered
GET    /_sandbox/messages?to=&since=&status=&wait_s=&count=&format=text    WhatsApp, as a chat
POST   /_sandbox/messages                                                  a person writes to us, and Twilio tells of it
POST   /_sandbox/meetings                                                  news of a meeting for /outlook-webhook
PUT    /_sandbox/templates/{ContentSid}
POST   /_sandbox/calls                                                     a call at CallRail, with its webhooks
DELETE /_sandbox/calls/{id}                                                it is not in CallRail's list any more
PUT    /_sandbox/files/{name}      GET /files/{name}                       recordings
GET    /_sandbox/objects           DELETE                                  what lies in the bucket
PUT    /_sandbox/transcripts                                               what OpenAI and Shunya hear in an audio file
GET    /_sandbox/faults   POST   DELETE   DELETE /_sandbox/faults/{id}     misbehaviour
GET    /_sandbox/settings   PUT
POST   /_sandbox/reset
"""


class Wrong(Exception):
    """A request to the control interface that cannot be done; the text says why."""


def refused(text, status=400):
    return web.json_response({"error": text}, status=status)


async def json_of(request):
    try:
        return json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise Wrong(f"the body is not JSON: {error}") from None


def check_fields(value, fields, needed):
    problem = provider_callrail.problem_of(value, fields, needed)
    if problem:
        raise Wrong("the body " + problem)
    return value


def number(request, name, default, convert=int):
    try:
        return convert(request.query.get(name, default))
    except ValueError:
        raise Wrong(f"`{name}` is a number") from None


async def sent(state, plan, sending):
    """How the webhooks were answered; nothing with `wait` false, when they are on their way."""
    if state.webhooks.full():
        raise Full("too many webhooks are still to be sent")
    run = state.webhooks.start(plan)
    return await run if sending.get("wait", True) else []


async def listed(request, name, select):
    """A list, at once or, with wait_s, as soon as it has `count` entries (default 1)."""
    wait_s, count = number(request, "wait_s", 0, float), number(request, "count", 1)
    if wait_s > 0:
        await request.app[STATE].news.wait_until(lambda: len(select()) >= count, wait_s)
    entries = select()[: limits.CONTROL_LIST_MAX]
    return web.json_response({name: entries, "total": len(entries)})


# --- what happened ------------------------------------------------------------


async def index(_request):
    return web.Response(text=INDEX)


async def health(request):
    state = request.app[STATE]
    return web.json_response(
        {
            "ok": True,
            "requests": state.requests.last_id,
            "webhooks": state.webhooks.last_id,
            "messages": state.last_message,
        }
    )


async def list_requests(request):
    query, since = request.query, number(request, "since", 0)
    return await listed(
        request,
        "requests",
        lambda: request.app[STATE].requests.select(
            query.get("provider"), query.get("method"), query.get("path"), since
        ),
    )


async def clear_requests(request):
    request.app[STATE].requests.clear()
    return web.json_response({})


async def list_webhooks(request):
    query, since = request.query, number(request, "since", 0)
    sent = request.app[STATE].webhooks.sent
    return await listed(
        request,
        "webhooks",
        lambda: [
            entry
            for entry in sent
            if entry["id"] > since
            and query.get("provider", entry["provider"]) == entry["provider"]
            and query.get("hook", entry["hook"]) == entry["hook"]
        ],
    )


# --- WhatsApp -----------------------------------------------------------------


def chat_entry(message):
    return {
        "number": message["number"],
        "sid": message["sid"],
        "at": message["at"],
        "direction": message["direction"],
        "from": message["from"],
        "to": message["to"],
        "body": message["body"],
        "content_sid": message["content_sid"],
        "media": message["media"],
        "status": message["status"],
        "error_code": message["error_code"],
        "history": message["history"],
    }


def chat_text(entries):
    lines = []
    for entry in entries:
        person = entry["from"] if entry["direction"] == "inbound" else entry["to"]
        arrow = "writes" if entry["direction"] == "inbound" else f"gets, {entry['status']}"
        lines.append(f"{entry['at']}  {person} {arrow}:")
        lines += ["    " + line for line in entry["body"].splitlines() or [""]]
    return "\n".join(lines) + ("\n" if lines else "")


async def list_messages(request):
    state, query, since = request.app[STATE], request.query, number(request, "since", 0)

    def select():
        return [
            chat_entry(message)
            for message in state.messages.values()
            if message["number"] > since
            and query.get("to", message["to"]) == message["to"]
            and query.get("status", message["status"]) == message["status"]
        ]

    if query.get("format") == "text":
        return web.Response(text=chat_text(select()))
    return await listed(request, "messages", select)


async def write_message(request):
    """A person writes to us; with `target` Twilio tells of it."""
    state = request.app[STATE]
    wanted = check_fields(await json_of(request), provider_twilio_inbound.MESSAGE_FIELDS, ("from",))
    problem = provider_twilio_inbound.problem_of(state, wanted)
    if problem:
        raise Wrong(problem)
    try:
        message = provider_twilio_inbound.write(state, wanted)
    except ValueError as error:
        raise Wrong(f"`at` is an ISO 8601 moment with an offset: {error}") from None
    webhooks = []
    if "target" in wanted:
        webhook = provider_twilio_inbound.webhook_of(state, message, wanted["target"])
        webhooks = await sent(state, [(0, webhook)], wanted)
    told = [{**outcome, "log": provider_twilio_inbound.log_of(outcome)} for outcome in webhooks]
    return web.json_response({**chat_entry(message), "webhooks": told}, status=201)


async def tell_of_meeting(request):
    state = request.app[STATE]
    wanted = check_fields(await json_of(request), outlook_hook.MEETING_FIELDS, ("target",))
    problem = outlook_hook.problem_of(wanted)
    if problem:
        raise Wrong(problem)
    webhooks = await sent(state, [(0, outlook_hook.webhook_of(state, wanted))], wanted)
    return web.json_response({"webhooks": webhooks}, status=201)


async def put_template(request):
    state, sid = request.app[STATE], request.match_info["sid"]
    wanted = check_fields(await json_of(request), {"body": str, "name": str}, ("body",))
    if not provider_twilio.CONTENT_SID.fullmatch(sid):
        raise Wrong("a ContentSid is HX and 32 hexadecimal digits")
    if sid not in state.templates and len(state.templates) >= limits.TEMPLATES_MAX:
        raise Full(f"there may be {limits.TEMPLATES_MAX} templates")
    state.templates[sid] = {"sid": sid, **wanted}
    return web.json_response(state.templates[sid])


# --- calls, files, transcripts ------------------------------------------------


async def register_call(request):
    state = request.app[STATE]
    wanted = check_fields(await json_of(request), {"call": dict, "webhooks": dict}, ("call",))
    problem = provider_callrail.problem_of(
        wanted["call"], provider_callrail.CALL_FIELDS, ("caller_number", "tracking_number")
    )
    if problem:
        raise Wrong("`call` " + problem)
    sending = wanted.get("webhooks")
    problem = provider_callrail.problem_of_sending(sending) if sending is not None else None
    if problem:
        raise Wrong(problem)
    try:
        call = provider_callrail.new_call(state, wanted["call"])
        plan = provider_callrail.plan_of(state, call, sending) if sending is not None else []
    except ValueError as error:
        raise Wrong(f"`started_at`: {error}") from None
    outcomes = await sent(state, plan, sending) if plan else []
    return web.json_response({"call": call, "webhooks": outcomes}, status=201)


async def delete_call(request):
    if request.app[STATE].calls.pop(request.match_info["id"], None) is None:
        return refused("there is no such call", 404)
    return web.json_response({})


async def put_file(request):
    name = request.match_info["name"]
    if not provider_files.NAME.fullmatch(name):
        raise Wrong(
            "a file's name has letters, digits, dots, dashes and underscores, and begins with a letter or digit"
        )
    content = bytearray()
    async for chunk in request.content.iter_any():
        content += chunk
        if len(content) > limits.FILE_BYTES_MAX:
            raise Full(f"a file may have {limits.FILE_BYTES_MAX} bytes")
    content_type = request.headers.get("Content-Type", "application/octet-stream")
    entry = request.app[STATE].files.put(name, content_type, bytes(content))
    return web.json_response(
        {
            "name": name,
            "content_type": content_type,
            "bytes": len(content),
            "sha256": entry["sha256"],
            "url": f"{request.app[STATE].config.base_url}/files/{name}",
        },
        status=201,
    )


async def delete_file(request):
    if not request.app[STATE].files.delete(request.match_info["name"]):
        return refused("there is no such file", 404)
    return web.json_response({})


async def list_objects(request):
    """What lies in the bucket."""
    shown = []
    for key, entry in request.app[STATE].objects.entries.items():
        shown.append({"key": key, "bytes": len(entry["content"]), "sha256": entry["sha256"]})
    return web.json_response({"objects": shown, "total": len(shown)})


async def delete_objects(request):
    request.app[STATE].objects.clear()
    return web.json_response({})


TRANSCRIPT_FIELDS = {
    "sha256": str,
    "file": str,
    "file_name": str,
    "any": bool,
    "text": str,
    "language": str,
    "segments": list,
}
SEGMENT_FIELDS = {"start": (int, float), "end": (int, float), "text": str, "speaker": str}


def key_of_transcript(state, wanted):
    if wanted.get("any"):
        return "*"
    if "sha256" in wanted:
        if not re.fullmatch(r"[0-9a-f]{64}", wanted["sha256"]):
            raise Wrong("`sha256` is 64 hexadecimal digits")
        return wanted["sha256"]
    if "file_name" in wanted:
        return "name:" + wanted["file_name"]
    entry = state.files.entries.get(wanted.get("file"))
    if entry is None:
        raise Wrong(
            "say which audio: `sha256`, `file` (one put here before), `file_name` (as it will be uploaded) or `any`"
        )
    return hashlib.sha256(entry["content"]).hexdigest()


async def put_transcript(request):
    state = request.app[STATE]
    wanted = check_fields(await json_of(request), TRANSCRIPT_FIELDS, ())
    segments = wanted.get("segments", [])
    for segment in segments:
        check_fields(segment, SEGMENT_FIELDS, ("start", "end", "text"))
    text = wanted.get("text", " ".join(segment["text"] for segment in segments))
    key = key_of_transcript(state, wanted)
    state.transcripts[key] = {"text": text, "segments": segments, "language": wanted.get("language", "english")}
    return web.json_response({"known_as": key, **state.transcripts[key]})


# --- faults and settings ------------------------------------------------------


async def list_faults(request):
    return web.json_response({"faults": [rule.shown() for rule in request.app[STATE].faults.rules]})


async def add_faults(request):
    faults, wanted = request.app[STATE].faults, await json_of(request)
    rules = wanted if isinstance(wanted, list) else [wanted]
    for rule in rules:
        problem = problem_of_rule(rule)
        if problem:
            raise Wrong(problem)
    if len(faults.rules) + len(rules) > limits.FAULT_RULES_MAX:
        raise Full(f"there may be {limits.FAULT_RULES_MAX} rules; delete some first")
    return web.json_response({"faults": [faults.add(rule).shown() for rule in rules]}, status=201)


async def delete_faults(request):
    given = request.match_info.get("id")
    deleted = request.app[STATE].faults.delete(int(given) if given else None)
    return web.json_response({"deleted": deleted})


async def get_settings(request):
    return web.json_response(request.app[STATE].settings)


async def put_settings(request):
    state, wanted = request.app[STATE], await json_of(request)
    kinds = {name: (int, float) if isinstance(value, (int, float)) else type(value) for name, value in SETTINGS.items()}
    check_fields(wanted, kinds, ())
    statuses = wanted.get("message_statuses", [])
    if any(status not in ("accepted", "queued", "sending", "sent", "delivered", "read") for status in statuses):
        raise Wrong("`message_statuses` are accepted, queued, sending, sent, delivered and read")
    if wanted.get("callrail_time_zone", "UTC") not in available_timezones():
        raise Wrong("`callrail_time_zone` is a name like America/New_York")
    if wanted.get("callrail_recordings", "link") not in ("link", "api"):
        raise Wrong("`callrail_recordings` is link or api")
    for name in ("message_gap_ms", "message_takes_ms", "media_after_ms", "shunya_gap_ms"):
        if not 0 <= wanted.get(name, 0) <= limits.STALL_S_MAX * 1000:
            raise Wrong(f"`{name}` is at most {limits.STALL_S_MAX * 1000:.0f}")
    if wanted.get("messages_per_s", 1) <= 0 or wanted.get("messages_at_once", 0) < 0:
        raise Wrong("`messages_per_s` is more than 0, `messages_at_once` 0 or more")
    if wanted.get("opt_out", "on") not in ("on", "off"):
        raise Wrong("`opt_out` is on or off")
    if wanted.get("shunya_mode", "job") not in ("job", "sync"):
        raise Wrong("`shunya_mode` is job or sync")
    if wanted.get("shunya_signature", "timed") not in ("timed", "legacy"):
        raise Wrong("`shunya_signature` is timed or legacy")
    state.settings.update(wanted)
    return web.json_response(state.settings)


async def reset(request):
    request.app[STATE].reset()
    return web.json_response({})


@web.middleware
async def explain(request, handler):
    """What cannot be done is said as JSON."""
    if not request.path.startswith("/_sandbox"):
        return await handler(request)
    try:
        return await handler(request)
    except Wrong as wrong:
        return refused(str(wrong))
    except Full as full:
        return refused(str(full), 507)


routes = [
    web.get("/", index),
    web.get("/_sandbox", index),
    web.get("/_sandbox/health", health),
    web.get("/_sandbox/requests", list_requests),
    web.delete("/_sandbox/requests", clear_requests),
    web.get("/_sandbox/webhooks", list_webhooks),
    web.get("/_sandbox/messages", list_messages),
    web.post("/_sandbox/messages", write_message),
    web.post("/_sandbox/meetings", tell_of_meeting),
    web.put("/_sandbox/templates/{sid}", put_template),
    web.post("/_sandbox/calls", register_call),
    web.delete("/_sandbox/calls/{id}", delete_call),
    web.put("/_sandbox/files/{name}", put_file),
    web.delete("/_sandbox/files/{name}", delete_file),
    web.get("/_sandbox/objects", list_objects),
    web.delete("/_sandbox/objects", delete_objects),
    web.put("/_sandbox/transcripts", put_transcript),
    web.get("/_sandbox/faults", list_faults),
    web.post("/_sandbox/faults", add_faults),
    web.delete("/_sandbox/faults", delete_faults),
    web.delete(r"/_sandbox/faults/{id:\d{1,9}}", delete_faults),
    web.get("/_sandbox/settings", get_settings),
    web.put("/_sandbox/settings", put_settings),
    web.post("/_sandbox/reset", reset),
]
