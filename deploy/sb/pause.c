/* sb pause, sb resume: stops asking, and goes on receiving.  The table says what is paused; the stages look every
 * second. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "deploy/sb/command.h"
#include "deploy/sb/operator.h"
#include "deploy/sb/standing.h"
#include "deploy/sb/table.h"

static const struct statement find_kinds = {
    .name = "sb_find_kinds",
    .text = "SELECT EXISTS (SELECT 1 FROM companies WHERE tenant = $1) AS tenant,"
            " EXISTS (SELECT 1 FROM asks WHERE provider = $1) AS provider",
    .params = 1,
};
static const struct statement find_pause = {
    .name = "sb_find_pause",
    .text = "SELECT kind FROM pauses WHERE name = $1",
    .params = 1,
};
static const struct statement insert_pause = {
    .name = "sb_insert_pause",
    /* 200: the stages hold at most CIRCUITS_MAX, providers included */
    .text =
        "WITH paused AS (INSERT INTO pauses (kind, name, by, why) SELECT $1, $2, $3, $4"
        "  WHERE (SELECT count(*) FROM pauses) < 200"
        "  ON CONFLICT (kind, name) DO UPDATE SET by = EXCLUDED.by, why = EXCLUDED.why"
        "  RETURNING kind, name, since, by, why),"
        " noted AS (INSERT INTO operator_actions (who, command, what, detail)"
        "  SELECT by, 'pause', kind || ' ' || name, jsonb_build_object('why', why) FROM paused)"
        " SELECT to_jsonb(paused) AS json FROM paused",
    .params = 4,
};
static const struct statement delete_pause = {
    .name = "sb_delete_pause",
    /* what was parked before or meanwhile has as much time left as it had */
    .text =
        "WITH gone AS (DELETE FROM pauses WHERE kind = $1 AND name = $2 RETURNING kind, name, by, why, since),"
        " moved AS (UPDATE parked SET first_at = first_at + (now() - greatest(first_at, gone.since)) FROM gone"
        "  WHERE CASE gone.kind WHEN 'stage' THEN parked.stage = gone.name WHEN 'tenant' THEN parked.tenant = gone.name"
        "  ELSE true END),"
        " noted AS (INSERT INTO operator_actions (who, command, what, detail) SELECT $3, 'resume', kind || ' ' || name,"
        "  jsonb_build_object('paused_by', by, 'since', since, 'paused_why', why, 'why', $4::text) FROM gone)"
        " SELECT by, floor(extract(epoch FROM now() - since))::bigint AS paused_s, to_jsonb(gone) AS json FROM gone",
    .params = 4,
};
static const struct statement list_pauses = {
    .name = "sb_list_pauses",
    .text = "SELECT x.*, " US("since") " AS since_us, to_jsonb(x) AS json FROM (SELECT kind, name, since, by, why,"
            " CASE kind WHEN 'tenant' THEN (SELECT count(*) FROM parked WHERE tenant = name) END AS parked FROM pauses)"
            " AS x ORDER BY since, kind, name",
};

static const char *const kinds[] = { "stage", "provider", "tenant" };

struct pause {
    const char *name, *kind, *why, *as;
    bool json;
};

/* -1, or the exit code */
static int read_options(struct pause *pause, int argc, char **argv)
{
    static const struct option options[] = {
        { "kind", required_argument, NULL, 'k' },
        { "why", required_argument, NULL, 'w' },
        { "as", required_argument, NULL, 'a' },
        { "json", no_argument, NULL, 'j' },
        { 0 },
    };
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'k')
            pause->kind = optarg;
        else if (option == 'w')
            pause->why = optarg;
        else if (option == 'a')
            pause->as = optarg;
        else if (option == 'j')
            pause->json = true;
        else
            return command_misused(argv, NULL);
    }
    if (argc - optind > 1)
        return command_misused(argv, "it takes one name: of a stage, a provider or a company");
    pause->name = argv[optind];
    bool known = pause->kind == NULL;
    for (size_t i = 0; i < LENGTH(kinds); i++)
        known = known || strcmp(pause->kind, kinds[i]) == 0;
    return known ? -1 : command_misused(argv, "--kind takes stage, provider or tenant");
}

