#include "ingest/call_facts.h"
#include "common/form.h"
#include "common/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define URL_BYTES_MAX 4096          /* as in the schema of call.recorded */
#define NUMBER_BYTES_MAX 64
#define NAME_BYTES_MAX 256
#define DURATION_S_MAX (7 * 24 * 3600)

static const char *const hooks[] = { "call.incoming", "call.answered", "call.completed" };
enum { INCOMING, ANSWERED, COMPLETED };

int call_hook_rank(const char *hook)
{
    for (int rank = 0; rank < (int)LENGTH(hooks); rank++)
        if (strcmp(hook, hooks[rank]) == 0)
            return rank;
    return -1;
}

/* --- one report --------------------------------------------------------------------------------------------------- */

static bool put_string(const char *value, size_t bytes_max, const char **ret, struct problem *why)
{
    if (strlen(value) > bytes_max)
        return fail(why, "must have at most %zu bytes", bytes_max);
    *ret = value;
    return true;
}

static bool put_customer(const char *value, struct call_facts *facts, struct problem *why)
{
    return put_string(value, NUMBER_BYTES_MAX, &facts->customer_number, why);
}

static bool put_tracking(const char *value, struct call_facts *facts, struct problem *why)
{
    return put_string(value, NUMBER_BYTES_MAX, &facts->tracking_number, why);
}

static bool put_name(const char *value, struct call_facts *facts, struct problem *why)
{
    return put_string(value, NAME_BYTES_MAX, &facts->customer_name, why);
}

static bool put_direction(const char *value, struct call_facts *facts, struct problem *why)
{
    return put_string(value, NUMBER_BYTES_MAX, &facts->direction, why);
}

static bool put_agent(const char *value, struct call_facts *facts, struct problem *why)
{
    return put_string(value, NAME_BYTES_MAX, &facts->agent_email, why);
}

static bool put_answered_number(const char *value, struct call_facts *facts, struct problem *why)
{
    return put_string(value, NUMBER_BYTES_MAX, &facts->answered_number, why);
}

static bool put_recording(const char *value, struct call_facts *facts, struct problem *why)
{
    if (!text_starts(text_of(value), "http://") && !text_starts(text_of(value), "https://"))
        return fail(why, "must be an address that begins with http:// or https://");
    for (const char *at = value; *at; at++)
        if (*at <= ' ' || *at > '~' || strchr("\"<>\\^`{|}", *at))
            return fail(why, "must be an address without blanks, quotes and letters beyond ASCII");
    return put_string(value, URL_BYTES_MAX, &facts->recording_url, why);
}

static bool read_switch(const char *value, bool *ret, struct problem *why)
{
    if (strcasecmp(value, "true") != 0 && strcasecmp(value, "false") != 0 && strcmp(value, "1") != 0
        && strcmp(value, "0") != 0)
        return fail(why, "must be true or false");
    *ret = strcasecmp(value, "true") == 0 || strcmp(value, "1") == 0;
    return true;
}

static bool put_answered(const char *value, struct call_facts *facts, struct problem *why)
{
    return facts->has_answered = read_switch(value, &facts->answered, why);
}

static bool put_voicemail(const char *value, struct call_facts *facts, struct problem *why)
{
    return facts->has_voicemail = read_switch(value, &facts->voicemail, why);
}

static bool put_duration(const char *value, struct call_facts *facts, struct problem *why)
{
    char *end;
    double seconds = strtod(value, &end);
    if (*end || value[strspn(value, "0123456789.eE+-")] || end == value || !(seconds >= 0 && seconds <= DURATION_S_MAX))
        return fail(why, "must be a number of seconds from 0 to %d", DURATION_S_MAX);
    facts->duration_s = (int64_t)(seconds + 0.5);
    return true;
}

static bool put_time(const char *value, int64_t *ret, struct problem *why)
{
    return time_read(text_of(value), ret) || fail(why, "must be a time like 2026-11-21T09:30:00Z");
}

static bool put_started(const char *value, struct call_facts *facts, struct problem *why)
{
    return put_time(value, &facts->started_us, why);
}

static bool put_reported(const char *value, struct call_facts *facts, struct problem *why)
{
    return put_time(value, &facts->reported_us, why);
}

/* Each name and what it says; of two names for one thing the first in this table counts. */
static const struct field {
    const char *name;
    bool (*put)(const char *value, struct call_facts *facts, struct problem *why);
} fields[] = {
    { "caller_number", put_customer }, { "customer_phone_number", put_customer }, { "customer_number", put_customer },
    { "tracking_number", put_tracking }, { "tracking_phone_number", put_tracking },
    { "recording_url", put_recording }, { "recording", put_recording },
    { "duration", put_duration }, { "answered", put_answered }, { "voicemail", put_voicemail },
    { "customer_name", put_name }, { "direction", put_direction }, { "agent_email", put_agent },
    { "business_phone_number", put_answered_number },
    { "start_time", put_started }, { "timestamp", put_reported },
};

