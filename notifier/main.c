/* main.c: the notifier stage: results become messages to people, each sent once. */
#include "notifier/notifier.h"

#include <string.h>

static struct notifier notifier;

#define OFFSET(field) offsetof(struct notifier, field)
static const struct setting settings[] = {
    { "TWILIO_ACCOUNT_SID", SET_TEXT, OFFSET(twilio_account), NULL,
      .help = "Twilio's account; without it every message is blocked" },
    { "TWILIO_AUTH_TOKEN", SET_SECRET, OFFSET(twilio_token), NULL,
      .help = "its token; the first of several is used to send" },
    { "TWILIO_BASE_URL", SET_URL, OFFSET(twilio_url), "https://api.twilio.com", .help = "Twilio's address" },
    { "TWILIO_TIMEOUT", SET_DURATION, OFFSET(twilio_timeout_ms), "15s", 500, 120000,
      .help = "one request to Twilio, end to end" },
    { "TWILIO_WHATSAPP_FROM", SET_TEXT, OFFSET(whatsapp_from), NULL,
      .help = "our WhatsApp sender, +E164 or whatsapp:+E164" },
    { "TWILIO_CONTENT_SID_LEAD", SET_TEXT, OFFSET(content_lead), NULL,
      .help = "the approved template of the alert: {{1}} company, {{2}} what, {{3}} summary" },
    { "ADMIN_WHATSAPP_TO", SET_TEXT, OFFSET(admin_whatsapp), NULL,
      .help = "who is told when no rep is assigned, +E164 or whatsapp:+E164" },
    { "PUBLIC_URL", SET_URL, OFFSET(public_url), NULL,
      .help = "what providers see of ingest; without it no delivery reports are asked for" },
    { 0 },
};

static const struct route routes[] = {
    { .type = &EVENT_CALL_ANALYZED, .handle = tell_of_call },
    { .type = &EVENT_MESSAGE_REPORTED, .handle = note_report },
    { 0 },
};

static bool check_address(const char *name, const char *address, struct problem *why)
{
    if (!address)
        return true;
    const char *number = text_starts(text_of(address), "whatsapp:") ? address + strlen("whatsapp:") : address;
    size_t digits = *number == '+' ? strspn(number + 1, "0123456789") : 0;
    return (digits >= 7 && digits <= 15 && !number[1 + digits])
           || fail(why, "%s is no phone number like +15550100001", name);
}

static bool notifier_open(void *context, struct problem *why)
{
    const struct notifier *opened = context;
    return check_address("TWILIO_WHATSAPP_FROM", opened->whatsapp_from, why)
           && check_address("ADMIN_WHATSAPP_TO", opened->admin_whatsapp, why);
}

int main(int argc, char **argv)
{
    return stage_main(argc, argv, &(struct stage){
        .name = "notifier",
        .summary = "tells people by WhatsApp what the results are, each message once",
        .settings = settings,
        .context = &notifier,
        .routes = routes,
        .open = notifier_open,
    });
}
