/* calls.c: the recorder's part of call tracking: callrail.call.received → the call's rows, call.progressed and
 * call.recorded.
 *
 * A webhook, or what was fetched in its place (reconcile.c), becomes a report row; the call's row is all its reports
 * folded in their order (call_facts.h), so it ends up the same however they came.  `version` is the predicate: two
 * webhooks handled at once make one of them run again.  The contact's name and the lead's status follow the calls by
 * triggers. */
#include "common/json.h"
#include "common/phone.h"
#include "ingest/call_facts.h"
#include "ingest/recorder.h"

#include <stdlib.h>
#include <string.h>

static const struct statement find_number = {
    .name = "find_number",
    .text = "SELECT n.tenant, co.default_region FROM tracking_numbers n JOIN companies co USING (tenant)"
            " WHERE n.number = $1",
    .params = 1,
};
static const struct statement find_call = {
    .name = "find_call",
    .text = "SELECT c.tenant, c.version, c.contact_id, c.lead_id, cc.phone, co.default_region"
            " FROM calls c JOIN companies co USING (tenant) LEFT JOIN contact_cards cc USING (tenant, contact_id)"
            " WHERE c.source = 'callrail' AND c.call_id = $1",
    .params = 1,
};
static const struct statement find_reports = {
    .name = "find_reports",
    .text = "SELECT event_id, hook, via, (extract(epoch FROM reported_at) * 1000000)::bigint AS reported_us, facts"
            " FROM call_reports"
            " WHERE tenant = $1 AND call_id = $2",
    .params = 2,
};
static const struct statement find_contact = {
    .name = "find_contact",
    .text = "SELECT cc.contact_id, l.lead_id FROM contact_cards cc"
            " LEFT JOIN leads l ON l.tenant = cc.tenant AND l.contact_id = cc.contact_id AND l.status <> 'closed'"
            " WHERE cc.tenant = $1 AND cc.phone = $2",
    .params = 2,
};
/* Who took it: by the agent's address, else by the number that answered. */
static const struct statement find_csr = {
    .name = "find_csr",
    .text = "SELECT user_id FROM users WHERE tenant = $1 AND (email = lower($2) OR answers = $3)"
            " ORDER BY email = lower($2) DESC LIMIT 1",
    .params = 3,
};
static const struct statement insert_contact = {
    .name = "insert_contact",
    .text = "INSERT INTO contact_cards (tenant, contact_id, phone) VALUES ($1, $2::uuid, $3)"
            " ON CONFLICT (tenant, phone) DO NOTHING",
    .params = 3,
};
static const struct statement insert_lead = {
    .name = "insert_lead",
    .text = "INSERT INTO leads (tenant, lead_id, contact_id) VALUES ($1, $2::uuid, $3::uuid)",
    .params = 3,
    .must = 1,
};
static const struct statement insert_call = {
    .name = "insert_call",
    .text = "INSERT INTO calls (tenant, call_id, source, status, direction, tracking_number, customer_number,"
            " customer_name, contact_id, lead_id,"
            " answered, voicemail, started_at, duration_s, recording_url, csr_user_id, brought_by)"
            " VALUES ($1, $2, 'callrail', $3, $4, $5, $6, $7, $8::uuid, $9::uuid, $10::boolean, $11::boolean,"
            " $12::timestamptz, $13::integer, $14,"
            " $15, $16)",
    .params = 16,
    .must = 1,
};
static const struct statement update_call = {
    .name = "update_call",
    .text = "UPDATE calls SET status = $3, direction = $4, tracking_number = $5, customer_number = $6,"
            " customer_name = $7,"
            " contact_id = $8::uuid, lead_id = $9::uuid, answered = $10::boolean, voicemail = $11::boolean,"
            " started_at = $12::timestamptz,"
            " duration_s = $13::integer, recording_url = $14, csr_user_id = $15, brought_by = $16,"
            " version = version + 1, updated_at = now()"
            " WHERE tenant = $1 AND call_id = $2 AND version = $17::bigint",
    .params = 17,
    .must = 1,
};
static const struct statement insert_report = {
    .name = "insert_report",
    .text = "INSERT INTO call_reports (tenant, call_id, event_id, hook, reported_at, facts, via)"
            " VALUES ($1, $2, $3::uuid, $4, $5::timestamptz, $6::jsonb, $7) ON CONFLICT (tenant, call_id, event_id)"
            " DO NOTHING",
    .params = 7,
};

