"""The sample day: its company, its calls, and what each of them must leave behind in Postgres."""

import json
import os
import subprocess
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import psycopg
import speech
from psycopg.rows import dict_row

TENANT = "sample"
COMPANY = "Sample Plumbing"
TIME_ZONE = "America/New_York"
# numbers of the range that is kept for fiction
TRACKING_NUMBER = "+12025550100"
REP_PHONE = "+12025550147"
CSR = {"email": "carol@sample.example", "user_id": "sample-carol", "name": "Carol Reed", "role": "csr", "phone": None}
REP = {
    "email": "robert@sample.example",
    "user_id": "sample-robert",
    "name": "Robert Hill",
    "role": "rep",
    "phone": REP_PHONE,
}
CONNECT_TIMEOUT_S = 10
TOKEN_TIMEOUT_S = 10
BROUGHT_BY = {
    "hook": "brought by its webhooks",
    "fetch": "fetched from CallRail",
    "both": "brought by webhooks, and fetched",
}



@dataclass(frozen=True)
class Call:
    """One call of the day, and what must come of it."""

    title: str
    caller: str
    caller_name: str
    script: tuple | None  # None: nobody speaks, and the call is missed
    booking: str | None = None
    objection: str | None = None
    lost: bool = False  # its webhooks never come

    @property
    def hooks(self):
        if self.lost:
            return ()
        answered = ("call.answered",) if self.script else ()
        return ("call.incoming", *answered, "call.completed")

    @property
    def status(self):
        return "completed" if self.script else "missed"

    @property
    def booked(self):
        return self.booking == "booked"


CALLS = (
    Call("A call that is booked", "+12025550123", "Alice Young", speech.BOOKED_CALL, "booked", "price"),
    Call("A call that ends with the price", "+12025550124", "Brian Cole", speech.PRICE_CALL, "not_booked", "price"),
    Call("A call that nobody takes, and that CallRail never tells of", "+12025550125", "Dana West", None, lost=True),
)

MAKE_COMPANY = """
INSERT INTO companies (tenant, name, time_zone, default_region, alert_whatsapp) VALUES (%s, %s, %s, 'US', true)
ON CONFLICT (tenant) DO NOTHING"""
MAKE_NUMBER = (
    "INSERT INTO tracking_numbers (number, tenant, label) VALUES (%s, %s, 'sample day') ON CONFLICT (number) DO NOTHING"
)
MAKE_USER = """
INSERT INTO users (tenant, email, user_id, name, role, phone)
VALUES (%(tenant)s, %(email)s, %(user_id)s, %(name)s, %(role)s, %(phone)s)
ON CONFLICT (tenant, email) DO UPDATE SET phone = EXCLUDED.phone, updated_at = now()
WHERE users.phone IS DISTINCT FROM EXCLUDED.phone"""
RESULTS = """
SELECT c.status, c.duration_s, c.brought_by, csr.name AS csr,
       k.phone AS contact_phone, k.name AS contact_name, l.status AS lead,
       r.path AS recording, t.text AS transcript, t.words,
       a.provider AS analysis_provider, a.lead_qualification, a.booking_status, a.call_outcome_category,
       a.sentiment_score, a.objections, a.sop_missed_steps, a.summary,
       p.appointment_id, p.scheduled_start, p.service_type, p.location, rep.name AS rep,
       d.recipient, d.status AS delivery, d.provider_id, d.content, d.error AS delivery_error
FROM calls c
LEFT JOIN users csr ON csr.user_id = c.csr_user_id
LEFT JOIN contact_cards k ON k.tenant = c.tenant AND k.contact_id = c.contact_id
LEFT JOIN leads l ON l.tenant = c.tenant AND l.lead_id = c.lead_id
LEFT JOIN recordings r ON r.tenant = c.tenant AND r.call_id = c.call_id
LEFT JOIN call_transcripts t ON t.tenant = c.tenant AND t.call_id = c.call_id
LEFT JOIN call_analyses a ON a.tenant = c.tenant AND a.call_id = c.call_id
LEFT JOIN appointments p ON p.tenant = c.tenant AND p.call_id = c.call_id
LEFT JOIN users rep ON rep.user_id = p.assigned_rep_id
LEFT JOIN deliveries d ON d.tenant = c.tenant AND d.subject = c.call_id
WHERE c.tenant = %s AND c.call_id = %s"""


# the check that would come within ten minutes is made now; one that was made is made again until the call is there
CHECK_NOW = """
UPDATE reconciliations SET next_check_at = now() WHERE account = %s AND next_check_at > now() + interval '5 seconds'"""


