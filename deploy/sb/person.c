#include "deploy/sb/person.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/crypto.h"
#include "common/daemon.h"
#include "common/json.h"
#include "common/phone.h"
#include "deploy/sb/command.h"
#include "topics.h"

#define AT(field) offsetof(struct person, field)
static const struct setting settings_table[] = {
    RECORDINGS_SETTINGS(AT(recordings)),
    { 0 },
};

/* The sets, as temporary tables of the session, which outlive the blanking of what they were found by.
 * $1: the value; $2: "phone", "e-mail" or "id". */
static const char make_sets[] =
    "CREATE TEMPORARY TABLE person_contacts (tenant text, contact_id uuid);"
    "CREATE TEMPORARY TABLE person_calls (tenant text, call_id text);"
    "CREATE TEMPORARY TABLE person_visits (tenant text, appointment_id uuid, session_id uuid);"
    "CREATE TEMPORARY TABLE person_users (tenant text, email text, user_id text);"
    "CREATE TEMPORARY TABLE person_clients (tenant text, client_id uuid);"
    "CREATE TEMPORARY TABLE person_meetings (tenant text, meeting_id uuid);"
    "CREATE TEMPORARY TABLE person_addresses (address text);"
    "CREATE TEMPORARY TABLE person_subjects (subject text)";
static const char find_users[] =
    "INSERT INTO person_users SELECT tenant, email, user_id FROM users"
    " WHERE $2 = 'phone' AND (phone = $1 OR answers = $1"
    "  OR (tenant, email) IN (SELECT tenant, email FROM user_phones WHERE phone = $1))"
    " OR $2 = 'e-mail' AND email = $1 OR $2 = 'id' AND user_id = $1";
static const char find_clients[] =
    "INSERT INTO person_clients SELECT tenant, client_id FROM clients"
    " WHERE $2 = 'phone' AND phone = $1 OR $2 = 'e-mail' AND email = $1"
    " OR $2 = 'id' AND (client_id::text = lower($1) OR hubspot_contact_id = $1)";
/* Those of a salesperson, also of one who never registered, and those with a client. */
static const char find_meetings[] =
    "INSERT INTO person_meetings SELECT tenant, meeting_id FROM meetings"
    " WHERE (tenant, salesperson_email) IN (SELECT tenant, email FROM person_users)"
    " OR $2 = 'e-mail' AND salesperson_email = $1 OR $2 = 'phone' AND salesperson_phone = $1"
    " OR (tenant, meeting_id) IN (SELECT tenant, meeting_id FROM meeting_clients"
    "                             JOIN person_clients USING (tenant, client_id))";
static const char find_contacts[] =
    "INSERT INTO person_contacts SELECT tenant, contact_id FROM contact_cards"
    " WHERE $2 = 'phone' AND phone = $1 OR $2 = 'id' AND (contact_id::text = lower($1)"
    " OR (tenant, contact_id) IN (SELECT tenant, contact_id FROM leads WHERE lead_id::text = lower($1)"
    "                             UNION SELECT tenant, contact_id FROM calls WHERE call_id = $1))";
static const char find_calls[] =
    "INSERT INTO person_calls SELECT tenant, call_id FROM calls"
    " WHERE (tenant, contact_id) IN (SELECT tenant, contact_id FROM person_contacts)"
    " OR $2 = 'phone' AND customer_number = $1 OR $2 = 'id' AND call_id = $1";
/* What was agreed in their calls or with them otherwise; `session_id` NULL: nobody recorded it. */
static const char find_visits[] =
    "INSERT INTO person_visits SELECT a.tenant, a.appointment_id, s.session_id FROM appointments a"
    " LEFT JOIN recording_sessions s USING (tenant, appointment_id)"
    " WHERE (a.tenant, a.call_id) IN (SELECT tenant, call_id FROM person_calls)"
    " OR (a.tenant, a.lead_id) IN (SELECT tenant, lead_id FROM leads JOIN person_contacts USING (tenant, contact_id))";
