"""The use cases under fire: what each sends, and what must exist in the end.  A new one is a class here and a line in CASES.

A case says
    name, inbound           the kind of observation that says an operation was kept
    ordered                 kinds that must keep the order of their key
    run(world, load)        sends until `load.over`; every request and answer goes into load.record first
    expect(operation)       what must exist when the operation was kept
    observe(world, load, known)   what exists; `known`: event id → identity, for those whose ids are derived
"""

import json
import random
import re
import threading
import time
import uuid
from datetime import datetime, timedelta, timezone

from api_case import Clients
from checker import OK, UNKNOWN, Expected, Observed
from coach_case import Coach
from confluent_kafka import Producer
from copies import observe_copies, observe_copies_without_a_row
from fleet import moment
from sending import RANKS, post, reported, send_surely, share, signed_by_callrail, speech

NAMESPACE = uuid.UUID("5f1e0f1e-0000-4000-8000-5f1e0f1e0f1e")
PROGRESS = ("call.incoming", "call.answered", "call.completed")


def event_id(identity):
    return str(uuid.uuid5(NAMESPACE, identity))


class Echo:
    """The test stage, for volume: events straight onto its topic.  Each does what it tells: most just a row and an event."""

    name, inbound, ordered = "echo", "echo.in", ("echo row", "echo.out")
    HOWS = {"plain": 920, "reject": 10, "retry": 10, "skip": 5, "ask": 5, "once": 8, "counter": 12, "repeat": 12, "junk": 5,
            "midnight": 25, "park": 1}
    CRASHES_MAX = 1             # of a load: each takes three processes
    KEYS = 200
    QUEUE_MAX = 20_000

    def run(self, world, load):
        rng, numbers = random.Random(load.seed + 1), {}
        producer = Producer({"bootstrap.servers": world.environment.brokers, "partitioner": "murmur2_random", "enable.idempotence": True,
                             "max.in.flight": 1, "message.timeout.ms": 0, "linger.ms": 5, "log_level": 0,
                             "batch.size": 200_000})       # the broker counts a whole batch against a topic's largest message
        load.wanted[self.name] = wanted = load.events
        crash_at = rng.randrange(wanted // 4, wanted // 2) if self.CRASHES_MAX else -1
        began = time.monotonic()
        for sent in range(wanted):
            while len(producer) > self.QUEUE_MAX or sent > (time.monotonic() - began) * load.rate:
                producer.poll(0.02)
            how = "crash" if sent == crash_at else rng.choices(list(self.HOWS), self.HOWS.values())[0]
            key = f"{load.prefix}-e{rng.randrange(self.KEYS)}"
            if how == "park":
                key = f"{load.prefix}-p{rng.randrange(4 + wanted // 10_000)}"      # each has to be resumed, one after the other in its key
            numbers[key] = numbers.get(key, 0) + 1
            self.send(world, load, producer, key, numbers[key], how, rng)
            producer.poll(0)
        while len(producer) and not load.given_up:
            producer.flush(1)

    def send(self, world, load, producer, key, number, how, rng):
        identity = f"{key}/{number}"
        load.record.send(self.name, key, identity, number, how)
        payload = self.payload(world, key, number, how, rng)
        at = self.midnight(rng) if how == "midnight" else None
        reported = lambda error, _: load.record.answer(identity, UNKNOWN if error else OK, "kafka", str(error or ""))  # noqa: E731
        if how == "repeat":
            producer.produce("echo.in", payload, key=key)
        producer.produce("echo.in", payload, key=key, on_delivery=reported, **({"timestamp": at} if at else {}))

    @staticmethod
    def midnight(rng):
        """The record is of the last or the first moments of a UTC day, so that neighbours in a key are of two days of the ledger."""
        today = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
        return int((today + timedelta(milliseconds=rng.choice((-1, 0, 1)))).timestamp() * 1000)

    @staticmethod
    def payload(world, key, number, how, rng):
        if how == "junk":
            return f"junk {key}/{number}"
        told = {"reject": {"reject": "told to"}, "retry": {"retries": rng.randrange(1, 4)}, "skip": {"skip": True},
                "ask": {"ask": world.stub.url + "/get"}, "once": {"once": f"{world.stub.url}/once/{key}/{number}"}, "crash": {"crash": True},
                "counter": {"counter": f"{key.split('-e')[0]}-{rng.randrange(3)}"},
                "park": {"retries": 1, "retry_ms": 600_000}}.get(how, {})
        return json.dumps({"specversion": "1.0", "id": event_id(f"{key}/{number}"), "source": "/fire", "type": "echo.asked", "subject": key,
                           "time": "2026-11-21T07:00:00Z", "datacontenttype": "application/json", "correlationid": key, "run": 0,
                           "dataschema": "/schemas/events/echo.asked.json", "data": {"n": number, **told}})

    def expect(self, operation):
        kinds = {"reject": ("echo ledger", "dead.echo"), "crash": ("echo ledger", "dead.echo"), "skip": ("echo ledger",), "junk": ("dead.echo",),
                 "once": ("echo ledger", "echo row", "echo.out", "provider")}
        for kind in kinds.get(operation.how, ("echo ledger", "echo row", "echo.out")):
            yield Expected(kind, operation.identity, operation.identity)

    def observe(self, world, load, known):
        for topic, offset, key, value in load.records(world, ["echo.in", "echo.out", "dead.echo"]):
            seen = self.observe_record(topic, offset, key, value)
            if seen:
                yield seen
        with world.connect_when_there() as database:
            like = load.prefix + "-%"
            for subject, n, position in database.execute("SELECT subject, n, position FROM echo_rows WHERE subject LIKE %s", (like,)):
                yield Observed("echo row", subject, f"{subject}/{n}", str(position), position)
            for subject, found, day in database.execute(
                    "SELECT subject, event_id::text, day FROM ledger WHERE stage = 'echo' AND event_type <> 'unreadable' AND subject LIKE %s",
                    (like,)):
                yield Observed("echo ledger", subject, known.get(found, found), f"{found} {day}")
        for _, path, ask in [request for request in world.stub.requests if request[0] == "POST" and f"/{load.prefix}-" in request[1]]:
            for time_ in range(world.stub.acted.get(ask, 0)):
                yield Observed("provider", path.split("/")[2], path.removeprefix("/once/"), f"{ask} {time_}")

    @staticmethod
    def observe_record(topic, offset, key, value):
        if topic == "dead.echo":
            data = json.loads(value)
            cause = data["data"]["event"]
            identity = cause.removeprefix("junk ") if cause.startswith("junk ") else f"{key}/{json.loads(cause)['data']['n']}"
            return Observed(topic, key, identity, data["id"], offset)
        if value.startswith(b"junk "):
            return Observed(topic, key, value[5:].decode(), value.decode(), offset)
        event = json.loads(value)
        return Observed(topic, key, f"{key}/{event['data']['n']}", event["id"], offset)


class Calls:
    """Call tracking, end to end: CallRail's three webhooks of a call, until the rep has the message and its reports are back.  Of some calls
    the last one is never sent: they are in CallRail's list.  Each analysis is a job of Shunya's, which ends by its webhook or by the sweep."""

    name, inbound, ordered = "calls", "inbound.callrail", ("inbound.callrail",)
    SENDERS = 6
    LOST = 0.2                                          # of the last webhooks
    LOST_AGO = timedelta(hours=9, minutes=40)           # long enough ago to be fetched; for ten hours ingest looks at a call
    TRACKING = "+12025550100"
    KINDS = {"B": 6, "H": 2, "W": 2}                    # booked, hot, warm: in the call's id
    TALK = {"B": (("agent", "Good afternoon, this is Ana at Acme Roofing."), ("customer", "Hi! I'd like to book an appointment."),
                  ("agent", "We can come tomorrow at 3pm. Does that work?"), ("customer", "Yes, perfect."),
                  ("agent", "Great, you're all set. See you tomorrow!")),
            "H": (("agent", "How can I help?"), ("customer", "I need someone right away, the pipe is leaking."),
                  ("agent", "We have nobody free, I am sorry.")),
            "W": (("agent", "Hello."), ("customer", "How much is a new roof?"), ("agent", "About nine thousand."),
                  ("customer", "Okay, good to know."))}

    def prepare(self, world):
        with world.connect_when_there() as database:
            database.execute("INSERT INTO companies (tenant, name, time_zone) VALUES ('fire', 'Fire & Sons', 'America/New_York')")
            database.execute("INSERT INTO tracking_numbers (number, tenant) VALUES (%s, 'fire')", (self.TRACKING,))
            database.execute("INSERT INTO users (tenant, email, user_id, name, role, phone) VALUES"
                             " ('fire', 'rep@fire.example', 'fire-rep', 'Rep', 'rep', '+12025550147')")
        world.sandbox.control("PUT", "/files/call.wav", data=speech(2))
        for kind, lines in self.TALK.items():
            for speaker in ("agent", "customer"):
                segments = [{"start": n * 0.2, "end": n * 0.2 + 0.2, "text": text} for n, (of, text) in enumerate(lines) if of == speaker]
                world.sandbox.control("PUT", "/transcripts", json={"file_name": f"*-c{kind}*-{speaker}-*", "segments": segments})

    def run(self, world, load):
        rng = random.Random(load.seed + 2)
        load.wanted[self.name] = 3 * load.calls
        kinds = rng.choices(list(self.KINDS), self.KINDS.values(), k=load.calls)
        todo = [(f"{load.prefix}-c{kind}{number}", rng.random()) for number, kind in enumerate(kinds)][::-1]
        gap_s = load.seconds / max(1, load.calls) * self.SENDERS
        senders = [threading.Thread(target=self.sender, args=(world, load, todo, gap_s), daemon=True) for _ in range(self.SENDERS)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()

    def sender(self, world, load, todo, gap_s):
        while not load.given_up:
            try:
                call, chance = todo.pop()
            except IndexError:
                return
            began, rng = time.monotonic(), random.Random(chance)
            for number, hook in enumerate(PROGRESS):
                body = self.body(world, call, hook)
                load.record.send(self.name, call, f"{call}/{hook}", number, call.rsplit("-c", 1)[1][0])
                if hook == "call.completed" and rng.random() < self.LOST:
                    self.lose(world, load, call, hook)
                    continue
                send_surely(world, load, lambda place: self.send_once(world, load, call, hook, body, place), share(call))
                if rng.random() < 0.1:                  # the same webhook three times
                    for _ in range(2):
                        self.send_once(world, load, call, hook, body, rng.random())
            load.pause(gap_s - (time.monotonic() - began))

    @staticmethod
    def caller(call):
        return f"+1202555{100 + int(share(call) * 100):04}"            # so few that calls share contacts and leads

    def lose(self, world, load, call, hook):
        """CallRail knows of it, and does not tell: that is as good as an acknowledged webhook."""
        known = {"call_id": call, "caller_number": self.caller(call), "caller_name": f"Caller {call}", "tracking_number": self.TRACKING,
                 "started_at": (datetime.now(timezone.utc) - self.LOST_AGO).isoformat(), "duration": 61,
                 "recording_url": f"{world.sandbox.url}/files/call.wav"}
        world.sandbox.control("POST", "/calls", json={"call": known})
        load.record.answer(f"{call}/{hook}", OK, "callrail")

    def body(self, world, call, hook):
        told = {"call_id": call, "customer_phone_number": self.caller(call), "customer_name": f"Caller {call}",
                "tracking_phone_number": self.TRACKING, "timestamp": datetime.now(timezone.utc).isoformat(timespec="milliseconds")}
        if hook == "call.completed":
            told |= {"duration": 61, "answered": True, "recording": f"{world.sandbox.url}/files/call.wav"}
        return json.dumps(told).encode()

    @staticmethod
    def send_once(world, load, call, hook, body, place):
        return post(world, load, f"{call}/{hook}", f"/api/v1/callrail/{hook}", body, signed_by_callrail(body), place)

    def expect(self, operation):
        because = identity = operation.identity
        yield Expected("ingest ledger", identity, because)
        yield Expected("report", identity, because)
        yield Expected("call.progressed", identity, because, least=0)
        if not identity.endswith("call.completed"):
            return
        told = operation.how in ("B", "H")
        for kind in ("completed", "call.recorded", "transcribe ledger", "recording", "copy", "transcript", "call.transcribed", "analyze ledger",
                     "job", "analysis", "call.analyzed", "notifier ledger"):
            yield Expected(kind, identity, because)
        for kind, number in (("appointment", operation.how == "B"), ("message", told), ("delivery", told), ("reported", told)):
            yield Expected(kind, identity, because, int(number), int(number))

    ROWS = {
        "report": "SELECT call_id, hook, event_id::text FROM call_reports WHERE call_id LIKE %s",
        "completed": "SELECT call_id, 'call.completed', tenant FROM calls WHERE status = 'completed' AND call_id LIKE %s",
        "transcript": "SELECT call_id, 'call.completed', tenant FROM call_transcripts WHERE words > 0 AND call_id LIKE %s",
        "job": "SELECT subject, 'call.completed', job_id::text FROM jobs WHERE status = 'completed' AND subject LIKE %s",
        "analysis": "SELECT call_id, 'call.completed', tenant FROM call_analyses WHERE call_id LIKE %s",
        "appointment": "SELECT call_id, 'call.completed', appointment_id::text FROM appointments WHERE call_id LIKE %s",
        "delivery": "SELECT subject, 'call.completed', ask_id::text FROM asks WHERE stage = 'notifier' AND state = 'answered' AND subject LIKE %s",
    }
    COPIED = "SELECT call_id, path, bytes, sha256 FROM recordings WHERE call_id LIKE %s"
    LEDGER = ("SELECT stage, subject, event_id::text, day, event_type FROM ledger WHERE subject LIKE %s AND event_type IN"
              " ('callrail.call.received', 'call.recorded', 'call.transcribed') OR correlation_id LIKE %s AND event_type = 'call.analyzed'")

    def observe(self, world, load, known):
        like = load.prefix + "-c%"
        for topics in (["inbound.callrail"], ["calls", "transcripts", "results", "dead.ingest", "dead.transcribe", "dead.analyze",
                                              "dead.notifier"]):      # the causes first: what follows is known by them
            for topic, offset, key, value in load.records(world, topics):
                yield self.observe_record(topic, offset, key, json.loads(value), known)
        with world.connect_when_there() as database:
            for kind, statement in self.ROWS.items():
                for call, hook, unique in database.execute(statement, (like,)):
                    yield Observed(kind, call, f"{call}/{hook}", unique)
            calls = {call: f"{call}/call.completed" for call, in database.execute("SELECT call_id FROM calls WHERE call_id LIKE %s", (like,))}
            yield from observe_copies(world, calls, database.execute(self.COPIED, (like,)).fetchall())
            yield from observe_copies_without_a_row(world, database)
            for stage, subject, found, day, type_ in database.execute(self.LEDGER, (like, like)):
                if stage in ("ingest", "transcribe", "analyze", "notifier"):
                    identity = known.get(found, found) if stage == "ingest" else f"{subject}/call.completed"
                    yield Observed(f"{stage} ledger", subject, identity, f"{found} {day}")
            statuses = dict(database.execute("SELECT provider_id, provider_status FROM asks WHERE stage = 'notifier' AND subject LIKE %s", (like,)))
        yield from self.observe_messages(world, load, statuses)

    @staticmethod
    def observe_record(topic, offset, key, event, known):
        if topic == "inbound.callrail":
            identity = f"{key}/{event['data']['hook']}"
            known[event["id"]] = identity
            return Observed(topic, key, identity, event["id"], offset)
        if topic.startswith("dead."):
            return Observed(topic, key, f"{key}: {event['data']['reason']}", event["id"], offset)
        identity = known.get(event["causationid"], event["causationid"]) if event["type"] == "call.progressed" else f"{key}/call.completed"
        return Observed(event["type"], key, identity, event["id"], offset)

    def observe_messages(self, world, load, statuses):
        """What the provider got, and whether what it reported of it, and was acknowledged, is known here."""
        told = reported(world, load)
        for message in world.sandbox.since("messages", load.marks["messages"]):
            call = re.search(rf"Caller ({re.escape(load.prefix)}-c\S+)", message["body"])
            if call:
                identity = f"{call[1]}/call.completed"
                yield Observed("message", call[1], identity, message["sid"], moment(message["at"]).timestamp())
                if RANKS.get(statuses.get(message["sid"]), -1) >= told.get(message["sid"], 0):
                    yield Observed("reported", call[1], identity, message["sid"])


CASES = [Echo(), Calls(), Coach(), Clients()]
