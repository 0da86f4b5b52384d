"""GET of leads, appointments, visits, recordings; every list as CSV: whose, which, in what order."""

import csv
import hashlib
import io
import json
import uuid
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
import requests
from api_client import LIST, NOON, OPENAPI, Api, Company, identity
from api_client import company, ingest, other  # noqa: F401 (fixtures)
from daemons import Daemon

APPOINTMENTS, LEADS, SESSIONS = "/api/v1/appointments", "/api/v1/leads", "/api/v1/recordings/sessions"
TODAY = APPOINTMENTS + "/today/self"
LISTS = [LIST, LEADS, APPOINTMENTS, TODAY, SESSIONS]


def one_of_each(company):
    """A row in every list, for the user given back with a token."""
    user_id, api = company.user("rep")
    lead_id = company.lead("hot")
    appointment_id = company.appointment(datetime.now(timezone.utc), lead_id=lead_id, assigned_rep_id=user_id)
    made = {LIST: company.call(lead_id=lead_id), LEADS: lead_id, APPOINTMENTS: appointment_id, TODAY: appointment_id,
            SESSIONS: company.session(appointment_id, rep_user_id=user_id)}
    return made, api


# --- all lists -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", LISTS)
def test_a_new_company_has_empty_lists(company, path):
    assert company.user()[1].list(path) == {"items": [], "total": 0, "total_is": "exact", "next_cursor": None}


def test_companies_do_not_see_each_other(company, other):
    made, api = one_of_each(company)
    theirs, strange = one_of_each(other)
    for path in LISTS:
        assert api.ids(path) == [made[path]] and strange.ids(path) == [theirs[path]], path
    assert api.problem(404, f"{SESSIONS}/{theirs[SESSIONS]}").content == api.problem(404, f"{SESSIONS}/{uuid.uuid4()}").content


def test_the_platform_sees_all_companies(company, other):
    made, _ = one_of_each(company)
    theirs, _ = one_of_each(other)
    platform = company.api(role="platform")
    for path in (LEADS, APPOINTMENTS, SESSIONS):
        assert {made[path], theirs[path]} <= set(platform.all_ids(path, limit=200)), path
    assert platform.get(f"{SESSIONS}/{theirs[SESSIONS]}")["tenant"] == other.tenant


@pytest.mark.parametrize("role", ["admin", "exec", "owner"])
def test_who_decides_reads_all_lists(company, role):
    one_of_each(company)
    api = company.user(role)[1]
    assert [api.list(path)["total"] for path in LISTS] == [1, 1, 1, 0, 1]


def test_a_csr_reads_what_is_about_customers(company):
    """But not what a rep says to them at their home."""
    made, _ = one_of_each(company)
    csr_id, api = company.user("csr")
    mine = company.appointment(datetime.now(timezone.utc), assigned_rep_id=csr_id)
    assert [api.ids(path) for path in (LIST, LEADS, TODAY)] == [[made[LIST]], [made[LEADS]], [mine]]
    assert set(api.ids(APPOINTMENTS)) == {made[APPOINTMENTS], mine}
    for path in (SESSIONS, f"{SESSIONS}/{made[SESSIONS]}", f"{SESSIONS}/{made[SESSIONS]}/recording"):
        assert api.problem(403, path).content == api.problem(403, path.replace(made[SESSIONS], str(uuid.uuid4()))).content


