/* api_appointments.c: GET /api/v1/appointments, …/today/self, POST /api/v1/appointments. */
#include "ingest/api_list.h"
#include "ingest/api_rows.h"
#include "ingest/api_writes.h"
#include "requests.h"

#define FIRST_US INT64_C(946684800000000)  /* 2000 */
#define LAST_US  INT64_C(7258118400000000) /* 2200 */

/* One that was booked without an agreed time is on no day, and comes last. */
#define COLUMNS APPOINTMENT_COLUMNS ", " API_UTC("p.listed_at") " AS listed_at"
#define LIST_APPOINTMENTS(total, where)                                                                           \
    API_OLDEST_FIRST(total, "appointments c", where, "listed_at", "appointment_id", "uuid", COLUMNS,              \
                     APPOINTMENT_JOINS)
/* $6: the day.  Those of a day are counted. */
#define OF_COMPANY API_ONE_COMPANY " AND " API_IN_DAYS("listed_at", "$6::date", "$6::date") ON_A_DAY
#define OF_ALL     API_ALL_COMPANIES " AND " API_IN_DAYS_OF_ALL("listed_at", "$6::date", "$6::date") ON_A_DAY
#define ON_A_DAY   " AND ($6::date IS NULL OR c.scheduled_start IS NOT NULL)"
#define TOTAL(where)                                                                                              \
    "CASE WHEN $6::date IS NULL THEN appointments_total() ELSE " API_COUNT("appointments c", where) " END"
/* $6: the user.  Today is the company's. */
#define OWN_TODAY                                                                                                 \
    API_ONE_COMPANY " AND c.assigned_rep_id = $6 AND c.listed_at >= " API_DAY_BEGINS(TODAY)                       \
                    " AND c.listed_at < " API_DAY_BEGINS(TODAY " + 1")
#define TODAY "(now() AT TIME ZONE co.time_zone)::date"

static const struct statement list_appointments = {
    .name = "api_list_appointments",
    .text = LIST_APPOINTMENTS(TOTAL(OF_COMPANY), OF_COMPANY),
    .params = 6,
};
static const struct statement list_all_appointments = {
    .name = "api_list_all_appointments",
    .text = LIST_APPOINTMENTS(TOTAL(OF_ALL), OF_ALL),
    .params = 6,
};
static const struct statement list_own_appointments = {
    .name = "api_list_own_appointments",
    .text = LIST_APPOINTMENTS(API_COUNT("appointments c", OWN_TODAY), OWN_TODAY),
    .params = 6,
};

static const struct api_member appointment_members[] = {
    { "appointment_id", API_STRING },  { "tenant", API_STRING },          { "call_id", API_STRING },
    { "lead_id", API_STRING },         { "assigned_rep_id", API_STRING }, { "status", API_STRING },
    { "outcome", API_STRING },         { "scheduled_start", API_STRING }, { "service_type", API_STRING },
    { "location", API_STRING },        { "quote", API_STRING },           { "created_at", API_STRING },
    { "updated_at", API_STRING },      { 0 },
};
static const struct api_member rep_members[] = { { "user_id", API_STRING }, { "name", API_STRING }, { 0 } };
const struct api_part appointment_parts[] = {
    { NULL, "", appointment_members, NULL },
    { "contact", "contact_", api_contact_members, NULL },
    { "rep", "rep_", rep_members, NULL },
    { 0 },
};

void api_list_appointments(struct api_request *request)
{
    static const struct api_list list = { &appointments_order, appointment_parts,  "listed_at",
                                          "appointment_id",    &list_appointments, &list_all_appointments };
    struct appointments_query query;
    struct problem why = { 0 };

    if (!appointments_query_read(http_url(request->exchange), request->arena, &query, &why))
        api_refuse_query(request, &why);
    else
        api_answer_list(request, &list, &query.page, PARAMS(query.date));
}

/* A person's are those of their own company, also when their token sees all. */
void api_list_own_appointments(struct api_request *request)
{
    static const struct api_list list = { &appointments_order, appointment_parts,      "listed_at",
                                          "appointment_id",    &list_own_appointments, NULL };
    struct api_page page;
    struct problem why = { 0 };

    request->tenant = request->token->tenant;
    if (!page_query_read(http_url(request->exchange), &appointments_order, request->arena, &page, &why))
        api_refuse_query(request, &why);
    else
        api_answer_list(request, &list, &page, PARAMS(request->token->user_id));
}

void api_create_appointment(struct api_request *request)
{
    struct create_appointment body;
    int64_t start_us;

    if (!api_read_body(request, create_appointment_read, &body))
        return;
    if (!time_read(text_of(body.scheduled_start), &start_us) || start_us < FIRST_US ||
        start_us >= LAST_US)
        api_refuse_body(request, "must be a time from 2000 to 2199", "/scheduled_start");
    else
        api_write(request, body.lead_id);
}
