/* sb company: the companies whose calls are handled: their time zone, their own keys, and what their agents have to do
 * in a call.  Who did what is recorded with the change. */
#include <getopt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/phone.h"
#include "deploy/sb/checklist.h"
#include "deploy/sb/command.h"
#include "deploy/sb/listing.h"
#include "deploy/sb/operator.h"
#include "ingest/callrail_list.h"

#define STEPS_JSON_BYTES_MAX (1024 * 1024)
#define RETENTION_DAYS_MAX   36500

/* Names that are also file names of the system's are none that a person means. */
static const struct statement check_company = {
    .name = "sb_check_company",
    .text = "WITH zones AS (SELECT name FROM pg_timezone_names WHERE name !~ '^(posix|right)/'"
            " AND name NOT IN ('localtime', 'posixrules', 'Factory'))"
            " SELECT EXISTS (SELECT 1 FROM companies WHERE tenant = $1) AS known,"
            " $2::text IS NULL OR EXISTS (SELECT 1 FROM zones WHERE name = $2) AS zone_known,"
            " (SELECT string_agg(name, ', ') FROM (SELECT name FROM zones WHERE replace(lower(name), '_', '')"
            "  LIKE '%' || regexp_replace(lower($2), '[^a-z]', '', 'g') || '%' ORDER BY name LIMIT 3) AS near)"
            "  AS zones_near,"
            " (SELECT tenant FROM companies WHERE callrail_account_id = $3 AND tenant <> $1) AS account_of",
    .params = 3,
};
static const struct statement insert_company = {
    .name = "sb_insert_company",
    .text = "WITH made AS (INSERT INTO companies (tenant, name, time_zone, default_region, alert_whatsapp,"
            "  recordings_days) VALUES ($1, $2, coalesce($3, 'UTC'), coalesce($4, 'US'), coalesce($5::boolean, true),"
            "  nullif($7::text, 'forever')::integer) ON CONFLICT (tenant) DO NOTHING"
            "  RETURNING tenant, name, time_zone, default_region, alert_whatsapp, recordings_days),"
            " noted AS (INSERT INTO operator_actions (who, command, what, detail)"
            "  SELECT $6, 'company add', tenant, to_jsonb(made) FROM made)"
            " SELECT tenant FROM made",
    .params = 7,
};
static const struct statement update_company = {
    .name = "sb_update_company",
    .text = "WITH before AS (SELECT tenant, name, time_zone, default_region, alert_whatsapp, recordings_days"
            "  FROM companies WHERE tenant = $1),"
            " changed AS (UPDATE companies SET name = coalesce($2, name), time_zone = coalesce($3, time_zone),"
            "  default_region = coalesce($4, default_region), alert_whatsapp = coalesce($5::boolean, alert_whatsapp),"
            "  recordings_days = CASE WHEN $7::text IS NULL THEN recordings_days"
            "   ELSE nullif($7::text, 'forever')::integer END,"
            "  updated_at = now() WHERE tenant = $1"
            "  RETURNING tenant, name, time_zone, default_region, alert_whatsapp, recordings_days),"
            " noted AS (INSERT INTO operator_actions (who, command, what, detail)"
            "  SELECT $6, 'company set', changed.tenant, jsonb_build_object('before', to_jsonb(before),"
            "  'after', to_jsonb(changed)) FROM changed, before)"
            " SELECT tenant FROM changed",
    .params = 7,
};
/* The operators' role may write the keys, and not read them. */
static const struct statement update_keys = {
    .name = "sb_update_callrail_keys",
    .text = "WITH changed AS (UPDATE companies SET callrail_keys = nullif($2, ''), updated_at = now() WHERE tenant = $1"
            "  RETURNING tenant, callrail_key_count),"
            " noted AS (INSERT INTO operator_actions (who, command, what, detail)"
            "  SELECT $3, 'company set', tenant, jsonb_build_object('callrail_keys', callrail_key_count) FROM changed)"
            " SELECT tenant FROM changed",
    .params = 3,
};
/* "account,key", or nothing. */
static const struct statement update_api_key = {
    .name = "sb_update_callrail_api_key",
    .text = "WITH changed AS (UPDATE companies SET callrail_account_id = nullif(split_part($2, ',', 1), ''),"
            "  callrail_api_key = nullif(split_part($2, ',', 2), ''), updated_at = now() WHERE tenant = $1"
            "  RETURNING tenant, callrail_account_id),"
            " noted AS (INSERT INTO operator_actions (who, command, what, detail)"
            "  SELECT $3, 'company set', tenant, jsonb_build_object('callrail_account_id', callrail_account_id)"
            "  FROM changed)"
            " SELECT tenant FROM changed",
    .params = 3,
};
static const struct statement replace_steps = {
    .name = "sb_replace_sop_steps",
    .text = "WITH wanted AS (SELECT number, step, ARRAY(SELECT jsonb_array_elements_text(phrases)) AS phrases"
            "  FROM jsonb_to_recordset($2::jsonb) AS s (number integer, step text, phrases jsonb)),"
            " gone AS (DELETE FROM sop_steps WHERE tenant = $1 AND number > jsonb_array_length($2::jsonb)),"
            " put AS (INSERT INTO sop_steps (tenant, number, step, phrases)"
            "  SELECT $1, number, step, phrases FROM wanted"
            "  ON CONFLICT (tenant, number) DO UPDATE SET step = EXCLUDED.step, phrases = EXCLUDED.phrases,"
            "  updated_at = now()),"
            " noted AS (INSERT INTO operator_actions (who, command, what, detail)"
            "  SELECT $3, 'company set', $1, jsonb_build_object('sop_steps',"
            "  (SELECT coalesce(jsonb_agg(step ORDER BY number), '[]') FROM wanted)))"
            " SELECT 1 AS done",
    .params = 3,
};
static const struct statement list_companies = {
    .name = "sb_list_companies",
    .text = "SELECT c.tenant, c.name, c.time_zone, c.default_region, c.alert_whatsapp, c.recordings_days,"
            " c.callrail_key_count, c.callrail_account_id,"
            " (SELECT count(*) FROM tracking_numbers n WHERE n.tenant = c.tenant) AS numbers,"
            " (SELECT count(*) FROM users u WHERE u.tenant = c.tenant) AS users,"
            " (SELECT count(*) FROM sop_steps s WHERE s.tenant = c.tenant) AS step_count,"
            " (SELECT coalesce(jsonb_agg(jsonb_build_object('step', step, 'phrases', phrases) ORDER BY number), '[]')"
            "  FROM sop_steps s WHERE s.tenant = c.tenant) AS sop_steps"
            " FROM companies c WHERE $1::text IS NULL OR c.tenant = $1 ORDER BY c.tenant",
    .params = 1,
};
static const struct listing_column columns[] = {
    { "tenant", "company", LISTING_TEXT },
    { "name", "name", LISTING_TEXT },
    { "time_zone", "time zone", LISTING_TEXT },
    { "default_region", "region", LISTING_TEXT },
    { "alert_whatsapp", "alerts", LISTING_FLAG },
    { "recordings_days", "<days kept", LISTING_NUMBER },
    { "callrail_key_count", "<own keys", LISTING_NUMBER },
    { "callrail_account_id", "own account", LISTING_TEXT },
    { "numbers", "<numbers", LISTING_NUMBER },
    { "users", "<users", LISTING_NUMBER },
    { "step_count", "<steps", LISTING_NUMBER },
    { "sop_steps", NULL, LISTING_JSON },
    { 0 },
};