/* The call as the database has it (`version` NULL: it is new) … */
struct known_call {
    const char *tenant, *region, *version, *contact_id, *contact_phone, *lead_id;
    bool was_recorded;
    const char *tracking, *phone, *csr;         /* … and what its reports make of it: E.164, users.user_id */
    bool is_recorded;
};

/* The number in E.164, in the arena; NULL when it is none. */
static const char *e164(struct work *work, const char *text, const char *region)
{
    char number[PHONE_BYTES];
    return phone_e164(text, region, number) ? arena_copy(work_arena(work), number) : NULL;
}

/* Who calls; NULL also for the words that telephone companies put in the place of a withheld number, typed on a
 * keypad. */
static const char *caller(struct work *work, const char *text, const char *region)
{
    static const char *const withheld[] = { "+266696687" /* ANONYMOUS */, "+7378742833" /* RESTRICTED */,
                                            "+2562533" /* BLOCKED */, "+8656696" /* UNKNOWN */,
                                            "+86282452253" /* UNAVAILABLE */ };
    const char *number = e164(work, text, region);
    for (size_t i = 0; number && i < LENGTH(withheld); i++)
        if (strcmp(number, withheld[i]) == 0)
            return NULL;
    return number;
}

/* Whose call it is: the row's company, also when the number has moved since; else the tracking number's, else
 * nobody's.  `signer`: the company whose key signed, or whose account was asked, which speaks for no other; NULL: the
 * shared one. */
static enum outcome find_company(struct work *work, const char *call_id, const char *signer,
                                 const struct call_facts *facts, struct known_call *ret)
{
    const struct ingest *ingest = work_context(work);
    struct rows call, number = { 0 };
    const char *tracking = e164(work, facts->tracking_number, ingest->default_region);
    TRY(work_query(work, &find_call, &call, call_id));
    if (call.count == 0 && tracking)
        TRY(work_query(work, &find_number, &number, tracking));
    *ret = (struct known_call){ .tenant = "unassigned", .region = ingest->default_region };
    if (number.count > 0)
        *ret = (struct known_call){ .tenant = row_get(&number, 0, "tenant"),
                                    .region = row_get(&number, 0, "default_region") };
    if (call.count > 0)
        *ret = (struct known_call){ .tenant = row_get(&call, 0, "tenant"),
                                    .region = row_get(&call, 0, "default_region"),
                                    .version = row_get(&call, 0, "version"),
                                    .contact_id = row_get(&call, 0, "contact_id"),
                                    .contact_phone = row_get(&call, 0, "phone"),
                                    .lead_id = row_get(&call, 0, "lead_id") };
    if (signer && strcmp(signer, ret->tenant) != 0 && strcmp(ret->tenant, "unassigned") != 0)
        return reject(work, "the key of company \"%s\" speaks for a call of another company", signer);
    return DONE;
}

