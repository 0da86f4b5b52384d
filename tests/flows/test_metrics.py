"""The figures of CSRs and reps, as SQL functions: a small data set counted by hand, and random ones against an independent count.

What the API makes of them stands in test_api_metrics.py."""

import json
import random
import threading
import uuid
from collections import Counter, defaultdict
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

ANALYSIS = {"provider": "rules", "lead_qualification": "cold", "booking_status": "not_booked", "call_outcome_category": "other",
            "sentiment_score": 0, "summary": "Something was said.", "source_time": datetime(2026, 1, 1, tzinfo=timezone.utc)}
FIGURES = {"total_calls": 0, "answered_calls": 0, "missed_calls": 0, "booked_calls": 0, "booking_rate": 0,
           "qualified_calls": {"hot": 0, "warm": 0, "cold": 0}, "qualification_rate": 0, "mean_sentiment": None, "mean_sop_score": None}
SALES = {"appointments_today": 0, "appointments_ahead": 0, "appointments": 0, "visits": 0, "won": 0, "lost": 0, "pending": 0, "win_rate": 0}


class Company:
    """A tenant of one test, the rows it puts there, and what the API's role is told of them."""

    def __init__(self, environment, time_zone="UTC"):
        self.environment = environment
        self.connection = psycopg.connect(environment.database_url, autocommit=True, row_factory=dict_row)
        self.tenant = "metrics-" + uuid.uuid4().hex[:10]
        self.insert("companies", tenant=self.tenant, name="Test", time_zone=time_zone)

    def run(self, statement, *parameters):
        return self.connection.execute(statement, parameters)

    def insert(self, table, **values):
        values = {name: Jsonb(value) if isinstance(value, (list, dict)) else value for name, value in values.items()}
        self.run(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(['%s'] * len(values))})", *values.values())

    def user(self, name, role="csr"):
        user_id = f"{self.tenant}-{name.lower()}"
        self.insert("users", tenant=self.tenant, email=f"{name.lower()}@acme.test", user_id=user_id, name=name, role=role)
        return user_id

    def call(self, at, status="completed", csr=None, analysis=None, source="callrail"):
        call_id = "CAL" + uuid.uuid4().hex
        self.insert("calls", tenant=self.tenant, call_id=call_id, source=source, status=status, started_at=at, csr_user_id=csr)
        if analysis is not None:
            self.insert("call_analyses", tenant=self.tenant, call_id=call_id, **{**ANALYSIS, **analysis})
        return call_id

    def appointment(self, at, rep=None, status="scheduled", outcome="pending", call_id=None, **about):
        appointment_id = uuid.uuid4()
        self.insert("appointments", tenant=self.tenant, appointment_id=appointment_id, call_id=call_id, scheduled_start=at, assigned_rep_id=rep,
                    status=status, outcome=outcome, source_time=ANALYSIS["source_time"], **about)
        return appointment_id

    def visit(self, appointment_id, at, rep=None):
        self.insert("recording_sessions", tenant=self.tenant, session_id=uuid.uuid4(), appointment_id=appointment_id, rep_user_id=rep,
                    started_at=at, status="failed")

    def told(self, function, *parameters, session=None, person=""):
        """By the role that the API has, in a session of this company."""
        with psycopg.connect(self.environment.database_url) as connection:
            connection.execute("SELECT set_config('role', 'switchboard_api', true), set_config('switchboard.tenant', %s, true),"
                               " set_config('switchboard.person', %s, true)", [self.tenant if session is None else session, person])
            places = ", ".join(["%s"] * len(parameters))
            answer = connection.execute(f"SELECT {function}({places})::text", parameters).fetchone()[0]
        return json.loads(answer) if answer else None

    def csrs(self, first=None, last=None):
        return self.told("csr_overview_all", None, first, last)

    def csr(self, user, first=None, last=None):
        return self.told("csr_overview_self", None, user, first, last)

    def sales(self, first=None, last=None):
        return self.told("sales_overview_all", None, first, last)


