"""What goes out to salespeople: welcomes, plans, answers and reminders, by the rules of WhatsApp.  The notes stand in test_coach_crm.py."""

import re
import uuid
from datetime import timedelta

import pytest
from call_pipeline import ADMIN, a_number
from coach_stand import STEPS, SUMMARY, TEMPLATES, in_minutes
from coach_stand import process, stand, started  # noqa: F401 (fixtures)
from environment import wait_until

DAY = 24 * 60


def registered(stand, ana, **data):
    data = {"email": ana.email, "user_id": ana.user_id, "name": "Ana Silva", "phone": ana.phone, "first": True, **data}
    return stand.send("meetings", ana.email, "salesperson.registered", data, ana.tenant)


def changed(stand, ana, meeting_id, **data):
    data = {"meeting_id": meeting_id, "change": "scheduled", "salesperson": ana.email, "known": True, "revision": 1, "plan_version": 1, **data}
    return stand.send("meetings", ana.email, "meeting.changed", data, ana.tenant)


def answer(stand, ana, act, meeting=None, text=None, **data):
    """What analyze says of what she wrote a moment ago."""
    message_id = ana.writes("something")
    data = {"message_id": message_id, "from": ana.phone, "salesperson": ana.email, "act": act, "meeting_id": meeting, "text": text, **data}
    return stand.send("results", ana.email, "chat.answered", data, ana.tenant)


# --- the welcome


def test_whoever_registers_is_welcomed_once(stand):
    ana = stand.salesperson(wrote=None)
    registered(stand, ana)
    again = registered(stand, ana, first=False, phone_is_new=False)
    as_new = registered(stand, ana, first=False, phone_is_new=True)
    assert stand.settled(again)["why"] == "neither the person nor the number is new"
    assert stand.settled(as_new)["outcome"] == "done"
    message, = ana.gets(1)
    assert (message["content_sid"], message["body"]) == (TEMPLATES["WELCOME"][0], "Hello Ana Silva, your sales coach is here. Reply to this message to begin.")
    delivery, = stand.deliveries(subject=ana.user_id, status="read")
    assert (delivery["purpose"], delivery["channel"], delivery["tenant"]) == ("welcome", "whatsapp", ana.tenant)


def test_a_new_number_is_welcomed_too(stand):
    ana = stand.salesperson(wrote=None)
    registered(stand, ana)
    ana.gets(1)
    ana.phone = a_number()
    registered(stand, ana, first=False, phone_is_new=True)
    assert len(ana.gets(1)) == 1


def test_the_old_number_hears_that_another_one_is_registered(stand):
    ana = stand.salesperson()
    old, ana.phone = ana.phone, a_number()
    event_id = registered(stand, ana, first=False, phone_is_new=True, replaces=old)
    assert stand.settled(event_id)["outcome"] == "done" and len(ana.gets(1)) == 1
    message, = stand.messages(old)
    assert f"Another number is registered for {ana.email} now" in message["body"] and f"/register/{ana.tenant}" in message["body"]
    assert ana.phone not in message["body"], "nor does who takes it over learn more than that"
    known, = stand.deliveries(subject=ana.user_id, purpose="number_changed", status="read")
    assert known["recipient"] == "whatsapp:" + old


def test_an_old_number_that_may_not_be_written_to_is_seen_to_be(stand):
    ana = stand.salesperson(wrote=DAY + 5)
    assert stand.settled(registered(stand, ana, first=False, phone_is_new=False, replaces=(old := ana.phone)))["outcome"] == "done"
    assert not stand.messages(old)
    delivery, = stand.deliveries(subject=ana.user_id, purpose="number_changed")
    assert delivery["status"] == "blocked" and "24 hours" in delivery["error"]


def test_without_its_template_a_welcome_is_blocked_and_tells_what_to_set(stand):
    stand.use(TWILIO_CONTENT_SID_WELCOME=None)
    ana = stand.salesperson(wrote=None)
    assert stand.settled(registered(stand, ana))["outcome"] == "done"
    delivery, = stand.deliveries(subject=ana.user_id)
    assert (delivery["status"], delivery["error"]) == ("blocked", "TWILIO_CONTENT_SID_WELCOME is not set")
    stand.use(TWILIO_CONTENT_SID_WELCOME=TEMPLATES["WELCOME"][0])
    assert not ana.gets()


# --- the plan


