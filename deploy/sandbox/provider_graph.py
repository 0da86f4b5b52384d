"""Microsoft Graph: one application's calendars and the subscriptions to them.

learn.microsoft.com/graph/api/subscription-post-subscriptions, /graph/change-notifications-delivery-webhooks,
/graph/change-notifications-lifecycle-events, /graph/api/event-get, /graph/api/event-delta, and the client credentials
of /entra/identity-platform.  Addresses for notices must be https, but for this machine's own."""

import asyncio
import json
import re
import secrets
import uuid
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qsl, urlencode, urlsplit

import aiohttp
from aiohttp import web
from yarl import URL

import limits
from errors import graph_error
from state import STATE
from webhooks import Overrides, Webhook

BASE = "/graph"
API = BASE + "/v1.0"
SCOPE = "https://graph.microsoft.com/.default"
RESOURCE = re.compile(r"/?users/([^/]+)/events", re.IGNORECASE)
WANTED = {
    "changeType": str,
    "notificationUrl": str,
    "lifecycleNotificationUrl": str,
    "resource": str,
    "expirationDateTime": str,
    "clientState": str,
    "latestSupportedTlsVersion": str,
}
NEEDED = ("changeType", "notificationUrl", "resource", "expirationDateTime")
PROPERTIES = {
    "id", "iCalUId", "subject", "bodyPreview", "body", "start", "end", "organizer", "attendees", "isCancelled", "isOnlineMeeting",
    "onlineMeeting", "type", "seriesMasterId", "recurrence", "location", "createdDateTime", "lastModifiedDateTime",
}  # fmt: skip
LIFECYCLE = ("missed", "subscriptionRemoved", "reauthorizationRequired")
HANDSHAKE = "Validation: Testing client application reachability for subscription Request-Id: "


class Refused(Exception):
    def __init__(self, status, code, message):
        super().__init__(message)
        self.response = graph_error(status, message, code)


def moment(text):
    """As Graph writes it: without an offset it is UTC."""
    found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def written(when):
    return when.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")


def now():
    return datetime.now(timezone.utc)


# --- who asks -----------------------------------------------------------------


async def give_token(request):
    state, config = request.app[STATE], request.app[STATE].config
    form = dict(parse_qsl((await request.read()).decode("utf-8", "replace"), keep_blank_values=True))

    def refused(status, error, code, text):
        description = f"AADSTS{code}: {text} Trace ID: {uuid.uuid4()} Timestamp: {written(now())}"
        return web.json_response({"error": error, "error_description": description, "error_codes": [code]}, status=status)

    if request.content_type != "application/x-www-form-urlencoded":
        return refused(400, "invalid_request", 900144, "The request body must contain the following parameter: 'grant_type'.")
    if request.match_info["directory"] != config.graph_tenant_id:
        return refused(400, "invalid_request", 90002, "Tenant not found. Check to make sure you have the correct tenant ID.")
    if form.get("grant_type") != "client_credentials":
        return refused(400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type.")
    if form.get("client_id") != config.graph_client_id:
        return refused(400, "unauthorized_client", 700016, "Application was not found in the directory.")
    if form.get("client_secret") not in config.graph_client_secrets:
        return refused(401, "invalid_client", 7000215, "Invalid client secret provided.")
    if form.get("scope") != SCOPE:
        return refused(400, "invalid_scope", 70011, "The provided value for the input parameter 'scope' is not valid.")
    token, lasts_s = "eyJ." + secrets.token_urlsafe(48), state.settings["graph_token_s"]
    state.graph.tokens[token] = now() + timedelta(seconds=lasts_s)
    return web.json_response({"token_type": "Bearer", "expires_in": lasts_s, "ext_expires_in": lasts_s, "access_token": token})


def authenticate(state, request):
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    until = state.graph.tokens.get(token)
    if scheme != "Bearer" or until is None:
        raise Refused(401, "InvalidAuthenticationToken", "Access token is empty or malformed.")
    if until <= now():
        raise Refused(401, "InvalidAuthenticationToken", "Lifetime validation failed, the token is expired.")


def refusing(handler):
    async def answer(request):
        state = request.app[STATE]
        try:
            authenticate(state, request)
            return await handler(state, request)
        except Refused as refused:
            return refused.response

    return answer


async def json_of(request):
    if request.content_type != "application/json":
        raise Refused(400, "BadRequest", "Write requests must contain the Content-Type header declaration: application/json.")
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError):
        raise Refused(400, "BadRequest", "Unable to read JSON request payload.") from None
    if not isinstance(body, dict):
        raise Refused(400, "BadRequest", "Unable to read JSON request payload.")
    return body


