"""Meetings of a real calendar: Microsoft Graph is subscribed to, tells of changes, and what the calendar says is recorded."""

import uuid
from datetime import datetime, timedelta, timezone

import pytest
import requests
from daemons import Daemon
from environment import free_port, wait_until
from psycopg.rows import dict_row
from sandbox_process import KEYS, Sandbox
from sandbox_process import process  # noqa: F401 (a fixture)

COACH = "coach@acme.test"
TENANT = "graph-acme"
ORGANIZER = "ana@graph-acme.test"     # of no other company
SECRETS = KEYS["GRAPH_CLIENT_SECRET"].split(",")


@pytest.fixture(scope="module")
def ingest(schema_ready, topics, process, tmp_path_factory):  # noqa: F811
    Sandbox(process).control("POST", "/reset")
    with schema_ready.connect() as connection:
        connection.execute("INSERT INTO companies (tenant, name) VALUES (%s, 'Acme') ON CONFLICT DO NOTHING", [TENANT])
        connection.execute("DELETE FROM graph_subscriptions")
    port = free_port()
    daemon = Daemon("ingest", schema_ready, tmp_path_factory.mktemp("graph"), port=port, PUBLIC_URL=f"http://127.0.0.1:{port}",
                    DEFAULT_TENANT=TENANT, COACH_MAILBOX="Coach@Acme.test", GRAPH_TENANT_ID=KEYS["GRAPH_TENANT_ID"],
                    GRAPH_CLIENT_ID=KEYS["GRAPH_CLIENT_ID"], GRAPH_CLIENT_SECRET=SECRETS[0], GRAPH_BASE_URL=process + "/graph/v1.0",
                    GRAPH_LOGIN_BASE_URL=process + "/graph/login").ready()
    yield daemon
    assert daemon.stop() == 0