static enum outcome fold_reports(struct work *work, const char *call_id, const struct call_facts *report,
                                 struct known_call *known, struct call_state *ret)
{
    struct rows rows = { 0 };
    if (known->version)
        TRY(work_query(work, &find_reports, &rows, known->tenant, call_id));
    if (rows.count >= CALL_REPORTS_MAX)
        return reject(work, "call \"%s\" has %d webhooks already", call_id, rows.count);
    struct call_facts *reports = arena_alloc(work_arena(work), (size_t)(rows.count + 1) * sizeof(*reports));
    int own = rows.count;           /* where this one is, of an earlier run; else behind all */
    for (int i = 0; i < rows.count; i++) {
        if (!call_facts_restore(text_of(row_get(&rows, i, "facts")), work_arena(work), &reports[i], work_why(work)))
            return REJECT;
        reports[i].rank = call_hook_rank(row_get(&rows, i, "hook"));
        reports[i].fetched = strcmp(row_get(&rows, i, "via"), "fetch") == 0;
        reports[i].reported_us = atoll(row_get(&rows, i, "reported_us"));
        reports[i].event_id = row_get(&rows, i, "event_id");
        if (strcasecmp(reports[i].event_id, report->event_id) == 0)
            own = i;
    }
    size_t count = (size_t)(own == rows.count ? rows.count + 1 : rows.count);
    known->was_recorded = call_is_recorded(reports, (size_t)rows.count);
    reports[own] = *report;
    known->is_recorded = call_is_recorded(reports, count);
    call_fold(reports, count, ret);
    return DONE;
}

/* A call whose number is only known now goes to its company with this very transaction, after what is described here
 * (trigger calls_known_late); what is told of it is told of there. */
static enum outcome follow_home(struct work *work, struct known_call *known)
{
    struct rows number, contact;
    if (!known->version || !known->tracking || strcmp(known->tenant, "unassigned") != 0)
        return DONE;
    TRY(work_query(work, &find_number, &number, known->tracking));
    if (number.count == 0)
        return DONE;
    const char *home = row_get(&number, 0, "tenant");
    work_set_tenant(work, home);
    TRY(work_query(work, &find_contact, &contact, home, known->phone));
    if (contact.count > 0)
        known->contact_id = row_get(&contact, 0, "contact_id");
    if (contact.count > 0 && row_get(&contact, 0, "lead_id"))
        known->lead_id = row_get(&contact, 0, "lead_id");
    return DONE;
}

/* The call keeps its contact while the number is that one's, or that one was erased. */
static bool contact_stays(const struct known_call *known)
{
    if (!known->contact_id || !known->contact_phone)
        return known->contact_id != NULL;
    return known->phone && strcmp(known->phone, known->contact_phone) == 0;
}

/* The contact and its open lead, made when they are not there.  A withheld number has neither.  What the call leaves
 * behind at another contact, the trigger call_caller_changed puts in order. */
static enum outcome link_contact(struct work *work, const char *call_id, struct known_call *known)
{
    struct arena *arena = work_arena(work);
    struct rows rows;
    if (contact_stays(known))
        return DONE;
    known->contact_id = known->lead_id = NULL;
    if (!known->phone)
        return DONE;
    TRY(work_query(work, &find_contact, &rows, known->tenant, known->phone));
    if (rows.count > 0) {
        known->contact_id = row_get(&rows, 0, "contact_id");
        known->lead_id = row_get(&rows, 0, "lead_id");
    } else {
        known->contact_id = uuid_of(arena_alloc(arena, UUID_BYTES), "contact", known->tenant, known->phone, NULL);
        effect_row(work, &insert_contact, known->tenant, known->contact_id, known->phone);
    }
    if (!known->lead_id) {
        known->lead_id = uuid_of(arena_alloc(arena, UUID_BYTES), "lead", known->tenant, call_id, known->phone, NULL);
        effect_row(work, &insert_lead, known->tenant, known->lead_id, known->contact_id);
    }
    return DONE;
}

static enum outcome attribute(struct work *work, const struct call_facts *facts, struct known_call *known)
{
    struct rows rows;
    const char *number = e164(work, facts->answered_number, known->region);
    if (!facts->answered || (!facts->agent_email && !number))
        return DONE;
    TRY(work_query(work, &find_csr, &rows, known->tenant, facts->agent_email, number));
    known->csr = rows.count > 0 ? row_get(&rows, 0, "user_id") : NULL;
    return DONE;
}

static const char *flag(bool has, bool value)
{
    return !has ? NULL : value ? "true" : "false";
}

