"""What came of a meeting: completed whatever HubSpot does, noted there once, and said to who wrote it."""

import re

import pytest
from coach_stand import in_minutes
from coach_stand import process, stand, started  # noqa: F401 (fixtures)
from environment import wait_until

ABOUT = '"Roof" with Bo Lee (Lee & Sons)'


def said(stand, ana, act, meeting=None, outcome=None, **data):
    """What analyze makes of what she wrote a moment ago: gives the event's id."""
    message_id = ana.writes(outcome or act)
    data = {"message_id": message_id, "from": ana.phone, "salesperson": ana.email, "act": act, "meeting_id": meeting, "text": None,
            "outcome": outcome, **data}
    return stand.send("results", ana.email, "chat.answered", data, ana.tenant)


def over(stand, ana, **columns):
    return stand.meeting(ana, starts=-62, **{"status": "reminder_sent", **columns})


def client_of(stand, meeting):
    return stand.rows("SELECT c.* FROM clients c JOIN meetings USING (tenant, client_id) WHERE meeting_id = %s", meeting)[0]


def asked(stand, method=None, path=None):
    about = {name: value for name, value in {"provider": "hubspot", "method": method, "path": path}.items() if value}
    return stand.sandbox.control("GET", "/requests", params=about)["requests"]


def time_goes_by(stand, meeting):
    """Until the note is tried again, by when HubSpot has done with whatever it got."""
    wait_until(lambda: all(request["took_ms"] is not None for request in asked(stand)), "HubSpot being done")
    stand.execute("UPDATE asks SET lease_until = now() WHERE subject = %s", meeting)
    stand.execute("UPDATE meeting_notes SET next_check_at = now() WHERE meeting_id = %s AND state = 'waiting'", meeting)


@pytest.fixture
def known(stand):
    """A meeting that is over, whose client is a contact in HubSpot."""
    ana = stand.salesperson()
    meeting = over(stand, ana)
    return ana, meeting, stand.contact(email=client_of(stand, meeting)["email"])


def test_done_is_noted_on_the_clients_contact(stand, known):
    ana, meeting, contact = known
    said(stand, ana, "complete", meeting, "Bo & Ann signed <today>\nfor 9,000.")
    assert ana.gets(1)[0]["body"] == f"{ABOUT} is completed, and your note is in HubSpot."
    row = stand.meeting_row(meeting, status="completed")
    assert (row["last_client_reply"], row["next_check_at"]) == ("Bo & Ann signed <today>\nfor 9,000.", None)
    note, = stand.notes(contact)
    assert "Bo &amp; Ann signed &lt;today&gt;<br>for 9,000." in note["properties"]["hs_note_body"]
    assert note["properties"]["hs_note_body"].startswith("<strong>Roof</strong>")
    kept = stand.note(meeting, state="logged")
    assert (kept["hubspot_note_id"], kept["hubspot_contact_id"], kept["version"]) == (note["id"], contact, 1)
    delivery, = stand.deliveries(subject=meeting, channel="hubspot")
    assert (delivery["purpose"], delivery["provider_id"], delivery["status"]) == ("note", note["id"], "delivered")
    told, = stand.topics.wait("deliveries", delivery["recipient"])
    assert (told["data"]["channel"], told["data"]["status"], told["data"]["delivery_id"]) == ("hubspot", "delivered", str(delivery["delivery_id"]))


@pytest.mark.parametrize("crm", ["/crm/v3/objects", "/crm/objects/2026-03"])
@pytest.mark.parametrize("by", ["id", "address", "second address", "address, before the index", "address, since its id is gone"])
def test_the_contact_is_found(stand, by, crm):
    stand.use(HUBSPOT_CRM_PATH=crm)
    ana = stand.salesperson()
    if "index" in by:
        stand.sandbox.control("PUT", "/hubspot/settings", json={"index_lag_ms": 60_000})
    email = f"bo-{ana.email}"
    properties = {"email": "other@lee.test", "hs_additional_emails": email} if by == "second address" else {"email": email}
    contact = stand.contact(**properties)
    client = {"email": email, "hubspot_contact_id": {"id": contact, "address, since its id is gone": "99999"}.get(by)}
    said(stand, ana, "complete", over(stand, ana, client=client), "Signed.")
    assert "your note is in HubSpot" in ana.gets(1)[0]["body"]
    assert len(stand.notes(contact)) == 1
    if by == "id":
        assert not [search for search in asked(stand, path="search") if email in str(search)]
    stand.use(HUBSPOT_CRM_PATH=None)


