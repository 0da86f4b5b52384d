"""What API clients change: appointments by hand, visits, corrections, call-backs, closed leads; who may, and once and no more, whatever happens."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import requests
from api_client import LIST, NOON, OPENAPI, Api, Company, describing
from api_client import company, ingest, other  # noqa: F401 (fixtures)
from environment import ROOT, wait_until
from psycopg.rows import dict_row

APPOINTMENTS, LEADS, SESSIONS = "/api/v1/appointments", "/api/v1/leads", "/api/v1/recordings/sessions"
START = SESSIONS + "/start"
MONDAY = "2026-11-23T10:00:00-05:00"
AUDIO = "https://audio.example/visit.wav"
NOBODY = str(uuid.uuid4())


@pytest.fixture(scope="module", autouse=True)
def recorder(schema_ready, ingest):
    """A daemon that has just started joins its group for some seconds; until then changes are answered 202."""
    with schema_ready.connect() as connection:
        settle(Company(connection, ingest.url))


def settle(company):
    """Until the group's partitions are all in the hands of who is there, some changes are answered 202."""
    api = company.api()
    answered = lambda: {api.send("PATCH", f"{LEADS}/{company.lead()}", {"status": "closed"}).status_code for _ in range(24)} == {200}  # noqa: E731
    wait_until(answered, "every change being answered in time", 60)


@pytest.fixture
def instance(daemon, company):
    """Starts instances beside the module's own, which has all to itself again when the test ends."""
    started = []
    yield lambda **settings: started.append(daemon("ingest", **settings).ready()) or started[-1]
    for one in started:
        one.stop()
    settle(Company(company.database, company.url))


def rows(company, table, **where):
    with company.database.cursor(row_factory=dict_row) as cursor:
        conditions = " AND ".join(f"{name} = %s" for name in where)
        return cursor.execute(f"SELECT * FROM {table} WHERE {conditions}", [*where.values()]).fetchall()


def row(company, table, **where):
    found = rows(company, table, **where)
    assert len(found) == 1, found
    return found[0]


# --- appointments by hand ------------------------------------------------------------------------------------------------


def test_an_appointment_is_made_and_listed(company, topics):
    rep, _ = company.user()
    lead_id, api = company.lead("hot"), company.api(role="csr")
    made = api.change(201, "POST", APPOINTMENTS, {"lead_id": lead_id, "scheduled_start": MONDAY, "assigned_rep_id": rep,
                                                  "location": "25 Oak Street", "service_type": "water heater"})
    assert made["scheduled_start"] == "2026-11-23T15:00:00.000000Z" and made["rep"] == {"user_id": rep, "name": "Ana Silva"}
    assert (made["status"], made["outcome"], made["call_id"], made["contact"]["name"]) == ("scheduled", "pending", None, "Bo Customer")
    assert api.list(APPOINTMENTS, date="2026-11-23")["items"] == [made], "what was answered is what is read"
    answered, requested = topics.wait("replies", lead_id)[0], topics.wait("inbound.api", lead_id)[0]
    assert (answered["tenant"], answered["data"]["status"]) == (company.tenant, 201)
    assert requested["data"]["operation"] == "createAppointment" and answered["causationid"] == requested["id"]


def test_the_least_an_appointment_needs(company):
    made = company.api().change(201, "POST", APPOINTMENTS, {"lead_id": company.lead(), "scheduled_start": MONDAY, "location": None})
    assert made["rep"] is made["location"] is made["service_type"] is None


@pytest.mark.parametrize(("change", "pointer"), [
    ({"lead_id": None}, "/lead_id"), ({"lead_id": "x"}, "/lead_id"), ({"lead_id": NOBODY}, "/lead_id"), ({"scheduled_start": "tomorrow"}, "/scheduled_start"),
    ({"scheduled_start": "2026-11-23T10:00:00"}, "/scheduled_start"), ({"scheduled_start": "0000-01-01T00:00:00Z"}, "/scheduled_start"),
    ({"scheduled_start": "9999-12-31T23:59:59Z"}, "/scheduled_start"), ({"assigned_rep_id": "nobody"}, "/assigned_rep_id"),
    ({"assigned_rep_id": ""}, "/assigned_rep_id"), ({"location": "x" * 301}, "/location"), ({"location": 5}, "/location"),
    ({"price": 5}, "/price"), ({"service_type": "a\0b"}, "")])
