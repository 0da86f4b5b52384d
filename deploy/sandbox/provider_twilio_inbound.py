"""What people write to us by WhatsApp, told by Twilio's webhook: twilio.com/docs/messaging/guides/webhook-request.

A message of theirs opens the 24 hours; STOP and START are Twilio's own affair first (twilio.com/docs/messaging/
tutorials/advanced-opt-out): the webhook comes all the same."""

import json
import re
import secrets
import xml.etree.ElementTree as ElementTree
from datetime import datetime, timezone
from urllib.parse import urldefrag, urlencode, urlsplit

from aiohttp import web

import limits
from errors import twilio_error
from provider_twilio import API, BASE, SID, WHATSAPP, Refused, authenticate, new_message
from state import STATE
from store import now_text
from webhooks import Overrides, Webhook, twilio_signature

HOOK = "incoming"  # what rules for webhooks are matched with
MESSAGE_FIELDS = {
    "from": str,
    "to": str,
    "body": str,
    "at": str,
    "sid": str,
    "media": list,
    "button": dict,
    "profile_name": str,
    "extra": dict,
    "target": str,
    "wait": bool,
}
OPT_OUT_WORDS = {"STOP", "STOPALL", "UNSUBSCRIBE", "END", "QUIT", "CANCEL", "REVOKE", "OPTOUT"}
OPT_IN_WORDS = {"START", "UNSTOP", "YES"}
OPTED_OUT = (
    "You have successfully been unsubscribed. You will not receive any more messages from this number. "
    "Reply START to resubscribe."
)
OPTED_IN = "You have successfully been re-subscribed to messages from this number. Reply STOP to unsubscribe."
KINDS = {"image", "audio", "video"}  # of a media type; the others are documents
XML = ("text/xml", "application/xml")


def problem_of(state, wanted):
    """What is wrong with a message to be written, as a sentence, or None."""
    for name in ("from", "to"):
        if name in wanted and not WHATSAPP.fullmatch(wanted[name]):
            return "`from` and `to` look like whatsapp:+15551230000"
    if len(wanted.get("body", "")) > limits.TWILIO_BODY_CHARACTERS_MAX:
        return f"`body` has at most {limits.TWILIO_BODY_CHARACTERS_MAX} characters"
    if "sid" in wanted and not SID.fullmatch(wanted["sid"]):
        return "`sid` is SM or MM and 32 hexadecimal digits"
    media = wanted.get("media", [])
    if len(media) > limits.TWILIO_MEDIA_MAX or any(name not in state.files.entries for name in media):
        return f"`media` names at most {limits.TWILIO_MEDIA_MAX} files, each put here before"
    button = wanted.get("button", {"text": "", "payload": ""})
    if set(button) != {"text", "payload"} or not all(isinstance(value, str) for value in button.values()):
        return "`button` has `text` and `payload`"
    if not all(isinstance(value, str) for value in wanted.get("extra", {}).values()):
        return "`extra` is of more parameters, each text"
    if "target" in wanted and urlsplit(wanted["target"]).scheme not in ("http", "https"):
        return "`target` is where Twilio's webhook goes: the public address of /whatsapp-webhook, http or https"
    return None


def moment_of(text):
    """ValueError: it is no moment, or has no offset."""
    if text is None:
        return datetime.now(timezone.utc)
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        raise ValueError("it has no offset")
    return moment


def write(state, wanted):
    """A person writes to us.  A `sid` that is there is that message once more: nothing new has happened."""
    message = state.messages.get(wanted.get("sid"))
    if message is not None:
        return message
    moment, to = moment_of(wanted.get("at")), wanted.get("to", state.config.twilio_senders[0])
    button, media = wanted.get("button"), wanted.get("media", [])
    message = new_message(
        state,
        sid=wanted.get("sid") or ("MM" if media else "SM") + secrets.token_hex(16),
        **{"from": wanted["from"]},
        to=to,
        body=button["text"] if button else wanted.get("body", ""),
        direction="inbound",
        status="received",
        created=moment,
        updated=moment,
        sent=moment,
        at=moment.isoformat(),
    )
    message["media"] = [stored(state, message, name) for name in media]
    message["form"] = form_of(state, message, wanted)
    state.windows[(message["from"], to)] = moment
    opt(state, message)
    state.news.tell()
    return message


