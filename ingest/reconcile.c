/* reconcile.c: reconcile.due → callrail.call.received for calls that are over and whose webhooks never came.
 *
 * CallRail sends a webhook once and never again; what was lost on the way still is in its list of calls.  A walk goes
 * through that list, one page an event: whatever the recorder does not know is fed in as if it had arrived.  Each walk
 * begins LOOK_BACK_S before the last complete one did, because the list is by the start of calls, and a recording may
 * come later than its call.
 *
 * The account's row is the whole memory: which page comes next, when, and how many requests that has cost.  So it does
 * not matter which instance goes on, and whatever CallRail does wrong moves the row's next_check_at: an event that is
 * retried would ask more often than the row knows, and a circuit would hold up the recorder, and other accounts.
 *
 * The list gives for a recording either its address or that of the API's own request for it, which only the key opens:
 * then the link behind it is asked for and takes its place, so that transcribe needs no key.
 *
 * Dates in the list are days of a time zone that only CallRail knows: they are asked for with room for every time zone
 * there is, and the calls are told by their own start. */
#include "ingest/reconcile.h"

#include "common/log.h"
#include "common/metrics.h"
#include "ingest/callrail_list.h"
#include "ingest/recorder.h"

#include <stdlib.h>
#include <string.h>

#define SOURCE "callrail"
#define SECOND INT64_C(1000000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

#define WEBHOOK_LATE_S        ((20 + 5) * 60) /* the last one comes within 20 minutes of the end; 5 for other clocks */
#define RECORDING_LATE_S      (6 * 3600)      /* a recording is looked for so long after the end of its call */
#define LOOK_BACK_S           (CALLRAIL_CALL_S_MAX + RECORDING_LATE_S)
#define HISTORY_US            (700 * DAY)     /* of what is older than 25 months CallRail answers an error */
#define ZONE_WEST_US          (12 * HOUR)     /* the time zones there are */
#define ZONE_EAST_US          (14 * HOUR)
#define TIMEOUT_MS            30000
#define ANSWER_BYTES_MAX      (4 * 1024 * 1024)
#define LINK_ANSWER_BYTES_MAX (64 * 1024)
#define LINKS_MAX             20              /* asked for by one event: for the rest the page is asked for again … */
#define LINKS_PAUSE_US        (30 * SECOND)   /* … when what was fed in has been handled */
#define BACK_OFF_US           MINUTE          /* after a failure, doubling to … */
#define BACK_OFF_US_MAX       HOUR
#define REFUSED_BACK_OFF_US   (15 * MINUTE)   /* after 429, 401, 403: CallRail does not say when to come again */

static struct metric fetched =
    METRIC_COUNTER("ingest_calls_fetched_total", "calls whose webhooks never came and that were fetched", "source");

/* --- when ------------------------------------------------------------------------------------------------------ */

/* $1: the shared account.  An event that was lost or rejected is sent anew each hour. */
const struct statement reconcile_due_accounts = {
    .name = "due_accounts",
    .text = "SELECT a.account AS id, coalesce(r.next_check_at::text || ' +'"
            "  || floor(extract(epoch FROM now() - r.next_check_at) / 3600),"
            "  date_trunc('hour', now())::text) AS next_check_at,"
            " '" SOURCE "/' || a.account AS subject, a.tenant,"
            " json_build_object('account', a.account, 'next_check_at', r.next_check_at::text)::text AS data"
            " FROM (SELECT callrail_account_id AS account, tenant FROM companies WHERE callrail_account_id IS NOT NULL"
            "  UNION ALL SELECT $1::text, NULL WHERE $1 IS NOT NULL"
            "  AND NOT EXISTS (SELECT 1 FROM companies WHERE callrail_account_id = $1)) AS a"
            " LEFT JOIN reconciliations r ON r.account = a.account"
            " WHERE (r.account IS NULL OR r.next_check_at <= now())"
            " AND NOT EXISTS (SELECT 1 FROM pauses p WHERE p.kind = 'tenant' AND p.name = a.tenant"
            "  OR p.kind = 'provider' AND p.name = '" SOURCE "')"
            " ORDER BY r.next_check_at NULLS FIRST LIMIT 500",
    .params = 1,
};

const char *reconcile_shared_account(void *context)
{
    const struct ingest *ingest = context;
    return ingest->callrail_api_key ? ingest->callrail_account_id : NULL;
}

