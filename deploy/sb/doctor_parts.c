/* doctor_parts.c: Kafka, Postgres and the stages. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/sb/doctor.h"
#include "deploy/sb/letters.h"
#include "deploy/sb/terminal.h"
#include "topics.h"

#define BEHIND_MANY 1000
#define SEEN_S_MOST 15 /* an instance says every two seconds that it lives */
#define HEARD_DAYS  7
#define NOT_HEARD_MEND                                                                                                \
    "if it should send something: does its webhook lead to PUBLIC_URL, and is it on (CallRail turns off what fails"   \
    " again and again)? \"refused\" tells of wrong signatures"

/* --- Kafka --------------------------------------------------------------------------------------------------- */

static void look_at_topics(struct doctor *doctor)
{
    int wrong = 0;

    if (doctor->kafka == NULL)
        return; /* it was said */
    for (size_t i = 0; i < doctor->kafka->count; i++) {
        const struct look_topic *there = &doctor->kafka->topics[i];
        if (there->partitions == there->topic->partitions)
            continue;
        wrong++;
        if (there->partitions == 0)
            doctor_say(doctor, DOCTOR_BAD, "make it: \"sb topics\" tells how, or CREATE_TOPICS=on on one machine",
                       "the topic %s is not there", there->topic->name);
        else
            doctor_say(doctor, DOCTOR_BAD, "a change is a new topic, drained first: put the old count back",
                       "the topic %s has %d %s and not %d", there->topic->name, there->partitions,
                       plural(there->partitions, "partition", "partitions"), there->topic->partitions);
    }
    if (wrong == 0)
        doctor_say(doctor, DOCTOR_OK, NULL, "Kafka answers, and has all %zu topics as in the map",
                   doctor->kafka->count);
}

static void look_at_letters_of(struct doctor *doctor, const char *stage, int64_t *all)
{
    struct session session = { doctor->place, doctor->settings, doctor->pool, doctor->arena };
    struct letters letters;
    struct problem why;

    if (!letters_find(&session, stage, &(struct letter_filter){ 0 }, &letters, &why))
        doctor_say(doctor, DOCTOR_UNKNOWN, NULL, "%s: %s", stage, why.text);
    const struct letter *last = letters.all;
    for (size_t i = 0; i < letters.count; i++)
        last = letters.all[i].at_us > last->at_us ? &letters.all[i] : last;
    if (last)
        doctor_say(doctor, DOCTOR_BAD,
                   arena_printf(doctor->arena, "\"sb dlq list %s\" shows them with their reasons; then retry, edit or drop",
                                stage),
                   "%zu%s %s of %s; the last one: %s", letters.count, letters.too_many ? " and more" : "",
                   plural((int64_t)letters.count, "event is a dead letter", "events are dead letters"), stage,
                   last->reason);
    *all += (int64_t)letters.count;
    free(letters.all);
}

static void look_at_dead_letters(struct doctor *doctor)
{
    int64_t all = 0;

    if (doctor->kafka == NULL || doctor->pool == NULL)
        return; /* it was said */
    for (const struct stage_topics *stage = stage_topics; stage->stage; stage++)
        look_at_letters_of(doctor, stage->stage, &all);
    if (all == 0)
        doctor_say(doctor, DOCTOR_OK, NULL, "there are none that were not dealt with");
}

/* --- Postgres ------------------------------------------------------------------------------------------------ */

static void look_at_migrations(struct doctor *doctor)
{
    static const struct statement find_migrations = {
        .name = "sb_find_migrations",
        .text = "SELECT coalesce(max(number), 0) AS newest FROM schema_migrations",
    };
    struct rows rows;
    int known = 0;

    if (doctor->pool == NULL || !doctor_query(doctor, &find_migrations, PARAMS(), &rows))
        return;
    while (migrations[known].number)
        known++;
    int newest = atoi(row_get(&rows, 0, "newest"));
    if (newest == known)
        doctor_say(doctor, DOCTOR_OK, NULL, "Postgres answers, with all %d migrations", known);
    else
        doctor_say(doctor, DOCTOR_BAD,
                   newest < known ? "start a stage of this version: it applies them" : "run the newer programs",
                   "Postgres has %d migrations, this program knows %d", newest, known);
}

