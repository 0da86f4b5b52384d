/* event.c: the envelope, read by the same interpreter as the data in it and written by hand, because the door is in a
 * hurry. */
#include "common/event.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "common/record.h"

#define EVENT_ATTRIBUTE_LENGTH_MAX 256
#define TENANT_LENGTH_MAX 63
#define TOPIC_NAME_BYTES 256            /* Kafka allows 249 characters */
#define TRACE_ID_BYTES 16
#define SPAN_ID_BYTES 8
#define TRACE_ID_AT 3                   /* in "00-<trace id>-<span id>-<flags>" */
#define SPAN_ID_AT (TRACE_ID_AT + 2 * TRACE_ID_BYTES + 1)
#define TRACE_FLAGS_AT (SPAN_ID_AT + 2 * SPAN_ID_BYTES + 1)

/* --- names -------------------------------------------------------------------------------------------------------- */

const struct topic *topic_find(const char *name)
{
    for (const struct topic *topic = topics; topic->name != NULL; topic++) {
        if (strcmp(topic->name, name) == 0)
            return topic;
    }
    return NULL;
}

const struct event_type *event_type_find(const char *name)
{
    for (const struct event_type *const *type = event_types; *type != NULL; type++) {
        if (strcmp((*type)->name, name) == 0)
            return *type;
    }
    return NULL;
}