/* --- the account's row ----------------------------------------------------------------------------------------- */

#define MICROS(time) "(extract(epoch FROM " time ") * 1000000)::bigint"
/* The requests of the hour or day that it is now. */
#define REQUESTS(unit)                                                                                                 \
    "CASE WHEN date_trunc('" unit "', r.asked_at) = date_trunc('" unit "', now()) THEN r." unit "_requests ELSE 0 END"

/* All by Postgres's clock, so that the instances' own do not matter. */
static const struct statement find_account = {
    .name = "find_account",
    .text = "SELECT " MICROS("now()") " AS now_us, co.tenant, co.callrail_api_key, r.next_check_at,"
            " " MICROS("coalesce(r.complete_until, now())") " AS complete_us,"
            " " MICROS("coalesce(r.walk_began_at, now())") " AS began_us,"
            " coalesce(r.page, 1) AS page, coalesce(r.records, 0) AS records, coalesce(r.failures, 0) AS failures,"
            " " REQUESTS("hour") " AS hour_requests, " REQUESTS("day") " AS day_requests"
            " FROM (VALUES ($1::text)) AS a (account) LEFT JOIN reconciliations r ON r.account = a.account"
            " LEFT JOIN companies co ON co.callrail_account_id = a.account",
    .params = 1,
};
/* $3: its next_check_at until now; NULL: it has no row yet. */
static const struct statement move_account = {
    .name = "move_account",
    .text = "INSERT INTO reconciliations (account, tenant, next_check_at, complete_until, walk_began_at, page, records,"
            " failures, why, asked_at, hour_requests, day_requests)"
            " VALUES ($1, $2, $4::timestamptz, $5::timestamptz, $6::timestamptz, $7::integer, $8::bigint,"
            " $9::integer, $10, $11::timestamptz, $12::integer, $13::integer)"
            " ON CONFLICT (account) DO UPDATE SET tenant = EXCLUDED.tenant, next_check_at = EXCLUDED.next_check_at,"
            " complete_until = EXCLUDED.complete_until, walk_began_at = EXCLUDED.walk_began_at,"
            " page = EXCLUDED.page, records = EXCLUDED.records, failures = EXCLUDED.failures, why = EXCLUDED.why,"
            " asked_at = EXCLUDED.asked_at, hour_requests = EXCLUDED.hour_requests,"
            " day_requests = EXCLUDED.day_requests, updated_at = now()"
            " WHERE reconciliations.next_check_at = $3::timestamptz",
    .params = 13,
    .must = 1,
};

struct account {
    const char *id, *tenant, *key;      /* tenant: whose it is; NULL: the shared one.  key: NULL: there is none */
    const char *source;                 /* "callrail", "callrail/acme" */
    const char *due;                    /* its next_check_at; NULL: it has no row yet */
    int64_t now_us;
    int64_t complete_us;                /* when the last walk that reached the end of the list began */
    int64_t began_us;                   /* when this one did */
    int64_t page, records;              /* to be asked for; how many calls the list had at the last page */
    int64_t failures;                   /* in a row */
    int64_t hour_requests, day_requests;
};

static int64_t integer(const struct rows *rows, const char *column)
{
    return atoll(row_get(rows, 0, column));
}

/* The first of several: the others are those that are being replaced. */
static const char *first_key(struct work *work, const char *keys)
{
    return keys ? arena_copy_text(work_arena(work), (struct text){ keys, strcspn(keys, ", ") }) : NULL;
}

static enum outcome read_account(struct work *work, const char *id, struct account *ret)
{
    struct ingest *ingest = work_context(work);
    struct rows rows;
    TRY(work_query(work, &find_account, &rows, id));
    *ret = (struct account){ .id = id,
                             .tenant = row_get(&rows, 0, "tenant"),
                             .key = first_key(work, row_get(&rows, 0, "callrail_api_key")),
                             .source = SOURCE,
                             .due = row_get(&rows, 0, "next_check_at"),
                             .now_us = integer(&rows, "now_us"),
                             .complete_us = integer(&rows, "complete_us"),
                             .began_us = integer(&rows, "began_us"),
                             .page = integer(&rows, "page"),
                             .records = integer(&rows, "records"),
                             .failures = integer(&rows, "failures"),
                             .hour_requests = integer(&rows, "hour_requests"),
                             .day_requests = integer(&rows, "day_requests") };
    if (ret->page == 1)
        ret->began_us = ret->now_us;
    if (ret->tenant)
        ret->source = arena_printf(work_arena(work), SOURCE "/%s", ret->tenant);
    else if (reconcile_shared_account(ingest) && strcmp(ingest->callrail_account_id, id) == 0)
        ret->key = first_key(work, ingest->callrail_api_key);
    return DONE;
}