# --- subscriptions ------------------------------------------------------------


def expiry_of(text, state):
    try:
        wanted = moment(text)
    except (TypeError, ValueError):
        raise Refused(400, "InvalidRequest", "expirationDateTime is not a date.") from None
    if wanted <= now():
        raise Refused(400, "InvalidRequest", "Subscription expiration must be in the future.")
    if wanted > now() + timedelta(minutes=state.settings["graph_life_minutes"]):
        raise Refused(400, "InvalidRequest", "Subscription expiration can only be "
                      f"{state.settings['graph_life_minutes']} minutes in the future.")  # fmt: skip
    return max(wanted, now() + timedelta(minutes=limits.GRAPH_LIFE_MINUTES_LEAST))


def check_address(name, url):
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if not host or (parts.scheme != "https" and host not in ("127.0.0.1", "localhost", "::1")):
        raise Refused(400, "InvalidRequest", f"{name} must be an absolute https address.")


def check_wanted(wanted):
    for name, value in wanted.items():
        if name not in WANTED:
            raise Refused(400, "InvalidRequest", f"The property '{name}' does not exist on type 'microsoft.graph.subscription'.")
        if not isinstance(value, WANTED[name]):
            raise Refused(400, "InvalidRequest", f"{name} has the wrong type.")
    for name in NEEDED:
        if not wanted.get(name):
            raise Refused(400, "InvalidRequest", f"{name} is required.")
    if not set(wanted["changeType"].split(",")) <= {"created", "updated", "deleted"}:
        raise Refused(400, "InvalidRequest", "changeType lists created, updated and deleted.")
    if not RESOURCE.fullmatch(wanted["resource"]):
        raise Refused(400, "ExtensionError", "The resource cannot be subscribed to by an application.")
    if len(wanted.get("clientState", "")) > limits.GRAPH_CLIENT_STATE_CHARACTERS_MAX:
        raise Refused(400, "InvalidRequest", "clientState has at most 128 characters.")
    for name in ("notificationUrl", "lifecycleNotificationUrl"):
        if name in wanted:
            check_address(name, wanted[name])


async def shake_hands(state, url):
    """The address must answer the token it was given: decoded, as plain text, within ten seconds."""
    token = HANDSHAKE + str(uuid.uuid4())
    address = url + ("&" if "?" in url else "?") + urlencode({"validationToken": token})
    timeout = aiohttp.ClientTimeout(total=limits.GRAPH_HANDSHAKE_S)
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    try:
        async with state.webhooks.client.post(URL(address, encoded=True), data=b"", headers=headers, timeout=timeout) as answer:
            said = await answer.text()
            good = answer.status == 200 and answer.content_type == "text/plain" and said == token
            why = f"it answered HTTP status {answer.status}" if answer.status != 200 else "it did not answer the token"
    except (aiohttp.ClientError, asyncio.TimeoutError, ValueError) as error:
        good, why = False, f"it could not be reached: {type(error).__name__}"
    if not good:
        raise Refused(400, "ValidationError", f"Subscription validation request failed. Notification endpoint must respond "
                      f"with 200 OK to validation request: {why}.")  # fmt: skip


def shown(subscription):
    names = ("id", "resource", "changeType", "notificationUrl", "lifecycleNotificationUrl", "latestSupportedTlsVersion")
    return {
        **{name: subscription.get(name) for name in names},
        "applicationId": subscription["applicationId"],
        "clientState": None,
        "expirationDateTime": written(subscription["expires"]),
    }


def alive(state):
    for number in [key for key, one in state.graph.subscriptions.items() if one["expires"] <= now()]:
        del state.graph.subscriptions[number]
    return state.graph.subscriptions


