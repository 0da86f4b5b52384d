/* sb tail: events as they pass, a readable line each.
 *
 * What was there before (--from-start, --since) comes in the order of time over all partitions: each is read by itself,
 * and the oldest of their next messages is printed.  Then everything is read as it comes. */
#include <errno.h>
#include <fnmatch.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "deploy/sb/command.h"
#include "deploy/sb/look.h"
#include "deploy/sb/place.h"
#include "deploy/sb/terminal.h"
#include "deploy/sb/when.h"

#define TOPICS_NAMED_MAX      64
#define PARTITIONS_MAX        1024
#define LINES_PER_S_MAX       200 /* at a terminal, of what comes now: more cannot be read */
#define WAIT_MS               200
#define LINE_BYTES_MAX        (64 * 1024)
#define SECOND_US             INT64_C(1000000)
#define TIME_COLUMNS          14 /* 06:29:49.123 and the gap */
#define GAP_COLUMNS           2
#define TYPE_COLUMNS          22
#define KEY_COLUMNS           36 /* a CallRail call: CAL and 32 digits */
#define KEY_COLUMNS_NARROW    16
#define TERMINAL_COLUMNS_WIDE 150
#define DATA_COLUMNS_MIN      30

enum form { READABLE, JSON_LINES, RAW };

struct tail {
    const char *topics[TOPICS_NAMED_MAX + 1]; /* none: all */
    size_t topic_count;
    bool named;                             /* the topics were; each must be there */
    bool from_start;
    int64_t since_ms;                       /* 0: not given */
    const char *type, *key, *tenant, *grep; /* all but the last are patterns */
    bool header;
    enum form form;
    const char *brokers;
    rd_kafka_t *client;
    int64_t shown, left_out, too_many; /* by the filters; beyond LINES_PER_S_MAX */
    int64_t second_us;                 /* the second that is being counted */
    int64_t in_second, over_in_second;
};

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

/* --- options ------------------------------------------------------------------------------------------------- */

static bool is_named(const struct tail *tail, const char *topic)
{
    for (size_t i = 0; i < tail->topic_count; i++)
        if (strcmp(tail->topics[i], topic) == 0)
            return true;
    return false;
}

static int read_topics(struct tail *tail, int argc, char **argv)
{
    char sentence[160];

    for (int i = optind; i < argc; i++) {
        if (topic_find(argv[i]) == NULL || tail->topic_count == TOPICS_NAMED_MAX) {
            snprintf(sentence, sizeof(sentence), "there is no topic \"%.60s\": \"sb topics\" lists them", argv[i]);
            return command_misused(argv, sentence);
        }
        if (!is_named(tail, argv[i]))
            tail->topics[tail->topic_count++] = argv[i];
    }
    tail->named = tail->topic_count > 0;
    if (!tail->named)
        for (const struct topic *topic = topics; topic->name && tail->topic_count < TOPICS_NAMED_MAX; topic++)
            tail->topics[tail->topic_count++] = topic->name;
    return -1;
}

/* -1, or the exit code */
static int read_options(struct tail *tail, int argc, char **argv)
{
    static const struct option options[] = {
        { "from-start", no_argument, NULL, 'f' },   { "since", required_argument, NULL, 's' },
        { "type", required_argument, NULL, 't' },   { "key", required_argument, NULL, 'k' },
        { "tenant", required_argument, NULL, 'n' }, { "grep", required_argument, NULL, 'g' },
        { "header", no_argument, NULL, 'h' },       { "json", no_argument, NULL, 'j' },
        { "raw", no_argument, NULL, 'r' },          { 0 },
    };
    int64_t since_us;
    bool json = false;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'f')
            tail->from_start = true;
        else if (option == 's' && !when_read(optarg, &since_us))
            return command_misused(argv, "--since " WHEN_HELP);
        else if (option == 's')
            tail->since_ms = since_us / 1000;
        else if (option == 't')
            tail->type = optarg;
        else if (option == 'k')
            tail->key = optarg;
        else if (option == 'n')
            tail->tenant = optarg;
        else if (option == 'h')
            tail->header = true;
        else if (option == 'g')
            tail->grep = optarg;
        else if (option == 'j')
            json = true;
        else if (option == 'r')
            tail->form = RAW;
        else if (option == '?')
            return command_misused(argv, NULL);
    }
    if (tail->from_start && tail->since_ms)
        return command_misused(argv, "--from-start and --since cannot both be");
    if (json && tail->form == RAW)
        return command_misused(argv, "--json and --raw cannot both be");
    tail->form = json ? JSON_LINES : tail->form;
    if (tail->header && tail->form != READABLE)
        return command_misused(argv, "--json and --raw give the header already");
    return read_topics(tail, argc, argv);
}

