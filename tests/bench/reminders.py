"""Reminders: thousands due in the same minute with three notifiers running, each once, within the rate of the sender."""

import json
import threading
import time
import uuid
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from confluent_kafka import Producer
from daemons import event
from environment import wait_until
from measure import CannotMeasure, Figure, Row

DUE = 10_000
NOTIFIERS = 3
PER_S = 80                      # what Twilio lets a sender send
ALONE = 5                       # reminders that nobody else is due with
ALONE_GOAL_S = 3
CHATS = 20                      # messages that are answered while the thousands go out
CHAT_GOAL_S = 2
WAIT_S = 300
SENDER, ACCOUNT = "+14155238886", "AC" + "be" * 16
TENANT = "reminders"
ROWS = [
    "INSERT INTO companies (tenant, name) VALUES (%(tenant)s, 'Bench') ON CONFLICT DO NOTHING",
    "INSERT INTO users (tenant, email, user_id, name, phone, role) SELECT %(tenant)s, %(kind)s || n || '@bench.test', %(kind)s || n, 'Ada',"
    " %(area)s || (3000000 + n), 'rep' FROM generate_series(1, %(count)s) AS n",
    "INSERT INTO user_phones (tenant, phone, email, last_received_at) SELECT tenant, phone, email, now() FROM users WHERE user_id LIKE %(kind)s || '%%'",
    "INSERT INTO clients (tenant, client_id, name) SELECT tenant, md5(user_id)::uuid, 'Bea Stone' FROM users WHERE user_id LIKE %(kind)s || '%%'",
    "INSERT INTO meetings (tenant, meeting_id, outlook_event_id, salesperson_email, salesperson_phone, client_id, title, start_time, end_time,"
    " planned_at, source_time, next_check_at) SELECT tenant, gen_random_uuid(), user_id, email, phone, md5(user_id)::uuid, 'Renewal',"
    " now() - interval '1 hour', now(), now(), now(), now() + %(in_s)s * interval '1 second' FROM users WHERE user_id LIKE %(kind)s || '%%'",
]


class Twilio:
    """Answers at once, and notes when each message came."""

    def __init__(self):
        self.arrived = []           # (monotonic, recipient)
        twilio = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                twilio.arrived.append((time.monotonic(), parse_qs(body)["To"][0].removeprefix("whatsapp:")))
                told = json.dumps({"sid": "SM" + uuid.uuid4().hex, "status": "queued"}).encode()
                self.send_response(201)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 1024

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def when(self, number):
        return [at for at, to in list(self.arrived) if to == number]

    def most_in_a_second(self):
        times, first, most = sorted(at for at, _ in self.arrived), 0, 0
        for number, at in enumerate(times):
            while at - times[first] >= 1:
                first += 1
            most = max(most, number - first + 1)
        return most


def due(stand, kind, area, count, in_s):
    """So many people, each with a meeting whose reminder is due in so many seconds."""
    with stand.environment.connect() as connection:
        for statement in ROWS:
            connection.execute(statement, {"tenant": TENANT, "kind": kind, "area": area, "count": count, "in_s": in_s})


def chat(stand, producer, number):
    """What analyze says of a message of somebody else."""
    data = {"message_id": "SM" + uuid.uuid4().hex, "from": number, "salesperson": f"{number}@bench.test", "act": "answer", "text": "Yes."}
    with stand.environment.connect() as connection:
        connection.execute("INSERT INTO messages (tenant, message_id, phone, direction, purpose, message, \"timestamp\") VALUES"
                           " (%s, %s, %s, 'incoming', 'text', 'hello', now())", (TENANT, data["message_id"], number))
    producer.produce("results", json.dumps(event("chat.answered", data["salesperson"], data, tenant=TENANT)), key=data["salesperson"])
    producer.flush(10)
    return time.monotonic()


def chats(stand, twilio, count):
    """How long an answer takes while the reminders go out."""
    producer = Producer({"bootstrap.servers": stand.environment.brokers, "partitioner": "murmur2_random", "linger.ms": 0})
    took = []
    for turn in range(count):
        number = f"+1204300{turn:04}"
        sent = chat(stand, producer, number)
        took.append(wait_until(lambda: twilio.when(number), f"the answer to {number}", WAIT_S, 0.01)[0] - sent)  # noqa: B023
    return took


def reminders(stand):
    count = max(300, int(DUE * stand.share))
    twilio = Twilio()
    settings = {"TWILIO_BASE_URL": twilio.url, "TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": "token", "TWILIO_WHATSAPP_FROM": SENDER,
                "TWILIO_MESSAGES_PER_SECOND": str(PER_S)}
    daemons = [stand.daemon("notifier", instance=f"notifier-{number}", **settings) for number in range(NOTIFIERS)]
    for daemon in daemons:
        daemon.ready()
    alone = []
    for turn in range(ALONE):
        due(stand, f"alone{turn}-", f"+1{300 + turn}", 1, 0.4)
        began = time.monotonic() + 0.4
        alone.append(wait_until(lambda: twilio.when(f"+1{300 + turn}3000001"), "a reminder alone", 60, 0.01)[0] - began)  # noqa: B023
    twilio.arrived.clear()
    due(stand, "many-", "+1203", count, 3)
    wait_until(lambda: twilio.arrived, "the first reminder", 60, 0.05)
    began = twilio.arrived[0][0]
    meanwhile = chats(stand, twilio, min(CHATS, count // 50))
    wait_until(lambda: len(twilio.arrived) >= count + len(meanwhile), "all reminders", WAIT_S, 0.2)
    took = twilio.arrived[-1][0] - began
    with stand.environment.connect() as connection:
        wait_until(lambda: connection.execute("SELECT count(*) FROM meetings WHERE status = 'reminder_sent'").fetchone()[0] == count + ALONE,
                   "the rows saying so", 60, 0.2)
    for daemon in daemons:
        stand.end(daemon)
    twice = [to for to, times in Counter(to for _, to in twilio.arrived).items() if times > 1]
    if twice:
        raise CannotMeasure(f"{len(twice)} people were reminded twice")
    detail = {"notifiers": NOTIFIERS, "count": count, "per_s": PER_S}
    yield Row("reminders", f"{count:,} due in the same minute, {NOTIFIERS} notifiers: until the last one, each once", Figure([took], "s", 1),
              reference=count / PER_S, reference_name="at the sender's rate", detail=detail)
    most = twilio.most_in_a_second()
    yield Row("reminders", "most messages in any second", Figure([most]), f"≤ {PER_S}", reached=most <= PER_S)
    slowest = max(meanwhile)
    yield Row("reminders", "an answer to who writes meanwhile, slowest", Figure([slowest], "s", 2), f"< {CHAT_GOAL_S} s", reached=slowest < CHAT_GOAL_S,
              detail={"s": meanwhile})
    yield Row("reminders", "one that is due alone, after that moment, slowest", Figure([max(alone)], "s", 2), f"< {ALONE_GOAL_S} s",
              reached=max(alone) < ALONE_GOAL_S, detail={"s": alone})