def opt(state, message):
    """STOP and START, as a word alone: Twilio remembers it, and answers by itself."""
    word, pair = message["body"].strip().upper(), (message["from"], message["to"])
    if state.settings["opt_out"] != "on":
        return
    if word in OPT_OUT_WORDS and pair not in state.opted_out:
        state.opted_out[pair] = True
        answer(state, message, OPTED_OUT)
    elif word in OPT_IN_WORDS and pair in state.opted_out:
        del state.opted_out[pair]
        answer(state, message, OPTED_IN)


def answer(state, message, text):
    """Of Twilio's own; nobody is told how it fares."""
    reply = {"from": message["to"], "to": message["from"], "body": text}
    history = [{"status": "delivered", "at": now_text()}]
    new_message(state, **reply, direction="outbound-reply", status="delivered", history=history)


# --- media --------------------------------------------------------------------


def stored(state, message, name):
    """The address of a copy of that file: it asks for the account's credentials."""
    sid, account = "ME" + secrets.token_hex(16), message["account"]
    state.media[sid] = {
        "message": message["sid"],
        "file": name,
        "content_type": state.files.entries[name]["content_type"],
        "there_at": state.now() + state.settings["media_after_ms"] / 1000,
    }
    return f"{state.config.base_url}{BASE}/2010-04-01/Accounts/{account}/Messages/{message['sid']}/Media/{sid}"


async def get_media(request):
    """Leads to an address that needs no credentials any more.  It may be there a moment after the webhook only."""
    state = request.app[STATE]
    try:
        authenticate(state, request)
    except Refused as refused:
        return refused.response
    media = state.media.get(request.match_info["media"])
    if media is None or media["message"] != request.match_info["sid"] or media["there_at"] > state.now():
        return twilio_error(404, f"The requested resource {request.path.removeprefix(BASE)} was not found")
    return web.Response(status=307, headers={"Location": f"{state.config.base_url}/files/{media['file']}"})


# --- the webhook --------------------------------------------------------------


def message_type(state, message, wanted):
    if "button" in wanted:
        return "button"
    if not message["media"]:
        return "text"
    kind = media_of(state, message["media"][0])["content_type"].partition("/")[0]
    return kind if kind in KINDS else "document"


def media_of(state, url):
    return state.media[url.rpartition("/")[2]]


def form_of(state, message, wanted):
    """The parameters, in the order in which they come; `extra` takes a name's place, or is one more."""
    sid, digits = message["sid"], re.sub(r"\D", "", message["from"])
    form = {
        "SmsMessageSid": sid,
        "NumMedia": str(len(message["media"])),
        "ProfileName": wanted.get("profile_name", "A person"),
        "MessageType": message_type(state, message, wanted),
        "SmsSid": sid,
        "WaId": digits,
        "SmsStatus": "received",
        "Body": message["body"],
        "To": message["to"],
        "NumSegments": "1",
        "ReferralNumMedia": "0",
        "MessageSid": sid,
        "AccountSid": message["account"],
        "ChannelMetadata": json.dumps({"type": "whatsapp", "data": {"context": {"WaId": digits}}}),
        "From": message["from"],
        "ApiVersion": "2010-04-01",
    }
    for number, url in enumerate(message["media"]):
        form[f"MediaContentType{number}"] = media_of(state, url)["content_type"]
        form[f"MediaUrl{number}"] = url
    if "button" in wanted:
        form["ButtonText"], form["ButtonPayload"] = wanted["button"]["text"], wanted["button"]["payload"]
    return {**form, **wanted.get("extra", {})}


def webhook_of(state, message, target):
    called, fragment = urldefrag(target)
    fields = list(message["form"].items())
    return Webhook(
        provider="twilio",
        hook=HOOK,
        url=target,
        body=urlencode(fields).encode(),
        headers={
            "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
            "User-Agent": "TwilioProxy/1.1",
            "X-Twilio-Signature": twilio_signature(state.config.twilio_auth_tokens[0], called, fields),
        },
        overrides=Overrides.from_fragment(fragment),
        signature_header="X-Twilio-Signature",
    )


def log_of(outcome):
    """What Twilio would write into its error log about how the webhook was answered; None: nothing."""
    status, content = outcome["status"], outcome["answer"]
    if status is None or status // 100 != 2:
        return "11200" if status else "11205"
    if not content:
        return None
    if outcome["content_type"] not in XML:
        return "12300"
    try:
        return None if ElementTree.fromstring(content).tag == "Response" else "12200"
    except ElementTree.ParseError:
        return "12100"


routes = [
    web.get(BASE + API + "/Messages/{sid:(SM|MM)[0-9a-fA-F]{32}}/Media/{media:ME[0-9a-f]{32}}", get_media),
]