def equal(one, wanted):
    return all(str(one.get(name)).strip("/").lower() == str(wanted.get(name)).strip("/").lower() for name in NEEDED[:3])


@refusing
async def create_subscription(state, request):
    wanted = await json_of(request)
    check_wanted(wanted)
    expires = expiry_of(wanted["expirationDateTime"], state)
    if any(equal(one, wanted) for one in alive(state).values()):
        raise Refused(409, "ExtensionError", "A subscription with the same properties exists.")
    if len(state.graph.subscriptions) >= limits.GRAPH_SUBSCRIPTIONS_MAX:
        raise Refused(403, "ExtensionError", "Subscription limit reached.")
    for url in dict.fromkeys(wanted[name] for name in ("notificationUrl", "lifecycleNotificationUrl") if name in wanted):
        await shake_hands(state, url)
    subscription = {
        "latestSupportedTlsVersion": "v1_2",
        **wanted,
        "id": str(uuid.uuid4()),
        "applicationId": state.config.graph_client_id,
        "expires": expires,
        "immutable": 'IdType="ImmutableId"' in request.headers.get("Prefer", ""),
    }
    state.graph.subscriptions[subscription["id"]] = subscription
    return web.json_response({**shown(subscription), "clientState": wanted.get("clientState")}, status=201)


def subscription_of(state, request):
    found = alive(state).get(request.match_info["id"])
    if found is None:
        raise Refused(404, "ResourceNotFound", "The object was not found.")
    return found


@refusing
async def list_subscriptions(state, _request):
    return web.json_response({"value": [shown(one) for one in alive(state).values()]})


@refusing
async def get_subscription(state, request):
    return web.json_response(shown(subscription_of(state, request)))


@refusing
async def renew_subscription(state, request):
    subscription, wanted = subscription_of(state, request), await json_of(request)
    if set(wanted) != {"expirationDateTime"}:
        raise Refused(400, "InvalidRequest", "Only expirationDateTime can be changed.")
    subscription["expires"] = expiry_of(wanted["expirationDateTime"], state)
    return web.json_response(shown(subscription))


@refusing
async def delete_subscription(state, request):
    del state.graph.subscriptions[subscription_of(state, request)["id"]]
    return web.Response(status=204)


@refusing
async def reauthorize(state, request):
    subscription_of(state, request)
    return web.Response(status=204)


# --- events -------------------------------------------------------------------


def occurrences(event):
    """The meetings of a series: so many, a day apart."""
    for number in range(event.get("recurrence", {}).get("range", {}).get("numberOfOccurrences", 0)):
        times = {
            name: {"dateTime": (moment(event[name]["dateTime"]) + timedelta(days=number)).strftime("%Y-%m-%dT%H:%M:%S.0000000"),
                   "timeZone": "UTC"}
            for name in ("start", "end")
        }  # fmt: skip
        yield {**event, **times, "id": f"{event['id']}.{number}", "type": "occurrence", "seriesMasterId": event["id"], "recurrence": None}


def found_event(state, mailbox, number):
    for event in state.graph.events.values():
        for one in (event, *occurrences(event)):
            if number in (one["id"], "moving-" + one["id"]) and event["mailbox"] == mailbox.lower():
                return one
    return None


def event_shown(event, names=None):
    full = {
        "@odata.etag": f'W/"{event["version"]}"',
        "id": event["id"],
        "iCalUId": event["id"] + "@sandbox",
        "subject": event.get("subject", ""),
        "bodyPreview": event.get("bodyPreview", ""),
        "start": {"timeZone": "UTC", **event["start"]},
        "end": {"timeZone": "UTC", **event["end"]},
        "organizer": event.get("organizer"),
        "attendees": event.get("attendees", []),
        "isCancelled": event.get("isCancelled", False),
        "isOnlineMeeting": False,
        "onlineMeeting": None,
        "type": event["type"],
        "seriesMasterId": event.get("seriesMasterId"),
        "recurrence": event.get("recurrence"),
    }
    return full if names is None else {name: value for name, value in full.items() if name in names or name == "@odata.etag"}


