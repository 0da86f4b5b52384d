/* sb number: which company a phone number belongs to.  Calls to a number that nobody had wait under `unassigned`; once
 * it is somebody's they go there, with all that hangs on them (migration people, number_assign). */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/phone.h"
#include "deploy/sb/command.h"
#include "deploy/sb/listing.h"
#include "deploy/sb/operator.h"
#include "deploy/sb/terminal.h"

#define ASSIGN_TRIES_MAX 10 /* handlers write to the same rows: one of the two tries again */

static const struct statement find_number = {
    .name = "sb_find_number",
    .text = "SELECT (SELECT tenant FROM tracking_numbers WHERE number = $1) AS owner",
    .params = 1,
};
static const struct statement assign_number = {
    .name = "sb_assign_number",
    .text = "WITH done AS (SELECT * FROM number_assign($1, $2, $3)),"
            " noted AS (INSERT INTO operator_actions (who, command, what, detail)"
            "  SELECT $4, $5, $1, jsonb_build_object('tenant', $2::text, 'previous_tenant', previous_tenant,"
            "  'calls_moved', calls_moved) FROM done)"
            " SELECT $1::text AS number, $2::text AS tenant, previous_tenant, calls_moved FROM done",
    .params = 5,
};
/* A number without a company is known by the calls to it. */
static const struct statement list_numbers = {
    .name = "sb_list_numbers",
    .text = "SELECT number, tenant, label, 0 AS waiting, NULL AS last_call FROM tracking_numbers"
            " WHERE $1::text IS NULL OR tenant = $1"
            " UNION ALL SELECT tracking_number, NULL, NULL, count(*),"
            "  to_char(max(call_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')"
            "  FROM calls WHERE tenant = 'unassigned' AND tracking_number IS NOT NULL AND $1::text IS NULL"
            "  GROUP BY tracking_number"
            " ORDER BY tenant NULLS FIRST, number",
    .params = 1,
};
static const struct listing_column list_columns[] = {
    { "number", "number", LISTING_TEXT },
    { "tenant", "company", LISTING_TEXT },
    { "label", "label", LISTING_TEXT },
    { "waiting", "<waiting calls", LISTING_NUMBER },
    { "last_call", "the last (UTC)", LISTING_TEXT },
    { 0 },
};
static const struct listing_column assigned_columns[] = {
    { "number", "number", LISTING_TEXT },
    { "tenant", "company", LISTING_TEXT },
    { "previous_tenant", "before", LISTING_TEXT },
    { "calls_moved", "<calls moved", LISTING_NUMBER },
    { 0 },
};

struct wanted {
    const char *argument, *tenant, *label, *as;
    bool json;
    char number[PHONE_BYTES];
};

static int read_options(struct wanted *wanted, int argc, char **argv)
{
    static const struct option options[] = {
        { "tenant", required_argument, NULL, 't' }, { "label", required_argument, NULL, 'l' },
        { "as", required_argument, NULL, 'a' },     { "json", no_argument, NULL, 'j' },
        { 0 },
    };
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 't': wanted->tenant = optarg; break;
        case 'l': wanted->label = optarg; break;
        case 'a': wanted->as = optarg; break;
        case 'j': wanted->json = true; break;
        default: return command_misused(argv, NULL);
        }
    }
    if (argc - optind > 1)
        return command_misused(argv, "it takes one number");
    wanted->argument = argv[optind];
    return -1;
}

/* -1, or the exit code */
static int check(const struct wanted *wanted, struct session *session, bool shall_be_nobodys, char **argv)
{
    struct rows rows;
    struct problem why;

    int code = session_company(session, wanted->tenant, argv);
    if (code >= 0)
        return code;
    if (!session_query(session, &find_number, PARAMS(wanted->number), &rows, &why))
        return command_fail(argv, EXIT_FAILED, "%s", why.text);
    const char *owner = row_get(&rows, 0, "owner");
    if (owner && shall_be_nobodys)
        return command_fail(argv, EXIT_FAILED, "%s is %s's already; \"sb number assign\" gives it to another",
                            wanted->number, owner);
    return -1;
}

static enum pg_error assign_once(const struct wanted *wanted, struct session *session, const char *command,
                                 struct rows *ret, struct problem *why)
{
    char who[OPERATOR_BYTES_MAX + 1];
    return pg_query(session->pool, &assign_number,
                    PARAMS(wanted->number, wanted->tenant, wanted->label, operator_name(wanted->as, who), command),
                    session->arena, ret, why);
}

