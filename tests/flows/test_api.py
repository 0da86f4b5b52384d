"""GET /api/v1/calls and /calls/{id} of the real daemon: who is let in, whose calls are shown, which, in what order, and how.

test_api_lists.py has the other lists, test_api_changes.py what clients change."""

import base64
import hashlib
import hmac
import json
import random
import socket
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta, timezone
from urllib.parse import quote
from zoneinfo import ZoneInfo

import psycopg
import pytest
import requests
from api_client import DOCUMENT, LIST, NOON, OPENAPI, SIGNING_KEY, Api, Company, ask_raw, describing
from api_client import company, ingest, other  # noqa: F401 (fixtures)
from environment import wait_until
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

INJECTIONS = ["'; DROP TABLE calls; --", "' OR '1'='1", "$1", "%", "_", "\\", "{}", "ä'\"\U0001F4DE", "a & | !( b", "*", "<->", "\t"]


# --- the document --------------------------------------------------------------------------------------------------------


def test_the_document_is_openapi_and_is_what_is_served(ingest):
    validate(OPENAPI, cls=OpenAPIV31SpecValidator)
    answer = requests.get(ingest.url + "/openapi.yaml", timeout=30)
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "application/yaml"
    assert answer.content.decode() == DOCUMENT


METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}


@pytest.mark.parametrize("path", OPENAPI["paths"])
def test_each_described_path_is_served_with_its_methods_alone(ingest, path):
    address = path.replace("{id}", "x").replace("{company}", "x")
    url = ingest.url + address
    described = {method for other in describing(address) for method in OPENAPI["paths"][other] if method in METHODS}
    for method in METHODS - {"head", "trace"}:
        status = requests.request(method, url, timeout=30).status_code
        missing = status == 404 and "404" not in OPENAPI["paths"][path].get(method, {}).get("responses", {})
        assert (status == 405) == (method not in described) and not missing, f"{method} {path}: {status}"


def test_head_and_wrong_methods(ingest, company):
    api = company.api()
    call_id = company.call()
    for path in (LIST, f"{LIST}/{call_id}"):
        headers = {"Authorization": f"Bearer {api.token}"}
        head, get = (requests.request(method, ingest.url + path, headers=headers, timeout=30) for method in ("HEAD", "GET"))
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["Content-Length"] == str(len(get.content)) and head.headers["Cache-Control"] == "no-store"
        refused = requests.post(ingest.url + path, headers=headers, timeout=30)
        assert refused.status_code == 405 and refused.headers["Allow"] == ("GET, HEAD" if path == LIST else "GET, HEAD, PATCH")
    assert requests.head(ingest.url + LIST, timeout=30).status_code == 401


# --- who is let in -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Bearer sb_", "Basic YTpi", "Bearer " + "sb_" + "A" * 43, "Bearer sb_' OR 1=1",
                                    "Bearer sb_" + "A" * 5000, "sb_" + "A" * 43])
def test_without_a_known_token_nobody_is_let_in(ingest, company, header):
    call_id = company.call()
    for path in (LIST, f"{LIST}/{call_id}", f"{LIST}?limit=wrong"):
        answer = requests.get(ingest.url + path, headers={} if header is None else {"Authorization": header}, timeout=30)
        assert answer.status_code == 401 and answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["title"] == "Unauthorized" and answer.headers["Cache-Control"] == "no-store"
        invalid = "" if header is None else ', error="invalid_token"'
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="switchboard"' + invalid


def test_a_token_ends(company, database):
    now = datetime.now(timezone.utc)
    assert "expired" in company.api(expires_at=now - timedelta(seconds=1)).problem(401).json()["detail"]
    assert "revoked" in company.api(revoked_at=now).problem(401).json()["detail"]
    assert company.api(expires_at=now + timedelta(hours=1)).list()["total"] == 0
    known = company.api()
    assert known.list()["total"] == 0
    database.execute("UPDATE api_tokens SET revoked_at = now() WHERE tenant = %s", [company.tenant])
    wait_until(lambda: known.ask(LIST).status_code == 401, "the revoked token being refused", 15, 0.2)


def test_a_token_is_good_at_once_and_only_its_own_letters_are(company, ingest):
    api = company.api()
    assert api.list()["total"] == 0
    for changed in (api.token[:-1], api.token + "A", api.token.swapcase()[2:], api.token[:-1] + ("A" if api.token[-1] != "A" else "B")):
        Api(ingest.url, changed).problem(401)


@pytest.mark.parametrize("role", ["platform", "admin", "exec", "csr", "rep", "owner"])
def test_people_may_read_calls(company, role):
    call_id = company.call()
    assert company.api(role=role).show(call_id)["call_id"] == call_id


