"""The sandbox's Microsoft Graph: tokens, subscriptions with their handshake, notices, events and what changed of a calendar."""

import json
import threading
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from sandbox_process import KEYS, WAIT_S
from sandbox_process import process, sandbox  # noqa: F401 (fixtures)

COACH = "coach@acme.test"
SECRET = KEYS["GRAPH_CLIENT_SECRET"].split(",")[0]
IMMUTABLE = 'IdType="ImmutableId"'


class Application:
    """Ours: takes notices, and shakes hands as told."""

    def __init__(self):
        self.notices, self.arrived = [], threading.Condition()
        self.statuses, self.answer = [], lambda token: (200, "text/plain", token)
        application = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                token = parse_qs(urlsplit(self.path).query).get("validationToken")
                status, kind, said = application.answer(token[0]) if token else (202, "text/plain", "")
                with application.arrived:
                    if not token:
                        status = application.statuses.pop(0) if application.statuses else status
                        application.notices.append((self.path, body))
                        application.arrived.notify_all()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(said.encode())))
                self.end_headers()
                self.wfile.write(said.encode())

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/notify?tenant=acme"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def wait(self, count):
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.notices) >= count, WAIT_S), self.notices
            return [json.loads(body)["value"][0] for _, body in self.notices]


@pytest.fixture
def application():
    application = Application()
    yield application
    application.server.shutdown()
    application.server.server_close()


def token(sandbox, status=200, directory=KEYS["GRAPH_TENANT_ID"], **more):
    form = {"grant_type": "client_credentials", "client_id": KEYS["GRAPH_CLIENT_ID"], "client_secret": SECRET,
            "scope": "https://graph.microsoft.com/.default", **more}
    answer = requests.post(f"{sandbox.url}/graph/login/{directory}/oauth2/v2.0/token", data=form, timeout=WAIT_S)
    assert answer.status_code == status, answer.text
    return answer.json()


def ask(sandbox, method, path, status=200, prefer=IMMUTABLE, bearer=None, **arguments):
    headers = {"Authorization": f"Bearer {bearer or token(sandbox)['access_token']}", "Prefer": prefer}
    url = path if path.startswith("http") else f"{sandbox.url}/graph/v1.0{path}"
    answer = requests.request(method, url, headers=headers, timeout=WAIT_S, **arguments)
    assert answer.status_code == status, answer.text
    if status >= 400:
        assert set(answer.json()["error"]) == {"code", "message", "innerError"}
        return answer.json()["error"]["code"]
    return answer.json() if answer.content else None


def in_minutes(count):
    return (datetime.now(timezone.utc) + timedelta(minutes=count)).isoformat()


def wanted(url, **more):
    return {"changeType": "created,updated,deleted", "notificationUrl": url, "lifecycleNotificationUrl": url,
            "resource": f"/users/{COACH}/events", "expirationDateTime": in_minutes(4200), "clientState": "state", **more}


def subscribe(sandbox, application, status=201, **more):
    return ask(sandbox, "POST", "/subscriptions", status, json=wanted(application.url, **more))


