"""The sales coach from the registration to the CRM's note, and everything that comes late, twice or otherwise: the real daemons,
Kafka, Postgres, and the provider sandbox.  A person's way is read from what they see in WhatsApp."""

import re
import threading
import uuid
from datetime import timedelta

from call_pipeline import ADMIN, a_number, recording, segments
from call_pipeline import process  # noqa: F401 (a fixture)
from coach_pipeline import MINUTE, as_text, coach, now, opened  # noqa: F401 (fixtures)
from environment import wait_until
from sandbox_process import PLAN_TEMPLATE, REMINDER_TEMPLATE, WELCOME_TEMPLATE


def body_of(coach, template):
    return [message for message in coach.sandbox.control("GET", "/messages")["messages"] if message["content_sid"] == template]


# --- the whole way


def test_from_registration_to_the_note(coach):
    person = coach.salesperson(name="Ada Park")
    assert coach.register(person).ok
    assert "Ada Park" in coach.got(person, "welcome")[0], "the template: nobody has written yet"
    told = coach.invites(person, "Renewal of the service contract", client=coach.client())
    assert coach.got(person, "plan")[0].endswith("Reply to read it."), "the template"
    coach.writes(person, "Hello")
    _, plan = coach.got(person, "plan", 2)
    assert "Renewal of the service contract" in plan and all(f"{step}." in plan for step in (1, 2, 3)) and "4." not in plan
    assert "without a model" in plan, "a plan from the meeting's own words says so"
    coach.meeting(told, status="scheduled", plan_state="sent")
    assert coach.answer_to(person, "What do I say when they ask for a discount?")
    coach.over(told)
    reminder, = coach.got(person, "reminder")
    assert "Renewal of the service contract" in reminder
    coach.meeting(told, status="reminder_sent")
    assert "HubSpot" in coach.answer_to(person, "DONE! They signed for two years.")
    row = coach.meeting(told, status="completed", last_client_reply="They signed for two years.")
    contact_id = told["client"]["hubspot_contact_id"]
    assert coach.note(told)["hubspot_contact_id"] == contact_id
    note, = coach.notes_at_hubspot("They signed for two years.")
    assert contact_id in str(note)
    purposes = [row["purpose"] for row in coach.deliveries(person)]
    assert [purpose for purpose in purposes if purpose != "answer"] == ["welcome", "plan", "plan", "reminder"]
    kept = coach.database.execute("SELECT direction FROM messages WHERE tenant = %s ORDER BY \"timestamp\"", [person.tenant]).fetchall()
    assert sorted(row["direction"] for row in kept) == ["incoming"] * 3 + ["outgoing"] * len(purposes)
    assert row["next_check_at"] is None


def test_who_registers_again_is_updated_and_a_number_that_is_none_is_told_beside_its_field(coach):
    person = coach.registered()
    assert coach.register(person, name="Ada Park-Lee").ok
    query = "SELECT name FROM users WHERE tenant = %s AND email = %s AND name = 'Ada Park-Lee'"
    found = lambda: coach.database.execute(query, [person.tenant, person.email]).fetchall()  # noqa: E731
    assert len(wait_until(found, "the new name")) == 1
    refused = coach.register(person, phone="12")
    assert refused.status_code == 422 and re.search(r'aria-invalid="true"', refused.text)
    coach.got(person, "welcome", 1)


# --- late, and in another order


def test_a_meeting_that_came_before_its_organizer_registered_is_planned_then(coach):
    person = coach.salesperson()
    told = coach.invites(person)
    assert coach.meeting(told)["salesperson_phone"] is None
    told_admin = lambda: [message for message in coach.messages(ADMIN) if person.email in message["body"]]  # noqa: E731
    wait_until(told_admin, "the administrator being told")
    coach.changes(person, told, title="Renewal, and the new price")
    coach.meeting(told, title="Renewal, and the new price")
    assert coach.register(person).ok
    assert "Renewal, and the new price" in coach.got(person, "plan")[0]
    assert len(told_admin()) == 1, "once"


def test_a_meeting_that_was_over_before_its_organizer_registered_is_not_planned(coach):
    person = coach.salesperson()
    told = coach.invites(person)
    coach.meeting(told)
    coach.over(told)
    assert coach.register(person).ok
    coach.got(person, "welcome")
    coach.settle(person)
    assert not coach.deliveries(person, "plan")