const struct topic *event_topic(const struct event_type *type, const char *stage)
{
    char name[TOPIC_NAME_BYTES];
    if (type->per_stage == NULL)
        return type->topic;
    snprintf(name, sizeof(name), "%s%s", type->per_stage, stage);
    return topic_find(name);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* schemas/envelope.json, as a table. */
struct envelope {
    struct event event;
    const char *specversion;
    const char *datacontenttype;
    const char *dataschema;
    int64_t run;
    bool has_run, has_ask_again, has_resend;
};

#define AT(member) offsetof(struct envelope, member)
#define REQUIRED RECORD_REQUIRED
#define NULLABLE RECORD_NULLABLE
#define LENGTH_MAX EVENT_ATTRIBUTE_LENGTH_MAX

static const char *const specversions[] = { "1.0", NULL };
static const char *const content_types[] = { "application/json", NULL };
static const struct record_field envelope_fields[] = {
    { "specversion",     RECORD_STRING,  REQUIRED, AT(specversion), .most = 3, .choices = specversions },
    { "id",              RECORD_STRING,  REQUIRED, AT(event.id), .most = LENGTH_MAX, .format = RECORD_UUID },
    { "source",          RECORD_STRING,  REQUIRED, AT(event.source), .least = 1, .most = LENGTH_MAX },
    { "type",            RECORD_STRING,  REQUIRED, AT(event.type), .least = 1, .most = LENGTH_MAX },
    { "subject",         RECORD_STRING,  REQUIRED, AT(event.subject), .least = 1, .most = EVENT_KEY_BYTES_MAX },
    { "time",            RECORD_STRING,  REQUIRED, AT(event.time), .most = LENGTH_MAX, .format = RECORD_DATE_TIME },
    { "datacontenttype", RECORD_STRING,  0,        AT(datacontenttype), .most = LENGTH_MAX, .choices = content_types },
    { "dataschema",      RECORD_STRING,  0,        AT(dataschema), .most = LENGTH_MAX },
    { "tenant",          RECORD_STRING,  NULLABLE, AT(event.tenant), .least = 1, .most = TENANT_LENGTH_MAX },
    { "correlationid",   RECORD_STRING,  NULLABLE, AT(event.correlation_id), .least = 1, .most = LENGTH_MAX },
    { "causationid",     RECORD_STRING,  NULLABLE, AT(event.causation_id), .most = LENGTH_MAX, .format = RECORD_UUID },
    { "run",             RECORD_INTEGER, 0,        AT(run), .beside = AT(has_run), .most = INT32_MAX },
    { "traceparent",     RECORD_STRING,  NULLABLE, AT(event.traceparent), .most = LENGTH_MAX },
    { "askagain",        RECORD_BOOLEAN, NULLABLE, AT(event.ask_again), .beside = AT(has_ask_again) },
    { "resend",          RECORD_BOOLEAN, NULLABLE, AT(event.resend), .beside = AT(has_resend) },
    { "data",            RECORD_RAW,     REQUIRED, AT(event.data), .beside = 0 },
};
static const struct record envelope_record = { sizeof(struct envelope), envelope_fields, LENGTH(envelope_fields),
                                               .open = true };

bool event_read(struct text message, struct arena *arena, struct event *ret, struct problem *why)
{
    struct envelope envelope;

    if (!record_read(message, &envelope_record, arena, &envelope, why))
        return false;
    if (strlen(envelope.event.subject) > EVENT_KEY_BYTES_MAX)
        return fail_at(why, "/subject", "must have at most %d bytes, has %zu", EVENT_KEY_BYTES_MAX,
                       strlen(envelope.event.subject));
    if (envelope.event.data.at[0] != '{')
        return fail_at(why, "/data", "must be an object");
    /* W3C Trace Context: what cannot be read counts as absent, and breaks nothing */
    if (!traceparent_is(text_of(envelope.event.traceparent)))
        envelope.event.traceparent = NULL;
    envelope.event.run = (int)envelope.run;
    *ret = envelope.event;
    return true;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static void write_if(struct buf *out, const char *name, const char *value)
{
    if (value == NULL)
        return;
    json_name(out, name);
    json_write_string(out, value);
}

/* Data from elsewhere may stand on several lines.  In valid JSON a line end is always white space: one in a string is
 * escaped. */
static void write_on_one_line(struct buf *out, struct text data)
{
    const char *end = data.at + data.bytes;

    for (const char *at = data.at; at < end;) {
        size_t line = 0;
        while (at + line < end && at[line] != '\n' && at[line] != '\r')
            line++;
        buf_add(out, at, line);
        if (at + line < end)
            buf_add_char(out, ' ');
        at += line + 1;
    }
}

void event_write(struct buf *out, const struct event *event, const struct event_type *type, const void *data)
{
    buf_add_text(out, TEXT("{\"specversion\":\"1.0\",\"id\":"));
    json_write_string(out, event->id);
    buf_add_text(out, TEXT(",\"source\":"));
    json_write_string(out, event->source);
    buf_add_text(out, TEXT(",\"type\":"));
    json_write_string(out, type != NULL ? type->name : event->type);
    buf_add_text(out, TEXT(",\"subject\":"));
    json_write_string(out, event->subject);
    buf_add_text(out, TEXT(",\"time\":"));
    json_write_string(out, event->time);
    buf_add_text(out, TEXT(",\"datacontenttype\":\"application/json\""));
    write_if(out, "dataschema", type != NULL ? type->schema : NULL);
    write_if(out, "tenant", event->tenant);
    write_if(out, "correlationid", event->correlation_id);
    write_if(out, "causationid", event->causation_id);
    buf_add_text(out, TEXT(",\"run\":"));
    json_write_integer(out, event->run);
    write_if(out, "traceparent", event->traceparent);
    if (event->ask_again)
        buf_add_text(out, TEXT(",\"askagain\":true"));
    if (event->resend)
        buf_add_text(out, TEXT(",\"resend\":true"));
    buf_add_text(out, TEXT(",\"data\":"));
    if (data != NULL)
        type->write(out, data);
    else
        write_on_one_line(out, event->data);
    buf_add_char(out, '}');
}

/* --- ids and traces ----------------------------------------------------------------------------------------------- */

char *event_id_of(char ret[UUID_BYTES], const char *cause_id, const char *stage, const char *name, int run)
{
    char run_text[16];

    snprintf(run_text, sizeof(run_text), "%d", run);
    return uuid_of(ret, cause_id, stage, name, run_text, NULL);
}

/* Lower-case hex, as the standard wants it; `ret_zero`: nothing but zeros. */
static bool hex_is(const char *at, size_t digits, bool *ret_zero)
{
    *ret_zero = strspn(at, "0") >= digits;
    return strspn(at, "0123456789abcdef") >= digits;
}

bool traceparent_is(struct text text)
{
    char copy[TRACEPARENT_BYTES];
    bool zero_version, zero_trace, zero_span, zero_flags;

    if (text.at == NULL || text.bytes != TRACEPARENT_BYTES - 1)
        return false;
    memcpy(copy, text.at, text.bytes);
    copy[text.bytes] = '\0';
    if (copy[TRACE_ID_AT - 1] != '-' || copy[SPAN_ID_AT - 1] != '-' || copy[TRACE_FLAGS_AT - 1] != '-')
        return false;
    return hex_is(copy, 2, &zero_version) && strncmp(copy, "ff", 2) != 0 &&
           hex_is(copy + TRACE_ID_AT, 2 * TRACE_ID_BYTES, &zero_trace) && !zero_trace &&
           hex_is(copy + SPAN_ID_AT, 2 * SPAN_ID_BYTES, &zero_span) && !zero_span &&
           hex_is(copy + TRACE_FLAGS_AT, 2, &zero_flags);
}

/* Drawn a thousand at a time: every event needs some, and each draw is a system call. */
static void draw_random(uint8_t *ret, size_t bytes)
{
    static _Thread_local uint8_t drawn[1024];
    static _Thread_local size_t left;

    if (left < bytes) {
        randombytes_buf(drawn, sizeof(drawn));
        left = sizeof(drawn);
    }
    left -= bytes;
    memcpy(ret, drawn + left, bytes);
}

/* Random bits in hex, not all zero, which the standard keeps for "none". */
static void print_random(size_t bytes, char *ret)
{
    uint8_t random[TRACE_ID_BYTES];

    do {
        draw_random(random, bytes);
    } while (sodium_is_zero(random, bytes));
    hex_print(random, bytes, ret);
}

char *traceparent_next(const char *parent, char ret[TRACEPARENT_BYTES])
{
    char trace_id[2 * TRACE_ID_BYTES + 1];
    char span_id[2 * SPAN_ID_BYTES + 1];
    char flags[3] = "01";

    print_random(SPAN_ID_BYTES, span_id);
    if (traceparent_is(text_of(parent))) {
        memcpy(trace_id, parent + TRACE_ID_AT, sizeof(trace_id) - 1);
        trace_id[sizeof(trace_id) - 1] = '\0';
        memcpy(flags, parent + TRACE_FLAGS_AT, sizeof(flags) - 1);
    } else {
        print_random(TRACE_ID_BYTES, trace_id);
    }
    snprintf(ret, TRACEPARENT_BYTES, "00-%s-%s-%s", trace_id, span_id, flags);
    return ret;
}
