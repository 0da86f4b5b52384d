"""Twilio's Messages API for WhatsApp: twilio.com/docs/messaging/api/message-resource, /docs/whatsapp, /docs/api/errors."""

import asyncio
import base64
import json
import math
import re
import secrets
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from urllib.parse import parse_qsl, urlencode, urldefrag, urlsplit

from aiohttp import web

import limits
from errors import twilio_error
from state import STATE
from store import now_text
from webhooks import Overrides, Webhook, twilio_signature

BASE = "/twilio"
API = "/2010-04-01/Accounts/{account}"
SID = re.compile(r"(SM|MM)[0-9a-fA-F]{32}")
CONTENT_SID = re.compile(r"HX[0-9a-fA-F]{32}")
SERVICE_SID = re.compile(r"MG[0-9a-fA-F]{32}")
WHATSAPP = re.compile(r"whatsapp:\+[1-9][0-9]{6,14}")
PHONE = re.compile(r"\+[1-9][0-9]{6,14}")
PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z0-9_]+)\s*\}\}")

FIELDS = {
    "To",
    "From",
    "MessagingServiceSid",
    "Body",
    "MediaUrl",
    "ContentSid",
    "ContentVariables",
    "StatusCallback",
    "ApplicationSid",
    "MaxPrice",
    "ProvideFeedback",
    "Attempt",
    "ValidityPeriod",
    "ForceDelivery",
    "ContentRetention",
    "AddressRetention",
    "SmartEncoded",
    "PersistentAction",
    "TrafficType",
    "ShortenUrls",
    "ScheduleType",
    "SendAt",
    "SendAsMms",
    "RiskCheck",
    "FallbackFrom",
}
REPEATABLE = {"MediaUrl", "PersistentAction"}
BOOLEANS = {"ProvideFeedback", "ForceDelivery", "SmartEncoded", "ShortenUrls", "SendAsMms"}
ENUMS = {
    "ContentRetention": {"retain", "discard"},
    "AddressRetention": {"retain", "obfuscate"},
    "TrafficType": {"free"},
    "ScheduleType": {"fixed"},
    "RiskCheck": {"enable", "disable"},
}
LIST_FILTERS = {"To", "From", "DateSent", "DateSent<", "DateSent>", "PageSize", "Page", "PageToken"}

MESSAGES = {
    63016: "Failed to send freeform message because you are outside the allowed window. If you are using WhatsApp, please "
    "use a Message Template.",
    63021: "Channel invalid content error",
    63028: "Number of parameters provided does not match the expected number of parameters",
}


class Refused(Exception):
    """A 4xx answer, with Twilio's code."""

    def __init__(self, code, message, status=400):
        super().__init__(message)
        self.response = twilio_error(status, message, code)


# --- reading a request -------------------------------------------------------