static const char *number(struct work *work, int64_t value)
{
    return arena_printf(work_arena(work), "%lld", (long long)value);
}

/* It is checked again at `next_us`; `why`: of the failure, else NULL. */
static enum outcome move(struct work *work, const struct account *account, int64_t next_us, const char *why)
{
    effect_row(work, &move_account, account->id, account->tenant, account->due, work_time(work, next_us),
               work_time(work, account->complete_us), work_time(work, account->began_us), number(work, account->page),
               number(work, account->records), number(work, account->failures), why, work_time(work, account->now_us),
               number(work, account->hour_requests), number(work, account->day_requests));
    return DONE;
}

static enum outcome put_off(struct work *work, struct account *account, int64_t back_off_us)
{
    const char *why = arena_copy(work_arena(work), work_why(work)->text);
    for (int64_t i = 0; i < account->failures && back_off_us < BACK_OFF_US_MAX; i++)
        back_off_us *= 2;
    if (back_off_us > BACK_OFF_US_MAX)
        back_off_us = BACK_OFF_US_MAX;
    account->failures++;
    log_warning("CallRail was asked in vain for calls that never arrived", LOG_TEXT("account", account->id),
                LOG_INT("failures", account->failures), LOG_INT("again_s", back_off_us / SECOND), LOG_TEXT("why", why));
    return move(work, account, account->now_us + back_off_us, why);
}

/* When it may be asked again; 0: now. */
static int64_t budget_again_us(const struct ingest *ingest, const struct account *account)
{
    if (account->day_requests >= CALLRAIL_REQUESTS_PER_DAY * ingest->callrail_budget_percent / 100)
        return (account->now_us / DAY + 1) * DAY;
    if (account->hour_requests >= CALLRAIL_REQUESTS_PER_HOUR * ingest->callrail_budget_percent / 100)
        return (account->now_us / HOUR + 1) * HOUR;
    return 0;
}

/* --- asking ---------------------------------------------------------------------------------------------------- */

/* One request, and how it went. */
struct asking {
    const struct account *account;
    const char *url;
    size_t answer_bytes_max;
    bool (*readable)(struct text body, struct problem *why);
    bool sent;                          /* it has left: it counts */
    bool failed;                        /* CallRail did, and not something of ours */
    bool absent;                        /* CallRail has no such thing (404) */
    int64_t back_off_us;                /* when it failed */
};

static enum outcome refused(struct work *work, struct asking *asking, const struct http_reply *reply)
{
    bool credentials = reply->status == 401 || reply->status == 403;
    asking->absent = reply->status == 404;
    if (credentials || reply->status == 429)
        asking->back_off_us = REFUSED_BACK_OFF_US;
    if (reply->retry_after_ms * 1000 > asking->back_off_us)
        asking->back_off_us = reply->retry_after_ms * 1000;
    if (!credentials)
        return retry(work, 0, "HTTP status %ld", reply->status);
    return retry(work, 0, "CallRail refuses our credentials (HTTP status %ld): check %s", reply->status,
                 asking->account->tenant ? "the company's callrail_api_key and callrail_account_id"
                                         : "CALLRAIL_API_KEY and CALLRAIL_ACCOUNT_ID");
}

static enum outcome call_callrail(struct work *work, void *request, struct answer *ret)
{
    struct asking *asking = request;
    struct arena *arena = work_arena(work);
    const char *const headers[] = { arena_printf(arena, "Authorization: Token token=\"%s\"", asking->account->key),
                                    NULL };
    const struct http_request http = { .method = "GET",
                                       .url = asking->url,
                                       .headers = headers,
                                       .timeout_ms = TIMEOUT_MS,
                                       .answer_bytes_max = asking->answer_bytes_max };
    struct http_reply reply;
    struct problem why;

    asking->sent = true;
    TRY(work_http_any(work, &http, &reply));
    if (reply.status != 200)
        return refused(work, asking, &reply);
    if (!asking->readable(reply.body, &why))
        return retry(work, 0, "its answer cannot be read: %s", why.text);
    ret->body = reply.body;
    return DONE;
}

