#include "ingest/refusals.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"

struct refusal {
    char source[32], reason[32];
    char path[128];                     /* of the last one */
    char explanation[256];
    int64_t count, last_us;
};

static struct refusal refusals[REFUSALS_MAX];
static size_t refusal_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Lock held. */
static struct refusal *refusal_find(const char *source, const char *reason)
{
    for (size_t i = 0; i < refusal_count; i++)
        if (strcmp(refusals[i].source, source) == 0 && strcmp(refusals[i].reason, reason) == 0)
            return &refusals[i];
    if (refusal_count == REFUSALS_MAX)
        return &refusals[REFUSALS_MAX - 1];
    struct refusal *refusal = &refusals[refusal_count++];
    bool last = refusal_count == REFUSALS_MAX;
    snprintf(refusal->source, sizeof(refusal->source), "%s", last ? "other" : source);
    snprintf(refusal->reason, sizeof(refusal->reason), "%s", last ? "other" : reason);
    return refusal;
}

void refusal_note(const char *source, const char *reason, const char *path, const char *explanation)
{
    pthread_mutex_lock(&lock);
    struct refusal *refusal = refusal_find(source, reason);
    refusal->count++;
    refusal->last_us = now_us();
    snprintf(refusal->path, sizeof(refusal->path), "%s", path);
    snprintf(refusal->explanation, sizeof(refusal->explanation), "%s", explanation);
    pthread_mutex_unlock(&lock);
}

void refusals_report(struct buf *json)
{
    static struct refusal copy[REFUSALS_MAX];   /* of the one thread that reports */
    char time[TIME_BYTES];

    pthread_mutex_lock(&lock);
    size_t count = refusal_count;
    memcpy(copy, refusals, sizeof(copy));
    pthread_mutex_unlock(&lock);
    json_name(json, "refused");
    buf_add_char(json, '[');
    for (size_t i = 0; i < count; i++) {
        json_separate(json);
        buf_add_char(json, '{');
        json_name(json, "source");
        json_write_string(json, copy[i].source);
        json_name(json, "reason");
        json_write_string(json, copy[i].reason);
        json_name(json, "count");
        json_write_integer(json, copy[i].count);
        json_name(json, "last_at");
        json_write_string(json, time_print(copy[i].last_us, time));
        json_name(json, "path");
        json_write_string(json, copy[i].path);
        json_name(json, "explanation");
        json_write_string(json, copy[i].explanation);
        buf_add_char(json, '}');
    }
    buf_add_char(json, ']');
}