def authenticate(state, request):
    """Basic auth with the account's SID and token; the path's account must be the same."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    try:
        user, _, password = base64.b64decode(given, validate=True).decode().partition(":")
    except ValueError:
        user, password = "", ""
    config = state.config
    if scheme.lower() != "basic" or user != config.twilio_account_sid or password not in config.twilio_auth_tokens:
        raise Refused(20003, "Authenticate", 401)
    if request.match_info["account"] != config.twilio_account_sid:
        raise Refused(20404, f"The requested resource {request.path.removeprefix(BASE)} was not found", 404)


async def form_of(request):
    if request.content_type != "application/x-www-form-urlencoded":
        raise Refused(
            20001, f"Unsupported Content-Type {request.content_type!r}: send application/x-www-form-urlencoded", 415
        )
    try:
        pairs = parse_qsl((await request.read()).decode("utf-8"), keep_blank_values=True, strict_parsing=True)
    except ValueError as error:
        raise Refused(20001, f"The request body is not a form in UTF-8: {error}") from error
    form = {}
    for name, value in pairs:
        if name not in FIELDS:
            raise Refused(20001, f"Unknown parameter {name!r}")
        if name in form and name not in REPEATABLE:
            raise Refused(20001, f"Parameter {name!r} was given twice")
        form.setdefault(name, []).append(value)
    return {name: values if name in REPEATABLE else values[0] for name, values in form.items()}


def check_url(name, url, code):
    parts = urlsplit(url)
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or len(url) > limits.TWILIO_URL_CHARACTERS_MAX
        or "_" in parts.hostname
        or any(character.isspace() for character in url)
    ):
        raise Refused(code, f"The '{name}' URL {url} is not a valid URL.")


def check_addresses(state, form):
    """Returns the sender and the recipient."""
    to = form.get("To", "")
    if not to:
        raise Refused(21604, "A 'To' phone number is required.")
    if not WHATSAPP.fullmatch(to) and not PHONE.fullmatch(to):
        raise Refused(21211, f"The 'To' number {to} is not a valid phone number.")
    service, sender = form.get("MessagingServiceSid"), form.get("From")
    if not service and not sender:
        raise Refused(21603, "A 'From' phone number is required.")
    if service and not SERVICE_SID.fullmatch(service):
        raise Refused(21701, f"The Messaging Service {service} does not exist.")
    sender = sender or state.config.twilio_senders[0]
    if to.startswith("whatsapp:") != sender.startswith("whatsapp:"):
        raise Refused(
            21910, f"Invalid From and To pair. From({sender}) and To({to}) addresses should be of the same channel"
        )
    if not to.startswith("whatsapp:"):
        raise Refused(21606, f"The 'From' phone number {sender} is not a valid, SMS-capable number of this account.")
    if sender not in state.config.twilio_senders:
        raise Refused(63007, "Twilio could not find a Channel with the specified From address")
    return sender, to


def check_options(form):
    if "StatusCallback" in form:
        check_url("StatusCallback", form["StatusCallback"], 21609)
    for media in form.get("MediaUrl", []):
        check_url("MediaUrl", media, 21620)
    if len(form.get("MediaUrl", [])) > limits.TWILIO_MEDIA_MAX:
        raise Refused(21623, f"A message may have {limits.TWILIO_MEDIA_MAX} media.")
    if "ValidityPeriod" in form:
        period = form["ValidityPeriod"]
        if not period.isdigit() or not 1 <= int(period) <= 36_000:
            raise Refused(20001, "'ValidityPeriod' is a number of seconds from 1 to 36000.")
    if "Attempt" in form and not form["Attempt"].isdigit():
        raise Refused(20001, "'Attempt' is a whole number.")
    for name in BOOLEANS & set(form):
        if form[name] not in ("true", "false"):
            raise Refused(20001, f"'{name}' is true or false.")
    for name, choices in ENUMS.items():
        if name in form and form[name] not in choices:
            raise Refused(20001, f"'{name}' is one of {', '.join(sorted(choices))}.")
    if ("ScheduleType" in form) != ("SendAt" in form):
        raise Refused(20001, "'ScheduleType' and 'SendAt' belong together.")


def template_variables(text):
    try:
        variables = json.loads(text)
    except ValueError:
        raise Refused(21656, "The ContentVariables Parameter is invalid: it is not a JSON string.") from None
    if not isinstance(variables, dict):
        raise Refused(21656, "The ContentVariables Parameter is invalid: it is not a JSON object.")
    for name, value in variables.items():
        if not isinstance(value, str) or value == "":
            raise Refused(21656, f"The ContentVariables Parameter is invalid: variable {name!r} is empty or not text.")
        if len(value) > limits.TWILIO_VARIABLE_CHARACTERS_MAX or re.search(r"[\n\r\t]| {5,}", value):
            raise Refused(
                21656,
                f"The ContentVariables Parameter is invalid: variable {name!r} is too long, or has line "
                "breaks, tabs or more than four spaces in a row.",
            )
    return variables


def content_of(state, form):
    """Returns the text as the recipient will see it and the code with which it will fail later, or None."""
    body, content_sid = form.get("Body", ""), form.get("ContentSid")
    if content_sid is not None:
        template = state.templates.get(content_sid) if CONTENT_SID.fullmatch(content_sid) else None
        if template is None:
            raise Refused(
                21655, f"The ContentSid {content_sid} is invalid: no approved template of this account has it."
            )
        if body or form.get("MediaUrl"):
            raise Refused(20001, "Send 'ContentSid' without 'Body' and 'MediaUrl'.")
        variables = template_variables(form.get("ContentVariables", "{}"))
        wanted = set(PLACEHOLDER.findall(template["body"]))
        text = PLACEHOLDER.sub(lambda match: variables.get(match.group(1), match.group(0)), template["body"])
        if wanted != set(variables):
            return text, 63028
        return text, 63021 if len(text) > limits.TWILIO_TEMPLATE_CHARACTERS_MAX else None
    if "ContentVariables" in form:
        raise Refused(21654, "ContentVariables needs a ContentSid.")
    if not body and not form.get("MediaUrl"):
        raise Refused(21602, "Message body is required.")
    if len(body) > limits.TWILIO_BODY_CHARACTERS_MAX:
        raise Refused(21617, "The concatenated message body exceeds the 1600 character limit.")
    return body, None


# --- the message and its way -------------------------------------------------


def rfc2822(moment):
    return format_datetime(moment) if moment else None


def shown(message):
    """The message as the API shows it."""
    account, sid = message["account"], message["sid"]
    uri = f"/2010-04-01/Accounts/{account}/Messages/{sid}"
    return {
        "account_sid": account,
        "api_version": "2010-04-01",
        "body": message["body"],
        "date_created": rfc2822(message["created"]),
        "date_sent": rfc2822(message["sent"]),
        "date_updated": rfc2822(message["updated"]),
        "direction": message["direction"],
        "error_code": message["error_code"],
        "error_message": message["error_message"],
        "from": message["from"],
        "messaging_service_sid": message["service"],
        "num_media": str(len(message["media"])),
        "num_segments": "1",
        "price": None,
        "price_unit": None,
        "sid": sid,
        "status": message["status"],
        "subresource_uris": {"media": f"{uri}/Media.json"},
        "to": message["to"],
        "uri": f"{uri}.json",
    }


def new_message(state, **fields):
    moment = datetime.now(timezone.utc)
    message = {
        "sid": "SM" + secrets.token_hex(16),
        "account": state.config.twilio_account_sid,
        "media": [],
        "service": None,
        "content_sid": None,
        "error_code": None,
        "error_message": None,
        "created": moment,
        "updated": moment,
        "sent": None,
        "at": now_text(),
        "history": [],
        **fields,
    }
    state.messages[message["sid"]] = message
    state.last_message += 1
    message["number"] = state.last_message
    return message


def window_is_open(state, sender, to):
    last = state.windows.get((to, sender))
    return last is not None and datetime.now(timezone.utc) - last < timedelta(hours=state.settings["window_hours"])


def plan_of_statuses(state, message, code):
    """Which statuses the message will have: the whole way, or to its end with an error."""
    rule = state.faults.take({"fail_message"}, "twilio", message["to"])
    if rule:
        code = rule.get("error_code", 63024)
        end = rule.get("message_status", "undelivered")
        return ["queued", "sent", end] if end == "undelivered" else ["queued", end], code, rule.get("error_message")
    if code:
        return ["queued", "failed"], code, MESSAGES.get(code)
    return list(state.settings["message_statuses"]), None, None


def callback_of(state, message, status, code, error_message, url):
    recipient = message["to"]
    fields = [
        ("MessageSid", message["sid"]),
        ("SmsSid", message["sid"]),
        ("MessageStatus", status),
        ("SmsStatus", status),
        ("To", recipient),
        ("From", message["from"]),
        ("AccountSid", message["account"]),
        ("ApiVersion", "2010-04-01"),
        ("ChannelPrefix", "whatsapp"),
        ("ChannelInstallSid", "XE" + message["sid"][2:]),
        ("ChannelToAddress", recipient),
    ]
    if message["service"]:
        fields.append(("MessagingServiceSid", message["service"]))
    if status == "read":
        fields.append(("EventType", "READ"))
    if code and status in ("failed", "undelivered"):
        fields += [
            ("ErrorCode", str(code)),
            ("ErrorMessage", error_message or ""),
            ("ChannelStatusMessage", error_message or ""),
        ]
    called, fragment = urldefrag(url)
    signature = twilio_signature(state.config.twilio_auth_tokens[0], called, fields)
    return Webhook(
        provider="twilio",
        hook=status,
        url=url,
        body=urlencode(fields).encode(),
        headers={
            "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
            "User-Agent": "TwilioProxy/1.1",
            "X-Twilio-Signature": signature,
        },
        overrides=Overrides.from_fragment(fragment),
        signature_header="X-Twilio-Signature",
    )


def wait_in_queue(state, sender):
    """Seconds until it is the turn of the sender's next message, which takes its place in the queue."""
    turn = max(state.now(), state.turns.get(sender, 0.0))
    wait_s = turn - state.now()
    if wait_s > limits.TWILIO_QUEUE_S_MAX:
        raise Refused(21611, f"This 'From' number {sender} has exceeded the maximum number of queued messages")
    state.turns[sender] = turn + 1 / state.settings["messages_per_s"]
    return wait_s


