"""Which meetings become of what calendars tell: whose, which, with whom, when, and what has changed.

The door and the recorder are one daemon here, from outside: HTTP in, rows and events out."""

import datetime
import json
import threading
import uuid

import pytest
from coach_door import MAILBOX, SECRET, UTC, Meeting, Person, at, changes, clients, get, kept_body, register, registered, rows, tell, text, user
from coach_door import company, ingest, known, person  # noqa: F401 (fixtures)
from environment import wait_until


def test_a_meeting_of_somebody_known(ingest, company, topics, database, known):
    meeting = Meeting(known.email.upper())
    assert tell(ingest, meeting).status_code == 200
    event, = topics.wait("meetings", known.email, type="meeting.changed")
    row, = rows(database, known.email)
    assert event["tenant"] == company and event["correlationid"] == known.email
    assert event["data"] == {"meeting_id": str(row["meeting_id"]), "change": "scheduled", "salesperson": known.email, "known": True,
                             "revision": 1, "plan_version": 1}
    assert (row["outlook_event_id"], row["status"], row["salesperson_phone"]) == (meeting.meeting["id"], "scheduled", known.phone)
    assert row["next_check_at"] == row["end_time"] + datetime.timedelta(minutes=1)
    client = database.execute("SELECT name, company, hubspot_contact_id FROM clients WHERE tenant = %s AND email = %s", (company, meeting.client)).fetchone()
    assert client == ("Carl Client", "Buyer GmbH", "4711")
    inbound, = topics.find("inbound.outlook", known.email)
    assert json.loads(inbound["data"]["body"]) == meeting.body, "it is kept as it came"


def test_only_who_knows_a_secret_is_let_in(ingest, topics, person):
    for secret in (None, "", "wrong", SECRET + " ", f"{SECRET}, an older one", "the new secre"):
        if secret == SECRET + " ":
            continue
        assert tell(ingest, b"{not even read", secret=secret).status_code == 401, secret
    assert tell(ingest, Meeting(person.email), secret="an older one").status_code == 200
    topics.wait("inbound.outlook", person.email)
    assert ingest.metric("ingest_signatures_refused_total", source="outlook", reason="wrong") >= 5
    assert SECRET not in ingest.log()


def test_without_a_secret_nobody_is_let_in(daemon):
    ingest = daemon("ingest").ready()
    assert tell(ingest, b"{}").status_code == 401 and "OUTLOOK_WEBHOOK_SECRET is not set" in ingest.log()


def test_moved_renamed_and_moved_back(ingest, topics, database, known):
    meeting = Meeting(known.email, at(3))
    tell(ingest, meeting)
    assert changes(topics, known.email) == [("scheduled", 1, 1)]
    tell(ingest, meeting.move(2))
    assert changes(topics, known.email, 2)[1:] == [("moved", 2, 2)]
    meeting.meeting["title"] = "  RENEWAL   talk "
    tell(ingest, meeting)
    assert changes(topics, known.email, 3)[2:] == [("updated", 2, 2)], "spelled otherwise: no new plan"
    meeting.meeting["title"] = "Renewal and upgrade"
    tell(ingest, meeting)
    assert changes(topics, known.email, 4)[3:] == [("updated", 2, 3)]
    meeting.meeting["end_time"] = text(datetime.datetime.fromisoformat(meeting.meeting["end_time"]) + datetime.timedelta(minutes=30))
    tell(ingest, meeting)
    assert changes(topics, known.email, 5)[4:] == [("moved", 3, 3)], "a longer one is reminded of later, and planned as before"
    row, = rows(database, known.email)
    assert (row["revision"], row["plan_version"], row["title"]) == (3, 3, "Renewal and upgrade")
    assert row["next_check_at"] == row["end_time"] + datetime.timedelta(minutes=1)
    moved = topics.find("meetings", known.email, change="moved")[0]
    assert moved["data"]["previous_start"] and moved["data"]["previous_start"] < row["start_time"].isoformat()


