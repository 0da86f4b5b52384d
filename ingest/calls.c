/* calls.c: the recorder's part of call tracking: callrail.call.received → the call's rows, call.progressed and call.recorded.
 *
 * A webhook becomes a report row; the call's row is all its reports folded in their order (call_facts.h), so it ends up the same however
 * they came.  `version` is the predicate: two webhooks handled at once make one of them run again. */
#include "common/json.h"
#include "common/phone.h"
#include "ingest/call_facts.h"
#include "ingest/recorder.h"

#include <stdlib.h>
#include <string.h>

static const struct statement find_number = {
    .name = "find_number",
    .text = "SELECT n.tenant, co.default_region FROM tracking_numbers n JOIN companies co USING (tenant) WHERE n.number = $1",
    .params = 1,
};
static const struct statement find_call = {
    .name = "find_call",
    .text = "SELECT c.tenant, c.status, c.version, c.recording_url, c.contact_id, c.lead_id, co.default_region"
            " FROM calls c JOIN companies co USING (tenant) WHERE c.source = 'callrail' AND c.call_id = $1",
    .params = 1,
};
static const struct statement find_reports = {
    .name = "find_reports",
    .text = "SELECT event_id, hook, (extract(epoch FROM reported_at) * 1000000)::bigint AS reported_us, facts FROM call_reports"
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
static const struct statement upsert_contact = {
    .name = "upsert_contact",
    .text = "INSERT INTO contact_cards AS cc (tenant, contact_id, phone, name) VALUES ($1, $2::uuid, $3, $4)"
            " ON CONFLICT (tenant, phone) DO UPDATE SET name = coalesce(cc.name, EXCLUDED.name), updated_at = now()",
    .params = 4,
};
static const struct statement insert_lead = {
    .name = "insert_lead",
    .text = "INSERT INTO leads (tenant, lead_id, contact_id) VALUES ($1, $2::uuid, $3::uuid)",
    .params = 3,
    .must = 1,
};
static const struct statement insert_call = {
    .name = "insert_call",
    .text = "INSERT INTO calls (tenant, call_id, source, status, direction, tracking_number, customer_number, customer_name, contact_id, lead_id,"
            " answered, voicemail, started_at, duration_s, recording_url)"
            " VALUES ($1, $2, 'callrail', $3, $4, $5, $6, $7, $8::uuid, $9::uuid, $10::boolean, $11::boolean, $12::timestamptz, $13::integer, $14)",
    .params = 14,
    .must = 1,
};
static const struct statement update_call = {
    .name = "update_call",
    .text = "UPDATE calls SET status = $3, direction = $4, tracking_number = $5, customer_number = $6, customer_name = $7,"
            " contact_id = $8::uuid, lead_id = $9::uuid, answered = $10::boolean, voicemail = $11::boolean, started_at = $12::timestamptz,"
            " duration_s = $13::integer, recording_url = $14, version = version + 1, updated_at = now()"
            " WHERE tenant = $1 AND call_id = $2 AND version = $15::bigint",
    .params = 15,
    .must = 1,
};
static const struct statement insert_report = {
    .name = "insert_report",
    .text = "INSERT INTO call_reports (tenant, call_id, event_id, hook, reported_at, facts)"
            " VALUES ($1, $2, $3::uuid, $4, $5::timestamptz, $6::jsonb) ON CONFLICT (tenant, call_id, event_id) DO NOTHING",
    .params = 6,
};

/* The call as the database has it; all NULL when it is new. */
struct known_call {
    const char *tenant, *region, *version, *status, *recording_url, *contact_id, *lead_id;
};

/* Whose call it is: the row's company, else the tracking number's, else nobody's. */
static enum outcome find_company(struct work *work, const char *call_id, const struct call_facts *facts, struct known_call *ret)
{
    struct rows call, number;
    char tracking[PHONE_BYTES];
    const struct ingest *ingest = work_context(work);
    *ret = (struct known_call){ .tenant = NULL };
    TRY(work_query(work, &find_call, &call, call_id));
    bool numbered = phone_e164(facts->tracking_number, ingest->default_region, tracking);
    number = (struct rows){ 0 };
    if (numbered)
        TRY(work_query(work, &find_number, &number, tracking));
    const char *owner = number.count > 0 ? row_get(&number, 0, "tenant") : NULL;
    if (call.count == 0) {
        ret->tenant = owner ? owner : "unassigned";
        ret->region = number.count > 0 ? row_get(&number, 0, "default_region") : ingest->default_region;
        return DONE;
    }
    *ret = (struct known_call){
        .tenant = row_get(&call, 0, "tenant"), .region = row_get(&call, 0, "default_region"), .version = row_get(&call, 0, "version"),
        .status = row_get(&call, 0, "status"), .recording_url = row_get(&call, 0, "recording_url"),
        .contact_id = row_get(&call, 0, "contact_id"), .lead_id = row_get(&call, 0, "lead_id") };
    if (owner && strcmp(owner, ret->tenant) != 0 && strcmp(ret->tenant, "unassigned") != 0)
        return reject(work, "call \"%s\" belongs to another company than its tracking number", call_id);
    return DONE;
}

static enum outcome fold_reports(struct work *work, const char *call_id, const struct known_call *known, const struct call_facts *report,
                                 struct call_state *ret)
{
    struct rows rows = { 0 };
    if (known->version)
        TRY(work_query(work, &find_reports, &rows, known->tenant, call_id));
    if (rows.count >= CALL_REPORTS_MAX)
        return reject(work, "call \"%s\" has %d webhooks already", call_id, rows.count);
    struct call_facts *reports = arena_alloc(work_arena(work), (size_t)(rows.count + 1) * sizeof(*reports));
    size_t count = 0;
    for (int i = 0; i < rows.count; i++) {
        if (strcasecmp(row_get(&rows, i, "event_id"), report->event_id) == 0)
            continue;               /* this one, of an earlier run */
        if (!call_facts_restore(text_of(row_get(&rows, i, "facts")), work_arena(work), &reports[count], work_why(work)))
            return REJECT;
        reports[count].rank = call_hook_rank(row_get(&rows, i, "hook"));
        reports[count].reported_us = atoll(row_get(&rows, i, "reported_us"));
        reports[count++].event_id = row_get(&rows, i, "event_id");
    }
    reports[count++] = *report;
    call_fold(reports, count, ret);
    return DONE;
}

/* The contact and its open lead, made when they are not there.  A withheld number has neither. */
static enum outcome link_contact(struct work *work, const char *call_id, const struct call_state *state, const char *phone,
                                 struct known_call *known)
{
    struct arena *arena = work_arena(work);
    struct rows rows;
    if (!phone || known->lead_id)
        return DONE;
    TRY(work_query(work, &find_contact, &rows, known->tenant, phone));
    const char *contact_id = rows.count > 0 ? row_get(&rows, 0, "contact_id") : NULL;
    if (!contact_id)
        contact_id = uuid_of(arena_alloc(arena, UUID_BYTES), "contact", known->tenant, phone, NULL);
    effect_row(work, &upsert_contact, known->tenant, contact_id, phone, state->facts.customer_name);
    known->contact_id = contact_id;
    known->lead_id = rows.count > 0 ? row_get(&rows, 0, "lead_id") : NULL;
    if (!known->lead_id) {
        known->lead_id = uuid_of(arena_alloc(arena, UUID_BYTES), "lead", known->tenant, call_id, NULL);
        effect_row(work, &insert_lead, known->tenant, known->lead_id, contact_id);
    }
    return DONE;
}

static const char *flag(bool has, bool value)
{
    return !has ? NULL : value ? "true" : "false";
}

static void write_rows(struct work *work, const struct event *event, const char *call_id, const char *hook,
                       const struct call_facts *report, const struct call_state *state, const struct known_call *known, const char *tracking,
                       const char *phone)
{
    const struct call_facts *facts = &state->facts;
    const char *started = work_time(work, facts->started_us);
    const char *duration = facts->duration_s >= 0 ? arena_printf(work_arena(work), "%lld", (long long)facts->duration_s) : NULL;
    const char *answered = flag(facts->has_answered, facts->answered), *voicemail = flag(facts->has_voicemail, facts->voicemail);
    if (known->version)
        effect_row(work, &update_call, known->tenant, call_id, state->status, facts->direction, tracking, phone, facts->customer_name,
                   known->contact_id, known->lead_id, answered, voicemail, started, duration, facts->recording_url, known->version);
    else
        effect_row(work, &insert_call, known->tenant, call_id, state->status, facts->direction, tracking, phone, facts->customer_name,
                   known->contact_id, known->lead_id, answered, voicemail, started, duration, facts->recording_url);
    struct buf json;
    buf_init(&json, EVENT_BYTES_MAX);
    call_facts_write(&json, report);
    effect_row(work, &insert_report, known->tenant, call_id, event->id, hook, work_time(work, report->reported_us), json.at);
    buf_done(&json);
}

/* The first webhook after which a finished call has a recording sends it on its way: answered calls, and what a missed one left. */
static bool is_first_recording(const struct call_state *state, const struct known_call *known)
{
    bool finished = strcmp(state->status, "completed") == 0 || strcmp(state->status, "missed") == 0;
    bool was_finished = known->status && (strcmp(known->status, "completed") == 0 || strcmp(known->status, "missed") == 0);
    return finished && state->facts.recording_url && !(was_finished && known->recording_url);
}

static void announce(struct work *work, const char *call_id, const struct call_state *state, const struct known_call *known,
                     const char *tracking, const char *phone)
{
    const struct call_facts *facts = &state->facts;
    bool has_duration = facts->duration_s >= 0;
    effect_event(work, &EVENT_CALL_PROGRESSED, call_id, &(struct call_progressed){
        .call_id = call_id,
        .status = state->status,
        .tracking_number = tracking,
        .customer_number = phone,
        .has_answered = facts->has_answered, .answered = facts->answered,
        .started_at = work_time(work, facts->started_us),
        .has_duration_s = has_duration, .duration_s = has_duration ? facts->duration_s : 0,
        .contact_id = known->contact_id,
        .lead_id = known->lead_id,
    });
    if (is_first_recording(state, known))
        effect_event(work, &EVENT_CALL_RECORDED, call_id, &(struct call_recorded){
            .call_id = call_id,
            .recording_url = facts->recording_url,
            .has_duration_s = has_duration, .duration_s = has_duration ? facts->duration_s : 0,
            .has_voicemail = true, .voicemail = strcmp(state->status, "missed") == 0,
        });
}

/* The number in E.164, in the arena; NULL when it is none. */
static const char *e164(struct work *work, const char *text, const char *region)
{
    char number[PHONE_BYTES];
    return phone_e164(text, region, number) ? arena_copy(work_arena(work), number) : NULL;
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
    if (report.reported_us < 0 && !time_read(text_of(received.received_at), &report.reported_us))
        return reject(work, "received_at is no time");

    const char *call_id = event->subject;
    struct known_call known;
    struct call_state state;
    TRY(find_company(work, call_id, &report, &known));
    work_set_tenant(work, known.tenant);
    TRY(fold_reports(work, call_id, &known, &report, &state));
    const char *tracking = e164(work, state.facts.tracking_number, known.region);
    const char *phone = e164(work, state.facts.customer_number, known.region);
    TRY(link_contact(work, call_id, &state, phone, &known));
    write_rows(work, event, call_id, received.hook, &report, &state, &known, tracking, phone);
    announce(work, call_id, &state, &known, tracking, phone);
    return DONE;
}