class Calendar:
    """The coach's, at Graph, and what became of it here."""

    def __init__(self, sandbox, connection, ingest, topics):
        self.sandbox, self.ingest, self.topics = sandbox, ingest, topics
        self.cursor = connection.cursor(row_factory=dict_row)

    def row(self):
        return self.cursor.execute("SELECT *, next_check_at > now() + interval '10 minutes' AS rests, expires_at > now() AS live,"
                                   " extract(epoch FROM next_check_at - now()) AS wait_s FROM graph_subscriptions").fetchone()

    def settle(self):
        """The subscription is there, and the calendar was read."""
        return wait_until(lambda: (row := self.row()) and row["live"] and row["rests"] and row["missed_at"] is None and row, "the subscription")

    def due(self, **columns):
        """It is looked after now."""
        names = "".join(f", {name} = {value}" for name, value in columns.items())
        self.cursor.execute(f"UPDATE graph_subscriptions SET next_check_at = now(){names}")

    def put(self, number, organizer=ORGANIZER, hours=3, subject="Roof", notify=True, **more):
        start = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(hours=hours)
        event = {"subject": subject, "start": {"dateTime": start.strftime("%Y-%m-%dT%H:%M:%S.0000000"), "timeZone": "UTC"},
                 "end": {"dateTime": (start + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.0000000"), "timeZone": "UTC"},
                 "organizer": {"emailAddress": {"address": organizer, "name": "Ana"}}, "notify": notify,
                 "attendees": [{"emailAddress": {"address": "bo@client.test", "name": "Bo Lee"}, "type": "required"},
                               {"emailAddress": {"address": COACH}, "type": "required"}], **more}
        self.sandbox.control("PUT", f"/calendar/{COACH}/events/{number}", json=event)
        return start

    def remove(self, number, notify=True):
        self.sandbox.control("DELETE", f"/calendar/{COACH}/events/{number}", params={"notify": str(notify).lower()})

    def meeting(self, number, **wanted):
        """The meeting, once it is so."""
        def found():
            row = self.cursor.execute("SELECT * FROM meetings WHERE outlook_event_id = %s", [number]).fetchone()
            return row and all(row[name] == value for name, value in wanted.items()) and row
        return wait_until(found, f"meeting {number} being {wanted}")

    def subscriptions(self):
        return self.sandbox.control("GET", "/calendar/subscriptions")["subscriptions"]

    def asked(self, method, path):
        return [entry for entry in self.sandbox.control("GET", "/requests", params={"provider": "graph", "method": method})["requests"]
                if path in entry["path"]]

    def told(self, hook, count=1):
        """How the door answered Graph."""
        return self.sandbox.control("GET", "/webhooks", params={"provider": "graph", "hook": hook, "wait_s": 10, "count": count})["webhooks"]


@pytest.fixture
def calendar(schema_ready, ingest, process, topics):  # noqa: F811
    """With one live subscription, and no misbehaviour left from another test."""
    sandbox = Sandbox(process)
    sandbox.control("DELETE", "/faults")
    with schema_ready.connect() as connection:
        calendar = Calendar(sandbox, connection, ingest, topics)
        calendar.settle()
        yield calendar


def a_number():
    return "AAMk" + uuid.uuid4().hex


# --- meetings


def test_a_meeting_in_the_calendar_is_recorded_moved_and_cancelled(calendar):
    number = a_number()
    start = calendar.put(number)
    meeting = calendar.meeting(number, status="scheduled")
    assert (meeting["tenant"], meeting["salesperson_email"], meeting["title"], meeting["start_time"]) == (TENANT, ORGANIZER, "Roof", start)
    client = calendar.cursor.execute("SELECT email, name FROM clients WHERE client_id = %s", [meeting["client_id"]]).fetchone()
    assert client == {"email": "bo@client.test", "name": "Bo Lee"}
    moved = calendar.put(number, hours=30)
    assert calendar.meeting(number, start_time=moved)["revision"] == 2
    calendar.remove(number)
    assert calendar.meeting(number, status="cancelled")["next_check_at"] is None
    assert {answer["status"] for hook in ("created", "updated", "deleted") for answer in calendar.told(hook)} == {202}
    changes = [event["data"]["change"] for event in calendar.topics.wait("meetings", ORGANIZER, count=3, meeting_id=str(meeting["meeting_id"]))]
    assert changes == ["scheduled", "moved", "cancelled"]


def test_an_event_that_is_cancelled_or_gone_is_cancelled(calendar):
    first, second = a_number(), a_number()
    calendar.put(first, organizer="carl@acme.test")
    calendar.put(second, organizer="carl@acme.test", hours=9)
    calendar.meeting(first), calendar.meeting(second)
    calendar.put(first, organizer="carl@acme.test", isCancelled=True)
    calendar.meeting(first, status="cancelled")
    calendar.sandbox.fault(provider="graph", what="status", status=404, method="GET", path=f"/events/{second}")
    calendar.put(second, organizer="carl@acme.test", hours=9)
    calendar.meeting(second, status="cancelled")


def test_notices_in_any_order_and_number_make_one_meeting(calendar):
    number = a_number()
    for what in ({"what": "duplicate_webhook", "copies": 3}, {"what": "delay_webhook", "seconds": 0.5, "path": "created"}):
        calendar.sandbox.fault(provider="graph", **what)
    calendar.put(number, organizer="dora@acme.test")
    start = calendar.put(number, organizer="dora@acme.test", hours=50, subject="Windows")
    calendar.meeting(number, start_time=start, title="Windows")
    calendar.told("created"), calendar.told("updated")
    rows = calendar.cursor.execute("SELECT count(*) FROM meetings WHERE salesperson_email = 'dora@acme.test'").fetchone()
    assert rows["count"] == 1


def test_what_cannot_be_read_now_is_read_later(calendar):
    number = a_number()
    calendar.sandbox.fault(provider="graph", what="status", status=429, headers={"Retry-After": "1"}, method="GET", path=f"/events/{number}")
    calendar.sandbox.fault(provider="graph", what="status", status=503, method="GET", path=f"/events/{number}")
    calendar.sandbox.fault(provider="graph", what="malformed_json", method="GET", path=f"/events/{number}")
    calendar.put(number)
    calendar.meeting(number)
    asked = calendar.asked("GET", f"/events/{number}")
    assert [entry["status"] for entry in asked] == [429, 503, 200, 200]
    assert 'outlook.timezone="UTC"' in asked[0]["headers"]["prefer"] and 'IdType="ImmutableId"' in asked[0]["headers"]["prefer"]


def test_a_token_that_was_taken_back_is_replaced(calendar):
    calendar.sandbox.control("DELETE", "/calendar/tokens")
    number = a_number()
    calendar.put(number)
    calendar.meeting(number)
    tokens = calendar.asked("POST", "/oauth2/v2.0/token")
    assert tokens[-1]["body"] == {"grant_type": "client_credentials", "client_id": KEYS["GRAPH_CLIENT_ID"], "client_secret": "***",
                                  "scope": "https://graph.microsoft.com/.default"}
    before = len(tokens)
    calendar.put(number, subject="again")
    calendar.meeting(number, title="again")
    assert len(calendar.asked("POST", "/oauth2/v2.0/token")) == before, "one token is enough for an hour"
    assert SECRETS[0] not in calendar.ingest.log()


def test_a_series_is_its_meetings(calendar):
    number = a_number()
    calendar.put(number, organizer="eve@acme.test", hours=24, recurrence={"range": {"numberOfOccurrences": 30}})
    first = calendar.meeting(f"{number}.0")
    calendar.meeting(f"{number}.12")
    calendar.settle()
    rows = calendar.cursor.execute("SELECT outlook_event_id, start_time FROM meetings WHERE salesperson_email = 'eve@acme.test'").fetchall()
    assert 12 <= len(rows) <= 14 and all(row["start_time"] < first["start_time"] + timedelta(days=14) for row in rows)
    calendar.remove(number)
    for row in rows:
        calendar.meeting(row["outlook_event_id"], status="cancelled")


# --- the door


def notify(calendar, items, tenant=TENANT, **more):
    body = {"value": items} if isinstance(items, list) else items
    return requests.post(f"{calendar.ingest.url}/graph/notify", params={"tenant": tenant, **more}, json=body, timeout=10)


def test_the_door_shakes_hands_before_anything_else(calendar):
    for escaped, token in (("Validation%3A+Testing%20client", "Validation: Testing client"), ("abc%2Bdef%2F%3D", "abc+def/="),
                           ("%3Cscript%3E", "<script>"), ("%E2%9C%93-ok", "✓-ok")):
        answer = requests.post(f"{calendar.ingest.url}/graph/notify?tenant=x&validationToken={escaped}", data=b"{no json", timeout=10)
        assert (answer.status_code, answer.content.decode(), answer.headers["Content-Type"]) == (200, token, "text/plain")


def test_what_is_not_ours_is_dropped_and_counted(calendar):
    before = calendar.ingest.metric("ingest_graph_dropped_total")
    item = {"subscriptionId": "S", "changeType": "created", "resource": "Users/u/Events/not-ours", "resourceData": {"id": "not-ours"}}
    items = [item, {**item, "clientState": "wrong"}, {**item, "clientState": 7}, "text", None]
    assert notify(calendar, items).status_code == 202
    assert calendar.ingest.metric("ingest_graph_dropped_total") == before + 5
    assert notify(calendar, []).status_code == 202
    assert notify(calendar, {"value": {}}).status_code == notify(calendar, {}).status_code == 400
    calendar.sandbox.fault(provider="graph", what="wrong_signature", path="created")
    number, other = a_number(), a_number()
    calendar.put(number)
    calendar.put(other)
    calendar.meeting(other)
    assert calendar.ingest.metric("ingest_graph_dropped_total") == before + 6
    assert not calendar.topics.find("inbound.graph", number) and not calendar.topics.find("inbound.graph", "not-ours")


# --- the subscription


def test_the_subscription_is_what_it_should_be(calendar):
    one, = calendar.subscriptions()
    row = calendar.row()
    assert (one["id"], one["resource"], one["changeType"]) == (row["subscription_id"], f"/users/{COACH}/events", "created,updated,deleted")
    assert one["notificationUrl"] == one["lifecycleNotificationUrl"] == f"{calendar.ingest.settings['PUBLIC_URL']}/graph/notify?tenant={TENANT}"
    half = row["expires_at"] - datetime.now(timezone.utc)
    assert timedelta(hours=69) < half < timedelta(hours=71) and row["tenant"] == TENANT and row["error"] is None


def test_it_is_renewed_at_half_of_its_life(calendar):
    before = calendar.row()
    calendar.due(renew_at="now()", expires_at="now() + interval '1 hour'")
    calendar.settle()
    wait_until(lambda: calendar.row()["expires_at"] > datetime.now(timezone.utc) + timedelta(hours=60), "the renewal")
    after = calendar.row()
    assert after["subscription_id"] == before["subscription_id"] == calendar.asked("PATCH", "/subscriptions/")[-1]["path"].rsplit("/", 1)[1]
    assert abs((after["renew_at"] - datetime.now(timezone.utc)) - timedelta(hours=35)) < timedelta(hours=1)


def gone_and_back(calendar, before):
    wait_until(lambda: (row := calendar.row())["subscription_id"] != before and row["live"], "another subscription")
    calendar.settle()
    one, = calendar.subscriptions()
    assert one["id"] == calendar.row()["subscription_id"] != before


def test_what_happened_while_it_was_gone_is_read_from_the_calendar(calendar):
    before = calendar.row()["subscription_id"]
    missed, removed = a_number(), a_number()
    calendar.put(removed, organizer="finn@acme.test")
    calendar.meeting(removed)
    calendar.due(missed_at="now()")
    calendar.settle()                   # so the calendar was seen with it
    calendar.put(missed, organizer="finn@acme.test", hours=7, notify=False)
    calendar.remove(removed, notify=False)
    calendar.sandbox.control("POST", "/calendar/lifecycle", json={"event": "subscriptionRemoved"})
    gone_and_back(calendar, before)
    calendar.meeting(missed, status="scheduled")
    calendar.meeting(removed, status="cancelled")


def test_one_that_graph_forgot_is_made_anew(calendar):
    before = calendar.row()["subscription_id"]
    calendar.sandbox.fault(provider="graph", what="status", status=404, method="PATCH")
    calendar.due(renew_at="now()")      # Graph has it all the same: an equal one is refused, and cleared away
    row = wait_until(lambda: (row := calendar.row())["failures"] and row, "the older one being in the way")
    assert "an older subscription" in row["error"] and calendar.subscriptions() == []
    calendar.due()
    gone_and_back(calendar, before)


def test_an_answer_that_makes_no_sense_is_looked_up(calendar):
    before = calendar.row()["subscription_id"]
    calendar.sandbox.fault(provider="graph", what="malformed_json", method="POST", path="/subscriptions$")
    calendar.sandbox.control("POST", "/calendar/lifecycle", json={"event": "subscriptionRemoved"})
    wait_until(lambda: calendar.row()["failures"], "the failure being noted")
    calendar.cursor.execute("UPDATE asks SET lease_until = now() WHERE recipient = %s AND state = 'sent'", [COACH])
    calendar.due()
    gone_and_back(calendar, before)


def test_missed_changes_are_read(calendar):
    number = a_number()
    calendar.put(number, organizer="gil@acme.test", hours=5, notify=False)
    calendar.sandbox.control("POST", "/calendar/lifecycle", json={"event": "missed"})
    calendar.meeting(number)


def test_it_is_reauthorized_and_renewed(calendar):
    calendar.cursor.execute("UPDATE graph_subscriptions SET expires_at = now() + interval '2 hours'")
    calendar.sandbox.control("POST", "/calendar/lifecycle", json={"event": "reauthorizationRequired"})
    wait_until(lambda: calendar.row()["expires_at"] > datetime.now(timezone.utc) + timedelta(hours=60), "the renewal")
    assert calendar.asked("POST", "/reauthorize")[-1]["status"] == 204


def test_an_answer_that_was_lost_makes_no_second_subscription(calendar):
    before = calendar.row()["subscription_id"]
    calendar.sandbox.fault(provider="graph", what="cut", when="after", method="POST", path="/subscriptions$")
    calendar.sandbox.control("POST", "/calendar/lifecycle", json={"event": "subscriptionRemoved"})
    waits = wait_until(lambda: (row := calendar.row())["failures"] and row, "the failure being noted")
    assert waits["error"] and 0 < waits["wait_s"] <= 61
    calendar.cursor.execute("UPDATE asks SET lease_until = now() WHERE recipient = %s AND state = 'sent'", [COACH])
    calendar.due()
    gone_and_back(calendar, before)
    made = [entry for entry in calendar.asked("POST", "/subscriptions") if entry["path"].endswith("/subscriptions")]
    assert made[-1]["fault"] == "cut", "it was looked up, and not made again"


def test_failures_are_noted_and_back_off(calendar):
    calendar.sandbox.fault(provider="graph", what="status", status=429, headers={"Retry-After": "200"}, method="PATCH")
    calendar.due(renew_at="now()")
    row = wait_until(lambda: (row := calendar.row())["failures"] and row, "the failure")
    assert "429" in row["error"] and 150 < row["wait_s"] <= 200
    calendar.sandbox.fault(provider="graph", what="status", status=403, method="PATCH")
    calendar.due()
    row = wait_until(lambda: (row := calendar.row())["failures"] == 2 and row, "the second failure")
    assert "Calendars.Read" in row["error"] and 100 < row["wait_s"] <= 120
    calendar.due()
    row = wait_until(lambda: (row := calendar.row())["failures"] == 0 and row, "it being renewed")
    assert row["error"] is None


def test_a_calendar_is_read_page_by_page_and_from_its_beginning_when_graph_forgot(calendar):
    numbers = [a_number() for _ in range(60)]
    for at, number in enumerate(numbers):
        calendar.put(number, organizer="hal@acme.test", hours=10 + at, notify=False)
    calendar.sandbox.fault(provider="graph", what="status", status=410, method="GET", path="calendarView")
    calendar.due(missed_at="now()")
    calendar.settle()
    query = "SELECT count(*) FROM meetings WHERE salesperson_email = 'hal@acme.test'"
    wait_until(lambda: calendar.cursor.execute(query).fetchone()["count"] == 60, "all of them")
    sizes = {entry["headers"]["prefer"].split("maxpagesize=")[1] for entry in calendar.asked("GET", "calendarView")}
    assert sizes == {"50"}


def test_a_calendar_whose_place_is_at_another_address_is_read_from_its_beginning(calendar):
    """As after a trial with a server of one's own: GRAPH_BASE_URL is another one, and the database is the same."""
    number = a_number()
    calendar.put(number, organizer="jo@acme.test", hours=10, notify=False)
    calendar.due(missed_at="now()", delta_link="'http://127.0.0.1:1/v1.0/users/x/calendarView/delta?$deltatoken=7'")
    calendar.meeting(number)
    assert calendar.settle()["delta_link"].startswith(calendar.sandbox.url)


def test_days_come_into_sight(calendar):
    number = a_number()
    calendar.put(number, organizer="ida@acme.test", hours=24 * 10, notify=False)
    calendar.due(window_at="now() - interval '2 days'")
    calendar.meeting(number)
    wait_until(lambda: datetime.now(timezone.utc) - calendar.row()["window_at"] < timedelta(minutes=5), "the new window")


def test_a_changed_secret_makes_a_new_subscription(calendar):
    before = calendar.row()["subscription_id"]
    ingest = calendar.ingest
    assert ingest.stop() == 0
    ingest.settings["GRAPH_CLIENT_SECRET"] = f"{SECRETS[1]},{SECRETS[0]}"
    ingest.start().ready()
    number = a_number()
    calendar.put(number)
    calendar.meeting(number)            # told under the old secret, which is known still
    calendar.due()
    gone_and_back(calendar, before)
    assert ingest.stop() == 0
    ingest.settings["GRAPH_CLIENT_SECRET"] = SECRETS[1]
    ingest.start().ready()
    number = a_number()
    calendar.put(number)
    calendar.meeting(number)


def test_wrong_credentials_are_said_and_hold_up_nothing(calendar, database):
    ingest = calendar.ingest
    assert ingest.stop() == 0
    ingest.settings["GRAPH_CLIENT_SECRET"] = "wrong," + SECRETS[1]
    ingest.start().ready()
    calendar.due(renew_at="now()")
    row = wait_until(lambda: (row := calendar.row())["failures"] and row, "the failure")
    assert "check GRAPH_TENANT_ID, GRAPH_CLIENT_ID and GRAPH_CLIENT_SECRET" in row["error"] and "invalid_client" in row["error"]
    assert requests.get(ingest.url + "/ready", timeout=5).text == "ready\n"
    assert "wrong" not in row["error"]
    assert ingest.stop() == 0
    ingest.settings["GRAPH_CLIENT_SECRET"] = SECRETS[1]
    ingest.start().ready()
    calendar.due(failures=0)
    calendar.settle()
