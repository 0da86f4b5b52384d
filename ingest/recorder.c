#include "ingest/recorder.h"

#include <string.h>

#include "common/utf8.h"
#include "ingest/coach.h"
#include "ingest/graph.h"
#include "ingest/reconcile.h"

#define SWEEP_MS 1000

enum outcome recorder_body(struct work *work, const char *encoding, struct text kept, struct text *ret)
{
    if (strcmp(encoding, "text") == 0) {
        *ret = kept;
        return DONE;
    }
    char *bytes = arena_alloc(work_arena(work), kept.bytes + 1);
    ret->at = bytes;
    if (!base64_read(kept, bytes, kept.bytes, &ret->bytes))
        return reject(work, "the body is marked as base64 but is not");
    return DONE;
}

const char *recorder_cut(struct work *work, const char *value, size_t characters_max)
{
    if (!value)
        return NULL;
    size_t bytes = utf8_prefix(value, value + strlen(value), characters_max);
    return value[bytes] ? arena_copy_text(work_arena(work), (struct text){ value, bytes }) : value;
}

const struct route ingest_routes[] = {
    { .type = &EVENT_CALLRAIL_CALL_RECEIVED, .handle = record_callrail },
    { .type = &EVENT_RECONCILE_DUE, .handle = reconcile_calls },
    { .type = &EVENT_TWILIO_STATUS_RECEIVED, .handle = record_twilio_status },
    { .type = &EVENT_TWILIO_MESSAGE_RECEIVED, .handle = record_twilio_message },
    { .type = &EVENT_SHUNYA_JOB_RECEIVED, .handle = record_shunya },
    { .type = &EVENT_OUTLOOK_MEETING_RECEIVED, .handle = record_outlook },
    { .type = &EVENT_REGISTRATION_RECEIVED, .handle = record_registration },
    { .type = &EVENT_GRAPH_CHANGE_RECEIVED, .handle = record_graph_change },
    { .type = &EVENT_SUBSCRIPTION_DUE, .handle = look_after_subscription },
    { .type = &EVENT_API_REQUESTED, .handle = record_api_request },
    { 0 },
};

const struct sweep ingest_sweeps[] = {
    { .name = "reconcile",
      .every_ms = SWEEP_MS,
      .due = &reconcile_due_accounts,
      .type = &EVENT_RECONCILE_DUE,
      .parameter = reconcile_shared_account },
    { .name = "subscription",
      .every_ms = SWEEP_MS,
      .due = &graph_due,
      .type = &EVENT_SUBSCRIPTION_DUE,
      .parameter = graph_due_mailbox },
    { 0 },
};