def test_what_is_wrong_in_the_body_is_pointed_to(company, change, pointer):
    body = {"lead_id": company.lead(), "scheduled_start": MONDAY, **change}
    problem = company.api().change(422, "POST", APPOINTMENTS, body)
    assert problem.get("pointer", "") == pointer and problem["detail"], problem
    assert rows(company, "appointments", tenant=company.tenant) == []


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"{}", b'{"lead_id":"x","lead_id":"y"}', b"\xff\xfe", b"{" * 100_000 + b"}"])
def test_a_body_that_is_none(company, ingest, raw):
    token = company.token()
    answer = requests.post(ingest.url + APPOINTMENTS, data=raw, timeout=30,
                           headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
    assert answer.status_code == (413 if len(raw) > 65536 else 422) and answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "application/merge-patch+json"])
def test_the_body_must_be_said_to_be_json(company, ingest, content_type):
    headers = {"Authorization": f"Bearer {company.token()}", **({"Content-Type": content_type} if content_type else {})}
    body = json.dumps({"lead_id": company.lead(), "scheduled_start": MONDAY}).encode()
    assert requests.post(ingest.url + APPOINTMENTS, data=body, headers=headers, timeout=30).status_code == 415


def test_a_change_takes_no_parameters(company):
    answer = company.api().send("POST", APPOINTMENTS, {"lead_id": company.lead(), "scheduled_start": MONDAY}, {"date": "2026-11-23"})
    assert answer.status_code == 422 and answer.json()["parameter"] == "date"


def test_a_closed_lead_gets_no_appointment(company):
    problem = company.api().change(409, "POST", APPOINTMENTS, {"lead_id": company.lead("closed"), "scheduled_start": MONDAY})
    assert problem["pointer"] == "/lead_id" and "closed" in problem["detail"]


def test_the_described_bodies_are_those_that_are_checked():
    """schemas/requests/ is what the daemon holds bodies to, openapi.yaml what clients are told."""
    for path in sorted((ROOT / "schemas" / "requests").glob("*.json")):
        schema = json.loads(path.read_text())
        name = schema.pop("title").title().replace("_", "")
        schema.pop("$schema")
        assert OPENAPI["components"]["schemas"][name] == schema, name


# --- once and no more ----------------------------------------------------------------------------------------------------


def test_the_same_key_is_done_once_and_answered_the_same(company, topics):
    api, lead_id = company.api(), company.lead()
    body = {"lead_id": lead_id, "scheduled_start": MONDAY}
    first = api.change(201, "POST", APPOINTMENTS, body, Idempotency_Key="key-1")
    again = api.change(201, "POST", APPOINTMENTS, body, Idempotency_Key="key-1")
    assert first == again and api.list(APPOINTMENTS)["total"] == 1
    assert api.change(201, "POST", APPOINTMENTS, body, Idempotency_Key="key-2")["appointment_id"] != first["appointment_id"]
    assert len(topics.wait("inbound.api", lead_id, 2)) == 2, "a repeat that is known needs no event"


def test_a_refusal_is_repeated_too(company):
    api, body = company.api(), {"lead_id": NOBODY, "scheduled_start": MONDAY}
    first, again = (api.change(422, "POST", APPOINTMENTS, body, Idempotency_Key="k") for _ in range(2))
    assert first == again and first["pointer"] == "/lead_id"


def test_the_same_key_for_something_else_is_refused(company):
    api, lead_id = company.api(), company.lead()
    api.change(201, "POST", APPOINTMENTS, {"lead_id": lead_id, "scheduled_start": MONDAY}, Idempotency_Key="k")
    for path, body in ((APPOINTMENTS, {"lead_id": lead_id, "scheduled_start": "2026-11-24T10:00:00Z"}), (START, {"appointment_id": NOBODY})):
        problem = api.change(422, "POST", path, body, Idempotency_Key="k")
        assert problem["parameter"] == "Idempotency-Key" and "another request" in problem["detail"]
    assert api.list(APPOINTMENTS)["total"] == 1


