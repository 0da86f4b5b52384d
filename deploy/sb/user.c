/* sb user: the people of a company: who they are, what they may see, and which number they pick up. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "common/crypto.h"
#include "common/phone.h"
#include "deploy/sb/command.h"
#include "deploy/sb/listing.h"
#include "deploy/sb/operator.h"

#define USER_COLUMNS "tenant, email, user_id, name, phone, role, answers"

static const struct statement insert_user = {
    .name = "sb_insert_user",
    .text = "WITH made AS (INSERT INTO users (tenant, email, user_id, name, phone, role, answers)"
            "  SELECT tenant, $2, $3, $4, $5, $6, $7 FROM companies WHERE tenant = $1"
            "  ON CONFLICT DO NOTHING RETURNING " USER_COLUMNS "),"
            " noted AS (INSERT INTO operator_actions (who, command, what, detail)"
            "  SELECT $8, 'user add', tenant || ' ' || email, to_jsonb(made) FROM made)"
            " SELECT " USER_COLUMNS " FROM made",
    .params = 8,
};
static const struct statement update_user = {
    .name = "sb_update_user",
    .text = "WITH before AS (SELECT " USER_COLUMNS " FROM users WHERE tenant = $1 AND email = $2),"
            " changed AS (UPDATE users SET name = coalesce($3, name), phone = coalesce($4, phone),"
            "  role = coalesce($5, role), answers = coalesce($6, answers), updated_at = now()"
            "  WHERE tenant = $1 AND email = $2"
            "  AND NOT EXISTS (SELECT 1 FROM users u WHERE u.tenant = $1 AND u.email <> $2 AND u.answers = $6)"
            "  RETURNING " USER_COLUMNS "),"
            " noted AS (INSERT INTO operator_actions (who, command, what, detail)"
            "  SELECT $7, 'user set', changed.tenant || ' ' || changed.email,"
            "  jsonb_build_object('before', to_jsonb(before), 'after', to_jsonb(changed)) FROM changed, before)"
            " SELECT " USER_COLUMNS " FROM changed",
    .params = 7,
};
/* Why it was not written. */
static const struct statement find_obstacles = {
    .name = "sb_find_user_obstacles",
    .text = "SELECT EXISTS (SELECT 1 FROM users WHERE tenant = $1 AND email = $2) AS known,"
            " (SELECT email FROM users WHERE tenant = $1 AND answers = $3 AND email <> $2) AS answers_already",
    .params = 3,
};
static const struct statement list_users = {
    .name = "sb_list_users",
    .text = "SELECT " USER_COLUMNS " FROM users WHERE $1::text IS NULL OR tenant = $1 ORDER BY tenant, email",
    .params = 1,
};
static const struct listing_column columns[] = {
    { "tenant", "company", LISTING_TEXT }, { "email", "e-mail", LISTING_TEXT },
    { "name", "name", LISTING_TEXT },      { "role", "role", LISTING_TEXT },
    { "phone", "phone", LISTING_TEXT },    { "answers", "answers", LISTING_TEXT },
    { "user_id", "id", LISTING_TEXT },     { 0 },
};

struct wanted {
    const char *tenant, *name, *phone, *role, *answers, *as;
    bool json;
    const char *argument;
    char email[OPERATOR_BYTES_MAX + 1]; /* in lower case */
    char phone_number[PHONE_BYTES], answers_number[PHONE_BYTES];
};

/* --- the command line ------------------------------------------------------------------------------------------- */

static int read_options(struct wanted *wanted, int argc, char **argv)
{
    static const struct option options[] = {
        { "tenant", required_argument, NULL, 't' },  { "name", required_argument, NULL, 'n' },
        { "phone", required_argument, NULL, 'p' },   { "role", required_argument, NULL, 'r' },
        { "answers", required_argument, NULL, 's' }, { "as", required_argument, NULL, 'a' },
        { "json", no_argument, NULL, 'j' },          { 0 },
    };
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 't': wanted->tenant = optarg; break;
        case 'n': wanted->name = optarg; break;
        case 'p': wanted->phone = optarg; break;
        case 'r': wanted->role = optarg; break;
        case 's': wanted->answers = optarg; break;
        case 'a': wanted->as = optarg; break;
        case 'j': wanted->json = true; break;
        default: return command_misused(argv, NULL);
        }
    }
    if (argc - optind > 1)
        return command_misused(argv, "it takes one e-mail address");
    wanted->argument = argv[optind];
    return -1;
}

