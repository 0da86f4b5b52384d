"""HubSpot's CRM: contacts, and notes on them: developers.hubspot.com/docs/api-reference (search, notes, associations, errors, limits).

Stricter than HubSpot: a field it does not know is refused, so that a typing error is seen.  What is new or changed is found by a search
only after the index has caught up (`index_lag_ms`); by its id or address it is there at once."""

import json
import re
import time
import uuid
from collections import deque
from datetime import datetime, timezone

from aiohttp import web

import limits
from errors import hubspot_error
from hubspot_account import KINDS, READ, SETTINGS, WRITE
from state import STATE
from store import now_text

BASE = "/hubspot"
PATHS = ("/crm/v3/objects", "/crm/objects/2026-03", "/crm/objects/2026-09")
ASSOCIATIONS = {"/crm/v3/objects": "/crm/v4/objects"}  # whose version is another
NOTE_TO_CONTACT, CONTACT_TO_NOTE = 202, 201
OPERATORS = {
    "EQ", "NEQ", "LT", "LTE", "GT", "GTE", "BETWEEN", "IN", "NOT_IN", "HAS_PROPERTY", "NOT_HAS_PROPERTY", "CONTAINS_TOKEN",
    "NOT_CONTAINS_TOKEN",
}  # fmt: skip
CONTACT_PROPERTIES = {"email", "firstname", "lastname", "phone", "company", "hs_additional_emails", "hs_object_id", "createdate", "lastmodifieddate"}
NOTE_PROPERTIES = {"hs_timestamp", "hs_note_body", "hubspot_owner_id", "hs_attachment_ids"}


class Refused(Exception):
    def __init__(self, response):
        super().__init__()
        self.response = response


def refuse(status, category, message, **more):
    raise Refused(hubspot_error(status, message, category, **more))


def invalid(message, **more):
    refuse(400, "VALIDATION_ERROR", message, **more)


# --- who asks, and how often ---------------------------------------------------


def authenticate(account, request, *scopes):
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    known = account.tokens.get(token)
    if scheme != "Bearer" or known is None:
        refuse(401, "INVALID_AUTHENTICATION", "Authentication credentials not found or not valid.")
    if known["expires_at"] and datetime.fromisoformat(known["expires_at"].replace("Z", "+00:00")) <= datetime.now(timezone.utc):
        refuse(401, "EXPIRED_AUTHENTICATION", "The OAuth token used to make this call expired.")
    lacking = [scope for scope in scopes if scope not in known["scopes"]]
    if lacking:
        refuse(403, "MISSING_SCOPES", "This app hasn't been granted all required scopes to make this call.",
               errors=[{"message": "One or more of the following scopes are required.", "context": {"requiredGranularScopes": lacking}}])
    return token


def too_many(account, policy):
    texts = {"SECONDLY": "secondly", "TEN_SECONDLY_ROLLING": "ten_secondly_rolling", "DAILY": "daily"}
    message = f"You have reached your {texts[policy]} limit."
    if account.settings["error_shape"] == "category":
        raise Refused(hubspot_error(429, message, "RATE_LIMITS", policyName=policy))
    raise Refused(hubspot_error(429, message, None, errorType="RATE_LIMIT", policyName=policy, requestId=str(uuid.uuid4())))


def within(times, seconds):
    now = time.monotonic()
    while times and times[0] <= now - seconds:
        times.popleft()
    return len(times)


def count(account, token, search):
    """Every request counts for the day and the token; a search has the account's own limit, and tells of none."""
    if account.today >= account.settings["daily_max"]:
        too_many(account, "DAILY")
    if search and within(account.searched, 1) >= account.settings["searches_per_s"]:
        too_many(account, "SECONDLY")
    asked = account.asked.setdefault(token, deque())
    if within(asked, 10) >= account.settings["burst_max"]:
        too_many(account, "TEN_SECONDLY_ROLLING")
    account.today += 1
    (account.searched if search else asked).append(time.monotonic())


def limits_told(account, token):
    most, left = account.settings["burst_max"], account.settings["burst_max"] - len(account.asked[token])
    daily = account.settings["daily_max"]
    return {
        "X-HubSpot-RateLimit-Max": str(most),
        "X-HubSpot-RateLimit-Remaining": str(left),
        "X-HubSpot-RateLimit-Interval-Milliseconds": "10000",
        "X-HubSpot-RateLimit-Daily": str(daily),
        "X-HubSpot-RateLimit-Daily-Remaining": str(daily - account.today),
    }


# --- what is asked -------------------------------------------------------------


