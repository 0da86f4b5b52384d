/* coach_meetings.c: the recorder's part of meetings: what is said of one → clients, meetings, meeting_clients and
 * meeting.changed.
 *
 * All that is compared with what is known is compared by the database, in the statement that finds the meeting; what is
 * written holds only as long as the meeting is still as it was found. */
#include "ingest/coach.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/email.h"
#include "common/phone.h"
#include "common/time_zone.h"
#include "ingest/outlook_hooks.h"

#define RFC3339(time) "to_char(" time " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
/* $time as text, and the zone it is of when it names no offset */
#define MOMENT(time, zone)                                                                                             \
    "CASE WHEN " time " ~ '[+-]\\d\\d:?\\d\\d$|[Zz]$' THEN " time "::timestamptz"                                      \
    " ELSE " time "::timestamp AT TIME ZONE coalesce(" zone ", c.time_zone) END"

/* Whose meeting it is: the company named, else the organizer's (of several, where the person wrote from last), else the
 * default.  $1 the company, $2 the organizer, $3 the default, $4 and $5 the start, $6 and $7 the end. */
static const struct statement find_organizer = {
    .name = "find_organizer",
    .text = "SELECT c.tenant, c.default_region, u.phone, " RFC3339(MOMENT("$4::text", "$5::text")) " AS start_time,"
            " " RFC3339(MOMENT("$6::text", "$7::text")) " AS end_time"
            " FROM companies c LEFT JOIN users u ON u.tenant = c.tenant AND u.email = $2"
            " WHERE c.tenant <> 'unassigned' AND c.tenant = coalesce($1::text,"
            " (SELECT o.tenant FROM users o LEFT JOIN user_phones p ON p.tenant = o.tenant AND p.email = o.email"
            "  WHERE o.email = $2"
            "  ORDER BY p.last_received_at DESC NULLS LAST, o.registered_at DESC NULLS LAST, o.tenant LIMIT 1),"
            " $3::text)",
    .params = 7,
};
static const struct statement find_colleagues = {
    .name = "find_colleagues",
    .text = "SELECT email FROM users WHERE tenant = $1 AND email = ANY ($2::text[])",
    .params = 2,
};
/* By the calendar's id; else by organizer, client and start; else one that was moved.  What was cancelled is found
 * last, and what was completed was not moved.  $1 the company, $2 the calendar's id, $3 the organizer, $4 the client,
 * $5 the start, $6 the end, $7 the title, $8 the description, $9 when it was heard, $10 the clients, $11 the hours of a
 * move. */
static const struct statement find_meeting = {
    .name = "find_meeting",
    .text = "SELECT m.meeting_id, m.salesperson_email, m.status, m.revision, m.plan_version, m.client_id,"
            " m.outlook_event_id IS NULL AND $2::text IS NOT NULL AS without_id,"
            " " RFC3339("m.start_time") " AS start_time,"
            " m.source_time > $9::timestamptz AS told_since,"
            " m.salesperson_email = $3 AS same_organizer, m.client_id = $4::uuid AS same_client,"
            " m.start_time = $5::timestamptz AS same_start, m.end_time = $6::timestamptz AS same_end,"
            " m.title = $7 AS same_spelling, meeting_title(m.title) = meeting_title($7) AS same_title,"
            " m.description = $8 AS same_description, $6::timestamptz <= $9::timestamptz AS over,"
            " (SELECT array_agg(mc.client_id ORDER BY mc.number) FROM meeting_clients mc"
            "  WHERE mc.tenant = m.tenant AND mc.meeting_id = m.meeting_id) = $10::uuid[] AS same_clients"
            " FROM meetings m WHERE m.tenant = $1 AND (m.outlook_event_id = $2"
            "  OR m.salesperson_email = $3 AND m.client_id = $4::uuid"
            "  AND ($2::text IS NULL OR m.outlook_event_id IS NULL) AND (m.start_time = $5::timestamptz"
            "   OR m.status <> 'completed' AND meeting_title(m.title) = meeting_title($7)"
            "   AND abs(extract(epoch FROM m.start_time - $5::timestamptz)) <= $11::integer * 3600))"
            " ORDER BY m.outlook_event_id = $2 DESC NULLS LAST, m.status = 'cancelled',"
            " abs(extract(epoch FROM m.start_time - $5::timestamptz)), m.created_at LIMIT 1",
    .params = 11,
};
static const struct statement write_client = {
    .name = "write_client",
    .text = "INSERT INTO clients AS c (tenant, client_id, email, name, company, phone, hubspot_contact_id)"
            " VALUES ($1, $2::uuid, $3, $4, $5, $6, $7)"
            " ON CONFLICT (tenant, client_id) DO UPDATE SET name = coalesce(EXCLUDED.name, c.name),"
            " company = coalesce(EXCLUDED.company, c.company), phone = coalesce(EXCLUDED.phone, c.phone),"
            " hubspot_contact_id = coalesce(EXCLUDED.hubspot_contact_id, c.hubspot_contact_id), updated_at = now()"
            " WHERE (coalesce(EXCLUDED.name, c.name), coalesce(EXCLUDED.company, c.company),"
            " coalesce(EXCLUDED.phone, c.phone), coalesce(EXCLUDED.hubspot_contact_id, c.hubspot_contact_id))"
            " IS DISTINCT FROM (c.name, c.company, c.phone, c.hubspot_contact_id)",
    .params = 7,
};
/* What is due next of a meeting that starts at `start`: its plan once more when it was planned long ahead, else the
 * reminder; its numbers are coach.h's. */