static bool read_email(struct wanted *wanted)
{
    size_t bytes = wanted->argument ? strlen(wanted->argument) : 0, at = bytes ? strcspn(wanted->argument, "@") : 0;

    for (size_t i = 0; i <= bytes && bytes < sizeof(wanted->email); i++) {
        char c = bytes ? wanted->argument[i] : '\0';
        wanted->email[i] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    }
    return bytes > 0 && bytes < sizeof(wanted->email) && at > 0 && at + 1 < bytes &&
           !strpbrk(wanted->argument, " \t\n");
}

/* -1, or the exit code: what cannot be right is told before the database is asked. */
static int check_options(struct wanted *wanted, struct session *session, char **argv)
{
    const char *region = session->settings.default_region;

    if (!read_email(wanted))
        return command_misused(argv, "it takes the user's e-mail address");
    if (wanted->tenant == NULL)
        return command_misused(argv, "--tenant is needed: the user's company");
    if (wanted->name && *wanted->name == '\0')
        return command_misused(argv, "--name must say something");
    if (wanted->role && !operator_role_is(wanted->role))
        return command_misused(argv, "--role takes " OPERATOR_ROLES);
    if (wanted->phone && !phone_e164(wanted->phone, region, wanted->phone_number))
        return command_misused(argv, "--phone takes a phone number: +12025550100");
    if (wanted->answers && !phone_e164(wanted->answers, region, wanted->answers_number))
        return command_misused(argv, "--answers takes a phone number: +12025550100");
    wanted->phone = wanted->phone ? wanted->phone_number : NULL;
    wanted->answers = wanted->answers ? wanted->answers_number : NULL;
    return -1;
}

/* --- the database ------------------------------------------------------------------------------------------------ */

static int not_written(const struct wanted *wanted, struct session *session, bool shall_be_known, char **argv)
{
    struct rows rows;
    struct problem why;

    int code = session_company(session, wanted->tenant, argv);
    if (code >= 0)
        return code;
    if (!session_query(session, &find_obstacles, PARAMS(wanted->tenant, wanted->email, wanted->answers), &rows, &why))
        return command_fail(argv, EXIT_FAILED, "%s", why.text);
    const char *other = row_get(&rows, 0, "answers_already");
    bool known = *row_get(&rows, 0, "known") == 't';
    if (known && !shall_be_known)
        return command_fail(argv, EXIT_FAILED, "%s is a user of %s already: \"sb user set\" changes what is kept",
                            wanted->email, wanted->tenant);
    if (!known && shall_be_known)
        return command_fail(argv, EXIT_FAILED, "%s is no user of %s: \"sb user list\" shows them", wanted->email,
                            wanted->tenant);
    if (other)
        return command_fail(argv, EXIT_FAILED, "%s answers %s already", other, wanted->answers);
    return command_fail(argv, EXIT_FAILED, "it was changed by somebody else meanwhile: try again");
}

static int write_user(const struct wanted *wanted, struct session *session, bool shall_be_known, char **argv)
{
    char user_id[UUID_BYTES], who[OPERATOR_BYTES_MAX + 1];
    struct rows rows;
    struct problem why;

    operator_name(wanted->as, who);
    uuid_of(user_id, "user", wanted->tenant, wanted->email, NULL);
    struct params added = PARAMS(wanted->tenant, wanted->email, user_id, wanted->name, wanted->phone, wanted->role,
                                 wanted->answers, who),
                  changed = PARAMS(wanted->tenant, wanted->email, wanted->name, wanted->phone, wanted->role,
                                   wanted->answers, who);
    if (!session_query(session, shall_be_known ? &update_user : &insert_user, shall_be_known ? changed : added, &rows,
                       &why))
        return command_fail(argv, EXIT_FAILED, "%s", why.text);
    if (rows.count == 0)
        return not_written(wanted, session, shall_be_known, argv);
    fprintf(stderr, "%s, %s of %s, is %s\n", wanted->email, row_get(&rows, 0, "role"), wanted->tenant,
            shall_be_known ? "changed" : "added");
    if (wanted->json)
        listing_print_row_json(&rows, 0, columns);
    return EXIT_FINE;
}

