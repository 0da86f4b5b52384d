/* api_leads.c: GET /api/v1/leads, PATCH /api/v1/leads/{id}. */
#include "ingest/api_list.h"
#include "ingest/api_rows.h"
#include "ingest/api_writes.h"
#include "requests.h"

/* $6: statuses */
#define LISTED(tenancy) tenancy " AND ($6::text[] IS NULL OR c.status = ANY ($6::text[]))"
#define LIST_LEADS(tenancy)                                                                                       \
    API_NEWEST_FIRST("leads_total($6::text[])", "leads c", LISTED(tenancy), "created_at", "lead_id", "uuid",    \
                        LEAD_COLUMNS, LEAD_JOINS)

static const struct statement list_leads = {
    .name = "api_list_leads",
    .text = LIST_LEADS(API_ONE_COMPANY),
    .params = 6,
};
static const struct statement list_all_leads = {
    .name = "api_list_all_leads",
    .text = LIST_LEADS(API_ALL_COMPANIES),
    .params = 6,
};

static const struct api_member lead_members[] = {
    { "lead_id", API_STRING },        { "tenant", API_STRING },     { "status", API_STRING },
    { "status_call_at", API_STRING }, { "created_at", API_STRING }, { "updated_at", API_STRING },
    { 0 },
};
static const struct api_member last_call_members[] = {
    { "call_id", API_STRING }, { "status", API_STRING }, { "call_at", API_STRING }, { 0 }
};
const struct api_part lead_parts[] = {
    { NULL, "", lead_members, NULL },
    { "contact", "contact_", api_contact_members, NULL },
    { "last_call", "last_call_", last_call_members, NULL },
    { 0 },
};

void api_list_leads(struct api_request *request)
{
    static const struct api_list list = { &leads_order, lead_parts,  "created_at",
                                          "lead_id",    &list_leads, &list_all_leads };
    struct leads_query query;
    struct problem why = { 0 };

    if (!leads_query_read(http_url(request->exchange), request->arena, &query, &why))
        api_refuse_query(request, &why);
    else
        api_answer_list(request, &list, &query.page, PARAMS(query.statuses));
}

void api_update_lead(struct api_request *request)
{
    struct update_lead body;
    const char *lead_id = api_path_uuid(request, "lead");

    if (lead_id && api_read_body(request, update_lead_read, &body))
        api_write(request, lead_id);
}