@pytest.fixture
def company(schema_ready):
    companies = []

    def make(time_zone="UTC"):
        companies.append(Company(schema_ready, time_zone))
        return companies[-1]
    yield make
    for one in companies:
        one.connection.close()


def at(text):
    return datetime.fromisoformat(text)


# --- counted by hand -------------------------------------------------------------------------------------------------------


def test_an_empty_company_has_zeros(company):
    acme = company("America/New_York")
    today = datetime.now(ZoneInfo("America/New_York")).date()
    first = today - timedelta(days=29)
    overview = acme.csrs()
    assert {name: overview[name] for name in ("tenant", "time_zone", "from", "to")} == {
        "tenant": acme.tenant, "time_zone": "America/New_York", "from": str(first), "to": str(today)}
    assert {name: overview[name] for name in FIGURES} == FIGURES
    assert overview["top_objections"] == [] and overview["csrs"] == [{"user_id": None, "name": "unattributed", **FIGURES}]
    assert [day["day"] for day in overview["daily_trend"]] == [str(first + timedelta(days=n)) for n in range(30)]
    assert all(set(day.values()) == {0, day["day"]} for day in overview["daily_trend"])
    sales = acme.sales()
    assert {name: sales[name] for name in SALES} == SALES and len(sales["daily_trend"]) == 30
    assert sales["reps"] == [{"user_id": None, "name": "unassigned", **SALES}]
    ana = acme.user("Ana")
    assert {name: acme.csr(ana)[name] for name in FIGURES} == FIGURES and acme.csr(ana)["name"] == "Ana"


def test_calls_counted_by_hand(company):
    """Two days in New York, on the second of which the clocks go back: it is 25 hours long."""
    acme = company("America/New_York")
    ana, ben = acme.user("Ana"), acme.user("Ben")
    price, timing = ({"category": kind, "quote": kind} for kind in ("price", "timing"))
    acme.call(at("2026-10-31T03:59:59+00:00"), csr=ana)                         # the last second of the day before
    acme.call(at("2026-10-31T04:00:00+00:00"), csr=ana, analysis={              # its first
        "lead_qualification": "hot", "booking_status": "booked", "sentiment_score": 0.5, "sop_score": 1, "objections": [price, price]})
    acme.call(at("2026-11-01T03:30:00+00:00"), csr=ben, analysis={              # 23:30 of the first day
        "lead_qualification": "warm", "sentiment_score": -0.25, "sop_score": 0.5, "objections": [timing, price]})
    acme.call(at("2026-11-02T04:59:59+00:00"), csr=ben, analysis={"sentiment_score": 0.1})          # the last second of the second
    acme.call(at("2026-11-02T05:00:00+00:00"), csr=ana)                         # the day after
    acme.call(at("2026-11-01T05:30:00+00:00"), "missed")
    acme.call(at("2026-11-01T05:31:00+00:00"), "missed", analysis={"lead_qualification": "hot", "call_outcome_category": "voicemail"})
    acme.call(at("2026-11-01T05:32:00+00:00"), "ringing")
    acme.call(at("2026-11-01T05:33:00+00:00"), "in_progress", csr=ana)
    acme.call(at("2026-11-01T05:34:00+00:00"), csr=ana, source="twilio")        # not a CSR's
    overview = acme.csrs("2026-10-31", "2026-11-01")
    assert {name: overview[name] for name in FIGURES} == {
        "total_calls": 7, "answered_calls": 4, "missed_calls": 2, "booked_calls": 1, "booking_rate": 0.25,
        "qualified_calls": {"hot": 2, "warm": 1, "cold": 1}, "qualification_rate": 0.75, "mean_sentiment": 0.0875, "mean_sop_score": 0.75}
    assert overview["top_objections"] == [{"category": "price", "calls": 2}, {"category": "timing", "calls": 1}]
    assert overview["daily_trend"] == [
        {"day": "2026-10-31", "total_calls": 2, "answered_calls": 2, "missed_calls": 0, "booked_calls": 1},
        {"day": "2026-11-01", "total_calls": 5, "answered_calls": 2, "missed_calls": 2, "booked_calls": 0}]
    rows = {row["name"]: row for row in overview["csrs"]}
    assert [row["name"] for row in overview["csrs"]] == ["Ana", "Ben", "unattributed"]
    assert {name: rows["Ana"][name] for name in ("total_calls", "booked_calls", "booking_rate", "mean_sentiment", "mean_sop_score")} == {
        "total_calls": 2, "booked_calls": 1, "booking_rate": 0.5, "mean_sentiment": 0.5, "mean_sop_score": 1}
    assert {name: rows["Ben"][name] for name in ("total_calls", "booking_rate", "qualification_rate", "mean_sentiment")} == {
        "total_calls": 2, "booking_rate": 0, "qualification_rate": 0.5, "mean_sentiment": -0.075}
    assert (rows["unattributed"]["total_calls"], rows["unattributed"]["missed_calls"], rows["unattributed"]["user_id"]) == (3, 2, None)
    own = acme.csr(ben, "2026-10-31", "2026-11-01")
    assert {name: own[name] for name in FIGURES} == {name: rows["Ben"][name] for name in FIGURES}
    assert own["top_objections"] == [{"category": "price", "calls": 1}, {"category": "timing", "calls": 1}] and "csrs" not in own
    assert [day["total_calls"] for day in own["daily_trend"]] == [1, 1]


