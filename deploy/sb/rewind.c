/* sb rewind: sets back the offsets at which a stopped stage goes on. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/kafka.h"
#include "deploy/sb/command.h"
#include "deploy/sb/operator.h"
#include "deploy/sb/table.h"
#include "deploy/sb/when.h"
#include "topics.h"

#define ANSWER_MS      10000 /* one question to Kafka */
#define PARTITIONS_MAX 256
#define OFFSET_MAX     INT64_C(0x7fffffffffffffff)
#define MEMBERS_BYTES  400
#define JSON_BYTES_MAX (256 * 1024)

struct rewind {
    const char *stage, *topic; /* NULL: all it reads */
    int64_t partition;         /* -1: all */
    int64_t to_us, to_offset;  /* one of them; the other is -1 */
    const char *as;
    bool dry_run, yes, json;
    char **argv;
};

struct place_back {
    const char *topic;
    int32_t partition;
    int64_t from, to; /* `from` -1: it has not begun there yet, and begins with the first */
};
struct places_back {
    struct place_back all[PARTITIONS_MAX];
    size_t count;
    int64_t events; /* that come again */
};

/* --- Kafka ------------------------------------------------------------------------------------------------------ */

static rd_kafka_t *open_group(const char *brokers, const char *stage, struct problem *why)
{
    char reason[256];
    const char *properties[] = { "group.id", stage, "enable.auto.commit", "false", "log_level", "0", NULL };
    rd_kafka_conf_t *conf = kafka_conf(brokers, "sb", properties, why);
    rd_kafka_t *client = conf ? rd_kafka_new(RD_KAFKA_CONSUMER, conf, reason, sizeof(reason)) : NULL;

    if (client == NULL && conf) {
        rd_kafka_conf_destroy(conf);
        fail(why, "could not start a Kafka consumer: %s", reason);
    }
    return client;
}

/* Nobody may be in the group: its members would go on from where they are, and commit that. */
static bool nobody_is_there(rd_kafka_t *client, const char *stage, struct problem *why)
{
    const struct rd_kafka_group_list *list;
    rd_kafka_resp_err_t error = rd_kafka_list_groups(client, stage, &list, ANSWER_MS);
    char members[MEMBERS_BYTES] = "";
    size_t bytes = 0;

    if (error)
        return fail(why, "could not ask Kafka for the members of the group \"%s\": %s", stage, rd_kafka_err2str(error));
    for (int i = 0; i < list->group_cnt; i++)
        for (int j = 0; j < list->groups[i].member_cnt && bytes < sizeof(members); j++)
            bytes += (size_t)snprintf(members + bytes, sizeof(members) - bytes, "%s%s (%s)", bytes ? ", " : "",
                                      list->groups[i].members[j].client_id, list->groups[i].members[j].client_host);
    rd_kafka_group_list_destroy(list);
    return bytes == 0 ||
           fail(why,
                "the stage runs: %s; stop it first. One that was just stopped leaves when its session ends, "
                "within 45 s",
                members);
}

static bool list_partitions(const struct rewind *rewind, rd_kafka_topic_partition_list_t *list, struct problem *why)
{
    for (const struct stage_topics *stage = stage_topics; stage->stage; stage++)
        for (const char *const *topic = stage->reads; strcmp(stage->stage, rewind->stage) == 0 && *topic; topic++)
            for (int partition = 0; partition < topic_find(*topic)->partitions; partition++)
                if ((rewind->topic == NULL || strcmp(rewind->topic, *topic) == 0) &&
                    (rewind->partition < 0 || rewind->partition == partition))
                    rd_kafka_topic_partition_list_add(list, *topic, partition);
    if (list->cnt > PARTITIONS_MAX)
        return fail(why, "these are %d partitions, more than %d: name a --topic", list->cnt, PARTITIONS_MAX);
    return list->cnt > 0 ||
           fail(why, "the stage %s reads no such topic and partition: \"sb topics\" shows them", rewind->stage);
}

/* Where the partition shall be.  Never forward, which would pass over what was not handled, but for what is gone. */
static bool find_target(const struct rewind *rewind, rd_kafka_t *client, struct place_back *place, int64_t at_time,
                        struct problem *why)
{
    int64_t low, high;
    rd_kafka_resp_err_t error =
        rd_kafka_query_watermark_offsets(client, place->topic, place->partition, &low, &high, ANSWER_MS);

    if (error)
        return fail(why, "could not ask Kafka for the offsets of \"%s\": %s", place->topic, rd_kafka_err2str(error));
    if (rewind->to_offset >= 0 && (rewind->to_offset < low || rewind->to_offset > high))
        return fail(why, "%s/%d has the offsets %" PRId64 " to %" PRId64, place->topic, place->partition, low, high);
    if (rewind->to_offset >= 0 && place->from < 0)
        return fail(why, "the stage has not begun with %s/%d, and begins with the first event there is", place->topic,
                    place->partition);
    if (rewind->to_offset > place->from && place->from >= low)
        return fail(why, "%s/%d stands at %" PRId64 ": %" PRId64 " %s would be passed over, and never handled",
                    place->topic, place->partition, place->from, rewind->to_offset - place->from,
                    plural(rewind->to_offset - place->from, "event", "events"));
    int64_t target = rewind->to_offset >= 0 ? rewind->to_offset : at_time >= 0 ? at_time : high;
    place->to = place->from < 0 || (place->from >= low && target > place->from) ? place->from : target;
    return true;
}

