/* coach_register.c: GET and POST /register and /register/{tenant}: who signs up becomes registration.received.
 *
 * Nobody is asked who they are, so:
 * - What comes is small (REGISTRATION_BODY_BYTES_MAX), and an address may do REGISTER_BURST at once and one each
 *   REGISTER_EVERY_MS from then on.  Behind a proxy on this machine that is the address it forwards for; what comes
 *   from this machine itself is not limited.  Behind a proxy on another machine all have its address, and share that.
 * - A page of another site can do nothing here that its owner could not do without a visitor: there is no cookie and no
 *   session that would lend it anything but the visitor's network.  A form sent from there is refused all the same
 *   (Sec-Fetch-Site, which browsers set), and JSON cannot be sent from there: no answer here allows it.
 * - Whoever knows an address can register another number for it: the welcome goes to that number,
 *   and the number of before hears of it (notifier/coach.c).  Where that is not enough the page belongs behind the
 *   company's sign-in or inside its network.
 *
 * The same content within REGISTER_SAME_MS is one event: a button that is pressed twice, a page that is loaded again.
 * Not for longer: whoever mends a mistake and mends it back must be heard.  Registering again changes nothing by
 * itself, so what comes twice after all does no harm. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/json.h"
#include "common/log.h"
#include "events.h"
#include "ingest/api.h"
#include "ingest/inbound.h"
#include "ingest/rate.h"
#include "ingest/register_page.h"
#include "ingest/registration.h"

#define SOURCE "register"
#define REGISTER_BURST 60               /* a team that starts together, in one office */
#define REGISTER_EVERY_MS 10000
#define REGISTER_SAME_MS 60000
#define LOCATION_BYTES_MAX 256
#define JSON_ANSWER_BYTES_MAX 4096

static const char form_type[] = "application/x-www-form-urlencoded", json_type[] = "application/json";

/* One request, on the loop thread; memory is the door's scratch. */
struct visit {
    struct http_exchange *exchange;
    struct ingest *ingest;
    const char *tenant;
    struct company_about company;
    bool json;                          /* a program asks, not a person */
};

static bool is_type(const struct http_exchange *exchange, const char *type)
{
    struct text sent = http_header(exchange, "Content-Type");
    size_t bytes = strlen(type);
    return sent.bytes >= bytes && strncasecmp(sent.at, type, bytes) == 0 &&
           (sent.bytes == bytes || strchr("; \t", sent.at[bytes]));
}

static struct register_page page_of(const struct visit *visit)
{
    return (struct register_page){ .company = visit->company.name[0] ? visit->company.name : visit->tenant,
                                   .mailbox = visit->ingest->coach_mailbox };
}

static void send_page(struct http_exchange *exchange, int status, struct buf *page,
                      const struct http_answer_header *more)
{
    struct http_answer_header headers[REGISTER_PAGE_HEADERS_MAX];
    register_page_headers(more, headers);
    http_answer(exchange, status, REGISTER_PAGE_TYPE, buf_text(page), headers);
    buf_done(page);
}

/* The form, with what is wrong about it; to a program the same as a problem. */
static void send_form(const struct visit *visit, int status, const struct registration *registration,
                      const char *notice, const struct http_answer_header *more)
{
    struct register_page page = page_of(visit);
    struct buf out;
    buf_init(&out, REGISTER_PAGE_BYTES_MAX);
    if (visit->json) {
        api_write_problem(&out, status, notice, NULL, NULL);
        http_answer(visit->exchange, status, "application/problem+json", buf_text(&out), more);
        buf_done(&out);
        return;
    }
    register_page_form(&out, &page, registration, notice);
    send_page(visit->exchange, status, &out, more);
}

static void send_absent(const struct visit *visit, const char *text)
{
    struct buf out;
    if (visit->json) {
        api_send_problem(visit->exchange, 404, text, NULL, NULL);
        return;
    }
    buf_init(&out, REGISTER_PAGE_BYTES_MAX);
    register_page_absent(&out, "There is no page here", text);
    send_page(visit->exchange, 404, &out, NULL);
}

/* --- whose page -------------------------------------------------------------------------------------------------- */

