/* sb token: bearer tokens of the API.  A token is shown once; the database has its SHA-256 alone. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/crypto.h"
#include "deploy/sb/command.h"
#include "deploy/sb/listing.h"
#include "deploy/sb/operator.h"

#define ROLE               "switchboard_ingest" /* owns the table, and is what reads it */
#define TOKEN_SECRET_BYTES 32
#define TOKEN_BYTES        (sizeof("sb_") + 43) /* 32 bytes are 43 characters of base64url */
#define DAYS_MAX           36500

static const struct statement insert_token = {
    .name = "sb_insert_token",
    .text = "INSERT INTO api_tokens (token_hash, token_id, tenant, email, role, label, expires_at)"
            " VALUES (decode($1, 'hex'), $2::uuid, $3, $4, $5, $6, now() + $7::interval)"
            " RETURNING to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') AS expires",
    .params = 7,
};
static const struct statement list_tokens = {
    .name = "sb_list_tokens",
    .text = "SELECT token_id, tenant, role, email, label,"
            " to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') AS created,"
            " to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') AS expires,"
            " CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= now() THEN 'expired' ELSE 'valid' END "
            "AS state"
            " FROM api_tokens ORDER BY created_at DESC, token_id",
    .params = 0,
};
static const struct statement revoke_token = {
    .name = "sb_revoke_token",
    .text =
        "UPDATE api_tokens SET revoked_at = coalesce(revoked_at, now()) WHERE token_id = $1::uuid RETURNING token_id",
    .params = 1,
};
static const struct statement find_user = {
    .name = "sb_find_user",
    .text = "SELECT email FROM users WHERE tenant = $1 AND email = lower($2)",
    .params = 2,
};

/* --- options ------------------------------------------------------------------------------------------------- */

struct wanted {
    const char *tenant, *role, *email, *label;
    char expires[32]; /* an interval of Postgres; empty: never */
};

/* 12h, 30d */
static bool read_expires(const char *text, char ret[32])
{
    char *end;
    long number = strtol(text, &end, 10);
    bool days = strcmp(end, "d") == 0;
    if (end == text || number <= 0 || number > (days ? DAYS_MAX : DAYS_MAX * 24L) || (!days && strcmp(end, "h") != 0))
        return false;
    snprintf(ret, 32, "%ld %s", number, days ? "days" : "hours");
    return true;
}

/* -1, or the exit code */
static int read_wanted(struct wanted *wanted, int argc, char **argv)
{
    static const struct option options[] = {
        { "tenant", required_argument, NULL, 't' },  { "role", required_argument, NULL, 'r' },
        { "email", required_argument, NULL, 'e' },   { "label", required_argument, NULL, 'l' },
        { "expires", required_argument, NULL, 'x' }, { 0 },
    };
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 't')
            wanted->tenant = optarg;
        else if (option == 'r')
            wanted->role = optarg;
        else if (option == 'e')
            wanted->email = optarg;
        else if (option == 'l')
            wanted->label = optarg;
        else if (option != 'x')
            return command_misused(argv, NULL);
        else if (!read_expires(optarg, wanted->expires))
            return command_misused(argv, "--expires takes hours or days: 12h, 30d");
    }
    if (optind < argc)
        return command_misused(argv, "it takes no arguments besides its options");
    if (wanted->tenant == NULL || wanted->role == NULL)
        return command_misused(argv, "--tenant and --role are needed");
    if (!operator_role_is(wanted->role))
        return command_misused(argv, "--role takes " OPERATOR_ROLES);
    return -1;
}

/* --- the database ------------------------------------------------------------------------------------------- */

static int not_known(char **argv, const struct wanted *wanted, struct session *session)
{
    struct rows rows;
    struct problem why;

    int code = session_company(session, wanted->tenant, argv);
    if (code >= 0 || wanted->email == NULL)
        return code;
    if (!session_query(session, &find_user, PARAMS(wanted->tenant, wanted->email), &rows, &why))
        return command_fail(argv, EXIT_FAILED, "%s", why.text);
    if (rows.count == 0)
        return command_fail(argv, EXIT_FAILED, "there is no user \"%s\" in the company \"%s\" (table users)",
                            wanted->email, wanted->tenant);
    return -1;
}

