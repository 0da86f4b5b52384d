"""GET /api/v1/metrics/…: who sees whose figures, of which days, and that they follow what changes.  That they are right: test_metrics.py."""

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from api_client import NOON, Company, ask_raw
from api_client import company, ingest, other  # noqa: F401 (fixtures)
from environment import wait_until
from test_api import INJECTIONS

CSR, CSRS = "/api/v1/metrics/csr/overview/self", "/api/v1/metrics/exec/csr/overview"
REP, REPS = "/api/v1/metrics/sales/rep/overview/self", "/api/v1/metrics/exec/sales/overview"
OWN, ALL = (CSR, REP), (CSRS, REPS)
DAY = str(NOON.date())


def a_day_of_calls(company):
    """Ana took a booked call, Ben a cold one, and nobody the third."""
    ana, ben = (company.user("csr", name) for name in ("Ana", "Ben"))
    company.analysis(company.call(csr_user_id=ana[0]), sop_score=0.5, objections=[{"category": "price", "quote": "too expensive"}])
    company.analysis(company.call(csr_user_id=ben[0]), lead_qualification="cold", booking_status="not_booked", sentiment_score=-0.25)
    company.call(status="missed")
    return ana, ben


def test_each_sees_what_is_theirs_and_those_who_decide_see_all(company):
    (ana_id, ana), (_, ben) = a_day_of_calls(company)
    own = ana.get(CSR, **{"from": DAY, "to": DAY})
    assert (own["user_id"], own["name"], own["tenant"], own["from"], own["to"]) == (ana_id, "Ana", company.tenant, DAY, DAY)
    assert (own["total_calls"], own["booked_calls"], own["booking_rate"], own["mean_sop_score"]) == (1, 1, 1, 0.5)
    assert ben.get(CSR, **{"from": DAY, "to": DAY})["qualified_calls"] == {"hot": 0, "warm": 0, "cold": 1}
    for role in ("exec", "admin", "owner"):
        overview = company.api(role=role).get(CSRS, **{"from": DAY, "to": DAY})
        assert (overview["total_calls"], overview["missed_calls"], overview["booking_rate"], overview["mean_sentiment"]) == (3, 1, 0.5, 0)
        assert [(row["name"], row["total_calls"]) for row in overview["csrs"]] == [("Ana", 1), ("Ben", 1), ("unattributed", 1)]
        assert overview["top_objections"] == [{"category": "price", "calls": 1}]


def test_a_rep_sees_their_own_visits(company):
    (ana_id, ana), (_, ben) = company.user(name="Ana"), company.user(name="Ben")
    company.appointment(assigned_rep_id=ana_id, scheduled_start=NOON, outcome="won", status="completed")
    company.appointment(scheduled_start=NOON, outcome="lost", status="completed")
    company.appointment(assigned_rep_id=ana_id, scheduled_start=datetime.now(timezone.utc) + timedelta(days=3))
    own = ana.get(REP, **{"from": DAY, "to": DAY})
    assert (own["name"], own["won"], own["lost"], own["win_rate"], own["appointments_ahead"]) == ("Ana", 1, 0, 1, 1)
    assert ben.get(REP)["appointments_ahead"] == 0
    overview = company.api(role="exec").get(REPS, **{"from": DAY, "to": DAY})
    assert (overview["won"], overview["lost"], overview["win_rate"], overview["appointments_ahead"]) == (1, 1, 0.5, 1)
    assert [(row["name"], row["won"], row["lost"]) for row in overview["reps"]] == [("Ana", 1, 0), ("Ben", 0, 0), ("unassigned", 0, 1)]


@pytest.mark.parametrize("role", ["csr", "rep"])
def test_who_does_not_decide_does_not_see_all(company, role):
    for path in ALL:
        company.api(role=role).problem(403, path)
        company.user(role)[1].problem(403, path, tenant=company.tenant)


def test_a_device_and_a_token_of_nobody_have_no_self(company):
    for path in OWN:
        assert "belongs to no person" in company.api(role="csr").problem(403, path).json()["detail"]
    for path in OWN + ALL:
        company.api(role="station").problem(403, path)