/* False: it is answered. */
static bool find_company(struct visit *visit)
{
    static const struct http_answer_header later[] = { { "Retry-After", DOOR_RETRY_AFTER_S }, { 0 } };
    const char *named = http_path_value(visit->exchange, "tenant");
    struct buf out;

    visit->tenant = named ? named : visit->ingest->default_tenant;
    if (!visit->tenant) {
        send_absent(visit, "The address of this page ends with the name of your company, like /register/acme. Ask"
                           " whoever sent you here for the whole address.");
        return false;
    }
    if (keyring_company(visit->ingest->keyring, visit->tenant, &visit->company))
        return true;
    if (keyring_is_known(visit->ingest->keyring)) {
        if (!named)
            log_warning("DEFAULT_TENANT is no company, so nobody can register", LOG_TEXT("tenant", visit->tenant));
        send_absent(visit, "We do not know the company in the address of this page. Ask whoever sent you here for the"
                           " right address.");
        return false;
    }
    if (visit->json) {
        api_send_later(visit->exchange, "it is not known yet which companies there are", DOOR_RETRY_AFTER_S);
        return false;
    }
    buf_init(&out, REGISTER_PAGE_BYTES_MAX);
    register_page_absent(&out, "One moment, please", "We are just starting. Load this page again in a few seconds.");
    send_page(visit->exchange, 503, &out, later);
    return false;
}

static void show_form(struct http_exchange *exchange, void *context)
{
    struct visit visit = { .exchange = exchange, .ingest = context };
    if (find_company(&visit))
        send_form(&visit, 200, NULL, NULL, NULL);
}

/* --- who may ----------------------------------------------------------------------------------------------------- */

static bool is_from_elsewhere(const struct http_exchange *exchange)
{
    return text_is(http_header(exchange, "Sec-Fetch-Site"), "cross-site");
}

static bool is_of_this_machine(const char *address)
{
    return strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0 || strncmp(address, "::ffff:127.", 11) == 0;
}

/* Whose turns are counted; NULL: nobody's. */
static const char *counted_address(const struct visit *visit)
{
    const char *peer = http_peer(visit->exchange);
    const char *forwarded =
        arena_copy_text(visit->ingest->scratch, http_header(visit->exchange, "X-Forwarded-For"));
    if (!is_of_this_machine(peer) || !forwarded)
        return is_of_this_machine(peer) ? NULL : peer;
    const char *last = strrchr(forwarded, ',');
    last = last ? last + 1 : forwarded;
    return last + strspn(last, " \t");
}

/* False: it is answered. */
static bool may_register(struct visit *visit, const struct registration *registration)
{
    static struct rate rate = { .burst = REGISTER_BURST, .every_ms = REGISTER_EVERY_MS };
    char after_s[24];

    if (is_from_elsewhere(visit->exchange)) {
        send_form(visit, 403, NULL, "This came from a page of another site. Please enter it here.", NULL);
        return false;
    }
    const char *address = counted_address(visit);
    int64_t wait_ms = address ? rate_take(&rate, address, now_us()) : 0;
    if (wait_ms == 0)
        return true;
    snprintf(after_s, sizeof(after_s), "%lld", (long long)(wait_ms + 999) / 1000);
    send_form(visit, 429, registration, "Too many people are registering from where you are. Try again in a minute.",
              (const struct http_answer_header[]){ { "Retry-After", after_s }, { 0 } });
    return false;
}

/* False: it is answered. */
static bool read_registration(struct visit *visit, struct registration *ret)
{
    struct arena *arena = visit->ingest->scratch;
    struct problem why = { 0 };

    if (!visit->json && !is_type(visit->exchange, form_type)) {
        api_send_problem(visit->exchange, 415, "the content type must be application/json or that of a form", NULL,
                         NULL);
        return false;
    }
    bool readable = visit->json ? registration_read_json(http_body(visit->exchange), arena, ret, &why)
                                : registration_read_form(http_body(visit->exchange), arena, ret, &why);
    if (readable)
        return true;
    if (visit->json)
        api_send_problem(visit->exchange, 422, why.text, NULL, why.pointer[0] ? why.pointer : NULL);
    else
        send_form(visit, 422, NULL, "What was sent could not be read. Please enter it once more.", NULL);
    return false;
}

static void refuse(const struct visit *visit, const struct registration *registration)
{
    int first = 0;
    while (!registration->errors[first])
        first++;
    if (visit->json)
        api_send_problem(visit->exchange, 422, registration->errors[first], NULL,
                         arena_printf(visit->ingest->scratch, "/%s", registration_names[first]));
    else
        send_form(visit, 422, registration, NULL, NULL);
}

