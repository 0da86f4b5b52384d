"""sb company, user and number: companies, their people, numbers and checklists; who did what is recorded, and no key is ever shown."""

import json
import os
import subprocess
import uuid

import psycopg
import pytest
from daemons import BUILD, migrated

SB = BUILD / "bin" / "sb"
FINE, FAILED, WRONG = 0, 1, 2
STEPS = """# what our agents do
greets: Thank you for calling, how can I help?
asks for the name:  your name ,who is calling

says when somebody comes: can come
"""


@pytest.fixture(scope="module")
def schema_ready(environment, topics, tmp_path_factory):
    """A database of its own: a table shows the first companies there are."""
    return migrated(environment.with_new_database(), tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def sb(schema_ready, tmp_path_factory):
    """Runs sb away from any checkout, so that the environment alone says what is in use."""
    folder = tmp_path_factory.mktemp("sb")

    def run(*arguments, code=FINE, stdin="", **settings):
        result = subprocess.run([SB, *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=120, input=stdin,
                                env={"PATH": os.environ["PATH"], "USER": "ada", "DATABASE_URL": schema_ready.database_url,
                                     "ASAN_OPTIONS": "detect_leaks=0", **settings})
        assert result.returncode == code, (arguments, result.returncode, result.stdout, result.stderr)
        return result
    return run


@pytest.fixture
def tenant():
    return "acme-" + uuid.uuid4().hex[:8]


@pytest.fixture
def company(sb, tenant):
    sb("company", "add", tenant, "--name", "Acme Plumbing", "--time-zone", "America/New_York")
    return tenant


def a_number():
    return "+1202" + str(2_000_000 + uuid.uuid4().int % 7_999_999)


def listed(sb, *arguments, **about):
    rows = json.loads(sb(*arguments, "list", "--json").stdout)
    return [row for row in rows if all(row[name] == value for name, value in about.items())]


def actions(database, command, what):
    return database.execute("SELECT who, detail FROM operator_actions WHERE command = %s AND what = %s ORDER BY action_id",
                            (command, what)).fetchall()


# --- companies -----------------------------------------------------------------------------------------------------------


def test_a_company_is_added_changed_and_listed(sb, database, tenant):
    added = sb("company", "add", tenant, "--name", "Acme Plumbing", "--time-zone", "America/New_York", "--alerts", "off", "--json")
    assert json.loads(added.stdout) == {
        "tenant": tenant, "name": "Acme Plumbing", "time_zone": "America/New_York", "default_region": "US", "alert_whatsapp": False, "recordings_days": None,
        "callrail_key_count": 0, "callrail_account_id": None, "numbers": 0, "users": 0, "step_count": 0, "sop_steps": []}
    sb("company", "set", tenant, "--region", "CA", "--alerts", "on", "--as", "grace")
    changed, = listed(sb, "company", tenant=tenant)
    assert (changed["name"], changed["default_region"], changed["alert_whatsapp"]) == ("Acme Plumbing", "CA", True)
    assert tenant in sb("company", "list").stdout
    (who, detail), = actions(database, "company add", tenant)
    assert who.startswith("ada@") and detail["time_zone"] == "America/New_York"
    (who, detail), = actions(database, "company set", tenant)
    assert who == "grace" and (detail["before"]["default_region"], detail["after"]["default_region"]) == ("US", "CA")


def test_a_time_zone_is_one_that_postgres_knows(sb, database, tenant):
    refused = sb("company", "add", tenant, "--name", "Acme", "--time-zone", "NewYork", code=WRONG)
    assert 'no time zone "NewYork"' in refused.stderr and "America/New_York" in refused.stderr
    for zone in ("EST+3", "posix/UTC", "america/new_york", "localtime", ""):
        sb("company", "add", tenant, "--name", "Acme", "--time-zone", zone, code=WRONG)
    assert listed(sb, "company", tenant=tenant) == [] and actions(database, "company add", tenant) == []


def test_what_is_no_company_is_refused_and_changes_nothing(sb, company, tmp_path):
    assert "already" in sb("company", "add", company, "--name", "Again", code=FAILED).stderr
    assert "no company" in sb("company", "set", "nobody-" + company, "--name", "Who", code=FAILED).stderr
    for wrong in (("add", "Acme"), ("add", "-a"), ("add", "a b"), ("add",), ("add", "x" * 64), ("add", company, "more"), ("set", company),
                  ("set", "unassigned"), ("list", "x"), ("forget", company), ()):
        more = ("--name", "Wrong") if wrong and wrong[0] == "add" else ("--alerts", "on") if wrong[1:] == ("unassigned",) else ()
        sb("company", *wrong, *more, code=WRONG)
    for none in ("usa", "UK", "ZZ", "us", ""):          # of which no number without its country could be read
        assert "ISO 3166" in sb("company", "set", company, "--region", none, code=WRONG).stderr
    sb("company", "set", company, "--region", "GB")
    sb("company", "set", company, "--alerts", "maybe", code=WRONG)
    sb("company", "set", company, "--sop", tmp_path / "missing", code=WRONG)
    assert [row["name"] for row in listed(sb, "company", tenant=company)] == ["Acme Plumbing"]


def test_keys_come_by_file_or_standard_input_and_are_never_shown(sb, database, company, tmp_path):
    (tmp_path / "keys").write_text("first-secret\nsecond-secret\n")
    said = sb("company", "set", company, "--callrail-keys", tmp_path / "keys", "--json")
    assert json.loads(said.stdout)["callrail_key_count"] == 2
    kept = "SELECT callrail_keys FROM companies WHERE tenant = %s"
    assert database.execute(kept, [company]).fetchone() == ("first-secret,second-secret",)
    sb("company", "set", company, "--callrail-keys", "-", stdin="  third-secret\n")
    assert database.execute(kept, [company]).fetchone() == ("third-secret",)
    shown = said.stdout + said.stderr + sb("company", "list").stdout + sb("company", "list", "--json").stdout
    recorded = actions(database, "company set", company)
    assert [detail for _, detail in recorded] == [{"callrail_keys": 2}, {"callrail_keys": 1}]
    assert "secret" not in shown and "secret" not in str(recorded)
    sb("company", "set", company, "--callrail-keys", "-", stdin="two words\n", code=WRONG)
    sb("company", "set", company, "--callrail-keys", "-", stdin="\n".join("key%d" % n for n in range(6)), code=WRONG)
    assert database.execute(kept, [company]).fetchone() == ("third-secret",)
    sb("company", "set", company, "--callrail-keys", "-", stdin="")
    assert database.execute(kept, [company]).fetchone() == (None,)


def test_an_accounts_key_for_calls_that_never_came_is_kept_and_not_shown(sb, database, company):
    account = "ACC" + uuid.uuid4().hex[:12]
    said = sb("company", "set", company, "--callrail-api", "-", "--json", stdin=f"{account}\nan-api-secret\n")
    kept = "SELECT callrail_account_id, callrail_api_key FROM companies WHERE tenant = %s"
    assert database.execute(kept, [company]).fetchone() == (account, "an-api-secret")
    assert json.loads(said.stdout)["callrail_account_id"] == account
    assert "secret" not in said.stdout + said.stderr + sb("company", "list", "--json").stdout + str(actions(database, "company set", company))
    sb("company", "set", company, "--callrail-api", "-", stdin=account + "\n", code=WRONG)
    sb("company", "set", company, "--callrail-api", "-", "--callrail-keys", "-", stdin="", code=WRONG)
    sb("company", "set", company, "--callrail-api", "-", stdin="")
    assert database.execute(kept, [company]).fetchone() == (None, None)


def test_an_account_is_one_companys(sb, database, company):
    account, first = "ACC" + uuid.uuid4().hex[:12], "first-" + uuid.uuid4().hex[:8]
    sb("company", "add", first, "--name", "First", "--callrail-api", "-", stdin=f"{account}\na-key\n")
    refused = sb("company", "set", company, "--name", "Other", "--callrail-api", "-", stdin=f"{account}\nanother-key\n", code=FAILED)
    assert f"the CallRail account {account} is {first}'s already" in refused.stderr
    assert listed(sb, "company", tenant=company)[0]["name"] != "Other", "all or nothing"
    sb("company", "set", first, "--callrail-api", "-", stdin=f"{account}\na-newer-key\n")
    for wrong in ("ACC/1", "A" * 65):
        refused = sb("company", "set", company, "--callrail-api", "-", stdin=f"{wrong}\na-key\n", code=WRONG)
        assert "letters, digits, - and _" in refused.stderr


def test_a_checklist_is_replaced_as_a_whole(sb, company):
    sb("company", "set", company, "--sop", "-", stdin=STEPS)
    one, = listed(sb, "company", tenant=company)
    assert one["sop_steps"] == [
        {"step": "greets", "phrases": ["Thank you for calling", "how can I help?"]},
        {"step": "asks for the name", "phrases": ["your name", "who is calling"]},
        {"step": "says when somebody comes", "phrases": ["can come"]}]
    sb("company", "set", company, "--sop", "-", stdin="asks for the name: name\ngreets: hello\n")
    one, = listed(sb, "company", tenant=company)
    assert [(step["step"], step["phrases"]) for step in one["sop_steps"]] == [("asks for the name", ["name"]), ("greets", ["hello"])]
    for wrong in ("greets\n", "greets:\n", ": hello\n", "greets: ,\n", "x" * 201 + ": y\n", "".join(f"step {n}: word\n" for n in range(21))):
        sb("company", "set", company, "--sop", "-", stdin=wrong, code=WRONG)
    sb("company", "set", company, "--sop", "-", stdin="greets: hello\ngreets: good morning\n", code=FAILED)
    assert len(listed(sb, "company", tenant=company)[0]["sop_steps"]) == 2
    sb("company", "set", company, "--sop", "-", stdin="")
    assert listed(sb, "company", tenant=company)[0]["sop_steps"] == []


# --- people --------------------------------------------------------------------------------------------------------------


def test_a_user_is_added_changed_and_listed(sb, database, company):
    ana = json.loads(sb("user", "add", "Ana@Acme.example", "--tenant", company, "--name", "Ana Silva", "--role", "csr",
                        "--answers", "(202) 555-0123", "--json").stdout)
    assert {**ana, "user_id": None} == {"tenant": company, "email": "ana@acme.example", "name": "Ana Silva", "role": "csr", "phone": None,
                                        "answers": "+12025550123", "user_id": None}
    sb("user", "set", "ana@acme.example", "--tenant", company, "--phone", "+12025550124", "--role", "rep")
    assert listed(sb, "user", email="ana@acme.example", tenant=company) == [{**ana, "phone": "+12025550124", "role": "rep"}]
    assert "Ana Silva" in sb("user", "list", "--tenant", company).stdout
    assert [detail["role"] for _, detail in actions(database, "user add", company + " ana@acme.example")] == ["csr"]
    (_, detail), = actions(database, "user set", company + " ana@acme.example")
    assert (detail["before"]["phone"], detail["after"]["phone"]) == (None, "+12025550124")


def test_one_person_answers_a_number(sb, company):
    sb("user", "add", "ana@acme.example", "--tenant", company, "--name", "Ana", "--role", "csr", "--answers", "+12025550123")
    for arguments in (("add", "ben@acme.example", "--name", "Ben", "--role", "csr"), ):
        refused = sb("user", *arguments, "--tenant", company, "--answers", "+12025550123", code=FAILED)
        assert "ana@acme.example answers +12025550123 already" in refused.stderr
    sb("user", "add", "ben@acme.example", "--tenant", company, "--name", "Ben", "--role", "csr")
    assert "answers +12025550123 already" in sb("user", "set", "ben@acme.example", "--tenant", company, "--answers", "+12025550123",
                                                code=FAILED).stderr
    sb("user", "set", "ana@acme.example", "--tenant", company, "--answers", "+12025550123")        # it is hers


def test_what_is_no_user_is_refused(sb, company):
    good = ("--tenant", company, "--name", "Ana", "--role", "csr")
    sb("user", "add", "ana@acme.example", *good)
    assert "already" in sb("user", "add", "ana@acme.example", *good, code=FAILED).stderr
    assert "no company" in sb("user", "list", "--tenant", "nobody", code=FAILED).stderr
    assert "no company" in sb("user", "add", "x@y.example", "--tenant", "nobody", "--name", "X", "--role", "csr", code=FAILED).stderr
    assert "no user" in sb("user", "set", "x@y.example", "--tenant", company, "--name", "X", code=FAILED).stderr
    for wrong in (("ana",), ("@x",), ("a b@c",), (), ("a@b", "c@d")):
        sb("user", "add", *wrong, *good, code=WRONG)
    sb("user", "add", "b@acme.example", "--tenant", company, "--name", "B", "--role", "boss", code=WRONG)
    sb("user", "add", "b@acme.example", "--tenant", company, "--name", "B", "--role", "csr", "--answers", "abc", code=WRONG)
    sb("user", "add", "b@acme.example", "--tenant", company, "--name", "B", code=WRONG)
    sb("user", "set", "ana@acme.example", "--tenant", company, code=WRONG)
    assert len(listed(sb, "user", tenant=company)) == 1


# --- numbers -------------------------------------------------------------------------------------------------------------


def test_a_number_is_added_assigned_and_listed(sb, database, company):
    other, number = company + "-b", a_number()
    sb("company", "add", other, "--name", "Best Doors")
    added = sb("number", "add", number[2:], "--tenant", company, "--label", "van doors", "--json")
    assert json.loads(added.stdout) == {"number": number, "tenant": company, "previous_tenant": None, "calls_moved": 0}
    assert f"{number} is {company}'s already" in sb("number", "add", number, "--tenant", other, code=FAILED).stderr
    assert listed(sb, "number", number=number)[0]["tenant"] == company
    sb("number", "assign", number, "--tenant", other)
    assert listed(sb, "number", number=number) == [{"number": number, "tenant": other, "label": "van doors", "waiting": 0, "last_call": None}]
    assert number in sb("number", "list", "--tenant", other).stdout and number not in sb("number", "list", "--tenant", company).stdout
    (_, detail), = actions(database, "number assign", number)
    assert detail == {"tenant": other, "previous_tenant": company, "calls_moved": 0}
    assert "no company" in sb("number", "list", "--tenant", "nobody", code=FAILED).stderr
    assert "no company" in sb("number", "assign", number, "--tenant", "nobody", code=FAILED).stderr
    for wrong in (("add", "12"), ("add",), ("assign", number, number), ("list", number)):
        sb("number", *wrong, "--tenant", company, code=WRONG)
    sb("number", "assign", number, "--tenant", "unassigned", code=WRONG)


# --- what the role may -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("statement", [
    "SELECT callrail_keys FROM companies", "SELECT callrail_api_key FROM companies", "DELETE FROM companies", "UPDATE companies SET tenant = tenant", "DELETE FROM users",
    "UPDATE users SET email = email", "UPDATE users SET user_id = user_id", "DELETE FROM tracking_numbers",
    "INSERT INTO tracking_numbers (number, tenant) VALUES ('+12025550199', 'x')", "UPDATE calls SET tenant = tenant",
    "SELECT customer_number FROM calls", "SELECT text FROM call_transcripts", "SELECT calls_go_home(ARRAY['x'], 'x')",
    "SELECT token_hash FROM api_tokens", "DELETE FROM operator_actions"])
def test_the_operators_role_may_do_no_more_than_that(schema_ready, statement):
    with schema_ready.connect() as connection:
        connection.execute("SET ROLE switchboard_operator")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)


def test_it_sees_no_companys_calls(schema_ready, database, company):
    for tenant in (company, "unassigned"):
        database.execute("INSERT INTO calls (tenant, call_id, source, status) VALUES (%s, %s, 'callrail', 'ringing')",
                         [tenant, f"{tenant}-{company}"])
    with schema_ready.connect() as connection:
        connection.execute("SET ROLE switchboard_operator")
        seen = connection.execute("SELECT DISTINCT tenant FROM calls").fetchall()
    assert seen == [("unassigned",)]
