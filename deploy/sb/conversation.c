#include "deploy/sb/conversation.h"

#include <getopt.h>
#include <inttypes.h>
#include <string.h>

#include "common/crypto.h"
#include "common/phone.h"
#include "deploy/sb/command.h"
#include "deploy/sb/standing.h"
#include "deploy/sb/terminal.h"

/* Each gives `id`, a conversation, and `at`, when something of it was last heard of; $1 is what was given. */
/* clang-format off */
#define LAST(column) "to_char(max(" column "), 'YYYY-MM-DD HH24:MI:SS.US') AS at"
#define FIND(name_, text_) &(const struct statement){ .name = "sb_find_" name_, .text = text_ " GROUP BY 1", .params = 1 }

enum form { ANYTHING, UUID, PHONE };

/* What can be given, and where it leads.  Another kind of id is another line here. */
static const struct look_up {
    const char *what;
    enum form form;
    const struct statement *statement;
} look_ups[] = {
    { "call or other key", ANYTHING, FIND("key",
      "SELECT correlation_id AS id, " LAST("committed_at") " FROM ledger WHERE correlation_id = $1") },
    { "event", UUID, FIND("event",
      "SELECT correlation_id AS id, " LAST("committed_at") " FROM ledger WHERE event_id = $1::uuid") },
    { "message or job", ANYTHING, FIND("provider_id",
      "SELECT correlation_id AS id, " LAST("updated_at") " FROM asks WHERE provider_id = $1") },
    { "request to a provider", UUID, FIND("ask",
      "SELECT correlation_id AS id, " LAST("updated_at") " FROM asks WHERE ask_id = $1::uuid") },
    { "contact or lead", UUID, FIND("contact",
      "SELECT call_id AS id, " LAST("call_at") " FROM calls WHERE contact_id = $1::uuid OR lead_id = $1::uuid") },
    { "meeting", UUID, FIND("meeting",
      "SELECT salesperson_email AS id, " LAST("updated_at") " FROM meetings WHERE meeting_id = $1::uuid") },
    { "meeting in a calendar", ANYTHING, FIND("calendar",
      "SELECT salesperson_email AS id, " LAST("m.updated_at") " FROM companies JOIN meetings m USING (tenant)"
      " WHERE outlook_event_id = $1") },
    { "message received", ANYTHING, FIND("received",
      "SELECT correlation_id AS id, " LAST("committed_at") " FROM companies JOIN messages USING (tenant)"
      " JOIN ledger ON correlation_id IN (phone, 'whatsapp:' || phone)"
      " WHERE message_id = $1 AND direction = 'incoming'") },
    { "phone number", PHONE, FIND("caller",
      "SELECT call_id AS id, " LAST("call_at") " FROM calls WHERE customer_number = $1 OR (tenant, contact_id) IN"
      " (SELECT tenant, contact_id FROM contact_cards WHERE phone = $1)") },
    { "phone number", PHONE, FIND("recipient",
      "SELECT correlation_id AS id, " LAST("updated_at") " FROM asks"
      " WHERE kind = 'once' AND recipient IN ($1, 'whatsapp:' || $1)") },
    { "phone number", PHONE, FIND("number",
      "SELECT correlation_id AS id, " LAST("committed_at") " FROM ledger"
      " WHERE correlation_id IN ($1, 'whatsapp:' || $1)") },
};
/* clang-format on */

static void add(struct conversations *ret, struct conversation new)
{
    size_t at = 0;

    for (size_t i = 0; i < ret->count; i++)
        if (strcmp(ret->found[i].id, new.id) == 0)
            return;
    while (at < ret->count && strcmp(ret->found[at].last_at, new.last_at) >= 0)
        at++;
    ret->left_out += ret->count == CONVERSATIONS_MAX;
    if (at == CONVERSATIONS_MAX)
        return;
    size_t kept = ret->count < CONVERSATIONS_MAX ? ret->count : CONVERSATIONS_MAX - 1;
    memmove(&ret->found[at + 1], &ret->found[at], (kept - at) * sizeof(new));
    ret->found[at] = new;
    ret->count = kept + 1;
}

int conversation_open(int argc, char **argv, struct session *ret, const char **ret_given, bool *ret_json)
{
    static const struct option options[] = { { "json", no_argument, NULL, 'j' }, { 0 } };

    *ret_json = false;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1; *ret_json = true)
        if (option != 'j')
            return command_misused(argv, NULL);
    if (optind != argc - 1)
        return command_misused(argv, "it takes one id: of a call, an event, a message, or a phone number");
    *ret_given = argv[optind];
    return session_open(ret, STANDING_ROLE, argv);
}

bool conversations_find(struct session *session, const char *given, struct conversations *ret, struct problem *why)
{
    char phone[PHONE_BYTES];
    bool digits = *given && strspn(given, "+0123456789 ()-./") == strlen(given);
    bool is_phone = digits && phone_e164(given, session->settings.default_region, phone);
    bool is_uuid = uuid_is(text_of(given));
    struct rows rows;

    *ret = (struct conversations){ 0 };
    for (size_t i = 0; i < LENGTH(look_ups); i++) {
        const struct look_up *look_up = &look_ups[i];
        if ((look_up->form == UUID && !is_uuid) || (look_up->form == PHONE && !is_phone))
            continue;
        const char *value = look_up->form == PHONE ? phone : given;
        if (!session_query(session, look_up->statement, PARAMS(value), &rows, why))
            return false;
        for (int row = 0; row < rows.count; row++)
            if (row_get(&rows, row, "id"))
                add(ret, (struct conversation){ row_get(&rows, row, "id"), look_up->what, row_get(&rows, row, "at") });
    }
    return true;
}

void conversations_tell_left_out(const struct conversations *found, FILE *to)
{
    if (found->left_out > 0)
        fprintf(to, "%" PRId64 " older %s left out: give the id of one of them\n", found->left_out,
                plural(found->left_out, "conversation is", "conversations are"));
}

int conversations_none(char **argv, const char *given)
{
    return command_fail(
        argv, EXIT_FAILED,
        "nothing that was handled is known by \"%s\": neither as a call or another key, nor as the id of an event, "
        "a message, a job, a contact, a lead or a meeting, nor as a phone number",
        given);
}