async def body_of(request, fields, needed):
    if request.content_type != "application/json":
        refuse(415, None, f"Unsupported Content-Type {request.content_type}: send application/json")
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        invalid(f"Invalid input JSON: {error}")
    return checked(body, fields, needed, "the body")


def checked(value, fields, needed, where):
    if not isinstance(value, dict):
        invalid(f"Invalid input JSON: {where} must be an object")
    for name, content in value.items():
        if name not in fields:
            invalid(f"Invalid input JSON: unknown property \"{name}\" in {where}")
        if not isinstance(content, fields[name]) or isinstance(content, bool):
            invalid(f"Invalid input JSON: \"{name}\" in {where} has the wrong type")
    for name in needed:
        if name not in value:
            invalid(f"Some required fields were not set: [{name}]")
    return value


def check_query(request, names):
    for name in request.query:
        if name not in names:
            invalid(f"Unknown query parameter \"{name}\"")


def check_properties(properties, known):
    for name, value in properties.items():
        if name not in known:
            invalid(f"Property values were not valid: [{{\"isValid\":false,\"name\":\"{name}\"}}]",
                    errors=[{"message": f"Property \"{name}\" does not exist", "code": "PROPERTY_DOESNT_EXIST", "context": {"propertyName": [name]}}])
        if value is not None and not isinstance(value, str):
            invalid(f"Property values were not valid: {name} is text")


def moment(text):
    """HubSpot takes ISO 8601 in UTC, or milliseconds as text."""
    if re.fullmatch(r"[0-9]{10,16}", text):
        return datetime.fromtimestamp(int(text) / 1000, timezone.utc)
    try:
        if not text.endswith("Z"):
            raise ValueError(text)
        return datetime.fromisoformat(text[:-1] + "+00:00")
    except ValueError:
        invalid(f"Property values were not valid: hs_timestamp \"{text}\" was not a valid long or ISO 8601 date",
                errors=[{"message": "not a valid date", "code": "INVALID_DATE", "context": {"propertyName": ["hs_timestamp"]}}])


def check_note(properties, known=None):
    check_properties(properties, NOTE_PROPERTIES)
    if not (known or properties).get("hs_timestamp"):
        invalid("Some required properties were not set.",
                errors=[{"message": "hs_timestamp is required", "code": "MISSING_REQUIRED_PROPERTY", "context": {"properties": ["hs_timestamp"]}}])
    if "hs_timestamp" in properties:
        moment(properties["hs_timestamp"])
    if len(properties.get("hs_note_body") or "") > limits.HUBSPOT_NOTE_CHARACTERS_MAX:
        invalid(f"Property values were not valid: hs_note_body is longer than {limits.HUBSPOT_NOTE_CHARACTERS_MAX} characters")


def associations_of(account, wanted):
    contacts = []
    for association in wanted:
        checked(association, {"to": dict, "types": list}, ("to", "types"), "associations")
        contact = found_contact(account, str(association["to"].get("id", "")))
        for kind in association["types"]:
            if (kind.get("associationCategory"), kind.get("associationTypeId")) != ("HUBSPOT_DEFINED", NOTE_TO_CONTACT):
                invalid(f"No association type with id {kind.get('associationTypeId')} from NOTE to CONTACT exists")
        contacts.append(contact["id"])
    return contacts


# --- what there is -------------------------------------------------------------


def shown(thing, wanted=()):
    basic = {"hs_object_id": thing["id"], **{name: thing["properties"].get(name) for name in wanted}}
    return {
        "id": thing["id"],
        "properties": basic,
        "createdAt": thing["created"],
        "updatedAt": thing["updated"],
        "archived": False,
    }


def not_found(what):
    refuse(404, "OBJECT_NOT_FOUND", f"Object not found. objectId are usually numeric. ({what})")


def found_contact(account, contact_id):
    contact_id = account.merged.get(contact_id, contact_id)
    return account.contacts.get(contact_id) or not_found(contact_id)


def found_note(account, note_id):
    return account.notes.get(note_id) or not_found(note_id)


def addresses(contact):
    more = contact["properties"].get("hs_additional_emails") or ""
    return {contact["properties"].get("email"), *more.split(";")} - {None, ""}


def fits(contact, condition):
    """One filter of a search; text is compared as it is stored, addresses in lower case."""
    value = contact["properties"].get(condition["propertyName"])
    wanted, operator = condition.get("value"), condition["operator"]
    if operator == "HAS_PROPERTY":
        return value is not None
    if operator == "NOT_HAS_PROPERTY":
        return value is None
    if operator in ("IN", "NOT_IN"):
        return (value in condition.get("values", [])) == (operator == "IN")
    if operator in ("EQ", "NEQ"):
        return (value == wanted) == (operator == "EQ")
    invalid(f"the sandbox does not know the operator {operator}")