static bool find_places(const struct rewind *rewind, rd_kafka_t *client, struct places_back *ret, struct problem *why)
{
    rd_kafka_topic_partition_list_t *now = rd_kafka_topic_partition_list_new(16), *then;
    bool done = list_partitions(rewind, now, why);
    rd_kafka_resp_err_t error = done ? kafka_committed(client, now, ANSWER_MS, NULL) : RD_KAFKA_RESP_ERR_NO_ERROR;

    then = rd_kafka_topic_partition_list_copy(now);
    for (int i = 0; i < then->cnt; i++)
        then->elems[i].offset = rewind->to_us / 1000;
    if (done && !error && rewind->to_us >= 0)
        error = rd_kafka_offsets_for_times(client, then, ANSWER_MS);
    if (error)
        done = fail(why, "could not ask Kafka for the offsets of the group \"%s\": %s", rewind->stage,
                    rd_kafka_err2str(error));
    for (int i = 0; done && i < now->cnt; i++) {
        struct place_back *place = &ret->all[ret->count++];
        const char *topic = topic_find(now->elems[i].topic)->name; /* outlives the list */
        int64_t from = now->elems[i].offset >= 0 ? now->elems[i].offset : -1;
        *place = (struct place_back){ topic, now->elems[i].partition, from, 0 };
        done = find_target(rewind, client, place, then->elems[i].offset, why);
        ret->events += place->from > place->to ? place->from - place->to : 0;
    }
    rd_kafka_topic_partition_list_destroy(now);
    rd_kafka_topic_partition_list_destroy(then);
    return done;
}

static bool commit_places(rd_kafka_t *client, const struct places_back *places, struct problem *why)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)places->count);

    for (size_t i = 0; i < places->count; i++)
        if (places->all[i].to != places->all[i].from)
            rd_kafka_topic_partition_list_add(list, places->all[i].topic, places->all[i].partition)->offset =
                places->all[i].to;
    rd_kafka_resp_err_t error = list->cnt > 0 ? rd_kafka_commit(client, list, 0) : RD_KAFKA_RESP_ERR_NO_ERROR;
    for (int i = 0; i < list->cnt && !error; i++)
        error = list->elems[i].err;
    rd_kafka_topic_partition_list_destroy(list);
    return !error || fail(why, "Kafka did not take the offsets: %s", rd_kafka_err2str(error));
}

/* --- telling ---------------------------------------------------------------------------------------------------- */

/* A JSON object, in the arena. */
static const char *describe(const struct rewind *rewind, const struct places_back *places, struct arena *arena)
{
    struct buf out;

    buf_init(&out, JSON_BYTES_MAX);
    buf_printf(&out, "{\"dry_run\":%s,\"events\":%" PRId64, rewind->dry_run ? "true" : "false", places->events);
    json_name(&out, "partitions");
    buf_add_char(&out, '[');
    for (size_t i = 0; i < places->count; i++) {
        const struct place_back *place = &places->all[i];
        json_separate(&out);
        buf_printf(&out, "{\"topic\":\"%s\",\"partition\":%d,\"from\":%" PRId64 ",\"to\":%" PRId64 "}", place->topic,
                   place->partition, place->from, place->to);
    }
    buf_add_string(&out, "]}");
    const char *ret = arena_copy_text(arena, buf_text(&out));
    buf_done(&out);
    return ret;
}

static void print_places(const struct places_back *places)
{
    static struct table table;
    static const char *const titles[] = { "topic", "<partition", "<stands at", "<goes back to", "<events again", NULL };

    table_begin(&table, titles);
    for (size_t i = 0; i < places->count; i++) {
        const struct place_back *place = &places->all[i];
        bool moves = place->to != place->from;
        table_add(&table, PLAIN, "%s", place->topic);
        table_add(&table, PLAIN, "%d", place->partition);
        table_add(&table, PLAIN, place->from < 0 ? "the first" : "%" PRId64, place->from);
        table_add(&table, moves ? BOLD : FAINT, moves ? "%" PRId64 : "-", place->to);
        table_add(&table, PLAIN, "%" PRId64, place->from > place->to ? place->from - place->to : 0);
    }
    table_print(&table);
}

/* --- the command ------------------------------------------------------------------------------------------------- */