def test_a_device_may_not(company):
    call_id = company.call()
    station = company.api(role="station")
    assert "station" in station.problem(403).json()["detail"]
    station.problem(403, f"{LIST}/{call_id}")


# --- whose calls ---------------------------------------------------------------------------------------------------------


def test_a_new_company_has_an_empty_list(company):
    assert company.api().list() == {"items": [], "total": 0, "total_is": "exact", "next_cursor": None}
    assert company.api().list(q="anything", status="missed", **{"from": "2026-01-01", "to": "2026-12-31"})["total"] == 0


def test_companies_do_not_see_each_other(company, other):
    mine, theirs = company.call(), other.call()
    for owner, call_id in ((company, mine), (other, theirs)):
        owner.transcript(call_id, "agent: the secret word is marmalade")
        owner.analysis(call_id, summary=owner.tenant)
        owner.handled(call_id, "ingest", "callrail.call.received")
    api = company.api()
    assert api.ids() == [mine] and api.ids(q="marmalade") == [mine]
    assert api.list()["total"] == 1 and api.list()["items"][0]["analysis"]["summary"] == company.tenant
    assert api.ids(cursor=page_end(other)) == [mine]
    absent, foreign = api.problem(404, f"{LIST}/nothing"), api.problem(404, f"{LIST}/{theirs}")
    assert absent.content == foreign.content and absent.headers.keys() == foreign.headers.keys()


def page_end(owner):
    """A cursor of another company, in front of everything."""
    first, _ = owner.call(started_at=NOON + timedelta(days=9)), owner.call(started_at=NOON - timedelta(days=9))
    page = owner.api().list(limit=1)
    assert page["items"][0]["call_id"] == first
    return page["next_cursor"]


def test_two_companies_may_name_their_calls_alike(company, other):
    call_id = company.call(customer_name="mine")
    other.call(call_id, source="twilio", customer_name="theirs", started_at=NOON + timedelta(hours=1))
    other.transcript(call_id, "agent: bergamot")
    company.handled(call_id, "ingest", "callrail.call.received")
    other.handled(call_id, "transcribe", "call.recorded")
    assert company.api().show(call_id)["customer_name"] == "mine" and other.api().show(call_id)["customer_name"] == "theirs"
    assert [row["stage"] for row in company.api().show(call_id)["history"]] == ["ingest"]
    assert company.api().ids(q="bergamot") == [] and other.api().ids(q="bergamot") == [call_id]
    platform = company.api(role="platform")
    assert [item["tenant"] for item in platform.list(q="bergamot")["items"]] == [other.tenant]
    assert platform.show(call_id)["tenant"] == other.tenant
    day = {"from": NOON.date().isoformat(), "to": NOON.date().isoformat()}
    both = [item["tenant"] for item in all_items(platform, limit=1, **day) if item["call_id"] == call_id]
    assert sorted(both) == sorted([company.tenant, other.tenant])


def all_items(api, **parameters):
    cursor, found = None, []
    while True:
        page = api.list(**parameters, cursor=cursor)
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None or len(found) > 400:
            return found


def test_the_platform_sees_all_companies_and_nobodys_calls(company, other, database, ingest):
    unassigned = Company(database, ingest.url, tenant="unassigned")
    today = datetime.now(timezone.utc) + timedelta(days=400)
    made = {company.call(started_at=today), other.call(started_at=today), unassigned.call(started_at=today)}
    day = {"from": today.date().isoformat(), "to": today.date().isoformat()}
    assert set(company.api(role="platform").ids(**day)) == made
    assert len(company.api().ids(**day)) == 1


def test_a_call_that_moves_to_its_company_is_seen_there(company, database, ingest):
    unassigned = Company(database, ingest.url, tenant="unassigned")
    call_id = unassigned.call()
    assert company.api().ids() == []
    database.execute("UPDATE calls SET tenant = %s WHERE call_id = %s", [company.tenant, call_id])
    assert company.api().ids() == [call_id]


# --- which, and in what order --------------------------------------------------------------------------------------------