static void draw_token(char token[TOKEN_BYTES], char hash_hex[2 * SHA256_BYTES + 1])
{
    unsigned char secret[TOKEN_SECRET_BYTES];
    uint8_t hash[SHA256_BYTES];

    randombytes_buf(secret, sizeof(secret));
    memcpy(token, "sb_", 3);
    sodium_bin2base64(token + 3, TOKEN_BYTES - 3, secret, sizeof(secret), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sha256(text_of(token), hash);
    hex_print(hash, sizeof(hash), hash_hex);
    sodium_memzero(secret, sizeof(secret));
}

static int create(int argc, char **argv)
{
    struct wanted wanted = { .label = "" };
    struct session session;
    struct rows rows;
    struct problem why;
    char token[TOKEN_BYTES], hash[2 * SHA256_BYTES + 1], id[UUID_BYTES];

    int wrong = read_wanted(&wanted, argc, argv);
    if (wrong >= 0 || (wrong = session_open(&session, ROLE, argv)) >= 0)
        return wrong;
    if ((wrong = not_known(argv, &wanted, &session)) >= 0)
        return session_close(&session, wrong);
    draw_token(token, hash);
    uuid_random(id);
    const char *email = wanted.email;
    for (char *c = email ? arena_copy(session.arena, email) : NULL; c && (email = c); c = NULL)
        for (; *c; c++)
            *c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
    const char *expires_in = *wanted.expires ? wanted.expires : NULL;
    if (!session_query(&session, &insert_token, PARAMS(hash, id, wanted.tenant, email, wanted.role, wanted.label, expires_in), &rows,
                       &why))
        return session_close(&session, command_fail(argv, EXIT_FAILED, "%s", why.text));
    const char *expires = row_get(&rows, 0, "expires");
    fprintf(stderr, "token %s of %s, %s, %s%s; it is shown this once:\n", id, wanted.tenant, wanted.role,
            expires ? "valid until " : "for ever", expires ? expires : "");
    printf("%s\n", token);
    sodium_memzero(token, sizeof(token));
    return session_close(&session, EXIT_FINE);
}

static int list(int argc, char **argv)
{
    static const struct option options[] = { { "json", no_argument, NULL, 'j' }, { 0 } };
    static const struct listing_column columns[] = {
        { "token_id", "id", LISTING_TEXT },           { "tenant", "company", LISTING_TEXT },
        { "role", "role", LISTING_TEXT },             { "email", "e-mail", LISTING_TEXT },
        { "label", "label", LISTING_TEXT },           { "created", "created (UTC)", LISTING_TEXT },
        { "expires", "expires (UTC)", LISTING_TEXT }, { "state", "state", LISTING_TEXT },
        { 0 },
    };
    struct session session;
    struct rows rows;
    struct problem why;
    bool json = false;

    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1; json = true)
        if (option != 'j')
            return command_misused(argv, NULL);
    if (optind < argc)
        return command_misused(argv, "it takes no arguments besides its options");
    int wrong = session_open(&session, ROLE, argv);
    if (wrong >= 0)
        return wrong;
    if (!session_query(&session, &list_tokens, PARAMS(), &rows, &why))
        return session_close(&session, command_fail(argv, EXIT_FAILED, "%s", why.text));
    if (json)
        listing_print_json(&rows, columns);
    else
        listing_print(&rows, columns, "there is no token");
    return session_close(&session, EXIT_FINE);
}

static int revoke(int argc, char **argv)
{
    struct session session;
    struct rows rows;
    struct problem why;

    if (argc != 2 || !uuid_is(text_of(argv[1])))
        return command_misused(argv, "it takes the id of one token: \"sb token list\" shows them");
    int wrong = session_open(&session, ROLE, argv);
    if (wrong >= 0)
        return wrong;
    if (!session_query(&session, &revoke_token, PARAMS(argv[1]), &rows, &why))
        return session_close(&session, command_fail(argv, EXIT_FAILED, "%s", why.text));
    if (rows.count == 0)
        return session_close(&session, command_fail(argv, EXIT_FAILED, "there is no token %s", argv[1]));
    printf("%s is revoked\n", argv[1]);
    return session_close(&session, EXIT_FINE);
}

static int token_run(int argc, char **argv)
{
    static const struct command_action actions[] = {
        { "create", create }, { "list", list }, { "revoke", revoke }, { 0 }
    };
    return command_act(actions, argc, argv);
}

const struct command command_token = {
    .name = "token",
    .summary = "makes, lists and revokes the API's bearer tokens",
    .help = "Usage: sb token create --tenant TENANT --role ROLE [--email EMAIL] [--expires 30d] [--label TEXT]\n"
            "       sb token list [--json]\n"
            "       sb token revoke ID\n\n"
            "A token is printed once, alone on standard output; the database keeps its SHA-256. Daemons notice a new "
            "or revoked one\n"
            "within a minute. The list begins with the newest; --json gives it as an array.\n\n"
            "Options of create\n"
            "  --tenant TENANT  the company whose data it opens\n"
            "  --role ROLE      platform (everything, all companies), admin, exec, csr, rep, owner, station\n"
            "  --email EMAIL    the user it acts for (\"self\" in the API); must be in the table users\n"
            "  --expires TIME   12h, 30d; never when not given\n"
            "  --label TEXT     what it is for, to know it by in the list\n\n"
            "Examples\n"
            "  sb token create --tenant acme --role exec --label \"board's dashboard\" --expires 90d\n"
            "  TOKEN=$(sb token create --tenant acme --role admin) && curl -H \"Authorization: Bearer $TOKEN\" "
            "127.0.0.1:5000/api/v1/calls\n"
            "  sb token revoke 886313e1-3b8a-4372-9b90-0c9aee199e5d\n\n"
            "Exit codes: 0 done, 1 the database refused or does not answer, 2 the command line or a setting is wrong\n",
    .run = token_run,
};