def test_a_moved_meeting_has_a_new_plan_and_its_reminder_after_the_new_end(coach):
    person = coach.talking()
    told = coach.invites(person)
    coach.got(person, "plan")
    coach.over(told)
    coach.got(person, "reminder")
    begins = now() + timedelta(hours=20)
    coach.changes(person, told, start_time=as_text(begins), end_time=as_text(begins + 30 * MINUTE))
    coach.meeting(told, status="scheduled", revision=2, plan_version=2)
    coach.got(person, "plan", 2)
    coach.over(told)
    coach.got(person, "reminder", 2)
    coach.meeting(told, status="reminder_sent", revision=2)


def test_a_shortened_meeting_keeps_its_plan_and_is_reminded_of_earlier(coach):
    person = coach.talking()
    told = coach.invites(person, starts_in=-10 * MINUTE, lasts=60 * MINUTE)
    coach.got(person, "plan")
    told = coach.changes(person, told, end_time=as_text(now() - MINUTE))
    coach.got(person, "reminder")
    row = coach.meeting(told, status="reminder_sent", revision=2)
    assert row["plan_version"] == 1
    coach.settle(person)
    coach.got(person, "plan", 1)


def test_the_same_news_again_and_another_spelling_change_nothing(coach):
    person = coach.talking()
    told = coach.invites(person, "Renewal of the contract")
    coach.got(person, "plan")
    coach.tell(person, told)
    coach.changes(person, told, title="RENEWAL  of the contract ")
    coach.settle(person)
    coach.got(person, "plan", 1)
    row = coach.meeting(told)
    assert (row["revision"], row["plan_version"]) == (1, 1)


def test_a_cancelled_meeting_is_not_reminded_of(coach):
    person = coach.talking()
    told = coach.invites(person)
    coach.got(person, "plan")
    coach.changes(person, told, status="cancelled")
    assert coach.meeting(told, status="cancelled")["next_check_at"] is None
    coach.settle(person)
    assert not coach.deliveries(person, "reminder")


def test_a_meeting_cancelled_after_its_reminder_is_not_completed(coach):
    person = coach.talking()
    told = coach.invites(person)
    coach.got(person, "plan")
    coach.over(told)
    coach.got(person, "reminder")
    coach.changes(person, told, status="cancelled")
    coach.meeting(told, status="cancelled")
    assert coach.answer_to(person, "Done")
    assert coach.meeting(told)["status"] == "cancelled" and not coach.notes_at_hubspot("Done")
    coach.got(person, "reminder", 1)


def test_a_plan_that_comes_after_the_meetings_end_is_not_sent(coach):
    person = coach.talking()
    assert coach.daemons["notifier"].stop() == 0
    told = coach.invites(person)
    plans = "SELECT 1 FROM meeting_plans WHERE meeting_id = %s"
    meeting_id = coach.meeting(told)["meeting_id"]
    wait_until(lambda: coach.database.execute(plans, [meeting_id]).fetchone(), "the plan being made")
    coach.over(told)
    coach.daemons["notifier"].start().ready()
    coach.got(person, "reminder")
    assert not coach.deliveries(person, "plan")


def test_a_meeting_that_ended_while_analyze_was_away_gets_no_plan_at_all(coach):
    person = coach.talking()
    assert coach.daemons["analyze"].stop() == 0
    told = coach.invites(person)
    coach.meeting(told)
    coach.over(told)
    coach.daemons["analyze"].start().ready()
    coach.got(person, "reminder")
    coach.settle(person)
    assert not coach.deliveries(person, "plan")
    assert not coach.database.execute("SELECT 1 FROM meeting_plans WHERE meeting_id = %s", [coach.meeting(told)["meeting_id"]]).fetchall()


def test_feedback_before_the_reminder_completes_and_there_is_no_reminder(coach):
    person = coach.talking()
    told = coach.invites(person, starts_in=-20 * MINUTE, lasts=60 * MINUTE, client=coach.client())
    coach.got(person, "plan")
    coach.answer_to(person, "done: they want a second offer")
    assert coach.meeting(told, status="completed")["last_client_reply"] == "they want a second offer"
    coach.over(told)
    coach.settle(person)
    assert not coach.deliveries(person, "reminder")


# --- twice, and at once


