/* sb topics: the topic map, and what is really there. */
#include "topics.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "deploy/sb/command.h"
#include "deploy/sb/look.h"
#include "deploy/sb/place.h"
#include "deploy/sb/table.h"

#define TEXT_BYTES_MAX 1024
#define NAMES_MAX      16
#define JSON_BYTES_MAX (1024 * 1024)
#define DAY_MS         INT64_C(86400000)

struct names {
    const char *at[NAMES_MAX];
    size_t count;
};

static void names_add(struct names *names, const char *name)
{
    if (names->count < NAMES_MAX)
        names->at[names->count++] = name;
}

static void readers_of(const struct topic *topic, struct names *ret)
{
    ret->count = 0;
    for (const struct stage_topics *stage = stage_topics; stage->stage; stage++)
        for (const char *const *name = stage->reads; *name; name++)
            if (strcmp(*name, topic->name) == 0)
                names_add(ret, stage->stage);
    if (strcmp(topic->name, "replies") == 0)
        names_add(ret, "every ingest");
}

static void types_of(const struct topic *topic, struct names *ret)
{
    ret->count = 0;
    for (const struct event_type *const *type = event_types; *type; type++)
        if (event_topic(*type, topic->writer) == topic)
            names_add(ret, (*type)->name);
    if (strncmp(topic->name, "replay.", strlen("replay.")) == 0)
        names_add(ret, "all the stage reads");
}

static void add_names(struct table *table, const struct names *names)
{
    char text[TEXT_BYTES_MAX] = "";
    for (size_t i = 0; i < names->count; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? ", " : "", names->at[i]);
    table_add(table, PLAIN, "%s", text);
}

static void print_table(const struct look *look)
{
    static struct table table;
    static const char *const known[] = { "topic", "writer", "readers", "types", "<partitions", "<kept", NULL };
    static const char *const real[] = { "topic", "writer",    "readers",      "types", "<partitions",
                                        "<kept", "<messages", "<last offset", NULL };
    struct names readers, types;

    table_begin(&table, look ? real : known);
    for (const struct topic *topic = topics; topic->name; topic++) {
        readers_of(topic, &readers);
        types_of(topic, &types);
        const struct look_topic *there = look ? look_find(look, topic->name) : NULL;
        bool differs = there && there->partitions != topic->partitions;
        table_add(&table, BOLD, "%s", topic->name);
        table_add(&table, PLAIN, "%s", topic->writer);
        add_names(&table, &readers);
        add_names(&table, &types);
        if (!differs)
            table_add(&table, PLAIN, "%d", topic->partitions);
        else if (there->partitions == 0)
            table_add(&table, RED, "missing");
        else
            table_add(&table, RED, "%d, not %d", there->partitions, topic->partitions);
        table_add(&table, PLAIN, "%lld d", (long long)(topic->retention_ms / DAY_MS));
        if (look == NULL)
            continue;
        int64_t last = 0;
        for (int partition = 0; partition < there->partitions; partition++)
            last = there->high[partition] > last ? there->high[partition] : last;
        table_add(&table, PLAIN, "%" PRId64, look_kept(there));
        table_add(&table, PLAIN, "%" PRId64, last);
    }
    table_print(&table);
}

static void write_offsets(struct buf *out, const struct look_topic *there)
{
    json_name(out, "there");
    buf_add_char(out, '[');
    for (int partition = 0; partition < there->partitions; partition++) {
        json_separate(out);
        buf_add_char(out, '{');
        json_name(out, "low");
        json_write_integer(out, there->low[partition]);
        json_name(out, "high");
        json_write_integer(out, there->high[partition]);
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
}

static void write_names(struct buf *out, const char *name, const struct names *names)
{
    json_name(out, name);
    buf_add_char(out, '[');
    for (size_t i = 0; i < names->count; i++) {
        json_separate(out);
        json_write_string(out, names->at[i]);
    }
    buf_add_char(out, ']');
}

static void print_json(const struct look *look)
{
    struct names names;
    struct buf out;

    buf_init(&out, JSON_BYTES_MAX);
    buf_add_char(&out, '[');
    for (const struct topic *topic = topics; topic->name; topic++) {
        json_separate(&out);
        buf_add_char(&out, '{');
        json_name(&out, "topic");
        json_write_string(&out, topic->name);
        json_name(&out, "writer");
        json_write_string(&out, topic->writer);
        readers_of(topic, &names);
        write_names(&out, "readers", &names);
        types_of(topic, &names);
        write_names(&out, "types", &names);
        json_name(&out, "partitions");
        json_write_integer(&out, topic->partitions);
        json_name(&out, "retention_ms");
        json_write_integer(&out, topic->retention_ms);
        json_name(&out, "message_bytes_max");
        json_write_integer(&out, topic->message_bytes_max);
        if (look)
            write_offsets(&out, look_find(look, topic->name));
        buf_add_char(&out, '}');
    }
    printf("%s]\n", buf_text(&out).at);
    buf_done(&out);
}

static bool all_there(const struct look *look)
{
    for (size_t i = 0; i < look->count; i++)
        if (look->topics[i].partitions != look->topics[i].topic->partitions)
            return false;
    return true;
}

static int topics_run(int argc, char **argv)
{
    static const struct option options[] = { { "json", no_argument, NULL, 'j' }, { 0 } };
    struct place place;
    struct place_settings settings;
    struct problem why;
    bool json = false;

    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option != 'j')
            return command_misused(argv, NULL);
        json = true;
    }
    if (optind < argc)
        return command_misused(argv, "it takes no arguments besides its options");
    place_find(&place);
    if (!place_settings_read(&place, &settings, &why))
        return command_fail(argv, EXIT_WRONG, "%s", why.text);
    struct look *look = settings.kafka_brokers ? look_new(settings.kafka_brokers, &why) : NULL;
    if (json)
        print_json(look);
    else
        print_table(look);
    int code = EXIT_FINE;
    if (settings.kafka_brokers && look == NULL)
        code = command_fail(argv, EXIT_FAILED, "%s; this is the map alone", why.text);
    else if (look && !all_there(look))
        code = command_fail(argv, EXIT_FAILED, "what is there is not what the map says");
    look_free(look);
    return code;
}

const struct command command_topics = {
    .name = "topics",
    .summary = "prints the topic map: who writes and reads what; and what Kafka holds of it",
    .help = "Usage: sb topics [--json]\n\n"
            "The map is schemas/topics.json. When Kafka can be reached (KAFKA_BROKERS, or what `sb up` runs), also how "
            "many messages each\n"
            "topic holds and the last offset of its longest partition; a topic that is missing or has another number "
            "of partitions is red.\n\n"
            "Examples\n"
            "  sb topics\n"
            "  sb topics --json | jq -r '.[] | select(.writer == \"ingest\") | .topic'\n\n"
            "Exit codes: 0 fine, 1 Kafka does not answer or differs from the map, 2 the command line or a setting is "
            "wrong\n",
    .run = topics_run,
};
