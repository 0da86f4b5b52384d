/* api_operations.h: what became of a change: the recorder's rows in api_operations. */
#pragma once

#include "ingest/api.h"

enum api_found {
    API_RECORDED,
    API_NOT_RECORDED,   /* or it is somebody else's */
    API_NOT_KNOWN,      /* the database did not answer */
};

struct api_outcome {
    const char *fingerprint; /* of what was asked */
    int status;
    struct text body;
};

/* What was recorded of the token's own operation of that id. */
enum api_found api_operation_look(struct api_request *request, const char *id, struct api_outcome *ret);
/* The same; API_NOT_KNOWN is answered. */
enum api_found api_operation_find(struct api_request *request, const char *id, struct api_outcome *ret);

/* Answers with the outcome; when it is that of another request than the one with this fingerprint, 422.  Any thread. */
void api_send_outcome(struct http_exchange *exchange, const char *fingerprint, const struct api_outcome *outcome);
