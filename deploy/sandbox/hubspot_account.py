"""An account at HubSpot: its tokens, contacts and notes, and how much was asked of it."""

from collections import deque

import limits
from store import Bounded

KINDS = ("private_app", "service_key", "oauth")
READ, WRITE = "crm.objects.contacts.read", "crm.objects.contacts.write"
SETTINGS = {
    "index_lag_ms": 2000,  # until a search knows of what is new
    "burst_max": 100,  # requests of a token in ten seconds
    "searches_per_s": limits.HUBSPOT_SEARCHES_PER_S,
    "daily_max": limits.HUBSPOT_DAILY_MAX,
    "error_shape": "policy",  # of a 429; or category, the newer one
}


class HubSpot:
    def __init__(self, config):
        self.settings = dict(SETTINGS)
        self.tokens = {token: {"kind": "service_key", "scopes": [READ, WRITE], "expires_at": None} for token in config.hubspot_tokens}
        self.contacts, self.merged = {}, {}  # by id; merged: an id that is another contact's now
        self.notes = Bounded(limits.HUBSPOT_NOTES_MAX)
        self.last_id = 100
        self.asked, self.searched = {}, deque()  # when, by token, within ten seconds; searches of the account
        self.today = 0

    def next_id(self):
        self.last_id += 1
        return str(self.last_id)