#define DUE_NEXT(start, end, planned)                                                                                  \
    "CASE WHEN " start " - interval '15 minutes' > " planned " + interval '24 hours'"                                  \
    " THEN " start " - interval '15 minutes' ELSE " end " + interval '1 minute' END"
_Static_assert(MEETING_PLAN_AGAIN_MINUTES == 15 && MEETING_PLAN_AGAIN_AHEAD_HOURS == 24 &&
               MEETING_REMINDER_MINUTES == 1, "DUE_NEXT says so too");
/* Nothing is due of one that was over when it was first heard of. */
static const struct statement insert_meeting = {
    .name = "insert_meeting",
    .text = "INSERT INTO meetings (tenant, meeting_id, outlook_event_id, salesperson_email, salesperson_phone,"
            " client_id, title, description, start_time, end_time, planned_at, source_time, next_check_at)"
            " VALUES ($1, $2::uuid, $3, $4, $5, $6::uuid, $7, $8, $9::timestamptz, $10::timestamptz, $11::timestamptz,"
            " $11::timestamptz, CASE WHEN $10::timestamptz > $11::timestamptz THEN "
            DUE_NEXT("$9::timestamptz", "$10::timestamptz", "$11::timestamptz") " END)",
    .params = 11,
    .must = 1,
};
/* $1, $2 which; $3 to $6 how it was found: status, revision, plan_version, when this was heard; then how it is.  A
 * start that stays keeps the plan that is due before it. */