/* What the name is of, when it was not said.  -1, or the exit code */
static int find_kind(struct pause *pause, struct session *session, char **argv)
{
    struct rows rows;
    struct problem why;

    if (pause->kind != NULL)
        return strcmp(pause->kind, "stage") != 0 || operator_stage_is(pause->name)
                   ? -1
                   : command_fail(argv, EXIT_FAILED, "there is no stage \"%s\": \"sb topics\" names them", pause->name);
    if (!session_query(session, &find_kinds, PARAMS(pause->name), &rows, &why))
        return command_fail(argv, EXIT_FAILED, "%s", why.text);
    bool stage = operator_stage_is(pause->name), tenant = *row_get(&rows, 0, "tenant") == 't',
         provider = *row_get(&rows, 0, "provider") == 't';
    if (stage + tenant + provider > 1)
        return command_fail(argv, EXIT_FAILED, "\"%s\" is the name of more than one thing: say which with --kind",
                            pause->name);
    if (stage + tenant + provider == 0)
        return command_fail(argv, EXIT_FAILED,
                            "\"%s\" is no stage, no company, and no provider that was ever asked; --kind provider "
                            "pauses it before it is",
                            pause->name);
    pause->kind = stage ? "stage" : tenant ? "tenant" : "provider";
    return -1;
}

static void print_json(const struct rows *rows)
{
    printf("[");
    for (int row = 0; row < rows->count; row++)
        printf("%s%s", row ? "," : "", row_get(rows, row, "json"));
    printf("]\n");
}

static int list(const struct pause *pause, struct session *session, char **argv)
{
    static struct table table;
    static const char *const titles[] = { "kind", "name", "since", "by", "<parked", "why", NULL };
    char clock[CLOCK_BYTES];
    struct rows rows;
    struct problem why;

    if (!session_query(session, &list_pauses, PARAMS(), &rows, &why))
        return command_fail(argv, EXIT_FAILED, "%s", why.text);
    if (pause->json) {
        print_json(&rows);
        return EXIT_FINE;
    }
    if (rows.count == 0) {
        printf("nothing is paused\n");
        return EXIT_FINE;
    }
    table_begin(&table, titles);
    for (int row = 0; row < rows.count; row++) {
        table_add(&table, PLAIN, "%s", row_get(&rows, row, "kind"));
        table_add(&table, BOLD, "%s", row_get(&rows, row, "name"));
        table_add(&table, PLAIN, "%s", clock_print(row_integer(&rows, row, "since_us"), clock));
        table_add(&table, PLAIN, "%s", row_get(&rows, row, "by"));
        table_add(&table, PLAIN, "%s", row_get(&rows, row, "parked") ? row_get(&rows, row, "parked") : "-");
        table_add(&table, PLAIN, "%s", row_get(&rows, row, "why"));
    }
    table_print(&table);
    return EXIT_FINE;
}

static int begin_pause(struct pause *pause, struct session *session, char **argv)
{
    static const char *const means[] = { "it begins nothing new, and what comes waits in Kafka",
                                         "nobody asks it, and what needs it waits",
                                         "its events are parked, and other companies' go on" };
    char who[OPERATOR_BYTES_MAX + 1];
    struct rows rows;
    struct problem why;

    int wrong = find_kind(pause, session, argv);
    if (wrong >= 0)
        return wrong;
    if (!session_query(session, &insert_pause,
                       PARAMS(pause->kind, pause->name, operator_name(pause->as, who), pause->why ? pause->why : ""),
                       &rows, &why))
        return command_fail(argv, EXIT_FAILED, "%s", why.text);
    if (rows.count == 0)
        return command_fail(argv, EXIT_FAILED, "200 things are paused already: \"sb resume\" some of them");
    size_t kind = 0;
    while (strcmp(kinds[kind], pause->kind) != 0)
        kind++;
    if (pause->json)
        printf("%s\n", row_get(&rows, 0, "json"));
    else
        fprintf(stderr, "the %s %s is paused: %s, until \"sb resume %s\"\n", pause->kind, pause->name, means[kind],
                pause->name);
    return EXIT_FINE;
}

