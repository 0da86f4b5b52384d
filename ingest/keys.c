/* What Postgres answers, what the copy holds and what the ring is built from is one JSON text:
 *     {"companies": {"acme": "key,older key", "other": null}, "numbers": {"+15550100001": "acme"},
 *      "about": {"acme": ["US", "Acme, Inc."]}}
 * An older copy has no "about". */
#include "ingest/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/crypto.h"
#include "common/json.h"
#include "common/log.h"
#include "common/postgres.h"
#include "common/signature.h"

#define KEYRING_ARENA_BYTES_MAX (8 * (size_t)KEYRING_BYTES_MAX)
#define KEYRING_PATH_BYTES_MAX 1024
#define OWNER_SHARED (-1)

static const struct statement read_keyring = {
    .name = "read_keyring",
    .text = "SELECT json_build_object("
            " 'companies', coalesce((SELECT json_object_agg(tenant, callrail_keys ORDER BY tenant)"
            " FROM companies), '{}'),"
            " 'numbers', coalesce((SELECT json_object_agg(number, tenant ORDER BY number) FROM tracking_numbers"
            " WHERE tenant <> 'unassigned'), '{}'),"
            " 'about', coalesce((SELECT json_object_agg(tenant, json_build_array(default_region, name) ORDER BY tenant)"
            " FROM companies WHERE tenant <> 'unassigned'), '{}')) AS keyring",
};

struct company {
    const char *tenant;
    struct text keys;               /* a part of the ring's secrets; empty: it signs with the shared ones */
    const char *region, *name;      /* NULL: not known */
};

struct number {
    const char *number, *tenant;
};

struct key_owner {
    int company;                    /* index, or OWNER_SHARED */
    int key;                        /* which of its keys */
};

/* Never changed once it is made. */
struct ring {
    struct arena *arena;
    char *secrets;                  /* all keys joined by commas, in guarded memory */
    size_t secrets_bytes;
    struct text shared;             /* a part of them */
    struct key_owner *owners;       /* of each key, in order */
    int key_count;
    struct company *companies;      /* by tenant */
    size_t company_count;
    struct number *numbers;         /* by number */
    size_t number_count;
};

struct keyring {
    struct keyring_settings settings;
    struct pg_pool *pool;
    uint8_t hash[SHA256_BYTES];     /* of the text the ring was built from; refresher's */
    bool away;                      /* the log has said that it does not; refresher's */
    pthread_t refresher;
    bool refresher_runs;
    pthread_mutex_t lock;           /* guards what follows */
    pthread_cond_t wake;
    struct ring *ring;
    bool known;                     /* Postgres has answered once */
    bool refreshed, closing;
};

/* --- the ring ------------------------------------------------------------------------------------------------- */

static void ring_free(struct ring *ring)
{
    if (!ring)
        return;
    sodium_free(ring->secrets);
    arena_free(ring->arena);
    free(ring);
}

/* Appends the keys of one owner, without blanks and empty ones, so that signature_callrail's number is an index
 * here. */
static struct text ring_add_keys(struct ring *ring, const char *keys, int company)
{
    size_t begin = ring->secrets_bytes;
    for (int key = 0; keys && *keys;) {
        keys += strspn(keys, ", \t");
        size_t bytes = strcspn(keys, ",");
        size_t kept = bytes;
        while (kept > 0 && (keys[kept - 1] == ' ' || keys[kept - 1] == '\t'))
            kept--;
        if (kept > 0) {
            if (ring->secrets_bytes > 0)
                ring->secrets[ring->secrets_bytes++] = ',';
            if (key == 0)
                begin = ring->secrets_bytes;
            memcpy(ring->secrets + ring->secrets_bytes, keys, kept);
            ring->secrets_bytes += kept;
            ring->owners[ring->key_count++] = (struct key_owner){ company, key++ };
        }
        keys += bytes;
    }
    return (struct text){ ring->secrets + begin, ring->secrets_bytes - begin };
}