def test_a_rep_reads_customers_and_appointments_and_visits_of_their_own(company):
    """Also those that are nobody's, which a rep may take; of another's there is nothing, not even that they are."""
    made, api = one_of_each(company)
    theirs, other_rep = one_of_each(company)
    nobodys = company.appointment(None)
    visit = company.session(nobodys, started_at=NOON - timedelta(days=1))
    assert set(api.ids(LIST)) == set(other_rep.ids(LIST)) == {made[LIST], theirs[LIST]}
    assert set(api.ids(LEADS)) == {made[LEADS], theirs[LEADS]}
    for path, free in ((APPOINTMENTS, nobodys), (SESSIONS, visit)):
        found = api.list(path)
        assert ([identity(item) for item in found["items"]], found["total"]) == ([made[path], free], 2), path
        assert api.all_ids(path, limit=1) == [made[path], free]
        assert read_csv(api.send("GET", path, Accept="text/csv"))[0]["tenant"] == company.tenant
    today = datetime.now(timezone.utc).date().isoformat()
    assert api.list(APPOINTMENTS, date=today)["total"] == 1 and company.api().list(APPOINTMENTS, date=today)["total"] == 2
    for status, ids in (("recording", [made[SESSIONS], visit]), ("stale", [made[SESSIONS], visit]), ("completed", [])):
        assert (api.ids(SESSIONS, status=status), api.list(SESSIONS, status=status)["total"]) == (ids, len(ids)), status
    assert api.get(f"{SESSIONS}/{made[SESSIONS]}")["session_id"] == made[SESSIONS] and api.get(f"{SESSIONS}/{visit}")["session_id"] == visit
    for path in (f"{SESSIONS}/{theirs[SESSIONS]}", f"{SESSIONS}/{theirs[SESSIONS]}/recording"):
        assert api.problem(404, path).content == api.problem(404, path.replace(theirs[SESSIONS], str(uuid.uuid4()))).content
    unnamed = company.api(role="rep")                   # a token that belongs to no person
    assert unnamed.ids(APPOINTMENTS) == [nobodys] and unnamed.ids(SESSIONS) == [visit]


def test_a_rep_does_not_see_anothers_appointment_with_its_call(company):
    made, api = one_of_each(company)
    someone, _ = company.user()
    company.appointment(NOON, call_id=made[LIST], assigned_rep_id=someone)
    assert api.show(made[LIST])["appointment"] is None
    assert company.user("csr")[1].show(made[LIST])["appointment"]["assigned_rep_id"] == someone


def test_whoever_sees_all_has_a_day_of_their_own(company, other):
    user_id, api = company.user("platform")
    noon = datetime.now(timezone.utc).replace(hour=12, minute=0)
    mine = company.appointment(noon, assigned_rep_id=user_id)
    other.appointment(noon)
    assert api.ids(TODAY) == [mine]


@pytest.mark.parametrize("path", [APPOINTMENTS, SESSIONS])
def test_totals_follow_what_is_there(company, path):
    user_id, _ = company.user()
    api, appointments = company.api(), [company.appointment(at, assigned_rep_id=user_id) for at in (NOON, NOON + timedelta(days=40), None)]
    visits = [company.session(appointment_id, status="failed") for appointment_id in appointments]
    assert api.list(path)["total"] == api.list(path, limit=1)["total"] == 3
    company.database.execute("DELETE FROM recording_sessions WHERE session_id = %s", [visits[0]])
    company.database.execute("DELETE FROM appointments WHERE appointment_id = %s", [appointments[0]])
    company.database.execute("UPDATE appointments SET scheduled_start = now(), assigned_rep_id = NULL WHERE appointment_id = %s", [appointments[1]])
    assert api.list(path)["total"] == 2 and api.list(SESSIONS, status="failed")["total"] == 2 and api.list(SESSIONS, status="completed")["total"] == 0


@pytest.mark.parametrize("path", LISTS)
def test_a_device_reads_none(company, path):
    company.user("station")[1].problem(403, path)


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(("query", "parameter"), [({"limit": 0}, "limit"), ({"cursor": "x"}, "cursor"), ({"tenant": "*"}, "tenant"), ({"sort": "x"}, "sort")])
def test_wrong_parameters_are_named(company, path, query, parameter):
    assert company.user()[1].problem(422, path, **query).json()["parameter"] == parameter


def test_a_cursor_of_another_list_is_refused(company):
    for _ in range(2):
        company.lead()
    cursor = company.api().list(LEADS, limit=1)["next_cursor"]
    for path in (LIST, APPOINTMENTS, SESSIONS):
        assert company.api().problem(422, path, cursor=cursor).json()["parameter"] == "cursor"