def test_each_token_has_keys_of_its_own(company):
    lead_id, made = company.lead(), set()
    for api in (company.api(), company.api()):
        made.add(api.change(201, "POST", APPOINTMENTS, {"lead_id": lead_id, "scheduled_start": MONDAY}, Idempotency_Key="k")["appointment_id"])
    assert len(made) == 2


@pytest.mark.parametrize("key", ["a b", "x" * 256, "ü".encode().decode("latin-1")])
def test_a_key_that_is_none(company, key):
    problem = company.api().change(422, "POST", APPOINTMENTS, {"lead_id": company.lead(), "scheduled_start": MONDAY}, Idempotency_Key=key)
    assert problem["parameter"] == "Idempotency-Key"


def test_many_with_the_same_key_at_once(company):
    """Whoever comes second while the first is on its way gets the first's answer, or is told where to look."""
    api, lead_id = company.api(), company.lead()
    body = {"lead_id": lead_id, "scheduled_start": MONDAY}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.send("POST", APPOINTMENTS, body, Idempotency_Key="storm"), range(24)))
    assert {answer.status_code for answer in answers} <= {201, 202} and api.list(APPOINTMENTS)["total"] == 1
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    assert len({answer.headers["Location"] for answer in answers if answer.status_code == 202}) <= 1


def test_two_instances_answer_their_own(company, instance):
    second = instance()
    settle(company)
    api = [Api(url, company.token()) for url in (company.url, second.url)]
    lead_ids = [company.lead() for _ in range(20)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: api[n % 2].change(201, "POST", APPOINTMENTS, {"lead_id": lead_ids[n], "scheduled_start": MONDAY}), range(20)))
    assert [one["lead_id"] for one in made] == lead_ids


# --- when it takes longer ------------------------------------------------------------------------------------------------


def test_what_takes_longer_is_told_where_to_look(company):
    api, lead_id = company.api(), company.lead()
    body = {"lead_id": lead_id, "scheduled_start": MONDAY}
    with company.environment.connect() as connection, connection.transaction():
        # nothing can be written there: the change is durable, and waits
        connection.execute("LOCK TABLE api_operations IN EXCLUSIVE MODE")
        answer = api.send("POST", APPOINTMENTS, body, Idempotency_Key="slow")
        assert answer.status_code == 202 and answer.headers["Retry-After"] == "1"
        place = answer.headers["Location"]
        assert api.get(place) == {"operation_id": place.rsplit("/", 1)[1], "state": "pending", "reason": None, "operation": None, "status": None,
                                  "answer": None, "requested_at": None, "recorded_at": None}
    done = wait_until(lambda: (found := api.get(place))["state"] != "pending" and found, "the change being done", 30)
    assert (done["state"], done["operation"], done["status"]) == ("done", "createAppointment", 201)
    assert [done["answer"]["data"]] == api.list(APPOINTMENTS)["items"]
    assert api.change(201, "POST", APPOINTMENTS, body, Idempotency_Key="slow") == done["answer"]["data"]


def test_a_refused_operation_shows_the_problem(company):
    api = company.api()
    api.change(422, "POST", APPOINTMENTS, {"lead_id": NOBODY, "scheduled_start": MONDAY})
    operation_id = row(company, "api_operations", tenant=company.tenant)["operation_id"]
    shown = api.get(f"/api/v1/operations/{operation_id}")
    assert (shown["state"], shown["status"], shown["answer"]["pointer"]) == ("refused", 422, "/lead_id")


