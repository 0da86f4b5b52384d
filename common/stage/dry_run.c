/* dry_run.c: what events would change if they were handled now: `<stage> --dry-run`, started by `sb replay --dry-run`.
 *
 * Events come as lines of JSON on standard input; each gives a line of JSON on standard output:
 *
 *     event_id, type, subject, run
 *     outcome     done, skipped, rejected; retry: it would be tried again; asks: nobody can tell, since there is no
 *                 recorded answer; failed: a statement would
 *     why         unless it is done
 *     changes     rows: table, change (insert, update, delete, none), key, fields: { name: [before, after] }
 *     events      that would be sent: type, subject, data
 *     asks        that the handler made: name, provider, purpose (of what happens once), asked (would somebody be
 *                 asked now?)
 *
 * The handler is the real one, and so is what it reads.  Answers are recorded ones: nothing is ever sent, there is no
 * HTTP client.  What it describes is executed in a transaction that is always rolled back; the rows it leaves there are
 * held against those outside. */
#include "common/stage/runtime.h"

#include "common/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES_MAX   EVENT_INBOUND_BYTES_MAX
#define OUT_BYTES_MAX    (256 * 1024 * 1024)
#define CHANGES_MAX      1024 /* rows, of one event */
#define ASKS_MAX         64
/* Others wait for what this holds: never for long. */
#define TIMEOUTS                                                                                                       \
    "SET LOCAL statement_timeout = '5s'; SET LOCAL lock_timeout = '1s';"                                               \
    " SET LOCAL idle_in_transaction_session_timeout = '10s'"
/* Of every row, and of no interest: that it was written, not what. */
#define BOOKKEEPING "'updated_at', 'version', 'run'"

struct change {
    const char *table, *alias; /* alias: what the statement calls it */
    const char *verb;         /* INSERT, UPDATE or DELETE */
    const char *row;          /* JSON */
    const char *key, *fields; /* JSON; filled last */
    bool existed;
};

struct noted_ask {
    const char *name, *provider, *purpose; /* `purpose` NULL: it is harmless to repeat */
    bool asked;
};

struct dry_run {
    PGconn *inside; /* the transaction: what the handler reads, and what it describes */
    PGconn *outside; /* another: the rows as they are */
    struct work *work;
    struct change changes[CHANGES_MAX];
    int change_count;
    struct noted_ask asks[ASKS_MAX];
    int ask_count;
    bool no_answer;
};

/* --- Postgres
 * ---------------------------------------------------------------------------------------------------------------- */

static bool is_done(const PGresult *result)
{
    return PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK;
}

static bool command(PGconn *connection, const char *text, struct problem *why)
{
    PGresult *result = PQexec(connection, text);
    bool done = is_done(result) || fail(why, "%s", PQresultErrorMessage(result));
    PQclear(result);
    return done;
}

static PGconn *connect_dry(struct problem *why)
{
    return pg_connect(&(struct pg_pool_settings){ .url = daemon_settings()->database_url,
                                                  .role = runtime.role,
                                                  .application_name = "dry-run" },
                      why);
}

static bool begin(PGconn *connection, struct problem *why)
{
    return pg_begin(connection, runtime.role, why) && command(connection, TIMEOUTS, why);
}

static bool query(PGconn *connection, const char *text, struct params params, struct arena *arena, struct rows *ret,
                  struct problem *why)
{
    PGresult *result = PQexecParams(connection, text, params.count, NULL, params.values, NULL, NULL, 0);
    bool done = is_done(result) || fail(why, "%s", PQresultErrorMessage(result));
    *ret = (struct rows){ .count = PQntuples(result), .columns = PQnfields(result) };
    const char **values = arena_alloc(arena, (size_t)(ret->count * ret->columns + 1) * sizeof(*values));
    const char **names = arena_alloc(arena, (size_t)(ret->columns + 1) * sizeof(*names));
    for (int column = 0; column < ret->columns; column++)
        names[column] = arena_copy(arena, PQfname(result, column));
    for (int i = 0; i < ret->count * ret->columns; i++) {
        int row = i / ret->columns, column = i % ret->columns;
        values[i] = PQgetisnull(result, row, column) ? NULL : arena_copy(arena, PQgetvalue(result, row, column));
    }
    ret->values = values;
    ret->names = names;
    PQclear(result);
    return done;
}

/* --- what the handler sees
 * ----------------------------------------------------------------------------------------------------- */

static enum outcome answer_query(void *context, const struct statement *statement, struct params params,
                                 struct arena *arena, struct rows *ret)
{
    struct dry_run *dry = context;
    return query(dry->inside, statement->text, params, arena, ret, &dry->work->why) ? DONE : REJECT;
}

