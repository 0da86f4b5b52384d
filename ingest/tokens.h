/* tokens.h: whose bearer token this is.
 *
 * A token is "sb_" and base64url; the database has its SHA-256 alone (table api_tokens, `sb token`).  A valid one is
 * remembered for TOKENS_FRESH_MS: so long a token that was revoked or expired may still be let in.  Others are asked
 * for each time, so that a new one is good at once.
 *
 * Threads: any. */
#pragma once

#include "common/crypto.h"
#include "common/postgres.h"
#include "ingest/keys.h"

#define TOKENS_FRESH_MS       5000
#define TOKENS_REMEMBERED_MAX 1024 /* a power of two */
#define TOKEN_BYTES_MAX       128
#define TOKEN_ROLE_BYTES      sizeof("platform")
#define TOKEN_USER_BYTES      (128 + 1)

struct token {
    char tenant[TENANT_BYTES];
    char role[TOKEN_ROLE_BYTES]; /* platform, admin, exec, csr, rep, owner, station */
    char id[UUID_BYTES];
    char user_id[TOKEN_USER_BYTES]; /* empty: it belongs to no person */
};

enum token_state {
    TOKEN_VALID,
    TOKEN_UNKNOWN,
    TOKEN_EXPIRED,
    TOKEN_REVOKED,
    TOKEN_NOT_CHECKED, /* Postgres did not answer; with the reason */
};

struct tokens;

/* `pool` must outlive it; its role may call token_of(). */
struct tokens *tokens_new(struct pg_pool *pool);
void tokens_free(struct tokens *tokens); /* NULL is fine */

/* The token in the header "Authorization: Bearer …"; false when there is none that could be one. */
bool token_read(struct text authorization, struct text *ret);
enum token_state tokens_find(struct tokens *tokens, struct text token, struct arena *arena, struct token *ret,
                             struct problem *why);
