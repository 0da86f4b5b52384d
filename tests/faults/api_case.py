"""API clients under fire: what they change is done once, whatever is killed, and a visit they record is understood.

Each takes one course, a step after the other, and gives every step an `Idempotency-Key` of its own.  Until it knows what became of a step it
sends it again, to whichever door there is; now and then also afterwards.  All that ever answers one step must be the same answer."""

import hashlib
import itertools
import json
import random
import threading
import time
import uuid

import psycopg
from checker import OK, REFUSED, UNKNOWN, Expected, Observed
from copies import observe_copies
from sending import KEEP_TRYING_S, NOBODY_LISTENS, exchange, share, speech

SWITCHBOARD = uuid.UUID("07e31ecd-f14f-4f66-90f8-4d54855e85d0")     # the namespace of derived ids; see common/crypto.c
TENANT = "fire"
TOKEN, TOKEN_ID = "sb_" + "fire0123456789a" * 3, uuid.uuid5(SWITCHBOARD, "fire")
DONE, AGAIN = (200, 201), 0.2           # the share of the steps that are sent once more when they are known to be done
WON = ("Good morning, what would you like to have done?", "The roof leaks.", "We would replace it. Shall we start on Monday?",
       "All right, let's do it.")


def derived(*parts):
    """As uuid_of() makes ids."""
    return str(uuid.uuid5(SWITCHBOARD, "\x1f".join(map(str, parts))))


