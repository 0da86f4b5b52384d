#include "deploy/sb/standing.h"

#include <stdlib.h>
#include <string.h>

#include "common/job.h"
#include "deploy/sb/terminal.h"

#define STRING_(x)      #x
#define STRING(x)       STRING_(x)
#define IS_LIVE         "seen_at > now() - interval '" STRING(INSTANCE_LIVE_MS) " ms'"
#define ARRAY_BYTES_MAX (1024 * 1024)

/* clang-format off */
const struct statement standing_instances = {
    .name = "sb_standing_instances",
    .text = "SELECT x.*, " US("started_at") " AS started_us, " US("seen_at") " AS seen_us,"
            " " US("spool_since") " AS spool_since_us, to_jsonb(x) AS json FROM ("
            " SELECT stage, instance, host, pid, version, started_at, seen_at, " IS_LIVE " AS live, c.*,"
            "  (state->>'works_left_out')::bigint AS works_left_out,"
            "  (state->'spool'->>'messages')::bigint AS spool_messages, (state->'spool'->>'aside')::bigint AS spool_aside,"
            "  (state->'spool'->>'bytes')::bigint AS spool_bytes, (state->'spool'->>'since')::timestamptz AS spool_since"
            " FROM instances, jsonb_to_record(state->'counts') AS c(queued bigint, lookup bigint, ready bigint,"
            "  running bigint, waiting bigint, committing bigint, workers bigint)) AS x ORDER BY stage, seen_at",
};
const char *const standing_counts[STANDING_COUNTS] = {
    "queued", "lookup", "ready", "running", "waiting", "committing"
};
const struct statement standing_circuits = {
    .name = "sb_standing_circuits",
    .text = "SELECT x.*, NULL AS key, " US("since") " AS since_us, " US("next_probe_at") " AS next_probe_us,"
            " to_jsonb(x) AS json FROM ("
            " SELECT i.stage, i.instance, coalesce(c.provider, c.stage, c.tenant) AS name,"
            "  coalesce(c.paused, false) AS paused, c.tenant IS NULL AS stops, c.since, c.why, c.next_probe_at,"
            "  CASE WHEN c.paused THEN sum(c.waiting) OVER (PARTITION BY c.provider, c.stage, c.tenant) ELSE c.waiting END"
            "  AS waiting"
            " FROM instances i, jsonb_to_recordset(state->'circuits') AS c(provider text, stage text, tenant text,"
            "  paused boolean, since timestamptz, why text, next_probe_at timestamptz, waiting bigint)"
            " WHERE " IS_LIVE " ORDER BY c.since) AS x",
};
#define WORKS                                                                                                          \
    "SELECT x.*, " US("since") " AS since_us, " US("running_since") " AS running_since_us, " US("due_at") " AS due_us,"\
    " " US("give_up_at") " AS give_up_us, to_jsonb(x) AS json FROM ("                                                  \
    " SELECT stage, instance, w.* FROM instances, jsonb_to_recordset(state->'works') AS w(key text, event_id uuid,"    \
    "  type text, run integer, topic text, state text, since timestamptz, running_since timestamptz, attempt integer," \
    "  give_up_at timestamptz, due_at timestamptz, provider text, why text, behind bigint)"                            \
    " WHERE " IS_LIVE ") AS x WHERE "
const struct statement standing_works = {
    .name = "sb_standing_works",
    .text = WORKS "key = ANY ($1::text[]) ORDER BY since",
    .params = 1,
};
const struct statement standing_stuck_works = {
    .name = "sb_standing_stuck_works",
    .text = WORKS "provider IS NULL AND (state = 'waiting' OR since < now() - interval '30 s')"
                  " ORDER BY since LIMIT $1::integer",
    .params = 1,
};
/* Those behind the first wait for ever until it is done, so its time is the key's. */
const struct statement standing_parked = {
    .name = "sb_standing_parked",
    .text = "SELECT x.*, " US("first_at") " AS first_us, " US("resume_at") " AS resume_us, to_jsonb(x) AS json FROM ("
            " SELECT DISTINCT ON (p.stage, p.subject) p.stage, p.subject AS key, p.event_id, l.event_type AS type, p.tenant,"
            "  p.why, p.attempts, p.first_at, nullif(p.resume_at, 'infinity') AS resume_at,"
            "  p.resume_at < now() - interval '2 minutes' AS overdue,"
            "  EXISTS (SELECT 1 FROM pauses WHERE kind = 'tenant' AND name = p.tenant) AS paused,"
            "  count(*) OVER (PARTITION BY p.stage, p.subject) AS events"
            " FROM parked p LEFT JOIN ledger l"
            "  ON l.event_id = p.event_id AND l.stage = p.stage AND l.run = p.run AND l.day = p.day"
            " WHERE $1::text[] IS NULL OR p.subject = ANY ($1) ORDER BY p.stage, p.subject, p.number) AS x"
            " ORDER BY first_at LIMIT $2::integer",
    .params = 2,
};
const struct statement standing_asks = {
    .name = "sb_standing_asks",
    .text = "SELECT x.*, " US("updated_at") " AS updated_us, to_jsonb(x) AS json FROM ("
            " SELECT stage, correlation_id AS key, provider, name, purpose, recipient, state, attempt, error, updated_at"
            " FROM asks WHERE (state = 'uncertain' OR state = 'sent' AND lease_until < now() - interval '1 minute')"
            " AND ($1::text[] IS NULL OR correlation_id = ANY ($1)) ORDER BY updated_at LIMIT $2::integer) AS x",
    .params = 2,
};
/* A stage asks every 2 s for those that are due. */
const struct statement standing_jobs = {
    .name = "sb_standing_jobs",
    .text = "SELECT x.*, " US("submitted_at") " AS submitted_us, " US("next_check_at") " AS next_check_us,"
            " to_jsonb(x) AS json FROM ("
            " SELECT stage, subject AS key, tenant, job_id, job_type, kind, provider, provider_job_id, status, attempts,"
            "  submitted_at, next_check_at,"
            "  submitted_at < now() - " STRING(JOB_OVERDUE_MS) " * interval '1 ms' AS overdue,"
            "  next_check_at < now() - interval '2 minutes' AS unasked"
            " FROM jobs WHERE next_check_at IS NOT NULL) AS x"
            " WHERE CASE WHEN $1::text[] IS NULL THEN overdue OR unasked ELSE key = ANY ($1) END"
            " ORDER BY submitted_at LIMIT $2::integer",
    .params = 2,
};
/* clang-format on */