static void write_rows(struct work *work, const struct event *event, const char *hook, const struct call_facts *report,
                       const struct call_state *state, const struct known_call *known)
{
    const struct call_facts *facts = &state->facts;
    const char *call_id = event->subject, *started = work_time(work, facts->started_us);
    const char *duration =
        facts->duration_s >= 0 ? arena_printf(work_arena(work), "%lld", (long long)facts->duration_s) : NULL;
    const char *answered = flag(facts->has_answered, facts->answered),
               *voicemail = flag(facts->has_voicemail, facts->voicemail);
    if (known->version)
        effect_row(work, &update_call, known->tenant, call_id, state->status, facts->direction, known->tracking,
                   known->phone, facts->customer_name, known->contact_id, known->lead_id, answered, voicemail, started,
                   duration, facts->recording_url, known->csr, state->brought_by, known->version);
    else
        effect_row(work, &insert_call, known->tenant, call_id, state->status, facts->direction, known->tracking,
                   known->phone, facts->customer_name, known->contact_id, known->lead_id, answered, voicemail, started,
                   duration, facts->recording_url, known->csr, state->brought_by);
    struct buf json;
    buf_init(&json, EVENT_BYTES_MAX);
    call_facts_write(&json, report);
    effect_row(work, &insert_report, known->tenant, call_id, event->id, hook, work_time(work, report->reported_us),
               json.at, report->fetched ? "fetch" : "hook");
    buf_done(&json);
}

/* The first webhook after which it is sends it on its way; in a replay each that tells of the recording. */
static bool is_recorded_now(const struct work *work, const struct call_facts *report, const struct known_call *known)
{
    return known->is_recorded && (work_run(work) > 0 ? report->recording_url != NULL : !known->was_recorded);
}

static void announce(struct work *work, const char *call_id, const struct call_facts *report,
                     const struct call_state *state, const struct known_call *known)
{
    const struct call_facts *facts = &state->facts;
    bool has_duration = facts->duration_s >= 0;
    effect_event(work, &EVENT_CALL_PROGRESSED, call_id, &(struct call_progressed){
        .call_id = call_id,
        .status = state->status,
        .tracking_number = known->tracking,
        .customer_number = known->phone,
        .has_answered = facts->has_answered, .answered = facts->answered,
        .started_at = work_time(work, facts->started_us),
        .has_duration_s = has_duration, .duration_s = has_duration ? facts->duration_s : 0,
        .contact_id = known->contact_id,
        .lead_id = known->lead_id,
    });
    if (is_recorded_now(work, report, known))
        effect_event(work, &EVENT_CALL_RECORDED, call_id, &(struct call_recorded){
            .call_id = call_id,
            .recording_url = facts->recording_url,
            .has_duration_s = has_duration, .duration_s = has_duration ? facts->duration_s : 0,
            .has_voicemail = true, .voicemail = strcmp(state->status, "missed") == 0,
        });
}

enum outcome record_callrail(struct work *work, const struct event *event)
{
    struct callrail_call_received received;
    TRY(work_read_data(work, event, callrail_call_received_read, &received));
    struct text body;
    TRY(recorder_body(work, received.encoding, received.body, &body));
    struct call_facts report;
    if (!call_facts_read(received.hook, received.content_type, body, work_arena(work), &report, work_why(work)))
        return REJECT;
    report.event_id = event->id;
    report.fetched = received.via && strcmp(received.via, "fetch") == 0;
    if (report.reported_us < 0 && !time_read(text_of(received.received_at), &report.reported_us))
        return reject(work, "received_at is no time");

    const char *call_id = event->subject;
    struct known_call known;
    struct call_state state;
    TRY(find_company(work, call_id, received.company, &report, &known));
    work_set_tenant(work, known.tenant);
    TRY(fold_reports(work, call_id, &report, &known, &state));
    known.tracking = e164(work, state.facts.tracking_number, known.region);
    known.phone = caller(work, state.facts.customer_number, known.region);
    TRY(link_contact(work, call_id, &known));
    TRY(attribute(work, &state.facts, &known));
    write_rows(work, event, received.hook, &report, &state, &known);
    TRY(follow_home(work, &known));
    announce(work, call_id, &report, &state, &known);
    return DONE;
}