static bool find_recorded(struct dry_run *dry, const char *name, const struct ask *ask, struct arena *arena,
                          struct rows *ret)
{
    struct work *work = dry->work;
    const char *run = arena_printf(arena, "%d", work->event.run);
    bool once = ask->kind == ASK_ONCE;
    bool found =
        once ? query(dry->inside, find_purpose.text,
                     PARAMS(ask->recipient, ask->purpose, ask->subject, ask->version, "0"), arena, ret, &work->why)
             : query(dry->inside, find_answer.text, PARAMS(work->event.id, work->try_stage->name, name, run), arena,
                     ret, &work->why);
    return found && ret->count > 0 && (!once || strcmp(row_get(ret, 0, "state"), "answered") == 0);
}

static enum outcome answer_ask(void *context, const char *name, const struct ask *ask, struct arena *arena,
                               struct answer *ret)
{
    struct dry_run *dry = context;
    struct work *work = dry->work;
    struct rows rows;
    bool found = find_recorded(dry, name, ask, arena, &rows);
    bool anew = ask->kind == ASK_ONCE ? work->event.resend : work->event.ask_again;
    if (dry->ask_count < ASKS_MAX)
        dry->asks[dry->ask_count++] =
            (struct noted_ask){ .name = arena_copy(arena, name),
                                .provider = arena_copy(arena, ask->provider),
                                .purpose = ask->kind == ASK_ONCE ? arena_copy(arena, ask->purpose) : NULL,
                                .asked = anew || !found };
    if (!found) {
        dry->no_answer = true;
        return retry(work, 0, "there is no recorded answer of %s (\"%s\"): it would be asked", ask->provider, name);
    }
    answer_from_row(&rows, ret);
    ret->ask_id = row_get(&rows, 0, "ask_id");
    return DONE;
}

/* --- what it describes
 * --------------------------------------------------------------------------------------------------------- */

/* What a table is called behind its name: "leads l SET …": l.  Without another name it has its own. */
static struct text read_alias(const char *table, size_t bytes)
{
    static const char *const words[] = { "SET", "WHERE", "USING", "SELECT", "VALUES", "" };
    const char *at = table + bytes + strspn(table + bytes, " ");
    if (strncmp(at, "AS ", 3) == 0)
        at += 3;
    struct text alias = { at, strcspn(at, " (") };
    for (size_t i = 0; i < LENGTH(words); i++)
        if (text_is(alias, words[i]))
            return (struct text){ table, bytes };
    return alias;
}

/* "INSERT INTO calls (…": the verb, the table, and the name it has in the statement. */
static bool read_statement(const struct statement *statement, struct arena *arena, struct change *ret)
{
    static const struct {
        const char *begin, *verb;
    } verbs[] = { { "INSERT INTO ", "INSERT" }, { "UPDATE ", "UPDATE" }, { "DELETE FROM ", "DELETE" } };
    for (size_t i = 0; i < LENGTH(verbs); i++)
        if (text_starts(text_of(statement->text), verbs[i].begin)) {
            const char *table = statement->text + strlen(verbs[i].begin);
            size_t bytes = strcspn(table, " (");
            *ret = (struct change){ .verb = verbs[i].verb,
                                    .table = arena_copy_text(arena, (struct text){ table, bytes }),
                                    .alias = arena_copy_text(arena, read_alias(table, bytes)) };
            return true;
        }
    return false;
}

static bool add_change(struct dry_run *dry, const struct change *change, const char *row, struct problem *why)
{
    if (dry->change_count == CHANGES_MAX)
        return fail(why, "it changes more than %d rows", CHANGES_MAX);
    dry->changes[dry->change_count] = *change;
    dry->changes[dry->change_count++].row = row;
    return true;
}

static bool execute(struct dry_run *dry, const struct row_effect *effect, struct problem *why)
{
    struct arena *arena = dry->work->arena;
    const struct statement *statement = effect->statement;
    struct params params = { statement->params, effect->values };
    struct change change;
    struct rows rows;
    if (!read_statement(statement, arena, &change))
        return fail(why, "\"%s\" is no plain INSERT, UPDATE or DELETE", statement->name);
    /* of the table alone: a statement may join others */
    const char *text =
        arena_printf(arena, "WITH changed AS (%s RETURNING %s.*) SELECT to_jsonb(changed) AS row FROM changed",
                     statement->text, change.alias);
    if (!query(dry->inside, text, params, arena, &rows, why))
        return false;
    if (statement->must > 0 && rows.count != statement->must)
        return fail(why, "\"%s\" touches %d rows instead of %d: somebody changes the same", statement->name, rows.count,
                    statement->must);
    for (int i = 0; i < rows.count; i++)
        if (!add_change(dry, &change, row_get(&rows, i, "row"), why))
            return false;
    return true;
}

/* --- what is different
 * ----------------------------------------------------------------------------------------------------------- */

