"""Listens at all topics, from now on, for what belongs to the day's calls."""

import json
import os
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, TopicPartition

TIMEOUT_S = 10.0


class CannotWatch(Exception):
    pass


def describe_progress(data):
    return data["status"].replace("_", " ")


def describe_recording(data):
    return f"a recording of {data['duration_s']} s" if data.get("duration_s") else "a recording"


def describe_transcript(data):
    return f"{data['words']} words in {data['segments']} turns, {data['provider']}"


def describe_analysis(data):
    return (
        f"{data['booking_status'].replace('_', ' ')}, lead {data['lead_qualification']}, "
        f"mood {data['sentiment_score']:+.2f}, {data['provider']}"
    )


def describe_delivery(data):
    return f"{data['channel']} {data['status']}" + (f", error {data['error_code']}" if data.get("error_code") else "")


def describe_report(data):
    return f"{data['provider']} reports {data['status']}"


def describe_rejection(data):
    return f"{data['stage']} cannot handle it: {data['reason']}"


def describe_visit_recording(data):
    return "its recording can be fetched"


def describe_visit(data):
    return f"{data['outcome']}, by {data['provider']}"


def describe_registration(data):
    return f"{data['name']}, {'for the first time' if data['first'] else 'again'}"


def describe_meeting(data):
    return f"{data['change']}, revision {data['revision']}" + ("" if data["known"] else ", by nobody who is known")


def describe_chat(data):
    return f"{data['kind']} from {data['from']}"


def describe_plan(data):
    return f"version {data['plan_version']}, by {data['provider']}"


def describe_chat_answer(data):
    return data["act"] + (f", by {data['provider']}" if data.get("provider") else "")


# the raw webhooks of inbound.* are left out: each is told of by what the recorder makes of it
DESCRIBE = {
    "call.progressed": describe_progress,
    "call.recorded": describe_recording,
    "call.transcribed": describe_transcript,
    "call.analyzed": describe_analysis,
    "visit.recorded": describe_visit_recording,
    "visit.transcribed": describe_transcript,
    "visit.analyzed": describe_visit,
    "delivery.changed": describe_delivery,
    "message.reported": describe_report,
    "salesperson.registered": describe_registration,
    "meeting.changed": describe_meeting,
    "chat.received": describe_chat,
    "plan.made": describe_plan,
    "chat.answered": describe_chat_answer,
    "event.rejected": describe_rejection,
}


def client_settings(settings):
    """KAFKA_PROP_SECURITY_PROTOCOL=… becomes security.protocol=…, as in the daemons."""
    properties = {
        name.removeprefix("KAFKA_PROP_").lower().replace("_", "."): value
        for name, value in settings.items()
        if name.startswith("KAFKA_PROP_")
    }
    return {
        **properties,
        "bootstrap.servers": settings["KAFKA_BROKERS"],
        "group.id": f"sample-day-{os.getpid()}",
        "enable.auto.commit": False,
        "auto.offset.reset": "latest",
        "log_level": 0,
    }


@dataclass
class Step:
    """Something that happened, and when (s since 1970)."""

    at: float
    who: str
    what: str
    text: str
    good: bool = True


class Watcher:
    def __init__(self, settings, root, company):
        topics = json.loads((root / "schemas/topics.json").read_text())
        self.writers = {topic["name"]: topic["writer"] for topic in topics["topics"]}
        for stage in topics["stages"]:
            self.writers["dead." + stage["name"]] = stage["name"]
        self.call_id, self.company = None, company
        self.told = False  # somebody gets a message about the call it listens for
        self.rejected = []  # events of that call
        self.consumer = Consumer(client_settings(settings))
        self.consumer.assign(self.ends(settings["KAFKA_BROKERS"]))

    def ends(self, brokers):
        """Where each partition ends now: nothing before is of this call, nothing after is missed."""
        try:
            known = self.consumer.list_topics(timeout=TIMEOUT_S).topics
            ends = []
            for topic in self.writers:
                for partition in known[topic].partitions if topic in known else []:
                    _, end = self.consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=TIMEOUT_S)
                    ends.append(TopicPartition(topic, partition, end))
        except KafkaException as error:
            raise CannotWatch(f"could not reach Kafka at {brokers}: {error.args[0].str()}") from None
        missing = [topic for topic in self.writers if topic not in known and not topic.startswith("dead.")]
        if missing:
            raise CannotWatch(
                f"Kafka at {brokers} has no topic {missing[0]}: `make run` makes them before it starts the daemons"
            )
        return ends

    def listen_for(self, call_id, told):
        """From now on this call's news alone are given, and when somebody is told of it those of the message."""
        self.call_id, self.told, self.rejected = call_id, told, []

    def is_ours(self, key, event):
        if self.call_id in (event.get("correlationid"), event.get("subject"), key):
            return True
        if event["type"] == "event.rejected":
            return self.call_id in json.dumps(event["data"])
        return self.told and any(key.endswith(number) for number in self.company.recipients)

    def step_of(self, message):
        """What a message tells; None when it is of another call."""
        at = message.timestamp()[1] / 1000
        try:
            event = json.loads(message.value())
            if not self.is_ours((message.key() or b"").decode(), event):
                return None
            kind = event["type"]
            text = DESCRIBE[kind](event["data"]) if kind in DESCRIBE else ""
        except (ValueError, KeyError, TypeError) as error:
            return Step(at, message.topic(), "unreadable", f"{type(error).__name__}: {error}", False)
        if kind == "event.rejected":
            self.rejected.append(text)
        return Step(at, self.writers[message.topic()], kind, text, kind != "event.rejected") if text else None

    def news(self, wait_s):
        """The steps that came: waits for the first at most `wait_s`, for more only as long as they are there."""
        found = []
        message = self.consumer.poll(wait_s)
        while message is not None:
            step = None if message.error() else self.step_of(message)
            if step:
                found.append(step)
            message = self.consumer.poll(0)
        return found

    def close(self):
        self.consumer.close()