/* --- a message ----------------------------------------------------------------------------------------------- */

struct shown {
    struct text type, tenant, data; /* raw JSON values without quotes; absent when it is no event, or has none */
    struct json_value event;
};

static struct text value_text(struct json_value object, const char *name)
{
    struct json_value value;
    if (!json_find(object, name, &value))
        return (struct text){ 0 };
    bool quoted = value.kind == JSON_STRING;
    return (struct text){ value.raw.at + quoted, value.raw.bytes - (quoted ? 2 : 0) };
}

static void read_message(struct text message, struct shown *ret)
{
    struct problem why;

    *ret = (struct shown){ .data = message };
    if (!json_parse(message, &ret->event, &why) || ret->event.kind != JSON_OBJECT)
        return;
    ret->type = value_text(ret->event, "type");
    ret->tenant = value_text(ret->event, "tenant");
    ret->data = value_text(ret->event, "data");
}

static bool matches(const char *pattern, struct text text)
{
    char name[EVENT_KEY_BYTES_MAX + 1];
    if (pattern == NULL)
        return true;
    if (text.at == NULL || text.bytes >= sizeof(name))
        return false;
    memcpy(name, text.at, text.bytes);
    name[text.bytes] = '\0';
    return fnmatch(pattern, name, 0) == 0;
}

static bool is_wanted(const struct tail *tail, const struct shown *shown, struct text key, struct text message)
{
    return matches(tail->type, shown->type) && matches(tail->key, key) && matches(tail->tenant, shown->tenant) &&
           (tail->grep == NULL || memmem(message.at, message.bytes, tail->grep, strlen(tail->grep)) != NULL);
}

/* A colour for each stage that writes, so that a conversation's way can be seen. */
static enum colour colour_of(const struct topic *topic)
{
    static const enum colour colours[] = { CYAN, GREEN, MAGENTA, BLUE };
    if (strncmp(topic->name, "dead.", strlen("dead.")) == 0)
        return RED;
    if (strncmp(topic->name, "replay.", strlen("replay.")) == 0)
        return YELLOW;
    return colours[(unsigned char)topic->writer[0] % LENGTH(colours)];
}

static int topic_columns(const struct tail *tail)
{
    int columns = 0;
    for (size_t i = 0; i < tail->topic_count; i++)
        columns = (int)strlen(tail->topics[i]) > columns ? (int)strlen(tail->topics[i]) : columns;
    return columns;
}

static void add_padded(struct buf *out, struct text text, int columns)
{
    terminal_add_cell(out, text, columns);
    buf_add_string(out, "  ");
}

/* Everything around the data: where the message stands, and the event's attributes as they are. */
static void print_header(const rd_kafka_message_t *message, const struct shown *shown)
{
    struct json_scan scan;
    struct json_value value;
    struct text name;
    struct buf out;

    buf_init(&out, LINE_BYTES_MAX);
    buf_printf(&out, "%*spartition %d, offset %" PRId64, TIME_COLUMNS, "", message->partition, message->offset);
    if (shown->type.at)
        json_enter(&scan, shown->event);
    while (shown->type.at && json_member(&scan, &name, &value)) {
        if (json_string_is(name, "data") || json_string_is(name, "type"))
            continue;
        bool quoted = value.kind == JSON_STRING;
        buf_add_string(&out, ", ");
        terminal_add(&out, (struct text){ name.at + 1, name.bytes - 2 }, 0);
        buf_add_char(&out, ' ');
        terminal_add(&out, (struct text){ value.raw.at + quoted, value.raw.bytes - (quoted ? 2 : 0) }, 0);
    }
    printf("%s%s%s\n", colour_begin(FAINT), buf_text(&out).at, colour_end());
    buf_done(&out);
}

static void print_readable(const struct tail *tail, const rd_kafka_message_t *message, const struct shown *shown,
                           struct text key)
{
    const struct topic *topic = topic_find(rd_kafka_topic_name(message->rkt));
    int64_t time_ms = rd_kafka_message_timestamp(message, NULL);
    int columns = terminal_columns();
    int key_columns = columns == 0 || columns >= TERMINAL_COLUMNS_WIDE ? KEY_COLUMNS : KEY_COLUMNS_NARROW;
    int data_columns = columns - TIME_COLUMNS - topic_columns(tail) - TYPE_COLUMNS - key_columns - 3 * GAP_COLUMNS;
    char clock[CLOCK_BYTES];
    struct buf out;

