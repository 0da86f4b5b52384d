/* main.c: the notifier stage: results become messages to people, each sent once. */
#include "notifier/notifier.h"

#include <string.h>

static struct notifier notifier = { .messages = PACE_NEW, .due = PACE_NEW, .searches = PACE_NEW };

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
    { "TWILIO_CONTENT_SID_WELCOME", SET_TEXT, OFFSET(content_welcome), NULL,
      .help = "the approved template of the coach's welcome: {{1}} name" },
    { "TWILIO_CONTENT_SID_PLAN", SET_TEXT, OFFSET(content_plan), NULL,
      .help = "the approved template \"your plan is ready, reply to read it\": {{1}} meeting" },
    { "TWILIO_CONTENT_SID_REMINDER", SET_TEXT, OFFSET(content_reminder), NULL,
      .help = "the approved template that asks how a meeting went: {{1}} meeting" },
    { "TWILIO_MESSAGES_PER_SECOND", SET_COUNT, OFFSET(messages_per_s), "80", 1, 10000,
      .help = "what our sender may send, by all instances together" },
    { "ADMIN_WHATSAPP_TO", SET_TEXT, OFFSET(admin_whatsapp), NULL,
      .help = "who is told when no rep is assigned, or of a meeting's organizer whom nobody knows, +E164 or "
              "whatsapp:+E164" },
    { "HUBSPOT_ACCESS_TOKEN", SET_SECRET, OFFSET(hubspot_token), NULL,
      .help = "HubSpot's token (a service key); without it notes of meetings are kept here alone" },
    { "HUBSPOT_BASE_URL", SET_URL, OFFSET(hubspot_url), "https://api.hubapi.com", .help = "HubSpot's address" },
    { "HUBSPOT_CRM_PATH", SET_TEXT, OFFSET(hubspot_path), "/crm/v3/objects",
      .help = "where its objects are: a version of the interface" },
    { "HUBSPOT_TIMEOUT", SET_DURATION, OFFSET(hubspot_timeout_ms), "10s", 500, 60000,
      .help = "one request to HubSpot, end to end; who wrote \"done\" waits for it once" },
    { "PUBLIC_URL", SET_URL, OFFSET(public_url), NULL,
      .help = "what people and providers see of ingest; without it no delivery reports are asked for, and no link to "
              "register is sent" },
    { 0 },
};

static const struct route routes[] = {
    { .type = &EVENT_CALL_ANALYZED, .handle = tell_of_call },
    { .type = &EVENT_MESSAGE_REPORTED, .handle = note_report },
    { .type = &EVENT_SALESPERSON_REGISTERED, .handle = welcome_salesperson },
    { .type = &EVENT_MEETING_CHANGED, .handle = tell_of_unknown_organizer },
    { .type = &EVENT_PLAN_MADE, .handle = tell_plan },
    { .type = &EVENT_CHAT_ANSWERED, .handle = tell_answer },
    { .type = &EVENT_MEETING_DUE, .handle = handle_due_meeting },
    { .type = &EVENT_NOTE_DUE, .handle = handle_due_note },
    { .type = &EVENT_DELIVERY_DUE, .handle = look_for_message },
    { 0 },
};

#define DUE_EVERY_MS 1000
static const struct sweep sweeps[] = {
    { .name = "due_meetings",
      .every_ms = DUE_EVERY_MS,
      .due = &find_due_meetings,
      .type = &EVENT_MEETING_DUE,
      .parameter = due_meetings_at_once },
    { .name = "due_notes", .every_ms = DUE_EVERY_MS, .due = &find_due_notes, .type = &EVENT_NOTE_DUE },
    { .name = "due_messages", .every_ms = DUE_EVERY_MS, .due = &find_due_messages, .type = &EVENT_DELIVERY_DUE },
    { 0 },
};

static bool check_address(const char *name, const char *address, struct problem *why)
{
    if (!address)
        return true;
    const char *number = text_starts(text_of(address), "whatsapp:") ? address + strlen("whatsapp:") : address;
    size_t digits = *number == '+' ? strspn(number + 1, "0123456789") : 0;
    return (digits >= 7 && digits <= 15 && !number[1 + digits]) ||
           fail(why, "%s is no phone number like +15550100001", name);
}

static bool notifier_open(void *context, struct problem *why)
{
    const struct notifier *opened = context;
    return check_address("TWILIO_WHATSAPP_FROM", opened->whatsapp_from, why) &&
           check_address("ADMIN_WHATSAPP_TO", opened->admin_whatsapp, why) &&
           (opened->hubspot_path[0] == '/' || fail(why, "HUBSPOT_CRM_PATH is no path like /crm/v3/objects"));
}

int main(int argc, char **argv)
{
    return stage_main(argc, argv,
                      &(struct stage){
                          .name = "notifier",
                          .summary = "tells people by WhatsApp what the results are, and notes meetings in HubSpot",
                          .settings = settings,
                          .context = &notifier,
                          .routes = routes,
                          .sweeps = sweeps,
                          .open = notifier_open,
                      });
}
