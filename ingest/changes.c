#include "ingest/changes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/api.h"

#define DETAIL_BYTES 256

static const struct statement find_recorded = {
    .name = "find_recorded",
    .text = "SELECT fingerprint, status, body FROM api_operations WHERE operation_id = $1::uuid",
    .params = 1,
};
static const struct statement insert_operation = {
    .name = "insert_operation",
    .text = "INSERT INTO api_operations (tenant, operation_id, token_id, user_id, operation, subject, fingerprint,"
            " status, body, requested_at)"
            " VALUES ($1, $2::uuid, $3::uuid, $4, $5, $6, $7, $8::integer, $9, $10::timestamptz)",
    .params = 10,
    .must = 1,
};
/* No client comes back after so long.  Each change clears away some, so that there are never many. */
static const struct statement forget_operations = {
    .name = "forget_operations",
    .text = "DELETE FROM api_operations WHERE operation_id IN (SELECT operation_id FROM api_operations"
            " WHERE created_at < now() - interval '31 days' ORDER BY created_at LIMIT 10 FOR UPDATE SKIP LOCKED)",
    .params = 0,
};

static const struct {
    const char *operation; /* operationId of openapi.yaml */
    change_handler *handle;
} changes[] = {
    { "createAppointment", change_create_appointment },
    { "startSession", change_start_session },
    { "stopSession", change_stop_session },
    { "correctAnalysis", change_correct_analysis },
    { "updateCall", change_update_call },
    { "updateLead", change_update_lead },
};

/* --- answers --------------------------------------------------------------------------------------------- */

static const char *keep(struct work *work, struct buf *json)
{
    const char *body = arena_copy_text(work_arena(work), buf_text(json));
    buf_done(json);
    return body;
}

enum outcome change_answer(struct work *work, int status, const struct rows *rows, const struct api_part *parts,
                           struct change_answer *ret)
{
    struct buf json;

    buf_init(&json, CHANGE_ANSWER_BYTES_MAX);
    buf_add_string(&json, "{\"data\":{");
    api_write_parts(&json, rows, 0, parts);
    buf_add_string(&json, "}}\n");
    *ret = (struct change_answer){ status, keep(work, &json) };
    return DONE;
}

enum outcome change_refuse(struct work *work, int status, const char *pointer, struct change_answer *ret,
                           const char *format, ...)
{
    char detail[DETAIL_BYTES];
    struct buf json;
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(detail, sizeof(detail), format, arguments);
    va_end(arguments);
    buf_init(&json, CHANGE_ANSWER_BYTES_MAX);
    api_write_problem(&json, status, detail, NULL, pointer);
    *ret = (struct change_answer){ status, keep(work, &json) };
    return DONE;
}

enum outcome change_refuse_absent(struct work *work, const char *what, struct change_answer *ret)
{
    return change_refuse(work, 404, NULL, ret, "there is no %s with this id", what);
}

/* --- the event ------------------------------------------------------------------------------------------- */

static void tell(struct work *work, const struct event *event, const char *fingerprint,
                 const struct change_answer *answer)
{
    effect_event(work, &EVENT_API_ANSWERED, event->subject,
                 &(struct api_answered){ .request_id = event->id,
                                         .fingerprint = fingerprint,
                                         .status = answer->status,
                                         .body = text_of(answer->body) });
}

static enum outcome handle(struct work *work, const struct change *change, struct change_answer *ret)
{
    for (size_t i = 0; i < LENGTH(changes); i++)
        if (strcmp(changes[i].operation, change->requested->operation) == 0)
            return changes[i].handle(work, change, ret);
    return reject(work, "the operation \"%s\" is not known here", change->requested->operation);
}

/* Whoever asks again with the same key gets the recorded answer, and whoever asks for something else with it is told
 * so by the door, by the fingerprint. */
enum outcome record_api_request(struct work *work, const struct event *event)
{
    struct api_requested requested;
    struct rows recorded;
    struct change_answer answer;
    TRY(work_read_data(work, event, api_requested_read, &requested));
    work_set_tenant(work, requested.tenant);
    TRY(work_query(work, &find_recorded, &recorded, event->id));
    if (recorded.count > 0) {
        answer = (struct change_answer){ atoi(row_get(&recorded, 0, "status")), row_get(&recorded, 0, "body") };
        tell(work, event, row_get(&recorded, 0, "fingerprint"), &answer);
        return DONE;
    }
    struct arena *arena = work_arena(work);
    const struct change change = {
        .requested = &requested,
        .id = event->id,
        .scope = strcmp(requested.role, "platform") == 0 ? API_ALL_TENANTS : requested.tenant,
        .at = event->time,
        .by = requested.user_id ? requested.user_id : arena_printf(arena, "token %s", requested.token_id),
    };
    TRY(handle(work, &change, &answer));
    effect_row(work, &insert_operation, requested.tenant, event->id, requested.token_id, requested.user_id,
               requested.operation, event->subject, requested.fingerprint, arena_printf(arena, "%d", answer.status),
               answer.body, requested.requested_at);
    effect_row(work, &forget_operations);
    tell(work, event, requested.fingerprint, &answer);
    return DONE;
}
