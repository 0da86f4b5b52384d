"""News of a meeting as a scenario tool sends it to /outlook-webhook: JSON, and a shared secret in a header."""

import json
from urllib.parse import urlsplit

from webhooks import Webhook

HOOK = "meeting"  # what rules for webhooks are matched with
SECRET_HEADER = "X-Webhook-Secret"
MEETING_FIELDS = {
    "meeting": dict,
    "client": dict,
    "attendees": list,
    "extra": dict,
    "target": str,
    "secret": str,
    "signed": bool,
    "wait": bool,
}


def problem_of(wanted):
    """What is wrong with it, as a sentence, or None.  What the meeting says is the receiver's to judge."""
    if urlsplit(wanted["target"]).scheme not in ("http", "https"):
        return "`target` is where it goes: the address of /outlook-webhook, http or https"
    return None


def webhook_of(state, wanted):
    told = {name: wanted[name] for name in ("meeting", "client", "attendees") if name in wanted}
    headers = {"Content-Type": "application/json; charset=utf-8"}
    if wanted.get("signed", True):
        headers[SECRET_HEADER] = wanted.get("secret", state.config.outlook_webhook_secrets[0])
    return Webhook(
        provider="outlook",
        hook=HOOK,
        url=wanted["target"],
        body=json.dumps({**told, **wanted.get("extra", {})}).encode(),
        headers=headers,
        signature_header=SECRET_HEADER,
    )