class CannotGoOn(Exception):
    pass


@dataclass
class Company:
    tenant: str
    name: str
    time_zone: str
    number: str
    recipients: list  # E.164: who may get the message about the call


def open_database(settings):
    try:
        return psycopg.connect(
            settings["DATABASE_URL"],
            connect_timeout=CONNECT_TIMEOUT_S,
            autocommit=True,
            row_factory=dict_row,
            application_name="sample day",
        )
    except psycopg.Error as error:
        raise CannotGoOn(f"could not reach Postgres at DATABASE_URL: {error}") from None


def make_company(database, settings, sandbox_sends):
    """Everything the call needs to belong to somebody; the second day finds it there.

    Real messages go to the administrator alone: the sample's own numbers are made up."""
    admin = settings.get("ADMIN_WHATSAPP_TO", "").removeprefix("whatsapp:")
    rep = REP if sandbox_sends else {**REP, "phone": admin or None}
    try:
        with database.transaction():
            database.execute(MAKE_COMPANY, (TENANT, COMPANY, TIME_ZONE))
            database.execute(MAKE_NUMBER, (TRACKING_NUMBER, TENANT))
            for user in (CSR, rep):
                database.execute(MAKE_USER, {"tenant": TENANT, **user})
        owner = database.execute(
            "SELECT tenant, name, time_zone FROM companies JOIN tracking_numbers USING (tenant) WHERE number = %s",
            (TRACKING_NUMBER,),
        ).fetchone()
    except psycopg.errors.UndefinedTable:
        raise CannotGoOn("the tables are not there: the daemons make them when they start") from None
    except psycopg.Error as error:
        raise CannotGoOn(f"could not make the sample company: {error}") from None
    if owner["tenant"] != TENANT:
        raise CannotGoOn(f"{TRACKING_NUMBER} belongs to the company {owner['tenant']}, not to {TENANT}")
    return Company(
        owner["tenant"],
        owner["name"],
        owner["time_zone"],
        TRACKING_NUMBER,
        [number for number in (rep["phone"], admin) if number],
    )


def results(database, company, call_id):
    try:
        return database.execute(RESULTS, (company.tenant, call_id)).fetchone() or {}
    except psycopg.Error as error:
        raise CannotGoOn(f"Postgres does not answer any more: {error}") from None


def accepted(webhook):
    return webhook["status"] is not None and webhook["status"] // 100 == 2


def check_now(database, account):
    """CallRail is asked for calls that never arrived."""
    try:
        database.execute(CHECK_NOW, (account,))
    except psycopg.Error as error:
        raise CannotGoOn(f"Postgres does not answer any more: {error}") from None


def missing(call, row, webhooks, rejected):
    """(what, hint) of everything that must be there and is not; `row` as results() gives it."""
    return [(what, hint) for there, what, hint in checks_of(call, row, webhooks, rejected) if not there]


def checks_of(call, row, webhooks, rejected):
    yield not rejected, "an event: it lies in a dead-letter topic", "; ".join(rejected)
    fine = sum(1 for webhook in webhooks if accepted(webhook))
    yield (
        fine == len(call.hooks),
        f"{len(call.hooks) - fine} of CallRail's {len(call.hooks)} webhooks acknowledged",
        "is ingest up, and CALLRAIL_SIGNING_KEY the same here and there?",
    )
    brought = "fetch" if call.lost else "hook"
    yield (
        (row.get("status"), row.get("brought_by")) == (call.status, brought),
        f"the call, {call.status}, in calls" + (", fetched from CallRail" if call.lost else ""),
        "stage ingest, " + ("reconcile: topic due.ingest" if call.lost else "the recorder: topic inbound.callrail"),
    )
    yield row.get("contact_phone"), "the caller in contact_cards", "stage ingest, the recorder"
    yield row.get("lead"), "the lead in leads", "stage ingest, the recorder"
    if call.script:
        yield from checks_of_words(call, row)
    if call.booked:
        booking = row.get("booking_status") or "not analysed"
        yield row.get("appointment_id"), "the appointment", f"stage analyze: it is {booking}"
        delivery = row.get("delivery")
        yield (
            delivery in ("delivered", "read"),
            "the WhatsApp message, delivered",
            f"stage notifier: it is {delivery or 'not sent'} {row.get('delivery_error') or ''}".strip(),
        )