/* Counts the request, also that of an earlier run of this work, whose answer is given again. */
static enum outcome ask_callrail(struct work *work, const char *name, struct account *account, struct asking *asking,
                                 struct text *ret)
{
    const struct ask request = { .kind = ASK_AGAIN,
                                 .provider = SOURCE,
                                 .no_circuit = true,
                                 .timeout_ms = TIMEOUT_MS,
                                 .unrecorded = true,
                                 .call = call_callrail,
                                 .request = asking };
    struct answer answer;
    asking->account = account;
    asking->back_off_us = BACK_OFF_US;
    enum outcome outcome = ask(work, name, &request, &answer);
    account->hour_requests += asking->sent || outcome == DONE;
    account->day_requests += asking->sent || outcome == DONE;
    asking->failed = outcome != DONE;
    *ret = answer.body;
    return outcome;
}

static bool is_page(struct text body, struct problem *why)
{
    struct callrail_page page;
    return callrail_page_read(body, &page, why);
}

/* The start of the walk: calls that began before are not looked at. */
static int64_t walk_from_us(const struct account *account)
{
    int64_t from_us = account->complete_us - LOOK_BACK_S * SECOND, history_us = account->now_us - HISTORY_US;
    return from_us > history_us ? from_us : history_us;
}

static enum outcome ask_page(struct work *work, struct account *account, struct asking *asking,
                             struct callrail_page *ret)
{
    const struct ingest *ingest = work_context(work);
    struct text body;
    *asking = (struct asking){
        .url = arena_printf(work_arena(work),
                            "%s/a/%s/calls.json?start_date=%.10s&end_date=%.10s&fields=agent_email&per_page=%d"
                            "&page=%lld",
                            ingest->callrail_url, account->id,
                            work_time(work, walk_from_us(account) - ZONE_WEST_US),
                            work_time(work, account->now_us + ZONE_EAST_US), CALLRAIL_PAGE_CALLS_MAX,
                            (long long)account->page),
        .answer_bytes_max = ANSWER_BYTES_MAX,
        .readable = is_page
    };
    TRY(ask_callrail(work, "calls", account, asking, &body));
    return callrail_page_read(body, ret, work_why(work)) ? DONE : REJECT;
}

/* --- what is missing ------------------------------------------------------------------------------------------- */

/* Of calls that are over: those that no last webhook told of, and those whose recording has come since.  What was fed
 * in already, or is of an erased person, is not fed in again. */
static const struct statement find_missing = {
    .name = "find_missing",
    .text = "SELECT l.position FROM unnest($1::text[], $2::uuid[], $3::boolean[]) WITH ORDINALITY"
            "  AS l (call_id, event_id, recorded, position)"
            " LEFT JOIN calls c ON c.call_id = l.call_id AND c.source = '" SOURCE "'"
            " WHERE (c.call_id IS NULL OR l.recorded AND c.recording_url IS NULL"
            "  OR NOT EXISTS (SELECT 1 FROM call_reports r WHERE r.tenant = c.tenant AND r.call_id = c.call_id"
            "  AND r.hook = '" CALLRAIL_LAST_HOOK "'))"
            " AND NOT EXISTS (SELECT 1 FROM ledger d WHERE d.event_id = l.event_id AND d.stage = 'ingest')"
            " AND NOT EXISTS (SELECT 1 FROM erased e"
            "  WHERE e.subject_sha256 = sha256(convert_to(l.call_id, 'UTF8')))"
            " ORDER BY l.position",
    .params = 3,
};

/* The calls of a page that the walk is about and that are over; when its first and its last one began. */
static int list_calls(struct work *work, const struct account *account, const struct callrail_page *page,
                      struct callrail_listed *ret, int64_t *ret_first_us, int64_t *ret_last_us)
{
    int64_t from_us = walk_from_us(account), over_by_us = account->now_us - WEBHOOK_LATE_S * SECOND;
    struct json_value value;
    struct json_scan scan;
    struct problem why;
    int count = 0;
    *ret_first_us = *ret_last_us = -1;
    json_enter(&scan, page->calls);
    for (int i = 0; i < CALLRAIL_PAGE_CALLS_MAX && json_element(&scan, &value); i++) {
        struct callrail_listed *listed = &ret[count];
        if (!callrail_listed_read(value.raw, work_arena(work), listed, &why)) {
            log_warning("CallRail lists what is no call", LOG_TEXT("account", account->id), LOG_TEXT("why", why.text));
            continue;
        }
        *ret_first_us = *ret_first_us < 0 ? listed->started_us : *ret_first_us;
        *ret_last_us = listed->started_us;
        /* what cannot be read is the recorder's to reject */
        count += listed->started_us < 0 || (listed->started_us >= from_us && listed->over_us <= over_by_us);
    }
    return count;
}

