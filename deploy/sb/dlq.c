/* sb dlq: dead letters: what could not be handled, and what operators make of it. */
#include "deploy/sb/dlq.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "deploy/sb/command.h"
#include "deploy/sb/operator.h"
#include "deploy/sb/rerun.h"
#include "deploy/sb/when.h"

#define DETAIL_BYTES_MAX (16 * 1024)

/* --- what is shared ------------------------------------------------------------------------------------------ */

int dlq_select(const struct dlq *dlq, struct session *session, const char *what, struct letters *ret)
{
    char question[128];
    struct problem why;

    if (!letters_find(session, dlq->stage, &dlq->filter, ret, &why))
        return command_fail(dlq->argv, EXIT_FAILED, "%s", why.text);
    if (ret->count == 0)
        return command_fail(dlq->argv, EXIT_FAILED, "no open dead letter of %s fits: \"sb dlq list %s\" lists them",
                            dlq->stage, dlq->stage);
    if (ret->too_many)
        return command_fail(dlq->argv, EXIT_FAILED,
                            "more than %d letters fit: take fewer at once, by --type or --since", LETTERS_MAX);
    snprintf(question, sizeof(question), "%s %zu letters of %s?", what, ret->count, dlq->stage);
    if (ret->count > 1 && !dlq->yes && !dlq->dry_run && !operator_confirms(question))
        return command_fail(dlq->argv, EXIT_FAILED, "nothing was done");
    return -1;
}

const char *dlq_detail(const struct dlq *dlq, struct session *session, size_t letters)
{
    const struct {
        const char *name, *value;
    } members[] = { { "id", dlq->filter.id },
                    { "key", dlq->filter.key },
                    { "type", dlq->filter.type },
                    { "reason", dlq->filter.reason },
                    { "why", dlq->why } };
    char since[TIME_BYTES];
    struct buf out;

    buf_init(&out, DETAIL_BYTES_MAX);
    buf_add_char(&out, '{');
    json_name(&out, "letters");
    json_write_integer(&out, (int64_t)letters);
    for (size_t i = 0; i < LENGTH(members); i++)
        if (members[i].value) {
            json_name(&out, members[i].name);
            json_write_string(&out, members[i].value);
        }
    if (dlq->filter.since_us) {
        json_name(&out, "since");
        json_write_string(&out, time_print(dlq->filter.since_us, since));
    }
    buf_add_char(&out, '}');
    const char *ret = out.overflowed ? "{}" : arena_copy_text(session->arena, buf_text(&out));
    buf_done(&out);
    return ret;
}

/* --- options ------------------------------------------------------------------------------------------------- */

enum {
    OPTION_ID = 1,
    OPTION_KEY,
    OPTION_TYPE,
    OPTION_REASON,
    OPTION_SINCE,
    OPTION_ALL,
    OPTION_SET,
    OPTION_RATE,
    OPTION_DRY_RUN,
    OPTION_YES,
    OPTION_NO_WAIT,
    OPTION_JSON,
    OPTION_AS,
    OPTION_WHY
};

static const struct option option_names[] = {
    { "id", required_argument, NULL, OPTION_ID },
    { "key", required_argument, NULL, OPTION_KEY },
    { "type", required_argument, NULL, OPTION_TYPE },
    { "reason", required_argument, NULL, OPTION_REASON },
    { "since", required_argument, NULL, OPTION_SINCE },
    { "all", no_argument, NULL, OPTION_ALL },
    { "set", required_argument, NULL, OPTION_SET },
    { "rate", required_argument, NULL, OPTION_RATE },
    { "dry-run", no_argument, NULL, OPTION_DRY_RUN },
    { "yes", no_argument, NULL, OPTION_YES },
    { "no-wait", no_argument, NULL, OPTION_NO_WAIT },
    { "json", no_argument, NULL, OPTION_JSON },
    { "as", required_argument, NULL, OPTION_AS },
    { "why", required_argument, NULL, OPTION_WHY },
    { 0 },
};

