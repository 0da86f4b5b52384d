"""Everything the sandbox knows, in one object that every handler gets."""

import asyncio
import time

from aiohttp import web

import limits
from faults import Faults
from hubspot_account import HubSpot
from listener import Listener
from store import Bounded, Files, News, Requests
from webhooks import Webhooks

SETTINGS = {
    "message_statuses": ["queued", "sent", "delivered", "read"],  # what a message goes through, each told by callback
    "message_gap_ms": 50,  # between two of them
    "messages_per_s": limits.TWILIO_MESSAGES_PER_S,  # of a sender; what comes faster waits in its queue
    "messages_at_once": 0,  # requests for messages at a time, beyond which 429; 0: as many as come
    "message_takes_ms": 0,  # such a request
    "opt_out": "on",  # STOP and START are obeyed
    "media_after_ms": 0,  # what a person sent can be fetched so long after it was told of
    "callrail_requests_per_hour": limits.CALLRAIL_REQUESTS_PER_HOUR,
    "callrail_requests_per_day": limits.CALLRAIL_REQUESTS_PER_DAY,
    "callrail_time_zone": "America/New_York",  # of the account: what dates without an offset are in
    "callrail_recordings": "link",  # what `recording` is in its API; api: the address of its own request for the link
    "window_hours": limits.WHATSAPP_WINDOW_HOURS,  # how long free text may follow a person's own message
    "shunya_mode": "job",  # or sync: the answer at once
    "shunya_gap_ms": 50,  # a job waits so long, then runs
    "shunya_signature": "timed",  # or legacy: the older form
    "graph_token_s": 3599,  # how long a token of Microsoft's lasts
    "graph_life_minutes": limits.GRAPH_LIFE_MINUTES_MAX,  # the longest life of a subscription
}

STATE = web.AppKey("state", object)


class Graph:
    """What Graph knows of the application: tokens, subscriptions, and a calendar for each mailbox."""

    def __init__(self):
        self.tokens = {}  # token: when it ends
        self.subscriptions = {}
        self.events = {}  # id: event; of all mailboxes
        self.removed = []  # (version, mailbox, id)
        self.version = 0


class State:
    def __init__(self, config):
        self.config = config
        self.news = News()
        self.requests = Requests(self.news)
        self.faults = Faults()
        self.webhooks = Webhooks(self.faults, self.news)
        self.files = Files()
        self.objects = Files()  # in the bucket, by name
        self.calls = Bounded(limits.CALLS_MAX)
        self.callrail_requests = {}  # how many in the hour or day of that name
        self.messages = Bounded(limits.MESSAGES_MAX)
        self.last_message = 0
        self.windows = Bounded(limits.MESSAGES_MAX)  # (person, our sender): when that person last wrote
        self.opted_out = Bounded(limits.MESSAGES_MAX)  # (person, our sender) after STOP
        self.media = Bounded(limits.MESSAGES_MAX)  # what people sent, by sid
        self.turns = {}  # of each sender: when its queue is empty
        self.creating = 0  # requests for messages under way
        self.templates = self.approved()
        self.transcripts = Bounded(limits.TRANSCRIPTS_MAX)  # by sha256, "name:" and file name, or "*"
        self.jobs = Bounded(limits.SHUNYA_JOBS_MAX)  # Shunya's, by id
        self.submitted = Bounded(limits.SHUNYA_JOBS_MAX)  # what was asked of Shunya, by Idempotency-Key
        self.hubspot = HubSpot(config)
        self.graph = Graph()
        self.listener = Listener()
        self.settings = dict(SETTINGS)
        self.timers = set()  # and tasks

    def approved(self):
        return {sid: {"sid": sid, "body": body} for sid, body in self.config.twilio_templates.items()}

    @staticmethod
    def now():
        """Seconds on a clock that only goes forward."""
        return time.monotonic()

    def later(self, after_s, do, *arguments):
        def run():
            self.timers.discard(timer)
            do(*arguments)

        timer = asyncio.get_running_loop().call_later(after_s, run)
        self.timers.add(timer)

    def start(self, coroutine):
        task = asyncio.create_task(coroutine)
        self.timers.add(task)
        task.add_done_callback(self.timers.discard)
        return task

    def reset(self):
        """As at the start.  Numbering goes on, so that `since` of before stays right."""
        for timer in list(self.timers):
            timer.cancel()
        self.timers.clear()
        self.webhooks.forget()
        self.faults.delete()
        self.requests.clear()
        self.files.clear()
        self.objects.clear()
        for kept in (
            self.calls,
            self.callrail_requests,
            self.messages,
            self.windows,
            self.opted_out,
            self.media,
            self.turns,
            self.transcripts,
            self.jobs,
            self.submitted,
        ):
            kept.clear()
        self.hubspot = HubSpot(self.config)
        self.graph = Graph()
        self.templates = self.approved()
        self.settings = dict(SETTINGS)