static int rewind_group(const struct rewind *rewind, struct session *session, rd_kafka_t *client)
{
    static struct places_back places;
    char question[128];
    struct problem why;

    if (!nobody_is_there(client, rewind->stage, &why) || !find_places(rewind, client, &places, &why))
        return command_fail(rewind->argv, EXIT_FAILED, "%s", why.text);
    const char *detail = describe(rewind, &places, session->arena);
    if (rewind->json)
        printf("%s\n", detail);
    else
        print_places(&places);
    if (rewind->dry_run)
        return EXIT_FINE;
    snprintf(question, sizeof(question), "give %" PRId64 " %s to %s again?", places.events,
             plural(places.events, "event", "events"), rewind->stage);
    if (!rewind->yes && !operator_confirms(question))
        return command_fail(rewind->argv, EXIT_FAILED, "nothing was done");
    if (!operator_record(session, rewind->as, "rewind", rewind->stage, detail, NULL, &why) ||
        !commit_places(client, &places, &why))
        return command_fail(rewind->argv, EXIT_FAILED, "%s", why.text);
    return EXIT_FINE;
}

/* A number is an offset, anything else a time.  -1, or the exit code */
static int read_target(struct rewind *rewind, const char *to)
{
    if (to == NULL)
        return command_misused(rewind->argv, "it takes --to, a time or an offset");
    rewind->to_offset = operator_number(to, 0, OFFSET_MAX);
    if (rewind->to_offset >= 0 && (rewind->topic == NULL || rewind->partition < 0))
        return command_misused(rewind->argv, "an offset is of one --topic and --partition");
    if (rewind->to_offset < 0 && !when_read(to, &rewind->to_us))
        return command_misused(rewind->argv, "--to is no offset, and else " WHEN_HELP);
    return -1;
}

/* -1, or the exit code */
static int read_options(struct rewind *rewind, int argc, char **argv)
{
    static const struct option options[] = {
        { "to", required_argument, NULL, 'o' },
        { "topic", required_argument, NULL, 't' },
        { "partition", required_argument, NULL, 'p' },
        { "as", required_argument, NULL, 'a' },
        { "dry-run", no_argument, NULL, 'n' },
        { "yes", no_argument, NULL, 'y' },
        { "json", no_argument, NULL, 'j' },
        { 0 },
    };
    const char *to = NULL;

    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'o')
            to = optarg;
        else if (option == 't')
            rewind->topic = optarg;
        else if (option == 'p' && (rewind->partition = operator_number(optarg, 0, PARTITIONS_MAX)) < 0)
            return command_misused(argv, "--partition takes its number");
        else if (option == 'a')
            rewind->as = optarg;
        else if (option == '?')
            return command_misused(argv, NULL);
        rewind->dry_run |= option == 'n';
        rewind->yes |= option == 'y';
        rewind->json |= option == 'j';
    }
    if (argc - optind != 1)
        return command_misused(argv, "it takes one stage");
    rewind->stage = argv[optind];
    if (!operator_stage_is(rewind->stage))
        return command_fail(argv, EXIT_WRONG, "there is no stage \"%s\": \"sb topics\" names them", rewind->stage);
    return read_target(rewind, to);
}

static int rewind_run(int argc, char **argv)
{
    struct rewind rewind = { .partition = -1, .to_us = -1, .to_offset = -1, .argv = argv };
    struct session session;
    struct problem why;

    int code = read_options(&rewind, argc, argv);
    if (code >= 0 || (code = operator_open(&session, argv)) >= 0)
        return code;
    rd_kafka_t *client = open_group(session.settings.kafka_brokers, rewind.stage, &why);
    if (client == NULL)
        return session_close(&session, command_fail(argv, EXIT_FAILED, "%s", why.text));
    code = rewind_group(&rewind, &session, client);
    rd_kafka_destroy(client);
    return session_close(&session, code);
}

const struct command command_rewind = {
    .name = "rewind",
    .summary = "sets back where a stopped stage goes on reading",
    .help =
        "Usage: sb rewind STAGE --to WHEN|OFFSET [--topic TOPIC] [--partition N]\n"
        "                 [--dry-run] [--yes] [--as NAME] [--json]\n\n"
        "For a stage that stands still: after Postgres was restored from a backup, or when Kafka no longer\n"
        "holds the offset at which it stood. What its ledger knows is not handled again, it only sends what\n"
        "it emitted once more (for two days); to have events handled again, use \"sb replay\". It never moves\n"
        "forward over events that were not handled, only over those that are gone. Refused while the stage\n"
        "runs.\n\n"
        "Options\n"
        "  --to WHEN       to the first event since then\n"
        "  --to OFFSET     to this one, of one topic and partition\n"
        "  --topic TOPIC   only this one of those that it reads\n"
        "  --partition N   only this one\n"
        "  --dry-run       tells where it would go on\n"
        "  --yes           does not ask whether it is meant\n"
        "  --as NAME       who does it; else $SUDO_USER or $USER, at this host\n"
        "  --json          the answer as a JSON object\n\n"
        WHEN_PARAGRAPH "\n"
        "Examples\n"
        "  sb rewind analyze --to 2026-11-21T06:29:49Z --dry-run\n"
        "  sb rewind notifier --to 2h\n"
        "  sb rewind transcribe --to 4711 --topic calls --partition 3\n\n"
        "Exit codes: 0 done, 1 the stage runs or it could not be done, 2 the command line or a setting is\n"
        "wrong\n",
    .run = rewind_run,
};
