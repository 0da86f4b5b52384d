#include "ingest/recorder.h"

#include <string.h>

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

const struct route ingest_routes[] = {
    { .type = &EVENT_CALLRAIL_CALL_RECEIVED, .handle = record_callrail },
    { .type = &EVENT_RECONCILE_DUE, .handle = reconcile_calls },
    { .type = &EVENT_TWILIO_STATUS_RECEIVED, .handle = record_twilio_status },
    { .type = &EVENT_SHUNYA_JOB_RECEIVED, .handle = record_shunya },
    { .type = &EVENT_API_REQUESTED, .handle = record_api_request },
    { 0 },
};
