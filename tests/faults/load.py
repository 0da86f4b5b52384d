"""One load: all use cases sending at once, with a record of their own, and afterwards what can be seen of it."""

import threading
import time

from cases import CASES, event_id
from checker import check
from confluent_kafka import Consumer, TopicPartition
from fleet import STAGES
from record import Record, read

TOPICS = {*(topic for topics in STAGES.values() for topic in topics), "replies", "echo.out", *("dead." + stage for stage in STAGES)}
READ_S = 60
LEASE_S = 33                # the notifier's: its time-out and 30 s; see common/stage/ask.c
UNREPEATABLE = ("message", "crm note")              # at providers without idempotency key
THAWED_S = 5                # so soon after it a request leaves that was about to when its process froze


class Load:
    def __init__(self, world, path, prefix, seed, seconds, events, calls):
        self.prefix, self.seed, self.seconds, self.events, self.calls = prefix, seed, seconds, events, calls
        self.rate = events / seconds
        self.record = Record(path)
        self.wanted, self.given_up = {}, False
        self.marks = world.sandbox.control("GET", "/health")         # how many requests, webhooks and messages there were before
        self.begins = self.ends(world)
        self.threads = [threading.Thread(target=self.run, args=(case, world), daemon=True) for case in CASES]
        self.failed = []

    def run(self, case, world):
        try:
            case.run(world, self)
        except Exception as error:      # a sender that fails must not look like a quiet one
            self.failed.append(f"{case.name}: {type(error).__name__}: {error}")

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    @property
    def over(self):
        return not any(thread.is_alive() for thread in self.threads)

    def pause(self, seconds):
        if seconds > 0:
            time.sleep(seconds)

    def join(self, seconds):
        """The senders get so long for what they still have to say."""
        deadline = time.monotonic() + seconds
        for thread in self.threads:
            thread.join(max(0.1, deadline - time.monotonic()))
        self.given_up = True
        for thread in self.threads:
            thread.join()
        self.record.close()

    # --- afterwards ---------------------------------------------------------------------------------------------------------------

    @staticmethod
    def ends(world):
        """Where each partition ends."""
        consumer = Consumer({"bootstrap.servers": world.environment.brokers, "group.id": "fire", "log_level": 0})
        try:
            known = consumer.list_topics(timeout=10).topics
            return {(topic, number): consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1]
                    for topic in TOPICS if topic in known for number in known[topic].partitions}
        finally:
            consumer.close()

    def records(self, world, topics, belongs=None):
        """(topic, offset, key, value) of what this load brought into these topics; `belongs`: whether a key is of this load."""
        belongs = belongs or (lambda key: key.startswith(self.prefix + "-"))
        ends = {place: end for place, end in self.ends(world).items() if place[0] in topics and end > self.begins.get(place, 0)}
        consumer = Consumer({"bootstrap.servers": world.environment.brokers, "group.id": "fire", "enable.auto.commit": False, "log_level": 0})
        try:
            consumer.assign([TopicPartition(*place, self.begins.get(place, 0)) for place in ends])
            deadline = time.monotonic() + READ_S
            while ends and time.monotonic() < deadline:
                for record in consumer.consume(2000, timeout=0.5):
                    place = (record.topic(), record.partition())
                    if record.error() or place not in ends:
                        continue
                    if record.offset() >= ends[place] - 1:
                        del ends[place]
                    key = (record.key() or b"").decode("utf-8", "replace")
                    if belongs(key):
                        yield record.topic(), record.offset(), key, record.value()
            assert not ends, f"could not read the topics to their ends: {ends}"
        finally:
            consumer.close()

    def check(self, world):
        operations = read(self.record.path)
        known = {event_id(operation.identity): operation.identity for operation in operations if operation.case == "echo"}
        cases = {case.name: case for case in CASES}
        observations = [seen for case in CASES for seen in case.observe(world, self, known)]
        expectations = [expected for operation in operations for expected in cases[operation.case].expect(operation)]
        thaws = world.thaws("notifier", LEASE_S)

        def excuse(expected, places):
            return expected.kind in UNREPEATABLE and any(thaw < place < thaw + THAWED_S for thaw in thaws for place in places)

        return check(operations, expectations, observations, {case.name: case.inbound for case in CASES}, excuse,
                     [kind for case in CASES for kind in case.ordered])
