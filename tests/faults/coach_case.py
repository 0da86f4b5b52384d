"""The sales coach under fire: salespeople register, their meetings come, move and are cancelled, they write, and are done.

Each takes one course, a step after the other; a step waits for what the person sees in WhatsApp of the one before, as people do.
So it is known what each step leads to, whatever is done to the stages meanwhile."""

import hashlib
import itertools
import json
import random
import threading
import time
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qs, urlencode

from checker import Expected, Observed
from fleet import KEYS, moment
from sending import KEEP_TRYING_S, RANKS, post, reported, send_surely, share, signed_by_twilio

TENANT = "fire"
ADMIN = "whatsapp:" + KEYS["ADMIN_WHATSAPP_TO"]
MANY = 9                        # as often as it was sent, when its answer was lost
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)


def signed_by_outlook(_):
    return {"Content-Type": "application/json", "X-Webhook-Secret": KEYS["OUTLOOK_WEBHOOK_SECRET"]}


class Coach:
    """From the registration to the note at HubSpot.  A person's key is their e-mail address; their number follows from the load's seed."""

    name, inbound, ordered = "coach", "inbound.coach", ("inbound.outlook", "meeting.changed")
    SENDERS = 25                # most of the time each waits
    PEOPLE_SHARE = 1 / 6        # of the calls
    BEGIN_SHARE = 0.7           # of the load's time: until then somebody new begins
    COURSES = {
        "plain": ("register", "hello", "scheduled", "done"),
        "late": ("scheduled", "register", "hello", "done"),         # the meeting comes before anybody knows its organizer
        "moved": ("register", "hello", "scheduled", "moved", "done"),
        "reminded": ("register", "hello", "scheduled", "shortened", "done"),
        "cancelled": ("register", "hello", "scheduled", "cancelled"),
    }
    # what the person has seen before they go on
    SEES = {"register": "Hello", "hello": "*plan*", "scheduled": "Your plan for \"Visit one", "ready": "is ready. Reply to read it",
            "moved": "Your plan for \"Visit two", "shortened": "How did"}

    # --- who they are

    @staticmethod
    def people(load):
        """{e-mail address: (course, number)}"""
        rng = random.Random(load.seed + 3)
        base = 2_000_000 + load.seed % 1000 * 7000
        courses = list(itertools.islice(itertools.cycle(Coach.COURSES), max(len(Coach.COURSES), int(load.calls * Coach.PEOPLE_SHARE))))
        rng.shuffle(courses)
        return {f"{load.prefix}.{course}{number}@fire.example": (course, f"+1202{base + number}") for number, course in enumerate(courses)}

    @staticmethod
    def sid(identity):
        return "SM" + hashlib.sha256(identity.encode()).hexdigest()[:32]

    # --- sending

    def run(self, world, load):
        people, self.began = self.people(load), datetime.now(timezone.utc)
        load.wanted[self.name] = sum(len(self.COURSES[course]) for course, _ in people.values())
        gap_s, began = load.seconds * self.BEGIN_SHARE / len(people), time.monotonic()
        todo = [(began + number * gap_s, *one) for number, one in enumerate(people.items())][::-1]
        senders = [threading.Thread(target=self.sender, args=(world, load, todo), daemon=True) for _ in range(self.SENDERS)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()

    def sender(self, world, load, todo):
        while not load.given_up:
            try:
                begins, person, (course, number) = todo.pop()
            except IndexError:
                return
            load.pause(begins - time.monotonic())
            contact = world.sandbox.control("POST", "/hubspot/contacts", json={"email": person})["id"]
            for count, step in enumerate(self.COURSES[course]):
                load.record.send(self.name, person, f"{person}/{step}", count, course)
                if not (self.do(world, load, person, number, step, contact) and self.seen(world, load, person, number, course, step)):
                    break

    def do(self, world, load, person, number, step, contact):
        """Sends it until it is acknowledged; some of it then once more.  What people and calendars say is dated by the door, so nobody
        speaks to one whose clock is wrong: of two news of a meeting the later counts."""
        identity, place = f"{person}/{step}", share(person)
        while not world.doors_are_on_time() and not load.given_up:
            load.pause(0.2)
        path, body, headers = self.request(world, person, number, step, contact)
        send = lambda where: post(world, load, identity, path, body, headers, where, self.address(number))  # noqa: E731
        kept = send_surely(world, load, send, place)
        if kept and share(identity) < 0.2 and step != "register":
            send(share(identity + " again"))
        return kept

    @staticmethod
    def address(number):
        """Where this person's requests come from: the page lets nobody register a whole town."""
        return f"127.{1 + int(number[-6:-4])}.{1 + int(number[-4:-2])}.{1 + int(number[-2:])}"

    def request(self, world, person, number, step, contact):
        """(path, body, headers)"""
        if step == "register":
            form = {"name": "Ada Park", "email": person, "phone": number}
            return f"/register/{TENANT}", urlencode(form).encode(), {"Content-Type": "application/x-www-form-urlencoded"}
        if step in ("hello", "done"):
            words = "help" if step == "hello" else f"Done, outcome of {person}"
            form = {"MessageSid": self.sid(f"{person}/{step}"), "AccountSid": KEYS["TWILIO_ACCOUNT_SID"], "From": "whatsapp:" + number,
                    "To": "whatsapp:" + KEYS["TWILIO_WHATSAPP_FROM"], "Body": words, "NumMedia": "0", "SmsStatus": "received"}
            world.sandbox.control("POST", "/messages", json={"from": form["From"], "body": words})      # which opens Twilio's window
            return "/whatsapp-webhook", urlencode(form).encode(), signed_by_twilio(world.public_url + "/whatsapp-webhook", form)
        body = json.dumps({"step": step, "meeting": self.meeting(person, step), "client": {"name": "Bea", "email": person.replace("@", "@client."),
                                                                             "hubspot_contact_id": contact}}).encode()
        return f"/outlook-webhook/{TENANT}", body, signed_by_outlook(body)

    def meeting(self, person, step):
        """It has begun, and, but for a shortened one, not ended yet: by more than any stage's clock jumps."""
        starts = self.began - (40 if step == "moved" else 30) * HOUR
        ends = datetime.now(timezone.utc) - 62 * SECOND if step == "shortened" else self.began + 30 * HOUR
        title = "Visit two" if step == "moved" else "Visit one"
        return {"id": "fire-" + person, "title": title, "start_time": starts.isoformat(), "end_time": ends.isoformat(),
                "organizer": {"address": person}, **({"status": "cancelled"} if step == "cancelled" else {})}

    def seen(self, world, load, person, number, course, step):
        """Waits until what follows from this step is on the person's phone, or, where nobody knows them, on the administrator's."""
        words, to = self.SEES.get(step), "whatsapp:" + number
        if step == "scheduled" and course == "late":
            words, to = person, ADMIN
        deadline = time.monotonic() + KEEP_TRYING_S
        while words and not any(words in message["body"] for message in self.got(world, load, to)):
            if time.monotonic() > deadline or load.given_up:
                return False
            load.pause(0.3)
        if step == "register" and course == "late":     # its plan is announced before they write
            return self.seen(world, load, person, number, course, "ready")
        return True

    @staticmethod
    def got(world, load, to):
        found = world.sandbox.control("GET", "/messages", params={"to": to, "since": load.marks["messages"]})["messages"]
        return [message for message in found if message["direction"] != "inbound"]

    # --- what must come of it

    @staticmethod
    def plans(course):
        """The step that the meeting's first plan follows from: before anybody knows its organizer there is none."""
        return "register" if course == "late" else "scheduled"

    ROWS_OF = {"register": ("salesperson",), "hello": ("incoming",), "scheduled": ("meeting",), "cancelled": ("cancelled",),
               "done": ("incoming", "completed", "note", "crm note")}
    CHANGED = ("scheduled", "moved", "shortened", "cancelled")
    EVENTS = ("meeting.changed", "plan.made", "chat.received", "chat.answered", "salesperson.registered")

    def expect(self, operation):
        because, course = operation.identity, operation.how
        step = because.rpartition("/")[2]
        for kind in (*self.ROWS_OF.get(step, ()), *(("plan",) if step == self.plans(course) else ())):
            yield Expected(kind, because, because)
        if step in self.CHANGED:
            yield Expected("inbound.outlook", because, because, most=MANY)
        for kind, least, most in self.events(step, course):
            yield Expected(kind, because, because, least, most)
        for kind in self.EVENTS:
            yield Expected(kind + " twice", because, because, 0, 0)
        least, most = self.messages(step, course)
        for kind in ("message", "delivery", "reported"):
            yield Expected(kind, because, because, least, most)
            if step == "done":                          # HubSpot was away, and the note followed
                yield Expected(kind, because.replace("/done", "/note"), because, 0, 1)

    @staticmethod
    def events(step, course):
        """(type, how many at least and most) that a step of this course leads to."""
        if step in Coach.CHANGED:
            yield "meeting.changed", 1, 1
        if step in ("hello", "done"):
            yield "chat.received", 1, 1
            yield "chat.answered", 1, 1
        if step == "register":
            yield "salesperson.registered", 1, MANY
            if course == "late":
                yield "meeting.changed", 1, 1           # claimed
        if step in (Coach.plans(course), "moved"):
            yield "plan.made", 1, 1

    @staticmethod
    def messages(step, course):
        """How many a step leads to; nobody is told of a meeting that was cancelled."""
        if course == "late" and step in ("register", "hello"):
            return 2, 2                                 # the welcome and the announcement; the plan and the answer
        return (0, 0) if step == "cancelled" else (1, 1)

    # --- what came of it

    ROWS = {
        "salesperson": "SELECT email, 'register', phone FROM user_phones WHERE email LIKE %s",
        "meeting": "SELECT salesperson_email, 'scheduled', meeting_id::text FROM meetings WHERE salesperson_email LIKE %s",
        "plan": "SELECT salesperson_email, NULL, meeting_id::text FROM meeting_plans JOIN meetings USING (tenant, meeting_id)"
                " WHERE salesperson_email LIKE %s",
        "completed": "SELECT salesperson_email, 'done', meeting_id::text FROM meetings WHERE salesperson_email LIKE %s"
                     " AND status = 'completed' AND last_client_reply = 'outcome of ' || salesperson_email",
        "cancelled": "SELECT salesperson_email, 'cancelled', meeting_id::text FROM meetings WHERE salesperson_email LIKE %s"
                     " AND status = 'cancelled'",
        "note": "SELECT salesperson_email, 'done', meeting_id::text || n.revision FROM meeting_notes n"
                " JOIN meetings USING (tenant, meeting_id) WHERE salesperson_email LIKE %s AND state = 'logged'",
    }
    INCOMING = "SELECT email, message_id FROM messages WHERE direction = 'incoming' AND email LIKE %s"
    ASKED = ("SELECT ask_id::text, recipient, purpose, subject, version, provider_id, provider_status FROM asks WHERE stage = 'notifier'"
             " AND kind = 'once' AND provider = 'twilio' AND state = 'answered' AND (recipient = ANY (%s) OR recipient = %s)")
    TOPICS = ["meetings", "results", "dead.ingest", "dead.transcribe", "dead.analyze", "dead.notifier"]

    def observe(self, world, load, known):
        people = self.people(load)
        numbers = {"whatsapp:" + number: person for person, (_, number) in people.items()}
        sids = {self.sid(f"{person}/{step}"): f"{person}/{step}" for person in people for step in ("hello", "done")}
        belongs = lambda key: key in people or key in numbers or key.removeprefix("+") in numbers      # noqa: E731
        for topic, offset, key, value in load.records(world, ["inbound.registrations", "inbound.outlook", "inbound.twilio"], belongs):
            yield from self.observe_arrival(topic, offset, key, json.loads(value), numbers, sids, known)
        emitted = {}
        for topic, offset, key, value in load.records(world, self.TOPICS, belongs):
            yield from self.observe_event(topic, offset, key, json.loads(value), people, sids, known, emitted)
        like = load.prefix + ".%@fire.example"
        with world.connect_when_there() as database:
            for kind, statement in self.ROWS.items():
                for person, step, unique in database.execute(statement, (like,)):
                    yield Observed(kind, person, f"{person}/{step or self.plans(people[person][0])}", unique)
            for person, sid in database.execute(self.INCOMING, (like,)):
                yield Observed("incoming", person, sids.get(sid, sid), sid)
            asks = database.execute(self.ASKED, (list(numbers), ADMIN)).fetchall()
        yield from self.observe_messages(world, load, people, numbers, sids, asks)
        for note in world.sandbox.control("GET", "/hubspot/notes")["notes"]:
            person = next((person for person in people if f"outcome of {person}" in json.dumps(note)), None)
            if person:
                yield Observed("crm note", person, f"{person}/done", note["id"])

    @staticmethod
    def observe_arrival(topic, offset, key, event, numbers, sids, known):
        data = event["data"]
        if event["type"] == "twilio.message.received":
            sid = parse_qs(data["body"])["MessageSid"][0]
            person, identity = numbers[key], sids.get(sid, sid)
        elif event["type"] == "registration.received":
            person, identity = key, f"{key}/register"
        elif event["type"] == "outlook.meeting.received":
            person, identity = key, f"{key}/{json.loads(data['body'])['step']}"
            yield Observed("inbound.outlook", person, identity, event["id"], offset)
        else:
            return                                      # a report of a message
        known[event["id"]] = identity
        yield Observed("inbound.coach", person, identity, event["id"])

    def observe_event(self, topic, offset, key, event, people, sids, known, emitted):
        """`emitted`: which of a type each cause has led to; another one of the same is one too many."""
        data, cause = event["data"], event.get("causationid")
        if topic.startswith("dead."):
            yield Observed(topic, key, f"{key}: {data['reason']}", event["id"], offset)
            return
        if event["type"] in ("chat.received", "chat.answered"):
            identity = sids.get(data["message_id"], data["message_id"])
        elif event["type"] == "plan.made":
            identity = f"{key}/{'moved' if data['plan_version'] > 1 else self.plans(people[key][0])}"
        else:
            identity = known.get(cause, cause)
        first = emitted.setdefault((event["type"], cause), event["id"])
        if first != event["id"]:
            yield Observed(event["type"] + " twice", key, identity, event["id"])
        yield Observed(event["type"], key, identity, event["id"], offset)

    @staticmethod
    def step_told(body, course):
        """Which step a message follows from."""
        followed = course == "late" and "Reply to read it" not in body
        return ("moved" if body.startswith("Your plan for \"Visit two")
                else ("hello" if followed else Coach.plans(course)) if body.startswith("Your plan for")
                else "shortened" if body.startswith("How did") else "register" if body.startswith("Hello")
                else "done" if "is completed" in body else "note" if "your note is in HubSpot" in body else "hello")

    def observe_messages(self, world, load, people, numbers, sids, asks):
        statuses = {ask[5]: ask[6] for ask in asks}
        for ask_id, recipient, purpose, subject, version, *_ in asks:
            person = next((person for person in people if purpose == "unknown_organizer" and subject == person), numbers.get(recipient))
            plan = "moved" if version.startswith("2") else "hello" if "/reply/" in version else person and self.plans(people[person][0])
            step = {"welcome": "register", "unknown_organizer": "scheduled", "reminder": "shortened", "note_news": "note",
                    "plan": plan}.get(purpose)
            if person:
                yield Observed("delivery", person, f"{person}/{step}" if step else sids.get(subject, subject), ask_id)
        told = reported(world, load)
        for message in world.sandbox.since("messages", load.marks["messages"]):
            person = numbers.get(message["to"]) if message["direction"] != "inbound" else None
            step = self.step_told(message["body"], people[person][0]) if person else None
            if message["to"] == ADMIN and "Unknown organizer" in message["body"]:
                person, step = next((person for person in people if person in message["body"]), None), "scheduled"
            if not person:
                continue
            yield Observed("message", person, f"{person}/{step}", message["sid"], moment(message["at"]).timestamp())
            if RANKS.get(statuses.get(message["sid"]), -1) >= told.get(message["sid"], 0):
                yield Observed("reported", person, f"{person}/{step}", message["sid"])