static size_t count_members(struct json_value object)
{
    struct json_scan scan;
    struct text name;
    struct json_value value;
    size_t count = 0;

    json_enter(&scan, object);
    while (json_member(&scan, &name, &value))
        count++;
    return count;
}

static int by_tenant(const void *a, const void *b)
{
    return strcmp(((const struct company *)a)->tenant, ((const struct company *)b)->tenant);
}

static int by_number(const void *a, const void *b)
{
    return strcmp(((const struct number *)a)->number, ((const struct number *)b)->number);
}

static void ring_read_companies(struct ring *ring, struct json_value companies, struct arena *scratch)
{
    struct json_scan scan;
    struct text name;
    struct json_value value;

    json_enter(&scan, companies);
    while (json_member(&scan, &name, &value)) {
        const char *tenant = json_string((struct json_value){ JSON_STRING, name }, ring->arena);
        const char *keys = json_string(value, scratch);
        if (strlen(tenant) < TENANT_BYTES)
            ring->companies[ring->company_count++] = (struct company){ .tenant = tenant, .keys = text_of(keys) };
    }
    qsort(ring->companies, ring->company_count, sizeof(ring->companies[0]), by_tenant);
    for (size_t i = 0; i < ring->company_count; i++)
        ring->companies[i].keys = ring_add_keys(ring, ring->companies[i].keys.at, (int)i);
}

static struct company *ring_company(const struct ring *ring, const char *tenant)
{
    return bsearch(&(struct company){ .tenant = tenant }, ring->companies, ring->company_count,
                   sizeof(ring->companies[0]), by_tenant);
}

static void ring_read_about(struct ring *ring, struct json_value about, struct arena *scratch)
{
    struct json_scan scan, parts;
    struct text tenant;
    struct json_value value, part;

    json_enter(&scan, about);
    while (json_member(&scan, &tenant, &value)) {
        struct company *company =
            ring_company(ring, json_string((struct json_value){ JSON_STRING, tenant }, scratch));
        if (!company || value.kind != JSON_ARRAY)
            continue;
        json_enter(&parts, value);
        company->region = json_element(&parts, &part) ? json_string(part, ring->arena) : NULL;
        company->name = json_element(&parts, &part) ? json_string(part, ring->arena) : NULL;
    }
}

static void ring_read_numbers(struct ring *ring, struct json_value numbers)
{
    struct json_scan scan;
    struct text name;
    struct json_value value;

    json_enter(&scan, numbers);
    while (json_member(&scan, &name, &value)) {
        const char *tenant = json_string(value, ring->arena);
        if (tenant)
            ring->numbers[ring->number_count++] =
                (struct number){ json_string((struct json_value){ JSON_STRING, name }, ring->arena), tenant };
    }
    qsort(ring->numbers, ring->number_count, sizeof(ring->numbers[0]), by_number);
}

static struct ring *ring_read(struct text content, const char *shared_keys, struct problem *why)
{
    struct json_value whole, companies, numbers, about;
    if (!json_parse(content, &whole, why))
        return NULL;
    if (!json_find(whole, "companies", &companies) || !json_find(whole, "numbers", &numbers) ||
        companies.kind != JSON_OBJECT || numbers.kind != JSON_OBJECT) {
        fail(why, "it has no companies or no numbers");
        return NULL;
    }
    struct ring *ring = must_alloc(sizeof(*ring));
    struct arena *scratch = arena_new(KEYRING_ARENA_BYTES_MAX);
    /* no list of keys gets longer by losing blanks, and each gives at most one comma */
    size_t room = content.bytes + (shared_keys ? strlen(shared_keys) : 0) + 2;
    ring->arena = arena_new(KEYRING_ARENA_BYTES_MAX);
    ring->secrets = sodium_malloc(room);
    if (!ring->secrets)
        abort();
    ring->owners = arena_alloc(ring->arena, room / 2 * sizeof(ring->owners[0]));
    ring->companies = arena_alloc(ring->arena, (count_members(companies) + 1) * sizeof(ring->companies[0]));
    ring->numbers = arena_alloc(ring->arena, (count_members(numbers) + 1) * sizeof(ring->numbers[0]));
    ring->shared = ring_add_keys(ring, shared_keys, OWNER_SHARED);
    ring_read_companies(ring, companies, scratch);
    ring_read_numbers(ring, numbers);
    if (json_find(whole, "about", &about) && about.kind == JSON_OBJECT)
        ring_read_about(ring, about, scratch);
    sodium_mprotect_readonly(ring->secrets);
    arena_free(scratch);
    return ring;
}