def test_a_plan_goes_out_as_text_while_the_person_may_be_written_to(stand):
    ana = stand.salesperson(wrote=DAY - 5)
    meeting = stand.meeting(ana)
    stand.plan_made(ana, meeting)
    body = ana.gets(1)[0]["body"]
    assert body.startswith('Your plan for "Roof" with Bo Lee (Lee & Sons)\n') and SUMMARY in body
    assert [line for line in body.splitlines() if re.match(r"\d\. ", line)] == [f"{number}. {step}" for number, step in enumerate(STEPS, 1)]
    row = stand.meeting_row(meeting, plan_state="sent")
    assert row["plan_sent_version"] == 1
    local = stand.rows("SELECT to_char(start_time AT TIME ZONE 'America/New_York', 'FMDay, FMDD FMMonth, HH24:MI') AS t FROM meetings"
                       " WHERE meeting_id = %s", meeting)[0]["t"]
    assert body.splitlines()[1] == local, "in the company's own time"
    kept, = stand.rows("SELECT * FROM messages WHERE meeting_id = %s", meeting)
    assert (kept["direction"], kept["purpose"], kept["message"], kept["email"]) == ("outgoing", "plan", body, ana.email)


def test_a_plan_without_a_model_says_so(stand):
    ana = stand.salesperson()
    stand.plan_made(ana, stand.meeting(ana, provider="rules"), provider="rules")
    assert "Made without a model" in ana.gets(1)[0]["body"]


@pytest.mark.parametrize("wrote", [None, DAY - 0.5, 3 * DAY])
def test_a_plan_beyond_the_window_is_announced_and_follows_on_the_reply(stand, wrote):
    ana = stand.salesperson(wrote=wrote)
    meeting = stand.meeting(ana)
    stand.plan_made(ana, meeting)
    assert ana.gets(1)[0]["body"] == 'Your plan for "Roof" with Bo Lee (Lee & Sons) is ready. Reply to read it.'
    stand.meeting_row(meeting, plan_state="announced")
    answer(stand, ana, "answer", meeting)
    bodies = [message["body"] for message in ana.gets(2, but=1)]
    assert SUMMARY in bodies[0]
    stand.meeting_row(meeting, plan_state="sent")


def test_the_plan_comes_before_the_answer_and_once(stand):
    ana = stand.salesperson(wrote=None)
    meeting = stand.meeting(ana)
    stand.plan_made(ana, meeting)
    ana.gets(1)
    answer(stand, ana, "answer", meeting, "Good morning, Ana.")
    bodies = [message["body"] for message in ana.gets(3, but=1)]
    assert SUMMARY in bodies[0] and bodies[1] == "Good morning, Ana."
    stand.plan_made(ana, meeting)
    answer(stand, ana, "answer", meeting, "Still here.")
    assert [message["body"] for message in ana.gets(4, but=3)] == ["Still here."]


@pytest.mark.parametrize("columns, version, why", [
    ({"status": "cancelled"}, 1, "the meeting was cancelled"),
    ({"starts": -90}, 1, "the meeting has ended"),
    ({"plan_version": 2}, 1, "the meeting was changed since, and has a newer plan"),
    ({"salesperson_phone": None}, 1, "nobody knows the organizer"),
    ({"plan_state": "sent", "plan_sent_version": 1}, 1, "the plan was sent before"),
])
def test_a_plan_that_is_not_wanted_any_more_is_not_sent(stand, columns, version, why):
    ana = stand.salesperson()
    if "salesperson_phone" in columns:
        stand.execute("UPDATE users SET phone = NULL WHERE email = %s", ana.email)
    settled = stand.settled(stand.plan_made(ana, stand.meeting(ana, **columns), version))
    assert (settled["outcome"], settled["why"]) == ("skipped", why)
    assert not ana.gets()


def test_a_long_plan_comes_in_numbered_parts_in_order(stand):
    ana = stand.salesperson()
    meeting = stand.meeting(ana)
    summary = "\n\n".join(f"Paragraph {number}. " + "Every word of it counts. " * 30 for number in range(5))
    stand.plan(ana, meeting, summary=summary)
    stand.plan_made(ana, meeting)
    bodies = [message["body"] for message in ana.gets(4)]
    assert [body[:6] for body in bodies] == ["(1/4) ", "(2/4) ", "(3/4) ", "(4/4) "] and max(map(len, bodies)) <= 1600
    assert all(re.match(r"\(\d/4\) (Your plan|Paragraph|1. Ask)", body) for body in bodies), "split between paragraphs"
    rows = stand.deliveries(4, subject=meeting, status="read")
    assert [row["version"] for row in rows] == ["1/1", "1/2", "1/3", "1/4"]
    kept = stand.rows("SELECT message FROM messages WHERE meeting_id = %s ORDER BY \"timestamp\"", meeting)
    assert [row["message"] for row in kept] == bodies