def test_cancelled_and_planned_anew(ingest, topics, database, known):
    meeting = Meeting(known.email)
    tell(ingest, meeting)
    changes(topics, known.email)
    tell(ingest, {"meeting": {"id": meeting.meeting["id"], "organizer": {"address": known.email}, "status": "cancelled"}})
    assert changes(topics, known.email, 2)[1:] == [("cancelled", 1, 1)]
    row, = rows(database, known.email)
    assert (row["status"], row["next_check_at"], row["title"]) == ("cancelled", None, "Renewal talk")
    meeting.meeting["isCancelled"] = False
    tell(ingest, meeting)
    assert changes(topics, known.email, 3)[2:] == [("moved", 2, 2)]
    row, = rows(database, known.email)
    assert (row["status"], row["revision"]) == ("scheduled", 2) and row["next_check_at"]


def test_what_took_place_stays_completed(ingest, topics, database, known):
    meeting = Meeting(known.email, at(-2))
    meeting.meeting["end_time"] = text(at(1))
    tell(ingest, meeting)
    changes(topics, known.email)
    database.execute("UPDATE meetings SET status = 'completed', next_check_at = NULL WHERE salesperson_email = %s", (known.email,))
    meeting.meeting["end_time"] = text(at(-1))
    tell(ingest, meeting)
    assert changes(topics, known.email, 2)[1:] == [("updated", 1, 1)], "its end was corrected: nobody is reminded again"
    tell(ingest, {"meeting": {**meeting.meeting, "status": "cancelled"}})
    later = Meeting(known.email)
    tell(ingest, later)
    changes(topics, known.email, 3)
    completed, _ = rows(database, known.email)
    assert (completed["status"], completed["next_check_at"]) == ("completed", None)
    tell(ingest, meeting.move(48))
    assert changes(topics, known.email, 4)[3:] == [("moved", 2, 2)]
    assert {row["status"] for row in rows(database, known.email)} == {"scheduled"}, "a new time: it is to take place again"


def test_a_meeting_far_ahead_is_looked_at_shortly_before(ingest, topics, database, known):
    tell(ingest, Meeting(known.email, at(72)))
    changes(topics, known.email)
    row, = rows(database, known.email)
    assert row["next_check_at"] == row["start_time"] - datetime.timedelta(minutes=15)


def test_a_meeting_that_was_over_when_it_came_is_not_reminded_of(ingest, topics, database, known):
    tell(ingest, Meeting(known.email, at(-5)))
    changes(topics, known.email)
    assert rows(database, known.email)[0]["next_check_at"] is None


def test_without_an_id_a_meeting_is_known_by_organizer_client_and_start(ingest, topics, database, known):
    meeting = Meeting(known.email, at(5), id=False)
    tell(ingest, meeting)
    changes(topics, known.email)
    meeting.body["client"]["company"] = "Buyer Holding"
    meeting.meeting["title"] = "Something else"
    tell(ingest, meeting)
    assert changes(topics, known.email, 2)[1:] == [("updated", 1, 2)], "the same start: renamed"
    tell(ingest, meeting.move(20))
    assert changes(topics, known.email, 3)[2:] == [("moved", 2, 3)], "the same title within 24 hours: moved"
    tell(ingest, meeting.move(25))
    assert changes(topics, known.email, 4)[3:] == [("scheduled", 1, 1)], "farther away: another one"
    assert len(rows(database, known.email)) == 2
    meeting.body["client"] = {"name": "Dora", "company": "Without mail"}
    tell(ingest, meeting)
    tell(ingest, meeting.move(1))
    assert changes(topics, known.email, 6)[4:] == [("scheduled", 1, 1), ("moved", 2, 2)], "a client without an address is known by name"
    assert len(rows(database, known.email)) == 3


def test_an_id_that_comes_later_belongs_to_the_same_meeting(ingest, topics, database, known):
    meeting = Meeting(known.email, at(5), id=False)
    tell(ingest, meeting)
    changes(topics, known.email)
    meeting.meeting["id"] = "AAMk-later-" + uuid.uuid4().hex
    tell(ingest, meeting)
    assert changes(topics, known.email, 2)[1:] == [("updated", 1, 1)]
    row, = rows(database, known.email)
    assert row["outlook_event_id"] == meeting.meeting["id"]


def test_two_meetings_at_once(ingest, topics, database, known):
    start = at(4)
    for _ in range(2):
        tell(ingest, Meeting(known.email, start))
    assert changes(topics, known.email, 2) == [("scheduled", 1, 1)] * 2
    assert len(rows(database, known.email)) == 2