    buf_init(&out, LINE_BYTES_MAX);
    buf_printf(&out, "%s%s%s  %s", colour_begin(FAINT), clock_ms(time_ms * 1000, clock), colour_end(),
               colour_begin(colour_of(topic)));
    add_padded(&out, text_of(topic->name), topic_columns(tail));
    add_padded(&out, shown->type.at ? shown->type : TEXT("not an event"), TYPE_COLUMNS);
    buf_add_string(&out, colour_end());
    add_padded(&out, key, key_columns);
    if (columns == 0)
        data_columns = 0;
    else if (data_columns < DATA_COLUMNS_MIN)
        data_columns = DATA_COLUMNS_MIN;
    terminal_add(&out, shown->data, data_columns);
    printf("%s\n", buf_text(&out).at);
    if (out.overflowed)
        printf("%s… not all of its %zu bytes: --raw gives them%s\n", colour_begin(FAINT), message->len, colour_end());
    if (tail->header)
        print_header(message, shown);
    buf_done(&out);
}

/* The event in an envelope that says where it was. */
static void print_json(const rd_kafka_message_t *message, struct text key, struct text value)
{
    struct json_value parsed;
    struct problem why;
    char time[TIME_BYTES];
    struct buf out;

    buf_init(&out, value.bytes * 6 + LINE_BYTES_MAX);
    buf_add_char(&out, '{');
    json_name(&out, "topic");
    json_write_string(&out, rd_kafka_topic_name(message->rkt));
    json_name(&out, "partition");
    json_write_integer(&out, message->partition);
    json_name(&out, "offset");
    json_write_integer(&out, message->offset);
    json_name(&out, "time");
    json_write_string(&out, time_print(rd_kafka_message_timestamp(message, NULL) * 1000, time));
    json_name(&out, "key");
    json_write_text(&out, text_is_utf8(key) ? key : TEXT("not UTF-8"));
    json_name(&out, "event");
    if (json_parse(value, &parsed, &why))
        buf_add_text(&out, parsed.raw);
    else
        json_write_text(&out, text_is_utf8(value) ? value : TEXT("not UTF-8"));
    printf("%s}\n", buf_text(&out).at);
    buf_done(&out);
}

/* As it is: it need not be text. */
static void print_raw(struct text value)
{
    fwrite(value.at, 1, value.bytes, stdout);
    putchar('\n');
}

static void show(struct tail *tail, const rd_kafka_message_t *message)
{
    struct text value = { message->payload ? message->payload : "", message->len };
    struct text key = { message->key ? message->key : "", message->key_len };
    struct shown shown;

    read_message(value, &shown);
    if (!is_wanted(tail, &shown, key, value)) {
        tail->left_out++;
        return;
    }
    tail->shown++;
    if (tail->form == RAW)
        print_raw(value);
    else if (tail->form == JSON_LINES)
        print_json(message, key, value);
    else
        print_readable(tail, message, &shown, key);
}

/* More than a person can read is counted instead. */
static void show_now(struct tail *tail, const rd_kafka_message_t *message)
{
    int64_t now = monotonic_us();
    if (now - tail->second_us > SECOND_US) {
        if (tail->over_in_second)
            printf("%s… %" PRId64 " more in that second%s\n", colour_begin(FAINT), tail->over_in_second, colour_end());
        tail->second_us = now;
        tail->in_second = tail->over_in_second = 0;
    }
    if (message == NULL)
        return;
    if (terminal_is() && ++tail->in_second > LINES_PER_S_MAX) {
        tail->over_in_second++;
        tail->too_many++;
        return;
    }
    show(tail, message);
}

/* --- reading ------------------------------------------------------------------------------------------------- */

/* On the thread that polls. */
static void on_error(rd_kafka_t *client, int error, const char *reason, void *opaque)
{
    (void)client, (void)reason, (void)opaque;
    if (error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
        fprintf(stderr, "sb tail: Kafka is away; going on when it is back\n");
}

static bool open_client(struct tail *tail, struct problem *why)
{
    char reason[256];
    const char *properties[] = {
        "group.id", "sb-tail",           "enable.auto.commit", "false",     "enable.partition.eof",
        "true",     "auto.offset.reset", "earliest",           "log_level", "0",
        NULL
    };
    rd_kafka_conf_t *conf = kafka_conf(tail->brokers, "sb-tail", properties, why);

    if (conf == NULL)
        return false;
    rd_kafka_conf_set_error_cb(conf, on_error);
    tail->client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, reason, sizeof(reason));
    if (tail->client == NULL) {
        rd_kafka_conf_destroy(conf);
        return fail(why, "could not start a Kafka consumer: %s", reason);
    }
    return true;
}