@refusing
async def get_event(state, request):
    names = request.query.get("$select")
    names = None if names is None else names.split(",")
    for name in set(names or ()) - PROPERTIES:
        raise Refused(400, "BadRequest", f"Could not find a property named '{name}' on type 'microsoft.graph.event'.")
    if set(request.query) - {"$select", "$expand"}:
        raise Refused(400, "BadRequest", "The query specified in the URI is not valid.")
    event = found_event(state, request.match_info["mailbox"], request.match_info["id"])
    if event is None:
        raise Refused(404, "ErrorItemNotFound", "The specified object was not found in the store.")
    answer = event_shown(event, names)
    if 'IdType="ImmutableId"' not in request.headers.get("Prefer", ""):
        answer["id"] = "moving-" + answer["id"]
    return web.json_response(answer)


def in_view(state, mailbox, start, end, since):
    """What a calendar shows between two moments and has changed since a version; series as their meetings."""
    shown_now = []
    for event in state.graph.events.values():
        if event["mailbox"] != mailbox or event["version"] <= since:
            continue
        for one in [event] if event["type"] == "singleInstance" else occurrences(event):
            if moment(one["end"]["dateTime"]) > start and moment(one["start"]["dateTime"]) < end:
                few = ("id", "type", "start", "end", "seriesMasterId")  # of a series' meetings nothing more is told
                shown_now.append(event_shown(one, few if one["type"] == "occurrence" else None))
    gone = [{"@removed": {"reason": "deleted"}, "id": number} for version, of, number in state.graph.removed if of == mailbox and version > since]
    return shown_now + (gone if since >= 0 else [])


def place_of(state, query):
    """(start, end, since, until, offset): where a reading begins or goes on."""
    token = query.get("$deltatoken") or query.get("$skiptoken")
    try:
        if token is not None:
            start, end, since, until, offset = json.loads(bytes.fromhex(token))
            if "$deltatoken" in query:
                until = state.graph.version
            return moment(start), moment(end), since, until, offset
        return moment(query["startDateTime"]), moment(query["endDateTime"]), -1, state.graph.version, 0
    except (KeyError, ValueError, TypeError):
        raise Refused(400, "ErrorInvalidParameter", "This request requires a time window specified by the query string "
                      "parameters StartDateTime and EndDateTime.") from None  # fmt: skip


@refusing
async def calendar_delta(state, request):
    mailbox = request.match_info["mailbox"].lower()
    start, end, since, until, offset = place_of(state, request.query)
    size = re.search(r"odata\.maxpagesize=(\d+)", request.headers.get("Prefer", ""))
    size = min(int(size.group(1)) if size else 10, limits.GRAPH_PAGE_MAX)
    everything = in_view(state, mailbox, start, end, since)
    more = offset + size < len(everything)

    def link(name, *place):
        token = json.dumps([written(start), written(end), *place]).encode().hex()
        return f"{state.config.base_url}{request.path}?{urlencode({name: token})}"

    answer = {"value": everything[offset : offset + size]}
    if more:
        answer["@odata.nextLink"] = link("$skiptoken", since, until, offset + size)
    else:
        answer["@odata.deltaLink"] = link("$deltatoken", until, until, 0)
    return web.json_response(answer)


# --- notices ------------------------------------------------------------------


def send(state, subscription, hook, item):
    """A notice, repeated while it is not taken."""
    wrong = state.faults.take({"wrong_signature"}, "graph", hook)
    item = {
        "subscriptionId": subscription["id"],
        "subscriptionExpirationDateTime": written(subscription["expires"]),
        "clientState": "somebody-else" if wrong else subscription.get("clientState"),
        "tenantId": state.config.graph_tenant_id,
        **item,
    }
    lifecycle = "lifecycleEvent" in item
    url = subscription.get("lifecycleNotificationUrl", subscription["notificationUrl"]) if lifecycle else subscription["notificationUrl"]
    overrides = Overrides(read_s=10, total_s=limits.GRAPH_NOTICE_TOTAL_S, retries=2, policy=frozenset({"all"}))
    body = json.dumps({"value": [item]}).encode()
    state.webhooks.start([(0, Webhook("graph", hook, url, body, {"Content-Type": "application/json"}, overrides))])