def test_as_microsoft_graph_says_it(ingest, topics, database, known):
    colleague = Person()
    database.execute("INSERT INTO users (tenant, email, user_id, name, role) SELECT tenant, %s, %s, 'B', 'rep' FROM users WHERE email = %s",
                     (colleague.email, colleague.email, known.email))
    people = [("Room 1", "room1@seller.example", "resource"), (known.name, known.email, "required"), ("Coach", MAILBOX.upper(), "optional"),
              ("Boss", "boss@seller.example", "required"), ("Colleague", colleague.email, "required"),
              ("zoe@buyer.example", "Zoe@buyer.example", "required"), ("Yann", "yann@buyer.example", "optional"), ("Zoe again", "zoe@buyer.example", "optional")]
    tell(ingest, {"meeting": {
        "id": "AAMk" + uuid.uuid4().hex, "subject": "Demo", "bodyPreview": "Show the new dashboard.", "isCancelled": False,
        "start": {"dateTime": "2030-07-05T10:00:00.0000000", "timeZone": "UTC"}, "end": {"dateTime": "2030-07-05T11:00:00.0000000", "timeZone": "UTC"},
        "organizer": {"emailAddress": {"name": known.name, "address": known.email}},
        "attendees": [{"type": kind, "emailAddress": {"name": name, "address": address}} for name, address, kind in people]}})
    changes(topics, known.email)
    row, = rows(database, known.email)
    assert clients(database, row["meeting_id"]) == [("zoe@buyer.example", None), ("yann@buyer.example", "Yann"), ("boss@seller.example", "Boss")]
    assert (row["start_time"], row["title"]) == (datetime.datetime(2030, 7, 5, 10, tzinfo=UTC), "Demo")


@pytest.mark.parametrize("start,end,utc", [
    ("2030-07-05T10:00:00Z", "2030-07-05T11:00:00Z", 10), ("2030-07-05T10:00:00+05:30", "2030-07-05T05:00:00Z", 4.5),
    ("2030-07-05T10:00:00", "2030-07-05T11:00:00", 8), ("2030-01-05T10:00:00.5", "2030-01-05T11:00:00", 9),
    ({"dateTime": "2030-07-05T10:00:00", "timeZone": "America/New_York"}, {"dateTime": "2030-07-05T11:00:00", "timeZone": "America/New_York"}, 14),
    ({"dateTime": "2030-07-05T10:00:00Z", "timeZone": "America/New_York"}, {"dateTime": "2030-07-05T11:00:00Z"}, 10),
    ({"dateTime": "2030-07-05T10:00:00"}, {"dateTime": "2030-07-05T11:00:00", "timeZone": ""}, 8),
    ({"dateTime": "2030-07-05T10:00:00", "timeZone": "India Standard Time"}, {"dateTime": "2030-07-05T11:00:00", "timeZone": "India Standard Time"}, 4.5),
    ({"dateTime": "2030-07-05T10:00:00", "timeZone": "Pacific Standard Time"}, {"dateTime": "2030-07-05T20:00:00", "timeZone": "UTC"}, 17),
    ({"dateTime": "2030-07-05T10:00:00", "timeZone": "UTC-11"}, {"dateTime": "2030-07-05T23:00:00", "timeZone": "UTC"}, 21),
])
def test_times_with_and_without_an_offset(ingest, topics, database, known, start, end, utc):
    meeting = Meeting(known.email)
    meeting.meeting.update(start_time=start, end_time=end)
    tell(ingest, meeting)
    changes(topics, known.email)
    started = rows(database, known.email)[0]["start_time"]
    assert started.hour + started.minute / 60 == utc, "without an offset it is the company's time, Berlin's"