def test_operations_are_ones_own(company, other):
    user_id, api = company.user("csr")
    api.change(201, "POST", APPOINTMENTS, {"lead_id": company.lead(), "scheduled_start": MONDAY})
    operation_id = row(company, "api_operations", tenant=company.tenant)["operation_id"]
    place = f"/api/v1/operations/{operation_id}"
    email = row(company, "users", user_id=user_id)["email"]
    assert api.get(place)["state"] == "done" and company.api(role="csr", email=email).get(place)["state"] == "done"
    for stranger in (company.api(), other.api(), company.api(role="platform")):
        assert stranger.get(place)["answer"] is None and stranger.get(place)["state"] == "pending"
    api.problem(404, "/api/v1/operations/x")
    assert api.get(f"/api/v1/operations/{NOBODY}")["state"] == "pending"


def test_while_kafka_is_away_a_change_is_spooled_and_done_later(company, instance, environment, tmp_path):
    if not environment.kafka:
        pytest.skip("Kafka is not ours to freeze")
    own = instance(SPOOL_DIR=str(tmp_path / "spool"))
    api, lead_id = Api(own.url, company.token()), company.lead()
    assert api.list(APPOINTMENTS)["total"] == 0
    environment.kafka.freeze()
    try:
        answer = api.send("POST", APPOINTMENTS, {"lead_id": lead_id, "scheduled_start": MONDAY}, Idempotency_Key="away")
        assert answer.status_code == 202 and own.metric("ingest_spool_messages") == 1
    finally:
        environment.kafka.thaw()
    wait_until(lambda: api.get(answer.headers["Location"])["state"] == "done", "the change being done", 60)
    assert api.list(APPOINTMENTS)["total"] == 1


def test_an_instance_that_ends_answers_who_waits(company, instance):
    own = instance()
    api, lead_id = Api(own.url, company.token()), company.lead()
    assert api.list()["total"] == 0
    with company.environment.connect() as connection, ThreadPoolExecutor() as pool:
        with connection.transaction():
            connection.execute("LOCK TABLE api_operations IN EXCLUSIVE MODE")
            asked = pool.submit(api.send, "POST", APPOINTMENTS, {"lead_id": lead_id, "scheduled_start": MONDAY})
            wait_until(lambda: own.metric("ingest_api_changes_waiting") == 1, "the change being under way", 10)
            stopped = pool.submit(own.stop)
            assert asked.result().status_code == 202
        assert stopped.result() == 0
    wait_until(lambda: company.api().list(APPOINTMENTS)["total"] == 1, "another instance doing it", 60)


# --- visits --------------------------------------------------------------------------------------------------------------


def test_a_visit_is_recorded_and_goes_on_its_way(company, topics):
    rep, api = company.user()
    appointment_id = company.appointment(assigned_rep_id=rep)
    started = api.change(201, "POST", START, {"appointment_id": appointment_id})
    assert (started["status"], started["rep_user_id"], started["stopped_at"], started["stale"]) == ("recording", rep, None, False)
    stop = f"{SESSIONS}/{started['session_id']}/stop"
    stopped = api.change(200, "POST", stop, {"audio_url": AUDIO})
    assert stopped["status"] == "completed" and stopped["stopped_at"] >= stopped["started_at"]
    event = topics.wait("visits", started["session_id"])[0]
    assert event["data"] == {"session_id": started["session_id"], "appointment_id": appointment_id, "audio_url": AUDIO}
    assert (event["tenant"], event["type"], event["correlationid"]) == (company.tenant, "visit.recorded", started["session_id"])
    assert row(company, "recording_sessions", tenant=company.tenant)["audio_url"] == AUDIO
    shown = api.get(f"{SESSIONS}/{started['session_id']}")
    processing = {"state": "transcribing", "stage": None, "reason": None}
    assert shown == {**stopped, "processing": processing, "analysis": None, "transcript": None, "recording": None}
    assert AUDIO not in json.dumps(shown)


def test_stopping_twice_answers_the_same_as_once(company, topics):
    api = company.api()
    session_id = api.change(201, "POST", START, {"appointment_id": company.appointment()})["session_id"]
    stop = f"{SESSIONS}/{session_id}/stop"
    first = api.change(200, "POST", stop, {"audio_url": AUDIO})
    assert api.change(200, "POST", stop, {"audio_url": AUDIO}) == first == api.change(200, "POST", stop, {"audio_url": AUDIO + "?again"})
    assert len(topics.wait("visits", session_id)) == 1 and row(company, "recording_sessions", tenant=company.tenant)["audio_url"] == AUDIO


