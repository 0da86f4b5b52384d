/* sb impact: whose conversations were delayed or failed, by company, with counts and the worst of each. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "deploy/sb/command.h"
#include "deploy/sb/standing.h"
#include "deploy/sb/table.h"
#include "deploy/sb/when.h"

#define TENANTS_MAX    "200" /* of them, those with the most conversations concerned */
#define EXAMPLES       "3"
#define DELAYED_AFTER  "interval '1 minute'" /* from its record to its commit: later than that is told */
#define JSON_BYTES_MAX (4 * 1024 * 1024)
#define DAY_US         (INT64_C(86400) * 1000000)

/* clang-format off */
/* What happened to a conversation since $1, a row for each thing; then counted by tenant.  What a later run did in the end
 * is no dead letter. */
static const struct statement find_impact = {
    .name = "sb_impact",
    .text =
        "WITH since AS (SELECT $1::timestamptz AS at), happened AS ("
        " SELECT l.tenant, l.correlation_id AS conversation, 'dead' AS what, l.why, NULL::interval AS late"
        "  FROM ledger l, since WHERE l.outcome = 'rejected' AND l.committed_at >= since.at"
        "  AND NOT EXISTS (SELECT 1 FROM ledger n WHERE n.event_id = l.event_id AND n.stage = l.stage AND n.run > l.run"
        "   AND n.outcome IN ('done', 'skipped')) AND NOT " DROPPED("l")
        " UNION ALL"
        " SELECT coalesce(p.tenant, l.tenant), coalesce(l.correlation_id, p.subject), 'parked', p.why,"
        "  now() - coalesce(l.received_at, p.first_at)"
        "  FROM parked p LEFT JOIN ledger l"
        "  ON l.event_id = p.event_id AND l.stage = p.stage AND l.run = p.run AND l.day = p.day"
        " UNION ALL"
        " SELECT l.tenant, l.correlation_id, 'delayed', l.why, l.committed_at - l.received_at"
        "  FROM ledger l, since WHERE l.outcome IN ('done', 'skipped') AND l.run = 0 AND l.committed_at >= since.at"
        "  AND l.committed_at - l.received_at > " DELAYED_AFTER
        " UNION ALL"
        " SELECT a.tenant, a.correlation_id, CASE a.state WHEN 'uncertain' THEN 'uncertain' ELSE 'undelivered' END,"
        "  coalesce(a.error, a.error_code), NULL"
        "  FROM asks a, since WHERE a.kind = 'once' AND a.updated_at >= since.at"
        "  AND (a.state IN ('uncertain', 'refused') OR a.provider_status IN ('undelivered', 'failed'))),"
        " by_tenant AS (SELECT tenant, count(DISTINCT conversation) AS conversations,"
        "  count(DISTINCT conversation) FILTER (WHERE what = 'dead') AS dead,"
        "  count(DISTINCT conversation) FILTER (WHERE what = 'parked') AS parked,"
        "  count(DISTINCT conversation) FILTER (WHERE what = 'delayed') AS delayed,"
        "  count(DISTINCT conversation) FILTER (WHERE what = 'undelivered') AS undelivered,"
        "  count(DISTINCT conversation) FILTER (WHERE what = 'uncertain') AS uncertain,"
        "  max(late) AS worst, (array_agg(conversation ORDER BY late DESC NULLS LAST))[1] AS worst_conversation,"
        "  (array_agg(DISTINCT conversation) FILTER (WHERE late IS NULL))[1:" EXAMPLES "] AS failed,"
        "  mode() WITHIN GROUP (ORDER BY why) AS most_often, count(*) OVER () AS tenants"
        "  FROM happened GROUP BY tenant)"
        " SELECT x.*, (extract(epoch FROM worst) * 1000000)::bigint AS worst_us,"
        "  array_to_string(failed, ', ') AS failed_text, to_jsonb(x) - 'worst' - 'tenants'"
        "   || jsonb_build_object('worst_delay_s', round(extract(epoch FROM worst), 3)) AS json"
        " FROM by_tenant x ORDER BY conversations DESC, tenant LIMIT " TENANTS_MAX,
    .params = 1,
};
/* clang-format on */

static void add_count(struct table *table, const struct rows *rows, int row, const char *column, enum colour colour)
{
    int64_t count = row_integer(rows, row, column);
    table_add(table, count ? colour : FAINT, "%lld", (long long)count);
}

