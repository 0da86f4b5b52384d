/* sb seed-data, sb cleanup-seed-data: sample data for a demonstration, and its removal (migration seed_data). */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/sb/command.h"
#include "deploy/sb/listing.h"
#include "deploy/sb/operator.h"
#include "deploy/sb/terminal.h"

static const struct statement add_seed_data = {
    .name = "sb_add_seed_data",
    .text = "WITH done AS MATERIALIZED (SELECT * FROM seed_data_add()),"
            " noted AS (INSERT INTO operator_actions (who, command, what, detail)"
            "  SELECT $1, 'seed-data', 'sample data', jsonb_object_agg(of_table, rows) FROM done)"
            " SELECT of_table, rows FROM done",
    .params = 1,
};
static const struct statement show_seed_data = {
    .name = "sb_show_seed_data",
    .text = "SELECT * FROM seed_data_remove(false)",
};
static const struct statement remove_seed_data = {
    .name = "sb_remove_seed_data",
    .text = "WITH done AS MATERIALIZED (SELECT * FROM seed_data_remove(true)),"
            " noted AS (INSERT INTO operator_actions (who, command, what, detail)"
            "  SELECT $1, 'cleanup-seed-data', 'sample data', jsonb_build_object("
            "  'removed', jsonb_object_agg(of_table, removed), 'kept', jsonb_object_agg(of_table, kept)) FROM done)"
            " SELECT * FROM done",
    .params = 1,
};
static const struct listing_column added_columns[] = {
    { "of_table", "table", LISTING_TEXT }, { "rows", "<rows", LISTING_NUMBER }, { 0 }
};
static const struct listing_column removed_columns[] = {
    { "of_table", "table", LISTING_TEXT },
    { "removed", "<removed", LISTING_NUMBER },
    { "kept", "<kept", LISTING_NUMBER },
    { "because", "because of what hangs on them", LISTING_TEXT },
    { 0 },
};

struct seed_options {
    const char *as;
    bool json, yes;
};

/* -1, or the exit code */
static int read_options(struct seed_options *options, bool removes, int argc, char **argv)
{
    static const struct option names[] = { { "as", required_argument, NULL, 'a' },
                                           { "json", no_argument, NULL, 'j' },
                                           { "yes", no_argument, NULL, 'y' },
                                           { 0 } };
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (option == 'a')
            options->as = optarg;
        else if (option == 'j')
            options->json = true;
        else if (option == 'y' && removes)
            options->yes = true;
        else
            return command_misused(argv, option == 'y' ? "it has no --yes" : NULL);
    }
    return optind < argc ? command_misused(argv, "it takes no arguments besides its options") : -1;
}

static void print(const struct rows *rows, const struct listing_column *columns, bool json)
{
    if (json)
        listing_print_json(rows, columns);
    else
        listing_print(rows, columns, "there is nothing");
}

static int64_t sum_of(const struct rows *rows, const char *column)
{
    int64_t sum = 0;
    for (int row = 0; row < rows->count; row++)
        sum += atoll(row_get(rows, row, column));
    return sum;
}

static int seed_run(int argc, char **argv)
{
    struct seed_options options = { 0 };
    char who[OPERATOR_BYTES_MAX + 1];
    struct session session;
    struct rows rows;
    struct problem why;

    int wrong = read_options(&options, false, argc, argv);
    if (wrong >= 0 || (wrong = session_open(&session, ROLE_OPERATOR, argv)) >= 0)
        return wrong;
    if (!session_query(&session, &add_seed_data, PARAMS(operator_name(options.as, who)), &rows, &why))
        return session_close(&session, command_fail(argv, EXIT_FAILED, "%s", why.text));
    print(&rows, added_columns, options.json);
    fprintf(stderr, "the companies seed-plumbing and seed-roofing are there; \"sb token create --tenant seed-plumbing"
                    " --role exec --email eve@seed-plumbing.example\" lets into one\n");
    return session_close(&session, EXIT_FINE);
}

static int cleanup(const struct seed_options *options, struct session *session, char **argv)
{
    char who[OPERATOR_BYTES_MAX + 1];
    struct rows rows;
    struct problem why;

    bool good = options->yes
                    ? session_query(session, &remove_seed_data, PARAMS(operator_name(options->as, who)), &rows, &why)
                    : session_query(session, &show_seed_data, PARAMS(), &rows, &why);
    if (!good)
        return command_fail(argv, EXIT_FAILED, "%s", why.text);
    int64_t removed = sum_of(&rows, "removed"), kept = sum_of(&rows, "kept");
    print(&rows, removed_columns, options->json);
    if (!options->yes)
        fprintf(stderr, removed + kept > 0 ? "nothing was removed yet: --yes does it\n" : "there is no sample data\n");
    else if (kept > 0)
        return command_fail(argv, EXIT_FAILED, "%lld %s, because something that is no sample data hangs on %s",
                            (long long)kept, plural(kept, "row stays", "rows stay"), plural(kept, "it", "them"));
    return EXIT_FINE;
}

static int cleanup_run(int argc, char **argv)
{
    struct seed_options options = { 0 };
    struct session session;

    int wrong = read_options(&options, true, argc, argv);
    if (wrong >= 0 || (wrong = session_open(&session, ROLE_OPERATOR, argv)) >= 0)
        return wrong;
    return session_close(&session, cleanup(&options, &session, argv));
}

const struct command command_seed_data = {
    .name = "seed-data",
    .summary = "puts in sample data for a demonstration: two companies, their people, 200 calls of 60 days",
    .help =
        "Usage: sb seed-data [--json] [--as NAME]\n\n"
        "Two companies with people, numbers, contacts, leads, calls with transcripts and analyses, appointments and\n"
        "visits, the same each time, counted back from today. Every row is marked: companies are seed-…, calls\n"
        "SEED-…, other ids begin with 5eed. Nobody is asked or told of anything.\n\n"
        "Options\n"
        "  --as NAME  who does it; else $SUDO_USER or $USER, at this host\n"
        "  --json     how many rows of what, as JSON\n\n"
        "Examples\n"
        "  sb seed-data\n"
        "  sb token create --tenant seed-plumbing --role exec --email eve@seed-plumbing.example\n\n"
        "Exit codes: 0 done, 1 it is there already or the database does not answer, 2 the command line or a setting\n"
        "is wrong\n",
    .run = seed_run,
};

const struct command command_cleanup_seed_data = {
    .name = "cleanup-seed-data",
    .summary = "shows what \"sb seed-data\" put in, and with --yes removes it and nothing else",
    .help =
        "Usage: sb cleanup-seed-data [--yes] [--json] [--as NAME]\n\n"
        "Tells what it would remove, by table; with --yes it does. A row of the sample data that something else\n"
        "hangs on (a token, a real call, an appointment made by hand) stays, and is named with it.\n\n"
        "Options\n"
        "  --yes      remove it\n"
        "  --as NAME  who does it; else $SUDO_USER or $USER, at this host\n"
        "  --json     the same as JSON\n\n"
        "Examples\n"
        "  sb cleanup-seed-data\n"
        "  sb cleanup-seed-data --yes\n\n"
        "Exit codes: 0 done, 1 rows stay, or the database does not answer, 2 the command line or a setting is wrong\n",
    .run = cleanup_run,
};