static bool is_listed(const rd_kafka_topic_partition_list_t *list, const char *topic)
{
    for (int i = 0; i < list->cnt; i++)
        if (strcmp(list->elems[i].topic, topic) == 0)
            return true;
    return false;
}

/* All partitions of the topics, each with the offset to begin at. */
static bool list_partitions(struct tail *tail, rd_kafka_topic_partition_list_t *list, struct problem *why)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t error = rd_kafka_metadata(tail->client, 1, NULL, &metadata, LOOK_MS);

    if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
        return fail(why, "could not ask Kafka at %s: %s", tail->brokers, rd_kafka_err2str(error));
    for (size_t i = 0; i < tail->topic_count; i++)
        for (int j = 0; j < metadata->topic_cnt; j++)
            for (int p = 0;
                 strcmp(metadata->topics[j].topic, tail->topics[i]) == 0 && p < metadata->topics[j].partition_cnt; p++)
                rd_kafka_topic_partition_list_add(list, tail->topics[i], p)->offset = tail->since_ms ? tail->since_ms
                                                                                      : tail->from_start
                                                                                          ? RD_KAFKA_OFFSET_BEGINNING
                                                                                          : RD_KAFKA_OFFSET_END;
    rd_kafka_metadata_destroy(metadata);
    for (size_t i = 0; i < tail->topic_count && tail->named; i++)
        if (!is_listed(list, tail->topics[i]))
            return fail(why, "the topic %s is not in this Kafka", tail->topics[i]);
    if (list->cnt == 0)
        return fail(why, "none of the topics is in this Kafka");
    if (list->cnt > PARTITIONS_MAX)
        return fail(why, "the topics have %d partitions together, more than %d: name fewer topics", list->cnt,
                    PARTITIONS_MAX);
    error = tail->since_ms ? rd_kafka_offsets_for_times(tail->client, list, LOOK_MS) : RD_KAFKA_RESP_ERR_NO_ERROR;
    return error == RD_KAFKA_RESP_ERR_NO_ERROR ||
           fail(why, "could not ask Kafka for the offsets of that time: %s", rd_kafka_err2str(error));
}

/* One partition's next message, while what was there before is read. */
struct source {
    rd_kafka_queue_t *queue;
    rd_kafka_message_t *head;
    bool finished;
};

/* Waits until the source has a head or has come to its end.  False when stopped. */
static bool fetch_head(struct source *source)
{
    while (source->head == NULL && !source->finished && !stopped) {
        rd_kafka_message_t *message = rd_kafka_consume_queue(source->queue, WAIT_MS);
        if (message && message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            source->head = message;
        } else if (message) {
            source->finished = message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
            rd_kafka_message_destroy(message);
        }
    }
    return !stopped;
}

static struct source *oldest(struct source *sources, int count)
{
    struct source *found = NULL;
    for (int i = 0; i < count; i++)
        if (sources[i].head && (found == NULL || rd_kafka_message_timestamp(sources[i].head, NULL) <
                                                     rd_kafka_message_timestamp(found->head, NULL)))
            found = &sources[i];
    return found;
}

static void show_history(struct tail *tail, const rd_kafka_topic_partition_list_t *list)
{
    struct source *sources = must_alloc((size_t)list->cnt * sizeof(*sources));
    rd_kafka_queue_t *all = rd_kafka_queue_get_consumer(tail->client);

    for (int i = 0; i < list->cnt; i++) {
        sources[i].queue = rd_kafka_queue_get_partition(tail->client, list->elems[i].topic, list->elems[i].partition);
        rd_kafka_queue_forward(sources[i].queue, NULL);
    }
    while (!stopped) {
        for (int i = 0; i < list->cnt && fetch_head(&sources[i]); i++)
            rd_kafka_poll(tail->client, 0);
        struct source *next = oldest(sources, list->cnt);
        if (next == NULL)
            break;
        show(tail, next->head);
        rd_kafka_message_destroy(next->head);
        next->head = NULL;
    }
    for (int i = 0; i < list->cnt; i++) {
        if (sources[i].head)
            rd_kafka_message_destroy(sources[i].head);
        rd_kafka_queue_forward(sources[i].queue, all);
        rd_kafka_queue_destroy(sources[i].queue);
    }
    rd_kafka_queue_destroy(all);
    free(sources);
    fflush(stdout);
}