static const struct statement update_meeting = {
    .name = "update_meeting",
    .text = "UPDATE meetings SET outlook_event_id = coalesce(outlook_event_id, $7), salesperson_email = $8,"
            " salesperson_phone = coalesce($9, salesperson_phone), client_id = $10::uuid, title = $11,"
            " description = $12,"
            " start_time = $13::timestamptz, end_time = $14::timestamptz, plan_version = $15::integer,"
            " revision = $16::integer, status = CASE WHEN revision < $16::integer THEN 'scheduled' ELSE status END,"
            " planned_at = CASE WHEN start_time = $13::timestamptz AND status <> 'cancelled' THEN planned_at"
            "  ELSE $6::timestamptz END,"
            " next_check_at = CASE WHEN revision = $16::integer THEN next_check_at"
            "  WHEN start_time = $13::timestamptz AND next_check_at < start_time THEN next_check_at"
            "  WHEN start_time = $13::timestamptz AND status <> 'cancelled'"
            "   THEN $14::timestamptz + interval '1 minute'"
            "  ELSE " DUE_NEXT("$13::timestamptz", "$14::timestamptz", "$6::timestamptz") " END,"
            " source_time = $6::timestamptz, updated_at = now()"
            " WHERE tenant = $1 AND meeting_id = $2::uuid AND status = $3 AND revision = $4::integer"
            " AND plan_version = $5::integer AND source_time <= $6::timestamptz",
    .params = 16,
    .must = 1,
};
/* It is as it was: what was said before this is old from now on. */
static const struct statement touch_meeting = {
    .name = "touch_meeting",
    .text = "UPDATE meetings SET source_time = greatest(source_time, $3::timestamptz)"
            " WHERE tenant = $1 AND meeting_id = $2::uuid",
    .params = 3,
};
static const struct statement cancel_meeting = {
    .name = "cancel_meeting",
    .text = "UPDATE meetings SET status = 'cancelled', next_check_at = NULL, source_time = $3::timestamptz,"
            " updated_at = now()"
            " WHERE tenant = $1 AND meeting_id = $2::uuid AND status = $4 AND revision = $5::integer"
            " AND source_time <= $3::timestamptz",
    .params = 5,
    .must = 1,
};
static const struct statement forget_meeting_clients = {
    .name = "forget_meeting_clients",
    .text = "DELETE FROM meeting_clients WHERE tenant = $1 AND meeting_id = $2::uuid",
    .params = 2,
};
static const struct statement insert_meeting_client = {
    .name = "insert_meeting_client",
    .text = "INSERT INTO meeting_clients (tenant, meeting_id, client_id, number)"
            " VALUES ($1, $2::uuid, $3::uuid, $4::integer)",
    .params = 4,
    .must = 1,
};
_Static_assert(2 * MEETING_CLIENTS_MAX + 8 <= STAGE_EFFECTS_MAX, "each client is two effects");

/* What the news says, with everything looked up. */
struct meeting {
    const struct meeting_news *news;
    const char *tenant, *region, *phone;    /* of the organizer; `phone` NULL: nobody knows them */
    const char *organizer;                  /* in lower case; NULL: only the calendar's id is known */
    const char *start, *end;                /* RFC 3339 UTC; NULL: not known */
    const char *title, *description;
    struct meeting_client clients[MEETING_CLIENTS_MAX];     /* the first leads; `email` is NULL or in lower case */
    const char *client_ids[MEETING_CLIENTS_MAX];
    int client_count;
};

/* --- who comes --------------------------------------------------------------------------------------------------- */

/* In lower case, in the arena; NULL: it is no address. */
static const char *email_of(struct work *work, const char *text)
{
    char email[EMAIL_BYTES];
    return email_read(text, email) ? arena_copy(work_arena(work), email) : NULL;
}