struct wanted {
    const char *tenant, *name, *time_zone, *region, *alerts, *recordings_days, *as;
    const char *keys_file, *api_file, *steps_file;
    bool json;
    char keys[CHECKLIST_KEYS_BYTES], api_key[CHECKLIST_KEYS_BYTES];
    char account[CALLRAIL_ACCOUNT_LENGTH_MAX + 1]; /* the first of api_key; empty: none */
    struct buf steps; /* JSON */
};

/* --- the command line ------------------------------------------------------------------------------------------- */

static int read_options(struct wanted *wanted, int argc, char **argv)
{
    static const struct option options[] = {
        { "name", required_argument, NULL, 'n' },   { "time-zone", required_argument, NULL, 'z' },
        { "region", required_argument, NULL, 'r' }, { "alerts", required_argument, NULL, 'l' },
        { "sop", required_argument, NULL, 's' },    { "callrail-keys", required_argument, NULL, 'k' },
        { "as", required_argument, NULL, 'a' },     { "json", no_argument, NULL, 'j' },
        { "callrail-api", required_argument, NULL, 'p' }, { "recordings-days", required_argument, NULL, 'd' },
        { 0 },
    };
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'p': wanted->api_file = optarg; break;
        case 'd': wanted->recordings_days = optarg; break;
        case 'n': wanted->name = optarg; break;
        case 'z': wanted->time_zone = optarg; break;
        case 'r': wanted->region = optarg; break;
        case 'l': wanted->alerts = optarg; break;
        case 's': wanted->steps_file = optarg; break;
        case 'k': wanted->keys_file = optarg; break;
        case 'a': wanted->as = optarg; break;
        case 'j': wanted->json = true; break;
        default: return command_misused(argv, NULL);
        }
    }
    if (argc - optind != 1)
        return command_misused(argv, "it takes one company: a short name of a-z, 0-9, - and _");
    wanted->tenant = argv[optind];
    return -1;
}