def test_a_replay_sends_nothing_again_whatever_the_clock_says(stand):
    ana = stand.salesperson()
    meeting = stand.meeting(ana)
    data = {"meeting_id": meeting, "salesperson": ana.email, "revision": 1, "plan_version": 1, "provider": "gemini"}
    event_id = stand.send("results", ana.email, "plan.made", data, ana.tenant)
    ana.gets(1)
    stand.settled(event_id)
    stand.execute("UPDATE meetings SET plan_state = NULL, plan_sent_version = NULL WHERE meeting_id = %s", meeting)
    ana.stand.execute("UPDATE user_phones SET last_received_at = now() - interval '2 days' WHERE phone = %s", ana.phone)
    stand.execute("DELETE FROM messages WHERE phone = %s AND direction = 'incoming'", ana.phone)
    stand.send("replay.notifier", ana.email, "plan.made", data, ana.tenant, id=event_id, run=1)
    assert stand.settled(event_id, run=1)["outcome"] == "done"
    assert len(ana.gets(1)) == 1


# --- an organizer nobody knows


def test_the_administrator_is_told_once_of_an_organizer_nobody_knows(stand):
    ana = stand.salesperson()
    stand.execute("UPDATE users SET phone = NULL WHERE email = %s", ana.email)
    for title in ("Roof", "Gutter"):
        meeting = stand.meeting(ana, title=title, salesperson_phone=None)
        assert stand.settled(changed(stand, ana, meeting, known=False))["outcome"] == "done"
    message, = stand.messages(ADMIN)
    assert f"Unknown organizer: {ana.email}" in message["body"] and "Roof" in message["body"] and f"/register/{ana.tenant}" in message["body"]
    assert stand.settled(changed(stand, ana, meeting))["why"] == "nobody has to be told"
    assert stand.settled(changed(stand, ana, meeting, known=False, change="cancelled"))["outcome"] == "skipped"


@pytest.mark.parametrize("account", ["as before", "not set for a while"])
def test_a_message_whose_answer_was_lost_is_looked_for_also_when_it_is_not_wanted_any_more(stand, account):
    ana = stand.salesperson()
    stand.execute("UPDATE users SET phone = NULL WHERE email = %s", ana.email)
    stand.sandbox.fault(provider="twilio", what="no_webhook", count=8)
    stand.sandbox.fault(provider="twilio", method="POST", what="stall", when="after", seconds=5)
    event_id = changed(stand, ana, stand.meeting(ana, salesperson_phone=None), known=False)
    message, = wait_until(lambda: stand.messages(ADMIN), "the message at Twilio, which does not answer")
    stand.execute("UPDATE users SET phone = %s WHERE email = %s", ana.phone, ana.email)
    assert stand.settled(event_id)["why"] == "the organizer has registered meanwhile"
    token = stand.notifier.settings["TWILIO_AUTH_TOKEN"]
    if account == "not set for a while":
        stand.use(TWILIO_AUTH_TOKEN=None)
    stand.execute("UPDATE asks SET lease_until = now() - interval '2 minutes' WHERE event_id = %s", event_id)
    if account == "not set for a while":
        wait_until(lambda: stand.notifier.metric("retries_total", type="delivery.due") > 0, "it being looked for in vain")
        stand.use(TWILIO_AUTH_TOKEN=token)
    wait_until(lambda: stand.rows("SELECT provider_id FROM asks WHERE event_id = %s AND state = 'answered'", event_id) == [{"provider_id": message["sid"]}],
               "the message being found")
    assert len(stand.messages(ADMIN)) == 1


# --- the chat