def test_done_twice_is_one_note(coach):
    person = coach.talking()
    told = coach.invites(person, client=coach.client())
    coach.got(person, "plan")
    coach.over(told)
    coach.got(person, "reminder")
    first = coach.answer_to(person, "Done, the price was fine")
    assert coach.answer_to(person, "Done, the price was fine") != first
    assert len(coach.notes_at_hubspot("the price was fine")) == 1 and coach.note(told)["version"] == 1


def test_a_webhook_that_comes_again_and_again_is_one_message(coach):
    person = coach.talking()
    coach.sandbox.fault(provider="twilio", what="duplicate_webhook", path="^incoming$", copies=5)
    before = len(coach.deliveries(person, "answer"))
    sid = coach.writes(person, "next")
    coach.writes(person, sid=sid)
    coach.got(person, "answer", before + 1)
    coach.settle(person)
    coach.got(person, "answer", before + 2)


def test_two_messages_in_the_same_second_are_both_answered(coach):
    person = coach.talking()
    before = len(coach.deliveries(person, "answer"))
    both = [threading.Thread(target=coach.writes, args=(person, text)) for text in ("help", "next")]
    for writer in both:
        writer.start()
    for writer in both:
        writer.join()
    coach.got(person, "answer", before + 2)
    rows = coach.database.execute("SELECT message FROM messages WHERE tenant = %s AND direction = 'incoming'", [person.tenant]).fetchall()
    assert sorted(row["message"] for row in rows) == ["help", "help", "next"]


def test_of_two_meetings_at_once_the_person_says_which(coach):
    person = coach.talking()
    first = coach.invites(person, "Renewal", client=coach.client())
    second = coach.invites(person, "Demo", client={"name": "Carl Moss", "email": "carl@moss.test", "company": "Moss Ltd"})
    coach.got(person, "plan", 2)
    for told in (first, second):
        coach.over(told)
    coach.got(person, "reminder", 2)
    which = coach.answer_to(person, "Done, they liked it")
    assert "Renewal" in which and "Demo" in which
    coach.answer_to(person, "Bea")
    coach.meeting(first, status="completed", last_client_reply="they liked it")
    assert coach.meeting(second)["status"] == "reminder_sent"
    coach.answer_to(person, "done with Carl Moss, no interest")
    coach.meeting(second, status="completed")


# --- the CRM


def test_a_client_without_an_address_is_reported_as_missing_in_the_crm(coach):
    person = coach.talking()
    told = coach.invites(person, client={"name": "Dan Vale", "company": "Vale Ltd"})
    coach.got(person, "plan")
    coach.over(told)
    coach.got(person, "reminder")
    said = coach.answer_to(person, "Done, he will think about it")
    coach.note(told, "no_contact")
    coach.meeting(told, status="completed", last_client_reply="he will think about it")
    assert "HubSpot" in said and not coach.notes_at_hubspot("he will think about it")


def test_a_note_is_changed_and_taken_back(coach):
    person = coach.talking()
    told = coach.invites(person, client=coach.client())
    coach.got(person, "plan")
    coach.over(told)
    coach.got(person, "reminder")
    coach.writes(person, "Done, they signed")
    coach.note(told)
    coach.writes(person, "change they signed for one year only")
    assert coach.note(told, version=2)["outcome"] == "they signed for one year only"
    coach.writes(person, "undo")
    coach.note(told, "withdrawn", 3)


# --- how people write


def test_a_voice_note_is_understood_as_its_words(coach):
    person = coach.talking()
    told = coach.invites(person, client=coach.client())
    coach.got(person, "plan")
    coach.over(told)
    coach.got(person, "reminder")
    sid, spoken = "MM" + uuid.uuid4().hex, (("customer", "Done, they want the offer by Friday"),)
    coach.sandbox.control("PUT", "/files/note.ogg", data=recording(spoken, 1), headers={"Content-Type": "audio/ogg"})
    coach.sandbox.control("PUT", "/transcripts", json={"file_name": f"{sid}-*", "segments": segments(spoken, None)})
    coach.sandbox.control("PUT", "/settings", json={"media_after_ms": 500})
    assert "is completed" in coach.answer_to(person, sid=sid, media=["note.ogg"])
    coach.meeting(told, status="completed", last_client_reply="they want the offer by Friday")