/* The columns of the table's primary key, as SQL: "k.tenant = t.tenant AND …", and "'tenant', k.tenant, …"; NULL: it
 * has none. */
static bool find_key(struct dry_run *dry, const char *table, struct rows *ret, struct problem *why)
{
    static const char text[] = "SELECT string_agg(format('t.%1$I = k.%1$I', attname), ' AND ') AS equal,"
                               " string_agg(format('%1$L, k.%1$I', attname), ', ') AS members"
                               " FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)"
                               " WHERE indrelid = $1::regclass AND indisprimary";
    return query(dry->outside, text, PARAMS(table), dry->work->arena, ret, why);
}

static bool compare(struct dry_run *dry, struct change *change, struct problem *why)
{
    struct arena *arena = dry->work->arena;
    struct rows key, rows;
    if (!find_key(dry, change->table, &key, why))
        return false;
    const char *equal = row_get(&key, 0, "equal"), *members = row_get(&key, 0, "members");
    const char *text =
        arena_printf(arena,
                     "WITH k AS (SELECT * FROM jsonb_populate_record(NULL::%s, $1::jsonb)),"
                     " old AS (SELECT to_jsonb(t) AS row FROM %s t JOIN k ON %s)"
                     " SELECT jsonb_build_object(%s) AS key, old.row IS NOT NULL AS existed,"
                     " (SELECT coalesce(jsonb_object_agg(name, jsonb_build_array(old.row -> name, $1::jsonb -> name)"
                     "  ORDER BY name), '{}') FROM jsonb_object_keys($1::jsonb) AS name WHERE name NOT IN (" BOOKKEEPING ")"
                     "  AND coalesce(old.row -> name, 'null') <> coalesce($1::jsonb -> name, 'null')) AS fields"
                     " FROM k LEFT JOIN old ON true",
                     change->table, change->table, equal ? equal : "false", members ? members : "");
    if (!query(dry->outside, text, PARAMS(change->row), arena, &rows, why))
        return false;
    change->key = row_get(&rows, 0, "key");
    change->fields = row_get(&rows, 0, "fields");
    change->existed = *row_get(&rows, 0, "existed") == 't';
    return true;
}

/* A row that is changed twice is told as it is in the end. */
static bool is_last(const struct dry_run *dry, const struct change *change)
{
    for (const struct change *later = change + 1; later < dry->changes + dry->change_count; later++)
        if (strcmp(later->table, change->table) == 0 && strcmp(later->key, change->key) == 0 &&
            strcmp(change->key, "{}") != 0)
            return false;
    return true;
}

static bool find_changes(struct dry_run *dry, struct problem *why)
{
    for (const struct row_effect *effect = dry->work->rows; effect; effect = effect->next)
        if (!execute(dry, effect, why))
            return false;
    for (int i = 0; i < dry->change_count; i++)
        if (!compare(dry, &dry->changes[i], why))
            return false;
    return true;
}

/* --- the answer
 * --------------------------------------------------------------------------------------------------------------------
 */

static void write_string(struct buf *out, const char *name, const char *value)
{
    json_name(out, name);
    json_write_string(out, value);
}

static void write_change(struct buf *out, const struct change *change)
{
    bool deletes = strcmp(change->verb, "DELETE") == 0;
    bool same = change->existed && strcmp(change->fields, "{}") == 0;
    json_separate(out);
    buf_add_char(out, '{');
    write_string(out, "table", change->table);
    write_string(out, "change",
                 deletes                                   ? "delete"
                 : same                                    ? "none"
                 : change->existed || *change->verb == 'U' ? "update"
                                                           : "insert");
    json_name(out, "key");
    buf_add_string(out, change->key);
    json_name(out, "fields");
    buf_add_string(out, deletes ? "{}" : change->fields);
    buf_add_char(out, '}');
}

static void write_event(struct buf *out, const struct event_effect *effect, struct arena *arena)
{
    struct event event;
    struct problem why;
    if (!event_read(effect->payload, arena, &event, &why))
        return; /* it was written by event_write() */
    json_separate(out);
    buf_add_char(out, '{');
    write_string(out, "type", event.type);
    write_string(out, "subject", event.subject);
    json_name(out, "data");
    buf_add_text(out, event.data);
    buf_add_char(out, '}');
}

