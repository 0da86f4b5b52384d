"""What the sandbox's models understand of a call: rules over the words that were said.  No rule knows a caller."""

import re
from dataclasses import dataclass
from datetime import timedelta

QUOTE_CHARACTERS_MAX = 480

BOOKED = re.compile(
    r"\b(booked|scheduled|see you|you(?:'re| are) all set|put you down|confirmed|we will be there|will come out)\b"
)
NOT_BOOKED = re.compile(
    r"\b(not|never|cannot|can't|nothing|couldn't|wasn't|isn't)\b[^.?!]{0,30}\b(booked?|scheduled?|confirmed?)\b"
)
DECLINED = re.compile(
    r"\b(call you back|think about it|not (?:today|now|interested)|no thank|changed my mind|cancel)\b"
)
NOT_OFFERED = re.compile(
    r"\b(?:do not|don't|no longer|cannot|can't) (?:offer|do|service|provide|repair|cover|work on)\b"
)
WRONG_NUMBER = re.compile(r"\bwrong number\b")
SPAM = re.compile(r"\b(car warranty|google listing|press (?:one|1)|final notice|you have won|lower your rate)\b")
VOICEMAIL = re.compile(r"\b(leave a message|after the (?:tone|beep)|reached the voice ?mail)\b")
EXISTING = re.compile(
    r"\b(existing customer|already (?:a customer|have an appointment)|my (?:invoice|bill|appointment)|reschedule)\b"
)
URGENT = re.compile(
    r"\b(leak\w*|burst|flood\w*|emergency|right away|as soon as possible|no (?:heat|hot water|power)|today|"
    r"urgent\w*|broke\w*|stopped working)\b"
)
INTERESTED = re.compile(
    r"\b(need|want|would like|looking for|interested|how much|price|quote|estimate|appointment|book)\b"
)
POSITIVE = re.compile(
    r"\b(thank\w*|great|good|perfect|wonderful|excellent|nice|happy|helpful|sounds good|that works|please)\b"
)
NEGATIVE = re.compile(
    r"\b(bad|terrible|angry|awful|unhappy|complain\w*|rude|ridiculous|disappoint\w*|worst|expensive|waste)\b"
)

OBJECTIONS = (
    (
        "price",
        re.compile(r"\b(expensive|too much|too high|cheaper|afford|a lot of money|discount|costs? (?:too|a lot))\b"),
    ),
    (
        "timing",
        re.compile(r"\b(too (?:late|long|early)|not today|no time|cannot wait|can't wait|that late|next month)\b"),
    ),
    ("trust", re.compile(r"\b(reviews?|licensed|insured|scam|guarantee|not sure about you)\b")),
    (
        "competitor",
        re.compile(r"\b(another company|other company|somebody else|other quotes?|competitor|second opinion)\b"),
    ),
    (
        "authority",
        re.compile(r"\b(?:ask|talk to|check with) (?:my|the) (?:husband|wife|landlord|boss|partner|owner)\b"),
    ),
    ("need", re.compile(r"\b(do not need|don't need|just looking|only looking|not necessary)\b")),
)
WON = re.compile(
    r"\b(have a deal|it(?:'s| is) a deal|(?:will|'ll) sign|where do (?:i|we) sign|(?:will|'ll) take it|let'?s do it|"
    r"accept|when can you start|go ahead|got the job)\b"
)
LOST = re.compile(
    r"\b((?:not|no longer) interested|decided against|(?:go|going) with (?:another|somebody else|someone else)|"
    r"will pass|(?:do not|don't) want it|not moving forward|(?:cannot|can't) afford|answer is no)\b"
)
OPEN = re.compile(
    r"\b(think (?:about it|it over)|sleep on it|get back to you|call you back|let you know|some time|more time|"
    r"(?:husband|wife)|other quotes?)\b"
)
STEPS = (
    ("greeting", re.compile(r"\b(thank you for calling|good (?:morning|afternoon|evening)|hello|welcome)\b")),
    (
        "asked for the need",
        re.compile(r"\b(how (?:can|may) i help|what (?:can i do|is the (?:problem|matter))|help you)\b"),
    ),
    ("asked for the address", re.compile(r"\b(address|where (?:are|do) you)\b")),
    (
        "offered an appointment",
        re.compile(r"\b(appointment|schedule|can come|send (?:a|some)|come out|works? for you)\b"),
    ),
    ("confirmed what was agreed", BOOKED),
    ("closing", re.compile(r"\b(thank you|goodbye|bye|have a (?:good|nice|great)|anything else)\b")),
)
SERVICES = (
    "water heater",
    "air conditioner",
    "furnace",
    "boiler",
    "toilet",
    "sink",
    "shower",
    "faucet",
    "drain",
    "pipe",
    "roof",
    "window",
    "door",
    "garage door",
    "dishwasher",
    "washing machine",
    "heater",
    "thermostat",
    "outlet",
    "light",
)
SERVICE_KINDS = (
    ("installation", re.compile(r"\b(install\w*|new)\b")),
    ("replacement", re.compile(r"\b(replac\w*)\b")),
    ("cleaning", re.compile(r"\bclean\w*\b")),
    ("inspection", re.compile(r"\b(inspect\w*|check up|tune)\b")),
)
STREET = re.compile(r"\b((?:[a-z0-9'-]+ ){1,5}(?:street|avenue|road|lane|drive|court|boulevard|way|place|square))\b")
LEADING = {
    "my",
    "our",
    "the",
    "is",
    "at",
    "it",
    "it's",
    "its",
    "address",
    "that",
    "to",
    "i",
    "am",
    "live",
    "on",
    "of",
    "we",
    "are",
    "number",
    "yes",
    "okay",
    "a",
    "and",
}

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
NUMBERS = {
    word: number
    for number, word in enumerate("zero one two three four five six seven eight nine ten eleven twelve".split())
}
DAY = re.compile(rf"\b(day after tomorrow|tomorrow|today|{'|'.join(WEEKDAYS)})\b")
HOUR = rf"(?P<hour>\d{{1,2}}|{'|'.join(word for word in NUMBERS if word != 'zero')})"
CLOCK = re.compile(
    rf"\b{HOUR}(?:[: ](?P<minutes>\d\d|fifteen|thirty|forty five))?\s*"
    r"(?P<mark>o'?clock|o clock|a\.?\s?m\b\.?|p\.?\s?m\b\.?|in the (?:morning|afternoon|evening)|thirty)"
)
AT_CLOCK = re.compile(
    rf"\bat {HOUR}(?:[: ](?P<minutes>\d\d|fifteen|thirty|forty five))?\b(?! [a-z]+ (?:street|road|avenue|lane))"
)
MINUTES = {"fifteen": 15, "thirty": 30, "forty five": 45}