def test_without_a_token_the_meeting_completes_and_says_so(stand, known):
    stand.use(HUBSPOT_ACCESS_TOKEN=None)
    ana, meeting, _ = known
    said(stand, ana, "complete", meeting, "Signed.")
    assert ana.gets(1)[0]["body"] == f"{ABOUT} is completed, but HubSpot is not connected, so your note is kept here alone."
    assert stand.note(meeting, state="no_token") and stand.meeting_row(meeting, status="completed")
    stand.use(HUBSPOT_ACCESS_TOKEN="the-hubspot-token")
    said(stand, ana, "complete", meeting, "Signed.")
    assert "your note is in HubSpot" in ana.gets(2)[1]["body"], "once it is connected, saying it again notes it"


@pytest.mark.parametrize("client", [{"email": "nobody@lee.test"}, {"email": None}])
def test_a_client_who_is_no_contact_is_reported_as_missing(stand, client):
    ana = stand.salesperson()
    meeting = over(stand, ana, client=client)
    said(stand, ana, "complete", meeting, "Signed.")
    assert "Bo Lee is not among the contacts in HubSpot" in ana.gets(1)[0]["body"]
    assert stand.note(meeting, state="no_contact") and stand.meeting_row(meeting, status="completed")
    assert not asked(stand, "POST", "/notes")
    if not client["email"]:
        assert not asked(stand)


@pytest.mark.parametrize("token, reason", [({"scopes": []}, "HTTP status 403, MISSING_SCOPES: This app"),
                                           ({"scopes": ["crm.objects.contacts.read"]}, "HTTP status 403, MISSING_SCOPES: This app"),
                                           ({"expires_at": "2020-01-01T00:00:00Z"}, "HTTP status 401, EXPIRED_AUTHENTICATION")])
def test_what_hubspot_refuses_is_said_with_its_reason_and_stops_nobody(stand, known, token, reason):
    ana, meeting, contact = known
    stand.sandbox.control("PUT", "/hubspot/tokens/the-hubspot-token", json=token)
    said(stand, ana, "complete", meeting, "Signed.")
    body = ana.gets(1)[0]["body"]
    assert body.startswith(f"{ABOUT} is completed, but HubSpot did not take your note") and reason in body
    assert reason in stand.note(meeting, state="refused")["error"] and stand.meeting_row(meeting, status="completed")
    assert stand.notifier.metric("circuit_open", provider="hubspot") == 0
    stand.sandbox.control("PUT", "/hubspot/tokens/the-hubspot-token", json={})
    said(stand, ana, "complete", meeting, "Signed.")
    assert "your note is in HubSpot" in ana.gets(2)[1]["body"] and len(stand.notes(contact)) == 1


LATER = {
    "too many in a second": {"what": "status", "status": 429, "body": {"status": "error", "errorType": "RATE_LIMIT", "policyName": "SECONDLY"}},
    "too many today": {"what": "status", "status": 429, "body": {"status": "error", "category": "RATE_LIMITS", "policyName": "DAILY"}},
    "locked": {"what": "status", "status": 423},
    "moving": {"what": "status", "status": 477, "headers": {"Retry-After": "7200"}},
    "broken": {"what": "status", "status": 502},
    "cut": {"what": "cut"},
    "stalled": {"what": "stall", "seconds": 1.5},
    "nonsense": {"what": "malformed_json"},
}


@pytest.mark.parametrize("day", LATER)
def test_a_bad_day_of_hubspot_holds_up_nobody_and_the_note_follows(stand, known, day):
    ana, meeting, contact = known
    stand.sandbox.fault(provider="hubspot", method="POST", path="/notes$", count=1, **LATER[day])
    said(stand, ana, "complete", meeting, "Signed.")
    said(stand, ana, "answer", text="Well done.")
    first, second = (message["body"] for message in ana.gets(2))
    assert first.startswith(f"{ABOUT} is completed, but HubSpot cannot take your note just now.") and second == "Well done."
    note = stand.note(meeting, state="waiting")
    stand.meeting_row(meeting, status="completed")
    wait_s = (note["next_check_at"] - note["created_at"]).total_seconds()
    tomorrow = stand.rows("SELECT extract(epoch FROM (date_trunc('day', now() AT TIME ZONE 'America/New_York') + interval '1 day')"
                          " AT TIME ZONE 'America/New_York' - now()) AS s")[0]["s"]
    assert abs(wait_s - {"moving": 7200, "too many today": float(tomorrow) + 60}.get(day, 60)) < 10
    time_goes_by(stand, meeting)
    assert ana.gets(3)[2]["body"] == f"{ABOUT}: your note is in HubSpot."
    note = stand.note(meeting, state="logged")
    assert len(stand.notes(contact)) == 1 and (stand.meeting_row(meeting)["next_check_at"], note["next_check_at"]) == (None, None)


