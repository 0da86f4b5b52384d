"""CallRail: the calls of its API v3 (apidocs.callrail.com) and the webhooks it sends about them."""

import json
import math
import re
import secrets
import zlib
from datetime import datetime, timedelta, timezone
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from aiohttp import web

import limits
from errors import callrail_error
from state import STATE
from webhooks import Webhook, callrail_signature

BASE = "/callrail/v3"
HOOKS = ("call.incoming", "call.answered", "call.completed")
RING_S = 4
TOKEN = re.compile(r'Token token="([^"]*)"')
CALL_FIELDS = {
    "call_id": str,
    "caller_number": (str, type(None)),
    "caller_name": (str, type(None)),
    "tracking_number": str,
    "business_number": (str, type(None)),
    "started_at": str,
    "duration": int,
    "answered": bool,
    "voicemail": bool,
    "recording_url": (str, type(None)),
    "recording_file": str,
    "agent_email": (str, type(None)),
    "transcription": (str, type(None)),
    "company_id": str,
    "extra": dict,
}
SENDING_FIELDS = {
    "target": str,
    "hooks": list,
    "spelling": str,
    "format": str,
    "gap_ms": int,
    "signing_key": str,
    "signed": bool,
    "wait": bool,
}
DEFAULT_COMPANY = "COM5a6dba5a6dba5a6dba5a6dba5a6dba5a"

# what a call shows without `fields`, and what only when asked for
LISTED = (
    "answered",
    "business_phone_number",
    "customer_city",
    "customer_country",
    "customer_name",
    "customer_phone_number",
    "customer_state",
    "direction",
    "duration",
    "id",
    "recording",
    "recording_duration",
    "recording_player",
    "start_time",
    "tracking_phone_number",
    "voicemail",
)
ON_REQUEST = (
    "agent_email",
    "call_summary",
    "call_type",
    "company_id",
    "company_name",
    "conversational_transcript",
    "created_at",
    "device_type",
    "first_call",
    "note",
    "person_id",
    "sentiment",
    "source_name",
    "tags",
    "transcription",
    "value",
)


# --- the call as each side names it -------------------------------------------


def problem_of(fields, allowed, needed=()):
    if not isinstance(fields, dict):
        return "is not an object"
    for name, value in fields.items():
        if name not in allowed:
            return f"has no field `{name}`; it has {', '.join(sorted(allowed))}"
        wanted = allowed[name]
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is int):
            return f"has a `{name}` of the wrong type"
    missing = [name for name in needed if name not in fields]
    return f"needs `{missing[0]}`" if missing else None


def new_call(state, wanted):
    call = {
        "call_id": "CAL" + secrets.token_hex(16),
        "caller_name": None,
        "business_number": None,
        "duration": 0,
        "answered": True,
        "voicemail": False,
        "recording_url": None,
        "agent_email": None,
        "transcription": None,
        "company_id": DEFAULT_COMPANY,
        "extra": {},
        **wanted,
    }
    if "started_at" not in call:
        call["started_at"] = (datetime.now(timezone.utc) - timedelta(seconds=call["duration"] + RING_S)).isoformat(
            timespec="seconds"
        )
    file = call.pop("recording_file", None)
    if file is not None and call["recording_url"] is None:
        call["recording_url"] = f"{state.config.base_url}/files/{file}"
    state.calls[call["call_id"]] = call
    return call


def moment_of_hook(call, hook):
    after_s = {"call.incoming": 0, "call.answered": RING_S, "call.completed": RING_S + call["duration"]}[hook]
    return (start_of(call) + timedelta(seconds=after_s)).isoformat(timespec="milliseconds")


def known_at(call, hook):
    """A call's facts at the moment of a hook: before its end nobody knows its length or recording."""
    over = hook == "call.completed"
    return {
        **call,
        "answered": call["answered"] and hook != "call.incoming",
        "duration": call["duration"] if over else 0,
        "recording_url": call["recording_url"] if over else None,
        "voicemail": call["voicemail"] and over,
        "transcription": call["transcription"] if over else None,
        "agent_email": call["agent_email"] if hook != "call.incoming" else None,
        "timestamp": moment_of_hook(call, hook),
    }


def plain_payload(facts):
    """The field names of this project's own contract."""
    return {
        "call_id": facts["call_id"],
        "caller_number": facts["caller_number"],
        "tracking_number": facts["tracking_number"],
        "recording_url": facts["recording_url"],
        "duration": facts["duration"],
        "answered": facts["answered"],
        "agent_email": facts["agent_email"],
        "voicemail": facts["voicemail"],
        "timestamp": facts["timestamp"],
        **facts["extra"],
    }