static bool same(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

/* Known by the address, else by organizer, name and company. */
static const char *client_id(struct work *work, const struct meeting *meeting, const struct meeting_client *client)
{
    char *id = arena_alloc(work_arena(work), UUID_BYTES);
    if (client->email)
        return uuid_of(id, "client", meeting->tenant, client->email, NULL);
    return uuid_of(id, "client", meeting->tenant, "of", meeting->organizer, client->name ? client->name : "",
                   client->company ? client->company : "", NULL);
}

static void add_client(struct work *work, struct meeting *meeting, const struct meeting_client *client)
{
    const char *id = client_id(work, meeting, client);
    for (int i = 0; i < meeting->client_count; i++)
        if (strcmp(meeting->client_ids[i], id) == 0)
            return;
    if (meeting->client_count == MEETING_CLIENTS_MAX)
        return;
    meeting->clients[meeting->client_count] = *client;
    meeting->client_ids[meeting->client_count++] = id;
}

/* The one that the news names. */
static void add_named_client(struct work *work, struct meeting *meeting)
{
    struct meeting_client client = *meeting->news->client;
    char number[PHONE_BYTES];
    client.email = email_of(work, client.email);
    client.phone = phone_typed(client.phone, meeting->region, number) ? arena_copy(work_arena(work), number) : NULL;
    if (client.email || client.name || client.company)
        add_client(work, meeting, &client);
}

static bool is_colleague(const struct rows *colleagues, const char *email)
{
    for (int i = 0; i < colleagues->count; i++)
        if (same(row_get(colleagues, i, "email"), email))
            return true;
    return false;
}

static bool is_of_own_house(const struct meeting *meeting, const char *email)
{
    return email && meeting->organizer && strcmp(strchr(email, '@'), strchr(meeting->organizer, '@')) == 0;
}

/* The attendees who can be clients: those from outside, or those of the organizer's own domain. */
static void add_attendees(struct work *work, struct meeting *meeting, const char *const *emails,
                          const struct rows *colleagues, bool own_house)
{
    const struct ingest *ingest = work_context(work);
    for (size_t i = 0; i < meeting->news->attendee_count && i < MEETING_ATTENDEES_MAX; i++) {
        const struct meeting_person *person = &meeting->news->attendees[i];
        const char *email = emails[i];
        bool is_ours = email && (same(email, meeting->organizer) || is_colleague(colleagues, email) ||
                                 (ingest->coach_mailbox && strcasecmp(email, ingest->coach_mailbox) == 0));
        if (person->is_resource || is_ours || (!email && !person->name) || is_of_own_house(meeting, email) != own_house)
            continue;
        /* calendars write the address in the place of a name they do not know */
        bool named = person->name && !(person->email && strcasecmp(person->name, person->email) == 0);
        add_client(work, meeting, &(struct meeting_client){ .email = email, .name = named ? person->name : NULL });
    }
}

static enum outcome find_clients(struct work *work, struct meeting *meeting)
{
    const struct meeting_news *news = meeting->news;
    const char **emails = arena_alloc(work_arena(work), (news->attendee_count + 1) * sizeof(*emails));
    struct rows colleagues;
    struct buf list;

    if (!meeting->organizer)
        return DONE;
    if (news->client)
        add_named_client(work, meeting);
    if (news->attendee_count == 0)
        return DONE;
    buf_init(&list, MEETING_ATTENDEES_MAX * (2 * EMAIL_BYTES + 3) + 3);
    pg_array_begin(&list);
    for (size_t i = 0; i < news->attendee_count && i < MEETING_ATTENDEES_MAX; i++)
        if ((emails[i] = email_of(work, news->attendees[i].email)))
            pg_array_add(&list, emails[i]);
    pg_array_end(&list);
    enum outcome outcome = work_query(work, &find_colleagues, &colleagues, meeting->tenant, list.at);
    buf_done(&list);
    TRY(outcome);
    add_attendees(work, meeting, emails, &colleagues, false);
    add_attendees(work, meeting, emails, &colleagues, true);
    return DONE;
}

/* --- what it says ------------------------------------------------------------------------------------------------ */

/* Postgres knows IANA's names; the region that is meant is the default one, since the company is found by the same query. */
static const char *zone_name(struct work *work, const char *zone)
{
    const struct ingest *ingest = work_context(work);
    char name[TIME_ZONE_BYTES];
    bool theirs = zone && time_zone_of_microsoft(zone, ingest->default_region, name);
    return theirs ? arena_copy(work_arena(work), name) : zone;
}

static enum outcome resolve(struct work *work, const struct meeting_news *news, struct meeting *ret)
{
    const struct ingest *ingest = work_context(work);
    struct rows rows;
    *ret = (struct meeting){ .news = news,
                             .organizer = email_of(work, news->organizer),
                             .title = news->title ? news->title : "",
                             .description = news->description ? news->description : "" };
    if (!ret->organizer && !(news->cancelled && news->event_id))
        return reject(work, "the organizer has no e-mail address");
    TRY(work_query(work, &find_organizer, &rows, news->tenant, ret->organizer, ingest->default_tenant, news->start.at,
                   zone_name(work, news->start.zone), news->end.at, zone_name(work, news->end.zone)));
    if (rows.count == 0 && news->tenant)
        return reject(work, "there is no company \"%s\"", news->tenant);
    if (rows.count == 0)
        return reject(work, "it is not known whose meeting it is: name the company in the path, or set DEFAULT_TENANT "
                            "to a company that is there");
    ret->tenant = row_get(&rows, 0, "tenant");
    ret->region = row_get(&rows, 0, "default_region");
    ret->phone = row_get(&rows, 0, "phone");
    ret->start = row_get(&rows, 0, "start_time");
    ret->end = row_get(&rows, 0, "end_time");
    work_set_tenant(work, ret->tenant);
    /* both are in one form, so they compare as text */
    if (ret->start && ret->end && strcmp(ret->end, ret->start) < 0)
        return reject(work, "the meeting ends before it starts");
    return find_clients(work, ret);
}

static enum outcome look_up(struct work *work, const struct meeting *meeting, struct rows *ret)
{
    char hours[12];
    struct buf clients;
    snprintf(hours, sizeof(hours), "%d", MEETING_MOVED_HOURS);
    buf_init(&clients, MEETING_CLIENTS_MAX * (UUID_BYTES + 3) + 3);
    pg_array_begin(&clients);
    for (int i = 0; i < meeting->client_count; i++)
        pg_array_add(&clients, meeting->client_ids[i]);
    pg_array_end(&clients);
    enum outcome outcome =
        work_query(work, &find_meeting, ret, meeting->tenant, meeting->news->event_id, meeting->organizer,
                   meeting->client_count ? meeting->client_ids[0] : NULL, meeting->start, meeting->end, meeting->title,
                   meeting->description, meeting->news->heard_at, clients.at, hours);
    buf_done(&clients);
    return outcome;
}

/* --- what changes ------------------------------------------------------------------------------------------------ */

static bool is_true(const struct rows *rows, const char *column)
{
    const char *value = row_get(rows, 0, column);
    return value && *value == 't';
}

static const char *one_more(struct work *work, const char *number, bool more)
{
    return more ? arena_printf(work_arena(work), "%lld", atoll(number) + 1) : number;
}

static void write_clients(struct work *work, const struct meeting *meeting)
{
    for (int i = 0; i < meeting->client_count; i++) {
        const struct meeting_client *client = &meeting->clients[i];
        effect_row(work, &write_client, meeting->tenant, meeting->client_ids[i], client->email, client->name,
                   client->company, client->phone, client->hubspot_contact_id);
    }
}

static void write_who_comes(struct work *work, const struct meeting *meeting, const char *meeting_id)
{
    effect_row(work, &forget_meeting_clients, meeting->tenant, meeting_id);
    for (int i = 0; i < meeting->client_count; i++)
        effect_row(work, &insert_meeting_client, meeting->tenant, meeting_id, meeting->client_ids[i],
                   arena_printf(work_arena(work), "%d", i + 1));
}

static void announce(struct work *work, const struct meeting *meeting, const char *organizer,
                     struct meeting_changed changed)
{
    changed.salesperson = organizer;
    changed.known = meeting->phone != NULL;
    effect_event(work, &EVENT_MEETING_CHANGED, organizer, &changed);
}

static enum outcome record_new(struct work *work, const struct meeting *meeting)
{
    char id[UUID_BYTES];
    if (meeting->client_count == 0)
        return skip(work, "nobody comes whom the meeting could be with");
    if (!meeting->start || !meeting->end)
        return reject(work, "the meeting has no start or no end");
    uuid_of(id, "meeting", meeting->tenant, work_event(work)->id, NULL);
    write_clients(work, meeting);
    effect_row(work, &insert_meeting, meeting->tenant, id, meeting->news->event_id, meeting->organizer, meeting->phone,
               meeting->client_ids[0], meeting->title, meeting->description, meeting->start, meeting->end,
               meeting->news->heard_at);
    write_who_comes(work, meeting, id);
    announce(work, meeting, meeting->organizer,
             (struct meeting_changed){ .meeting_id = id, .change = "scheduled", .revision = 1, .plan_version = 1 });
    return DONE;
}

/* What was completed took place, whatever becomes of it in the calendar. */
static enum outcome record_cancelled(struct work *work, const struct meeting *meeting, const struct rows *known)
{
    const char *id = row_get(known, 0, "meeting_id"), *status = row_get(known, 0, "status");
    if (strcmp(status, "cancelled") == 0 || strcmp(status, "completed") == 0)
        return skip(work, "the meeting is %s already", status);
    effect_row(work, &cancel_meeting, meeting->tenant, id, meeting->news->heard_at, status,
               row_get(known, 0, "revision"));
    announce(work, meeting, row_get(known, 0, "salesperson_email"),
             (struct meeting_changed){ .meeting_id = id,
                                       .change = "cancelled",
                                       .revision = atoll(row_get(known, 0, "revision")),
                                       .plan_version = atoll(row_get(known, 0, "plan_version")) });
    return DONE;
}

/* A new time is a new revision.  Not an end alone, of a meeting that took place: it is corrected after the fact. */
static bool is_moved(const struct rows *known)
{
    const char *status = row_get(known, 0, "status");
    bool took_place = strcmp(status, "completed") == 0 ||
                      (strcmp(status, "reminder_sent") == 0 && is_true(known, "over"));
    return strcmp(status, "cancelled") == 0 || !is_true(known, "same_start") ||
           (!is_true(known, "same_end") && !took_place);
}

static enum outcome record_changed(struct work *work, const struct meeting *meeting, const struct rows *known)
{
    const char *id = row_get(known, 0, "meeting_id"), *status = row_get(known, 0, "status");
    const char *was_revision = row_get(known, 0, "revision"), *was_version = row_get(known, 0, "plan_version");
    bool has_clients = meeting->client_count > 0, moved = is_moved(known);
    bool material = strcmp(status, "cancelled") == 0 || !is_true(known, "same_start") ||
                    !is_true(known, "same_title") || !is_true(known, "same_description") ||
                    (has_clients && !is_true(known, "same_client"));
    bool clients_differ = has_clients && !is_true(known, "same_clients");
    bool as_it_was = !moved && !material && !clients_differ && is_true(known, "same_end") &&
                     is_true(known, "same_spelling") && is_true(known, "same_organizer") &&
                     !is_true(known, "without_id");

    write_clients(work, meeting);
    if (as_it_was) {
        effect_row(work, &touch_meeting, meeting->tenant, id, meeting->news->heard_at);
        return DONE;
    }
    const char *revision = one_more(work, was_revision, moved), *version = one_more(work, was_version, material);
    effect_row(work, &update_meeting, meeting->tenant, id, status, was_revision, was_version, meeting->news->heard_at,
               meeting->news->event_id, meeting->organizer, meeting->phone,
               has_clients ? meeting->client_ids[0] : row_get(known, 0, "client_id"), meeting->title,
               meeting->description, meeting->start, meeting->end, version, revision);
    if (clients_differ)
        write_who_comes(work, meeting, id);
    announce(work, meeting, meeting->organizer,
             (struct meeting_changed){ .meeting_id = id,
                                       .change = moved ? "moved" : "updated",
                                       .revision = atoll(revision),
                                       .plan_version = atoll(version),
                                       .previous_start = moved ? row_get(known, 0, "start_time") : NULL });
    return DONE;
}

enum outcome record_meeting(struct work *work, const struct meeting_news *news)
{
    struct meeting *meeting = arena_alloc(work_arena(work), sizeof(*meeting));
    struct rows known;
    TRY(resolve(work, news, meeting));
    TRY(look_up(work, meeting, &known));
    if (known.count == 0)
        return news->cancelled ? skip(work, "a meeting that nobody knows was cancelled") : record_new(work, meeting);
    if (is_true(&known, "told_since"))
        return skip(work, "something later is known of the meeting");
    if (news->cancelled)
        return record_cancelled(work, meeting, &known);
    if (!meeting->start || !meeting->end)
        return reject(work, "the meeting has no start or no end");
    return record_changed(work, meeting, &known);
}

/* --- outlook.meeting.received ------------------------------------------------------------------------------------ */

enum outcome record_outlook(struct work *work, const struct event *event)
{
    struct outlook_meeting_received received;
    struct text body;
    struct meeting_news news;
    TRY(work_read_data(work, event, outlook_meeting_received_read, &received));
    TRY(recorder_body(work, received.encoding, received.body, &body));
    if (!outlook_meeting_read(body, work_arena(work), &news, work_why(work)))
        return REJECT;
    news.tenant = received.tenant_path;
    news.heard_at = received.received_at;
    return record_meeting(work, &news);
}