def test_paging_neither_loses_nor_repeats_while_new_calls_come(company):
    """Many at the same moment, many without a time of their own, and a new one, newer or older, after each page."""
    times = [NOON - timedelta(minutes=n // 4) if n % 5 else None for n in range(120)]
    before = [company.call(started_at=at) for at in times]
    api, added = company.api(), []

    def more_come():
        added.append(company.call(started_at=NOON + timedelta(days=1000, minutes=len(added))))
        added.append(company.call(started_at=NOON - timedelta(days=1000, minutes=len(added))))

    for limit in (1, 7, 50, 119, 120, 200):
        found = api.all_ids(limit=limit, between=more_come if limit in (7, 50) else lambda: None)
        assert len(found) == len(set(found)) and set(before) <= set(found), f"limit {limit}"
    assert api.list(limit=3)["total"] == 120 + len(added)
    listed = all_items(api, limit=200)
    order = [(item["call_at"], item["call_id"]) for item in listed]
    assert [at for at, _ in order] == sorted((at for at, _ in order), reverse=True)
    assert api.all_ids(limit=50) == [item["call_id"] for item in listed]


def test_pages_while_others_write_at_the_same_time(company, ingest, schema_ready):
    before = {company.call(started_at=NOON - timedelta(seconds=n)) for n in range(120)}

    def write():
        with schema_ready.connect() as connection:
            writer = Company(connection, ingest.url, tenant=company.tenant)
            for _ in range(60):
                writer.call(started_at=NOON + timedelta(seconds=random.randrange(-200, 200)))

    with ThreadPoolExecutor() as pool:
        for _ in range(5):
            writing = pool.submit(write)
            found = company.api().all_ids(limit=9)
            assert len(found) == len(set(found)) and before <= set(found)
            writing.result()


def test_the_last_page_says_so(company):
    made = [company.call(started_at=NOON - timedelta(minutes=n)) for n in range(4)]
    api = company.api()
    first = api.list(limit=2)
    last = api.list(limit=2, cursor=first["next_cursor"])
    assert [item["call_id"] for item in first["items"] + last["items"]] == made
    assert last["next_cursor"] is None and api.list(limit=4)["next_cursor"] is None
    assert first["total"] == last["total"] == 4


def test_status_filters(company):
    made = {status: company.call(status=status) for status in ("ringing", "in_progress", "completed", "missed", "failed")}
    api = company.api()
    for status, call_id in made.items():
        assert api.ids(status=status) == [call_id] and api.list(status=status)["total"] == 1
    assert set(api.ids(status="")) == set(made.values())


ZONES = [("UTC", date(2026, 6, 10)), ("America/New_York", date(2026, 3, 8)), ("America/New_York", date(2026, 11, 1)),
         ("Europe/Berlin", date(2026, 3, 29)), ("Europe/Berlin", date(2026, 10, 25)), ("Asia/Kathmandu", date(2026, 5, 5)),
         ("Pacific/Kiritimati", date(2026, 5, 5)), ("Pacific/Niue", date(2026, 5, 5)), ("America/Havana", date(2025, 11, 2)),
         ("America/Sao_Paulo", date(2018, 11, 4)), ("Pacific/Apia", date(2011, 12, 31)), ("Australia/Lord_Howe", date(2026, 4, 5))]


@pytest.mark.parametrize(("zone", "day"), ZONES)
def test_days_are_the_companys_own(database, ingest, zone, day):
    """Every half hour around the day, and the microseconds around its midnights: days of 23, 24 and 25 hours, a day that has midnight
    twice, one that has none, and one after a day that never was."""
    company = Company(database, ingest.url, zone)
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=timezone.utc)
    times = [noon + timedelta(minutes=30 * n) for n in range(-120, 121)]
    times += [at + offset for at in times if at.minute == 0 for offset in (timedelta(microseconds=-1), timedelta(microseconds=1))]
    with database.transaction():
        made = {company.call(started_at=at): at.astimezone(ZoneInfo(zone)).date() for at in times}
    api = company.api()
    days = [day + timedelta(days=n) for n in (-1, 0, 1)]
    for first, last in [(days[0], days[0]), (days[1], days[1]), (days[2], days[2]), (days[0], days[1]), (days[1], None), (None, days[1])]:
        bounds = {name: value.isoformat() for name, value in (("from", first), ("to", last)) if value}
        expected = {call_id for call_id, of in made.items() if (not first or of >= first) and (not last or of <= last)}
        found = api.all_ids(limit=200, **bounds)
        assert set(found) == expected and len(found) == len(expected), f"{zone} {bounds}"
        assert api.list(limit=1, **bounds)["total"] == len(expected)


def test_each_company_has_its_own_days_for_the_platform_too(database, ingest):
    at = datetime(2031, 5, 5, 23, 30, tzinfo=timezone.utc)
    east, west = Company(database, ingest.url, "Pacific/Kiritimati"), Company(database, ingest.url, "Pacific/Niue")
    in_the_east, in_the_west = east.call(started_at=at), west.call(started_at=at)
    platform = east.api(role="platform")
    assert platform.ids(**{"from": "2031-05-05", "to": "2031-05-05"}) == [in_the_west]
    assert platform.ids(**{"from": "2031-05-06", "to": "2031-05-06"}) == [in_the_east]


def test_search(company, other):
    texts = {"heater": "agent: your water heater leaks", "boiler": "customer: the boiler, not the heater", "roof": "agent: Dach undicht, Grüße",
             "quote": "customer: it's 5% off; isn't it?"}
    made = {name: company.call(started_at=NOON - timedelta(minutes=n)) for n, name in enumerate(texts)}
    for name, call_id in made.items():
        company.transcript(call_id, texts[name])
    company.call()
    theirs = other.call()
    other.transcript(theirs, texts["heater"])
    api = company.api()
    for words, names in {"heater": ["heater", "boiler"], "HEATER": ["heater", "boiler"], "water heater": ["heater"], '"heater leaks"': ["heater"],
                         '"leaks heater"': [], "heater -boiler": ["heater"], "leaks or undicht": ["heater", "roof"], "grüße": ["roof"],
                         "nothing": [], "!!!": [], "5": ["quote"]}.items():
        assert api.ids(q=words) == [made[name] for name in names], words
        assert api.list(q=words)["total"] == len(names)
    assert api.all_ids(q="heater", limit=1) == [made["heater"], made["boiler"]]
    assert api.ids(q="heater", status="missed") == [] and api.ids(q="heater", **{"from": "2026-06-11"}) == []


MANY_CALLS = """
    WITH made AS (INSERT INTO calls (tenant, call_id, source, status, started_at)
                  SELECT %(tenant)s, %(tenant)s || to_char(n, 'FM00000'), 'callrail', CASE n %% 400 WHEN 0 THEN 'missed' ELSE 'completed' END,
                         timestamptz '2026-06-10 12:00:00+00' - make_interval(mins => n / 2) FROM generate_series(0, 12199) n RETURNING call_id)
    INSERT INTO call_transcripts (tenant, call_id, provider, text, segments, speakers, words, source_time)
    SELECT %(tenant)s, call_id, 'local', 'agent: hello ' || CASE WHEN right(call_id, 5)::integer < 10500 THEN 'there' ELSE 'pipeline' END
                                         || CASE right(call_id, 3) WHEN '777' THEN ' umbrella' ELSE '' END, '[]', 1, 1, now() FROM made"""


def test_search_of_what_is_in_many_calls(company, other):
    """A word of every call, one that nobody says any more, and one of a few: all are found, and counted up to a thousand."""
    for statement in ("SET session_replication_role = replica", MANY_CALLS, "SET session_replication_role = origin", "ANALYZE calls, call_transcripts",
                      "SELECT metrics_recount(%(tenant)s)"):
        company.database.execute(statement, {"tenant": company.tenant} if "%(" in statement else None)
    calls = [f"{company.tenant}{n:05}" for n in range(12200)]
    by_time = sorted(calls, key=lambda call_id: (int(call_id[-5:]) // 2, -int(call_id[-5:])))       # two of each minute
    for api in (company.api(), other.api(role="platform")):
        for words, found in (("hello", by_time), ("pipeline", [one for one in by_time if int(one[-5:]) >= 10500])):
            page = api.list(q=words, limit=200)
            assert (page["total"], page["total_is"]) == (1000, "at_least") and [item["call_id"] for item in page["items"]] == found[:200], words
        umbrella = [one for one in by_time if one.endswith("777")]
        page = api.list(q="umbrella")
        assert (page["total"], page["total_is"]) == (12, "exact") and [item["call_id"] for item in page["items"]] == umbrella
        assert api.list(q="umbrella hello nothing")["total"] == 0
        missed = [one for one in by_time if int(one[-5:]) % 400 == 0]
        assert api.ids(q="hello", status="missed") == missed and api.list(q="hello", status="missed", callback="open")["total"] == len(missed)
        assert api.list(q="hello", callback="done")["total"] == 0
        day = {"from": "2026-06-09", "to": "2026-06-09"}
        assert api.ids(q="hello", limit=200, **day) == [one for one in by_time if 1442 <= int(one[-5:]) < 4322][:200]
        assert api.ids(q="umbrella", **day) == [one for one in umbrella if 1442 <= int(one[-5:]) < 4322]
    assert company.api().all_ids(q="pipeline", limit=200) == [one for one in by_time if int(one[-5:]) >= 10500]


@pytest.mark.parametrize("text", INJECTIONS)
def test_what_sql_is_made_of_is_only_text(company, ingest, text):
    call_id = company.call(customer_name=text)
    company.transcript(call_id, f"agent: {text} plain")
    api = company.api()
    assert api.ids(q="plain") == [call_id] and api.list(q="plain")["items"][0]["customer_name"] == text
    assert api.ask(LIST, q=text).status_code == 200
    assert api.problem(422, status=text).json()["parameter"] == "status"
    assert api.problem(422, **{"from": text}).json()["parameter"] == "from"
    assert api.problem(422, cursor=text).json()["parameter"] == "cursor"
    assert ask_raw(ingest.url, f"{LIST}/{quote(text, safe='')}", api.token)[0] in (400, 404)      # 400: control characters
    assert api.ids() == [call_id]


@pytest.mark.parametrize(("query", "parameter"), [
    ("limit=0", "limit"), ("limit=201", "limit"), ("limit=ten", "limit"), ("limit=5&limit=6", "limit"), ("status=done", "status"),
    ("from=2026-02-30", "from"), ("to=2026-02-30", "to"), ("from=2026-02-02&to=2026-02-01", "to"), ("cursor=abc", "cursor"), ("q=" + "a" * 201, "q"),
    ("q=a%00b", "q"), ("page=2", "page"), ("tenant=*", "tenant"), ("LIMIT=5", "LIMIT"), ("q=%zz", None), ("%F0%28=1", "?(")])
def test_wrong_parameters_are_named(company, ingest, query, parameter):
    status, content_type, problem = ask_raw(ingest.url, f"{LIST}?{query}", company.token())
    assert (status, content_type) == (422, "application/problem+json")
    assert problem.get("parameter") == parameter and problem["detail"]


def test_a_call_takes_no_parameters(company):
    call_id = company.call()
    assert company.api().problem(422, f"{LIST}/{call_id}", limit=5).json()["parameter"] == "limit"


def test_a_changed_cursor_is_refused(company):
    for _ in range(3):
        company.call()
    api = company.api()
    cursor = api.list(limit=1)["next_cursor"]
    other = "B" if cursor[0] == "A" else "A"
    for changed in (cursor[:-1], cursor + "A", cursor[::-1], other + cursor[1:], cursor.upper(), "=" + cursor):
        assert api.problem(422, cursor=changed).json()["parameter"] == "cursor"
    assert len(api.ids(cursor=cursor)) == 2


@pytest.mark.parametrize("call_id", ["", "..", "a/b", "%", "x" * 4000, "ä" * 200, "null", "a b", "'"])
def test_no_such_call(company, ingest, call_id):
    status, content_type, _ = ask_raw(ingest.url, f"{LIST}/{quote(call_id, safe='')}", company.token())
    assert (status, content_type) == (404, "application/problem+json")


# --- what is shown -------------------------------------------------------------------------------------------------------

NASTY = "\"quoted\" \\ back / slash \b\f\n\r\t \x01 \x7f \u2028 \U0001F4DE </script> ä"


def test_one_call_in_full(company, database):
    contact_id, lead_id, appointment_id, delivery_id = (uuid.uuid4() for _ in range(4))
    user_id = "user-" + uuid.uuid4().hex
    company.insert("users", tenant=company.tenant, email="rep@example.com", user_id=user_id, name="Rep", role="rep")
    company.insert("contact_cards", tenant=company.tenant, contact_id=contact_id, phone="+15550100001", name=NASTY)
    company.insert("leads", tenant=company.tenant, lead_id=lead_id, contact_id=contact_id, status="hot")
    call_id = company.call(direction="inbound", tracking_number="+15550100009", customer_number="+15550100001", customer_name=NASTY,
                           contact_id=contact_id, lead_id=lead_id, answered=True, voicemail=False, duration_s=61,
                           recording_url="https://recordings.example/secret-signature", started_at=NOON + timedelta(microseconds=123456))
    segments = [{"speaker": "agent", "start_s": 0.25, "end_s": 1.5, "text": NASTY, "confidence": 0.5},
                {"speaker": "customer", "start_s": 1.5, "end_s": 3, "text": "Tuesday at ten."}]
    company.transcript(call_id, "agent: " + NASTY, segments=segments, speakers=2, words=9, duration_s=61.25, language="en", model="m")
    objections, evidence = [{"category": "price", "quote": NASTY}], [{"field": "booking_status", "quote": "Tuesday"}]
    company.analysis(call_id, objections=objections, evidence=evidence, sop_score=0.75, sop_missed_steps=["greeting", NASTY], model="m",
                     prompt_version="call_analysis.v1", dropped_without_evidence=2, summary=NASTY, sentiment_score=-0.1)
    company.insert("recordings", tenant=company.tenant, call_id=call_id, path="a/b.wav", bytes=4000, sha256="ab" * 32, format="wav", channels=2,
                   sample_rate_hz=8000, duration_s=61.25)
    company.insert("appointments", tenant=company.tenant, appointment_id=appointment_id, call_id=call_id, lead_id=lead_id, assigned_rep_id=user_id,
                   scheduled_start=NOON + timedelta(days=1), service_type="repair", location="12 Elm St", quote="Tuesday", source_time=NOON)
    company.insert("asks", ask_id=delivery_id, stage="notifier", event_id=uuid.uuid4(), name="whatsapp", kind="once", provider="twilio",
                   tenant=company.tenant, correlation_id=call_id, recipient="+15550100002", purpose="lead_alert", subject=call_id, version="1",
                   content=NASTY, state="answered", provider_status="delivered", provider_id="SM1")
    call = company.api().show(call_id)

    assert call["customer_name"] == call["contact"]["name"] == NASTY and call["contact"]["contact_id"] == str(contact_id)
    assert call["lead"] == {"lead_id": str(lead_id), "status": "hot"}
    assert (call["call_at"], call["started_at"]) == ("2026-06-10T12:00:00.123456Z",) * 2
    assert (call["answered"], call["voicemail"], call["duration_s"], call["recorded"]) == (True, False, 61, True)
    assert call["processing"] == {"state": "analyzed", "stage": None, "reason": None}
    assert call["analysis"]["objections"] == objections and call["analysis"]["evidence"] == evidence
    assert call["analysis"]["sop_missed_steps"] == ["greeting", NASTY] and call["analysis"]["sentiment_score"] == -0.1
    assert call["analysis"]["summary"] == NASTY and call["analysis"]["dropped_without_evidence"] == 2
    assert call["transcript"]["segments"] == segments and call["transcript"]["text"] == "agent: " + NASTY
    assert call["recording"]["sample_rate_hz"] == 8000 and call["recording"]["duration_s"] == 61.25
    assert call["appointment"]["scheduled_start"] == "2026-06-11T12:00:00.000000Z" and call["appointment"]["assigned_rep_id"] == user_id
    assert [(one["status"], one["content"], one["recipient"]) for one in call["deliveries"]] == [("delivered", NASTY, "+15550100002")]
    assert "secret-signature" not in json.dumps(call) and "a/b.wav" not in json.dumps(call)

    listed = company.api().list()["items"][0]
    assert listed == {name: call[name] for name in listed} and "transcript" not in listed


def test_a_bare_call(company):
    call_id = company.call(started_at=None, status="ringing")
    call = company.api().show(call_id)
    assert call["call_at"] == call["created_at"] and call["started_at"] is None
    for part in ("contact", "lead", "analysis", "recording", "transcript", "appointment"):
        assert call[part] is None
    assert call["deliveries"] == call["history"] == []
    assert call["processing"] == {"state": "waiting", "stage": None, "reason": "the call is not over"}


def test_the_history_is_in_order_and_has_the_times(company):
    call_id = company.call(recording_url="https://recordings.example/1")
    received = NOON + timedelta(seconds=5)
    company.handled(call_id, "analyze", "call.transcribed", "rejected", "the model spoke nonsense", received_at=NOON + timedelta(seconds=30))
    company.handled(call_id, "transcribe", "call.recorded", received_at=NOON + timedelta(seconds=20), attempts=3, worked_us=1234567, emitted=1)
    completed = company.handled(call_id, "ingest", "callrail.call.received", received_at=received, topic="inbound.callrail", emitted=2)
    company.handled(call_id, "ingest", "callrail.call.received", received_at=received, topic="inbound.callrail", event_id=completed, run=1)
    forgotten = uuid.uuid4()
    for event_id, hook, seconds in ((completed, "call.completed", 4), (forgotten, "call.incoming", 0)):
        company.insert("call_reports", tenant=company.tenant, call_id=call_id, event_id=event_id, hook=hook,
                       reported_at=NOON + timedelta(seconds=seconds), facts={}, created_at=NOON + timedelta(seconds=seconds + 1))
    call = company.api().show(call_id)
    history = [(row["stage"], row["event_type"], row["hook"], row["run"], row["outcome"]) for row in call["history"]]
    assert history == [("ingest", None, "call.incoming", None, None), ("ingest", "callrail.call.received", "call.completed", 0, "done"),
                       ("ingest", "callrail.call.received", "call.completed", 1, "done"), ("transcribe", "call.recorded", None, 0, "done"),
                       ("analyze", "call.transcribed", None, 0, "rejected")]
    one = call["history"][3]
    assert (one["attempts"], one["worked_ms"], one["emitted"], one["topic"]) == (3, 1234.567, 1, "calls")
    assert (one["received_at"], one["started_at"], one["committed_at"]) == (
        "2026-06-10T12:00:20.000000Z", "2026-06-10T12:00:20.003000Z", "2026-06-10T12:00:20.009000Z")
    assert call["history"][0]["reported_at"] == "2026-06-10T12:00:00.000000Z"
    assert call["history"][4]["why"] == "the model spoke nonsense"


def test_what_was_rejected_before_its_company_was_known_is_for_the_platform(company):
    call_id = company.call()
    company.handled(call_id, "ingest", "callrail.call.received", "rejected", "duration is no number", tenant=None)
    assert company.api().show(call_id)["history"] == []
    assert company.api(role="platform").show(call_id)["history"][0]["why"] == "duration is no number"


def test_how_far_a_call_has_come(company):
    now = datetime.now(timezone.utc)
    recorded = {"recording_url": "https://recordings.example/1"}
    made = {}

    def call(state, *handled, transcribed=False, **about):
        made[call_id := company.call(**about)] = state
        for run, (stage, outcome, why) in enumerate(handled):
            company.handled(call_id, stage, {"transcribe": "call.recorded", "analyze": "call.transcribed"}[stage], outcome, why, run=run, received_at=now)
        if transcribed:
            company.transcript(call_id, "agent: hello")

    call(("waiting", None, "the call is not over"), status="in_progress")
    call(("none", None, "there is no recording"))
    call(("none", None, "there is no recording"), status="missed")
    call(("transcribing", None, None), **recorded)
    call(("failed", "transcribe", "it is HTML"), ("transcribe", "rejected", "it is HTML"), **recorded)
    call(("waiting", "transcribe", "HTTP status 503"), ("transcribe", "parked", "HTTP status 503"), **recorded)
    call(("failed", "transcribe", "still HTML"), ("transcribe", "rejected", "it is HTML"), ("transcribe", "rejected", "still HTML"), **recorded)
    call(("transcribed", None, None), ("transcribe", "done", None), transcribed=True, **recorded)
    call(("failed", "analyze", "nonsense"), ("transcribe", "done", None), ("analyze", "rejected", "nonsense"), transcribed=True, **recorded)
    call(("transcribed", None, "nobody spoke"), ("analyze", "skipped", "nobody spoke"), transcribed=True, **recorded)
    listed = {item["call_id"]: tuple(item["processing"].values()) for item in company.api().list()["items"]}
    assert listed == made
    for call_id, state in made.items():
        assert tuple(company.api().show(call_id)["processing"].values()) == state


def test_a_webhook_is_seen_with_its_history(company, ingest):
    company.insert("tracking_numbers", number="+1555" + str(random.randrange(10**6, 10**7)), tenant=company.tenant)
    number = company.database.execute("SELECT number FROM tracking_numbers WHERE tenant = %s", [company.tenant]).fetchone()[0]
    call_id, api = "CAL" + uuid.uuid4().hex, company.api()
    for hook, fields in (("incoming", {}), ("completed", {"answered": True, "duration": 61})):
        body = json.dumps({"call_id": call_id, "tracking_number": number, "caller_number": "+12025550123", **fields}).encode()
        signature = base64.b64encode(hmac.new(SIGNING_KEY.encode(), body, hashlib.sha1).digest()).decode()
        answer = requests.post(f"{ingest.url}/api/v1/callrail/call.{hook}", data=body, timeout=30,
                               headers={"Content-Type": "application/json", "Signature": signature})
        assert answer.status_code == 200, answer.text
    wait_until(lambda: api.ids(status="completed") == [call_id], "the call being recorded", 60)
    call = api.show(call_id)
    assert call["customer_number"] == call["contact"]["phone"] == "+12025550123" and call["lead"]["status"] == "new"
    assert [(row["stage"], row["event_type"], row["hook"], row["outcome"]) for row in call["history"] if row["stage"] == "ingest"] == [
        ("ingest", "callrail.call.received", f"call.{hook}", "done") for hook in ("incoming", "completed")]
    assert all(row["received_at"] <= row["committed_at"] and row["worked_ms"] > 0 for row in call["history"])


def test_a_long_conversation(company):
    text = "\n".join(f"agent: line {n} with \"quotes\" and ünïcödé" for n in range(30000))
    call_id = company.call()
    segments = [{"speaker": "agent", "start_s": n, "end_s": n + 1, "text": f"line {n}"} for n in range(30000)]
    company.transcript(call_id, text, segments=segments)
    shown = company.api().show(call_id)["transcript"]
    assert shown["text"] == text and len(shown["segments"]) == 30000


# --- many at once, and without Postgres ----------------------------------------------------------------------------------


def test_many_ask_at_once_and_each_gets_his_own(company, other):
    owners = {owner.tenant: (owner.api(), {owner.call() for _ in range(20)}) for owner in (company, other)}

    def ask(n):
        tenant = list(owners)[n % 2]
        api, made = owners[tenant]
        items = api.list(limit=200)["items"]
        return {item["tenant"] for item in items} == {tenant} and {item["call_id"] for item in items} == made

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(200)))


class Gate:
    """Stands between a daemon and Postgres; can be shut (connections break, new ones are refused) and held (nothing gets through)."""

    def __init__(self, url):
        target = psycopg.conninfo.conninfo_to_dict(url)
        self.target = (target["host"], int(target["port"]))
        self.open, self.pairs = threading.Event(), []
        self.open.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.shut = False
        self.url = psycopg.conninfo.make_conninfo(url, host="127.0.0.1", port=self.port)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            if self.shut:
                near.close()
                continue
            far = socket.create_connection(self.target)
            self.pairs.append((near, far))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self.carry, args=(source, sink), daemon=True).start()

    def carry(self, source, sink):
        try:
            while data := source.recv(65536):
                self.open.wait()
                sink.sendall(data)
        except OSError:
            pass
        for one in (source, sink):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def break_all(self):
        self.shut = True
        for near, far in self.pairs:
            for one in (near, far):
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