static bool is_tenant(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t bytes = strlen(name);
    return bytes >= 1 && bytes <= 63 && strspn(name, letters) == bytes && *name != '-' && *name != '_';
}

/* As the database has it: at least a day. */
static bool is_retention(const char *days)
{
    size_t digits = strspn(days, "0123456789");
    return strcmp(days, "forever") == 0 ||
           (digits >= 1 && digits <= 5 && days[digits] == '\0' && atoi(days) >= 1 && atoi(days) <= RETENTION_DAYS_MAX);
}

static int check_options(const struct wanted *wanted, char **argv)
{
    if (!is_tenant(wanted->tenant))
        return command_misused(argv, "a company's short name has 1 to 63 of a-z, 0-9, - and _, and begins with a letter"
                                     " or digit");
    if (strcmp(wanted->tenant, "unassigned") == 0)
        return command_misused(argv, "\"unassigned\" is where calls to numbers nobody has are kept; it stays as it is");
    if (wanted->name && *wanted->name == '\0')
        return command_misused(argv, "--name must say something");
    if (wanted->region && !phone_is_region(wanted->region))
        return command_misused(argv, "--region takes the two letters that ISO 3166 gives a country: US, GB");
    if (wanted->alerts && strcmp(wanted->alerts, "on") != 0 && strcmp(wanted->alerts, "off") != 0)
        return command_misused(argv, "--alerts takes on or off");
    if (wanted->recordings_days && !is_retention(wanted->recordings_days))
        return command_misused(argv, "--recordings-days takes 1 to 36500, or forever");
    const char *const files[] = { wanted->keys_file, wanted->api_file, wanted->steps_file };
    for (size_t i = 0; i < LENGTH(files); i++)
        for (size_t j = 0; j < i; j++)
            if (files[i] && files[j] && strcmp(files[i], files[j]) == 0)
                return command_misused(argv, "--callrail-keys, --callrail-api and --sop cannot read the same");
    return -1;
}

/* api_key is "account,key", or empty. */
static bool read_account(struct wanted *wanted, struct problem *why)
{
    size_t bytes = strcspn(wanted->api_key, ",");
    const char *comma = wanted->api_key + bytes;
    if (*wanted->api_key && (!*comma || strchr(comma + 1, ',')))
        return fail(why, "%s: the account's id and its API key stand in a line each", wanted->api_file);
    if (!callrail_account_is((struct text){ wanted->api_key, bytes }))
        return fail(why, "line 1: an account's id has at most %d letters, digits, - and _",
                    CALLRAIL_ACCOUNT_LENGTH_MAX);
    memcpy(wanted->account, wanted->api_key, bytes);
    return true;
}

/* Before anything is changed. */
static int read_files(struct wanted *wanted, char **argv)
{
    static char text[CHECKLIST_FILE_BYTES_MAX];
    struct problem why;
    bool good = true;

    buf_init(&wanted->steps, STEPS_JSON_BYTES_MAX);
    if (wanted->keys_file)
        good = checklist_file(wanted->keys_file, text, &why) && checklist_keys(text, wanted->keys, &why);
    if (good && wanted->api_file)
        good = checklist_file(wanted->api_file, text, &why) && checklist_keys(text, wanted->api_key, &why) &&
               read_account(wanted, &why);
    if (good && wanted->steps_file)
        good = checklist_file(wanted->steps_file, text, &why) && checklist_steps(text, &wanted->steps, &why);
    sodium_memzero(text, sizeof(text));
    return good ? -1 : command_fail(argv, EXIT_WRONG, "%s", why.text);
}