def test_appointments_and_visits_counted_by_hand(company):
    acme = company("Europe/Berlin")
    ana, ben = acme.user("Ana", "rep"), acme.user("Ben", "rep")
    won = acme.appointment(at("2026-03-28T23:30:00+01:00"), ana, "completed", "won")
    lost = acme.appointment(at("2026-03-29T00:30:00+01:00"), ana, "completed", "lost")  # the day on which an hour is missing
    acme.appointment(at("2026-03-29T23:59:59+02:00"), ben)
    acme.appointment(at("2026-03-30T00:00:00+02:00"), ben, "completed", "won")          # the day after
    acme.appointment(at("2026-03-29T12:00:00+02:00"), ben, "cancelled")
    acme.appointment(None, created_at=at("2026-03-28T12:00:00+01:00"))                  # without an agreed time, and nobody's
    acme.visit(won, at("2026-03-28T23:31:00+01:00"), ana)
    acme.visit(lost, at("2026-03-29T00:31:00+01:00"), ana)
    overview = acme.sales("2026-03-28", "2026-03-29")
    assert {name: overview[name] for name in SALES} == {
        "appointments_today": 0, "appointments_ahead": 0, "appointments": 5, "visits": 2, "won": 1, "lost": 1, "pending": 2, "win_rate": 0.5}
    assert overview["daily_trend"] == [
        {"day": "2026-03-28", "appointments": 2, "visits": 1, "won": 1, "lost": 0, "pending": 1},
        {"day": "2026-03-29", "appointments": 3, "visits": 1, "won": 0, "lost": 1, "pending": 1}]
    assert [(row["name"], row["appointments"], row["visits"], row["won"], row["win_rate"]) for row in overview["reps"]] == [
        ("Ana", 2, 2, 1, 0.5), ("Ben", 2, 0, 0, 0), ("unassigned", 1, 0, 0, 0)]
    assert acme.told("sales_overview_self", None, ben, "2026-03-28", "2026-03-30")["win_rate"] == 1


def test_today_and_ahead_are_the_companys_own_days(company):
    """At the same moment it is another day in Kiritimati than in Pago Pago."""
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        acme = company(zone)
        ana = acme.user("Ana", "rep")
        midnight = datetime.now(ZoneInfo(zone)).replace(hour=0, minute=0, second=0, microsecond=0)
        for hours in (-1, 0, 23, 24, 72):
            acme.appointment(midnight + timedelta(hours=hours), ana)
        acme.appointment(midnight + timedelta(hours=1), ana, "cancelled")
        acme.appointment(midnight + timedelta(hours=30), ana, "no_show")
        acme.appointment(midnight + timedelta(hours=5), None, "completed", "won")
        overview = acme.sales()
        assert (overview["appointments_today"], overview["appointments_ahead"]) == (3, 2), zone
        assert [(row["name"], row["appointments_today"], row["appointments_ahead"]) for row in overview["reps"]] == [
            ("Ana", 2, 2), ("unassigned", 1, 0)]