def test_many_stop_at_once(company, topics):
    api = company.api()
    session_id = api.change(201, "POST", START, {"appointment_id": company.appointment()})["session_id"]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: api.change(200, "POST", f"{SESSIONS}/{session_id}/stop", {"audio_url": f"{AUDIO}?{n}"}), range(8)))
    assert all(answer == answers[0] for answer in answers) and len(topics.wait("visits", session_id)) == 1


def test_a_visit_is_recorded_once_at_a_time(company):
    api, appointment_id = company.api(), company.appointment()
    session_id = api.change(201, "POST", START, {"appointment_id": appointment_id})["session_id"]
    assert session_id in api.change(409, "POST", START, {"appointment_id": appointment_id})["detail"]
    api.change(200, "POST", f"{SESSIONS}/{session_id}/stop", {"audio_url": AUDIO})
    assert api.change(201, "POST", START, {"appointment_id": appointment_id})["session_id"] != session_id


def test_what_cannot_be_started_or_stopped(company):
    api = company.api()
    assert api.change(422, "POST", START, {"appointment_id": NOBODY})["pointer"] == "/appointment_id"
    assert "cancelled" in api.change(409, "POST", START, {"appointment_id": company.appointment(status="cancelled")})["detail"]
    failed = company.session(company.appointment(), status="failed")
    assert "failed" in api.change(409, "POST", f"{SESSIONS}/{failed}/stop", {"audio_url": AUDIO})["detail"]
    for session_id in (NOBODY, "x"):
        api.change(404, "POST", f"{SESSIONS}/{session_id}/stop", {"audio_url": AUDIO})


@pytest.mark.parametrize("address", ["ftp://x/a.wav", "file:///etc/passwd", "/a.wav", "", "https://x/ a", "https://x/" + "a" * 5000,
                                     "https://", "http:///a.wav", "https://:443/a.wav", "http://?a"])
def test_an_address_that_is_not_of_the_web(company, address):
    session_id = company.session(company.appointment())
    assert company.api().change(422, "POST", f"{SESSIONS}/{session_id}/stop", {"audio_url": address})["pointer"] == "/audio_url"


def test_a_rep_records_what_is_his_or_nobodys(company):
    (ana, anas), (bob, bobs) = company.user(name="Ana Silva"), company.user(name="Bob Hill")
    hers, nobodys = company.appointment(assigned_rep_id=ana), company.appointment()
    assert "another rep" in bobs.change(403, "POST", START, {"appointment_id": hers})["detail"]
    assert bobs.change(201, "POST", START, {"appointment_id": nobodys})["rep_user_id"] == bob
    started = anas.change(201, "POST", START, {"appointment_id": hers})
    assert "another rep" in bobs.change(403, "POST", f"{SESSIONS}/{started['session_id']}/stop", {"audio_url": AUDIO})["detail"]
    assert company.api().change(200, "POST", f"{SESSIONS}/{started['session_id']}/stop", {"audio_url": AUDIO})["rep_user_id"] == ana
    assert company.api().change(201, "POST", START, {"appointment_id": company.appointment(assigned_rep_id=ana)})["rep_user_id"] == ana


# --- a person knows better -----------------------------------------------------------------------------------------------


def analysed(company, status="warm", **about):
    lead_id = company.lead(status, status_call_at=NOON)
    call_id = company.call(lead_id=lead_id)
    company.transcript(call_id, "agent: hello")
    company.analysis(call_id, **{"lead_qualification": status, "booking_status": "not_booked", "call_outcome_category": "other", **about})
    return call_id, lead_id