int64_t row_integer(const struct rows *rows, int row, const char *column)
{
    const char *value = row_get(rows, row, column);
    return value ? strtoll(value, NULL, 10) : 0;
}

/* ": why", or nothing. */
static const char *because(const char *why, struct arena *arena)
{
    return why && *why ? arena_printf(arena, ": %s", why) : "";
}

/* "in 12 s (14:02:33)"; what is due already: "at once". */
static const char *in_time(int64_t us, struct arena *arena)
{
    char age[AGE_BYTES], clock[CLOCK_BYTES];
    int64_t left_us = us - now_us();
    return left_us <= 0 ? "at once"
                        : arena_printf(arena, "in %s (%s)", age_print(left_us, age), clock_print(us, clock));
}

static const char *since(int64_t us, struct arena *arena)
{
    char age[AGE_BYTES];
    return arena_printf(arena, "%s", age_print(now_us() - us, age));
}

const char *circuit_sentence(const struct rows *rows, int row, struct arena *arena)
{
    const char *name = row_get(rows, row, "name"), *why = because(row_get(rows, row, "why"), arena);
    const char *age = since(row_integer(rows, row, "since_us"), arena);
    long long waiting = (long long)row_integer(rows, row, "waiting");
    const char *waits = plural(waiting, "waits", "wait");

    if (*row_get(rows, row, "paused") == 't')
        return arena_printf(arena, "%s %s, %s ago; %lld %s for it", name, row_get(rows, row, "why"), age, waiting, waits);
    const char *next =
        row_get(rows, row, "next_probe_us") ? in_time(row_integer(rows, row, "next_probe_us"), arena) : "under way";
    return arena_printf(arena, "%s has failed for everyone for %s; %lld %s for it, the next try is %s%s", name, age,
                        waiting, waits, next, why);
}

const char *holdup_sentence(const struct rows *instances, const struct rows *circuits, const char *stage,
                            struct arena *arena)
{
    const char *names = NULL;
    int live = 0, last = -1;

    for (int row = 0; row < instances->count; row++)
        if (strcmp(row_get(instances, row, "stage"), stage) == 0) {
            live += *row_get(instances, row, "live") == 't';
            last = row;
        }
    if (live == 0 && last < 0)
        return "no instance is live, and none was for a day";
    if (live == 0)
        return arena_printf(arena, "no instance is live; the last one seen is %s on %s, process %s, %s ago",
                            row_get(instances, last, "instance"), row_get(instances, last, "host"),
                            row_get(instances, last, "pid"), since(row_integer(instances, last, "seen_us"), arena));
    for (int row = 0; row < circuits->count; row++)
        if (strcmp(row_get(circuits, row, "stage"), stage) == 0 && *row_get(circuits, row, "stops") == 't') {
            const char *name = row_get(circuits, row, "name");
            names = names && !strstr(names, name) ? arena_printf(arena, "%s, %s", names, name) : names ? names : name;
        }
    return names ? arena_printf(arena, "it does not read on without %s", names) : NULL;
}

/* What a work does that neither waits nor runs. */
static const char *state_words(const char *state)
{
    static const char *const words[][2] = {
        { "queued", "waits for the one before it" },
        { "lookup", "waits for Postgres: the ledger is asked whether it was handled" },
        { "ready", "waits for a worker" },
        { "committing", "waits for Postgres to commit it" },
        { "producing", "is committed and waits for Kafka to take what it emits" },
    };
    for (size_t i = 0; i < LENGTH(words); i++)
        if (strcmp(words[i][0], state) == 0)
            return words[i][1];
    return state;
}

