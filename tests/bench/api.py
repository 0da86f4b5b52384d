"""Reading what a million calls left: each list and overview of the largest company, at a steady rate."""

import datetime
import hashlib
import sys
import uuid
from pathlib import Path

import million
from environment import wait_until
from measure import CannotMeasure, Figure, Row

RATE = 50
GOAL_MS = 50
TARGETS_EACH = 50
MIGRATIONS_S = 60


def day(ago):
    return str(datetime.date.today() - datetime.timedelta(days=ago))


class Clients:
    """Tokens of a company, by role, with the company's people behind them."""

    def __init__(self, connection, tenant):
        self.connection, self.tenant = connection, tenant

    def token(self, role, email=None):
        token = "sb_" + uuid.uuid4().hex
        self.connection.execute("INSERT INTO api_tokens (token_hash, token_id, tenant, role, email) VALUES (%s, %s, %s, %s, %s)",
                                [hashlib.sha256(token.encode()).digest(), uuid.uuid4(), self.tenant, role, email])
        return token


def samples(connection, statement, *parameters):
    rows = connection.execute(statement, parameters).fetchall()
    if not rows:
        raise CannotMeasure("nothing was found to ask for")
    return [row[0] for row in rows]


def questions(connection):
    """(what, whose token, the paths asked for in turns)"""
    tenant = million.COMPANIES[0].tenant
    calls = samples(connection, "SELECT call_id FROM calls WHERE tenant = %s AND status = 'completed' AND call_at < now() - interval '10 days'"
                                " ORDER BY md5(call_id) LIMIT %s", tenant, TARGETS_EACH)
    back = range(1, 1 + TARGETS_EACH)
    lists, own = "/api/v1", "/api/v1/metrics"
    return [
        ("calls, newest", "exec", [f"{lists}/calls"]),
        ("calls of a day", "exec", [f"{lists}/calls?from={day(n)}&to={day(n)}" for n in back]),
        ("calls of a month", "exec", [f"{lists}/calls?from={day(n + 30)}&to={day(n)}" for n in back]),
        ("calls of a month a year ago", "exec", [f"{lists}/calls?from={day(n + 395)}&to={day(n + 365)}" for n in back]),
        ("calls, on the line", "exec", [f"{lists}/calls?status=in_progress"]),
        ("calls, missed", "exec", [f"{lists}/calls?status=missed"]),
        ("calls to be called back", "exec", [f"{lists}/calls?status=missed&callback=open"]),
        ("calls, a rare word", "exec", [f"{lists}/calls?q={call_id}" for call_id in calls]),
        ("calls, two words of many", "exec", [f"{lists}/calls?q=insurance+technician"]),
        ("calls, a word of nearly all", "exec", [f"{lists}/calls?q=heater"]),
        ("calls, a phrase", "exec", [f"{lists}/calls?q=%22water+heater%22"]),
        ("calls of all companies, newest", "platform", [f"{lists}/calls"]),
        ("one call", "exec", [f"{lists}/calls/{call_id}" for call_id in calls]),
        ("leads, newest", "exec", [f"{lists}/leads"]),
        ("leads, open", "exec", [f"{lists}/leads?status=new,warm,hot"]),
        ("appointments", "exec", [f"{lists}/appointments"]),
        ("appointments of a day", "exec", [f"{lists}/appointments?date={day(n)}" for n in back]),
        ("own appointments today", "rep", [f"{lists}/appointments/today/self"]),
        ("visits, newest", "exec", [f"{lists}/recordings/sessions"]),
        ("visits, stale", "exec", [f"{lists}/recordings/sessions?status=stale"]),
        ("own visits", "rep", [f"{lists}/recordings/sessions"]),
        ("a CSR's overview", "csr", [f"{own}/csr/overview/self"]),
        ("all CSRs' overview", "exec", [f"{own}/exec/csr/overview"]),
        ("all CSRs' overview of 18 months", "exec", [f"{own}/exec/csr/overview?from={day(548)}"]),
        ("a rep's overview", "rep", [f"{own}/sales/rep/overview/self"]),
        ("all reps' overview", "exec", [f"{own}/exec/sales/overview"]),
        ("all reps' overview of 18 months", "exec", [f"{own}/exec/sales/overview?from={day(548)}"]),
    ]


def ask(stand, server, token, paths):
    targets = Path(stand.environment.folder) / f"targets-{uuid.uuid4().hex[:8]}"
    targets.write_text("\n".join(paths) + "\n")
    runs = []
    for _ in range(stand.runs):
        found = stand.tool("openloop", port=server.port, token=token, targets=targets, rate=RATE, seconds=stand.seconds)
        if found["not_2xx"] or found["answered"] < found["sent"]:
            raise CannotMeasure(f"not every question was answered: {found}")
        runs.append(found)
    return runs


def api(stand):
    server = stand.door(DATABASE_URL=stand.environment.database_url)
    with stand.environment.connect() as connection:
        wait_until(lambda: connection.execute("SELECT to_regclass('rep_days') IS NOT NULL").fetchone()[0], "the tables", MIGRATIONS_S)
        calls = int(million.CALLS * stand.share)
        print(f"  filling {calls:,} calls …", file=sys.stderr, flush=True)
        million.fill(connection, calls)
        clients = Clients(connection, million.COMPANIES[0].tenant)
        tokens = {"exec": clients.token("exec"), "platform": clients.token("platform"),
                  **{role: clients.token(role, f"{role}-1@{clients.tenant}.test") for role in ("csr", "rep")}}
        asked = questions(connection)
    for what, role, paths in asked:
        runs = ask(stand, server, tokens[role], paths)
        for name in ("p50", "p99"):
            figure = Figure([run[f"ack_{name}_ms"] for run in runs], "ms", 2)
            goal = name == "p99"
            yield Row("api", f"{what}, {RATE}/s of {calls:,} calls, {name}", figure, f"< {GOAL_MS} ms" if goal else "",
                      reached=figure.median < GOAL_MS if goal else None, detail={"runs": runs} if goal else {})
    stand.end(server)