static int assign_number_to(const struct wanted *wanted, struct session *session, const char *command, char **argv)
{
    struct rows rows;
    struct problem why;

    int wrong = check(wanted, session, strcmp(command, "number add") == 0, argv);
    if (wrong >= 0)
        return wrong;
    enum pg_error error = PG_CONFLICT;
    for (int i = 0; i < ASSIGN_TRIES_MAX && error == PG_CONFLICT; i++)
        error = assign_once(wanted, session, command, &rows, &why);
    if (error != PG_FINE)
        return command_fail(argv, EXIT_FAILED, "%s", why.text);
    const char *moved = row_get(&rows, 0, "calls_moved");
    fprintf(stderr, "%s is %s's", wanted->number, wanted->tenant);
    if (atoll(moved) > 0)
        fprintf(stderr, "; %s %s that waited went there", moved, plural(atoll(moved), "call", "calls"));
    fprintf(stderr, "\n");
    if (wanted->json)
        listing_print_row_json(&rows, 0, assigned_columns);
    return EXIT_FINE;
}

static int assign_as(const char *command, int argc, char **argv)
{
    struct wanted wanted = { 0 };
    struct session session;

    int wrong = read_options(&wanted, argc, argv);
    if (wrong >= 0)
        return wrong;
    if (wanted.argument == NULL || wanted.tenant == NULL)
        return command_misused(argv, "it takes a number and --tenant, whose it shall be");
    if (strcmp(wanted.tenant, "unassigned") == 0)
        return command_misused(argv, "\"unassigned\" has no numbers: it is where calls to those of nobody wait");
    if (wanted.label && (*wanted.label == '\0' || strlen(wanted.label) > OPERATOR_BYTES_MAX))
        return command_misused(argv, "--label has 1 to 200 characters");
    if ((wrong = session_open(&session, ROLE_OPERATOR, argv)) >= 0)
        return wrong;
    if (!phone_e164(wanted.argument, session.settings.default_region, wanted.number))
        return session_close(&session, command_misused(argv, "a phone number is written like +12025550100"));
    return session_close(&session, assign_number_to(&wanted, &session, command, argv));
}

static int add(int argc, char **argv)
{
    return assign_as("number add", argc, argv);
}

static int assign(int argc, char **argv)
{
    return assign_as("number assign", argc, argv);
}

static int list(int argc, char **argv)
{
    struct wanted wanted = { 0 };
    struct session session;
    struct rows rows;
    struct problem why;

    int wrong = read_options(&wanted, argc, argv);
    if (wrong < 0 && (wanted.argument || wanted.label))
        wrong = command_misused(argv, "it takes --tenant and --json alone");
    if (wrong >= 0 || (wrong = session_open(&session, ROLE_OPERATOR, argv)) >= 0)
        return wrong;
    if (wanted.tenant && (wrong = session_company(&session, wanted.tenant, argv)) >= 0)
        return session_close(&session, wrong);
    if (!session_query(&session, &list_numbers, PARAMS(wanted.tenant), &rows, &why))
        return session_close(&session, command_fail(argv, EXIT_FAILED, "%s", why.text));
    if (wanted.json)
        listing_print_json(&rows, list_columns);
    else
        listing_print(&rows, list_columns, "there is no number");
    return session_close(&session, EXIT_FINE);
}

static int number_run(int argc, char **argv)
{
    static const struct command_action actions[] = { { "add", add }, { "assign", assign }, { "list", list }, { 0 } };
    return command_act(actions, argc, argv);
}

const struct command command_number = {
    .name = "number",
    .summary = "adds, assigns and lists tracking numbers; calls that waited for one go to its company",
    .help =
        "Usage: sb number add NUMBER --tenant TENANT [--label TEXT]\n"
        "       sb number assign NUMBER --tenant TENANT [--label TEXT]\n"
        "       sb number list [--tenant TENANT] [--json]\n\n"
        "A call belongs to the company that has the number it came to. Calls to a number of nobody wait under the\n"
        "company \"unassigned\"; when the number is given to one they go there, with contact, lead, transcript,\n"
        "analysis, appointment and all that was done for them, also while further calls come in.\n\n"
        "  add     a number that nobody has\n"
        "  assign  whoever has it; calls of the company that had it before stay with that company\n"
        "  list    all, first those that are called and nobody has\n\n"
        "Options\n"
        "  --tenant TENANT  the company\n"
        "  --label TEXT     what it is for, to know it by\n"
        "  --as NAME        who does it; else $SUDO_USER or $USER, at this host\n"
        "  --json           what was done, or the list, as JSON\n\n"
        "Examples\n"
        "  sb number list\n"
        "  sb number add +12025550100 --tenant acme --label \"van doors\"\n"
        "  sb number assign +12025550100 --tenant best\n\n"
        "Exit codes: 0 done, 1 it is somebody's already, there is no such company, or the database does not answer,\n"
        "2 the command line or a setting is wrong\n",
    .run = number_run,
};