def test_days_that_are_not_named_make_it_thirty(company):
    acme = company()
    today = datetime.now(timezone.utc).date()
    for first, last, expected in (
            (None, None, (today - timedelta(days=29), today)), ("2026-02-03", "2026-02-03", (date(2026, 2, 3), date(2026, 2, 3))),
            (None, "2026-03-01", (date(2026, 1, 31), date(2026, 3, 1))), (str(today - timedelta(days=5)), None, (today - timedelta(days=5), today)),
            (str(today + timedelta(days=5)), None, (today + timedelta(days=5),) * 2)):
        overview = acme.csrs(first, last)
        assert (overview["from"], overview["to"]) == tuple(map(str, expected))
        assert len(overview["daily_trend"]) == (expected[1] - expected[0]).days + 1


# --- who may see what ------------------------------------------------------------------------------------------------------


def test_a_session_sees_its_own_company_alone(company):
    acme, other = company(), company()
    bo = other.user("Bo")
    other.call(datetime.now(timezone.utc), csr=bo)
    assert acme.told("csr_overview_all", other.tenant, None, None) is None
    assert acme.told("sales_overview_all", other.tenant, None, None) is None
    assert acme.told("csr_overview_self", None, bo, None, None) is None
    assert acme.told("csr_overview_all", acme.tenant, None, None)["total_calls"] == 0
    assert acme.told("csr_overview_all", None, None, None, session="") is None
    assert acme.told("csr_overview_all", None, None, None, session="*") is None, "who sees all has to say which"
    assert acme.told("csr_overview_all", other.tenant, None, None, session="*")["total_calls"] == 1
    for direct in ("SELECT total_calls FROM csr_days", "SELECT visits FROM rep_days", "SELECT calls FROM objection_days",
                   "SELECT visits FROM rep_months", "SELECT visits FROM trend_days", "SELECT csr_totals('x', NULL, '2026-01-01', '2026-01-02')",
                   "SELECT metrics_recount(NULL)", "SELECT rep_counts('x', '2026-01-01', '2026-01-02')",
                   "SELECT calls_found('x', '*', NULL, NULL, NULL, NULL, NULL, NULL)"):
        with psycopg.connect(acme.environment.database_url) as connection:
            connection.execute("SET ROLE switchboard_api")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(direct)


# --- against an independent count ------------------------------------------------------------------------------------------

ZONES = ("UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "America/Santiago", "Africa/Casablanca",
         "America/Havana")
# around changes of clocks, by half an hour and by one, forward and back
MOMENTS = ("2026-03-08T07:00", "2026-03-29T01:00", "2026-04-04T15:00", "2026-04-05T04:00", "2026-10-03T15:30", "2026-10-25T01:00",
           "2026-11-01T06:00", "2026-02-15T02:00")


def share(part, whole):
    return part / whole if whole else 0


def figures_of(calls):
    analysed = [call for call in calls if call["lead_qualification"]]
    kinds = Counter(call["lead_qualification"] for call in analysed)
    scores = [call["sop_score"] for call in analysed if call["sop_score"] is not None]
    answered = sum(call["status"] in ("in_progress", "completed") for call in calls)
    booked = sum(call["booking_status"] == "booked" for call in calls)
    return {"total_calls": len(calls), "answered_calls": answered, "missed_calls": sum(call["status"] == "missed" for call in calls),
            "booked_calls": booked, "booking_rate": share(booked, answered),
            "qualified_calls": {kind: kinds[kind] for kind in ("hot", "warm", "cold")},
            "qualification_rate": share(kinds["hot"] + kinds["warm"], len(analysed)),
            "mean_sentiment": share(sum(call["sentiment_score"] for call in analysed), len(analysed)) if analysed else None,
            "mean_sop_score": share(sum(scores), len(scores)) if scores else None}