static void print_table(const struct rows *rows)
{
    static struct table table;
    static const char *const titles[] = { "company",    "<conversations", "<dead",
                                          "<parked",    "<delayed",       "<undelivered",
                                          "<uncertain", "<worst delay",   "slowest, failed",
                                          NULL };
    char worst[AGE_BYTES];

    table_begin(&table, titles);
    for (int row = 0; row < rows->count; row++) {
        const char *slowest = row_get(rows, row, "worst_us") ? row_get(rows, row, "worst_conversation") : NULL;
        const char *failed = row_get(rows, row, "failed_text");
        table_add(&table, BOLD, "%s", row_get(rows, row, "tenant") ? row_get(rows, row, "tenant") : "not known yet");
        add_count(&table, rows, row, "conversations", PLAIN);
        add_count(&table, rows, row, "dead", RED);
        add_count(&table, rows, row, "parked", YELLOW);
        add_count(&table, rows, row, "delayed", YELLOW);
        add_count(&table, rows, row, "undelivered", RED);
        add_count(&table, rows, row, "uncertain", RED);
        table_add(&table, PLAIN, "%s", slowest ? age_print(row_integer(rows, row, "worst_us"), worst) : "-");
        table_add(&table, PLAIN, "%s%s%s", slowest ? slowest : "", slowest && failed ? ", " : "", failed ? failed : "");
    }
    table_print(&table);
    for (int row = 0; row < rows->count; row++)
        if (row_get(rows, row, "most_often") && *row_get(rows, row, "most_often"))
            printf("%s, most often: %s\n",
                   row_get(rows, row, "tenant") ? row_get(rows, row, "tenant") : "not known yet",
                   row_get(rows, row, "most_often"));
    int64_t left_out = rows->count > 0 ? row_integer(rows, 0, "tenants") - rows->count : 0;
    if (left_out > 0)
        printf("… %lld more %s, with fewer conversations\n", (long long)left_out,
               plural(left_out, "company", "companies"));
}

static void print_json(const struct rows *rows, int64_t since_us)
{
    struct buf out;

    buf_init(&out, JSON_BYTES_MAX);
    buf_add_char(&out, '{');
    json_add_time(&out, "since", since_us);
    json_add_integer(&out, "tenants", rows->count > 0 ? row_integer(rows, 0, "tenants") : 0);
    json_name(&out, "impact");
    buf_add_char(&out, '[');
    for (int row = 0; row < rows->count; row++) {
        json_separate(&out);
        buf_add_string(&out, row_get(rows, row, "json"));
    }
    printf("%s]}\n", buf_text(&out).at);
    buf_done(&out);
}

static int impact_run(int argc, char **argv)
{
    static const struct option options[] = { { "since", required_argument, NULL, 's' },
                                             { "json", no_argument, NULL, 'j' },
                                             { 0 } };
    int64_t since_us = now_us() - DAY_US;
    char since[TIME_BYTES], clock[CLOCK_BYTES];
    struct session session;
    struct rows rows;
    struct problem why;
    bool json = false;

    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 's' && !when_read(optarg, &since_us))
            return command_misused(argv, "--since " WHEN_HELP);
        if (option == '?')
            return command_misused(argv, NULL);
        json = json || option == 'j';
    }
    if (optind < argc)
        return command_misused(argv, "it takes no arguments besides its options");
    int code = session_open(&session, STANDING_ROLE, argv);
    if (code >= 0)
        return code;
    if (!session_query(&session, &find_impact, PARAMS(time_print(since_us, since)), &rows, &why))
        return session_close(&session, command_fail(argv, EXIT_FAILED, "%s", why.text));
    if (json)
        print_json(&rows, since_us);
    else if (rows.count == 0)
        printf("no conversation was delayed by more than a minute or failed since %s\n", clock_print(since_us, clock));
    else
        print_table(&rows);
    return session_close(&session, EXIT_FINE);
}

const struct command command_impact = {
    .name = "impact",
    .summary = "counts the conversations that were delayed or failed, by company",
    .help =
        "Usage: sb impact [--since WHEN] [--json]\n\n"
        "A line for each company, those with the most conversations concerned first. Of these: given up by a stage and "
        "not "
        "done since\n"
        "(dead); waiting for a later try now (parked); done, but more than a minute after they came (delayed); with a "
        "message that was\n"
        "refused, or that did not arrive (undelivered), or of which nobody knows (uncertain). The worst delay counts "
        "what "
        "still waits.\n"
        "What no stage has read yet is nobody's so far: `sb status` counts it. Events at the door have no company "
        "yet.\n\n"
        "Options\n"
        "  --since WHEN  what happened since then; else a day\n"
        "  --json        {since, tenants, impact: [{tenant, conversations, dead, parked, …, worst_delay_s, "
        "worst_conversation, failed}]}\n\n"
        WHEN_PARAGRAPH "\n"
        "Examples\n"
        "  sb impact --since 2h\n"
        "  sb impact --since 2026-11-21T06:00:00Z --json | jq '.impact[] | select(.dead > 0) | .tenant'\n\n"
        "Exit codes: 0 counted, 1 the database cannot be asked, 2 the command line or a setting is wrong\n",
    .run = impact_run,
};