static bool misused(const struct dlq *dlq, const char *what)
{
    command_misused(dlq->argv, what);
    return false;
}

/* False: it was said what is wrong. */
static bool take_option(struct dlq *dlq, int option)
{
    switch (option) {
    case OPTION_ID:
        return (dlq->filter.id = optarg);
    case OPTION_KEY:
        return (dlq->filter.key = optarg);
    case OPTION_TYPE:
        return (dlq->filter.type = optarg);
    case OPTION_REASON:
        return (dlq->filter.reason = optarg);
    case OPTION_SINCE:
        return when_read(optarg, &dlq->filter.since_us) || misused(dlq, "--since " WHEN_HELP);
    case OPTION_ALL:
        return (dlq->all = true);
    case OPTION_SET:
        if (dlq->set_count == DLQ_SETS_MAX || strchr(optarg, '=') == NULL)
            return misused(dlq, "--set takes /data/field=JSON, at most 32 times");
        return (dlq->sets[dlq->set_count++] = optarg);
    case OPTION_RATE:
        dlq->rate = operator_number(optarg, 1, RERUN_RATE_MAX);
        return dlq->rate > 0 || misused(dlq, "--rate takes a number of events a second");
    case OPTION_DRY_RUN:
        return (dlq->dry_run = true);
    case OPTION_YES:
        return (dlq->yes = true);
    case OPTION_NO_WAIT:
        return (dlq->no_wait = true);
    case OPTION_JSON:
        return (dlq->json = true);
    case OPTION_AS:
        return (dlq->as = optarg);
    case OPTION_WHY:
        return (dlq->why = optarg);
    default:
        return misused(dlq, NULL);
    }
}

/* The verbs, and which options each needs and takes beside the filter, --json and --as. */
static const struct verb {
    const char *name;
    int (*run)(const struct dlq *dlq, struct session *session);
    bool all_stages, takes_filter, needs_filter, needs_id, needs_why, takes_set;
} verbs[] = {
    { "list", dlq_list, .all_stages = true, .takes_filter = true },
    { "show", dlq_show, .needs_id = true },
    { "retry", dlq_retry, .takes_filter = true, .needs_filter = true },
    { "edit", dlq_edit, .needs_id = true, .takes_set = true },
    { "drop", dlq_drop, .takes_filter = true, .needs_filter = true, .needs_why = true },
};

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; name && i < LENGTH(verbs); i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

/* -1, or the exit code */
static int check_options(const struct dlq *dlq, const struct verb *verb)
{
    const struct letter_filter *filter = &dlq->filter;
    bool beside_id = filter->key || filter->type || filter->reason || filter->since_us;

    if (dlq->stage == NULL && !verb->all_stages)
        return command_misused(dlq->argv, "it takes a stage: \"sb dlq list\" shows which have dead letters");
    if (dlq->stage && !operator_stage_is(dlq->stage))
        return command_fail(dlq->argv, EXIT_WRONG, "there is no stage \"%s\": \"sb topics\" names them", dlq->stage);
    if (verb->needs_id && (!filter->id || beside_id))
        return command_misused(dlq->argv, "it takes --id, of one letter or of the event in it");
    if (verb->needs_filter && !dlq->all && !filter->id && !beside_id)
        return command_misused(dlq->argv, "say which: --id, --key, --type, --reason or --since; or --all");
    if (verb->needs_filter && dlq->all && (filter->id || beside_id))
        return command_misused(dlq->argv, "--all is all; leave it away, or the rest");
    if (verb->needs_why && !dlq->why)
        return command_misused(dlq->argv, "say --why, for those who look for it later");
    if (dlq->set_count > 0 && !verb->takes_set)
        return command_misused(dlq->argv, "--set is for \"sb dlq edit\"");
    return -1;
}

