"""The coach: from a person's message at /whatsapp-webhook to the answer at the provider, with a model that answers at once."""

import asyncio
import base64
import hmac
import json
import sys
import time
import uuid
from urllib.parse import parse_qs, urlencode

from environment import free_port
from measure import CannotMeasure, Figure, Row
from stand import Program

RATE = 50                       # messages a second, each of another person
SECONDS, WARM_S = 10, 3
CONNECTIONS = 16
GOAL_MS = 60
WAIT_S = 10                     # for the last ones
TOKEN, ACCOUNT, SENDER = "the bench's token", "AC" + "be" * 16, "+14155238886"
TENANT = "bench"
ANSWER = {"act": "answer", "text": "Name what it costs them to wait, and ask which of the two they can live with.", "outcome": None,
          "quote": None, "language": "en", "mode": "advice"}
PEOPLE = """
WITH company AS (INSERT INTO companies (tenant, name, time_zone) VALUES (%(tenant)s, 'Bench', 'UTC') ON CONFLICT DO NOTHING),
person AS (SELECT n, 'bench-' || n || '@bench.test' AS email, '+1202' || (3000000 + n) AS phone FROM generate_series(1, %(count)s) AS n)
SELECT email, phone, n FROM person"""
USER = "INSERT INTO users (tenant, email, user_id, name, phone, role) VALUES (%s, %s, %s, 'Ada Park', %s, 'rep') ON CONFLICT DO NOTHING"
PHONE = "INSERT INTO user_phones (tenant, phone, email, last_received_at) VALUES (%s, %s, %s, now()) ON CONFLICT DO NOTHING"
CLIENT = ("INSERT INTO clients (tenant, client_id, email, name, company) VALUES (%s, %s, %s, 'Bea Stone', 'Stone Ltd')"
          " ON CONFLICT DO NOTHING")
MEETING = ("INSERT INTO meetings (tenant, meeting_id, outlook_event_id, salesperson_email, salesperson_phone, client_id, title,"
           " start_time, end_time, planned_at, source_time) VALUES (%s, %s, %s, %s, %s, %s, 'Renewal',"
           " now() + interval '1 hour', now() + interval '2 hours', now(), now()) ON CONFLICT DO NOTHING")


# --- the providers ---------------------------------------------------------------------------------------------------------------------