def test_what_can_be_neither_read_nor_heard_gets_a_kind_word(coach):
    person = coach.talking()
    coach.sandbox.control("PUT", "/files/photo.jpg", data=b"\xff\xd8\xff", headers={"Content-Type": "image/jpeg"})
    said = coach.answer_to(person, media=["photo.jpg"])
    assert "text" in said and "voice" in said
    assert not coach.asked("files"), "nobody fetched it"


def test_of_two_numbers_the_one_last_written_from_receives(coach):
    person = coach.talking()
    other = a_number()
    assert coach.register(person, phone=other).ok
    wait_until(lambda: coach.chat(other), "the welcome at the second number")
    coach.writes(person, "help", phone=other)
    wait_until(lambda: [text for who, text in coach.chat(other) if who == "coach" and "*plan*" in text], "the answer to the second number")
    before = len(coach.chat(person.phone))
    coach.invites(person, "Renewal")
    wait_until(lambda: [text for who, text in coach.chat(other) if who == "coach" and "Renewal" in text], "the plan to the second number")
    assert len(coach.chat(person.phone)) == before
    coach.writes(person, "plan")
    wait_until(lambda: "Renewal" in coach.chat(person.phone)[-1][1], "the plan to the first number, which wrote last")


def test_a_number_nobody_knows_gets_the_page_once_a_day(coach):
    stranger = a_number()
    message = {"from": "whatsapp:" + stranger, "body": "hi", "target": coach.ingest.url + "/whatsapp-webhook"}
    for _ in range(3):
        assert coach.sandbox.control("POST", "/messages", json=message)["webhooks"][0]["status"] in (200, 204)
    wait_until(lambda: coach.messages(stranger), "the answer")
    seen = "SELECT count(*) FROM ledger WHERE stage = 'notifier' AND event_type = 'chat.answered' AND subject = %s"
    wait_until(lambda: coach.database.execute(seen, [stranger]).fetchone()["count"] == 3, "all three being handled")
    only, = coach.messages(stranger)
    assert "/register" in only["body"]


# --- a model


def test_a_roleplay_stays_in_role_until_it_is_left(coach):
    coach.use("analyze", LLM_PROVIDER="gemini")
    try:
        person = coach.talking()
        told = coach.invites(person, "Renewal", starts_in=-10 * MINUTE, description="They find the price too high.", client=coach.client())
        plan, = coach.got(person, "plan")
        assert "price" in plan and "Bea Stone" in plan and "without a model" not in plan
        in_role = "As Bea Stone of Stone Ltd I tell you:"
        assert coach.answer_to(person, "Let us practise: you play the client").startswith(in_role)
        assert coach.answer_to(person, "The guarantee covers every repair at night").startswith(in_role)
        feedback = coach.answer_to(person, "feedback")
        assert "The guarantee covers every repair at night" in feedback and not feedback.startswith(in_role)
        coach.over(told)
        coach.got(person, "reminder")
        assert coach.answer_to(person, "Have they signed for two years?")
        assert coach.meeting(told)["status"] == "reminder_sent", "a question never completes"
        assert "is completed" in coach.answer_to(person, "They signed for two years.")
        coach.meeting(told, status="completed", last_client_reply="They signed for two years.")
        assert len(coach.notes_at_hubspot("They signed for two years.")) == 1
    finally:
        coach.use("analyze", LLM_PROVIDER="rules")


def test_a_model_that_answers_nonsense_is_asked_once_more_and_the_person_is_answered(coach):
    coach.use("analyze", LLM_PROVIDER="gemini")
    try:
        person = coach.talking()
        coach.invites(person, "Renewal")
        coach.got(person, "plan")
        coach.sandbox.fault(provider="gemini", what="nonsense")
        assert "Bea Stone" in coach.answer_to(person, "What do I ask about the renewal?")
        assert len(coach.asked("gemini")) == 3, "the plan, the nonsense, and once more"
    finally:
        coach.use("analyze", LLM_PROVIDER="rules")


# --- WhatsApp's rules


def test_outside_the_window_everything_is_a_template_and_follows_on_the_reply(coach):
    person = coach.talking()
    coach.a_day_goes_by(person)
    told = coach.invites(person)
    coach.got(person, "plan")
    coach.meeting(told, plan_state="announced")
    coach.over(told)
    coach.got(person, "reminder")
    ready, = body_of(coach, PLAN_TEMPLATE)
    asked, = body_of(coach, REMINDER_TEMPLATE)
    assert {ready["status"], asked["status"]} == {"read"} and len(body_of(coach, WELCOME_TEMPLATE)) == 1