@dataclass
class Fact:
    value: object
    quote: str | None = None


def plain(text):
    return re.sub(r"\s+", " ", text.lower().replace("’", "'"))


def first(pattern, utterances):
    return next((utterance for utterance in utterances if pattern.search(plain(utterance.text))), None)


def quoted(utterance):
    """Words of the transcript, verbatim."""
    return utterance.text[:QUOTE_CHARACTERS_MAX].strip() if utterance else None


def minute_of_day(text):
    """(hour, minute) of a time that was said, or None."""
    if re.search(r"\bnoon\b", text):
        return 12, 0
    match = CLOCK.search(text) or AT_CLOCK.search(text)
    if match is None:
        return None
    said = match.groupdict()
    hour = NUMBERS.get(said["hour"], None) if not said["hour"].isdigit() else int(said["hour"])
    mark = said.get("mark") or ""
    minutes = said.get("minutes") or ("thirty" if mark == "thirty" else "0")
    minute = MINUTES.get(minutes) if minutes in MINUTES else int(minutes)
    if not 0 <= hour <= 23 or not 0 <= minute <= 59:
        return None
    rest = text[match.end() : match.end() + 20]
    late = mark.startswith("p") or "afternoon" in mark + rest or "evening" in mark + rest
    early = mark.startswith("a") or "morning" in mark + rest
    if late and hour < 12 or not late and not early and 1 <= hour <= 6:  # nobody comes at three in the night
        hour += 12
    return hour, minute


def day_of(text, moment):
    match = None
    for match in DAY.finditer(text):
        pass
    if match is None:
        return None
    word = match.group(1)
    if word in WEEKDAYS:
        return moment.date() + timedelta(days=(WEEKDAYS.index(word) - moment.weekday() - 1) % 7 + 1)
    return moment.date() + timedelta(days={"today": 0, "tomorrow": 1}.get(word, 2))


def agreed_time(conversation):
    """The last day and the last time that were said, as a moment."""
    day = clock = None
    for utterance in conversation.utterances:
        text = plain(utterance.text)
        day = day_of(text, conversation.moment) or day
        clock = minute_of_day(text) or clock
    if day is None or clock is None:
        return None
    return conversation.moment.replace(
        year=day.year, month=day.month, day=day.day, hour=clock[0], minute=clock[1], second=0, microsecond=0
    )


def location_of(conversation):
    for utterance in conversation.by("customer") + conversation.by("agent"):
        match = STREET.search(plain(utterance.text))
        if match:
            words = match.group(1).split()
            while len(words) > 2 and words[0] in LEADING:
                words.pop(0)
            return " ".join(words)
    return None


