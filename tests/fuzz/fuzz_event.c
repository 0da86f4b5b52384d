/* Any bytes as a message, and as the data of every type: what is read is written and reads back the same, what is
 * refused says why. */
#include "tests/fuzz/fuzz.h"

#include "common/event.h"
#include "common/record.h"
#include "deploy/sb/letters.h"
#include "tests/readers.h"

#define ARENA_BYTES_MAX (64 * 1024 * 1024)

static rd_kafka_topic_t *dead;

static void try_reader(const struct reader *reader, struct text json, struct arena *arena)
{
    struct problem why = { .text = "" };
    struct buf once, twice;

    buf_init(&once, ARENA_BYTES_MAX);
    buf_init(&twice, ARENA_BYTES_MAX);
    if (!reader->rewrite(json, arena, &once, &why)) {
        check_reason(&why);
    } else {
        require(reader->rewrite(buf_text(&once), arena, &twice, &why));
        require(text_equal(buf_text(&once), buf_text(&twice)));
    }
    buf_done(&once);
    buf_done(&twice);
}

static void write_once_more(const struct event *event, struct buf *out, struct event *ret, struct arena *arena)
{
    struct problem why;

    event_write(out, event, event_type_find(event->type), NULL);
    require(!out->overflowed && memchr(out->at, '\n', out->bytes) == NULL);
    require(event_read(buf_text(out), arena, ret, &why));
}

static void try_event(const struct event *event, struct arena *arena)
{
    struct event again, third;
    struct buf once, twice;

    buf_init(&once, ARENA_BYTES_MAX);
    buf_init(&twice, ARENA_BYTES_MAX);
    write_once_more(event, &once, &again, arena);
    write_once_more(&again, &twice, &third, arena);
    require(text_equal(buf_text(&once), buf_text(&twice)));
    buf_done(&once);
    buf_done(&twice);
}

/* As an operator sees it in the list of dead letters. */
static void try_letter(struct text message, struct arena *arena)
{
    const rd_kafka_message_t record = { .rkt = dead, .payload = (void *)message.at, .len = message.bytes };
    struct letter letter;
    struct event_rejected rejected;
    struct problem why = { .text = "" };

    if (letter_read(&record, arena, &letter, &rejected, &why))
        require(text_is_utf8(text_of(letter.group)) && letter.event_id && letter.type && letter.key);
    else
        check_reason(&why);
}

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    (void)count;
    (void)arguments;
    require(readers_forgotten() == NULL);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, NULL, NULL, 0); /* talks to nobody: it knows no broker */
    dead = client ? rd_kafka_topic_new(client, "dead.ingest", NULL) : NULL;
    require(dead != NULL);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text input = { (const char *)data, size };
    CLEANUP(arena_freep) struct arena *arena = arena_new(ARENA_BYTES_MAX);
    struct problem why = { .text = "" };
    struct event event;
    bool is_event = event_read(input, arena, &event, &why);

    if (is_event)
        try_event(&event, arena);
    else
        check_reason(&why);
    try_letter(input, arena);
    for (size_t i = 0; i < LENGTH(readers); i++)
        try_reader(&readers[i], is_event ? event.data : input, arena);
    return 0;
}