def callrail_payload(facts):
    """CallRail's own names."""
    older_number = zlib.crc32(facts["call_id"].encode())
    return {
        "id": older_number,
        "resource_id": facts["call_id"],
        "company_id": zlib.crc32(facts["company_id"].encode()),
        "company_resource_id": facts["company_id"],
        "person_resource_id": None,
        "call_type": "inbound",
        "direction": "inbound",
        "answered": facts["answered"],
        "voicemail": facts["voicemail"],
        "first_call": False,
        "customer_name": facts["caller_name"],
        "customer_phone_number": facts["caller_number"],
        "customer_number": facts["caller_number"],
        "business_phone_number": facts["business_number"],
        "tracking_phone_number": facts["tracking_number"],
        "duration": str(facts["duration"]),
        "start_time": facts["started_at"],
        "created_at": facts["started_at"],
        "timestamp": facts["timestamp"],
        "recording": facts["recording_url"],
        "recording_duration": facts["duration"] if facts["recording_url"] else None,
        "transcription": facts["transcription"],
        "call_summary": None,
        "agent_email": facts["agent_email"],
        "tags": [],
        "note": None,
        "value": None,
        "source_name": "Google Ads",
        **facts["extra"],
    }


def encoded(payload, form):
    if not form:
        return json.dumps(payload, ensure_ascii=False).encode(), "application/json"

    def text(value):
        if value is None:
            return ""
        return json.dumps(value) if isinstance(value, (bool, list, dict)) else str(value)

    return urlencode(
        {name: text(value) for name, value in payload.items()}
    ).encode(), "application/x-www-form-urlencoded"


# --- sending ------------------------------------------------------------------


def problem_of_sending(sending):
    problem = problem_of(sending, SENDING_FIELDS, ("target",))
    if problem:
        return "`webhooks` " + problem
    if sending.get("spelling", "callrail") not in ("callrail", "plain"):
        return "`spelling` is callrail or plain"
    if sending.get("format", "json") not in ("json", "form"):
        return "`format` is json or form"
    for hook in sending.get("hooks", []):
        if hook not in HOOKS:
            return (
                f"`hooks` lists {', '.join(HOOKS)}, in the order they are to be sent, as often as they are to be sent"
            )
    if len(sending.get("hooks", [])) > limits.WEBHOOK_COPIES_MAX:
        return f"`hooks` has at most {limits.WEBHOOK_COPIES_MAX} entries"
    return None


def default_hooks(call):
    return [hook for hook in HOOKS if call["answered"] or hook != "call.answered"]


def plan_of(state, call, sending):
    """The same call and hook always give the same bytes, so that a repeated hook is a true duplicate."""
    spelled = callrail_payload if sending.get("spelling", "callrail") == "callrail" else plain_payload
    key = sending.get("signing_key", state.config.callrail_signing_keys[0])
    plan = []
    for number, hook in enumerate(sending.get("hooks", default_hooks(call))):
        body, content_type = encoded(spelled(known_at(call, hook)), sending.get("format") == "form")
        headers = {"Content-Type": content_type, "User-Agent": "CallRail"}
        if sending.get("signed", True):
            headers["Signature"] = callrail_signature(key, body)
        plan.append(
            (
                number * sending.get("gap_ms", 0) / 1000,
                Webhook(
                    provider="callrail",
                    hook=hook,
                    url=f"{sending['target'].rstrip('/')}/{hook}",
                    body=body,
                    headers=headers,
                ),
            )
        )
    return plan


# --- the API ------------------------------------------------------------------

PARAMETERS = {"start_date", "end_date", "company_id", "fields", "per_page", "page", "relative_pagination", "offset"}


def refusal(state, request):
    given = TOKEN.fullmatch(request.headers.get("Authorization", ""))
    if given is None or given.group(1) not in state.config.callrail_api_keys:
        return callrail_error(401, "HTTP Token: Access denied.")
    if request.match_info["account"] != state.config.callrail_account_id:
        return callrail_error(404, "Couldn't find Account")
    if over_the_limit(state):
        return callrail_error(429, "API rate limit exceeded")  # and nothing says until when
    return None


def over_the_limit(state):
    """Counts a request; the hours and days are the clock's."""
    now = datetime.now(timezone.utc)
    for name, most in (
        (now.strftime("%Y-%m-%dT%H"), state.settings["callrail_requests_per_hour"]),
        (now.strftime("%Y-%m-%d"), state.settings["callrail_requests_per_day"]),
    ):
        if state.callrail_requests.get(name, 0) >= most:
            return True
        state.callrail_requests[name] = state.callrail_requests.get(name, 0) + 1
    return False


def start_of(call):
    start = datetime.fromisoformat(call["started_at"].replace("Z", "+00:00"))
    return start if start.tzinfo else start.replace(tzinfo=timezone.utc)


def known_now(call):
    """While people still talk, nobody knows for how long."""
    over_at = start_of(call) + timedelta(seconds=RING_S + call["duration"])
    if over_at <= datetime.now(timezone.utc):
        return {**known_at(call, "call.completed"), "duration": call["duration"]}
    return {**known_at(call, "call.answered"), "duration": None}