/* A message's recipient is kept as a number; its reports are keyed by Twilio's form of it. */
static const char find_addresses[] =
    "WITH known AS ("
    " SELECT phone AS address FROM contact_cards JOIN person_contacts USING (tenant, contact_id)"
    " WHERE phone IS NOT NULL"
    " UNION SELECT unnest(ARRAY[u.email, u.phone, u.answers]) FROM users u JOIN person_users USING (tenant, email)"
    " UNION SELECT phone FROM user_phones JOIN person_users USING (tenant, email)"
    " UNION SELECT unnest(ARRAY[email, phone]) FROM clients JOIN person_clients USING (tenant, client_id)"
    " UNION SELECT $1 WHERE $2 <> 'id')"
    " INSERT INTO person_addresses SELECT prefix || address FROM known, unnest(ARRAY['', 'whatsapp:']) AS prefix"
    " WHERE address IS NOT NULL";
static const char find_subjects[] =
    "INSERT INTO person_subjects SELECT call_id FROM person_calls UNION SELECT address FROM person_addresses"
    " UNION SELECT session_id::text FROM person_visits WHERE session_id IS NOT NULL"
    " UNION SELECT appointment_id::text FROM person_visits UNION SELECT meeting_id::text FROM person_meetings"
    " UNION SELECT lead_id::text FROM leads JOIN person_contacts USING (tenant, contact_id)";
/* An address that only appears in messages or in the ledger is known too. */
static const char count_known[] =
    "SELECT (SELECT count(*) FROM person_contacts) + (SELECT count(*) FROM person_calls)"
    " + (SELECT count(*) FROM person_users) + (SELECT count(*) FROM person_clients)"
    " + (SELECT count(*) FROM person_meetings)"
    " + (SELECT count(*) FROM asks WHERE recipient IN (SELECT address FROM person_addresses))"
    " + (SELECT count(*) FROM ledger WHERE subject IN (SELECT address FROM person_addresses)"
    "    OR correlation_id IN (SELECT address FROM person_addresses))";

/* --- statements ---------------------------------------------------------------------------------------------- */

PGresult *person_query(struct person *person, const char *text, struct params params, struct problem *why)
{
    PGresult *result = PQexecParams(person->connection, text, params.count, NULL, params.values, NULL, NULL, 0);
    ExecStatusType status = PQresultStatus(result);

    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK)
        return result;
    const char *reason = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    fail(why, "Postgres could not: %s", reason ? reason : PQerrorMessage(person->connection));
    PQclear(result);
    return NULL;
}

bool person_run(struct person *person, const char *text, struct problem *why)
{
    PGresult *result = PQexec(person->connection, text); /* several statements may stand in it */
    bool done = PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK;

    if (!done)
        fail(why, "Postgres could not: %s", PQresultErrorMessage(result));
    PQclear(result);
    return done;
}

int64_t person_count(struct person *person, const char *text, struct problem *why)
{
    PGresult *result = person_query(person, text, PARAMS(), why);
    int64_t count = result && PQntuples(result) > 0 ? strtoll(PQgetvalue(result, 0, 0), NULL, 10) : -1;

    PQclear(result);
    return count;
}

/* --- who it is ----------------------------------------------------------------------------------------------- */

static bool name_read(struct person *person, const char *given, struct problem *why)
{
    char phone[PHONE_BYTES];
    bool digits = strspn(given, "+0123456789 ()-./") == strlen(given);

    if (*given == '\0' || strlen(given) > PERSON_NAME_BYTES_MAX || !text_is_utf8(text_of(given)))
        return fail(why, "a person is named by a phone number, an e-mail address or an id");
    person->given = given;
    if (strchr(given, '@')) {
        char *lower = arena_copy(person->arena, given);
        for (char *c = lower; *c; c++)
            *c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
        person->kind = "e-mail";
        person->value = lower;
    } else if (digits && phone_e164(given, person->settings.default_region, phone)) {
        person->kind = "phone";
        person->value = arena_copy(person->arena, phone);
    } else {
        person->kind = "id";
        person->value = given;
    }
    return true;
}

bool person_begin(struct person *person, struct problem *why)
{
    char time_outs[128];

    snprintf(time_outs, sizeof(time_outs),
             "SET LOCAL statement_timeout = %d; SET LOCAL idle_in_transaction_session_timeout = %d", PERSON_STATEMENT_MS,
             PERSON_STATEMENT_MS);
    return pg_begin(person->connection, NULL, why) && person_run(person, time_outs, why);
}