def send_on_its_way(state, message, code, callback_url, wait_s):
    statuses, code, error_message = plan_of_statuses(state, message, code)
    slow = state.faults.take({"slow_message"}, "twilio", message["to"])
    wait_s += slow.get("seconds", 1) if slow else 0
    gap_s = state.settings["message_gap_ms"] / 1000
    plan = []
    for step, status in enumerate(statuses):
        at_s = gap_s * (step + 1) + (0 if status in ("accepted", "queued") else wait_s)
        state.later(at_s, reach, state, message, status, code, error_message)
        if callback_url:
            plan.append((at_s, callback_of(state, message, status, code, error_message, callback_url)))
    if plan:
        state.webhooks.start(plan)


def reach(state, message, status, code, error_message):
    """The message reached a status at the provider, whether or not anybody is told."""
    message["status"] = status
    message["updated"] = datetime.now(timezone.utc)
    message["history"].append({"status": status, "at": now_text()})
    if status == "sent":
        message["sent"] = message["updated"]
    if status in ("failed", "undelivered"):
        message["error_code"], message["error_message"] = code, error_message
    state.news.tell()


# --- the API -----------------------------------------------------------------


async def post_message(request):
    """So many at a time; nothing is done about what is more."""
    state = request.app[STATE]
    if 0 < state.settings["messages_at_once"] <= state.creating:
        return twilio_error(429, "Too Many Requests")
    state.creating += 1
    try:
        await asyncio.sleep(state.settings["message_takes_ms"] / 1000)
        return await create_message(state, request)
    finally:
        state.creating -= 1