static bool follow(struct tail *tail, struct problem *why)
{
    while (!stopped) {
        rd_kafka_poll(tail->client, 0); /* for on_error */
        rd_kafka_message_t *message = rd_kafka_consumer_poll(tail->client, WAIT_MS);
        if (message == NULL || message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
            show_now(tail, message);
        else if (message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
            fprintf(stderr, "sb tail: %s\n", rd_kafka_message_errstr(message));
        if (message)
            rd_kafka_message_destroy(message);
        if (fflush(stdout) != 0)
            return fail(why, "could not write: %s", strerror(errno));
    }
    return true;
}

static bool tail_topics(struct tail *tail, struct problem *why)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(64);
    bool good = list_partitions(tail, list, why);

    if (good) {
        bool history = tail->from_start || tail->since_ms;
        rd_kafka_resp_err_t error = rd_kafka_assign(tail->client, list);
        good =
            error == RD_KAFKA_RESP_ERR_NO_ERROR || fail(why, "could not read the topics: %s", rd_kafka_err2str(error));
        if (good && history)
            show_history(tail, list);
        good = good && follow(tail, why);
    }
    rd_kafka_topic_partition_list_destroy(list);
    return good;
}

static int tail_run(int argc, char **argv)
{
    static struct tail tail;
    struct place place;
    struct place_settings settings;
    struct problem why;

    int wrong = read_options(&tail, argc, argv);
    if (wrong >= 0)
        return wrong;
    place_find(&place);
    if (!place_settings_read(&place, &settings, &why))
        return command_fail(argv, EXIT_WRONG, "%s", why.text);
    if (settings.kafka_brokers == NULL)
        return command_fail(argv, EXIT_WRONG,
                            "KAFKA_BROKERS is not set, and nothing was started here: \"sb up\" starts a Kafka");
    tail.brokers = settings.kafka_brokers;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    bool good = open_client(&tail, &why) && tail_topics(&tail, &why);
    if (tail.client) {
        rd_kafka_consumer_close(tail.client);
        rd_kafka_destroy(tail.client);
    }
    if (!good)
        return command_fail(argv, EXIT_FAILED, "%s", why.text);
    if (tail.left_out || tail.too_many)
        fprintf(stderr, "%" PRId64 " shown; left out: %" PRId64 " that do not match, %" PRId64 " beyond %d a second\n",
                tail.shown, tail.left_out, tail.too_many, LINES_PER_S_MAX);
    return EXIT_FINE;
}

const struct command command_tail = {
    .name = "tail",
    .summary = "shows events as they pass, a line each",
    .help =
        "Usage: sb tail [TOPIC…] [--from-start | --since WHEN] [--type TYPE] [--key KEY] [--tenant TENANT] [--grep "
        "TEXT]\n"
        "               [--header | --json | --raw]\n\n"
        "Shows time, topic, type, key and the start of the data of each event from now on, until Ctrl-C; of all "
        "topics when none is\n"
        "named. Reads without a consumer group: nobody else notices. At a terminal at most 200 lines a second; "
        "what is left out is said.\n\n"
        "Options\n"
        "  --from-start     first everything Kafka still has, in the order of time\n"
        "  --since WHEN     first what came since then\n"
        "  --type TYPE      only this type; * and ? stand for anything: 'call.*'\n"
        "  --key KEY        only this key (the conversation); * and ? stand for anything\n"
        "  --tenant TENANT  only this company's; * and ? stand for anything. Events at the door have none yet\n"
        "  --grep TEXT      only events that hold this text anywhere\n"
        "  --header         below each event where it stands, and its attributes: id, run, correlationid, causationid, "
        "time, …\n"
        "  --json           a JSON object a line: topic, partition, offset, time, key, and the whole event\n"
        "  --raw            the message as it is in Kafka\n\n"
        WHEN_PARAGRAPH "\n"
        "Examples\n"
        "  sb tail                                        everything, from now on\n"
        "  sb tail --from-start --key CAL123              what happened to one call\n"
        "  sb tail dead.transcribe dead.analyze --since 1d --header\n"
        "  sb tail calls --json --since 1h | jq -c .event.data\n\n"
        "Exit codes: 0 ended as asked, 1 Kafka cannot be read, 2 the command line or a setting is wrong\n",
    .run = tail_run,
};