def test_nobody_known_and_then_somebody_registers(ingest, company, topics, database, person):
    first, second, over = Meeting(person.email, at(3)), Meeting(person.email, at(5)), Meeting(person.email, at(-5))
    cancelled = Meeting(person.email, at(4))
    for one in (first, second, over, cancelled):
        tell(ingest, one, company)
    tell(ingest, {"meeting": {**cancelled.meeting, "isCancelled": True}}, company)
    found = topics.wait("meetings", person.email, 5, type="meeting.changed")
    assert {event["data"]["known"] for event in found} == {False}
    assert {row["salesperson_phone"] for row in rows(database, person.email)} == {None}
    register(ingest, person.entered(), company)
    claimed = topics.wait("meetings", person.email, 2, type="meeting.changed", change="claimed")
    wanted = {str(row["meeting_id"]) for row in rows(database, person.email) if row["outlook_event_id"] in (first.meeting["id"], second.meeting["id"])}
    assert {event["data"]["meeting_id"] for event in claimed} == wanted, "not what is over, not what was cancelled"
    assert all(event["data"]["known"] for event in claimed)
    assert {row["outlook_event_id"]: row["salesperson_phone"] for row in rows(database, person.email)} == {
        first.meeting["id"]: person.phone, second.meeting["id"]: person.phone, over.meeting["id"]: None, cancelled.meeting["id"]: None}