/* --- the copy ------------------------------------------------------------------------------------------------- */

static bool write_all(int fd, struct text content)
{
    while (content.bytes > 0) {
        ssize_t written = write(fd, content.at, content.bytes);
        if (written < 0)
            return false;
        content.at += written;
        content.bytes -= (size_t)written;
    }
    return fsync(fd) == 0;
}

/* Whole or not at all: a new file takes the old one's name. */
static bool copy_write(const char *path, struct text content, struct problem *why)
{
    char new_path[KEYRING_PATH_BYTES_MAX + 8];
    snprintf(new_path, sizeof(new_path), "%s.new", path);
    int fd = open(new_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail(why, "could not write \"%s\": %s", new_path, strerror(errno));
    bool written = write_all(fd, content);
    int error = errno;
    close(fd);
    if (written && rename(new_path, path) == 0)
        return true;
    error = written ? errno : error;
    unlink(new_path);
    return fail(why, "could not write \"%s\": %s", path, strerror(error));
}

/* False when there is none, with a sentence only when there should be. */
static bool copy_read(const char *path, struct buf *ret, struct problem *why)
{
    char part[16384];
    ssize_t bytes;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno != ENOENT && fail(why, "could not read \"%s\": %s", path, strerror(errno));
    while ((bytes = read(fd, part, sizeof(part))) > 0)
        buf_add(ret, part, (size_t)bytes);
    sodium_memzero(part, sizeof(part));
    close(fd);
    return (bytes == 0 && !ret->overflowed) ||
           fail(why, "could not read \"%s\": %s", path, bytes < 0 ? strerror(errno) : "it is too large");
}

/* --- refreshing ----------------------------------------------------------------------------------------------- */

/* Puts a ring in place, unless it is the same as before.  True when it is a new one. */
static bool keyring_set(struct keyring *keyring, struct text content, struct problem *why)
{
    uint8_t hash[SHA256_BYTES];
    sha256(content, hash);
    if (keyring->ring && memcmp(hash, keyring->hash, sizeof(hash)) == 0)
        return false;
    struct ring *ring = ring_read(content, keyring->settings.shared_keys, why);
    if (!ring)
        return false;
    memcpy(keyring->hash, hash, sizeof(hash));
    pthread_mutex_lock(&keyring->lock);
    struct ring *before = keyring->ring;
    keyring->ring = ring;
    pthread_mutex_unlock(&keyring->lock);
    ring_free(before);
    log_info("signing keys and numbers read", LOG_INT("companies", ring->company_count),
             LOG_INT("numbers", ring->number_count), LOG_INT("keys", ring->key_count));
    return true;
}

static void keyring_refresh(struct keyring *keyring)
{
    struct problem why = { 0 };
    struct rows rows;
    struct arena *arena = arena_new(4 * (size_t)KEYRING_BYTES_MAX);

    bool answered = pg_query(keyring->pool, &read_keyring, PARAMS(), arena, &rows, &why) == PG_FINE;
    if (answered) {
        struct text content = text_of(row_get(&rows, 0, "keyring"));
        bool fits =
            content.bytes <= KEYRING_BYTES_MAX || fail(&why, "the keyring is larger than %d bytes", KEYRING_BYTES_MAX);
        if (fits && keyring_set(keyring, content, &why) && keyring->settings.copy_path)
            copy_write(keyring->settings.copy_path, content, &why);
        if (why.text[0])
            log_warning("signing keys and numbers could not be kept", LOG_TEXT("reason", why.text));
        keyring->away = false;
    } else if (!keyring->away) {
        log_warning("signing keys and numbers are the last known ones", LOG_TEXT("reason", why.text));
        keyring->away = true;
    }
    arena_free(arena);
    pthread_mutex_lock(&keyring->lock);
    keyring->refreshed = true;
    keyring->known = keyring->known || answered;
    pthread_cond_broadcast(&keyring->wake);
    pthread_mutex_unlock(&keyring->lock);
}

static struct timespec time_after(int64_t ms)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    int64_t ns = time.tv_nsec + ms % 1000 * 1000000;
    return (struct timespec){ time.tv_sec + ms / 1000 + ns / 1000000000, ns % 1000000000 };
}