@pytest.fixture
def gate(schema_ready):
    gate = Gate(schema_ready.database_url)
    yield gate
    gate.open.set()


def ask_into_the_gate(pool, daemon, gate, api):
    """A request that has come as far as Postgres, and is held there."""
    taken = lambda: daemon.metric("postgres_wait_seconds_count", role="switchboard_api")  # noqa: E731
    before = taken()
    gate.open.clear()
    asked = pool.submit(api.ask, LIST)
    wait_until(lambda: taken() > before, "the request being under way", 10)
    return asked


def test_without_postgres_it_says_when_to_come_back(daemon, gate, company):
    own = daemon("ingest", DATABASE_URL=gate.url).ready()
    call_id = company.call()
    known, fresh = Api(own.url, company.token()), Api(own.url, company.token())
    assert known.ids() == [call_id]
    gate.break_all()
    for api in (known, fresh, known):
        for path in (LIST, f"{LIST}/{call_id}"):
            assert api.problem(503, path).headers["Retry-After"] == "5"
    assert requests.get(own.url + LIST, timeout=30).status_code == 401
    assert requests.get(own.url + "/openapi.yaml", timeout=30).status_code == 200
    gate.shut = False
    wait_until(lambda: fresh.ask(LIST).status_code == 200, "Postgres being back", 60, 0.2)
    assert known.ids() == fresh.ids() == [call_id]