static enum outcome list_missing(struct work *work, const struct callrail_listed *listed, int count, struct rows *ret)
{
    struct buf arrays[3];
    for (size_t i = 0; i < LENGTH(arrays); i++) {
        buf_init(&arrays[i], ANSWER_BYTES_MAX);
        pg_array_begin(&arrays[i]);
    }
    for (int i = 0; i < count; i++) {
        pg_array_add(&arrays[0], listed[i].call_id);
        pg_array_add(&arrays[1], listed[i].event_id);
        pg_array_add(&arrays[2], listed[i].recording_url ? "true" : "false");
    }
    for (size_t i = 0; i < LENGTH(arrays); i++)
        pg_array_end(&arrays[i]);
    enum outcome outcome = work_query(work, &find_missing, ret, arrays[0].at, arrays[1].at, arrays[2].at);
    for (size_t i = 0; i < LENGTH(arrays); i++)
        buf_done(&arrays[i]);
    return outcome;
}

/* Is the address of its recording one that only the key opens? */
static bool is_locked(const struct ingest *ingest, const struct callrail_listed *listed)
{
    const char *url = listed->recording_url;
    size_t bytes = strlen(ingest->callrail_url);
    return url && strncmp(url, ingest->callrail_url, bytes) == 0 && url[bytes] == '/';
}

/* The link takes the place of the address; of what CallRail does not have (yet) there is no recording. */
static enum outcome unlock(struct work *work, struct account *account, struct asking *asking,
                           struct callrail_listed *listed)
{
    const char *name = arena_printf(work_arena(work), "recording %s", listed->call_id), *link = NULL;
    struct text body;
    *asking = (struct asking){ .url = listed->recording_url,
                               .answer_bytes_max = LINK_ANSWER_BYTES_MAX,
                               .readable = callrail_link_is };
    enum outcome outcome = ask_callrail(work, name, account, asking, &body);
    if (outcome != DONE && !asking->absent)
        return outcome;
    if (outcome == DONE)
        link = callrail_link_read(body, work_arena(work));
    callrail_listed_record(listed, link, work_arena(work));
    return DONE;
}

static void arrive(struct work *work, const struct account *account, const struct callrail_listed *listed)
{
    effect_arrival(work, &EVENT_CALLRAIL_CALL_RECEIVED, listed->event_id, listed->call_id,
                   &(struct callrail_call_received){
                       .hook = CALLRAIL_LAST_HOOK,
                       .via = "fetch",
                       .company = account->tenant,
                       .received_at = work_time(work, account->now_us),
                       .content_type = "application/json",
                       .signature = "",
                       .encoding = "text",
                       .body = listed->body,
                   });
}

/* What is missing of the page's calls arrives; *ret_left: some of it only next time.  When it fails, what has arrived
 * until then stands. */
static enum outcome feed(struct work *work, struct account *account, struct asking *asking,
                         struct callrail_listed *listed, int count, bool *ret_left)
{
    const struct ingest *ingest = work_context(work);
    struct rows missing = { 0 };
    int links = 0, arrived = 0;
    enum outcome outcome = list_missing(work, listed, count, &missing);
    for (int row = 0; outcome == DONE && row < missing.count; row++) {
        struct callrail_listed *one = &listed[atoi(row_get(&missing, row, "position")) - 1];
        bool locked = is_locked(ingest, one);
        if (locked && (links == LINKS_MAX || budget_again_us(ingest, account) > 0)) {
            *ret_left = true;
            continue;
        }
        links += locked;
        if (locked)
            outcome = unlock(work, account, asking, one);
        if (outcome == DONE) {
            arrive(work, account, one);
            arrived++;
        }
    }
    if (arrived > 0) {
        metric_add(&fetched, arrived, account->source);
        log_info("calls whose webhooks never came were fetched", LOG_TEXT("account", account->id),
                 LOG_INT("calls", arrived));
    }
    return outcome;
}

