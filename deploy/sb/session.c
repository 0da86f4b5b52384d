#include "deploy/sb/session.h"

#include "deploy/sb/command.h"

#define ARENA_BYTES_MAX ((size_t)1024 * 1024 * 1024)
#define WAIT_MS         10000

static const struct statement find_company = {
    .name = "sb_find_company",
    .text = "SELECT tenant FROM companies WHERE tenant = $1",
    .params = 1,
};

int session_open(struct session *ret, const char *role, char **argv)
{
    struct problem why;

    place_find(&ret->place);
    if (!place_settings_read(&ret->place, &ret->settings, &why))
        return command_fail(argv, EXIT_WRONG, "%s", why.text);
    if (ret->settings.database_url == NULL)
        return command_fail(argv, EXIT_WRONG,
                            "DATABASE_URL is not set, and nothing was started here: \"sb up\" starts a Postgres");
    struct pg_pool_settings pool = { .url = ret->settings.database_url,
                                     .role = role,
                                     .application_name = "sb",
                                     .connections_max = 1,
                                     .wait_ms_max = WAIT_MS };
    ret->pool = pg_pool_new(&pool);
    ret->arena = arena_new(ARENA_BYTES_MAX);
    return -1;
}

int session_company(struct session *session, const char *tenant, char **argv)
{
    struct rows rows;
    struct problem why;

    if (!session_query(session, &find_company, PARAMS(tenant), &rows, &why))
        return command_fail(argv, EXIT_FAILED, "%s", why.text);
    if (rows.count == 0)
        return command_fail(argv, EXIT_FAILED, "there is no company \"%s\": \"sb company list\" shows them", tenant);
    return -1;
}

int session_close(struct session *session, int code)
{
    pg_pool_free(session->pool);
    arena_free(session->arena);
    return code;
}

bool session_query(struct session *session, const struct statement *statement, struct params params, struct rows *ret,
                   struct problem *why)
{
    return pg_query(session->pool, statement, params, session->arena, ret, why) == PG_FINE;
}