static bool find_person(struct person *person, struct problem *why)
{
    static const char *const finders[] = { find_users, find_contacts, find_calls, find_clients, find_meetings };

    if (!person_begin(person, why) || !person_run(person, make_sets, why))
        return false;
    for (size_t i = 0; i < LENGTH(finders); i++) {
        PGresult *result = person_query(person, finders[i], PARAMS(person->value, person->kind), why);
        PQclear(result);
        if (result == NULL)
            return false;
    }
    PGresult *result = person_query(person, find_addresses, PARAMS(person->value, person->kind), why);
    PQclear(result);
    return result && person_run(person, find_visits, why) && person_run(person, find_subjects, why) &&
           person_run(person, "ANALYZE person_subjects; ANALYZE person_addresses; ANALYZE person_calls", why);
}

/* The sets are a session's, and two transactions look into them. A pooler gives a process number that is no server's. */
static bool is_direct(struct person *person, struct problem *why)
{
    int64_t server = person_count(person, "SELECT pg_backend_pid()", why);

    return server >= 0 && (server == PQbackendPID(person->connection) ||
                           fail(why, "a pooler stands before Postgres, and this needs a session of its own: give it a "
                                     "DATABASE_URL that leads to Postgres itself"));
}

static bool person_connect(struct person *person, struct problem *why)
{
    struct pg_pool_settings settings = { .url = person->settings.database_url, .application_name = "sb" };

    person->connection = pg_connect(&settings, why);
    return person->connection && is_direct(person, why);
}

int person_open(struct person *person, const char *given, char **argv)
{
    static const struct http_client_settings client_settings = {
        .connections_max = 2, .connections_per_host_max = 2, .user_agent = "switchboard-sb/" SWITCHBOARD_VERSION
    };
    struct problem why;

    place_find(&person->place);
    if (!place_settings_read(&person->place, &person->settings, &why) ||
        !settings_read(settings_table, person, &why) || !recordings_ready(&person->recordings, &why))
        return command_fail(argv, EXIT_WRONG, "%s", why.text);
    if (person->settings.database_url == NULL)
        return command_fail(argv, EXIT_WRONG, "DATABASE_URL is not set, and nothing was started here");
    person->arena = arena_new(PERSON_ARENA_BYTES_MAX);
    if (!name_read(person, given, &why))
        return command_fail(argv, EXIT_WRONG, "%s", why.text);
    person->http = http_client_start(&client_settings, &why);
    if (!person->http || !person_connect(person, &why) || !find_person(person, &why))
        return command_fail(argv, EXIT_FAILED, "%s", why.text);
    int64_t known = person_count(person, count_known, &why);
    if (known < 0)
        return command_fail(argv, EXIT_FAILED, "%s", why.text);
    if (known == 0)
        return command_fail(argv, EXIT_FAILED, "nobody is known here by the %s \"%s\"", person->kind, person->value);
    return -1;
}

void person_close(struct person *person)
{
    PQfinish(person->connection);
    http_client_stop(person->http);
    arena_free(person->arena);
}

/* --- recordings ---------------------------------------------------------------------------------------------- */

/* Below the folder, and nowhere else: the table is data. */
static bool path_is_inside(const char *path)
{
    return *path != '/' && *path != '\0' && strstr(path, "..") == NULL;
}

static void add_path(struct person *person, struct person_files *files, const char *path)
{
    for (size_t i = 0; i < files->count; i++)
        if (strcmp(files->paths[i], path) == 0)
            return;
    if (files->count < PERSON_RECORDINGS_MAX && path_is_inside(path))
        files->paths[files->count++] = arena_copy(person->arena, path);
}