/* --- the database ------------------------------------------------------------------------------------------------ */

/* -1 when the company is there, or is not, as it should be, its time zone is one, and its account no other's. */
static int check_database(const struct wanted *wanted, struct session *session, bool shall_be_known, char **argv)
{
    struct rows rows;
    struct problem why;

    if (!session_query(session, &check_company, PARAMS(wanted->tenant, wanted->time_zone, wanted->account), &rows,
                       &why))
        return command_fail(argv, EXIT_FAILED, "%s", why.text);
    const char *near = row_get(&rows, 0, "zones_near"), *account_of = row_get(&rows, 0, "account_of");
    bool known = *row_get(&rows, 0, "known") == 't';
    if (*row_get(&rows, 0, "zone_known") != 't')
        return command_fail(argv, EXIT_WRONG, "there is no time zone \"%s\"; Postgres knows %s", wanted->time_zone,
                            near ? near : "names such as America/New_York");
    if (known && !shall_be_known)
        return command_fail(argv, EXIT_FAILED, "there is a company \"%s\" already: \"sb company set\" changes it",
                            wanted->tenant);
    if (!known && shall_be_known)
        return command_fail(argv, EXIT_FAILED, "there is no company \"%s\": \"sb company list\" shows them",
                            wanted->tenant);
    if (account_of)
        return command_fail(argv, EXIT_FAILED, "the CallRail account %s is %s's already", wanted->account, account_of);
    return -1;
}

static bool write_company(const struct wanted *wanted, struct session *session, const struct statement *statement,
                          struct problem *why)
{
    char who[OPERATOR_BYTES_MAX + 1];
    const char *alerts = !wanted->alerts ? NULL : strcmp(wanted->alerts, "on") == 0 ? "true" : "false";
    struct rows rows;

    operator_name(wanted->as, who);
    struct params row = PARAMS(wanted->tenant, wanted->name, wanted->time_zone, wanted->region, alerts, who,
                               wanted->recordings_days);
    if (statement && !session_query(session, statement, row, &rows, why))
        return false;
    if (wanted->keys_file &&
        !session_query(session, &update_keys, PARAMS(wanted->tenant, wanted->keys, who), &rows, why))
        return false;
    if (wanted->api_file &&
        !session_query(session, &update_api_key, PARAMS(wanted->tenant, wanted->api_key, who), &rows, why))
        return false;
    return !wanted->steps_file ||
           session_query(session, &replace_steps, PARAMS(wanted->tenant, buf_text(&wanted->steps).at, who), &rows, why);
}

static int show(const struct wanted *wanted, struct session *session, const char *done, char **argv)
{
    struct rows rows;
    struct problem why;

    fprintf(stderr, "the company %s is %s\n", wanted->tenant, done);
    if (!wanted->json)
        return EXIT_FINE;
    if (!session_query(session, &list_companies, PARAMS(wanted->tenant), &rows, &why))
        return command_fail(argv, EXIT_FAILED, "%s", why.text);
    listing_print_row_json(&rows, 0, columns);
    return EXIT_FINE;
}

/* `statement` NULL: the row itself stays as it is. */
static int write_and_show(struct wanted *wanted, const struct statement *statement, bool shall_be_known, char **argv)
{
    struct session session;
    struct problem why;

    int wrong = check_options(wanted, argv);
    if (wrong >= 0 || (wrong = read_files(wanted, argv)) >= 0 ||
        (wrong = session_open(&session, ROLE_OPERATOR, argv)) >= 0)
        return wrong;
    wrong = check_database(wanted, &session, shall_be_known, argv);
    if (wrong < 0 && !write_company(wanted, &session, statement, &why))
        wrong = command_fail(argv, EXIT_FAILED, "%s", why.text);
    sodium_memzero(wanted->keys, sizeof(wanted->keys));
    sodium_memzero(wanted->api_key, sizeof(wanted->api_key));
    buf_done(&wanted->steps);
    if (wrong < 0)
        wrong = show(wanted, &session, shall_be_known ? "changed" : "added", argv);
    return session_close(&session, wrong);
}