def an_event(hours=1, **more):
    start = datetime.now(timezone.utc) + timedelta(hours=hours)
    return {"subject": "Roof", "start": {"dateTime": start.strftime("%Y-%m-%dT%H:%M:%S")},
            "end": {"dateTime": (start + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S")},
            "organizer": {"emailAddress": {"address": "ana@acme.test", "name": "Ana"}}, **more}


def put(sandbox, number, mailbox=COACH, **event):
    return sandbox.control("PUT", f"/calendar/{mailbox}/events/{number}", json=an_event(**event))


def test_a_token_is_given_to_who_knows_the_secret(sandbox):
    given = token(sandbox)
    assert (given["token_type"], given["expires_in"]) == ("Bearer", 3599)
    token(sandbox, client_secret="an-older-secret")
    assert token(sandbox, 401, client_secret="wrong")["error"] == "invalid_client"
    assert token(sandbox, 400, client_id="wrong")["error"] == "unauthorized_client"
    assert token(sandbox, 400, scope="Calendars.Read")["error"] == "invalid_scope"
    assert token(sandbox, 400, directory="elsewhere")["error"] == "invalid_request"
    kept = sandbox.control("GET", "/requests", params={"provider": "graph"})["requests"]
    assert {entry["body"]["client_secret"] for entry in kept} == {"***"}


def test_a_token_ends(sandbox):
    assert ask(sandbox, "GET", "/subscriptions", 401, bearer="wrong") == "InvalidAuthenticationToken"
    sandbox.control("PUT", "/settings", json={"graph_token_s": 0})
    assert ask(sandbox, "GET", "/subscriptions", 401) == "InvalidAuthenticationToken"
    sandbox.control("PUT", "/settings", json={"graph_token_s": 100})
    good = token(sandbox)["access_token"]
    assert ask(sandbox, "GET", "/subscriptions", bearer=good) == {"value": []}
    sandbox.control("DELETE", "/calendar/tokens")
    ask(sandbox, "GET", "/subscriptions", 401, bearer=good)


@pytest.mark.parametrize("more, code", [
    ({"notificationUrl": "http://hooks.example.test/x"}, "InvalidRequest"), ({"resource": "/me/events"}, "ExtensionError"),
    ({"changeType": "created,moved"}, "InvalidRequest"), ({"clientState": "x" * 129}, "InvalidRequest"),
    ({"expirationDateTime": 10081}, "InvalidRequest"), ({"expirationDateTime": -1}, "InvalidRequest"),
    ({"expirationDateTime": "soon"}, "InvalidRequest"), ({"notificationURL": "x"}, "InvalidRequest"),
])
def test_a_subscription_that_cannot_be(sandbox, application, more, code):
    more = {name: in_minutes(value) if isinstance(value, int) else value for name, value in more.items()}
    assert subscribe(sandbox, application, 400, **more) == code
    assert ask(sandbox, "GET", "/subscriptions") == {"value": []}


@pytest.mark.parametrize("answer", [
    lambda token: (403, "text/plain", token), lambda token: (200, "text/html", token), lambda token: (200, "text/plain", token + "\n"),
    lambda token: (200, "text/plain", f'"{token}"'), lambda token: (200, "text/plain", token.replace(" ", "+")),
], ids=["refused", "html", "line break", "quoted", "escaped"])
def test_a_hand_that_is_not_shaken_makes_no_subscription(sandbox, application, answer):
    application.answer = answer
    assert subscribe(sandbox, application, 400) == "ValidationError"
    assert ask(sandbox, "GET", "/subscriptions") == {"value": []}


def test_the_life_of_a_subscription(sandbox, application):
    made = subscribe(sandbox, application)
    assert made["clientState"] == "state" and made["applicationId"] == KEYS["GRAPH_CLIENT_ID"]
    assert subscribe(sandbox, application, 409) == "ExtensionError"
    listed, = ask(sandbox, "GET", "/subscriptions")["value"]
    assert (listed["id"], listed["clientState"]) == (made["id"], None)
    path = f"/subscriptions/{made['id']}"
    renewed = ask(sandbox, "PATCH", path, json={"expirationDateTime": in_minutes(10)})
    assert renewed["expirationDateTime"] > in_minutes(40), "less than 45 minutes are made 45"
    assert ask(sandbox, "PATCH", path, 400, json={"clientState": "x"}) == "InvalidRequest"
    assert ask(sandbox, "POST", path + "/reauthorize", 204) is None
    assert ask(sandbox, "DELETE", path, 204) is None
    assert ask(sandbox, "PATCH", path, 404, json={"expirationDateTime": in_minutes(60)}) == "ResourceNotFound"


def test_notices_name_the_event_and_its_version(sandbox, application):
    made = subscribe(sandbox, application)
    put(sandbox, "E1")
    put(sandbox, "E1", subject="Roof, again")
    put(sandbox, "E2", mailbox="other@acme.test")
    sandbox.control("DELETE", f"/calendar/{COACH}/events/E1")
    items = application.wait(3)
    assert sorted(item["changeType"] for item in items) == ["created", "deleted", "updated"]
    assert {(item["subscriptionId"], item["clientState"], item["resourceData"]["id"]) for item in items} == {(made["id"], "state", "E1")}
    assert len({item["resourceData"]["@odata.etag"] for item in items}) == 3
    assert application.notices[0][0] == "/notify?tenant=acme"


def test_a_notice_is_repeated_until_it_is_taken(sandbox, application):
    subscribe(sandbox, application)
    application.statuses = [503, 500]
    put(sandbox, "E1")
    first, second, third = application.wait(3)
    assert first == second == third


def test_faults_of_notices(sandbox, application):
    subscribe(sandbox, application)
    sandbox.fault(provider="graph", what="wrong_signature", path="created")
    sandbox.fault(provider="graph", what="duplicate_webhook", path="updated")
    put(sandbox, "E1")
    put(sandbox, "E1")
    assert sorted(item["clientState"] for item in application.wait(3)) == ["somebody-else", "state", "state"]


def test_the_subscription_has_news_of_its_own(sandbox, application):
    made = subscribe(sandbox, application)
    for event in ("missed", "reauthorizationRequired", "subscriptionRemoved"):
        sandbox.control("POST", "/calendar/lifecycle", json={"event": event})
    items = application.wait(3)
    assert sorted(item["lifecycleEvent"] for item in items) == ["missed", "reauthorizationRequired", "subscriptionRemoved"]
    ask(sandbox, "GET", f"/subscriptions/{made['id']}", 404)


def test_an_event_is_read(sandbox):
    put(sandbox, "E1", attendees=[{"emailAddress": {"address": "bo@client.test"}, "type": "required"}])
    event = ask(sandbox, "GET", f"/users/{COACH}/events/E1")
    assert (event["id"], event["subject"], event["type"], event["isCancelled"]) == ("E1", "Roof", "singleInstance", False)
    assert event["start"]["timeZone"] == "UTC" and event["organizer"]["emailAddress"]["address"] == "ana@acme.test"
    assert ask(sandbox, "GET", f"/users/{COACH}/events/E1", prefer="")["id"] != "E1", "other ids change when it is moved"
    few = ask(sandbox, "GET", f"/users/{COACH}/events/E1?$select=subject")
    assert set(few) == {"@odata.etag", "subject"}
    assert ask(sandbox, "GET", f"/users/{COACH}/events/E1?$select=subjekt", 400) == "BadRequest"
    assert ask(sandbox, "GET", "/users/other@acme.test/events/E1", 404) == "ErrorItemNotFound"


def test_what_changed_of_a_calendar(sandbox):
    def page(path):
        return ask(sandbox, "GET", path, prefer="odata.maxpagesize=2")

    window = f"?startDateTime={in_minutes(0)[:19]}Z&endDateTime={in_minutes(60 * 24 * 14)[:19]}Z"
    for number in range(3):
        put(sandbox, f"E{number}", hours=2 + number)
    put(sandbox, "past", hours=-10)
    put(sandbox, "far", hours=24 * 30)
    put(sandbox, "series", hours=5, recurrence={"range": {"numberOfOccurrences": 30}})
    seen, path = [], f"/users/{COACH}/calendarView/delta{window}"
    while "@odata.deltaLink" not in (found := page(path)):
        seen += found["value"]
        path = found["@odata.nextLink"]
        assert len(found["value"]) == 2
    seen += found["value"]
    ids = [item["id"] for item in seen]
    assert ids[:3] == ["E0", "E1", "E2"] and len(ids) == 3 + 14 and all(id.startswith("series.") for id in ids[3:])
    assert "subject" in seen[0] and "subject" not in seen[3] and seen[3]["type"] == "occurrence"
    assert page(found["@odata.deltaLink"])["value"] == []
    put(sandbox, "E1", hours=9)
    sandbox.control("DELETE", f"/calendar/{COACH}/events/E0")
    changed = page(found["@odata.deltaLink"])
    assert [(item["id"], "@removed" in item) for item in changed["value"]] == [("E1", False), ("E0", True)]
    assert ask(sandbox, "GET", f"/users/{COACH}/calendarView/delta", 400) == "ErrorInvalidParameter"