class Providers(asyncio.Protocol):
    """Twilio and the model on one port: each request is answered at once, and a message's arrival is noted by its recipient."""

    def __init__(self, arrived):
        self.arrived, self.buffer = arrived, b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        while True:
            head, separator, rest = self.buffer.partition(b"\r\n\r\n")
            if not separator:
                return
            lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
            length = int(lengths[0]) if lengths else 0
            if len(rest) < length:
                return
            self.buffer = rest[length:]
            self.answer(head.split(b" ", 2)[1], rest[:length])

    def answer(self, path, body):
        if path.endswith(b"/Messages.json"):
            self.arrived.setdefault(parse_qs(body.decode())["To"][0].removeprefix("whatsapp:"), time.perf_counter())
            status, told = b"201 Created", {"sid": "SM" + uuid.uuid4().hex, "status": "queued"}
        else:
            message = {"role": "assistant", "content": json.dumps(ANSWER)}
            status, told = b"200 OK", {"choices": [{"finish_reason": "stop", "message": message}], "model": "bench",
                                       "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
        text = json.dumps(told).encode()
        self.transport.write(b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (status, len(text), text))


# --- the people ------------------------------------------------------------------------------------------------------------------------


def people_of(stand, count):
    """E-mail addresses and numbers of people with a meeting in an hour, who wrote a moment ago."""
    with stand.environment.connect() as connection, connection.cursor() as cursor:
        people = cursor.execute(PEOPLE, {"tenant": TENANT, "count": count}).fetchall()
        ids = [(str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{kind} {email}"))) for kind in ("client", "meeting") for email, *_ in people]
        clients, meetings = ids[:count], ids[count:]
        cursor.executemany(USER, [(TENANT, email, email, phone) for email, phone, _ in people])
        cursor.executemany(PHONE, [(TENANT, phone, email) for email, phone, _ in people])
        cursor.executemany(CLIENT, [(TENANT, client, "client-" + email) for client, (email, *_) in zip(clients, people, strict=True)])
        cursor.executemany(MEETING, [(TENANT, meeting, meeting, email, phone, client)
                                     for meeting, client, (email, phone, _) in zip(meetings, clients, people, strict=True)])
    return [phone for _, phone, _ in people]


def request_of(public_url, phone):
    """One message, whole and signed."""
    sid = "SM" + uuid.uuid4().hex
    form = {"SmsMessageSid": sid, "NumMedia": "0", "ProfileName": "Ada", "MessageType": "text", "SmsSid": sid, "WaId": phone[1:],
            "SmsStatus": "received", "Body": "They say that the price is too high. What do I answer?", "To": "whatsapp:" + SENDER,
            "NumSegments": "1", "MessageSid": sid, "AccountSid": ACCOUNT, "From": "whatsapp:" + phone, "ApiVersion": "2010-04-01"}
    signed = public_url + "/whatsapp-webhook" + "".join(name + form[name] for name in sorted(form))
    signature = base64.b64encode(hmac.digest(TOKEN.encode(), signed.encode(), "sha1")).decode()
    body = urlencode(form).encode()
    head = (f"POST /whatsapp-webhook HTTP/1.1\r\nHost: {public_url.removeprefix('http://')}\r\nX-Twilio-Signature: {signature}\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n")
    return head.encode() + body


class Door:
    """Kept connections to whoever takes the webhooks."""

    def __init__(self):
        self.idle = asyncio.Queue()

    async def open(self, port):
        for _ in range(CONNECTIONS):
            self.idle.put_nowait(await asyncio.open_connection("127.0.0.1", port))
        return self

    async def send(self, request):
        reader, writer = await self.idle.get()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        status = head.split(b" ", 2)[1]
        length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
        await reader.readexactly(length)
        self.idle.put_nowait((reader, writer))
        if status[:1] != b"2":
            raise CannotMeasure(f"a message was answered {status.decode()}")

    async def close(self):
        while not self.idle.empty():
            self.idle.get_nowait()[1].close()


# --- one run ---------------------------------------------------------------------------------------------------------------------------


async def talk(port, requests, arrived):
    """Sends each when it is due, whatever became of those before; [(due, sent, acknowledged)]"""
    door, times, tasks = await Door().open(port), [None] * len(requests), []
    begin = time.perf_counter() + 0.1

    async def one(number, due):
        sent = time.perf_counter()
        await door.send(requests[number])
        times[number] = (due, sent, time.perf_counter())

    for number in range(len(requests)):
        due = begin + number / RATE
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(number, due)))
    await asyncio.gather(*tasks)
    deadline = time.perf_counter() + WAIT_S
    while len(arrived) < len(requests) and time.perf_counter() < deadline:
        await asyncio.sleep(0.01)
    await door.close()
    return times


def share_of(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


async def runs_of(count, port, provider_port, public_url, phones):
    """The providers stay, as they do: whoever keeps a connection to them finds it open."""
    arrived, found = {}, []
    server = await asyncio.get_running_loop().create_server(lambda: Providers(arrived), "127.0.0.1", provider_port)
    try:
        for _ in range(count):
            arrived.clear()
            times = await talk(port, [request_of(public_url, phone) for phone in phones], arrived)
            found.append(figures(phones, times, arrived))
    finally:
        server.close()
    return found


def figures(phones, times, arrived):
    missing = [phone for phone in phones if phone not in arrived]
    if missing:
        raise CannotMeasure(f"{len(missing)} of {len(phones)} answers did not reach the provider within {WAIT_S} s")
    counted = [(*of_door, arrived[phone]) for phone, of_door in zip(phones, times, strict=True)][WARM_S * RATE:]
    measures = {"chat": lambda t: t[3] - t[0], "ack": lambda t: t[2] - t[0], "late": lambda t: t[1] - t[0]}
    return {f"{name}_{label}_ms": share_of([of(t) for t in counted], share) * 1000
            for name, of in measures.items() for label, share in (("p50", 0.5), ("p99", 0.99))} | {"messages": len(counted)}


# --- the rows --------------------------------------------------------------------------------------------------------------------------


class Reference(Program):
    def __init__(self, stand, provider_port):
        providers = f"http://127.0.0.1:{provider_port}"
        command = [sys.executable, "-m", "uvicorn", "reference_coach:app", "--loop", "uvloop", "--http", "httptools", "--no-access-log",
                   "--log-level", "warning"]
        super().__init__(stand, command, {"TWILIO_AUTH_TOKEN": TOKEN, "TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_WHATSAPP_FROM": SENDER,
                                          "PROVIDERS": providers})


def stages(stand, port, provider_port):
    providers = f"http://127.0.0.1:{provider_port}"
    common = {"PUBLIC_URL": f"http://127.0.0.1:{port}", "TWILIO_AUTH_TOKEN": TOKEN, "TWILIO_ACCOUNT_SID": ACCOUNT}
    own = {"ingest": {"port": port}, "analyze": {"LLM_PROVIDER": "openai", "OPENAI_API_KEY": "key", "OPENAI_BASE_URL": providers + "/v1"},
           "notifier": {"TWILIO_BASE_URL": providers, "TWILIO_WHATSAPP_FROM": SENDER}}
    return [stand.daemon(name, **{**common, **settings}).ready() for name, settings in own.items()]


def coach(stand):
    count = int((WARM_S + max(1, SECONDS * stand.share)) * RATE)
    port, provider_port = free_port(), free_port()
    daemons = stages(stand, port, provider_port)
    phones = people_of(stand, count)
    ours = asyncio.run(runs_of(stand.runs, port, provider_port, f"http://127.0.0.1:{port}", phones))
    for daemon in daemons:
        stand.end(daemon)
    with Reference(stand, provider_port) as reference:
        theirs = asyncio.run(runs_of(stand.runs, reference.port, provider_port, reference.url, phones))
    for name, goal in (("p50", None), ("p99", GOAL_MS)):
        figure, beside = (Figure([found[f"chat_{name}_ms"] for found in runs], "ms", 2) for runs in (ours, theirs))
        yield Row("coach", f"WhatsApp message in to answer at the provider, {RATE}/s, {name}", figure, f"< {goal} ms" if goal else "",
                  beside, "FastAPI, nothing kept", figure.median < goal if goal else None,
                  {"runs": ours, "reference": theirs} if goal else {})
    yield Row("coach", "acknowledged meanwhile, p99", Figure([found["ack_p99_ms"] for found in ours], "ms", 2))