static int add(int argc, char **argv)
{
    static struct wanted wanted;

    int wrong = read_options(&wanted, argc, argv);
    if (wrong >= 0)
        return wrong;
    if (wanted.name == NULL)
        return command_misused(argv, "--name is needed: what people call it");
    return write_and_show(&wanted, &insert_company, false, argv);
}

static int set(int argc, char **argv)
{
    static struct wanted wanted;

    int wrong = read_options(&wanted, argc, argv);
    if (wrong >= 0)
        return wrong;
    bool row = wanted.name || wanted.time_zone || wanted.region || wanted.alerts || wanted.recordings_days;
    if (!row && !wanted.keys_file && !wanted.api_file && !wanted.steps_file)
        return command_misused(argv, "say what: --name, --time-zone, --region, --alerts, --recordings-days,"
                                     " --callrail-keys, --callrail-api or --sop");
    return write_and_show(&wanted, row ? &update_company : NULL, true, argv);
}

static int list(int argc, char **argv)
{
    static const struct option options[] = { { "json", no_argument, NULL, 'j' }, { 0 } };
    struct session session;
    struct rows rows;
    struct problem why;
    bool json = false;

    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1; json = true)
        if (option != 'j')
            return command_misused(argv, NULL);
    if (optind < argc)
        return command_misused(argv, "it takes no arguments");
    int wrong = session_open(&session, ROLE_OPERATOR, argv);
    if (wrong >= 0)
        return wrong;
    if (!session_query(&session, &list_companies, PARAMS(NULL), &rows, &why))
        return session_close(&session, command_fail(argv, EXIT_FAILED, "%s", why.text));
    if (json)
        listing_print_json(&rows, columns);
    else
        listing_print(&rows, columns, "there is no company");
    return session_close(&session, EXIT_FINE);
}

static int company_run(int argc, char **argv)
{
    static const struct command_action actions[] = { { "add", add }, { "set", set }, { "list", list }, { 0 } };
    return command_act(actions, argc, argv);
}

const struct command command_company = {
    .name = "company",
    .summary = "adds, changes and lists companies: time zone, own CallRail keys, what agents have to do",
    .help =
        "Usage: sb company add TENANT --name NAME [OPTION…]\n"
        "       sb company set TENANT [OPTION…]\n"
        "       sb company list [--json]\n\n"
        "TENANT is its short name everywhere: of a-z, 0-9, - and _. The daemons know of a change within seconds.\n\n"
        "Options\n"
        "  --name NAME           what people call it; it is said in messages and to models\n"
        "  --time-zone ZONE      America/New_York: when its days begin, and what \"at ten\" means; else UTC\n"
        "  --region CC           US, GB: where phone numbers written without a country are from\n"
        "  --alerts on|off       WhatsApp messages about hot and booked calls\n"
        "  --recordings-days N   after so many days the copy of a recording is removed, for good; forever: never.\n"
        "                        What was said and found in it stays. A shorter time holds within seconds for all of them\n"
        "  --callrail-keys FILE  signing keys of its own CallRail account, a line each (- is standard input); an\n"
        "                        empty file: it has none. They are never shown\n"
        "  --callrail-api FILE   that account's id and, in the next line, its API key, by which calls are fetched\n"
        "                        whose webhooks never came; an empty file: it has none\n"
        "  --sop FILE            what its agents have to do in a call, a line each, with the words that show that it\n"
        "                        was done: \"asks for the name: your name, who is calling\"; an empty file: the steps\n"
        "                        that analyze comes with. Calls analysed from then on are held to it\n"
        "  --as NAME             who does it; else $SUDO_USER or $USER, at this host\n"
        "  --json                the company as it is then, as JSON\n\n"
        "Examples\n"
        "  sb company add acme --name \"Acme Plumbing\" --time-zone America/New_York\n"
        "  sb company set acme --sop steps.txt\n"
        "  sb company set acme --recordings-days 90\n"
        "  pass show acme/callrail | sb company set acme --callrail-keys -\n"
        "  sb company list\n\n"
        "Exit codes: 0 done, 1 it is there already, is not there, or the database does not answer, 2 the command\n"
        "line, a file or a setting is wrong\n",
    .run = company_run,
};