def test_a_note_that_waits_follows_also_when_the_meeting_is_moved(stand, known):
    ana, meeting, contact = known
    stand.sandbox.fault(provider="hubspot", method="POST", path="/notes$", what="status", status=503)
    said(stand, ana, "complete", meeting, "They want it a week later.")
    ana.gets(1)
    stand.note(meeting, state="waiting")
    stand.execute("UPDATE meetings SET revision = 2, status = 'scheduled', start_time = now() + interval '7 days', end_time = now() + interval"
                  " '7 days 1 hour', next_check_at = now() + interval '7 days 1 hour 1 minute' WHERE meeting_id = %s", meeting)
    time_goes_by(stand, meeting)
    assert ana.gets(2)[1]["body"] == f"{ABOUT}: your note is in HubSpot."
    note, = stand.notes(contact)
    assert "They want it a week later." in note["properties"]["hs_note_body"] and stand.note(meeting, state="logged")["revision"] == 1
    row = stand.meeting_row(meeting)
    assert (row["status"], row["revision"]) == ("scheduled", 2) and row["next_check_at"] > in_minutes(60), "it has its reminder before it"


@pytest.mark.parametrize("rule", [{"what": "status", "status": 500}, {"what": "cut"}, {"what": "stall", "seconds": 1.5}, {"what": "empty", "when": None}])
def test_a_note_that_was_written_although_the_answer_was_lost_is_found_and_not_written_twice(stand, known, rule):
    ana, meeting, contact = known
    rule = {name: value for name, value in {"when": "after", **rule}.items() if value}
    stand.sandbox.fault(provider="hubspot", method="POST", path="/notes$", **rule)
    said(stand, ana, "complete", meeting, "Signed.")
    ana.gets(1)
    stand.note(meeting, state="waiting")
    assert len(stand.notes(contact)) == 1
    said(stand, ana, "amend", meeting, "Signed, for 9,000.")
    ana.gets(2)
    time_goes_by(stand, meeting)
    stand.note(meeting, state="logged")
    note, = stand.notes(contact)
    assert "Signed, for 9,000." in note["properties"]["hs_note_body"], "with the words it was changed to meanwhile"


def test_an_answer_that_was_begun_in_other_words_is_found_in_those(stand, known):
    """By the second try HubSpot is back, and it would be told otherwise."""
    ana, meeting, contact = known
    stand.sandbox.fault(provider="hubspot", method="POST", path="/notes$", what="status", status=502)
    stand.sandbox.fault(provider="twilio", what="no_webhook", count=4)
    stand.sandbox.fault(provider="twilio", method="POST", what="cut", when="after")
    assert stand.settled(said(stand, ana, "complete", meeting, "Signed."))["outcome"] == "done"
    message, = ana.gets(1)
    assert "HubSpot cannot take your note just now" in message["body"]
    assert stand.note(meeting, state="logged") and len(stand.notes(contact)) == 1
    delivery, = stand.deliveries(tenant=ana.tenant, channel="whatsapp")
    assert delivery["provider_id"] == message["sid"]
    kept, = stand.rows("SELECT message FROM messages WHERE tenant = %s AND direction = 'outgoing'", ana.tenant)
    assert kept["message"] == message["body"], "what was said is what is kept"


def test_done_twice_is_noted_once(stand, known):
    ana, meeting, contact = known
    said(stand, ana, "complete", meeting, "Signed.")
    said(stand, ana, "complete", meeting, "Signed, really.")
    assert "is completed already, and noted in HubSpot" in ana.gets(2)[1]["body"]
    assert len(stand.notes(contact)) == 1 and stand.note(meeting)["outcome"] == "Signed."