@pytest.mark.parametrize("path", [LEADS, APPOINTMENTS, SESSIONS])
def test_paging_neither_loses_nor_repeats_while_new_ones_come(company, path):
    """Many at the same moment, some without a time, and a new one after each page."""
    def add(n):
        at = NOON + timedelta(minutes=n // 5)
        return {LEADS: lambda: company.lead(created_at=at), APPOINTMENTS: lambda: company.appointment(at if n % 3 else None),
                SESSIONS: lambda: company.session(company.appointment(), started_at=at)}[path]()
    before = [add(n) for n in range(40)]
    api = company.api()
    for limit in (1, 7, 39, 40, 200):
        found = api.all_ids(path, limit=limit, between=(lambda: add(-500)) if limit == 7 else lambda: None)
        assert len(found) == len(set(found)) and set(before) <= set(found), f"limit {limit}"


# --- leads ---------------------------------------------------------------------------------------------------------------


def test_leads_by_status_newest_first(company):
    made = {status: company.lead(status, created_at=NOON + timedelta(minutes=n)) for n, status in enumerate(("new", "warm", "hot", "cold", "closed"))}
    api = company.api()
    assert api.ids(LEADS) == [made[status] for status in ("closed", "cold", "hot", "warm", "new")]
    assert api.ids(LEADS, status="new,warm,hot") == [made[status] for status in ("hot", "warm", "new")] and api.list(LEADS, status="cold")["total"] == 1
    for wrong in ("won", "new,", "{new}", "NEW", "new;--"):
        assert api.problem(422, LEADS, status=wrong).json()["parameter"] == "status"


def test_a_lead_shows_its_contact_and_its_last_call(company):
    lead_id = company.lead("warm", status_call_at=NOON)
    company.call(lead_id=lead_id, started_at=NOON - timedelta(days=1))
    last = company.call(lead_id=lead_id, status="missed")
    lead = company.api().list(LEADS)["items"][0]
    assert lead["last_call"] == {"call_id": last, "status": "missed", "call_at": "2026-06-10T12:00:00.000000Z"}
    assert lead["contact"]["name"] == "Bo Customer" and lead["status_call_at"] == "2026-06-10T12:00:00.000000Z"


# --- appointments --------------------------------------------------------------------------------------------------------


def test_appointments_in_order_of_time_and_those_without_last(company):
    later, unknown, sooner = company.appointment(NOON + timedelta(days=1)), company.appointment(None), company.appointment(NOON)
    api = company.api()
    assert api.ids(APPOINTMENTS) == api.all_ids(APPOINTMENTS, limit=1) == [sooner, later, unknown]
    assert api.ids(APPOINTMENTS, date="2026-06-10") == [sooner] and api.ids(APPOINTMENTS, date="2026-06-12") == []


ZONES = [("America/New_York", date(2026, 3, 8)), ("America/New_York", date(2026, 11, 1)), ("Pacific/Kiritimati", date(2026, 5, 5)),
         ("Pacific/Niue", date(2026, 5, 5)), ("America/Havana", date(2025, 11, 2)), ("Australia/Lord_Howe", date(2026, 4, 5))]


@pytest.mark.parametrize(("zone", "day"), ZONES)
def test_days_are_the_companys_own(database, ingest, zone, day):
    """Every half hour around the day, and the microseconds around its midnights, through changes of the clocks."""
    company = Company(database, ingest.url, zone)
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=timezone.utc)
    times = [noon + timedelta(minutes=30 * n) for n in range(-80, 81)]
    times += [at - timedelta(microseconds=1) for at in times]
    with database.transaction():
        made = {company.appointment(at): at.astimezone(ZoneInfo(zone)).date() for at in times}
    api = company.api()
    for of in (day - timedelta(days=1), day, day + timedelta(days=1)):
        found = api.all_ids(APPOINTMENTS, limit=200, date=of.isoformat())
        assert set(found) == {appointment_id for appointment_id, on in made.items() if on == of}, f"{zone} {of}"


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "UTC", "Pacific/Niue"])
def test_where_i_have_to_go_today(database, ingest, zone):
    company = Company(database, ingest.url, zone)
    user_id, api = company.user()
    someone, _ = company.user()
    now = datetime.now(ZoneInfo(zone))
    noon = datetime(now.year, now.month, now.day, 12, tzinfo=ZoneInfo(zone))
    mine = [company.appointment(noon + timedelta(hours=n), assigned_rep_id=user_id) for n in (-11, 0, 11)]
    for start, rep in ((noon - timedelta(days=1), user_id), (noon + timedelta(days=1), user_id), (None, user_id), (noon, someone), (noon, None)):
        company.appointment(start, assigned_rep_id=rep)
    if datetime.now(ZoneInfo(zone)).date() == now.date():       # it is not midnight just now
        assert api.ids(TODAY) == mine and api.all_ids(TODAY, limit=1) == mine