def check_search(body):
    groups = body.get("filterGroups", [])
    if len(groups) > 5:
        invalid("Too many filter groups: at most 5")
    for group in groups:
        for condition in checked(group, {"filters": list}, ("filters",), "filterGroups")["filters"]:
            checked(condition, {"propertyName": str, "operator": str, "value": str, "values": list}, ("propertyName", "operator"), "filters")
            if condition["operator"] not in OPERATORS:
                invalid(f"Invalid operator {condition['operator']}")
            if condition["propertyName"] not in CONTACT_PROPERTIES:
                invalid(f"There was a problem with the request: property \"{condition['propertyName']}\" does not exist")
    if not 1 <= body.get("limit", 10) <= 200:
        invalid("limit is from 1 to 200")
    return groups


# --- the API -------------------------------------------------------------------


def route(*scopes, search=False):
    def wrap(handler):
        async def answer(request):
            account = request.app[STATE].hubspot
            try:
                token = authenticate(account, request, *scopes)
                count(account, token, search)
                response = await handler(account, request)
            except Refused as refused:
                return refused.response
            if not search:
                response.headers.update(limits_told(account, token))
            return response

        return answer

    return wrap


@route(READ, search=True)
async def search_contacts(account, request):
    body = await body_of(request, {"filterGroups": list, "properties": list, "limit": int, "after": (str, int), "sorts": list, "query": str}, ())
    groups, now = check_search(body), time.monotonic()
    indexed = [contact for contact in account.contacts.values() if contact["indexed_at"] <= now]
    hits = [contact for contact in indexed if not groups or any(all(fits(contact, one) for one in group["filters"]) for group in groups)]
    start, size = int(body.get("after", 0)), body.get("limit", 10)
    answer = {"total": len(hits), "results": [shown(contact, body.get("properties", ["email", "firstname", "lastname"])) for contact in hits[start : start + size]]}
    if start + size < len(hits):
        answer["paging"] = {"next": {"after": str(start + size)}}
    return web.json_response(answer)


@route(READ)
async def list_contacts(account, request):
    check_query(request, {"limit", "after", "properties", "archived"})
    size, start = int(request.query.get("limit", "10")), int(request.query.get("after", "0"))
    if not 1 <= size <= 100:
        invalid("limit is from 1 to 100")
    wanted = request.query.get("properties", "email,firstname,lastname").split(",")
    return web.json_response({"results": [shown(contact, wanted) for contact in list(account.contacts.values())[start : start + size]]})


@route(READ)
async def get_contact(account, request):
    check_query(request, {"properties", "idProperty", "archived", "associations"})
    name, wanted = request.match_info["id"], request.query.get("properties", "email,firstname,lastname").split(",")
    kind = request.query.get("idProperty")
    if kind is None:
        return web.json_response(shown(found_contact(account, name), wanted))
    if kind != "email":
        invalid(f"\"{kind}\" is not a unique identifier property")
    hits = [contact for contact in account.contacts.values() if name.lower() in addresses(contact)]
    return web.json_response(shown(hits[0] if hits else not_found(name), wanted))


@route(READ, WRITE)
async def create_note(account, request):
    body = await body_of(request, {"properties": dict, "associations": list}, ("properties",))
    check_note(body["properties"])
    contacts = associations_of(account, body.get("associations", []))
    note = {"id": account.next_id(), "properties": dict(body["properties"]), "contacts": contacts, "created": now_text(), "updated": now_text()}
    account.notes[note["id"]] = note
    return web.json_response(shown(note, NOTE_PROPERTIES), status=201)


@route(READ, WRITE)
async def change_note(account, request):
    note = found_note(account, request.match_info["id"])
    body = await body_of(request, {"properties": dict}, ("properties",))
    check_note(body["properties"], note["properties"])
    note["properties"].update(body["properties"])
    note["updated"] = now_text()
    return web.json_response(shown(note, NOTE_PROPERTIES))


@route(READ, WRITE)
async def archive_note(account, request):
    found_note(account, request.match_info["id"])
    del account.notes[request.match_info["id"]]
    return web.Response(status=204)


@route(READ)
async def get_note(account, request):
    check_query(request, {"properties", "archived"})
    return web.json_response(shown(found_note(account, request.match_info["id"]), request.query.get("properties", "hs_timestamp").split(",")))


