"""sb seed-data and cleanup-seed-data: sample data that looks as real calls do, is the same each time, and goes without a trace."""

import json
import uuid
from datetime import date, timedelta

import pytest
from api_client import Company
from api_client import ingest  # noqa: F401 (a fixture)
from test_sb_people import FAILED, WRONG, sb  # noqa: F401 (a fixture)

TABLES = ("companies", "tracking_numbers", "users", "contact_cards", "leads", "calls", "call_transcripts", "call_analyses", "appointments",
          "recording_sessions", "recording_transcripts", "recording_analyses")
FIGURES = ("csr_days", "rep_days", "objection_days", "csr_months", "rep_months", "objection_months", "trend_days", "call_days", "lead_counts")


def contents(database):
    """Every row of every table, but for when it was written."""
    tables = [name for name, in database.execute(
        "SELECT c.relname FROM pg_class c WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace"
        " AND relname NOT IN ('operator_actions', 'instances', 'schema_migrations')").fetchall()]
    return {name: sorted(json.dumps({key: value for key, value in row.items() if key not in ("created_at", "updated_at")}, sort_keys=True)
                         for row, in database.execute(f"SELECT to_jsonb(t) FROM {name} t").fetchall()) for name in tables}


@pytest.fixture
def seeded(sb, database):
    before = contents(database)
    yield {row["of_table"]: row["rows"] for row in json.loads(sb("seed-data", "--json").stdout)}
    database.execute("DELETE FROM api_tokens WHERE tenant LIKE 'seed-%'")
    sb("cleanup-seed-data", "--yes")
    assert contents(database) == before


def test_it_is_there_once_and_goes_without_a_trace(sb, database, seeded):
    assert set(seeded) == set(TABLES) and seeded["calls"] == 200 and all(seeded.values())
    assert "there already" in sb("seed-data", code=FAILED).stderr
    first = contents(database)
    shown = json.loads(sb("cleanup-seed-data", "--json").stdout)
    assert {row["of_table"]: (row["removed"], row["kept"]) for row in shown} == {name: (rows, 0) for name, rows in seeded.items()}
    assert contents(database) == first, "it was only shown"
    assert "--yes does it" in sb("cleanup-seed-data").stderr
    sb("cleanup-seed-data", "--yes", "--as", "grace")
    assert "there is no sample data" in sb("cleanup-seed-data").stderr
    sb("seed-data")
    assert contents(database) == first, "the same each time"
    who, detail = database.execute("SELECT who, detail FROM operator_actions WHERE command = 'cleanup-seed-data' ORDER BY action_id DESC LIMIT 1").fetchone()
    assert who == "grace" and detail["removed"]["calls"] == 200
    for wrong in (("seed-data", "--yes"), ("seed-data", "now"), ("cleanup-seed-data", "all")):
        sb(*wrong, code=WRONG)


def test_every_row_is_marked(database, seeded):
    for table, column in (("calls", "call_id"), ("contact_cards", "contact_id"), ("leads", "lead_id"), ("appointments", "appointment_id"),
                          ("recording_sessions", "session_id"), ("companies", "tenant")):
        ids = [str(value) for value, in database.execute(f"SELECT {column} FROM {table} WHERE tenant LIKE 'seed-%'").fetchall()]
        assert len(ids) == seeded[table] and all(value.lower().startswith(("seed-", "5eed")) for value in ids)


def test_it_looks_as_real_calls_do(database, ingest, seeded):
    overviews = {}
    for tenant in ("seed-plumbing", "seed-roofing"):
        company = Company(database, ingest.url, tenant=tenant)
        eve = company.api(role="exec", email=f"eve@{tenant}.example")
        window = {"from": str(date.today() - timedelta(days=61))}
        overview = overviews[tenant] = eve.get("/api/v1/metrics/exec/csr/overview", **window)
        assert overview["total_calls"] == 100 and 0.2 < overview["booking_rate"] < 0.7
        assert {row["name"] for row in overview["csrs"]} == {"Ana Silva", "Ben Ode", "Cleo Park", "unattributed"}
        assert all(row["total_calls"] > 5 for row in overview["csrs"]) and overview["top_objections"][0]["category"] == "price"
        assert sum(day["total_calls"] > 0 for day in overview["daily_trend"]) > 50
        sales = eve.get("/api/v1/metrics/exec/sales/overview", **window)
        assert sales["won"] > 5 and sales["lost"] > 2 and sales["visits"] > 10 and 0 < sales["win_rate"] < 1
        found = eve.list(q='"water heater"')
        assert found["total"] > 20
        call = eve.show(found["items"][0]["call_id"])
        assert call["analysis"]["evidence"][0]["quote"] in call["transcript"]["text"] and call["appointment"]["appointment_id"].startswith("5eed")
        for item in eve.list(limit=200)["items"]:
            for objection in (item["analysis"] or {"objections": []})["objections"]:
                assert objection["quote"] in eve.show(item["call_id"])["transcript"]["text"]
    assert overviews["seed-plumbing"]["mean_sentiment"] != overviews["seed-roofing"]["mean_sentiment"]


def test_what_something_else_hangs_on_stays_and_is_named(sb, database, seeded):
    lead, contact = database.execute("SELECT lead_id, contact_id FROM leads WHERE tenant = 'seed-plumbing' ORDER BY lead_id LIMIT 1").fetchone()
    by_hand, token, real = uuid.uuid4(), uuid.uuid4(), "CAL" + uuid.uuid4().hex
    database.execute("INSERT INTO appointments (tenant, appointment_id, lead_id, source_time) VALUES ('seed-plumbing', %s, %s, now())", [by_hand, lead])
    database.execute("INSERT INTO api_tokens (token_hash, token_id, tenant, email, role) VALUES (sha256('x'), %s, 'seed-roofing',"
                     " 'eve@seed-roofing.example', 'exec')", [token])
    database.execute("INSERT INTO calls (tenant, call_id, source, status) VALUES ('seed-roofing', %s, 'callrail', 'ringing')", [real])
    others = "SELECT count(*) FROM appointments WHERE appointment_id = %s UNION ALL SELECT count(*) FROM api_tokens WHERE token_id = %s" \
             " UNION ALL SELECT count(*) FROM calls WHERE call_id = %s"
    assert "5 rows stay" in sb("cleanup-seed-data", "--yes", code=FAILED).stderr
    kept = {row["of_table"]: row for row in json.loads(sb("cleanup-seed-data", "--json").stdout) if row["kept"]}
    assert {name: row["kept"] for name, row in kept.items()} == {"leads": 1, "contact_cards": 1, "users": 1, "companies": 2}
    assert kept["leads"]["because"] == f"{lead}: 1 of appointments" and kept["contact_cards"]["because"] == f"{contact}: 1 of leads"
    assert kept["users"]["because"] == "eve@seed-roofing.example: 1 of api_tokens"
    assert "seed-plumbing, seed-roofing: " in kept["companies"]["because"] and "1 of calls" in kept["companies"]["because"]
    assert database.execute(others, [by_hand, token, real]).fetchall() == [(1,), (1,), (1,)], "nothing else is touched"
    database.execute("DELETE FROM appointments WHERE appointment_id = %s", [by_hand])
    database.execute("DELETE FROM calls WHERE call_id = %s", [real])
