#include "transcribe/transcribe.h"

#include "common/json.h"
#include "common/tree.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define JSON_BYTES_MAX ASK_ANSWER_BYTES_MAX

const char *transcript_speaker(int channel, int channels)
{
    return channels == 1 ? "speaker" : channel == 0 ? "agent" : "customer";
}

/* Every line of a transcript begins with its speaker, so nobody may say a line break. */
static char *one_line(const char *text, struct arena *arena)
{
    char *line = arena_alloc(arena, strlen(text) + 1), *end = line;
    for (const char *at = text; *at; at++) {
        if ((unsigned char)*at > ' ')
            *end++ = *at;
        else if (end > line && end[-1] != ' ')
            *end++ = ' ';
    }
    while (end > line && end[-1] == ' ')
        end--;
    *end = '\0';
    return line;
}

static double seconds(double value)
{
    return isfinite(value) && value > 0 ? round(value * 1000) / 1000 : 0;
}

void transcript_add(struct transcript *transcript, const struct segment *segment, struct arena *arena)
{
    const char *text = one_line(segment->text, arena);
    if (!text[0])
        return;
    if (transcript->count == transcript->room) {
        size_t room = transcript->room ? 2 * transcript->room : 64;
        struct segment *segments = arena_alloc(arena, room * sizeof(*segments));
        if (transcript->count > 0)
            memcpy(segments, transcript->segments, transcript->count * sizeof(*segments));
        transcript->segments = segments;
        transcript->room = room;
    }
    struct segment *added = &transcript->segments[transcript->count++];
    *added = *segment;
    added->added = transcript->count;
    added->speaker = arena_copy(arena, segment->speaker);
    added->text = text;
    added->start_s = seconds(segment->start_s);
    added->end_s = seconds(segment->end_s) > added->start_s ? seconds(segment->end_s) : added->start_s;
    transcript->text_bytes += strlen(text);
}

static int by_start(const void *a, const void *b)
{
    const struct segment *one = a, *other = b;
    if (one->start_s != other->start_s)
        return one->start_s < other->start_s ? -1 : 1;
    return one->added < other->added ? -1 : one->added > other->added;
}

void transcript_sort(struct transcript *transcript)
{
    if (transcript->count > 0)
        qsort(transcript->segments, transcript->count, sizeof(*transcript->segments), by_start);
}

bool transcript_fits(const struct transcript *transcript)
{
    return transcript->count <= TRANSCRIPT_SEGMENTS_MAX && transcript->text_bytes <= TRANSCRIPT_TEXT_BYTES_MAX;
}

/* --- as JSON ------------------------------------------------------------------------------------------------------ */

static void write_segments(struct buf *json, const struct transcript *transcript)
{
    buf_add_char(json, '[');
    for (size_t i = 0; i < transcript->count; i++) {
        const struct segment *segment = &transcript->segments[i];
        json_separate(json);
        buf_add_char(json, '{');
        json_name(json, "speaker");
        json_write_string(json, segment->speaker);
        json_name(json, "start_s");
        json_write_number(json, segment->start_s);
        json_name(json, "end_s");
        json_write_number(json, segment->end_s);
        json_name(json, "text");
        json_write_string(json, segment->text);
        if (segment->has_confidence) {
            json_name(json, "confidence");
            json_write_number(json, segment->confidence);
        }
        buf_add_char(json, '}');
    }
    buf_add_char(json, ']');
}

static char *taken(struct buf *buf, struct arena *arena)
{
    char *copy = arena_copy_text(arena, buf_text(buf));
    buf_done(buf);
    return copy;
}

struct text transcript_write(const struct transcript *transcript, struct arena *arena)
{
    struct buf json;
    buf_init(&json, JSON_BYTES_MAX);
    buf_add_char(&json, '{');
    json_name(&json, "provider");
    json_write_string(&json, transcript->provider);
    json_name(&json, "language");
    json_write_string(&json, transcript->language);
    json_name(&json, "model");
    json_write_string(&json, transcript->model);
    json_name(&json, "segments");
    write_segments(&json, transcript);
    buf_add_char(&json, '}');
    return text_of(taken(&json, arena));
}

const char *transcript_segments_json(const struct transcript *transcript, struct arena *arena)
{
    struct buf json;
    buf_init(&json, JSON_BYTES_MAX);
    write_segments(&json, transcript);
    return taken(&json, arena);
}

static double number_of(const cJSON *object, const char *name)
{
    const cJSON *item = tree_get(object, name);
    return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

bool transcript_read(struct text json, struct arena *arena, struct transcript *ret, struct problem *why)
{
    const cJSON *tree = tree_read(arena, json), *segments = tree_get(tree, "segments"), *item;
    *ret = (struct transcript){ .provider = tree_string(tree, "provider"),
                                .language = tree_string(tree, "language"),
                                .model = tree_string(tree, "model") };
    if (!ret->provider || !cJSON_IsArray(segments))
        return fail(why, "the recorded answer is not a transcript");
    cJSON_ArrayForEach(item, segments) {
        const char *speaker = tree_string(item, "speaker"), *text = tree_string(item, "text");
        if (!speaker || !text)
            return fail(why, "the recorded answer is not a transcript");
        transcript_add(ret,
                       &(struct segment){ .speaker = speaker,
                                          .text = text,
                                          .start_s = number_of(item, "start_s"),
                                          .end_s = number_of(item, "end_s"),
                                          .confidence = number_of(item, "confidence"),
                                          .has_confidence = tree_get(item, "confidence") != NULL },
                       arena);
    }
    return true;
}

/* --- as a whole --------------------------------------------------------------------------------------------------- */

const char *transcript_lines(const struct transcript *transcript, struct arena *arena)
{
    struct buf lines;
    buf_init(&lines, JSON_BYTES_MAX);
    for (size_t i = 0; i < transcript->count; i++)
        buf_printf(&lines, "%s%s: %s", i ? "\n" : "", transcript->segments[i].speaker, transcript->segments[i].text);
    return taken(&lines, arena);
}

int transcript_words(const struct transcript *transcript)
{
    int words = 0;
    for (size_t i = 0; i < transcript->count; i++) {
        words++; /* they are parted by single spaces */
        for (const char *at = transcript->segments[i].text; (at = strchr(at, ' ')); at++)
            words++;
    }
    return words;
}

int transcript_speakers(const struct transcript *transcript)
{
    int speakers = 0;
    for (size_t i = 0; i < transcript->count; i++) {
        size_t earlier = 0;
        while (strcmp(transcript->segments[earlier].speaker, transcript->segments[i].speaker) != 0)
            earlier++;
        speakers += earlier == i;
    }
    return speakers;
}