def checks_of_words(call, row):
    yield row.get("recording"), "the copy of the recording", "stage transcribe: may it reach the sandbox's address?"
    heard = "stage transcribe: it heard no words" if row.get("words") == 0 else "stage transcribe: topic calls"
    yield row.get("words"), "the transcript in call_transcripts", heard
    booking = row.get("booking_status")
    yield booking, "the analysis in call_analyses", "stage analyze: topic transcripts"
    yield (
        booking == call.booking,
        f"the call being {call.booking.replace('_', ' ')}",
        f"stage analyze: it is {booking or 'not analysed'}",
    )
    found = [item["category"] for item in as_list(row.get("objections"))]
    heard = ", ".join(found) or "none was heard"
    yield call.objection in found, f"the objection to the {call.objection}", f"stage analyze: {heard}"


def when(moment, time_zone):
    return (
        moment.astimezone(ZoneInfo(time_zone)).strftime("%A %-d %B %Y, %H:%M") + f" ({time_zone})"
        if moment
        else "no time agreed"
    )


def day_of(moment, time_zone):
    return moment.astimezone(ZoneInfo(time_zone)).date().isoformat() if moment else None


def facts_of(row):
    """(name, words) of what the tables say of the call."""
    if not row:
        return [("call", "there is none")]
    facts = [
        ("contact", f"{row['contact_phone'] or 'nobody'} {row['contact_name'] or ''}"),
        ("lead", row["lead"] or "none"),
        (
            "call",
            f"{row['status']}, {row['duration_s']} s, "
            + (f"taken by {row['csr']}" if row["csr"] else "unattributed")
            + (", fetched from CallRail" if row["brought_by"] == "fetch" else ""),
        ),
    ]
    if row["booking_status"]:
        facts += [
            (
                "analysis",
                f"{row['call_outcome_category']}, lead {row['lead_qualification']}, "
                f"mood {row['sentiment_score']:+.2f}, "
                f"by {row['analysis_provider']}",
            ),
            ("summary", row["summary"]),
        ]
        facts += [("objection", f'{item["category"]}: "{item["quote"]}"') for item in as_list(row["objections"])]
        facts += [("missed step", str(step)) for step in as_list(row["sop_missed_steps"])]
    if row["appointment_id"]:
        facts.append(
            (
                "appointment",
                f"{when(row['scheduled_start'], TIME_ZONE)}; {row['service_type'] or 'service not named'}; "
                f"{row['location'] or 'no address'}; {row['rep'] or 'nobody assigned'}",
            )
        )
    return facts


def line_of(call):
    """A call as the API lists it, in a line."""
    analysis = call["analysis"]
    understood = "not analysed"
    if analysis:
        understood = f"{analysis['booking_status'].replace('_', ' ')}, lead {analysis['lead_qualification']}"
    return f"{call['status']}, {understood}, {BROUGHT_BY[call['brought_by']]}"


def figures_of_calls(overview):
    """What a CSR, or an executive of all of them, sees of the last 30 days, in a line."""
    share = f"{100 * overview['booking_rate']:.0f} % of those answered"
    return (
        f"{overview['total_calls']} calls, {overview['answered_calls']} answered, {overview['missed_calls']} missed, "
        f"{overview['booked_calls']} booked ({share})"
    )


def figures_of_visits(overview):
    return (
        f"visits {overview['visits']}, {overview['won']} won, {overview['lost']} lost, {overview['pending']} pending; "
        f"{overview['appointments_ahead']} appointments ahead"
    )


def as_list(value):
    return json.loads(value) if isinstance(value, str) else value or []


def make_token(root, company, settings, role="admin", email=None):
    """A token for the API, as an operator makes one; with `email` it is that person's."""
    program = root / "build/bin/sb"
    wanted = ["--tenant", company.tenant, "--role", role, "--label", "sample day", "--expires", "1d"]
    wanted += ["--email", email] if email else []
    try:
        made = subprocess.run(
            [program, "token", "create", *wanted],
            env={**os.environ, "DATABASE_URL": settings["DATABASE_URL"]},
            capture_output=True,
            text=True,
            timeout=TOKEN_TIMEOUT_S,
        )
    except FileNotFoundError:
        raise CannotGoOn(f"{program} is not there: run `make`, which builds it") from None
    except (OSError, subprocess.SubprocessError) as error:
        raise CannotGoOn(f"could not make a token: {error}") from None
    if made.returncode != 0 or not made.stdout.split():
        raise CannotGoOn(f"could not make a token: {made.stderr.strip()}")
    return made.stdout.split()[0]