static void add_files(struct person *person, struct person_files *files, const char *name)
{
    char pattern[PATH_MAX];
    glob_t found;

    path_print(pattern, "%s/*/%s.*", person->recordings.dir, name);
    if (glob(pattern, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++)
            add_path(person, files, found.gl_pathv[i] + strlen(person->recordings.dir) + 1);
    globfree(&found);
}

/* Copied while it was its company's, or nobody's yet. */
static bool add_objects(struct person *person, struct person_files *files, const char *tenant, const char *name,
                        struct problem *why)
{
    const char *const tenants[] = { tenant, "unassigned" };

    for (size_t i = 0; i < LENGTH(tenants); i++)
        for (const char *const *format = recording_formats; *format; format++) {
            const char *path = arena_printf(person->arena, "%s/%s.%s", tenants[i], name, *format);
            enum recordings_result result =
                recordings_look(&person->recordings, person->http, person->arena, path, why);
            if (result == RECORDINGS_DONE)
                add_path(person, files, path);
            else if (result != RECORDINGS_ABSENT)
                return false;
        }
    return true;
}

/* A copy is named by its call or visit (common/recordings.h), also one whose event was never finished. */
static bool add_copies(struct person *person, struct person_files *files, const char *tenant, const char *id,
                       struct problem *why)
{
    uint8_t hash[SHA256_BYTES];
    char name[2 * SHA256_BYTES + 1];

    sha256(text_of(id), hash);
    hex_print(hash, sizeof(hash), name);
    if (person->recordings.bucket)
        return add_objects(person, files, tenant, name, why);
    add_files(person, files, name);
    return true;
}

static const char recorded_paths[] =
    "SELECT path FROM recordings JOIN person_calls USING (tenant, call_id) WHERE removed_at IS NULL"
    " UNION SELECT path FROM session_recordings JOIN person_visits USING (tenant, session_id)"
    " WHERE removed_at IS NULL";
static const char recorded_ids[] =
    "SELECT tenant, call_id FROM person_calls"
    " UNION SELECT tenant, session_id::text FROM person_visits WHERE session_id IS NOT NULL";

bool person_recordings(struct person *person, struct person_files *ret, struct problem *why)
{
    ret->count = 0;
    ret->paths = arena_alloc(person->arena, PERSON_RECORDINGS_MAX * sizeof(*ret->paths));
    PGresult *rows = person_query(person, recorded_paths, PARAMS(), why);
    PGresult *ids = rows ? person_query(person, recorded_ids, PARAMS(), why) : NULL;
    for (int row = 0; ids && row < PQntuples(rows); row++)
        add_path(person, ret, PQgetvalue(rows, row, 0));
    bool good = ids != NULL;
    for (int row = 0; good && row < PQntuples(ids); row++)
        good = add_copies(person, ret, PQgetvalue(ids, row, 0), PQgetvalue(ids, row, 1), why);
    PQclear(rows);
    PQclear(ids);
    return good;
}

/* --- topics -------------------------------------------------------------------------------------------------- */

/* The last event of theirs in each topic that a stage reads; what nobody reads is told by what led to it. */
static const char last_events[] =
    "WITH theirs AS (SELECT * FROM ledger WHERE subject IN (SELECT subject FROM person_subjects)"
    " OR correlation_id IN (SELECT subject FROM person_subjects)), of_topics AS ("
    " SELECT topic, max(received_at) AS last FROM theirs GROUP BY topic"
    " UNION ALL SELECT 'dead.' || stage, max(committed_at) FROM theirs WHERE outcome = 'rejected' GROUP BY stage"
    " UNION ALL SELECT 'deliveries', max(updated_at) FROM asks WHERE kind = 'once' AND"
    " (correlation_id IN (SELECT subject FROM person_subjects) OR recipient IN (SELECT address FROM person_addresses)))"
    " SELECT topic, (extract(epoch FROM max(last)) * 1000000)::bigint FROM of_topics WHERE last IS NOT NULL"
    " GROUP BY topic ORDER BY topic";

bool person_topics_find(struct person *person, struct person_topics *ret, struct problem *why)
{
    PGresult *rows = person_query(person, last_events, PARAMS(), why);

    ret->count = 0;
    for (int row = 0; rows && row < PQntuples(rows) && ret->count < LENGTH(ret->topics); row++) {
        const struct topic *topic = topic_find(PQgetvalue(rows, row, 0));
        int64_t until_us = topic ? strtoll(PQgetvalue(rows, row, 1), NULL, 10) + topic->retention_ms * 1000 : 0;
        if (until_us > now_us())
            ret->topics[ret->count++] = (struct person_topic){ topic->name, until_us };
    }
    PQclear(rows);
    return rows != NULL;
}

void person_topics_write(const struct person_topics *found, struct buf *out)
{
    char time[TIME_BYTES];

    buf_add_char(out, '[');
    for (size_t i = 0; i < found->count; i++) {
        json_separate(out);
        buf_add_char(out, '{');
        json_name(out, "topic");
        json_write_string(out, found->topics[i].name);
        json_name(out, "until");
        json_write_string(out, time_print(found->topics[i].until_us, time));
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
}
