#include "ingest/tokens.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/crypto.h"

static const char scheme[] = "Bearer ", prefix[] = "sb_";
static const char base64url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static const struct statement find_token = {
    .name = "find_token",
    .text = "SELECT tenant, role, state, token_id, user_id FROM token_of($1)",
    .params = 1,
};

/* Each hash has one place; a newer token with the same place takes it. */
struct remembered {
    uint8_t hash[SHA256_BYTES];
    struct token token;
    int64_t fresh_until_us; /* 0: nothing is here */
};

struct tokens {
    struct pg_pool *pool;
    pthread_mutex_t lock; /* guards what follows */
    struct remembered remembered[TOKENS_REMEMBERED_MAX];
};

struct tokens *tokens_new(struct pg_pool *pool)
{
    struct tokens *tokens = must_alloc(sizeof(*tokens));
    tokens->pool = pool;
    pthread_mutex_init(&tokens->lock, NULL);
    return tokens;
}

void tokens_free(struct tokens *tokens)
{
    if (!tokens)
        return;
    pthread_mutex_destroy(&tokens->lock);
    free(tokens);
}

bool token_read(struct text authorization, struct text *ret)
{
    size_t before = sizeof(scheme) - 1, prefix_bytes = sizeof(prefix) - 1;

    if (authorization.bytes < before || strncasecmp(authorization.at, scheme, before) != 0)
        return false;
    struct text token = { authorization.at + before, authorization.bytes - before };
    while (token.bytes > 0 && token.at[0] == ' ') {
        token.at++;
        token.bytes--;
    }
    if (!text_starts(token, prefix) || token.bytes == prefix_bytes || token.bytes > TOKEN_BYTES_MAX)
        return false;
    for (size_t i = prefix_bytes; i < token.bytes; i++)
        if (!token.at[i] || !strchr(base64url, token.at[i]))
            return false;
    *ret = token;
    return true;
}

/* --- remembering ----------------------------------------------------------------------------------------- */

static struct remembered *place_of(struct tokens *tokens, const uint8_t hash[SHA256_BYTES])
{
    size_t number = (size_t)hash[0] << 8 | hash[1];
    return &tokens->remembered[number & (TOKENS_REMEMBERED_MAX - 1)];
}

static bool recall(struct tokens *tokens, const uint8_t hash[SHA256_BYTES], struct token *ret)
{
    pthread_mutex_lock(&tokens->lock);
    const struct remembered *place = place_of(tokens, hash);
    bool known = secret_equal(place->hash, hash, SHA256_BYTES) && monotonic_us() < place->fresh_until_us;
    if (known)
        *ret = place->token;
    pthread_mutex_unlock(&tokens->lock);
    return known;
}

static void remember(struct tokens *tokens, const uint8_t hash[SHA256_BYTES], const struct token *token)
{
    pthread_mutex_lock(&tokens->lock);
    struct remembered *place = place_of(tokens, hash);
    memcpy(place->hash, hash, SHA256_BYTES);
    place->token = *token;
    place->fresh_until_us = monotonic_us() + TOKENS_FRESH_MS * INT64_C(1000);
    pthread_mutex_unlock(&tokens->lock);
}

/* --- asking ---------------------------------------------------------------------------------------------- */

static enum token_state state_of(const char *state)
{
    if (strcmp(state, "valid") == 0)
        return TOKEN_VALID;
    return strcmp(state, "expired") == 0 ? TOKEN_EXPIRED : TOKEN_REVOKED;
}

/* Constraints of the tables keep it from being cut. */
static void put_text(char *room, size_t room_bytes, const char *value)
{
    int bytes = snprintf(room, room_bytes, "%s", value ? value : "");
    assert((size_t)bytes < room_bytes);
    (void)bytes;
}

enum token_state tokens_find(struct tokens *tokens, struct text token, struct arena *arena, struct token *ret,
                             struct problem *why)
{
    uint8_t hash[SHA256_BYTES];
    char hash_text[2 * SHA256_BYTES + 1];
    struct rows rows;

    sha256(token, hash);
    if (recall(tokens, hash, ret))
        return TOKEN_VALID;
    if (pg_query(tokens->pool, &find_token, PARAMS(hex_print(hash, sizeof(hash), hash_text)), arena, &rows, why) !=
        PG_FINE)
        return TOKEN_NOT_CHECKED;
    if (rows.count == 0)
        return TOKEN_UNKNOWN;
    put_text(ret->tenant, sizeof(ret->tenant), row_get(&rows, 0, "tenant"));
    put_text(ret->role, sizeof(ret->role), row_get(&rows, 0, "role"));
    put_text(ret->id, sizeof(ret->id), row_get(&rows, 0, "token_id"));
    put_text(ret->user_id, sizeof(ret->user_id), row_get(&rows, 0, "user_id"));
    enum token_state state = state_of(row_get(&rows, 0, "state"));
    if (state == TOKEN_VALID)
        remember(tokens, hash, ret);
    return state;
}