static void look_at_roles(struct doctor *doctor)
{
    static const struct statement find_roles = {
        .name = "sb_find_roles",
        .text = "SELECT name FROM unnest($1::text[]) AS name WHERE NOT EXISTS (SELECT 1 FROM pg_roles"
                " WHERE rolname = name AND pg_has_role(current_user, oid, 'MEMBER'))",
        .params = 1,
    };
    struct rows rows;
    struct buf names;

    buf_init(&names, 4096);
    buf_add_string(&names, "{switchboard_api");
    for (const struct stage_topics *stage = stage_topics; stage->stage; stage++)
        buf_printf(&names, ",switchboard_%s", stage->stage);
    buf_add_char(&names, '}');
    if (doctor->pool && doctor_query(doctor, &find_roles, PARAMS(buf_text(&names).at), &rows)) {
        for (int row = 0; row < rows.count; row++)
            doctor_say(doctor, DOCTOR_BAD, "GRANT it to DATABASE_URL's user; the migrations do so when they make it",
                       "the role %s is not there, or cannot be taken", row_get(&rows, row, "name"));
        if (rows.count == 0)
            doctor_say(doctor, DOCTOR_OK, NULL, "the roles of all stages can be taken");
    }
    buf_done(&names);
}

/* --- stages -------------------------------------------------------------------------------------------------- */

static void look_at_stages(struct doctor *doctor)
{
    static const struct statement find_instances = {
        .name = "sb_find_instances",
        .text = "SELECT count(*) FILTER (WHERE seen_at > now() - $2::interval) AS alive,"
                " coalesce(string_agg(instance, ', ') FILTER (WHERE seen_at <= now() - $2::interval), '') AS silent"
                " FROM instances WHERE stage = $1",
        .params = 2,
    };
    char age[32];
    struct rows rows;

    snprintf(age, sizeof(age), "%d s", SEEN_S_MOST);
    for (const struct stage_topics *stage = stage_topics; stage->stage; stage++) {
        if (!doctor_query(doctor, &find_instances, PARAMS(stage->stage, age), &rows))
            return;
        int alive = atoi(row_get(&rows, 0, "alive"));
        const char *silent = row_get(&rows, 0, "silent");
        if (alive == 0)
            doctor_say(doctor, DOCTOR_BAD, "start it; its log tells why it ended", "no %s says that it lives%s%s",
                       stage->stage, *silent ? ", last were: " : "", silent);
        else
            doctor_say(doctor, DOCTOR_OK, NULL, "%d %s live", alive, stage->stage);
        if (alive > 0 && *silent)
            doctor_say(doctor, DOCTOR_UNKNOWN, "it hangs, was killed, or cannot reach Postgres: look at its log",
                       "%s %s says nothing any more", stage->stage, silent);
    }
}

static void look_at_lag(struct doctor *doctor)
{
    struct look_lag lag;
    struct problem why;

    for (const struct stage_topics *stage = stage_topics; doctor->kafka && stage->stage; stage++) {
        if (!look_lag_of(doctor->kafka, stage->stage, &lag, &why))
            doctor_say(doctor, DOCTOR_UNKNOWN, NULL, "%s: %s", stage->stage, why.text);
        else
            doctor_say(doctor, lag.events > BEHIND_MANY ? DOCTOR_BAD : DOCTOR_OK,
                       lag.events > BEHIND_MANY ? "start more instances of it, or see what it waits for above" : NULL,
                       "%s has %" PRId64 " %s before it", stage->stage, lag.events,
                       plural(lag.events, "event", "events"));
    }
}

/* --- who was heard of ---------------------------------------------------------------------------------------- */

static void look_who_was_heard(struct doctor *doctor)
{
    static const struct statement find_heard = {
        .name = "sb_find_heard",
        .text = "SELECT (extract(epoch FROM max(received_at)) * 1000000)::bigint AS last_us FROM ledger"
                " WHERE stage = 'ingest' AND topic = $1",
        .params = 1,
    };
    char age[AGE_BYTES];
    struct rows rows;

    for (const struct topic *topic = topics; topic->name; topic++) {
        if (strncmp(topic->name, "inbound.", strlen("inbound.")) != 0)
            continue;
        if (!doctor_query(doctor, &find_heard, PARAMS(topic->name), &rows))
            return;
        const char *last = row_get(&rows, 0, "last_us"), *source = topic->name + strlen("inbound.");
        int64_t ago_us = last ? now_us() - strtoll(last, NULL, 10) : INT64_MAX;
        bool silent = ago_us > HEARD_DAYS * 86400 * INT64_C(1000000);
        doctor_say(doctor, silent ? DOCTOR_UNKNOWN : DOCTOR_OK, silent ? NOT_HEARD_MEND : NULL,
                   last ? "%s was last heard of %s ago" : "%s was not heard of in the days the ledger keeps%.0s",
                   source, last ? age_print(ago_us, age) : "");
    }
}

const struct doctor_check doctor_part_checks[] = {
    { "kafka", NULL, look_at_topics },
    { "postgres", NULL, look_at_migrations },
    { "roles", NULL, look_at_roles },
    { "stages", NULL, look_at_stages },
    { "lag", NULL, look_at_lag },
    { "heard", NULL, look_who_was_heard },
    { "dead letters", NULL, look_at_dead_letters },
    { 0 },
};