bool keyring_is_known(struct keyring *keyring)
{
    pthread_mutex_lock(&keyring->lock);
    bool known = keyring->known;
    pthread_mutex_unlock(&keyring->lock);
    return known;
}

static void *refresher_main(void *context)
{
    struct keyring *keyring = context;

    pthread_setname_np(pthread_self(), "keys");
    for (;;) {
        keyring_refresh(keyring);
        struct timespec next = time_after(keyring_is_known(keyring) ? KEYRING_REFRESH_MS : KEYRING_FIRST_REFRESH_MS);
        pthread_mutex_lock(&keyring->lock);
        while (!keyring->closing && pthread_cond_timedwait(&keyring->wake, &keyring->lock, &next) != ETIMEDOUT)
            ;
        bool closing = keyring->closing;
        pthread_mutex_unlock(&keyring->lock);
        if (closing)
            return NULL;
    }
}

/* --- opening -------------------------------------------------------------------------------------------------- */

static bool keyring_start(struct keyring *keyring, bool has_copy, struct problem *why)
{
    if (!keyring->pool)
        return true;
    if (pthread_create(&keyring->refresher, NULL, refresher_main, keyring) != 0)
        return fail(why, "could not start the thread that reads signing keys");
    keyring->refresher_runs = true;
    if (has_copy)
        return true;
    struct timespec end = time_after(KEYRING_FIRST_WAIT_MS);
    pthread_mutex_lock(&keyring->lock);
    while (!keyring->refreshed && pthread_cond_timedwait(&keyring->wake, &keyring->lock, &end) != ETIMEDOUT)
        ;
    pthread_mutex_unlock(&keyring->lock);
    return true;
}

/* The copy, or what holds without one: the shared keys and no company. */
static bool keyring_read_copy(struct keyring *keyring)
{
    struct problem why = { 0 };
    struct buf content;

    buf_init(&content, KEYRING_BYTES_MAX);
    bool good = keyring->settings.copy_path && copy_read(keyring->settings.copy_path, &content, &why) &&
                keyring_set(keyring, buf_text(&content), &why);
    if (!good && why.text[0])
        log_warning("the last known signing keys cannot be used", LOG_TEXT("file", keyring->settings.copy_path),
                    LOG_TEXT("reason", why.text));
    if (content.at)
        sodium_memzero(content.at, content.bytes);
    buf_done(&content);
    if (!good)
        keyring_set(keyring, TEXT("{\"companies\":{},\"numbers\":{}}"), &why);
    return good;
}