def test_a_token_of_nobody_has_no_self(company):
    assert "belongs to no person" in company.api().problem(403, TODAY).json()["detail"]


# --- visits --------------------------------------------------------------------------------------------------------------


def test_a_visit_that_nobody_stopped_is_stale(company):
    now = datetime.now(timezone.utc)
    fresh = company.session(company.appointment(), started_at=now - timedelta(hours=3))
    stale = company.session(company.appointment(), started_at=now - timedelta(hours=5))
    over = company.session(company.appointment(), started_at=now - timedelta(days=2), status="completed", audio_url="https://x/a", stopped_at=now)
    api = company.api()
    assert api.ids(SESSIONS) == [fresh, stale, over] and api.ids(SESSIONS, status="recording") == [fresh, stale]
    assert api.ids(SESSIONS, status="stale") == [stale] and [one["stale"] for one in api.list(SESSIONS)["items"]] == [False, True, False]


def test_one_visit_in_full(company):
    session_id = company.session(company.appointment(), status="completed", audio_url="https://x/secret", stopped_at=NOON + timedelta(hours=1))
    about = {"tenant": company.tenant, "session_id": session_id}
    company.insert("recording_transcripts", **about, provider="local", text="agent: hello", segments=[], speakers=1, words=1, source_time=NOON)
    company.insert("recording_analyses", **about, provider="rules", outcome="won", sentiment_score=0.5, summary="Sold.", source_time=NOON,
                   objections=[{"category": "price", "quote": "too dear"}])
    company.insert("session_recordings", **about, path="a/b.wav", bytes=4000, sha256="ab" * 32, format="wav", channels=1, sample_rate_hz=8000, duration_s=2)
    shown = company.api().get(f"{SESSIONS}/{session_id}")
    assert (shown["analysis"]["outcome"], shown["transcript"]["text"], shown["recording"]["format"]) == ("won", "agent: hello", "wav")
    assert "secret" not in json.dumps(shown) and company.api().list(SESSIONS)["items"][0]["analysis"] == shown["analysis"]


def test_how_far_a_visit_has_come(company):
    running = company.session(company.appointment())
    stopped = company.session(company.appointment(), status="completed", audio_url="https://x/a.wav", stopped_at=NOON + timedelta(hours=1))
    processing = lambda session_id: tuple(company.api().get(f"{SESSIONS}/{session_id}")["processing"].values())  # noqa: E731
    assert processing(running) == ("waiting", None, "the visit is not over")
    assert processing(stopped) == ("transcribing", None, None)
    company.handled(stopped, "transcribe", "visit.recorded", "rejected", "the recording is not at x any more", received_at=datetime.now(timezone.utc))
    assert processing(stopped) == ("failed", "transcribe", "the recording is not at x any more")
    about = {"tenant": company.tenant, "session_id": stopped}
    company.insert("recording_transcripts", **about, provider="local", text="agent: hello", segments=[], speakers=1, words=1, source_time=NOON)
    assert processing(stopped) == ("transcribed", None, None)


# --- CSV -----------------------------------------------------------------------------------------------------------------