def shown(state, call, names):
    known = known_now(call)
    facts = callrail_payload(known)
    if facts["recording"] and state.settings["callrail_recordings"] == "api":
        account = state.config.callrail_account_id
        facts["recording"] = f"{state.config.base_url}{BASE}/a/{account}/calls/{call['call_id']}/recording.json"
    start = start_of(call).astimezone(ZoneInfo(state.settings["callrail_time_zone"]))
    return {
        **{name: facts.get(name) for name in names},
        "id": call["call_id"],
        "duration": known["duration"],
        "start_time": start.isoformat(timespec="milliseconds"),
        **({"company_id": call["company_id"]} if "company_id" in names else {}),
    }


def names_wanted(request):
    asked = [name for name in request.query.get("fields", "").split(",") if name]
    unknown = [name for name in asked if name not in LISTED + ON_REQUEST]
    return LISTED + tuple(asked), unknown


def moment_of(state, text, end):
    """A date is a whole day and a moment without offset is one of the account's time zone."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(state.settings["callrail_time_zone"]))
    return moment + timedelta(days=1) if end and len(text) == len("2026-11-21") else moment


def range_wanted(state, query):
    """The first moment and the one behind the last; ValueError: what cannot be answered."""
    now = datetime.now(timezone.utc)
    first = moment_of(state, query["start_date"], False) if "start_date" in query else now - timedelta(days=30)
    last = moment_of(state, query["end_date"], True) if "end_date" in query else now
    if first < now - timedelta(days=limits.CALLRAIL_HISTORY_DAYS):
        raise ValueError("start_date is more than 25 months ago")
    return first, last


def calls_wanted(state, query):
    """Newest first: those that have begun, in the range and of the company."""
    first, last = range_wanted(state, query)
    last = min(last, datetime.now(timezone.utc))
    found = [
        call
        for call in reversed(state.calls.values())
        if query.get("company_id", call["company_id"]) == call["company_id"] and first <= start_of(call) < last
    ]
    found.sort(key=lambda call: (start_of(call), call["call_id"]), reverse=True)
    return found


def relative_page(state, request, found, size):
    """From the call behind the one that `offset` names, whatever has come or gone before it."""
    after = request.query.get("offset")
    if after is not None:
        start, _, name = after.partition("~")
        found = [call for call in found if (start_of(call).timestamp(), call["call_id"]) < (float(start), name)]
    page = found[:size]
    more = len(found) > size
    following = {**request.query, "offset": f"{start_of(page[-1]).timestamp()}~{page[-1]['call_id']}"} if more else {}
    url = f"{state.config.base_url}{request.path}?{urlencode(following)}" if more else None
    return page, {"has_next_page": more, "next_page": url}


async def list_calls(request):
    state, query = request.app[STATE], request.query
    refused = refusal(state, request)
    if refused:
        return refused
    names, unknown = names_wanted(request)
    if unknown:
        return callrail_error(400, f"Invalid field: {unknown[0]}")
    if set(query) - PARAMETERS:
        return callrail_error(400, f"Invalid parameter: {min(set(query) - PARAMETERS)}")
    try:
        size, page = int(query.get("per_page", "100")), int(query.get("page", "1"))
        if not 1 <= size <= limits.CALLRAIL_PAGE_MAX or page < 1:
            raise ValueError(f"per_page is from 1 to {limits.CALLRAIL_PAGE_MAX}, page 1 or more")
        found = calls_wanted(state, query)
        if query.get("relative_pagination") == "true":
            calls, place = relative_page(state, request, found, size)
        else:
            calls = found[(page - 1) * size : page * size]
            place = {"page": page, "total_pages": max(1, math.ceil(len(found) / size)), "total_records": len(found)}
    except ValueError as error:
        return callrail_error(400, str(error))
    return web.json_response({"calls": [shown(state, call, names) for call in calls], "per_page": size, **place})


async def get_call(request):
    state = request.app[STATE]
    refused = refusal(state, request)
    if refused:
        return refused
    call = state.calls.get(request.match_info["call"])
    if call is None:
        return callrail_error(404, "Couldn't find Call")
    names, unknown = names_wanted(request)
    if unknown:
        return callrail_error(400, f"Invalid field: {unknown[0]}")
    return web.json_response(shown(state, call, names))


async def get_recording(request):
    state = request.app[STATE]
    refused = refusal(state, request)
    if refused:
        return refused
    call = state.calls.get(request.match_info["call"])
    if call is None or call["recording_url"] is None:
        return callrail_error(404, "Couldn't find Recording")
    return web.json_response({"url": call["recording_url"]})


routes = [
    web.get(BASE + "/a/{account}/calls.json", list_calls),
    web.get(BASE + "/a/{account}/calls/{call}.json", get_call),
    web.get(BASE + "/a/{account}/calls/{call}/recording.json", get_recording),
]