def test_a_plan_that_was_announced_comes_before_the_answer(coach):
    person = coach.talking()
    coach.a_day_goes_by(person)
    coach.invites(person, "Renewal")
    coach.got(person, "plan")
    coach.answer_to(person, "next")
    assert [row["purpose"] for row in coach.deliveries(person)][-2:] == ["plan", "answer"]


def test_without_a_template_what_may_not_be_sent_is_blocked_and_seen(coach):
    coach.use("notifier", TWILIO_CONTENT_SID_PLAN="")
    try:
        person = coach.talking()
        coach.a_day_goes_by(person)
        coach.invites(person)
        blocked = lambda: [row for row in coach.deliveries(person) if row["status"] == "blocked"]  # noqa: E731
        row, = wait_until(blocked, "the plan being blocked")
        assert "TWILIO_CONTENT_SID_PLAN" in row["error"]
        coach.writes(person, "plan")
        statuses = lambda: [row["status"] for row in coach.deliveries(person, "plan")]  # noqa: E731
        wait_until(lambda: statuses() == ["blocked", "read"], "the plan itself")
    finally:
        coach.use("notifier", TWILIO_CONTENT_SID_PLAN=PLAN_TEMPLATE)


def test_a_plan_that_twilio_finds_too_late_for_text_is_announced_after_all(coach):
    person = coach.talking()
    coach.sandbox.control("PUT", "/settings", json={"window_hours": 0})
    told = coach.invites(person, "Renewal")
    announced = lambda: [row for row in coach.deliveries(person, "plan") if row["status"] == "read"]  # noqa: E731
    row, = wait_until(announced, "the announcement")
    assert row["version"].endswith("/template")
    coach.meeting(told, plan_state="announced")
    coach.sandbox.control("PUT", "/settings", json={"window_hours": 24})
    coach.answer_to(person, "next")
    assert [row["status"] for row in coach.deliveries(person, "plan")] == ["failed", "read", "read"]
    coach.meeting(told, plan_state="sent")


def test_who_says_stop_gets_nothing_until_start(coach):
    person = coach.talking()
    coach.writes(person, "STOP")
    stopped = "SELECT stopped_at FROM user_phones WHERE tenant = %s AND phone = %s"
    wait_until(lambda: coach.database.execute(stopped, [person.tenant, person.phone]).fetchone()["stopped_at"], "the stop being known")
    told = coach.invites(person)
    meeting_id = coach.meeting(told)["meeting_id"]
    wait_until(lambda: coach.database.execute("SELECT 1 FROM meeting_plans WHERE meeting_id = %s", [meeting_id]).fetchone(), "the plan")
    coach.over(told)
    wait_until(lambda: coach.meeting(told)["next_check_at"] is None, "the reminder's time being over")
    assert coach.meeting(told)["status"] == "scheduled", "a reminder that was not sent"
    seen = [text for who, text in coach.chat(person.phone) if who == "coach"]
    assert "unsubscribed" in seen[-1], "Twilio's own word, and nothing after it"
    assert not coach.topics.find("dead.notifier", person.email)
    coach.writes(person, "START")
    wait_until(lambda: not coach.database.execute(stopped, [person.tenant, person.phone]).fetchone()["stopped_at"], "the start being known")
    coach.writes(person, "help")
    wait_until(lambda: "*plan*" in coach.chat(person.phone)[-1][1], "the answer")


def test_a_stop_in_another_language_is_ours_alone(coach):
    person = coach.talking()
    coach.writes(person, "Stopp")
    wait_until(lambda: coach.chat(person.phone)[-1][0] == "coach", "the confirmation")
    stopped = "SELECT stopped_at FROM user_phones WHERE tenant = %s AND phone = %s"
    wait_until(lambda: coach.database.execute(stopped, [person.tenant, person.phone]).fetchone()["stopped_at"], "the stop being known")


# --- nothing of all this is a dead letter


def test_nothing_was_a_dead_letter(coach):
    letters = [letter["data"]["reason"] for stage in ("ingest", "transcribe", "analyze", "notifier")
               for letter in coach.topics.find("dead." + stage) if letter["time"] > coach.began]
    assert not letters