/* --- one page -------------------------------------------------------------------------------------------------- */

/* Behind the end, whatever CallRail says of pages: else a walk might never end. */
static bool is_empty(const struct callrail_page *page)
{
    struct json_scan scan;
    struct json_value first;
    json_enter(&scan, page->calls);
    return !json_element(&scan, &first);
}

/* Where the walk goes on, and when. */
static int64_t go_on(const struct ingest *ingest, struct account *account, const struct callrail_page *page,
                     int64_t first_us, int64_t last_us)
{
    /* newest first, and all that follow are older */
    bool passed = last_us >= 0 && first_us >= last_us && last_us < walk_from_us(account);
    if (page->records < account->records && account->page > 1) {
        account->page--;                /* some are gone: what followed the last page has moved up into it */
        account->records = page->records;
        return account->now_us;
    }
    if (account->page < page->pages && !passed && !is_empty(page)) {
        account->page++;
        account->records = page->records;
        return account->now_us;
    }
    account->complete_us = account->began_us;
    account->page = 1;
    account->records = 0;
    return account->now_us + ingest->callrail_check_every_ms * 1000;
}

/* Asks for the page, and feeds in what is missing of it; `asking` is the last request. */
static enum outcome look_through(struct work *work, struct account *account, struct asking *asking,
                                 int64_t *ret_next_us)
{
    struct callrail_listed *listed =
        arena_alloc(work_arena(work), (CALLRAIL_PAGE_CALLS_MAX + 1) * sizeof(*listed));
    struct callrail_page page;
    int64_t first_us, last_us;
    bool left = false;
    TRY(ask_page(work, account, asking, &page));
    int count = list_calls(work, account, &page, listed, &first_us, &last_us);
    if (count > 0)
        TRY(feed(work, account, asking, listed, count, &left));
    *ret_next_us = left ? account->now_us + LINKS_PAUSE_US
                        : go_on(work_context(work), account, &page, first_us, last_us);
    return DONE;
}

static bool is_same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

enum outcome reconcile_calls(struct work *work, const struct event *event)
{
    const struct ingest *ingest = work_context(work);
    struct reconcile_due due;
    struct account account;
    struct asking asking = { 0 };
    int64_t next_us;

    TRY(work_read_data(work, event, reconcile_due_read, &due));
    TRY(read_account(work, due.account, &account));
    if (!is_same(account.due, due.next_check_at))
        return skip(work, "this check was made already");
    if (!account.key)
        return skip(work, "there is no key for this account any more");
    work_set_tenant(work, account.tenant);
    int64_t again_us = budget_again_us(ingest, &account);
    if (again_us > 0) {
        log_warning("our part of CallRail's requests is used up", LOG_TEXT("account", account.id),
                    LOG_INT("hour", account.hour_requests), LOG_INT("day", account.day_requests));
        return move(work, &account, again_us, "our part of CallRail's requests is used up");
    }
    enum outcome outcome = look_through(work, &account, &asking, &next_us);
    if (outcome != DONE && (!asking.failed || daemon_stopping()))
        return outcome;
    if (outcome != DONE)
        return put_off(work, &account, asking.back_off_us);
    account.failures = 0;
    return move(work, &account, next_us, NULL);
}

/* --- start ----------------------------------------------------------------------------------------------------- */

bool reconcile_open(const struct ingest *ingest, struct problem *why)
{
    const char *account = ingest->callrail_account_id;
    metric_register(&fetched);
    if (ingest->callrail_api_key && !account)
        return fail(why, "CALLRAIL_API_KEY is set and CALLRAIL_ACCOUNT_ID is not: give the account it is the key of");
    return !account || callrail_account_is(text_of(account)) ||
           fail(why, "CALLRAIL_ACCOUNT_ID must be at most %d letters, digits, - and _", CALLRAIL_ACCOUNT_LENGTH_MAX);
}

void reconcile_check(const struct ingest *ingest, struct buf *out)
{
    if (ingest->callrail_api_key)
        buf_printf(out, "ok   callrail account %s is asked for calls whose webhooks never came\n",
                   ingest->callrail_account_id);
    else
        buf_add_string(out, "ok   callrail is not asked for calls whose webhooks never came: CALLRAIL_API_KEY is not"
                            " set\n");
}