def test_too_many_waiting_are_sent_away_and_the_others_answered(daemon, gate, company):
    own = daemon("ingest", DATABASE_URL=gate.url, API_THREADS="1", API_QUEUE_MAX="2").ready()
    call_id = company.call()
    api = Api(own.url, company.token())
    assert api.ids() == [call_id]
    with ThreadPoolExecutor() as pool:
        asked = [ask_into_the_gate(pool, own, gate, api), pool.submit(api.ask, LIST), pool.submit(api.ask, LIST)]
        wait_until(lambda: own.metric("ingest_api_waiting") == 2, "the queue being full", 10)
        assert api.problem(503).headers["Retry-After"] == "1"
        assert requests.get(own.url + "/health", timeout=5).status_code == 200, "the loop must not wait"
        gate.open.set()
        assert [answer.result().status_code for answer in asked] == [200] * 3
    wait_until(lambda: own.metric("ingest_api_waiting") == 0, "the queue being empty", 10)
    assert api.ids() == [call_id]


def test_a_request_under_way_is_answered_before_the_daemon_ends(daemon, gate, company):
    own = daemon("ingest", DATABASE_URL=gate.url).ready()
    call_id = company.call()
    api = Api(own.url, company.token())
    assert api.ids() == [call_id]
    with ThreadPoolExecutor() as pool:
        asked = ask_into_the_gate(pool, own, gate, api)
        stopped = pool.submit(own.stop)
        wait_until(lambda: "stopping" in own.log(), "the daemon being asked to end", 10)
        gate.open.set()
        assert asked.result().json()["data"]["total"] == 1
        assert stopped.result() == 0