/* A scalar as text; NULL when it says nothing. */
static bool scalar(struct json_value value, struct arena *arena, const char **ret, struct problem *why)
{
    switch (value.kind) {
    case JSON_NULL:
        *ret = NULL;
        return true;
    case JSON_STRING:
        *ret = json_string(value, arena);
        if (**ret == '\0')
            *ret = NULL;
        return true;
    case JSON_TRUE:
    case JSON_FALSE:
    case JSON_NUMBER:
        *ret = arena_copy_text(arena, value.raw);
        return true;
    case JSON_OBJECT:
    case JSON_ARRAY:
        break;
    }
    return fail(why, "must be text, a number, true or false");
}

static bool blame(const struct field *field, const char *reason, struct problem *why)
{
    char pointer[64];
    snprintf(pointer, sizeof(pointer), "/%s", field->name);
    return fail_at(why, pointer, "%s", reason);
}

static bool put(const struct field *field, const char *value, struct call_facts *ret, struct problem *why)
{
    struct problem reason;
    return field->put(value, ret, &reason) || blame(field, reason.text, why);
}

/* The field's value; NULL when it says nothing. */
static bool find_in_json(struct json_value object, const struct field *field, struct arena *arena, const char **ret,
                         struct problem *why)
{
    struct json_value value, found = { .kind = JSON_NULL };
    struct json_scan scan;
    struct text member;
    struct problem reason;
    bool given = false;
    json_enter(&scan, object);
    while (json_member(&scan, &member, &value)) {
        if (!json_string_is(member, field->name))
            continue;
        if (given)
            return blame(field, "is given twice", why);
        given = true;
        found = value;
    }
    return scalar(found, arena, ret, &reason) || blame(field, reason.text, why);
}

static bool read_json(struct text body, struct arena *arena, struct call_facts *ret, struct problem *why)
{
    struct json_value object;
    if (!json_parse(body, &object, why))
        return false;
    if (object.kind != JSON_OBJECT)
        return fail(why, "the body is JSON but not an object");
    for (size_t i = LENGTH(fields); i-- > 0;) {         /* the first names last, so that they count */
        const char *value = NULL;
        if (!find_in_json(object, &fields[i], arena, &value, why) || (value && !put(&fields[i], value, ret, why)))
            return false;
    }
    return true;
}

static bool find_in_form(const struct form *form, const struct field *field, const char **ret, struct problem *why)
{
    size_t count = 0;
    for (size_t i = 0; i < form->count; i++)
        count += text_is(form->fields[i].name, field->name);
    if (count > 1)
        return blame(field, "is given twice", why);
    *ret = form_get(form, field->name);
    return true;
}

static bool read_form(struct text body, struct arena *arena, struct call_facts *ret, struct problem *why)
{
    struct form *form = arena_alloc(arena, sizeof(*form));
    if (!form_read(body, arena, form, why))
        return false;
    for (size_t i = LENGTH(fields); i-- > 0;) {
        const char *value = NULL;
        if (!find_in_form(form, &fields[i], &value, why) || (value && *value && !put(&fields[i], value, ret, why)))
            return false;
    }
    return true;
}

bool call_facts_read(const char *hook, const char *content_type, struct text body, struct arena *arena,
                     struct call_facts *ret, struct problem *why)
{
    *ret = (struct call_facts){ .rank = call_hook_rank(hook), .reported_us = -1, .duration_s = -1, .started_us = -1 };
    bool is_json = strncasecmp(content_type, "application/json", strlen("application/json")) == 0;
    return is_json ? read_json(body, arena, ret, why) : read_form(body, arena, ret, why);
}

/* --- as a row ----------------------------------------------------------------------------------------------------- */

static void write_string(struct buf *out, const char *name, const char *value)
{
    if (!value)
        return;
    json_name(out, name);
    json_write_string(out, value);
}

void call_facts_write(struct buf *out, const struct call_facts *facts)
{
    char time[TIME_BYTES];
    buf_add_char(out, '{');
    write_string(out, "caller_number", facts->customer_number);
    write_string(out, "tracking_number", facts->tracking_number);
    write_string(out, "customer_name", facts->customer_name);
    write_string(out, "direction", facts->direction);
    write_string(out, "recording_url", facts->recording_url);
    write_string(out, "agent_email", facts->agent_email);
    write_string(out, "business_phone_number", facts->answered_number);
    if (facts->has_answered)
        write_string(out, "answered", facts->answered ? "true" : "false");
    if (facts->has_voicemail)
        write_string(out, "voicemail", facts->voicemail ? "true" : "false");
    if (facts->duration_s >= 0) {
        json_name(out, "duration");
        json_write_integer(out, facts->duration_s);
    }
    if (facts->started_us >= 0)
        write_string(out, "start_time", time_print(facts->started_us, time));
    buf_add_char(out, '}');
}