def test_a_note_is_changed_and_taken_back_and_written_anew(stand, known):
    ana, meeting, contact = known
    said(stand, ana, "complete", meeting, "Signed.")
    ana.gets(1)
    said(stand, ana, "amend", meeting, "Signed for 8,000.")
    assert ana.gets(2)[1]["body"] == f"The note of {ABOUT} is changed, and your note is in HubSpot."
    note, = stand.notes(contact)
    assert "Signed for 8,000." in note["properties"]["hs_note_body"]
    assert stand.note(meeting, version=2)["hubspot_note_id"] == note["id"]
    said(stand, ana, "undo", meeting)
    assert "is taken back" in ana.gets(3)[2]["body"]
    assert stand.notes(contact) == [] and stand.note(meeting, state="withdrawn")
    assert stand.meeting_row(meeting)["status"] == "completed", "a status only moves forward"
    said(stand, ana, "undo", meeting)
    said(stand, ana, "amend", meeting, "No.")
    said(stand, ana, "complete", meeting, "Signed for 7,000.")
    told = [message["body"] for message in ana.gets(6, but=3)]
    assert re.search("no note .* to take back", told[0]) and re.search("no note .* to change", told[1]) and "your note is in HubSpot" in told[2]
    assert stand.note(meeting, state="logged")["version"] == 4 and len(stand.notes(contact)) == 1


def test_an_old_change_that_is_replayed_changes_nothing(stand, known):
    ana, meeting, contact = known
    said(stand, ana, "complete", meeting, "Signed.")
    data = {"message_id": ana.writes("change"), "from": ana.phone, "salesperson": ana.email, "act": "amend", "meeting_id": meeting, "outcome": "First."}
    time = in_minutes(0).isoformat().replace("+00:00", "Z")
    event_id = stand.send("results", ana.email, "chat.answered", data, ana.tenant, time=time)
    said(stand, ana, "amend", meeting, "Second.")
    ana.gets(3)
    stand.send("replay.notifier", ana.email, "chat.answered", data, ana.tenant, id=event_id, run=1, time=time)
    assert stand.settled(event_id, run=1)["outcome"] == "done"
    assert stand.note(meeting)["outcome"] == "Second." and "Second." in stand.notes(contact)[0]["properties"]["hs_note_body"]
    assert len(ana.gets(3)) == 3


def test_what_is_said_before_the_reminder_completes_and_there_is_no_reminder(stand):
    ana = stand.salesperson()
    meeting = stand.meeting(ana, starts=-58, minutes=57, next_check_at=in_minutes(0.06))
    said(stand, ana, "complete", meeting, "Signed.")
    ana.gets(1)
    row = stand.meeting_row(meeting, status="completed")
    assert row["next_check_at"] is None
    assert [row["purpose"] for row in stand.deliveries(tenant=ana.tenant)] == ["answer"]


def test_nothing_is_lost_without_a_meeting_or_when_it_was_cancelled(stand):
    ana = stand.salesperson()
    said(stand, ana, "complete", None, "Signed.")
    meeting = over(stand, ana, status="cancelled")
    said(stand, ana, "complete", meeting, "They called it off.")
    first, second = (message["body"] for message in ana.gets(2))
    assert "no meeting of yours" in first and "was cancelled" in second
    stand.meeting_row(meeting, last_client_reply="They called it off.")
    assert not asked(stand)


def test_two_of_them_in_the_same_moment_are_handled_one_after_the_other(stand, known):
    ana, meeting, contact = known
    for words in ("Signed.", "Not signed."):
        said(stand, ana, "complete", meeting, words)
    ana.gets(2)
    assert len(stand.notes(contact)) == 1 and stand.meeting_row(meeting, status="completed")["last_client_reply"] == "Signed."


def test_ten_people_at_once_stay_within_the_searches_that_hubspot_allows(stand):
    people = []
    for _ in range(10):
        ana = stand.salesperson()
        meeting = over(stand, ana)
        stand.contact(email=client_of(stand, meeting)["email"])
        people.append((ana, meeting))
    for ana, meeting in people:
        said(stand, ana, "complete", meeting, "Signed.")
    for ana, meeting in people:
        assert "your note is in HubSpot" in ana.gets(1)[0]["body"]
    wait_until(lambda: len(asked(stand, "POST", "search")) == 10, "ten searches")
