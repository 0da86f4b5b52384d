/* keys.c: events of one key one after the other, keys in parallel. */
#include "common/stage/runtime.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS_FIRST 1024

uint64_t key_hash(struct text name)
{
    uint64_t hash = 14695981039346656037u;      /* FNV-1a */
    for (size_t i = 0; i < name.bytes; i++)
        hash = (hash ^ (unsigned char)name.at[i]) * 1099511628211u;
    return hash;
}

void keys_init(void)
{
    runtime.bucket_count = BUCKETS_FIRST;
    runtime.buckets = must_alloc(runtime.bucket_count * sizeof(*runtime.buckets));
}

static void keys_grow(void)
{
    size_t count = runtime.bucket_count * 2;
    struct key **buckets = must_alloc(count * sizeof(*buckets));
    for (size_t i = 0; i < runtime.bucket_count; i++)
        for (struct key *key = runtime.buckets[i], *next; key; key = next) {
            next = key->next_in_bucket;
            key->next_in_bucket = buckets[key->hash & (count - 1)];
            buckets[key->hash & (count - 1)] = key;
        }
    free(runtime.buckets);
    runtime.buckets = buckets;
    runtime.bucket_count = count;
}

static struct key *key_get(struct text name)
{
    uint64_t hash = key_hash(name);
    struct key **bucket = &runtime.buckets[hash & (runtime.bucket_count - 1)];
    for (struct key *key = *bucket; key; key = key->next_in_bucket)
        if (key->hash == hash && key->bytes == name.bytes && memcmp(key->name, name.at, name.bytes) == 0)
            return key;

    struct key *key = must_alloc(sizeof(*key) + name.bytes + 1);
    key->hash = hash;
    key->bytes = name.bytes;
    memcpy(key->name, name.at, name.bytes);
    key->next_in_bucket = *bucket;
    *bucket = key;
    if (++runtime.key_count > runtime.bucket_count)
        keys_grow();
    return key;
}

static void key_drop(struct key *key)
{
    struct key **at = &runtime.buckets[key->hash & (runtime.bucket_count - 1)];
    while (*at != key)
        at = &(*at)->next_in_bucket;
    *at = key->next_in_bucket;
    runtime.key_count--;
    free(key);
}

static void look_up(struct work *work)
{
    work->state = WORK_LOOKUP;
    list_push(&runtime.lookup, work);
    pthread_cond_signal(&runtime.lookup_ready);
}

/* A route that preempts cancels whatever its key is doing, the moment it is consumed. */
static void cancel_running(struct key *key)
{
    for (struct work *work = key->works.first; work; work = work->next_of_key)
        work->cancelled = true;
    http_client_wake(runtime.http);
}

void key_append(struct work *work)
{
    struct key *key = key_get(work->message_key);
    work->key = key;
    if (work->route && work->route->preempts)
        cancel_running(key);
    work->next_of_key = NULL;
    if (key->works.last)
        key->works.last->next_of_key = work;
    else
        key->works.first = work;
    key->works.last = work;
    if (key->works.count++ == 0)
        look_up(work);
    else
        work->state = WORK_QUEUED;
}

void key_pop(struct work *work)
{
    struct key *key = work->key;
    key->works.first = work->next_of_key;
    if (--key->works.count == 0) {
        key_drop(key);
        return;
    }
    if (!runtime.stopping)
        look_up(key->works.first);
}
