/* jobs.c: the recorder's part of jobs: shunya.job.received → job.finished, once its result is kept. */
#include "common/shunya.h"
#include "ingest/recorder.h"

enum outcome record_shunya(struct work *work, const struct event *event)
{
    struct shunya_job_received received;
    TRY(work_read_data(work, event, shunya_job_received_read, &received));
    struct text body;
    struct job_news news;
    const char *job_id, *about;
    TRY(recorder_body(work, received.encoding, received.body, &body));
    if (!shunya_webhook_news(body, work_arena(work), &news, &job_id, &about, work_why(work)))
        return REJECT;
    return job_report(work, "shunya", job_id, about, &news);
}