@route(READ)
async def read_notes(account, request):
    body = await body_of(request, {"properties": list, "inputs": list, "propertiesWithHistory": list, "idProperty": str}, ("inputs",))
    if len(body["inputs"]) > limits.HUBSPOT_BATCH_MAX:
        invalid(f"at most {limits.HUBSPOT_BATCH_MAX} inputs")
    ids = [str(checked(one, {"id": (str, int)}, ("id",), "inputs")["id"]) for one in body["inputs"]]
    lacking = [one for one in ids if one not in account.notes]
    results = [shown(account.notes[one], body.get("properties", ())) for one in ids if one in account.notes]
    answer = {"status": "COMPLETE", "results": results, "startedAt": now_text(), "completedAt": now_text()}
    if lacking:
        answer |= {"numErrors": 1, "errors": [{"status": "error", "category": "OBJECT_NOT_FOUND", "message": "Could not get some notes objects",
                                               "context": {"ids": lacking}}]}  # fmt: skip
    return web.json_response(answer, status=207 if lacking else 200)


@route(READ)
async def notes_of_contact(account, request):
    check_query(request, {"limit", "after"})
    contact = found_contact(account, request.match_info["id"])
    size, start = int(request.query.get("limit", "500")), int(request.query.get("after", "0"))
    if not 1 <= size <= 500:
        invalid("limit is from 1 to 500")
    ids = sorted(int(note["id"]) for note in account.notes.values() if contact["id"] in note["contacts"])
    kinds = [{"category": "HUBSPOT_DEFINED", "typeId": CONTACT_TO_NOTE, "label": None}]
    answer = {"results": [{"toObjectId": one, "associationTypes": kinds} for one in ids[start : start + size]]}
    if start + size < len(ids):
        answer["paging"] = {"next": {"after": str(start + size)}}
    return web.json_response(answer)


# --- the sandbox's own ---------------------------------------------------------


async def told(request, fields):
    try:
        body = json.loads(await request.read())
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"the body is not JSON: {error}") from None
    if not isinstance(body, dict) or not set(body) <= set(fields):
        raise web.HTTPBadRequest(text=f"the body is an object of {', '.join(sorted(fields))}")
    return body


async def put_contact(request):
    account = request.app[STATE].hubspot
    wanted = await told(request, CONTACT_PROPERTIES)
    if isinstance(wanted.get("email"), str):
        wanted["email"] = wanted["email"].lower()
    if len(account.contacts) >= limits.HUBSPOT_CONTACTS_MAX:
        raise web.HTTPInsufficientStorage(text="there are too many contacts")
    indexed_at = time.monotonic() + account.settings["index_lag_ms"] / 1000
    contact = {"id": account.next_id(), "properties": wanted, "created": now_text(), "updated": now_text(), "indexed_at": indexed_at}
    account.contacts[contact["id"]] = contact
    return web.json_response(shown(contact, wanted), status=201)


async def delete_contact(request):
    """It is deleted, or, with ?into=, merged into another."""
    account, contact_id = request.app[STATE].hubspot, request.match_info["id"]
    if account.contacts.pop(contact_id, None) is None:
        raise web.HTTPNotFound
    if "into" in request.query:
        account.merged[contact_id] = request.query["into"]
    return web.json_response({})


async def put_token(request):
    wanted = await told(request, ("kind", "scopes", "expires_at"))
    token = {"kind": "service_key", "scopes": [READ, WRITE], "expires_at": None, **wanted}
    if token["kind"] not in KINDS:
        raise web.HTTPBadRequest(text=f"`kind` is one of {', '.join(KINDS)}")
    request.app[STATE].hubspot.tokens[request.match_info["token"]] = token
    return web.json_response(token)


async def put_settings(request):
    account = request.app[STATE].hubspot
    account.settings.update(await told(request, SETTINGS))
    return web.json_response(account.settings)


async def list_notes(request):
    return web.json_response({"notes": list(request.app[STATE].hubspot.notes.values())})


routes = [
    web.get("/_sandbox/hubspot/notes", list_notes),
    web.post("/_sandbox/hubspot/contacts", put_contact),
    web.delete("/_sandbox/hubspot/contacts/{id}", delete_contact),
    web.put("/_sandbox/hubspot/tokens/{token}", put_token),
    web.put("/_sandbox/hubspot/settings", put_settings),
]
for path in PATHS:
    root = BASE + path
    routes += [
        web.post(root + "/contacts/search", search_contacts),
        web.get(root + "/contacts", list_contacts),
        web.get(root + "/contacts/{id}", get_contact),
        web.post(root + "/notes", create_note),
        web.post(root + "/notes/batch/read", read_notes),
        web.get(root + "/notes/{id}", get_note),
        web.patch(root + "/notes/{id}", change_note),
        web.delete(root + "/notes/{id}", archive_note),
        web.get(BASE + ASSOCIATIONS.get(path, path) + "/contacts/{id}/associations/notes", notes_of_contact),
    ]