bool call_facts_restore(struct text json, struct arena *arena, struct call_facts *ret, struct problem *why)
{
    return call_facts_read(hooks[INCOMING], "application/json", json, arena, ret, why);
}

/* --- together ----------------------------------------------------------------------------------------------------- */

static int by_order(const void *a, const void *b)
{
    const struct call_facts *left = a, *right = b;
    if (left->rank != right->rank)
        return left->rank - right->rank;
    if (left->reported_us != right->reported_us)
        return left->reported_us < right->reported_us ? -1 : 1;
    return strcmp(left->event_id, right->event_id);
}

static void replace(const char **value, const char *with)
{
    if (with)
        *value = with;
}

/* Before the end only the hook itself tells whether somebody picked up: CallRail sends answered=false with every
 * ringing call. */
static void fold_answered(struct call_facts *all, const struct call_facts *report)
{
    if (report->rank == ANSWERED) {
        all->has_answered = all->answered = true;
    } else if (report->rank == COMPLETED && report->has_answered) {
        all->has_answered = true;
        all->answered = report->answered;
    }
}

static const char *status_of(const struct call_facts *reports, size_t count, const struct call_facts *all)
{
    int rank = -1;
    bool missed = false;
    for (size_t i = 0; i < count; i++) {
        rank = reports[i].rank > rank ? reports[i].rank : rank;
        missed = missed || (reports[i].rank == COMPLETED && reports[i].has_answered && !reports[i].answered);
    }
    if (rank == COMPLETED)
        return missed || (all->has_answered && !all->answered) ? "missed" : "completed";
    return rank == ANSWERED ? "in_progress" : "ringing";
}

static const char *brought_by(const struct call_facts *reports, size_t count)
{
    size_t fetched = 0;
    for (size_t i = 0; i < count; i++)
        fetched += reports[i].fetched;
    return fetched == 0 ? "hook" : fetched == count ? "fetch" : "both";
}

/* Without a start of its own a call began when it first rang, else its length before it ended. */
static int64_t start_of(const struct call_facts *reports, size_t count, const struct call_facts *all)
{
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < count; i++) {
        int64_t before = reports[i].rank == COMPLETED && all->duration_s > 0 ? all->duration_s * 1000000 : 0;
        if (reports[i].reported_us - before < first)
            first = reports[i].reported_us - before;
    }
    return first;
}

void call_fold(struct call_facts *reports, size_t count, struct call_state *ret)
{
    struct call_facts *all = &ret->facts;
    qsort(reports, count, sizeof(*reports), by_order);
    *all = (struct call_facts){ .duration_s = -1, .started_us = -1 };
    for (size_t i = 0; i < count; i++) {
        const struct call_facts *report = &reports[i];
        replace(&all->customer_number, report->customer_number);
        replace(&all->tracking_number, report->tracking_number);
        replace(&all->customer_name, report->customer_name);
        replace(&all->direction, report->direction);
        replace(&all->recording_url, report->recording_url);
        replace(&all->agent_email, report->agent_email);
        replace(&all->answered_number, report->answered_number);
        fold_answered(all, report);
        if (report->has_voicemail && (report->voicemail || report->rank == COMPLETED)) { /* before the end: not yet */
            all->has_voicemail = true;
            all->voicemail = report->voicemail;
        }
        if (report->duration_s >= 0 && (report->rank == COMPLETED || report->duration_s > 0))
            all->duration_s = report->duration_s;
        if (report->started_us >= 0)
            all->started_us = report->started_us;
    }
    if (all->started_us < 0)
        all->started_us = start_of(reports, count, all);
    ret->brought_by = brought_by(reports, count);
    ret->status = status_of(reports, count, all);
    if (strcmp(ret->status, "missed") == 0) {       /* one report that says so decides, in whatever order */
        all->has_answered = true;
        all->answered = false;
    }
}

bool call_is_recorded(const struct call_facts *reports, size_t count)
{
    bool over = false, recorded = false, heard = false;
    for (size_t i = 0; i < count; i++) {
        const struct call_facts *report = &reports[i];
        bool last = report->rank == COMPLETED, voicemail = report->has_voicemail && report->voicemail;
        bool denies = last && report->has_answered && !report->answered && report->has_voicemail && !voicemail;
        over = over || last;
        recorded = recorded || report->recording_url;
        heard = heard || voicemail || (last && report->has_answered && report->answered)
                || (report->recording_url && !denies);
    }
    return over && recorded && heard;
}
