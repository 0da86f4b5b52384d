"""How the use cases send to the doors, and what the sandbox was acknowledged of what it sent."""

import array
import base64
import hashlib
import hmac
import http.client
import io
import re
import time
import wave
from urllib.parse import urlsplit

from checker import OK, REFUSED, UNKNOWN
from fleet import KEYS

ANSWER_S = 15                   # a sender waits so long for an answer
KEEP_TRYING_S = 90              # … and repeats what was not acknowledged for so long
NOBODY_LISTENS = "nobody listens"
STATUSES = ("accepted", "queued", "sending", "sent", "delivered", "read", "undelivered", "failed")
RANKS = {status: rank for rank, status in enumerate(STATUSES)}


def share(key):
    """From 0 to 1, the same each time."""
    return int(hashlib.sha1(key.encode()).hexdigest()[:8], 16) / 2**32


def signed_by_callrail(body):
    signature = base64.b64encode(hmac.new(KEYS["CALLRAIL_SIGNING_KEY"].encode(), body, hashlib.sha1).digest()).decode()
    return {"Content-Type": "application/json", "Signature": signature}


def signed_by_twilio(url, form):
    """`url`: the public address, whichever door it is sent to."""
    text = url + "".join(name + form[name] for name in sorted(form))
    signature = base64.b64encode(hmac.new(KEYS["TWILIO_AUTH_TOKEN"].encode(), text.encode(), hashlib.sha1).digest()).decode()
    return {"Content-Type": "application/x-www-form-urlencoded", "X-Twilio-Signature": signature}


def post(world, load, identity, path, body, headers, place, source=None):
    """To the door at `place`, from 0 to 1: what is of one key goes to the same one as long as there are as many.  `source`: our address."""
    doors = world.fleet.doors()
    url = doors[int(place * len(doors))]
    answer, why = answer_of(url, path, body, headers, source)
    load.record.answer(identity, answer, url, why)
    return answer == OK


def answer_of(url, path, body, headers, source=None):
    """How it was answered, and why: a status of 4xx is a refusal; 5xx, silence and a broken connection say nothing for sure."""
    status, said = exchange(url, "POST", path, body, headers, source)
    if status is None:
        return (REFUSED if said == NOBODY_LISTENS else UNKNOWN), said
    return (OK if status // 100 == 2 else REFUSED if status // 100 == 4 else UNKNOWN), str(status)


def exchange(url, method, path, body, headers, source=None):
    """(status, body) of the answer; (None, why) when none came whole."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=ANSWER_S, source_address=(source, 0) if source else None)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except ConnectionRefusedError:
        return None, NOBODY_LISTENS
    except (OSError, http.client.HTTPException) as error:
        return None, type(error).__name__
    finally:
        connection.close()


def send_surely(world, load, send, place):
    """Until it is acknowledged, or nobody waits for that any more; says whether it was."""
    deadline = time.monotonic() + KEEP_TRYING_S
    while not send(place):
        if time.monotonic() > deadline or load.given_up:
            return False
        load.pause(0.3)
    return True


def reported(world, load):
    """{sid: the furthest status the sandbox told of and was acknowledged}"""
    told = {}
    for webhook in world.sandbox.since("webhooks", load.marks["webhooks"]):
        acknowledged = webhook["provider"] == "twilio" and (webhook["status"] or 0) // 100 == 2
        sid = re.search(r"MessageSid=(\w+)", webhook["body"]) if acknowledged else None
        if sid and webhook["hook"] in RANKS:
            told[sid[1]] = max(told.get(sid[1], 0), RANKS[webhook["hook"]])
    return told


def speech(channels):
    """A second of WAV in which all channels are loud for a while."""
    samples = array.array("h")
    for at in range(16_000):
        samples.extend([(9_000 if at // 20 % 2 else -9_000) if 4_000 <= at < 12_000 else 0] * channels)
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(16_000)
        out.writeframes(samples.tobytes())
    return file.getvalue()
