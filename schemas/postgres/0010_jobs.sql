-- Asynchronous jobs of providers: asked for once, answered later, by a webhook or by a sweep; the first one wins.
-- Owner: the runtime (common/job.c), in every stage.

CREATE FUNCTION job_status_rank(status text) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN array_position(ARRAY['queued', 'running', 'overdue', 'completed', 'failed'], status);

-- The ask that submitted it has a row (`sent`) before the request leaves; this one is committed with its answer.
CREATE TABLE jobs (
    job_id          uuid        PRIMARY KEY,            -- of the ask that submitted it
    stage           text        NOT NULL,
    tenant          text        NOT NULL,
    job_type        text        NOT NULL CHECK (job_type ~ '^[a-z][a-z_]{0,31}$'),
    provider        text        NOT NULL,
    provider_job_id text        NOT NULL CHECK (length(provider_job_id) BETWEEN 1 AND 128),
    subject         text        NOT NULL,               -- what it is about: a call, a visit, …
    kind            text        NOT NULL CHECK (kind ~ '^[a-z][a-z_]{0,31}$'),      -- … and which of them
    status          text        NOT NULL DEFAULT 'queued' CHECK (job_status_rank(status) IS NOT NULL),
    attempts        integer     NOT NULL DEFAULT 1,     -- requests about it: the one that submitted it, and each that asked how it stands
    error           text,
    source_time     timestamptz NOT NULL,               -- of the event that asked: its result replaces only what is not newer …
    run             integer     NOT NULL DEFAULT 0,     -- … then what has no higher run
    submitted_at    timestamptz NOT NULL DEFAULT now(),
    next_check_at   timestamptz,                        -- when the provider is asked how it stands, should no webhook come
    finished_at     timestamptz,
    finished_by     text        CHECK (finished_by IN ('webhook', 'sweep')),
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (provider, provider_job_id),
    CHECK ((status IN ('completed', 'failed')) = (finished_at IS NOT NULL AND finished_by IS NOT NULL AND next_check_at IS NULL)),
    CHECK (status <> 'failed' OR error IS NOT NULL)
);
CREATE INDEX jobs_due ON jobs (stage, next_check_at) WHERE next_check_at IS NOT NULL;
CREATE INDEX jobs_subject ON jobs (subject, stage);

CREATE FUNCTION jobs_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status IN ('completed', 'failed') OR job_status_rank(NEW.status) < job_status_rank(OLD.status) THEN
        RAISE EXCEPTION 'job % cannot go from % to %', OLD.job_id, OLD.status, NEW.status USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER jobs_forward BEFORE UPDATE OF status ON jobs FOR EACH ROW EXECUTE FUNCTION jobs_forward();

-- What the provider said at its end: the first one stands.  Written by ingest's recorder (a webhook) or by the sweeping stage.
CREATE TABLE job_results (
    job_id      uuid        PRIMARY KEY REFERENCES jobs (job_id) ON DELETE CASCADE,
    tenant      text        NOT NULL,
    status      text        NOT NULL CHECK (status IN ('completed', 'failed')),
    result      text,                                   -- as the provider gave it
    error       text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CHECK ((status = 'completed') = (result IS NOT NULL) AND (status = 'failed') = (error IS NOT NULL))
);

-- Every request to Shunya, as an operator counts them: those that were answered at once, and those that became a job.
CREATE VIEW shunya_jobs WITH (security_invoker = true) AS
    SELECT a.ask_id AS job_id, coalesce(j.tenant, a.tenant) AS tenant, a.stage, a.purpose AS job_type, j.kind, a.subject,
           coalesce(j.status, CASE a.state WHEN 'answered' THEN CASE WHEN a.provider_id IS NULL THEN 'completed' ELSE 'queued' END
                              ELSE a.state END) AS status,
           a.provider_id AS provider_job_id, a.attempt + coalesce(j.attempts, 1) - 1 AS attempts, coalesce(j.error, a.error) AS error,
           coalesce(j.submitted_at, a.created_at) AS submitted_at, j.next_check_at,
           coalesce(j.finished_at, CASE WHEN a.state = 'answered' AND a.provider_id IS NULL THEN a.updated_at END) AS finished_at,
           coalesce(j.finished_by, CASE WHEN a.state = 'answered' AND a.provider_id IS NULL THEN 'answer' END) AS finished_by,
           a.created_at, greatest(a.updated_at, j.updated_at) AS updated_at
    FROM asks a LEFT JOIN jobs j ON j.job_id = a.ask_id
    WHERE a.provider = 'shunya' AND a.kind = 'once';

SELECT protect(ARRAY['jobs', 'job_results'],
               ARRAY['switchboard_ingest', 'switchboard_transcribe', 'switchboard_analyze', 'switchboard_vision', 'switchboard_notifier']);
GRANT SELECT ON shunya_jobs TO switchboard_api, switchboard_ingest, switchboard_transcribe, switchboard_analyze;
GRANT SELECT ON jobs TO switchboard_operator;
CREATE POLICY operator ON jobs FOR SELECT TO switchboard_operator USING (true);

-- Owner: analyze.  The visit whose outcome the appointment has: the latest one decides.
ALTER TABLE appointments ADD COLUMN outcome_at timestamptz;