const char *work_sentence(const struct rows *rows, int row, struct arena *arena)
{
    const char *type = row_get(rows, row, "type"), *state = row_get(rows, row, "state");
    const char *provider = row_get(rows, row, "provider"), *sentence;
    long long attempt = (long long)row_integer(rows, row, "attempt"),
              behind = (long long)row_integer(rows, row, "behind");
    char clock[CLOCK_BYTES];

    if (strcmp(state, "running") == 0)
        sentence = arena_printf(arena, "%s has been running for %s, attempt %lld", type,
                                since(row_integer(rows, row, "running_since_us"), arena), attempt);
    else if (strcmp(state, "waiting") == 0 && provider)
        sentence = arena_printf(arena, "%s waits for %s, which is paused or fails for everyone", type, provider);
    else if (strcmp(state, "waiting") == 0)
        sentence = arena_printf(arena, "%s waits after attempt %lld for the next one %s, and is given up after %s%s",
                                type, attempt, in_time(row_integer(rows, row, "due_us"), arena),
                                clock_print(row_integer(rows, row, "give_up_us"), clock),
                                because(row_get(rows, row, "why"), arena));
    else
        sentence = arena_printf(arena, "%s %s", type, state_words(state));
    return behind ? arena_printf(arena, "%s; %lld more behind it", sentence, behind) : sentence;
}

const char *parked_sentence(const struct rows *rows, int row, struct arena *arena)
{
    const char *type = row_get(rows, row, "type");
    long long behind = (long long)row_integer(rows, row, "events") - 1;
    long long attempts = (long long)row_integer(rows, row, "attempts");
    const char *resume = row_get(rows, row, "resume_us") ? in_time(row_integer(rows, row, "resume_us"), arena)
                                                         : "when the one before it is done";
    const char *late = strcmp(row_get(rows, row, "overdue"), "t") == 0 ? " (overdue: is an instance live?)" : "";
    if (*row_get(rows, row, "paused") == 't') {
        resume = arena_printf(arena, "after \"sb resume %s\"", row_get(rows, row, "tenant"));
        late = "";
    }
    const char *sentence = arena_printf(
        arena, "%s is parked since %s ago%s, and resumed %s%s%s", type ? type : "an event",
        since(row_integer(rows, row, "first_us"), arena),
        attempts ? arena_printf(arena, " after attempt %lld", attempts) : "", resume, late,
        because(row_get(rows, row, "why"), arena));
    return behind > 0 ? arena_printf(arena, "%s; %lld more behind it", sentence, behind) : sentence;
}

const char *ask_sentence(const struct rows *rows, int row, struct arena *arena)
{
    bool uncertain = strcmp(row_get(rows, row, "state"), "uncertain") == 0;
    const char *what = row_get(rows, row, "purpose") ? row_get(rows, row, "purpose") : row_get(rows, row, "name");
    return arena_printf(arena, "%s asked %s (%s) %s ago, and %s%s", row_get(rows, row, "stage"),
                        row_get(rows, row, "provider"), what, since(row_integer(rows, row, "updated_us"), arena),
                        uncertain ? "it is not known whether it was done: a person must look there"
                                  : "nobody has written down how it ended",
                        because(row_get(rows, row, "error"), arena));
}

const char *job_sentence(const struct rows *rows, int row, struct arena *arena)
{
    bool overdue = *row_get(rows, row, "overdue") == 't', unasked = *row_get(rows, row, "unasked") == 't';
    int64_t next_us = row_integer(rows, row, "next_check_us");
    long long asked = (long long)row_integer(rows, row, "attempts") - 1;
    const char *job =
        arena_printf(arena, "%s has had the %s of this %s for %s (job %s)", row_get(rows, row, "provider"),
                     row_get(rows, row, "job_type"), row_get(rows, row, "kind"),
                     since(row_integer(rows, row, "submitted_us"), arena), row_get(rows, row, "provider_job_id"));
    if (unasked)
        return arena_printf(arena, "%s, and should have been asked for it %s ago: is an instance live?", job,
                            since(next_us, arena));
    if (overdue)
        return arena_printf(
            arena, "%s: it is overdue; asked %lld %s, and again %s: does its webhook reach the door?", job, asked,
            plural(asked, "time", "times"), in_time(next_us, arena));
    return arena_printf(arena, "%s; if its webhook does not come, it is asked %s", job, in_time(next_us, arena));
}

const char *array_of(const char *const *values, int count, struct arena *arena)
{
    struct buf array;
    buf_init(&array, ARRAY_BYTES_MAX);
    buf_add_char(&array, '{');
    for (int i = 0; i < count; i++) {
        buf_add_string(&array, i ? ",\"" : "\"");
        for (const char *at = values[i]; *at; at++) {
            if (*at == '"' || *at == '\\')
                buf_add_char(&array, '\\');
            buf_add_char(&array, *at);
        }
        buf_add_char(&array, '"');
    }
    buf_add_char(&array, '}');
    const char *copy = arena_copy_text(arena, buf_text(&array));
    buf_done(&array);
    return copy;
}