def test_no_company_sees_another(company, other):
    a_day_of_calls(company)
    stranger = other.api(role="exec")
    assert stranger.get(CSRS, **{"from": DAY, "to": DAY})["total_calls"] == 0
    for path in ALL:
        refused = stranger.problem(422, path, tenant=company.tenant).json()
        unknown = stranger.problem(422, path, tenant="nobody-at-all").json()
        assert refused == unknown and refused["parameter"] == "tenant"
        assert stranger.get(path, tenant=other.tenant)["tenant"] == other.tenant


def test_who_sees_all_companies_says_which(company, other):
    (_, ana), _ = a_day_of_calls(company)
    platform = other.api(role="platform")
    for path in ALL:
        assert platform.problem(422, path).json()["parameter"] == "tenant"
        assert platform.get(path, tenant=company.tenant)["tenant"] == company.tenant
    assert platform.get(CSRS, tenant=company.tenant, **{"from": DAY, "to": DAY})["total_calls"] == 3
    assert platform.get(CSRS, tenant="unassigned")["tenant"] == "unassigned"
    assert other.user("platform", name="Pat")[1].get(CSR)["tenant"] == other.tenant, "of their own company"


def test_the_days_are_the_companys_own(database, ingest):
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        api = Company(database, ingest.url, zone).api(role="exec")
        today = datetime.now(ZoneInfo(zone)).date()
        for path in ALL:
            overview = api.get(path)
            assert (overview["time_zone"], overview["from"], overview["to"]) == (zone, str(today - timedelta(days=29)), str(today))
            assert len(overview["daily_trend"]) == 30


def test_what_cannot_be_read_is_refused_and_named(company):
    api, (_, person) = company.api(role="exec"), company.user("csr")
    for wrong, parameter in ((("from", "yesterday"), "from"), (("to", "2026-02-30"), "to"), (("from", "2026-1-1"), "from"),
                             (("limit", "5"), "limit"), (("from", "1999-01-01"), "from")):
        for asking, paths in ((api, ALL), (person, OWN)):
            for path in paths:
                assert asking.problem(422, path, **dict([wrong])).json()["parameter"] == parameter
    for path in ALL:
        assert api.problem(422, path, **{"from": "2026-02-02", "to": "2026-02-01"}).json()["parameter"] == "to"
        assert api.problem(422, path, tenant="No Company").json()["parameter"] == "tenant"
        assert len(api.get(path, **{"from": "2024-12-01", "to": "2026-12-01"})["daily_trend"]) == 731
        assert api.problem(422, path, **{"from": "2024-11-30", "to": "2026-12-01"}).json()["parameter"] == "from"
        assert api.get(path, to="0001-01-05")["from"] == "0001-01-01" and api.get(path, to="9999-12-31")["to"] == "9999-12-31"
    for path in OWN:
        assert person.problem(422, path, tenant=company.tenant).json()["parameter"] == "tenant"
    for text in INJECTIONS:
        assert api.problem(422, CSRS, tenant=text).json()["parameter"] == "tenant"
    assert ask_raw(company.url, CSRS + "?from=2026-01-01&from=2026-01-02", api.token)[0] == 422


def test_the_figures_follow_what_changes(company, database):
    """At once, whoever changes it: a correction, a colleague who takes over, a call that turns out to be another day's."""
    (ana_id, ana), (_, ben) = company.user("csr", "Ana"), company.user("csr", "Ben")
    call_id = company.call(csr_user_id=ana_id)
    company.analysis(call_id, lead_qualification="cold", booking_status="not_booked")
    api, days = company.api(role="exec"), {"from": DAY, "to": DAY}
    assert api.get(CSRS, **days)["qualified_calls"]["cold"] == 1
    correction = {"lead_qualification": "hot", "sentiment_score": 1}
    assert api.send("PATCH", f"/api/v1/calls/{call_id}/analysis", correction).status_code in (200, 202), "done, or soon"
    wait_until(lambda: api.get(CSRS, **days)["qualified_calls"] == {"hot": 1, "warm": 0, "cold": 0}, "the figures following the correction")
    assert api.get(CSRS, **days)["mean_sentiment"] == 1
    database.execute("UPDATE calls SET started_at = started_at - interval '1 day' WHERE call_id = %s", [call_id])
    assert api.get(CSRS, **days)["total_calls"] == ana.get(CSR, **days)["total_calls"] == 0
    assert ben.get(CSR, to=DAY)["total_calls"] == 0 and ana.get(CSR, to=DAY)["total_calls"] == 1