class Clients:
    """Appointments, visits, corrections.  A client's key is its name; what it works on is there before it begins."""

    name, inbound, ordered = "api", "inbound.api", ("inbound.api",)
    SENDERS = 8
    SHARE = 1 / 3               # of the calls
    COURSES = {
        "visit": ("book", "start", "stop"),
        "booked": ("book", "close", "late"),
        "corrected": ("first", "second", "third"),
        "called": ("back",),
    }
    STATUS = {"book": 201, "start": 201, "late": 409}                # of all others 200
    OPERATION = {"book": "createAppointment", "late": "createAppointment", "start": "startSession", "stop": "stopSession",
                 "close": "updateLead", "back": "updateCall"}       # of all others correctAnalysis

    @classmethod
    def clients(cls, load):
        """{name: course}"""
        courses = list(itertools.islice(itertools.cycle(cls.COURSES), max(len(cls.COURSES), int(load.calls * cls.SHARE))))
        random.Random(load.seed + 4).shuffle(courses)
        return {f"{load.prefix}-a{course}{number}": course for number, course in enumerate(courses)}

    # --- what is there before: contact, lead and call of each

    def prepare(self, world):
        with world.connect_when_there() as database:
            database.execute("INSERT INTO api_tokens (token_hash, token_id, tenant, role) VALUES (%s, %s, %s, 'admin')",
                             [hashlib.sha256(TOKEN.encode()).digest(), TOKEN_ID, TENANT])
        world.sandbox.control("PUT", "/files/visit.wav", data=speech(1))
        segments = [{"start": n * 0.2, "end": n * 0.2 + 0.2, "text": text} for n, text in enumerate(WON)]
        world.sandbox.control("PUT", "/transcripts", json={"file_name": "*-speaker-*", "segments": segments})

    ROWS_BEFORE = (
        "INSERT INTO contact_cards (tenant, contact_id, phone) VALUES ('fire', %(contact)s, %(phone)s)",
        "INSERT INTO leads (tenant, lead_id, contact_id, status) VALUES ('fire', %(lead)s, %(contact)s, 'hot')",
        "INSERT INTO calls (tenant, call_id, source, status, contact_id, lead_id)"
        " VALUES ('fire', %(name)s, 'callrail', %(status)s, %(contact)s, %(lead)s)",
        "INSERT INTO call_analyses (tenant, call_id, provider, lead_qualification, booking_status, call_outcome_category, sentiment_score,"
        " summary, source_time) VALUES ('fire', %(name)s, 'rules', 'hot', 'not_booked', 'other', 0, 'a roof', now())",
    )

    def give(self, world, load, clients):
        """Until they are there: Postgres may be taken meanwhile."""
        rows = [{"name": name, "contact": derived("contact", name), "lead": derived("lead", name),
                 "phone": f"+1303{2_000_000 + load.seed % 1000 * 7000 + number}", "status": "missed" if course == "called" else "completed"}
                for number, (name, course) in enumerate(clients.items())]
        while not load.given_up:
            try:
                with world.connect_when_there() as database, database.cursor() as cursor:
                    for statement in self.ROWS_BEFORE:
                        cursor.executemany(statement + " ON CONFLICT DO NOTHING", rows)
                return
            except psycopg.Error:
                load.pause(0.3)

    # --- sending

    def run(self, world, load):
        clients = self.clients(load)
        load.wanted[self.name] = sum(len(self.COURSES[course]) for course in clients.values())
        self.answers = {}       # {identity: the bodies it was answered with}
        self.give(world, load, clients)
        began, gap_s = time.monotonic(), load.seconds / len(clients)
        todo = [(began + number * gap_s, *one) for number, one in enumerate(clients.items())][::-1]
        senders = [threading.Thread(target=self.sender, args=(world, load, todo), daemon=True) for _ in range(self.SENDERS)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()

    def sender(self, world, load, todo):
        while not load.given_up:
            try:
                begins, client, course = todo.pop()
            except IndexError:
                return
            load.pause(begins - time.monotonic())
            made = {}           # ids by the step that made them
            for number, step in enumerate(self.COURSES[course]):
                load.record.send(self.name, client, f"{client}/{step}", number, course)
                if not self.do(world, load, client, step, made):
                    break

    def do(self, world, load, client, step, made):
        """Until it is known what became of it; says whether it is."""
        deadline, identity = time.monotonic() + KEEP_TRYING_S, f"{client}/{step}"
        while not (said := self.ask(world, load, client, step, made)):
            if time.monotonic() > deadline or load.given_up:
                return False
            load.pause(0.3)
        made[step] = next((said["data"][id] for id in ("session_id", "appointment_id") if id in said.get("data", {})), None)
        if share(identity) < AGAIN:
            self.ask(world, load, client, step, made)
        return True

    def ask(self, world, load, client, step, made):
        """What it was answered, when that says how it ended.  202 says that it will."""
        identity, headers = f"{client}/{step}", {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        doors = world.fleet.doors()
        url = doors[random.randrange(len(doors))]
        method, path, body = self.request(world, client, step, made)
        status, said = exchange(url, method, "/api/v1" + path, json.dumps(body).encode(), {**headers, "Idempotency-Key": identity})
        done = status in DONE or status == self.STATUS.get(step)
        refused = said == NOBODY_LISTENS if status is None else status // 100 == 4
        # each waits until the one before is done, so their order holds whichever doors they take
        load.record.answer(identity, OK if done or status == 202 else REFUSED if refused else UNKNOWN, "any door", str(status or said))
        if status is None or status // 100 == 5 or status == 202:
            return None
        self.answers.setdefault(identity, set()).add(said)
        return json.loads(said)

    @staticmethod
    def request(world, client, step, made):
        """(method, path, body)"""
        lead, identity = derived("lead", client), f"{client}/{step}"
        if step in ("book", "late"):
            return "POST", "/appointments", {"lead_id": lead, "scheduled_start": "2026-12-01T10:00:00Z", "location": identity}
        if step == "start":
            return "POST", "/recordings/sessions/start", {"appointment_id": made["book"]}
        if step == "stop":
            return "POST", f"/recordings/sessions/{made['start']}/stop", {"audio_url": f"{world.sandbox.url}/files/visit.wav"}
        if step == "close":
            return "PATCH", f"/leads/{lead}", {"status": "closed"}
        if step == "back":
            return "PATCH", f"/calls/{client}", {"callback": "done"}
        return "PATCH", f"/calls/{client}/analysis", {"summary": identity}

    # --- what must come of it

    EFFECTS = {"book": ("appointment",), "start": ("session",), "close": ("closed",), "back": ("called back",), "third": ("correction",),
               "stop": ("stopped", "visit.recorded", "transcribe ledger", "recording", "copy", "transcript", "visit.transcribed", "analyze ledger",
                        "job", "analysis", "visit.analyzed", "won", "closed")}

    def expect(self, operation):
        because = operation.identity
        step = because.rpartition("/")[2]
        for kind in ("ingest ledger", "api.answered", "answer", f"{self.OPERATION.get(step, 'correctAnalysis')} {self.STATUS.get(step, 200)}",
                     *self.EFFECTS.get(step, ())):
            yield Expected(kind, because, because)

    # --- what came of it

    ROWS = {
        "appointment": "SELECT location, appointment_id::text FROM appointments WHERE location LIKE %s",
        "session": "SELECT replace(location, '/book', '/start'), session_id::text FROM recording_sessions"
                   " JOIN appointments USING (tenant, appointment_id) WHERE location LIKE %s",
        "won": "SELECT replace(location, '/book', '/stop'), appointment_id::text FROM appointments WHERE outcome = 'won' AND location LIKE %s",
        "closed": "SELECT call_id || CASE WHEN call_id LIKE '%%-avisit%%' THEN '/stop' ELSE '/close' END, lead_id::text FROM leads"
                  " JOIN calls USING (tenant, lead_id) WHERE leads.status = 'closed' AND call_id LIKE %s",
        "correction": "SELECT summary, call_id FROM call_analyses WHERE corrections ? 'summary' AND call_id LIKE %s",
        "called back": "SELECT call_id || '/back', callback_done_at::text FROM calls WHERE callback_done_at IS NOT NULL AND call_id LIKE %s",
    }
    VISIT_ROWS = {
        "stopped": "SELECT session_id::text, session_id::text FROM recording_sessions WHERE status = 'completed' AND session_id = ANY (%s::uuid[])",
        "transcript": "SELECT session_id::text, tenant FROM recording_transcripts WHERE words > 0 AND session_id = ANY (%s::uuid[])",
        "job": "SELECT subject, job_id::text FROM jobs WHERE status = 'completed' AND subject = ANY (%s)",
        "analysis": "SELECT session_id::text, tenant FROM recording_analyses WHERE session_id = ANY (%s::uuid[])",
        "transcribe ledger": "SELECT subject, event_id || ' ' || day FROM ledger WHERE stage = 'transcribe' AND event_type = 'visit.recorded'"
                             " AND subject = ANY (%s)",
        "analyze ledger": "SELECT subject, event_id || ' ' || day FROM ledger WHERE stage = 'analyze' AND event_type = 'visit.transcribed'"
                          " AND subject = ANY (%s)",
    }
    COPIED = "SELECT session_id::text, path, bytes, sha256 FROM session_recordings WHERE session_id = ANY (%s::uuid[])"
    OPERATIONS = "SELECT operation_id::text, operation || ' ' || status, body FROM api_operations WHERE operation_id = ANY (%s::uuid[])"
    LEDGER = "SELECT event_id::text, day FROM ledger WHERE stage = 'ingest' AND event_id = ANY (%s::uuid[])"
    TOPICS = ["inbound.api", "replies", "visits", "transcripts", "results", "dead.ingest", "dead.transcribe", "dead.analyze"]

    def observe(self, world, load, known):
        clients = self.clients(load)
        requests = {derived("api", TOKEN_ID, f"{client}/{step}"): f"{client}/{step}"
                    for client, course in clients.items() for step in self.COURSES[course]}
        with world.connect_when_there() as database:
            yield from self.observe_rows(database, load)
            visits = {session: start.replace("/start", "/stop")
                      for start, session in database.execute(self.ROWS["session"], [load.prefix + "-a%"])}
            for kind, statement in self.VISIT_ROWS.items():
                for session, unique in database.execute(statement, [list(visits)]):
                    yield Observed(kind, session, visits[session], unique)
            yield from observe_copies(world, visits, database.execute(self.COPIED, [list(visits)]).fetchall())
            yield from self.observe_operations(database, requests)
        for identity, bodies in self.answers.items():
            for body in bodies:
                yield Observed("answer", identity, identity, body)
        mine = {*visits, *clients, *(derived("lead", client) for client in clients),
                *(derived("appointment", request) for request in requests), *(derived("session", request) for request in requests)}
        for topic, offset, key, value in load.records(world, self.TOPICS, mine.__contains__):
            yield self.observe_event(topic, offset, key, json.loads(value), requests, visits)

    def observe_rows(self, database, load):
        for kind, statement in self.ROWS.items():
            for identity, unique in database.execute(statement, [load.prefix + "-a%"]):
                yield Observed(kind, identity, identity, unique)

    def observe_operations(self, database, requests):
        for id, ended, body in database.execute(self.OPERATIONS, [list(requests)]):
            yield Observed(ended, requests[id], requests[id], id)
            yield Observed("answer", requests[id], requests[id], body)
        for id, day in database.execute(self.LEDGER, [list(requests)]):
            yield Observed("ingest ledger", requests[id], requests[id], f"{id} {day}")

    @staticmethod
    def observe_event(topic, offset, key, event, requests, visits):
        if topic.startswith("dead."):
            return Observed(topic, key, f"{key}: {event['data']['reason']}", event["id"], offset)
        if topic == "inbound.api":
            return Observed(topic, key, requests.get(event["id"], event["id"]), event["id"], offset)
        if topic == "replies":
            request = event["data"]["request_id"]
            return Observed(event["type"], key, requests.get(request, request), event["id"], offset)
        return Observed(event["type"], key, visits.get(key, key), event["id"], offset)