def tell(state, mailbox, change, event):
    for subscription in alive(state).values():
        of = RESOURCE.fullmatch(subscription["resource"]).group(1)
        if of.lower() != mailbox or change not in subscription["changeType"].split(","):
            continue
        number = event["id"] if subscription["immutable"] else "moving-" + event["id"]
        path = f"Users/{mailbox}/Events/{number}"
        data = {"@odata.type": "#Microsoft.Graph.Event", "@odata.id": path, "@odata.etag": f'W/"{event["version"]}"', "id": number}
        send(state, subscription, change, {"changeType": change, "resource": path, "resourceData": data})


# --- what tests tell it: /_sandbox/calendar -----------------------------------


async def put_event(request):
    """An event of a mailbox's calendar, as Graph writes it; `notify` false: nobody is told."""
    state, mailbox, number = request.app[STATE], request.match_info["mailbox"].lower(), request.match_info["id"]
    event = await request.json()
    try:
        moment(event["start"]["dateTime"]), moment(event["end"]["dateTime"])
    except (KeyError, TypeError, ValueError):
        return web.json_response({"error": "an event has `start` and `end` with a `dateTime` each"}, status=400)
    notify = event.pop("notify", True)
    if number not in state.graph.events and len(state.graph.events) >= limits.GRAPH_EVENTS_MAX:
        return web.json_response({"error": f"there may be {limits.GRAPH_EVENTS_MAX} events"}, status=507)
    change = "updated" if number in state.graph.events else "created"
    state.graph.version += 1
    kind = "seriesMaster" if event.get("recurrence") else "singleInstance"
    state.graph.events[number] = {"type": kind, **event, "id": number, "mailbox": mailbox, "version": state.graph.version}
    if notify:
        tell(state, mailbox, change, state.graph.events[number])
    return web.json_response(event_shown(state.graph.events[number]), status=201)


async def remove_event(request):
    state, number = request.app[STATE], request.match_info["id"]
    event = state.graph.events.pop(number, None)
    if event is None:
        return web.json_response({"error": "there is no such event"}, status=404)
    state.graph.version += 1
    for one in [event] if event["type"] == "singleInstance" else occurrences(event):
        state.graph.removed.append((state.graph.version, event["mailbox"], one["id"]))
    if request.query.get("notify") != "false":
        tell(state, event["mailbox"], "deleted", {**event, "version": state.graph.version})
    return web.json_response({})


async def lifecycle(request):
    """Something happens to all subscriptions."""
    state, what = request.app[STATE], (await request.json()).get("event")
    if what not in LIFECYCLE:
        return web.json_response({"error": f"`event` is one of {', '.join(LIFECYCLE)}"}, status=400)
    for subscription in list(alive(state).values()):
        if what == "subscriptionRemoved":
            del state.graph.subscriptions[subscription["id"]]
        send(state, subscription, what, {"lifecycleEvent": what})
    return web.json_response({})


async def subscriptions(request):
    return web.json_response({"subscriptions": [shown(one) for one in alive(request.app[STATE]).values()]})


async def forget_tokens(request):
    """Tokens given until now are not taken any more."""
    request.app[STATE].graph.tokens.clear()
    return web.json_response({})


routes = [
    web.post(BASE + "/login/{directory}/oauth2/v2.0/token", give_token),
    web.post(API + "/subscriptions", create_subscription),
    web.get(API + "/subscriptions", list_subscriptions),
    web.get(API + "/subscriptions/{id}", get_subscription),
    web.patch(API + "/subscriptions/{id}", renew_subscription),
    web.delete(API + "/subscriptions/{id}", delete_subscription),
    web.post(API + "/subscriptions/{id}/reauthorize", reauthorize),
    web.get(API + "/users/{mailbox}/events/{id}", get_event),
    web.get(API + "/users/{mailbox}/calendarView/delta", calendar_delta),
    web.put("/_sandbox/calendar/{mailbox}/events/{id}", put_event),
    web.delete("/_sandbox/calendar/{mailbox}/events/{id}", remove_event),
    web.post("/_sandbox/calendar/lifecycle", lifecycle),
    web.get("/_sandbox/calendar/subscriptions", subscriptions),
    web.delete("/_sandbox/calendar/tokens", forget_tokens),
]