def test_a_corrected_field_keeps_who_when_and_what_was_said(company):
    call_id, lead_id = analysed(company)
    user_id, api = company.user("exec")
    corrected = api.change(200, "PATCH", f"{LIST}/{call_id}/analysis", {"lead_qualification": "hot", "sentiment_score": -0.5})
    assert (corrected["lead_qualification"], corrected["sentiment_score"], corrected["booking_status"]) == ("hot", -0.5, "not_booked")
    correction = corrected["corrections"]["lead_qualification"]
    assert (correction["value"], correction["was"], correction["by"]) == ("hot", "warm", user_id) and correction["at"] == corrected["updated_at"]
    assert sorted(corrected["corrections"]) == ["lead_qualification", "sentiment_score"]
    assert api.show(call_id)["analysis"] == corrected, "what was answered is what is read"
    assert api.show(call_id)["lead"] == {"lead_id": lead_id, "status": "hot"}
    again = company.api().change(200, "PATCH", f"{LIST}/{call_id}/analysis", {"lead_qualification": "cold"})["corrections"]["lead_qualification"]
    assert (again["value"], again["was"]) == ("cold", "warm") and again["by"].startswith("token "), "was: what the model had said"
    assert [entry["event_type"] for entry in api.show(call_id)["history"] if entry["stage"] == "ingest"] == ["api.requested"] * 2


def test_every_field_can_be_corrected(company):
    call_id, _ = analysed(company, sop_score=0.25)
    body = {"lead_qualification": "cold", "booking_status": "service_not_offered", "call_outcome_category": "spam", "sentiment_score": 0,
            "objections": [{"category": "price", "quote": "too \"dear\""}], "sop_score": 1, "sop_missed_steps": ["greeting"], "summary": "Ünïcode."}
    corrected = company.api().change(200, "PATCH", f"{LIST}/{call_id}/analysis", body)
    assert {name: corrected[name] for name in body} == body
    assert {name: one["value"] for name, one in corrected["corrections"].items()} == body
    assert corrected["corrections"]["sop_score"]["was"] == 0.25
    assert company.api().show(call_id)["analysis"] == corrected


def test_a_call_that_is_not_the_latest_leaves_its_lead_alone(company):
    call_id, lead_id = analysed(company)
    company.database.execute("UPDATE leads SET status_call_at = %s WHERE lead_id = %s", [NOON + timedelta(days=1), lead_id])
    company.api().change(200, "PATCH", f"{LIST}/{call_id}/analysis", {"lead_qualification": "hot"})
    assert row(company, "leads", lead_id=lead_id)["status"] == "warm"


def test_a_closed_lead_stays_closed(company):
    call_id, lead_id = analysed(company)
    api = company.api()
    closed = api.change(200, "PATCH", f"{LEADS}/{lead_id}", {"status": "closed"})
    assert closed["status"] == "closed" and closed["last_call"]["call_id"] == call_id
    api.change(200, "PATCH", f"{LIST}/{call_id}/analysis", {"lead_qualification": "hot"})
    assert api.list(LEADS, status="closed")["items"] == [closed]


def test_a_corrected_booking_makes_or_takes_its_appointment(company):
    call_id, lead_id = analysed(company)
    api, path = company.api(), f"{LIST}/{call_id}/analysis"
    api.change(200, "PATCH", path, {"booking_status": "booked"})
    appointment = row(company, "appointments", tenant=company.tenant)
    assert (appointment["call_id"], str(appointment["lead_id"]), appointment["scheduled_start"]) == (call_id, lead_id, None)
    api.change(200, "PATCH", path, {"booking_status": "booked"})
    assert row(company, "appointments", tenant=company.tenant)["appointment_id"] == appointment["appointment_id"]
    api.change(200, "PATCH", path, {"booking_status": "not_booked"})
    assert rows(company, "appointments", tenant=company.tenant) == []


def test_an_appointment_that_was_visited_is_not_taken(company):
    call_id, _ = analysed(company, booking_status="booked")
    company.session(company.appointment(call_id=call_id))
    assert company.api().change(200, "PATCH", f"{LIST}/{call_id}/analysis", {"booking_status": "not_booked"})["booking_status"] == "not_booked"
    assert len(rows(company, "appointments", tenant=company.tenant)) == 1