def test_an_answer_is_sent_and_kept(stand):
    ana = stand.salesperson()
    meeting = stand.meeting(ana)
    said = answer(stand, ana, "answer", meeting, "Ask <b>what</b> decides & listen.")
    assert ana.gets(1)[0]["body"] == "Ask <b>what</b> decides & listen."
    assert stand.settled(said)["outcome"] == "done"
    kept, = stand.rows("SELECT * FROM messages WHERE email = %s AND direction = 'outgoing'", ana.email)
    assert str(kept["meeting_id"]) == meeting and kept["client_id"]


def test_the_plan_is_given_when_asked_for(stand):
    ana = stand.salesperson()
    meeting = stand.meeting(ana)
    answer(stand, ana, "plan", meeting)
    assert SUMMARY in ana.gets(1)[0]["body"]
    answer(stand, ana, "plan", meeting, "Here it is:")
    assert ana.gets(2, but=1)[0]["body"].startswith("Here it is:\n\nYour plan for")
    answer(stand, ana, "plan", stand.meeting(ana, plan=False, title="Gutter"))
    answer(stand, ana, "plan")
    told = [message["body"] for message in ana.gets(4, but=2)]
    assert told == ['The plan for "Gutter" with Bo Lee (Lee & Sons) is not made yet.',
                    "I know of no meeting of yours. Invite the coach's mailbox to one."]


def test_who_stops_gets_nothing_but_the_confirmation_until_the_start(stand):
    ana = stand.salesperson()
    meeting = stand.meeting(ana)
    answer(stand, ana, "stop")
    assert "no more messages" in ana.gets(1)[0]["body"]
    stand.plan_made(ana, meeting)
    delivery, = stand.deliveries(subject=meeting)
    assert (delivery["status"], delivery["error"]) == ("blocked", "the person wants no messages at this number")
    answer(stand, ana, "start", text="Willkommen zurück.")
    answer(stand, ana, "answer", meeting, "Yes?")
    assert [message["body"] for message in ana.gets(3, but=1)] == ["Willkommen zurück.", "Yes?"]


def test_an_unknown_number_gets_the_link_once_a_day(stand):
    tenant, number = stand.company(), a_number()
    stand.sandbox.control("POST", "/messages", json={"from": "whatsapp:" + number, "body": "hi"})
    def asks(time):
        message_id = "SM" + uuid.uuid4().hex
        stand.execute("INSERT INTO messages (tenant, message_id, phone, direction, purpose, message, \"timestamp\") VALUES"
                      " (%s, %s, %s, 'incoming', 'text', 'hi', now())", tenant, message_id, number)
        data = {"message_id": message_id, "from": number, "salesperson": None, "act": "link", "text": None}
        stand.settled(stand.send("results", number, "chat.answered", data, tenant, time=time))
    for time in ("2026-11-26T10:00:00Z", "2026-11-26T23:00:00Z", "2026-11-27T00:10:00Z"):
        asks(time)
    link = f"{stand.ingest.url}/register"
    assert [message["body"].splitlines()[-1] for message in stand.messages(number)] == [link] * 2


# --- what Twilio refuses, at once and later


@pytest.mark.parametrize("code", [21211, 21614, 63003, 63018])
def test_what_twilio_refuses_for_good_is_seen_in_deliveries_and_loses_no_event(stand, code):
    ana = stand.salesperson()
    meeting = stand.meeting(ana)
    stand.sandbox.fault(provider="twilio", method="POST", what="status", status=400, body={"code": code, "message": "No.", "status": 400})
    assert stand.settled(stand.plan_made(ana, meeting))["outcome"] == "done"
    delivery, = stand.deliveries(subject=meeting)
    assert (delivery["status"], delivery["error_code"]) == ("failed", str(code)) and "No." in delivery["error"]
    answer(stand, ana, "answer", meeting, "Next.")
    assert [message["body"] for message in ana.gets(1)] == ["Next."]


def test_a_number_that_has_opted_out_is_not_written_to_again(stand):
    ana = stand.salesperson()
    refusal = {"code": 21610, "message": "Attempt to send to unsubscribed recipient", "status": 400}
    stand.sandbox.fault(provider="twilio", method="POST", what="status", status=400, body=refusal)
    first, second = stand.meeting(ana), stand.meeting(ana, title="Gutter")
    stand.settled(stand.plan_made(ana, first))
    assert stand.deliveries(subject=first)[0]["error_code"] == "21610"
    stand.settled(stand.plan_made(ana, second))
    assert stand.deliveries(subject=second)[0]["error"] == "the person wants no messages at this number"
    asked = stand.sandbox.control("GET", "/requests", params={"provider": "twilio", "method": "POST"})["requests"]
    assert len([request for request in asked if request["body"]["To"] == "whatsapp:" + ana.phone]) == 1


