/* api_routes.c: every operation of the API: its address, its handler, and the roles it is open to. */
#include "ingest/api.h"

/* Who decides about people's work, and who does it. */
#define DECIDERS (API_PLATFORM | API_ADMIN | API_EXEC | API_OWNER)
/* Who hears what is said at customers': reps their own visits. */
#define VISITORS (DECIDERS | API_REP)
#define SELLERS  (API_PLATFORM | API_ADMIN | API_OWNER | API_CSR | API_REP)

#define OPERATION(name, operation_id, ...)                                                                        \
    static void name(struct http_exchange *exchange, void *ingest)                                                \
    {                                                                                                             \
        static const struct api_operation operation = { .id = operation_id, .handle = api_##name, __VA_ARGS__ };  \
        api_accept(exchange, ingest, &operation);                                                                 \
    }

/* clang-format off */
OPERATION(list_calls,            "listCalls",           .roles = API_PEOPLE)
OPERATION(show_call,             "showCall",            .roles = API_PEOPLE)
OPERATION(update_call,           "updateCall",          .roles = API_PLATFORM | API_ADMIN | API_OWNER | API_CSR)
OPERATION(correct_analysis,      "correctAnalysis",     .roles = DECIDERS)
OPERATION(play_call,             "playCall",            .roles = API_PEOPLE)
OPERATION(list_leads,            "listLeads",           .roles = API_PEOPLE)
OPERATION(update_lead,           "updateLead",          .roles = SELLERS)
OPERATION(list_appointments,     "listAppointments",    .roles = API_PEOPLE)
OPERATION(list_own_appointments, "listOwnAppointments", .roles = API_PEOPLE, .of_self = true)
OPERATION(create_appointment,    "createAppointment",   .roles = SELLERS)
OPERATION(list_sessions,         "listSessions",        .roles = VISITORS)
OPERATION(show_session,          "showSession",         .roles = VISITORS)
OPERATION(play_session,          "playSession",         .roles = VISITORS)
OPERATION(start_session,         "startSession",        .roles = API_PLATFORM | API_ADMIN | API_OWNER | API_REP)
OPERATION(stop_session,          "stopSession",         .roles = API_PLATFORM | API_ADMIN | API_OWNER | API_REP)
OPERATION(show_operation,        "showOperation",       .roles = API_PEOPLE)
OPERATION(csr_overview,          "csrOverview",         .roles = API_PEOPLE, .of_self = true)
OPERATION(rep_overview,          "repOverview",         .roles = API_PEOPLE, .of_self = true)
OPERATION(all_csrs_overview,     "allCsrsOverview",     .roles = DECIDERS)
OPERATION(all_reps_overview,     "allRepsOverview",     .roles = DECIDERS)
/* clang-format on */

static void show_openapi(struct http_exchange *exchange, void *context)
{
    (void)context;
    api_send(exchange, 200, "application/yaml", text_of(openapi_yaml), NULL);
}

const struct http_route ingest_api_routes[] = {
    { "GET", "/api/v1/calls", list_calls, 0, NULL },
    { "GET", "/api/v1/calls/{id}", show_call, 0, NULL },
    { "PATCH", "/api/v1/calls/{id}", update_call, API_BODY_BYTES_MAX, NULL },
    { "PATCH", "/api/v1/calls/{id}/analysis", correct_analysis, API_BODY_BYTES_MAX, NULL },
    { "GET", "/api/v1/calls/{id}/recording", play_call, 0, NULL },
    { "GET", "/api/v1/leads", list_leads, 0, NULL },
    { "PATCH", "/api/v1/leads/{id}", update_lead, API_BODY_BYTES_MAX, NULL },
    { "GET", "/api/v1/appointments", list_appointments, 0, NULL },
    { "GET", "/api/v1/appointments/today/self", list_own_appointments, 0, NULL },
    { "POST", "/api/v1/appointments", create_appointment, API_BODY_BYTES_MAX, NULL },
    { "GET", "/api/v1/recordings/sessions", list_sessions, 0, NULL },
    { "GET", "/api/v1/recordings/sessions/{id}", show_session, 0, NULL },
    { "GET", "/api/v1/recordings/sessions/{id}/recording", play_session, 0, NULL },
    { "POST", "/api/v1/recordings/sessions/start", start_session, API_BODY_BYTES_MAX, NULL },
    { "POST", "/api/v1/recordings/sessions/{id}/stop", stop_session, API_BODY_BYTES_MAX, NULL },
    { "GET", "/api/v1/operations/{id}", show_operation, 0, NULL },
    { "GET", "/api/v1/metrics/csr/overview/self", csr_overview, 0, NULL },
    { "GET", "/api/v1/metrics/exec/csr/overview", all_csrs_overview, 0, NULL },
    { "GET", "/api/v1/metrics/sales/rep/overview/self", rep_overview, 0, NULL },
    { "GET", "/api/v1/metrics/exec/sales/overview", all_reps_overview, 0, NULL },
    { "GET", "/openapi.yaml", show_openapi, 0, NULL },
    { 0 },
};