@pytest.mark.parametrize(("body", "pointer"), [
    ({}, ""), ({"lead_qualification": "lukewarm"}, "/lead_qualification"), ({"lead_qualification": None}, "/lead_qualification"),
    ({"sentiment_score": 1.5}, "/sentiment_score"), ({"evidence": []}, "/evidence"), ({"objections": [{"category": "price"}]}, "/objections/0/quote"),
    ({"summary": ""}, "/summary"), ({"provider": "me"}, "/provider")])
def test_a_correction_that_is_none(company, body, pointer):
    call_id, _ = analysed(company)
    assert company.api().change(422, "PATCH", f"{LIST}/{call_id}/analysis", body).get("pointer", "") == pointer
    assert row(company, "call_analyses", call_id=call_id)["corrections"] == {}


def test_there_must_be_an_analysis(company):
    api = company.api()
    assert "no analysis" in api.change(409, "PATCH", f"{LIST}/{company.call()}/analysis", {"summary": "x"})["detail"]
    api.change(404, "PATCH", f"{LIST}/nothing/analysis", {"summary": "x"})


# --- calling back --------------------------------------------------------------------------------------------------------


def test_the_call_back_list(company):
    oldest, newest = company.call(status="missed", started_at=NOON - timedelta(hours=1)), company.call(status="missed")
    company.call()
    user_id, api = company.user("csr")
    open_calls = {"status": "missed", "callback": "open"}
    assert api.ids(**open_calls) == [newest, oldest] and api.list(**open_calls)["total"] == 2
    ages = [item["callback"]["age_s"] for item in api.list(**open_calls)["items"]]
    assert 3590 < ages[1] - ages[0] < 3610 and api.show(api.ids(status="completed")[0])["callback"] is None
    done = api.change(200, "PATCH", f"{LIST}/{oldest}", {"callback": "done"})
    assert (done["callback"]["state"], done["callback"]["done_by"]) == ("done", user_id)
    assert api.ids(**open_calls) == [newest] and api.ids(callback="done") == [oldest]
    again = company.api().change(200, "PATCH", f"{LIST}/{oldest}", {"callback": "done"})["callback"]
    assert (again["done_by"], again["done_at"]) == (user_id, done["callback"]["done_at"]), "the first one did it"
    assert api.show(oldest)["callback"]["done_at"] == done["callback"]["done_at"]


def test_what_need_not_be_called_back(company):
    api = company.api()
    assert api.change(409, "PATCH", f"{LIST}/{company.call()}", {"callback": "done"})["pointer"] == "/callback"
    assert api.change(422, "PATCH", f"{LIST}/{company.call(status='missed')}", {"callback": "open"})["pointer"] == "/callback"
    api.change(404, "PATCH", f"{LIST}/nothing", {"callback": "done"})


# --- leads ---------------------------------------------------------------------------------------------------------------


def test_a_lead_is_closed_once(company):
    lead_id, api = company.lead("hot"), company.api(role="rep")
    closed = api.change(200, "PATCH", f"{LEADS}/{lead_id}", {"status": "closed"})
    assert closed["status"] == "closed" and api.change(200, "PATCH", f"{LEADS}/{lead_id}", {"status": "closed"}) == closed
    assert api.change(422, "PATCH", f"{LEADS}/{lead_id}", {"status": "hot"})["pointer"] == "/status"
    for absent in (NOBODY, "x"):
        api.change(404, "PATCH", f"{LEADS}/{absent}", {"status": "closed"})


# --- who may, and whose --------------------------------------------------------------------------------------------------