static void write_asks(struct buf *out, const struct dry_run *dry)
{
    json_name(out, "asks");
    buf_add_char(out, '[');
    for (int i = 0; i < dry->ask_count; i++) {
        json_separate(out);
        buf_add_char(out, '{');
        write_string(out, "name", dry->asks[i].name);
        write_string(out, "provider", dry->asks[i].provider);
        if (dry->asks[i].purpose)
            write_string(out, "purpose", dry->asks[i].purpose);
        json_name(out, "asked");
        json_write_bool(out, dry->asks[i].asked);
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
}

static void write_answer(struct buf *out, const struct dry_run *dry, const char *outcome, const char *why)
{
    const struct work *work = dry->work;
    bool done = strcmp(outcome, "done") == 0;
    buf_add_char(out, '{');
    write_string(out, "event_id", work->event.id);
    write_string(out, "type", work->event.type);
    write_string(out, "subject", work->event.subject);
    json_name(out, "run");
    json_write_integer(out, work->event.run);
    write_string(out, "outcome", outcome);
    write_string(out, "why", done ? NULL : why);
    json_name(out, "changes");
    buf_add_char(out, '[');
    for (int i = 0; done && i < dry->change_count; i++)
        if (is_last(dry, &dry->changes[i]))
            write_change(out, &dry->changes[i]);
    buf_add_char(out, ']');
    json_name(out, "events");
    buf_add_char(out, '[');
    for (const struct event_effect *effect = done ? work->events : NULL; effect; effect = effect->next)
        write_event(out, effect, work->arena);
    buf_add_char(out, ']');
    write_asks(out, dry);
    buf_add_char(out, '}');
}

/* --- one event, and all
 * ------------------------------------------------------------------------------------------------------------ */

static const struct route *route_for(const char *type)
{
    const struct route *route = runtime.stage->routes;
    while (route->type && strcmp(route->type->name, type) != 0)
        route++;
    return route->type ? route : NULL;
}

/* Between BEGIN and ROLLBACK. */
static const char *handle(struct dry_run *dry, struct problem *why)
{
    struct work *work = dry->work;
    const struct route *route = route_for(work->event.type);
    if (!route) {
        fail(why, "the stage does not handle this type");
        return "skipped";
    }
    enum outcome outcome = route->handle(work, &work->event);
    *why = work->why;
    if (outcome == RETRY)
        return dry->no_answer ? "asks" : "retry";
    if (outcome == REJECT || work->broken)
        return "rejected";
    if (work->skipped)
        return "skipped";
    return find_changes(dry, why) ? "done" : "failed";
}

/* False when Postgres is away. */
static bool try_event(struct dry_run *dry, struct text line, struct buf *out, struct problem *why)
{
    const struct work_probe probe = { .query = answer_query, .ask = answer_ask, .context = dry };
    struct work work = { .try = &probe,
                         .try_stage = runtime.stage,
                         .attempts = 1,
                         .message = line,
                         .keep = arena_new(STAGE_ARENA_BYTES_MAX),
                         .arena = arena_new(STAGE_ARENA_BYTES_MAX * 2) };
    struct problem reason = { .text = "" };
    dry->work = &work;
    dry->change_count = dry->ask_count = 0;
    dry->no_answer = false;
    bool done = true;
    if (!event_read(line, work.keep, &work.event, &reason)) {
        work.event = (struct event){ 0 };
        write_answer(out, dry, "rejected", reason.text);
    } else {
        work.message_key = text_of(work.event.subject);
        work_begin_run(&work);
        done = begin(dry->inside, why) && begin(dry->outside, why);
        const char *outcome = done ? handle(dry, &reason) : NULL;
        done = done && command(dry->inside, "ROLLBACK", why) && command(dry->outside, "ROLLBACK", why);
        if (done)
            write_answer(out, dry, outcome, reason.text);
    }
    arena_free(work.keep);
    arena_free(work.arena);
    return done;
}

/* False at the end, or when it is too long. */
static bool read_line(FILE *from, struct buf *line, struct problem *why)
{
    int c;
    buf_clear(line);
    while ((c = getc_unlocked(from)) != EOF && c != '\n')
        buf_add_char(line, (char)c);
    if (line->overflowed)
        return fail(why, "an event is larger than %d bytes", LINE_BYTES_MAX);
    return c != EOF || line->bytes > 0;
}

int dry_run(void *context)
{
    (void)context;
    static struct dry_run dry;
    struct problem why = { .text = "" };
    struct buf line, out;
    buf_init(&line, LINE_BYTES_MAX);
    buf_init(&out, OUT_BYTES_MAX);
    dry.inside = connect_dry(&why);
    dry.outside = dry.inside ? connect_dry(&why) : NULL;
    bool good = dry.outside != NULL;
    while (good && read_line(stdin, &line, &why)) {
        buf_clear(&out);
        good = try_event(&dry, buf_text(&line), &out, &why);
        if (good && (puts(buf_text(&out).at) < 0 || fflush(stdout) != 0))
            good = fail(&why, "could not write: %s", strerror(errno));
    }
    if (why.text[0] != '\0')
        fprintf(stderr, "%s: %s\n", runtime.stage->name, why.text);
    PQfinish(dry.inside);
    PQfinish(dry.outside);
    buf_done(&line);
    buf_done(&out);
    return why.text[0] == '\0' ? 0 : 1;
}