/* --- keeping it -------------------------------------------------------------------------------------------------- */

static void send_done(const struct visit *visit, const struct registration_received *kept)
{
    struct register_page page = page_of(visit);
    struct buf out;
    buf_init(&out, REGISTER_PAGE_BYTES_MAX);
    if (visit->json) {
        buf_add_char(&out, '{');
        json_add_string(&out, "tenant", kept->tenant);
        json_add_string(&out, "name", kept->name);
        json_add_string(&out, "email", kept->email);
        json_add_string(&out, "phone", kept->phone);
        buf_add_string(&out, "}\n");
        api_send(visit->exchange, 201, json_type, buf_text(&out), NULL);
        buf_done(&out);
        return;
    }
    register_page_done(&out, &page, kept->name, kept->phone);
    send_page(visit->exchange, 200, &out, NULL);
}

/* What was kept is what is answered: it is read back from the event.  The form comes again, filled in, when it could
 * not be kept. */
static void registration_kept(struct parcel *parcel, enum kept how)
{
    static const struct http_answer_header later[] = { { "Retry-After", DOOR_RETRY_AFTER_S }, { 0 } };
    struct visit visit = { .exchange = parcel->asker };
    struct arena *arena = http_arena(visit.exchange);
    struct event event;
    struct registration_received kept;
    struct problem why;

    visit.ingest = http_context(visit.exchange);
    visit.json = is_type(visit.exchange, json_type);
    inbound_release(parcel);
    if (!event_read(buf_text(&parcel->payload), arena, &event, &why) ||
        !registration_received_read(event.data, arena, &kept, &why)) {
        http_answer_problem(visit.exchange, 500, "the registration is kept, and could not be read back", NULL);
        return;
    }
    visit.tenant = kept.tenant;
    keyring_company(visit.ingest->keyring, visit.tenant, &visit.company);
    if (how != KEPT_NOT)
        send_done(&visit, &kept);
    else
        send_form(&visit, 503, &(struct registration){ .entered = { kept.name, kept.email, kept.phone } },
                  "We cannot take registrations at the moment. What you entered is still here: try again soon.",
                  later);
}

static void keep(struct visit *visit, struct source *source, const struct registration *registration)
{
    char when[24];
    int64_t heard_us = now_us();
    struct inbound inbound = { .type = &EVENT_REGISTRATION_RECEIVED, .subject = registration->email };
    struct registration_received received = {
        .tenant = visit->tenant,
        .name = registration->name,
        .email = registration->email,
        .phone = registration->phone,
        .received_at = time_print(heard_us, inbound.received_at),
    };
    inbound.data = &received;
    snprintf(when, sizeof(when), "%lld", (long long)(heard_us / 1000 / REGISTER_SAME_MS));
    uuid_of(inbound.id, SOURCE, received.tenant, received.email, received.name, received.phone, when, NULL);
    inbound_keep(visit->ingest, visit->exchange, source, &inbound, registration_kept);
}

static void receive(struct visit *visit)
{
    struct registration registration;
    const char *region = visit->ingest->default_region;
    if (!find_company(visit) || !read_registration(visit, &registration) || !may_register(visit, &registration))
        return;
    registration_check(&registration, visit->company.region[0] ? visit->company.region : region,
                       visit->ingest->scratch);
    if (registration.error_count > 0) {
        refuse(visit, &registration);
        return;
    }
    struct source *source = inbound_source(visit->ingest, visit->exchange, SOURCE, NULL, 0);
    if (source)
        keep(visit, source, &registration);
}

static void take_form(struct http_exchange *exchange, void *context)
{
    struct ingest *ingest = context;
    struct visit visit = { .exchange = exchange, .ingest = ingest, .json = is_type(exchange, json_type) };
    receive(&visit);
    arena_reset(ingest->scratch);
}

const struct http_route coach_register_routes[] = {
    { "GET", "/register", show_form, 0, NULL },
    { "GET", "/register/{tenant}", show_form, 0, NULL },
    { "POST", "/register", take_form, REGISTRATION_BODY_BYTES_MAX, NULL },
    { "POST", "/register/{tenant}", take_form, REGISTRATION_BODY_BYTES_MAX, NULL },
    { 0 },
};
