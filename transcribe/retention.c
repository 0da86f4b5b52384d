/* retention.c: recording.due → a copy that was kept for as long as its company wants is removed, in the folder or the
 * bucket, and its row says so; its transcript and analysis stay.  The time counts from the call or the visit.
 *
 * The file goes first: when the row is not written after it, it is looked for again and found gone.  Within one
 * conversation all is in order, so nobody is listening to the copy meanwhile; who plays it to somebody has it open, or
 * tells that it is gone. */
#include "transcribe/transcribe.h"

#include <string.h>

/* By tenant and id: its path, when its time is over. */
#define FIND_EXPIRED(table, id)                                                                                        \
    "SELECT r.path FROM " table " r JOIN companies c USING (tenant) WHERE r.tenant = $1 AND r." id                     \
    " AND r.removed_at IS NULL AND r.recorded_at <= now() - make_interval(days => c.recordings_days)"
#define MARK_REMOVED(table, id)                                                                                        \
    "UPDATE " table " r SET removed_at = now(), updated_at = now() WHERE r.tenant = $1 AND r." id                      \
    " AND r.removed_at IS NULL"

static const struct statement find_expired_call = {
    .name = "find_expired_call",
    .text = FIND_EXPIRED("recordings", "call_id = $2"),
    .params = 2,
};
static const struct statement mark_call_removed = {
    .name = "mark_call_removed",
    .text = MARK_REMOVED("recordings", "call_id = $2"),
    .params = 2,
};
static const struct statement find_expired_visit = {
    .name = "find_expired_visit",
    .text = FIND_EXPIRED("session_recordings", "session_id = $2::uuid"),
    .params = 2,
};
static const struct statement mark_visit_removed = {
    .name = "mark_visit_removed",
    .text = MARK_REMOVED("session_recordings", "session_id = $2::uuid"),
    .params = 2,
};

/* An event that could not be handled is made anew in the next hour. */
#define EXPIRED(table, id, kind)                                                                                       \
    "(SELECT '" kind " ' || r." id " AS id, date_trunc('hour', now()) AS next_check_at, r." id "::text AS subject,"    \
    " r.tenant, json_build_object('kind', '" kind "', 'id', r." id ")::text AS data, r.recorded_at"                    \
    " FROM companies c JOIN " table " r USING (tenant) WHERE c.recordings_days IS NOT NULL AND r.removed_at IS NULL"   \
    " AND r.recorded_at <= now() - make_interval(days => c.recordings_days)"                                           \
    " AND NOT EXISTS (SELECT 1 FROM pauses p WHERE p.kind = 'tenant' AND p.name = r.tenant"                            \
    "  OR p.kind = 'provider' AND p.name = '" RECORDINGS_PROVIDER "')"                                                 \
    " AND NOT EXISTS (SELECT 1 FROM parked p WHERE p.stage = 'transcribe' AND p.subject = r." id "::text)"             \
    " ORDER BY r.recorded_at LIMIT 250)"
_Static_assert(SWEEP_ROWS_MAX == 500, "250 of each kind");
const struct statement find_expired_recordings = {
    .name = "find_expired_recordings",
    .text = EXPIRED("recordings", "call_id", "call") " UNION ALL " EXPIRED("session_recordings", "session_id", "visit"),
};

struct removal {
    const struct recordings *store;
    const char *path;
};

static enum outcome remove_copy(struct work *work, void *request, struct answer *ret)
{
    const struct removal *removal = request;
    struct problem why;
    (void)ret;
    work_waits(work);
    enum recordings_result result =
        recordings_remove(removal->store, stage_http(), work_arena(work), removal->path, &why);
    work_goes_on(work);
    return result == RECORDINGS_ABSENT ? DONE : recording_judge(work, removal->store, result, &why);
}

enum outcome transcribe_retention(struct work *work, const struct event *event)
{
    const struct transcribe *transcribe = work_context(work);
    const struct recordings *store = &transcribe->recordings.store;
    struct recording_due due;
    struct rows rows;
    struct answer answer;
    TRY(work_read_data(work, event, recording_due_read, &due));
    bool call = strcmp(due.kind, call_kind.name) == 0;
    TRY(work_query(work, call ? &find_expired_call : &find_expired_visit, &rows, work_tenant(work), due.id));
    if (rows.count == 0)
        return skip(work, "it is removed already, its company keeps it longer now, or it belongs to another");
    struct removal removal = { store, row_get(&rows, 0, "path") };
    TRY(ask(work, "recording_remove",
            &(struct ask){ .kind = ASK_AGAIN,
                           .provider = store->bucket ? RECORDINGS_PROVIDER : "recordings",
                           .no_circuit = store->bucket == NULL,
                           .timeout_ms = store->timeout_ms,
                           .call = remove_copy,
                           .request = &removal },
            &answer));
    effect_row(work, call ? &mark_call_removed : &mark_visit_removed, work_tenant(work), due.id);
    return DONE;
}