def test_an_opt_out_that_is_reported_later_counts_too(stand):
    ana = stand.salesperson()
    stand.sandbox.fault(provider="twilio", what="fail_message", error_code=21610)
    stand.plan_made(ana, stand.meeting(ana))
    wait_until(lambda: stand.rows("SELECT 1 FROM user_phones WHERE phone = %s AND stopped_at IS NOT NULL", ana.phone), "the number being stopped")


def test_our_own_fault_is_a_dead_letter_with_the_code(stand):
    ana = stand.salesperson(wrote=None)
    stand.sandbox.control("POST", "/reset")                 # no template of these is approved any more
    registered(stand, ana)
    assert "21655" in stand.topics.wait("dead.notifier", ana.email)[0]["data"]["reason"]
    assert stand.deliveries(subject=ana.user_id)[0]["error_code"] == "21655"


@pytest.mark.parametrize("act", ["plan", "reminder"])
def test_text_that_came_too_late_is_followed_by_the_template_once(stand, act):
    ana = stand.salesperson()
    meeting = stand.meeting(ana) if act == "plan" else stand.meeting(ana, starts=-62, next_check_at=in_minutes(-0.1))
    stand.sandbox.fault(provider="twilio", what="fail_message", error_code=63016, message_status="failed", count=2)
    if act == "plan":
        stand.plan_made(ana, meeting)
    first, second = ana.gets(2)
    assert not first["content_sid"] and second["content_sid"] == TEMPLATES[act.upper()][0]
    stand.deliveries(2, subject=meeting, status="failed")
    if act == "plan":
        stand.meeting_row(meeting, plan_state="announced")
    assert len(ana.gets(2)) == 2, "and it is not tried a third time"


@pytest.mark.parametrize("rule, sends", [({"what": "cut", "when": "after"}, 1), ({"what": "cut"}, 2), ({"what": "status", "status": 500, "when": "after"}, 1)])
def test_free_text_whose_answer_was_lost_is_looked_up(stand, rule, sends):
    ana = stand.salesperson()
    stand.sandbox.fault(provider="twilio", what="no_webhook", count=8)
    answer(stand, ana, "answer", text="The first. " * 200)
    ana.gets(2)
    stand.sandbox.fault(provider="twilio", method="POST", **rule)
    asked = len(stand.sandbox.control("GET", "/requests", params={"provider": "twilio", "method": "POST"})["requests"])
    settled = stand.settled(answer(stand, ana, "answer", text="The second. " * 200))
    assert settled["outcome"] == "done"
    assert [message["body"][:15] for message in ana.gets(4, but=2)] == ["(1/2) The secon", "(2/2) The secon"]
    asked = len(stand.sandbox.control("GET", "/requests", params={"provider": "twilio", "method": "POST"})["requests"]) - asked
    assert asked == sends + 1


# --- what happens because time went by


def test_the_reminder_comes_once_when_the_meeting_is_over(stand):
    ana = stand.salesperson()
    due = in_minutes(0.03)
    meeting = stand.meeting(ana, starts=-62, minutes=60, next_check_at=due)
    message, = ana.gets(1)
    assert message["body"].startswith('How did "Roof" with Bo Lee (Lee & Sons) go?')
    row = stand.meeting_row(meeting, status="reminder_sent")
    assert row["next_check_at"] is None
    delivery, = stand.deliveries(subject=meeting)
    assert 0 <= (delivery["created_at"] - due).total_seconds() < 3.5, "within three seconds"


def test_a_reminder_beyond_the_window_is_a_template(stand):
    ana = stand.salesperson(wrote=None)
    meeting = stand.meeting(ana, starts=-62, next_check_at=in_minutes(-1))
    assert ana.gets(1)[0]["body"] == 'How did "Roof" with Bo Lee (Lee & Sons) go? Reply and tell what happened.'
    stand.meeting_row(meeting, status="reminder_sent")


