#include "deploy/sb/operator.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "deploy/sb/command.h"
#include "topics.h"

#define HOST_BYTES 65

static const struct statement insert_action = {
    .name = "sb_insert_action",
    .text = "INSERT INTO operator_actions (who, command, what, detail) VALUES ($1, $2, left($3, 500), $4::jsonb)"
            " RETURNING action_id",
    .params = 4,
};
static const struct statement end_action = {
    .name = "sb_end_action",
    .text = "UPDATE operator_actions SET detail = detail || $2::jsonb WHERE action_id = $1::bigint",
    .params = 2,
};

int operator_open(struct session *ret, char **argv)
{
    int wrong = session_open(ret, ROLE_OPERATOR, argv);

    if (wrong >= 0 || ret->settings.kafka_brokers != NULL)
        return wrong;
    return session_close(
        ret, command_fail(argv, EXIT_WRONG,
                          "KAFKA_BROKERS is not set, and nothing was started here: \"sb up\" starts a Kafka"));
}

bool operator_stage_is(const char *name)
{
    for (const struct stage_topics *stage = stage_topics; stage->stage; stage++)
        if (strcmp(stage->stage, name) == 0)
            return true;
    return false;
}

bool operator_role_is(const char *name)
{
    static const char *const roles[] = { "platform", "admin", "exec", "csr", "rep", "owner", "station" };

    for (size_t i = 0; i < LENGTH(roles); i++)
        if (strcmp(roles[i], name) == 0)
            return true;
    return false;
}

const char *operator_name(const char *as, char ret[OPERATOR_BYTES_MAX + 1])
{
    char host[HOST_BYTES] = "";
    const char *user = getenv("SUDO_USER");

    if (user == NULL || *user == '\0')
        user = getenv("USER");
    if (gethostname(host, sizeof(host) - 1) != 0)
        strcpy(host, "localhost");
    if (as != NULL && *as != '\0' && text_is_utf8(text_of(as)))
        snprintf(ret, OPERATOR_BYTES_MAX + 1, "%.*s", OPERATOR_BYTES_MAX / 4, as); /* characters of at most 4 bytes */
    else
        snprintf(ret, OPERATOR_BYTES_MAX + 1, "%.100s@%s", user != NULL && *user != '\0' ? user : "somebody", host);
    return ret;
}

bool operator_record(struct session *session, const char *as, const char *command, const char *what, const char *detail,
                     const char **ret_id, struct problem *why)
{
    char who[OPERATOR_BYTES_MAX + 1];
    struct rows rows;

    if (!session_query(session, &insert_action, PARAMS(operator_name(as, who), command, what, detail), &rows, why))
        return false;
    if (ret_id != NULL)
        *ret_id = row_get(&rows, 0, "action_id");
    return true;
}

bool operator_record_end(struct session *session, const char *id, const char *detail, struct problem *why)
{
    struct rows rows;
    return session_query(session, &end_action, PARAMS(id, detail), &rows, why);
}

bool operator_confirms(const char *question)
{
    char answer[16] = "";

    if (isatty(STDIN_FILENO) != 1)
        return true;
    fprintf(stderr, "%s [y/N] ", question);
    return fgets(answer, sizeof(answer), stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y');
}

int64_t operator_number(const char *text, int64_t least, int64_t most)
{
    char *end;

    errno = 0;
    long long number = strtoll(text, &end, 10);
    return errno != 0 || end == text || *end != '\0' || number < least || number > most ? -1 : number;
}