def read_csv(answer):
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8; header=present" and answer.headers["Cache-Control"] == "no-store"
    text = answer.content.decode()
    assert text.endswith("\r\n") and "\n" not in text.replace("\r\n", "") or '"' in text
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("path", LISTS)
def test_every_list_comes_as_csv(company, path):
    made, api = one_of_each(company)
    found = read_csv(api.send("GET", path, Accept="text/csv"))
    assert [made[path] in one.values() for one in found] == [True]
    item = api.list(path)["items"][0]
    flat = [f"{name}_{inner}" for name, part in item.items() if isinstance(part, dict) for inner in part]
    assert set(flat) <= set(found[0]) and {name for name, part in item.items() if not isinstance(part, (dict, list, type(None)))} <= set(found[0])
    assert "text/csv" in OPENAPI["paths"][path]["get"]["responses"]["200"]["content"]


def test_an_empty_list_as_csv_has_its_names(company):
    answer = company.api().send("GET", LEADS, Accept="text/csv")
    assert answer.text.count("\r\n") == 1 and answer.text.startswith("lead_id,tenant,status,") and answer.headers["Total-Count"] == "0"
    assert answer.headers["Total-Is"] == "exact"
    assert "Next-Cursor" not in answer.headers


def test_csv_pages(company):
    made = [company.lead(created_at=NOON - timedelta(minutes=n)) for n in range(5)]
    found, parameters = [], {"limit": 2}
    while True:
        answer = company.api().send("GET", LEADS, parameters=parameters, Accept="text/csv")
        found += [one["lead_id"] for one in read_csv(answer)]
        assert answer.headers["Total-Count"] == "5"
        if "Next-Cursor" not in answer.headers:
            break
        parameters["cursor"] = answer.headers["Next-Cursor"]
    assert found == made


@pytest.mark.parametrize("text", ["=1+1", "+1 555", "-5", "@SUM(A1)", "\t=1", "=HYPERLINK(\"http://x\",\"y\")", "\uff1d1+1", "\uff20SUM(A1)"])
def test_what_a_spreadsheet_would_run_is_harmless(company, text):
    company.call(customer_name=text, customer_number="+15550100001")
    found = read_csv(company.api().send("GET", LIST, Accept="text/csv"))[0]
    assert found["customer_name"] == "'" + text and found["customer_number"] == "'+15550100001"


@pytest.mark.parametrize("separator", [";", "\t"])
def test_where_commas_are_other_signs_a_text_is_still_one_cell(company, separator):
    company.call(customer_name=f"Bo{separator}=1+1")
    text = company.api().send("GET", LIST, Accept="text/csv").text
    assert f'"Bo{separator}=1+1"' in text


def test_nasty_text_comes_back_from_csv(company):
    text = "say \"hi\", you;=1;\r\nand\n\"\"more, ünïcode \U0001F4DE"
    call_id = company.call(customer_name=text, duration_s=61, answered=True)
    company.transcript(call_id, "agent: hello")
    company.analysis(call_id, sentiment_score=-0.25, objections=[{"category": "price", "quote": text}])
    found = read_csv(company.api().send("GET", LIST, Accept="text/csv"))[0]
    assert (found["customer_name"], found["duration_s"], found["answered"], found["direction"]) == (text, "61", "true", "")
    assert found["analysis_sentiment_score"] == "-0.25" and json.loads(found["analysis_objections"]) == [{"category": "price", "quote": text}]
    assert found["processing_state"] == "analyzed"


@pytest.mark.parametrize(("accept", "is_csv"), [("text/csv", True), ("text/csv;q=0.5, application/json;q=0.1", True), ("*/*", False), ("", False),
                                                ("application/json, text/csv;q=0.9", False), ("application/xml", False)])
def test_csv_is_for_who_wants_it_more(company, accept, is_csv):
    assert company.api().send("GET", LEADS, Accept=accept).headers["Content-Type"].startswith("text/csv" if is_csv else "application/json")


def test_a_problem_stays_a_problem(company):
    answer = company.api().send("GET", LEADS, parameters={"limit": 0}, Accept="text/csv")
    assert answer.status_code == 422 and answer.headers["Content-Type"] == "application/problem+json"