static int dlq_run(int argc, char **argv)
{
    struct dlq dlq = { .rate = RERUN_RATE_DEFAULT, .argv = argv };
    struct session session;

    for (int option; (option = getopt_long(argc, argv, "", option_names, NULL)) != -1;)
        if (!take_option(&dlq, option))
            return EXIT_WRONG;
    const struct verb *verb = find_verb(argv[optind]);
    if (verb == NULL || argc - optind > 2)
        return command_misused(argv, "it takes list, show, retry, edit or drop, and a stage");
    dlq.stage = argv[optind + 1];
    int wrong = check_options(&dlq, verb);
    if (wrong >= 0 || (wrong = operator_open(&session, argv)) >= 0)
        return wrong;
    return session_close(&session, verb->run(&dlq, &session));
}

const struct command command_dlq = {
    .name = "dlq",
    .summary = "dead letters: lists, shows, retries, edits or drops what could not be handled",
    .help =
        "Usage: sb dlq list [STAGE] [WHICH…] [--json]\n"
        "       sb dlq show STAGE --id ID [--json]\n"
        "       sb dlq retry STAGE (WHICH… | --all) [--rate N] [--dry-run] [--yes] [--no-wait]\n"
        "       sb dlq edit STAGE --id ID [--set POINTER=JSON]… [--dry-run] [--no-wait]\n"
        "       sb dlq drop STAGE (WHICH… | --all) --why TEXT [--dry-run] [--yes]\n\n"
        "An event that a stage cannot handle goes to dead.STAGE, untouched, with the reason; webhooks that\n"
        "the door cannot read go to dead.ingest. A letter is open until it is retried, edited or dropped\n"
        "here; each of these is kept in operator_actions and letter_actions: who, when, what, and an edited\n"
        "event as it was before.\n\n"
        "  list   open letters by type and reason, with numbers and words that differ left out\n"
        "  show   all of a letter, with its event, and what was done about it\n"
        "  retry  gives the event to the stage again as a new run, and waits how it ends; if it fails again, that is\n"
        "         a new letter. What was already asked of a provider once (a message, a note) is not asked twice\n"
        "  edit   changes the event first: by --set, else in $EDITOR\n"
        "  drop   it is not handled; the topic keeps it as long as all others (30 days)\n\n"
        "Which letters\n"
        "  --id ID        of the letter, or of the event in it\n"
        "  --key KEY      of this conversation\n"
        "  --type TYPE    whose event is of this type\n"
        "  --reason TEXT  whose reason holds this text, as list or show prints it\n"
        "  --since WHEN   that came since then\n\n"
        WHEN_PARAGRAPH "\n"
        "Options\n"
        "  --set POINTER=JSON  what the event shall have there, such as /data/phone='\"+12025550188\"'\n"
        "  --rate N            at most so many events a second (100)\n"
        "  --dry-run           tells what would be done\n"
        "  --yes               does not ask whether more than one letter is meant\n"
        "  --no-wait           does not wait for the stage\n"
        "  --why TEXT          kept with it\n"
        "  --as NAME           who does it; else $SUDO_USER or $USER, at this host\n"
        "  --json              the answer as JSON\n\n"
        "Examples\n"
        "  sb dlq list\n"
        "  sb dlq show analyze --id 4f1c2d6e-1c8b-5f0e-9d0a-3b7e2a8c5d11\n"
        "  sb dlq retry notifier --reason 'HTTP status 503' --rate 5\n"
        "  sb dlq edit ingest --id 4f1c2d6e-1c8b-5f0e-9d0a-3b7e2a8c5d11 --set /data/n=1\n"
        "  sb dlq drop transcribe --since 2h --why 'test calls'\n\n"
        "Exit codes: 0 done, 1 there is no such letter, it could not be done or was rejected again, 2 the\n"
        "command line or a setting is wrong\n",
    .run = dlq_run,
};