static int write_one(struct wanted *wanted, bool shall_be_known, char **argv)
{
    struct session session;

    int wrong = session_open(&session, ROLE_OPERATOR, argv);
    if (wrong >= 0)
        return wrong;
    wrong = check_options(wanted, &session, argv);
    return session_close(&session, wrong >= 0 ? wrong : write_user(wanted, &session, shall_be_known, argv));
}

static int add(int argc, char **argv)
{
    struct wanted wanted = { 0 };

    int wrong = read_options(&wanted, argc, argv);
    if (wrong >= 0)
        return wrong;
    if (wanted.name == NULL || wanted.role == NULL)
        return command_misused(argv, "--name and --role are needed");
    return write_one(&wanted, false, argv);
}

static int set(int argc, char **argv)
{
    struct wanted wanted = { 0 };

    int wrong = read_options(&wanted, argc, argv);
    if (wrong >= 0)
        return wrong;
    if (!wanted.name && !wanted.role && !wanted.phone && !wanted.answers)
        return command_misused(argv, "say what: --name, --role, --phone or --answers");
    return write_one(&wanted, true, argv);
}

static int list(int argc, char **argv)
{
    struct wanted wanted = { 0 };
    struct session session;
    struct rows rows;
    struct problem why;

    int wrong = read_options(&wanted, argc, argv);
    if (wrong < 0 && (wanted.argument || wanted.name || wanted.role || wanted.phone || wanted.answers))
        wrong = command_misused(argv, "it takes --tenant and --json alone");
    if (wrong >= 0 || (wrong = session_open(&session, ROLE_OPERATOR, argv)) >= 0)
        return wrong;
    if (wanted.tenant && (wrong = session_company(&session, wanted.tenant, argv)) >= 0)
        return session_close(&session, wrong);
    if (!session_query(&session, &list_users, PARAMS(wanted.tenant), &rows, &why))
        return session_close(&session, command_fail(argv, EXIT_FAILED, "%s", why.text));
    if (wanted.json)
        listing_print_json(&rows, columns);
    else
        listing_print(&rows, columns, "there is no user");
    return session_close(&session, EXIT_FINE);
}

static int user_run(int argc, char **argv)
{
    static const struct command_action actions[] = { { "add", add }, { "set", set }, { "list", list }, { 0 } };
    return command_act(actions, argc, argv);
}

const struct command command_user = {
    .name = "user",
    .summary = "adds, changes and lists a company's people: role, phone, the number they pick up",
    .help =
        "Usage: sb user add EMAIL --tenant TENANT --name NAME --role ROLE [OPTION…]\n"
        "       sb user set EMAIL --tenant TENANT [OPTION…]\n"
        "       sb user list [--tenant TENANT] [--json]\n\n"
        "A call counts for who took it: by the agent's address that CallRail tells, else by the number that\n"
        "answered (--answers). A rep is told of their visits at --phone. A token of theirs is made by\n"
        "\"sb token create --email EMAIL\".\n\n"
        "Options\n"
        "  --tenant TENANT   the user's company\n"
        "  --name NAME       reps are found in calls by it\n"
        "  --role ROLE       platform (everything, all companies), admin, exec, csr, rep, owner, station\n"
        "  --phone NUMBER    where WhatsApp reaches them\n"
        "  --answers NUMBER  the number this person picks up; one person's alone\n"
        "  --as NAME         who does it; else $SUDO_USER or $USER, at this host\n"
        "  --json            the user as it is then, as JSON\n\n"
        "Examples\n"
        "  sb user add ana@acme.example --tenant acme --name \"Ana Silva\" --role rep --phone +12025550101\n"
        "  sb user add ben@acme.example --tenant acme --name \"Ben Ode\" --role csr --answers +12025550102\n"
        "  sb user list --tenant acme\n\n"
        "Exit codes: 0 done, 1 it is there already, is not there, or the database does not answer, 2 the command line\n"
        "or a setting is wrong\n",
    .run = user_run,
};