# --- playback ------------------------------------------------------------------------------------------------------------

AUDIO = bytes(range(256)) * 4096


@pytest.fixture(scope="module")
def player(schema_ready, tmp_path_factory):
    """A daemon with recordings."""
    folder = tmp_path_factory.mktemp("player")
    daemon = Daemon("ingest", schema_ready, folder, RECORDINGS_DIR=str(folder / "recordings")).ready()
    daemon.recordings = folder / "recordings"
    daemon.recordings.mkdir()
    yield daemon
    assert daemon.stop() == 0


def copied(player, company, table, content=AUDIO, format="wav", **of):
    """A copy of the audio, as transcribe makes it."""
    path = f"{company.tenant}/{next(iter(of.values()))}.{format}"
    (player.recordings / path).parent.mkdir(exist_ok=True)
    (player.recordings / path).write_bytes(content)
    company.insert(table, tenant=company.tenant, **of, path=path, bytes=len(content), sha256=hashlib.sha256(content).hexdigest(),
                   format=format, channels=1, sample_rate_hz=8000, duration_s=1)


def recorded(player, company, **about):
    call_id = company.call()
    copied(player, company, "recordings", call_id=call_id, **about)
    return call_id


def play(player, api, call_id, path=LIST, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.get(f"{player.url}{path}/{call_id}/recording", headers={"Authorization": f"Bearer {api.token}", **headers}, timeout=30)


@pytest.mark.parametrize(("format", "content_type"), [("wav", "audio/wav"), ("mp3", "audio/mpeg"), ("flac", "audio/flac"), ("au", "audio/basic")])
def test_a_recording_is_played(player, company, format, content_type):
    answer = play(player, company.api(role="csr"), recorded(player, company, format=format))
    assert (answer.status_code, answer.content, answer.headers["Content-Type"]) == (200, AUDIO, content_type)
    assert (answer.headers["Accept-Ranges"], answer.headers["Cache-Control"]) == ("bytes", "no-store")


@pytest.mark.parametrize(("range", "first", "last"), [("bytes=0-0", 0, 0), ("bytes=0-65535", 0, 65535), ("bytes=100-", 100, len(AUDIO) - 1),
                                                      ("bytes=-10", len(AUDIO) - 10, len(AUDIO) - 1), ("bytes=5-99999999999", 5, len(AUDIO) - 1),
                                                      ("bytes=-99999999999", 0, len(AUDIO) - 1), ("Bytes=1-2", 1, 2)])
def test_parts_of_it_as_players_ask_for_them(player, company, range, first, last):
    answer = play(player, company.api(), recorded(player, company), Range=range)
    assert (answer.status_code, answer.content) == (206, AUDIO[first:last + 1])
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(AUDIO)}"


@pytest.mark.parametrize("range", ["bytes=", "bytes=-", "bytes=5-4", "bytes=0-1,5-6", "seconds=0-1", "bytes=a-b", "bytes=1", "bytes=99999999999999999999-"])
def test_a_range_that_is_none_gets_all(player, company, range):
    answer = play(player, company.api(), recorded(player, company), Range=range)
    assert (answer.status_code, len(answer.content)) == (200, len(AUDIO))


@pytest.mark.parametrize("range", [f"bytes={len(AUDIO)}-", "bytes=-0", "bytes=999999999-"])
def test_a_range_outside(player, company, range):
    answer = play(player, company.api(), recorded(player, company), Range=range)
    assert answer.status_code == 416 and answer.headers["Content-Range"] == f"bytes */{len(AUDIO)}"
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_part_is_of_the_same_recording(player, company):
    call_id, api = recorded(player, company), company.api()
    tag = play(player, api, call_id).headers["ETag"]
    assert play(player, api, call_id, Range="bytes=0-9", If_Range=tag).status_code == 206
    assert play(player, api, call_id, Range="bytes=0-9", If_Range='"another"').status_code == 200