def changes_of(company):
    """One of each change, on rows of the company: method, path, body."""
    call_id, lead_id = analysed(company)
    session_id = company.session(company.appointment())
    return {
        "createAppointment": ("POST", APPOINTMENTS, {"lead_id": lead_id, "scheduled_start": MONDAY}),
        "startSession": ("POST", START, {"appointment_id": company.appointment()}),
        "stopSession": ("POST", f"{SESSIONS}/{session_id}/stop", {"audio_url": AUDIO}),
        "correctAnalysis": ("PATCH", f"{LIST}/{call_id}/analysis", {"summary": "Corrected."}),
        "updateCall": ("PATCH", f"{LIST}/{company.call(status='missed')}", {"callback": "done"}),
        "updateLead": ("PATCH", f"{LEADS}/{lead_id}", {"status": "closed"}),
    }


EVERYTHING = {"createAppointment", "startSession", "stopSession", "correctAnalysis", "updateCall", "updateLead"}
MAY = {"platform": EVERYTHING, "admin": EVERYTHING, "owner": EVERYTHING, "exec": {"correctAnalysis"},
       "csr": {"createAppointment", "updateCall", "updateLead"}, "rep": {"createAppointment", "startSession", "stopSession", "updateLead"}, "station": set()}


@pytest.mark.parametrize("role", MAY)
def test_each_role_changes_what_it_may(company, role):
    api = company.api(role=role)
    for operation, (method, path, body) in changes_of(company).items():
        status = api.outcome(method, path, body)[0]
        assert (status in (200, 201)) == (operation in MAY[role]) and (status == 403) == (operation not in MAY[role]), f"{operation}: {status}"


TABLES = ("appointments", "recording_sessions", "call_analyses", "calls", "leads")


def test_nobody_changes_what_is_another_companys(company, other):
    theirs = changes_of(other)
    before = {table: rows(other, table, tenant=other.tenant) for table in TABLES}
    rep = other.user()[0]
    for api in (company.api(), company.user("rep")[1], company.api(role="owner")):
        for operation, (method, path, body) in theirs.items():
            answer = api.outcome(method, path, body)
            assert answer[0] in (403, 404, 422), f"{operation}: {answer}"
            absent = path.replace(path.split("/")[-2 if path.endswith(("stop", "analysis")) else -1], NOBODY) if "{id}" in describing(path)[0] else path
            body = {name: NOBODY if name.endswith("_id") else value for name, value in body.items()}
            assert api.outcome(method, absent, body) == answer, "it is as if it were not there"
    mine = company.lead()
    problem = company.api().change(422, "POST", APPOINTMENTS, {"lead_id": mine, "scheduled_start": MONDAY, "assigned_rep_id": rep})
    assert problem["pointer"] == "/assigned_rep_id", "a rep of another company is nobody here"
    assert {table: rows(other, table, tenant=other.tenant) for table in TABLES} == before


def test_the_platform_changes_all_companies(company, other):
    platform = company.api(role="platform")
    for method, path, body in changes_of(other).values():
        assert platform.outcome(method, path, body)[0] in (200, 201)
    assert len(rows(other, "appointments", tenant=other.tenant)) == 3 and rows(company, "appointments", tenant=company.tenant) == []
    assert {one["tenant"] for one in rows(company, "api_operations", tenant=company.tenant)} == {company.tenant}


def test_two_companies_may_name_their_calls_alike(company, other):
    call_id = company.call(status="missed")
    other.call(call_id, source="twilio", status="missed")
    company.api().change(200, "PATCH", f"{LIST}/{call_id}", {"callback": "done"})
    assert row(other, "calls", tenant=other.tenant)["callback_done_at"] is None
    assert row(company, "calls", tenant=company.tenant)["callback_done_at"] is not None


# --- the ledger of changes -----------------------------------------------------------------------------------------------


def test_old_operations_are_forgotten_by_and_by(company):
    for n in range(3):
        company.insert("api_operations", tenant=company.tenant, operation_id=uuid.uuid4(), token_id=uuid.uuid4(), operation="updateLead", subject="x",
                       fingerprint="ab" * 32, status=200, body="{}", requested_at=NOON, created_at=NOON - timedelta(days=400 + n))
    company.api().change(200, "PATCH", f"{LEADS}/{company.lead()}", {"status": "closed"})
    wait_until(lambda: len(rows(company, "api_operations", tenant=company.tenant)) == 1, "the old ones being gone", 10)
