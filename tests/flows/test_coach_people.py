"""sb export and sb erase, of a salesperson and of a client: what the coach keeps of them comes out whole, and goes away."""

import json
import uuid

import pytest
from coach_door import Meeting, Person, changes, register, registered, rows, tell
from coach_door import company, ingest, known, person  # noqa: F401 (fixtures)
from test_sb_care import everything, recordings, sb  # noqa: F401 (fixtures)

pytestmark = pytest.mark.usefixtures("ingest")


@pytest.fixture
def meeting(ingest, topics, database, known, company):  # noqa: F811
    """A meeting with a client, and what the other stages write of it, put in beside the recorder's rows."""
    meeting = Meeting(known.email)
    meeting.client_name = f"Carl {uuid.uuid4().hex[:8]}"
    meeting.words = f"words {uuid.uuid4().hex[:8]}"
    meeting.body["client"].update(name=meeting.client_name, company=f"Company of {meeting.client_name}", phone="+1 202 555 0177")
    meeting.meeting.update(title=f"Talk with {meeting.client_name}", description=meeting.words)
    tell(ingest, meeting)
    changes(topics, known.email)
    meeting.row = rows(database, known.email)[0]
    of = (company, meeting.row["meeting_id"])
    database.execute("INSERT INTO meeting_plans (tenant, meeting_id, plan_version, summary, steps, provider, source_time)"
                     " VALUES (%s, %s, 1, %s, '[1, 2, 3]', 'rules', now())", (*of, f"{meeting.client_name}: {meeting.words}"))
    database.execute("INSERT INTO meeting_notes (tenant, meeting_id, revision, outcome, state, source_time)"
                     " VALUES (%s, %s, 1, %s, 'logged', now())", (*of, meeting.words))
    database.execute("INSERT INTO messages (tenant, message_id, email, phone, meeting_id, direction, purpose, message, \"timestamp\")"
                     " VALUES (%s, %s, %s, %s, %s, 'incoming', 'text', %s, now())",
                     (company, "SM" + uuid.uuid4().hex, known.email, known.phone, meeting.row["meeting_id"], meeting.words))
    database.execute("INSERT INTO chat_answers (tenant, message_id, email, act, waiting, choices, source_time)"
                     " VALUES (%s, %s, %s, 'answer', %s, ARRAY[%s::uuid], now())",
                     (company, "SM" + uuid.uuid4().hex, known.email, meeting.words, meeting.row["meeting_id"]))
    for number, content in enumerate((f"Plan for {meeting.client_name}", "Hello there")):
        database.execute("INSERT INTO asks (ask_id, stage, event_id, run, name, kind, provider, tenant, correlation_id, recipient, purpose, subject,"
                         " version, content, state) VALUES (%s, 'notifier', %s, 0, %s, 'once', 'twilio', %s, %s, %s, 'plan', %s, '1', %s, 'answered')",
                         (str(uuid.uuid4()), str(uuid.uuid4()), f"plan {number}", company, known.email, known.phone, str(uuid.uuid4()), content))
    return meeting


def found(database, *traces):
    """(table, trace) wherever something stands; the instances tell only what is handled now."""
    return [(table, trace) for table, content in everything(database).items() if table != "instances" for trace in traces if trace in content]


@pytest.mark.parametrize("name", ["email", "phone"])
def test_nothing_of_an_erased_salesperson_is_left(sb, meeting, known, database, name):  # noqa: F811
    told = json.loads(sb("export", getattr(known, name)).stdout)
    assert {"users", "user_phones", "meetings", "messages", "chat_answers", "meeting_plans"} <= {table for table, of in told["tables"].items() if of}
    done = sb("erase", getattr(known, name), "--json")
    assert done.returncode == 0, done.stderr
    assert found(database, known.email, known.phone[1:], meeting.words) == []
    status, title, email = database.execute("SELECT status, title, salesperson_email FROM meetings WHERE meeting_id = %s", (meeting.row["meeting_id"],)).fetchone()
    assert (status, title) == ("scheduled", "") and email.endswith("@erased.invalid"), "that there was a meeting stays"
    assert database.execute("SELECT name FROM clients JOIN meetings USING (tenant, client_id) WHERE meeting_id = %s", (meeting.row["meeting_id"],)).fetchone() == (
        meeting.client_name,), "the client is somebody else"


def test_who_was_erased_may_register_again(sb, ingest, company, topics, meeting, known, database):  # noqa: F811
    assert sb("erase", known.email).returncode == 0
    register(ingest, known.entered(name="Ana again"), company)
    assert registered(topics, known.email, 2)[1]["data"]["first"] is True


@pytest.mark.parametrize("name", ["email", "phone", "id"])
def test_nothing_of_an_erased_client_is_left(sb, meeting, known, database, name):  # noqa: F811
    client_id, = database.execute("SELECT client_id::text FROM meetings WHERE meeting_id = %s", (meeting.row["meeting_id"],)).fetchone()
    number = f"+1202556{uuid.uuid4().int % 10000:04}"
    database.execute("UPDATE clients SET phone = %s WHERE client_id = %s", (number, client_id))
    done = sb("erase", {"email": meeting.client, "phone": number, "id": client_id}[name], "--json")
    assert done.returncode == 0, done.stderr
    assert found(database, meeting.client, meeting.client_name, meeting.words, number[1:], client_id) == []
    row = rows(database, known.email)[0]
    assert (row["title"], row["salesperson_phone"], row["next_check_at"]) == ("", known.phone, None), "the salesperson is somebody else"
    assert [content for content, in database.execute("SELECT content FROM asks WHERE correlation_id = %s ORDER BY name", (known.email,))] == [None, "Hello there"]


def test_another_client_of_the_meeting_stays(sb, ingest, topics, database, known):  # noqa: F811
    meeting, other = Meeting(known.email), Person().email
    meeting.meeting["attendees"] = [{"address": other, "name": "Other"}]
    tell(ingest, meeting)
    changes(topics, known.email)
    assert sb("erase", meeting.client).returncode == 0
    assert found(database, meeting.client) == [] and found(database, other) == [("clients", other)]