def test_another_companys_recording_is_not_there(player, company, other):
    call_id = recorded(player, other)
    foreign, absent = play(player, company.api(), call_id), play(player, company.api(), "nothing")
    assert foreign.status_code == absent.status_code == 404 and foreign.content == absent.content
    assert play(player, company.api(role="platform"), call_id).content == AUDIO
    assert play(player, company.api(role="station"), call_id).status_code == 403
    assert requests.get(f"{player.url}{LIST}/{call_id}/recording", timeout=30).status_code == 401


def test_a_visit_is_played_to_who_may_hear_it(player, company, other):
    (rep_id, rep), (_, another) = company.user(), company.user()
    session_id = company.session(company.appointment(assigned_rep_id=rep_id), rep_user_id=rep_id)
    copied(player, company, "session_recordings", session_id=session_id, format="mp3")
    for api in (rep, company.api(role="exec"), company.api(role="admin"), company.api(role="owner"), other.api(role="platform")):
        answer = play(player, api, session_id, SESSIONS)
        assert (answer.status_code, answer.content, answer.headers["Content-Type"]) == (200, AUDIO, "audio/mpeg")
    assert play(player, rep, session_id, SESSIONS, Range="bytes=5-9").content == AUDIO[5:10]
    absent = play(player, rep, uuid.uuid4(), SESSIONS)
    for api in (another, company.api(role="rep"), other.api(), other.user()[1]):
        foreign = play(player, api, session_id, SESSIONS)
        assert (foreign.status_code, foreign.content) == (absent.status_code, absent.content) and absent.status_code == 404
    assert [play(player, company.api(role=role), session_id, SESSIONS).status_code for role in ("csr", "station")] == [403, 403]
    assert play(player, rep, "x", SESSIONS).status_code == 404


def test_a_path_leads_nowhere_else(player, company):
    outside = player.recordings.parent / "outside.wav"
    outside.write_bytes(b"secret")
    (player.recordings / "link.wav").symlink_to(outside)
    for path in ("../outside.wav", str(outside), "link.wav", f"{company.tenant}/../../outside.wav", ".", ""):
        (player.recordings / company.tenant).mkdir(exist_ok=True)
        call_id = company.call()
        company.insert("recordings", tenant=company.tenant, call_id=call_id, path=path, bytes=1, sha256="ab" * 32, format="wav", channels=1,
                       sample_rate_hz=8000, duration_s=1)
        answer = play(player, company.api(), call_id)
        assert answer.status_code == 404 and b"secret" not in answer.content, path


def test_a_copy_that_is_gone(player, company):
    call_id = recorded(player, company)
    (player.recordings / company.tenant / f"{call_id}.wav").unlink()
    answer = play(player, company.api(), call_id)
    assert answer.status_code == 404 and "not there any more" in answer.json()["detail"]


def test_a_slow_listener_is_served_and_one_who_stops_is_left(schema_ready, company, tmp_path):
    """The deadline begins anew with each piece: who takes one now and then gets all; who takes none holds nothing for long."""
    import socket
    import time
    daemon = Daemon("ingest", schema_ready, tmp_path, RECORDINGS_DIR=str(tmp_path / "recordings"), INGEST_REQUEST_DEADLINE="1s").ready()
    daemon.recordings = tmp_path / "recordings"
    daemon.recordings.mkdir()
    content = AUDIO * 24
    call_id, api = recorded(daemon, company, content=content), Api(daemon.url, company.token())

    def ask():
        connection = socket.create_connection(("127.0.0.1", daemon.port))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.sendall(f"GET {LIST}/{call_id}/recording HTTP/1.0\r\nAuthorization: Bearer {api.token}\r\n\r\n".encode())
        return connection

    slow, got, began = ask(), 0, time.monotonic()
    while chunk := slow.recv(1 << 20):
        got += len(chunk)
        if time.monotonic() - began < 2.5:
            time.sleep(0.01)
    assert got > len(content) and time.monotonic() - began > 1.5
    stopped = ask()
    time.sleep(3)
    got = 0
    try:
        while chunk := stopped.recv(1 << 20):
            got += len(chunk)
    except ConnectionError:
        pass
    assert got < len(content)
    assert daemon.stop() == 0