@pytest.mark.parametrize("lost, wrote, messages, state, status", [
    ({"what": "cut", "when": "after"}, 1, 1, "answered", "read"),
    ({"what": "cut", "when": "after"}, None, 1, "answered", "read"),
    ({"what": "cut"}, 1, 0, "refused", "refused"),
], ids=["it left", "it left, by template", "it never left"])
def test_a_reminder_of_which_nobody_knows_is_looked_for_when_it_is_not_to_be_sent_any_more(stand, lost, wrote, messages, state, status):
    """Its answer is lost, Twilio's list is away, and meanwhile the person says what came of it."""
    ana = stand.salesperson(wrote=wrote)
    stand.sandbox.fault(provider="twilio", what="no_webhook", count=4)
    stand.sandbox.fault(provider="twilio", method="POST", **lost)
    stand.sandbox.fault(provider="twilio", method="GET", what="status", status=503, count=100)
    meeting = stand.meeting(ana, starts=-62, next_check_at=in_minutes(-1))
    begun = lambda **wanted: [row for row in stand.rows("SELECT * FROM asks WHERE subject = %s", meeting)  # noqa: E731
                              if all(row[name] == value for name, value in wanted.items())]
    wait_until(lambda: stand.sandbox.control("GET", "/requests", params={"provider": "twilio", "method": "GET"})["requests"], "a look at the list")
    stand.execute("UPDATE meetings SET status = 'completed' WHERE meeting_id = %s", meeting)
    row, = begun(state="sent")
    assert stand.settled(row["event_id"])["outcome"] == "done"
    stand.sandbox.control("DELETE", "/faults")
    assert begun(state="sent"), "nobody says it again"
    stand.execute("UPDATE asks SET lease_until = now() - interval '2 minutes' WHERE subject = %s", meeting)
    row, = wait_until(lambda: begun(state=state), f"the message being {state}")
    delivery, = stand.deliveries(subject=meeting)
    assert (delivery["status"], len(ana.gets())) == (status, messages)
    if messages:
        assert delivery["provider_id"] == ana.gets()[0]["sid"]
        told, = stand.topics.wait("deliveries", "whatsapp:" + ana.phone)
        assert (told["data"]["delivery_id"], told["data"]["status"]) == (str(row["ask_id"]), status)


@pytest.mark.parametrize("setting, wrote, stopped", [("TWILIO_CONTENT_SID_REMINDER", None, False), (None, 1, True)])
def test_a_reminder_that_cannot_be_sent_ends_the_check_and_leaves_the_meeting_scheduled(stand, setting, wrote, stopped):
    if setting:
        stand.use(**{setting: None})
    ana = stand.salesperson(wrote=wrote)
    if stopped:
        stand.execute("UPDATE user_phones SET stopped_at = now() WHERE phone = %s", ana.phone)
    meeting = stand.meeting(ana, starts=-62, next_check_at=in_minutes(-1))
    assert stand.meeting_row(meeting, next_check_at=None)["status"] == "scheduled"
    assert stand.deliveries(subject=meeting)[0]["status"] == "blocked"
    stand.use(TWILIO_CONTENT_SID_REMINDER=TEMPLATES["REMINDER"][0])


def test_a_plan_made_long_ago_comes_again_shortly_before_and_then_the_reminder_is_due(stand):
    ana = stand.salesperson()
    meeting = stand.meeting(ana, starts=15, next_check_at=in_minutes(0))
    assert SUMMARY in ana.gets(1)[0]["body"]
    stand.meeting_row(meeting, next_check_at=stand.meeting_row(meeting)["end_time"] + timedelta(minutes=1))
    assert [row["version"] for row in stand.deliveries(subject=meeting)] == ["1/again"]


@pytest.mark.parametrize("columns", [{"status": "cancelled"}, {"status": "completed"}, {"status": "reminder_sent"}])
def test_nobody_is_reminded_of_what_is_over(stand, columns):
    ana = stand.salesperson()
    meeting = stand.meeting(ana, starts=-62, next_check_at=in_minutes(-1), **columns)
    assert stand.meeting_row(meeting, next_check_at=None)["status"] == columns["status"]
    assert not ana.gets()


def test_a_meeting_that_is_refused_is_not_found_due_for_ever(stand):
    ana = stand.salesperson(wrote=None)
    stand.sandbox.control("POST", "/reset")
    meeting = stand.meeting(ana, starts=-62, next_check_at=in_minutes(-1))
    stand.topics.wait("dead.notifier", ana.email)
    assert stand.meeting_row(meeting, next_check_at=None)["status"] == "scheduled"