def objections_of(calls):
    raised = Counter(kind for call in calls for kind in {objection["category"] for objection in call["objections"] or []})
    return [{"category": kind, "calls": count} for kind, count in sorted(raised.items(), key=lambda one: (-one[1], one[0]))][:10]


def local_day(moment, zone):
    return moment.astimezone(ZoneInfo(zone)).date()


def days_of(first, last):
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def agree(found, expected, where=""):
    """The same, numbers to the four digits that are told."""
    if isinstance(expected, dict):
        assert set(expected) <= set(found), where
        for name in expected:
            agree(found[name], expected[name], f"{where}.{name}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), (where, found, expected)
        for number, value in enumerate(expected):
            agree(found[number], value, f"{where}[{number}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=6e-5), where
    else:
        assert found == expected, where


def calls_agree(acme, first, last):
    zone, = acme.run("SELECT time_zone FROM companies WHERE tenant = %s", acme.tenant).fetchone().values()
    rows = acme.run("SELECT c.call_at, c.status, c.csr_user_id, a.booking_status, a.lead_qualification, a.sentiment_score, a.sop_score, a.objections"
                    " FROM calls c LEFT JOIN call_analyses a USING (tenant, call_id) WHERE c.tenant = %s AND c.source = 'callrail'",
                    acme.tenant).fetchall()
    by_day = defaultdict(list)
    for row in rows:
        by_day[local_day(row["call_at"], zone)].append(row)
    days = days_of(first, last)
    calls = [row for day in days for row in by_day[day]]
    overview = acme.csrs(str(first), str(last))
    agree(overview, figures_of(calls))
    agree(overview["top_objections"], objections_of(calls))
    agree(overview["daily_trend"], [{"day": str(day), **{name: figures_of(by_day[day])[name] for name in (
        "total_calls", "answered_calls", "missed_calls", "booked_calls")}} for day in days])
    named = {row["user_id"]: row["name"] for row in acme.run("SELECT user_id, name FROM users WHERE tenant = %s", acme.tenant).fetchall()}
    people = sorted({row["csr_user_id"] for row in calls if row["csr_user_id"]} | {
        row["user_id"] for row in acme.run("SELECT user_id FROM users WHERE tenant = %s AND role = 'csr'", acme.tenant).fetchall()},
        key=lambda user: named[user])
    agree(overview["csrs"], [{"user_id": user, "name": named.get(user, "unattributed"), **figures_of(
        [row for row in calls if row["csr_user_id"] == user])} for user in [*people, None]])
    totals_agree(acme, zone, first, last)
    for user in people[:1]:
        own = [row for row in calls if row["csr_user_id"] == user]
        agree(acme.csr(user, str(first), str(last)), {**figures_of(own), "top_objections": objections_of(own)})


def totals_agree(acme, zone, first, last):
    """How many rows the lists say there are, of calls from anywhere."""
    rows = [row for row in acme.run("SELECT call_at, status, callback_done_at FROM calls WHERE tenant = %s", acme.tenant).fetchall()
            if first <= local_day(row["call_at"], zone) <= last]
    missed = [row for row in rows if row["status"] == "missed"]
    told = lambda *about: acme.told("calls_total", str(first), str(last), *about)  # noqa: E731
    assert told(None, None) == len(rows) and told("missed", None) == len(missed)
    assert told(None, "open") == sum(row["callback_done_at"] is None for row in missed)
    assert told("missed", "done") == sum(row["callback_done_at"] is not None for row in missed) and told("completed", "open") == 0


def sales_agree(acme, first, last):
    zone, = acme.run("SELECT time_zone FROM companies WHERE tenant = %s", acme.tenant).fetchone().values()
    made, visits = defaultdict(list), Counter()
    for row in acme.run("SELECT * FROM appointments WHERE tenant = %s", acme.tenant).fetchall():
        made[local_day(row["scheduled_start"] or row["created_at"], zone)].append(row)
    for row in acme.run("SELECT * FROM recording_sessions WHERE tenant = %s", acme.tenant).fetchall():
        visits[local_day(row["started_at"], zone), row["rep_user_id"]] += 1
    days = days_of(first, last)

    def figures(rows, visited):
        won, lost = (sum(row["outcome"] == outcome for row in rows) for outcome in ("won", "lost"))
        pending = sum(row["outcome"] == "pending" and row["status"] not in ("cancelled", "no_show") for row in rows)
        return {"appointments": len(rows), "visits": visited, "won": won, "lost": lost, "pending": pending}

    rows = [row for day in days for row in made[day]]
    all_figures = figures(rows, sum(visits[key] for key in visits if key[0] in days))
    overview = acme.sales(str(first), str(last))
    agree(overview, {**all_figures, "win_rate": share(all_figures["won"], all_figures["won"] + all_figures["lost"])})
    agree(overview["daily_trend"], [{"day": str(day), **figures(made[day], sum(visits[key] for key in visits if key[0] == day))} for day in days])
    for person in overview["reps"]:
        of_person = [row for row in rows if row["assigned_rep_id"] == person["user_id"]]
        agree(person, figures(of_person, sum(visits[key] for key in visits if key[0] in days and key[1] == person["user_id"])))
    assert sum(person["appointments"] for person in overview["reps"]) == len(rows)


def lists_agree(acme):
    """How many appointments and visits there are, for the company and for one whose own they are."""
    for total, table, column in (("appointments_total", "appointments", "assigned_rep_id"), ("visits_total", "recording_sessions", "rep_user_id")):
        owners = Counter(row["owner"] for row in acme.run(f"SELECT {column} AS owner FROM {table} WHERE tenant = %s", acme.tenant).fetchall())
        assert acme.told(total) == owners.total()
        for person in [owner for owner in owners if owner][:2] + ["nobody"]:
            assert acme.told(total, person=person) == owners[person] + owners[None]


class Chance:
    """Random rows and changes, the same for the same seed."""

    def __init__(self, acme, seed):
        self.acme, self.random = acme, random.Random(seed)
        self.csrs = [acme.user(name) for name in ("Ana", "Ben")] + [acme.user("Max", "admin")]
        self.reps = [acme.user(name, "rep") for name in ("Rob", "Sue")]
        self.calls, self.appointments = [], []

    def moment(self):
        around = datetime.fromisoformat(self.random.choice(MOMENTS)).replace(tzinfo=timezone.utc)
        return around + timedelta(seconds=self.random.randint(-36 * 3600, 36 * 3600))

    def one_of(self, *values):
        return self.random.choice(values)

    def analysis(self):
        kinds = self.random.sample(["price", "timing", "trust", "need", "other"], self.random.randint(0, 3))
        return {"lead_qualification": self.one_of("hot", "warm", "cold"), "booking_status": self.one_of("booked", "not_booked", "service_not_offered"),
                "sentiment_score": round(self.random.uniform(-1, 1), 3), "sop_score": self.one_of(None, 0, 1, round(self.random.random(), 3)),
                "objections": [{"category": kind, "quote": "x"} for kind in kinds + kinds[:1]]}

    def act(self):
        acme, chance = self.acme, self.random.random()
        if chance < 0.35 or not self.calls:
            self.calls.append(acme.call(self.moment(), self.one_of("ringing", "in_progress", "completed", "missed"), self.one_of(None, *self.csrs),
                                        self.one_of(None, self.analysis()), self.one_of("callrail", "callrail", "callrail", "twilio")))
        elif chance < 0.45:
            acme.run("UPDATE calls SET started_at = %s WHERE tenant = %s AND call_id = %s", self.one_of(None, self.moment()), acme.tenant,
                     self.one_of(*self.calls))
        elif chance < 0.55:
            acme.run("UPDATE calls SET csr_user_id = %s, status = CASE status WHEN 'ringing' THEN 'completed' ELSE status END WHERE call_id = %s",
                     self.one_of(None, *self.csrs), self.one_of(*self.calls))
        elif chance < 0.7:
            changed = self.analysis()
            acme.run("UPDATE call_analyses SET lead_qualification = %s, booking_status = %s, sentiment_score = %s, sop_score = %s, objections = %s"
                     " WHERE call_id = %s", *[Jsonb(value) if isinstance(value, list) else value for value in changed.values()],
                     self.one_of(*self.calls))
        elif chance < 0.72:
            acme.run("UPDATE calls SET callback_done_at = %s WHERE call_id = %s", self.one_of(None, self.moment()), self.one_of(*self.calls))
        elif chance < 0.75:
            acme.run("DELETE FROM call_analyses WHERE call_id = %s", self.one_of(*self.calls))
        elif chance < 0.9 or not self.appointments:
            self.appointments.append(acme.appointment(
                self.one_of(None, self.moment()), self.one_of(None, *self.reps), self.one_of("scheduled", "completed", "cancelled", "no_show"),
                self.one_of("won", "lost", "pending"), created_at=self.moment()))
        elif chance < 0.95:
            acme.visit(self.one_of(*self.appointments), self.moment(), self.one_of(None, *self.reps))
        else:
            acme.run("UPDATE appointments SET outcome = %s, status = %s, assigned_rep_id = %s, scheduled_start = %s WHERE appointment_id = %s",
                     self.one_of("won", "lost", "pending"), self.one_of("scheduled", "cancelled"), self.one_of(None, *self.reps),
                     self.one_of(None, self.moment()), self.one_of(*self.appointments))


def all_agree(acme, chance):
    for moment in MOMENTS:
        day = datetime.fromisoformat(moment).date()
        first = day - timedelta(days=chance.randint(0, 3))
        calls_agree(acme, first, first + timedelta(days=chance.randint(0, 6)))
    for days in (chance.randint(20, 40), chance.randint(60, 250)):      # within a month or two, and with whole ones between
        first = date(2026, 1, 31) + timedelta(days=chance.randint(0, 60))
        calls_agree(acme, first, first + timedelta(days=days))
        sales_agree(acme, first, first + timedelta(days=days))
    year = date(2026, 1, 1), date(2026, 12, 31)
    calls_agree(acme, *year)
    sales_agree(acme, *year)
    lists_agree(acme)


@pytest.mark.parametrize("seed", range(4))
def test_random_rows_and_changes_agree_with_an_independent_count(company, seed):
    acme = company(random.Random(seed).choice(ZONES))
    chance = Chance(acme, seed)
    for _ in range(150):
        chance.act()
    all_agree(acme, chance.random)
    acme.run("UPDATE companies SET time_zone = %s WHERE tenant = %s", chance.one_of(*ZONES), acme.tenant)
    all_agree(acme, chance.random)
    for _ in range(30):
        chance.act()
    all_agree(acme, chance.random)


def test_whoever_counts_at_once_the_figures_are_those_of_the_rows(company):
    """Calls and what was understood of them change in different transactions at the same time, and the time zone, too."""
    acme = company("America/New_York")
    chance = Chance(acme, 7)
    while len(chance.calls) < 12:
        chance.act()
    for call_id in chance.calls:
        acme.run("INSERT INTO call_analyses (tenant, call_id, provider, lead_qualification, booking_status, call_outcome_category, sentiment_score,"
                 " summary, source_time) VALUES (%s, %s, 'rules', 'cold', 'not_booked', 'other', 0, '', now()) ON CONFLICT DO NOTHING",
                 acme.tenant, call_id)

    def change(seed):
        mine = random.Random(seed)
        with psycopg.connect(acme.environment.database_url, autocommit=True) as connection:
            for number in range(60):
                calls = sorted(mine.sample(chance.calls, 3))
                try:
                    with connection.transaction():
                        for call_id in calls:
                            if seed % 2:
                                connection.execute("UPDATE calls SET csr_user_id = %s, started_at = %s WHERE call_id = %s",
                                                   [mine.choice([None, *chance.csrs]), chance.moment(), call_id])
                            else:
                                connection.execute("UPDATE call_analyses SET sentiment_score = %s, lead_qualification = %s WHERE call_id = %s",
                                                   [mine.random(), mine.choice(["hot", "warm", "cold"]), call_id])
                    if seed == 1 and number % 20 == 0:
                        connection.execute("UPDATE companies SET time_zone = %s WHERE tenant = %s", [mine.choice(ZONES), acme.tenant])
                except psycopg.errors.DeadlockDetected:
                    pass                # as a stage would, it goes on

    threads = [threading.Thread(target=change, args=[seed]) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    all_agree(acme, chance.random)
    lanes = acme.run("SELECT count(DISTINCT lane) AS lanes FROM csr_days WHERE tenant = %s", acme.tenant).fetchone()["lanes"]
    assert lanes > 1, "they did count at once"


def test_a_day_begins_at_its_first_midnight(company):
    """Havana's clocks go back from one o'clock to midnight, Santiago's forward from midnight to one."""
    acme = company()
    for zone in ZONES:
        for day in days_of(date(2026, 1, 1), date(2026, 12, 31))[::(1 if zone in ("America/Havana", "America/Santiago") else 30)]:
            first = acme.run("SELECT day_begins(%s, %s) AS at", day, zone).fetchone()["at"]
            assert local_day(first, zone) == day and local_day(first - timedelta(microseconds=1), zone) == day - timedelta(days=1), (zone, day)


def test_leads_are_counted_by_what_they_are(company):
    acme, other = company(), company()
    contact, leads = uuid.uuid4(), [uuid.uuid4() for _ in range(3)]
    acme.insert("contact_cards", tenant=acme.tenant, contact_id=contact, phone="+12025550100")
    for lead in leads:
        acme.insert("leads", tenant=acme.tenant, lead_id=lead, contact_id=contact, status="closed")
    assert acme.told("leads_total", None) == acme.told("leads_total", ["closed", "new"]) == 3 and acme.told("leads_total", ["hot"]) == 0
    acme.run("UPDATE leads SET status = 'hot' WHERE lead_id = %s", leads[0])
    acme.run("DELETE FROM leads WHERE lead_id = %s", leads[1])
    assert [acme.told("leads_total", statuses) for statuses in (None, ["hot"], ["closed"])] == [2, 1, 1]
    acme.run("SELECT metrics_recount(%s)", acme.tenant)
    assert [acme.told("leads_total", statuses) for statuses in (None, ["hot"], ["closed"])] == [2, 1, 1]
    assert other.told("leads_total", None) == 0 and other.told("leads_total", None, session="*") >= 2


def test_calls_that_go_home_are_counted_there(company):
    acme, number = company("Asia/Kolkata"), "+1202" + str(2_000_000 + uuid.uuid4().int % 7_999_999)
    moment = at("2026-05-05T20:00:00+00:00")            # the next day already in Kolkata
    call_id = "CAL" + uuid.uuid4().hex
    acme.insert("calls", tenant="unassigned", call_id=call_id, source="callrail", status="completed", started_at=moment, tracking_number=number)
    acme.insert("call_analyses", tenant="unassigned", call_id=call_id, **{**ANALYSIS, "lead_qualification": "hot", "sentiment_score": 0.5})
    acme.insert("appointments", tenant="unassigned", appointment_id=uuid.uuid4(), call_id=call_id, scheduled_start=moment, source_time=moment)

    def counted(tenant):
        calls = acme.told("csr_overview_all", tenant, "2026-05-05", "2026-05-06", session="*")
        sales = acme.told("sales_overview_all", tenant, "2026-05-05", "2026-05-06", session="*")
        return [day["total_calls"] for day in calls["daily_trend"]], calls["qualified_calls"]["hot"], calls["mean_sentiment"], sales["pending"]

    before = counted("unassigned")
    assert before[0][0] >= 1 and before[3] >= 1
    acme.run("SELECT number_assign(%s, %s, NULL)", number, acme.tenant)
    assert counted(acme.tenant) == ([0, 1], 1, 0.5, 1)
    after = counted("unassigned")
    assert (after[0][0], after[1], after[3]) == (before[0][0] - 1, before[1] - 1, before[3] - 1)