async def create_message(state, request):
    try:
        authenticate(state, request)
        form = await form_of(request)
        sender, to = check_addresses(state, form)
        check_options(form)
        body, code = content_of(state, form)
        if (to, sender) in state.opted_out:
            raise Refused(21610, "Attempt to send to unsubscribed recipient")
        if state.webhooks.full():
            return twilio_error(429, "Too Many Requests")
        wait_s = wait_in_queue(state, sender)
    except Refused as refused:
        return refused.response
    if code is None and "ContentSid" not in form and not window_is_open(state, sender, to):
        code = 63016
    message = new_message(
        state,
        **{"from": sender},
        to=to,
        body=body,
        direction="outbound-api",
        status="accepted" if form.get("MessagingServiceSid") else "queued",
        service=form.get("MessagingServiceSid"),
        media=form.get("MediaUrl", []),
        content_sid=form.get("ContentSid"),
    )
    created = shown(message)
    state.news.tell()
    send_on_its_way(state, message, code, form.get("StatusCallback"), wait_s)
    return web.json_response(created, status=201)


async def get_message(request):
    state = request.app[STATE]
    try:
        authenticate(state, request)
    except Refused as refused:
        return refused.response
    message = state.messages.get(request.match_info["sid"])
    if message is None:
        return twilio_error(404, f"The requested resource {request.path.removeprefix(BASE)} was not found")
    return web.json_response(shown(message))


def moment_of(text):
    """A day or a moment, as the filters take it; returns its beginning and its end."""
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        day = datetime.fromisoformat(text).replace(tzinfo=timezone.utc)
        return day, day + timedelta(days=1) - timedelta(microseconds=1)
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return moment, moment.replace(microsecond=999_999)


def matches(message, query):
    sent = message["sent"] or message["created"]
    for name, value in query.items():
        if name in ("To", "From") and message[name.lower()] != value:
            return False
        if name.startswith("DateSent"):
            begin, end = moment_of(value)
            if (
                (name == "DateSent>" and sent < begin)
                or (name == "DateSent<" and sent > end)
                or (name == "DateSent" and not begin <= sent <= end)
            ):
                return False
    return True


async def list_messages(request):
    state = request.app[STATE]
    try:
        authenticate(state, request)
        unknown = set(request.query) - LIST_FILTERS
        if unknown:
            raise Refused(20001, f"Unknown parameter {sorted(unknown)[0]!r}")
        size, page = int(request.query.get("PageSize", "50")), int(request.query.get("Page", "0"))
        if not 1 <= size <= limits.TWILIO_PAGE_MAX or page < 0:
            raise Refused(20006, "Page size must be from 1 to 1000, and the page 0 or more.")
        found = [message for message in reversed(state.messages.values()) if matches(message, request.query)]
    except Refused as refused:
        return refused.response
    except ValueError as error:
        return twilio_error(400, f"Invalid parameter: {error}", 20001)
    pages = max(1, math.ceil(len(found) / size))
    rows = found[page * size : (page + 1) * size]

    def uri(number):
        others = [
            (name, value) for name, value in request.query.items() if name not in ("Page", "PageSize", "PageToken")
        ]
        query = urlencode(others + [("PageSize", size), ("Page", number)])
        return f"{request.path.removeprefix(BASE)}?{query}"

    return web.json_response(
        {
            "messages": [shown(message) for message in rows],
            "page": page,
            "page_size": size,
            "start": page * size,
            "end": max(0, page * size + len(rows) - 1),
            "uri": uri(page),
            "first_page_uri": uri(0),
            "next_page_uri": uri(page + 1) if page + 1 < pages else None,
            "previous_page_uri": uri(page - 1) if page else None,
        }
    )


routes = [
    web.post(BASE + API + "/Messages.json", post_message),
    web.get(BASE + API + "/Messages.json", list_messages),
    web.get(BASE + API + "/Messages/{sid:(SM|MM)[0-9a-fA-F]{32}}.json", get_message),
]
