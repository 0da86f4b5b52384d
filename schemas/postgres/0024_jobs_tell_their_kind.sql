-- A request to Shunya says whether it is about a call or a visit also when it was answered at once: in the words of its ask (common/job.c).

CREATE OR REPLACE VIEW shunya_jobs WITH (security_invoker = true) AS
    SELECT a.ask_id AS job_id, coalesce(j.tenant, a.tenant) AS tenant, a.stage, a.purpose AS job_type,
           coalesce(j.kind, substring(a.content FROM '^[a-z_]+ of the ([a-z_]+) ')) AS kind, a.subject,
           coalesce(j.status, CASE a.state WHEN 'answered' THEN CASE WHEN a.provider_id IS NULL THEN 'completed' ELSE 'queued' END
                              ELSE a.state END) AS status,
           a.provider_id AS provider_job_id, a.attempt + coalesce(j.attempts, 1) - 1 AS attempts, coalesce(j.error, a.error) AS error,
           coalesce(j.submitted_at, a.created_at) AS submitted_at, j.next_check_at,
           coalesce(j.finished_at, CASE WHEN a.state = 'answered' AND a.provider_id IS NULL THEN a.updated_at END) AS finished_at,
           coalesce(j.finished_by, CASE WHEN a.state = 'answered' AND a.provider_id IS NULL THEN 'answer' END) AS finished_by,
           a.created_at, greatest(a.updated_at, j.updated_at) AS updated_at
    FROM asks a LEFT JOIN jobs j ON j.job_id = a.ask_id
    WHERE a.provider = 'shunya' AND a.kind = 'once';