def test_a_person_and_a_meeting_at_the_same_moment(ingest, company, topics, database):
    """Whichever is first: in the end the meeting is claimed, or came to somebody known."""
    people = [Person() for _ in range(12)]
    threads = [threading.Thread(target=call) for one in people
               for call in (lambda one=one: register(ingest, one.entered(), company), lambda one=one: tell(ingest, Meeting(one.email), company))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in people:
        registered(topics, one.email)
        wait_until(lambda one=one: any(event["data"]["known"] for event in topics.find("meetings", one.email, type="meeting.changed")), "a meeting of somebody known")
        assert rows(database, one.email)[0]["salesperson_phone"] == one.phone


def test_the_organizers_company_is_found_by_the_organizer(ingest, company, topics, database, person):
    other = "other-" + uuid.uuid4().hex[:8]
    database.execute("INSERT INTO companies (tenant, name) VALUES (%s, %s)", (other, other))
    wait_until(lambda: get(ingest, other).status_code == 200, "the other company being known")
    register(ingest, person.entered(), other)
    registered(topics, person.email)
    tell(ingest, Meeting(person.email))
    changes(topics, person.email)
    assert rows(database, person.email)[0]["tenant"] == other
    tell(ingest, Meeting(person.email), company)
    changes(topics, person.email, 2)
    assert {row["tenant"] for row in rows(database, person.email)} == {other, company}, "the path says otherwise"


#   the body, and where it cannot be read
UNREADABLE = {
    "not JSON": (b"{", None), "no bytes": (b"", None), "a list": (b"[]", "/meeting"), "no meeting": (b"{}", "/meeting"),
    "not UTF-8": (b'{"meeting":"\xff"}', None),
    "no organizer": ({"organizer": None}, "/meeting/organizer/address"),
    "an organizer without address": ({"organizer": {"name": "Ana"}}, "/meeting/organizer/address"),
    "an organizer that is none": ({"organizer": {"address": "Ana"}}, "/meeting/organizer/address"),
    "a number as organizer": ({"organizer": 5}, "/meeting/organizer"),
    "no start": ({"start_time": None}, "/meeting/start_time"), "no end": ({"end_time": ""}, "/meeting/end_time"),
    "a day that is none": ({"start_time": "2030-02-30T10:00:00Z"}, "/meeting/start_time"),
    "a day alone": ({"start_time": "2030-02-20"}, "/meeting/start_time"),
    "a start in words": ({"start_time": "tomorrow"}, "/meeting/start_time"), "a start as a number": ({"start_time": 1}, "/meeting/start_time"),
    "attendees in words": ({"attendees": "ana and ben"}, "/meeting/attendees"), "an attendee that is a number": ({"attendees": [{}, 1]}, "/meeting/attendees/1"),
    "a title that is a list": ({"title": []}, "/meeting/title"), "an id that is huge": ({"id": "x" * 1025}, "/meeting/id"),
    "a cancellation in words": ({"isCancelled": "yes"}, "/meeting/isCancelled"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_cannot_be_read_is_kept_and_acknowledged(ingest, topics, known, case):
    what, pointer = UNREADABLE[case]
    meeting = Meeting(known.email)
    if isinstance(what, dict):
        meeting.meeting.update(what)
    body = what if isinstance(what, bytes) else json.dumps(meeting.body).encode()
    answer = tell(ingest, body)
    assert answer.status_code == 200, answer.text

    def letter():
        for event in topics.find("dead.ingest"):
            if "outlook.meeting.received" in event["data"]["event"] and kept_body(json.loads(event["data"]["event"])) == body:
                return event["data"]
        return None

    found = wait_until(letter, "the dead letter")
    assert found.get("pointer") == pointer and found["reason"]


@pytest.mark.parametrize("change,reason", [
    ({"start_time": "2030-07-05T11:00:00Z", "end_time": "2030-07-05T10:00:00Z"}, "ends before it starts"),
    ({"start_time": {"dateTime": "2030-07-05T11:00:00", "timeZone": "Nowhere/Else"}}, "Nowhere/Else"),
])
def test_what_cannot_be_is_a_dead_letter(ingest, topics, known, change, reason):
    meeting = Meeting(known.email)
    meeting.meeting.update(change)
    assert tell(ingest, meeting).status_code == 200
    event, = topics.wait("dead.ingest", known.email)
    assert reason in event["data"]["reason"]


def test_a_company_in_the_path_must_be_there(ingest, topics, person):
    for number, name in enumerate(("nobody-at-all", "unassigned", "x" * 63), 1):
        assert tell(ingest, Meeting(person.email), name).status_code == 200
        assert "no company" in topics.wait("dead.ingest", person.email, number)[-1]["data"]["reason"]
    letters = len(topics.find("dead.ingest"))
    assert tell(ingest, Meeting(person.email), "x" * 64).status_code == 200
    wait_until(lambda: any("longer than 63 bytes" in event["data"]["reason"] for event in topics.find("dead.ingest")[letters:]), "the dead letter")


def test_nobody_comes(ingest, topics, database, known):
    tell(ingest, {"meeting": Meeting(known.email).meeting})
    tell(ingest, {"meeting": {**Meeting(known.email).meeting, "attendees": [{"address": MAILBOX}, known.email, {"name": "Room", "type": "room", "address": "r@x.example"}]}})
    marker = Meeting(known.email)
    tell(ingest, marker)
    changes(topics, known.email)
    assert [row["outlook_event_id"] for row in rows(database, known.email)] == [marker.meeting["id"]]


def test_who_comes_may_change(ingest, topics, database, known):
    meeting = Meeting(known.email)
    meeting.meeting["attendees"] = [{"address": "one@buyer.example", "name": "One"}]
    tell(ingest, meeting)
    changes(topics, known.email)
    meeting.meeting["attendees"].append({"address": "two@buyer.example", "name": "Two"})
    tell(ingest, meeting)
    assert changes(topics, known.email, 2)[1:] == [("updated", 1, 1)], "the leading client is the same"
    row, = rows(database, known.email)
    assert [email for email, _ in clients(database, row["meeting_id"])] == [meeting.client, "one@buyer.example", "two@buyer.example"]
    meeting.body["client"]["email"] = "two@buyer.example"
    tell(ingest, meeting)
    assert changes(topics, known.email, 3)[2:] == [("updated", 1, 2)], "another one leads"
    assert [email for email, _ in clients(database, row["meeting_id"])] == ["two@buyer.example", "one@buyer.example"]


def test_older_news_changes_nothing(ingest, topics, database, known, schema_ready):
    """A dead letter that is retried, or a replay: it comes late, and something later is known."""
    meeting = Meeting(known.email, at(6))
    tell(ingest, meeting)
    changes(topics, known.email)
    old, = topics.find("inbound.outlook", known.email)
    tell(ingest, meeting.move(1))
    changes(topics, known.email, 2)
    before = rows(database, known.email)
    topics.send("replay.ingest", known.email, {**old, "run": 1})
    outcome = wait_until(lambda: database.execute("SELECT outcome, why FROM ledger WHERE event_id = %s AND run = 1", (old["id"],)).fetchone(), "the replay")
    assert outcome == ("skipped", "something later is known of the meeting")
    assert rows(database, known.email) == before
    registration, = topics.find("inbound.registrations", known.email)
    register(ingest, known.entered(name="Newer"))
    registered(topics, known.email, 2)
    topics.send("replay.ingest", known.email, {**registration, "run": 1})
    wait_until(lambda: database.execute("SELECT 1 FROM ledger WHERE event_id = %s AND run = 1", (registration["id"],)).fetchone(), "the replay")
    assert user(database, before[0]["tenant"], known.email)[0] == "Newer"