def service_of(conversation):
    words = " ".join(plain(utterance.text) for utterance in conversation.utterances)
    subject = next((service for service in SERVICES if re.search(rf"\b{service}s?\b", words)), None)
    if subject is None:
        return None
    kind = next((kind for kind, pattern in SERVICE_KINDS if pattern.search(words)), "repair")
    return f"{subject} {kind}"


def sentiment_of(conversation):
    good = bad = 0
    quote = None
    for utterance in conversation.by("customer"):
        text = plain(utterance.text)
        up, down = len(POSITIVE.findall(text)), len(NEGATIVE.findall(text))
        good, bad = good + up, bad + down
        quote = quote or (utterance if up or down else None)
    return Fact(round((good - bad) / (good + bad + 1), 2), quoted(quote))


def booking_of(conversation):
    agent, customer = conversation.by("agent"), conversation.by("customer")
    refused = first(NOT_OFFERED, agent)
    if refused:
        return Fact("service_not_offered", quoted(refused))
    agreed = first(BOOKED, agent)
    if agreed and not NOT_BOOKED.search(plain(agreed.text)) and not first(DECLINED, customer):
        return Fact("booked", quoted(agreed))
    return Fact("not_booked", quoted(first(DECLINED, customer)))


def qualification_of(conversation, booking):
    customer = conversation.by("customer")
    if booking.value == "booked":
        return Fact("hot", booking.quote)
    urgent, interested = first(URGENT, customer), first(INTERESTED, customer)
    if booking.value == "not_booked" and urgent and not first(DECLINED, customer):
        return Fact("hot", quoted(urgent))
    if interested or urgent:
        return Fact("warm", quoted(interested or urgent))
    return Fact("cold")


def outcome_of(conversation, booking, qualification):
    for value, pattern in (("wrong_number", WRONG_NUMBER), ("spam", SPAM), ("voicemail", VOICEMAIL)):
        said = first(pattern, conversation.utterances)
        if said:
            return Fact(value, quoted(said))
    if booking.value in ("booked", "service_not_offered"):
        return booking
    existing = first(EXISTING, conversation.by("customer"))
    if existing:
        return Fact("existing_customer", quoted(existing))
    if qualification.value in ("hot", "warm"):
        return Fact("qualified_not_booked", qualification.quote)
    return Fact("not_qualified" if conversation.utterances else "other")


def visit_of(conversation):
    """What is said last decides."""
    for utterance in reversed(conversation.by("customer")):
        text = plain(utterance.text)
        kinds = (("pending", OPEN), ("lost", LOST), ("won", WON))
        said = [(match.start(), value) for value, pattern in kinds for match in pattern.finditer(text)]
        if said:
            return Fact(max(said)[1], quoted(utterance))
    return Fact("pending")


def objections_of(conversation):
    found = []
    for utterance in conversation.by("customer"):
        for category, pattern in OBJECTIONS:
            if pattern.search(plain(utterance.text)):
                found.append({"category": category, "quote": quoted(utterance)})
    return found


def summary_of(service, booking, qualification, when):
    subject = f"about {service}" if service else "with a request"
    if booking.value == "booked":
        return f"The customer called {subject}; a visit was agreed{when.strftime(' for %A %-d %B, %H:%M') if when else ''}."
    if booking.value == "service_not_offered":
        return f"The customer called {subject}, which is not offered."
    return f"The customer called {subject}; nothing was booked, the lead is {qualification.value}."


def understand(conversation):
    """Every fact by name; an answer takes those its schema asks for."""
    booking = booking_of(conversation)
    qualification = qualification_of(conversation, booking)
    outcome = outcome_of(conversation, booking, qualification)
    sentiment = sentiment_of(conversation)
    service, location = service_of(conversation), location_of(conversation)
    said_by_agent = conversation.by("agent")
    missed = [name for name, pattern in STEPS if first(pattern, said_by_agent) is None]
    when = agreed_time(conversation) if booking.value == "booked" else None
    appointment = None
    if booking.value == "booked":
        appointment = {
            "scheduled_start": when.isoformat() if when else None,
            "service_type": service,
            "location": location,
            "quote": booking.quote,
        }
    visit = visit_of(conversation)
    basis = {
        "outcome": visit,
        "lead_qualification": qualification,
        "booking_status": booking,
        "call_outcome_category": outcome,
        "sentiment_score": sentiment,
    }
    return {
        "outcome": visit.value,
        "lead_qualification": qualification.value,
        "booking_status": booking.value,
        "call_outcome_category": outcome.value,
        "sentiment_score": sentiment.value,
        "objections": objections_of(conversation),
        "sop_compliance": {"score": round(1 - len(missed) / len(STEPS), 2), "missed_steps": missed},
        "appointment": appointment,
        "summary": summary_of(service, booking, qualification, when),
        "evidence": [{"field": name, "quote": fact.quote} for name, fact in basis.items() if fact.quote],
    }