static int end_pause(struct pause *pause, struct session *session, char **argv)
{
    char who[OPERATOR_BYTES_MAX + 1], age[AGE_BYTES];
    struct rows rows;
    struct problem why;

    if (pause->kind == NULL) {
        if (!session_query(session, &find_pause, PARAMS(pause->name), &rows, &why))
            return command_fail(argv, EXIT_FAILED, "%s", why.text);
        if (rows.count > 1)
            return command_fail(argv, EXIT_FAILED, "more than one \"%s\" is paused: say which with --kind",
                                pause->name);
        pause->kind = rows.count == 1 ? row_get(&rows, 0, "kind") : "stage";
    }
    if (!session_query(session, &delete_pause,
                       PARAMS(pause->kind, pause->name, operator_name(pause->as, who), pause->why), &rows, &why))
        return command_fail(argv, EXIT_FAILED, "%s", why.text);
    if (rows.count == 0)
        return command_fail(argv, EXIT_FAILED, "\"%s\" is not paused: \"sb pause\" lists what is", pause->name);
    if (pause->json)
        printf("%s\n", row_get(&rows, 0, "json"));
    else
        fprintf(stderr, "the %s %s goes on within a second; it was paused by %s for %s\n", pause->kind, pause->name,
                row_get(&rows, 0, "by"), age_print(row_integer(&rows, 0, "paused_s") * 1000000, age));
    return EXIT_FINE;
}

static int pause_run(int argc, char **argv)
{
    struct pause pause = { 0 };
    struct session session;

    int wrong = read_options(&pause, argc, argv);
    if (wrong >= 0 || (wrong = session_open(&session, ROLE_OPERATOR, argv)) >= 0)
        return wrong;
    return session_close(&session, pause.name ? begin_pause(&pause, &session, argv) : list(&pause, &session, argv));
}

static int resume_run(int argc, char **argv)
{
    struct pause pause = { 0 };
    struct session session;

    int wrong = read_options(&pause, argc, argv);
    if (wrong < 0 && pause.name == NULL)
        wrong = command_misused(argv, "it takes the name of what is paused: \"sb pause\" lists it");
    if (wrong >= 0 || (wrong = session_open(&session, ROLE_OPERATOR, argv)) >= 0)
        return wrong;
    return session_close(&session, end_pause(&pause, &session, argv));
}

#define COMMON_OPTIONS                                                                                                 \
    "  --kind KIND  stage, provider or tenant, where the name alone does not tell\n"                                   \
    "  --why TEXT   kept with it, and in operator_actions\n"                                                           \
    "  --as NAME    who does it; else $SUDO_USER or $USER, at this host\n"
#define COMMON_CODES                                                                                                   \
    "\nExit codes: 0 done, 1 there is no such thing or the database does not answer, 2 the command line or a setting " \
    "is wrong\n"

const struct command command_pause = {
    .name = "pause",
    .summary = "stops a stage, a provider or a company's events, until resumed; without a name: lists",
    .help =
        "Usage: sb pause STAGE|PROVIDER|TENANT [--kind KIND] [--why TEXT] [--as NAME] [--json]\n"
        "       sb pause [--json]\n\n"
        "Nothing is lost and no limit counts meanwhile: receiving goes on (ingest's door is never paused),\n"
        "and it survives restarts. The stages notice within a second; what runs finishes.\n"
        "  a stage     begins nothing new; its events wait in Kafka\n"
        "  a provider  is not asked by any stage; what needs it waits, and stages that ask it take nothing new\n"
        "  a tenant    its events are parked before anybody is asked about them, and go on in order;\n"
        "              other companies' go on\n\n"
        "Options\n"
        COMMON_OPTIONS "  --json       what was paused, as a JSON object; without a name all that is, as an array\n\n"
        "Examples\n"
        "  sb pause twilio --why \"their status page says so\"\n"
        "  sb pause analyze\n"
        "  sb pause acme --kind tenant\n"
        "  sb pause\n"
        COMMON_CODES,
    .run = pause_run,
};

const struct command command_resume = {
    .name = "resume",
    .summary = "lets go on what was paused",
    .help =
        "Usage: sb resume STAGE|PROVIDER|TENANT [--kind KIND] [--why TEXT] [--as NAME] [--json]\n\n"
        "What waited goes on within a second, in order within each conversation, with as much time left as it\n"
        "had.\n\n"
        "Options\n"
        COMMON_OPTIONS "  --json       what was paused, since when, by whom and why, as a JSON object\n\n"
        "Examples\n"
        "  sb resume twilio\n"
        "  sb resume acme --why \"they have paid\"\n"
        COMMON_CODES,
    .run = resume_run,
};