struct keyring *keyring_open(const struct keyring_settings *settings, struct problem *why)
{
    if (settings->copy_path && strlen(settings->copy_path) >= KEYRING_PATH_BYTES_MAX) {
        fail(why, "the path of the signing keys' copy is longer than %d bytes; set STATE_DIR", KEYRING_PATH_BYTES_MAX);
        return NULL;
    }
    struct keyring *keyring = must_alloc(sizeof(*keyring));
    pthread_condattr_t attributes;
    keyring->settings = *settings;
    pthread_mutex_init(&keyring->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&keyring->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    if (settings->database_url)
        keyring->pool = pg_pool_new(&(struct pg_pool_settings){ .url = settings->database_url,
                                                                .role = settings->database_role,
                                                                .application_name = "ingest keys",
                                                                .connections_max = 1,
                                                                .wait_ms_max = KEYRING_FIRST_WAIT_MS });
    if (!keyring_start(keyring, keyring_read_copy(keyring), why)) {
        keyring_close(keyring);
        return NULL;
    }
    return keyring;
}

void keyring_close(struct keyring *keyring)
{
    if (!keyring)
        return;
    if (keyring->refresher_runs) {
        pthread_mutex_lock(&keyring->lock);
        keyring->closing = true;
        pthread_cond_broadcast(&keyring->wake);
        pthread_mutex_unlock(&keyring->lock);
        pthread_join(keyring->refresher, NULL);
    }
    pg_pool_free(keyring->pool);
    ring_free(keyring->ring);
    pthread_cond_destroy(&keyring->wake);
    pthread_mutex_destroy(&keyring->lock);
    free(keyring);
}

/* --- asking --------------------------------------------------------------------------------------------------- */

static struct signer signer_of_any(const struct ring *ring, struct text signature, struct text body)
{
    struct signer signer = { .kind = SIGNER_NO_KEY };
    if (ring->key_count == 0)
        return signer;
    if (body.bytes > KEYS_TRIED_BYTES_MAX / (size_t)ring->key_count) {
        signer.kind = SIGNER_UNTRIED;
        return signer;
    }
    signer.kind = SIGNER_UNKNOWN;
    int key = signature_callrail((struct text){ ring->secrets, ring->secrets_bytes }, signature, body);
    if (key == SIGNATURE_WRONG || key >= ring->key_count)
        return signer;
    signer.key = ring->owners[key].key;
    signer.kind = SIGNER_SHARED;
    if (ring->owners[key].company != OWNER_SHARED) {
        signer.kind = SIGNER_COMPANY;
        snprintf(signer.tenant, sizeof(signer.tenant), "%s", ring->companies[ring->owners[key].company].tenant);
    }
    return signer;
}

static struct signer signer_of_company(const struct ring *ring, const char *company, struct text signature,
                                       struct text body)
{
    struct signer signer = { .kind = SIGNER_UNKNOWN };
    const struct company *found = ring_company(ring, company);
    if (!found)
        return signer;
    struct text keys = found->keys.bytes > 0 ? found->keys : ring->shared;
    if (keys.bytes == 0) {
        signer.kind = SIGNER_NO_KEY;
        return signer;
    }
    int key = signature_callrail(keys, signature, body);
    if (key == SIGNATURE_WRONG)
        return signer;
    signer.kind = SIGNER_COMPANY;
    signer.key = key;
    snprintf(signer.tenant, sizeof(signer.tenant), "%s", found->tenant);
    return signer;
}

struct signer keyring_signer(struct keyring *keyring, const char *company, struct text signature, struct text body)
{
    pthread_mutex_lock(&keyring->lock);
    struct signer signer = company ? signer_of_company(keyring->ring, company, signature, body)
                                   : signer_of_any(keyring->ring, signature, body);
    pthread_mutex_unlock(&keyring->lock);
    return signer;
}

bool keyring_company(struct keyring *keyring, const char *tenant, struct company_about *ret)
{
    pthread_mutex_lock(&keyring->lock);
    const struct company *found = strcmp(tenant, "unassigned") != 0 ? ring_company(keyring->ring, tenant) : NULL;
    if (found) {
        snprintf(ret->region, sizeof(ret->region), "%s", found->region ? found->region : "");
        snprintf(ret->name, sizeof(ret->name), "%s", found->name ? found->name : "");
    }
    pthread_mutex_unlock(&keyring->lock);
    return found;
}

bool keyring_is_of_another(struct keyring *keyring, const char *number, const char *tenant)
{
    pthread_mutex_lock(&keyring->lock);
    const struct ring *ring = keyring->ring;
    const struct number *found = bsearch(&(struct number){ .number = number }, ring->numbers, ring->number_count,
                                         sizeof(ring->numbers[0]), by_number);
    bool of_another = found && strcmp(found->tenant, tenant) != 0;
    pthread_mutex_unlock(&keyring->lock);
    return of_another;
}
