-- Call tracking.  Each table's owner, and who else may write it, stands beside it.

-- Owner: ingest.
CREATE TABLE contact_cards (
    tenant      text        NOT NULL REFERENCES companies (tenant) ON UPDATE CASCADE,
    contact_id  uuid        NOT NULL,
    phone       text        NOT NULL CHECK (phone ~ '^\+[1-9][0-9]{6,14}$'),
    name        text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, contact_id),
    UNIQUE (tenant, phone)
);

-- Owner: ingest.  analyze sets status (the latest call by call time decides).
CREATE TABLE leads (
    tenant          text        NOT NULL,
    lead_id         uuid        NOT NULL,
    contact_id      uuid        NOT NULL,
    status          text        NOT NULL DEFAULT 'new' CHECK (status IN ('new', 'warm', 'hot', 'cold', 'closed')),
    status_call_at  timestamptz,                        -- the time of the call that decided
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, lead_id),
    FOREIGN KEY (tenant, contact_id) REFERENCES contact_cards (tenant, contact_id) ON UPDATE CASCADE
);
CREATE UNIQUE INDEX leads_one_open ON leads (tenant, contact_id) WHERE status <> 'closed';

-- Statuses only move forward.
CREATE FUNCTION call_status_rank(status text) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN array_position(ARRAY['ringing', 'in_progress', 'completed', 'missed', 'failed'], status);

-- Owner: ingest.
CREATE TABLE calls (
    tenant              text        NOT NULL REFERENCES companies (tenant) ON UPDATE CASCADE,
    call_id             text        NOT NULL CHECK (length(call_id) BETWEEN 1 AND 128),
    source              text        NOT NULL CHECK (source IN ('callrail', 'twilio', 'elevenlabs')),
    status              text        NOT NULL CHECK (call_status_rank(status) IS NOT NULL),
    direction           text,
    tracking_number     text,
    customer_number     text,                           -- E.164; null when withheld
    customer_name       text,
    contact_id          uuid,
    lead_id             uuid,
    csr_user_id         text,
    answered            boolean,
    voicemail           boolean,
    started_at          timestamptz,
    duration_s          integer     CHECK (duration_s >= 0),
    recording_url       text,
    version             bigint      NOT NULL DEFAULT 1, -- changed by every update: a predicate for the next
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    -- when it was, for lists.  A column, since row-level security keeps conditions on a COALESCE out of an index
    call_at             timestamptz NOT NULL GENERATED ALWAYS AS (coalesce(started_at, created_at)) STORED,
    PRIMARY KEY (tenant, call_id),
    UNIQUE (call_id, source),
    FOREIGN KEY (tenant, contact_id) REFERENCES contact_cards (tenant, contact_id) ON UPDATE CASCADE,
    FOREIGN KEY (tenant, lead_id) REFERENCES leads (tenant, lead_id) ON UPDATE CASCADE
);
CREATE INDEX calls_newest ON calls (tenant, call_at DESC, call_id DESC);
-- the same for those who see all companies
CREATE INDEX calls_newest_of_all ON calls (call_at DESC, call_id DESC, tenant DESC);
CREATE FUNCTION calls_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF call_status_rank(NEW.status) < call_status_rank(OLD.status) THEN
        RAISE EXCEPTION 'call % cannot go from % back to %', OLD.call_id, OLD.status, NEW.status USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER calls_forward BEFORE UPDATE OF status ON calls FOR EACH ROW EXECUTE FUNCTION calls_forward();

-- Owner: ingest.  What each webhook said of a call.  The call's row is these, folded in their order, so that it is the same in whatever
-- order they came.
CREATE TABLE call_reports (
    tenant      text        NOT NULL,
    call_id     text        NOT NULL,
    event_id    uuid        NOT NULL,
    hook        text        NOT NULL CHECK (hook IN ('call.incoming', 'call.answered', 'call.completed')),
    reported_at timestamptz NOT NULL,                   -- by the sender's clock, else when it came
    facts       jsonb       NOT NULL CHECK (jsonb_typeof(facts) = 'object'),
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, call_id, event_id),
    FOREIGN KEY (tenant, call_id) REFERENCES calls (tenant, call_id) ON UPDATE CASCADE
);

-- Owner: transcribe.  The copy of a call's audio: where it lies below RECORDINGS_DIR.
CREATE TABLE recordings (
    tenant          text        NOT NULL,
    call_id         text        NOT NULL,
    path            text        NOT NULL,
    bytes           bigint      NOT NULL CHECK (bytes > 0),
    sha256          text        NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    format          text        NOT NULL,
    channels        integer     NOT NULL CHECK (channels > 0),
    sample_rate_hz  integer     NOT NULL CHECK (sample_rate_hz > 0),
    duration_s      double precision NOT NULL CHECK (duration_s >= 0),
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, call_id),
    FOREIGN KEY (tenant, call_id) REFERENCES calls (tenant, call_id) ON UPDATE CASCADE
);

-- Owner: transcribe.
CREATE TABLE call_transcripts (
    tenant      text        NOT NULL,
    call_id     text        NOT NULL,
    provider    text        NOT NULL,
    model       text,
    language    text,
    text        text        NOT NULL,                   -- "agent: …" lines, in order of time
    segments    jsonb       NOT NULL CHECK (jsonb_typeof(segments) = 'array'),  -- [{speaker, start_s, end_s, text, confidence?}]
    speakers    integer     NOT NULL,
    words       integer     NOT NULL,
    duration_s  double precision,
    source_time timestamptz NOT NULL,                   -- of the event it comes from; only an equal or later one replaces it …
    run         integer     NOT NULL DEFAULT 0,         -- … then a higher run
    search      tsvector    GENERATED ALWAYS AS (to_tsvector('simple', text)) STORED,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, call_id),
    FOREIGN KEY (tenant, call_id) REFERENCES calls (tenant, call_id) ON UPDATE CASCADE
);
CREATE INDEX call_transcripts_search ON call_transcripts USING gin (search);

-- Owner: analyze.
CREATE TABLE call_analyses (
    tenant                  text        NOT NULL,
    call_id                 text        NOT NULL,
    provider                text        NOT NULL,
    model                   text,
    prompt_version          text,
    lead_qualification      text        NOT NULL CHECK (lead_qualification IN ('hot', 'warm', 'cold')),
    booking_status          text        NOT NULL CHECK (booking_status IN ('booked', 'not_booked', 'service_not_offered')),
    call_outcome_category   text        NOT NULL,
    sentiment_score         double precision NOT NULL CHECK (sentiment_score BETWEEN -1 AND 1),
    objections              jsonb       NOT NULL DEFAULT '[]',
    sop_score               double precision CHECK (sop_score BETWEEN 0 AND 1),
    sop_missed_steps        jsonb       NOT NULL DEFAULT '[]',
    summary                 text        NOT NULL,
    evidence                jsonb       NOT NULL DEFAULT '[]',      -- [{field, quote}]; "vendor" where a vendor says it
    dropped_without_evidence integer    NOT NULL DEFAULT 0,
    source_time             timestamptz NOT NULL,
    run                     integer     NOT NULL DEFAULT 0,
    created_at              timestamptz NOT NULL DEFAULT now(),
    updated_at              timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, call_id),
    FOREIGN KEY (tenant, call_id) REFERENCES calls (tenant, call_id) ON UPDATE CASCADE
);

-- Owner: analyze.  Exactly one per booked call.
CREATE TABLE appointments (
    tenant                  text        NOT NULL REFERENCES companies (tenant) ON UPDATE CASCADE,
    appointment_id          uuid        NOT NULL,
    call_id                 text,
    lead_id                 uuid,
    assigned_rep_id         text        REFERENCES users (user_id),
    scheduled_start         timestamptz,                -- null: booked without an agreed time
    appointment_date        timestamptz GENERATED ALWAYS AS (scheduled_start) STORED,
    service_type            text,
    location                text,
    status                  text        NOT NULL DEFAULT 'scheduled' CHECK (status IN ('scheduled', 'confirmed', 'completed', 'cancelled', 'no_show')),
    outcome                 text        NOT NULL DEFAULT 'pending' CHECK (outcome IN ('won', 'lost', 'pending')),
    quote                   text,                       -- the words it was agreed in
    source_time             timestamptz NOT NULL,
    run                     integer     NOT NULL DEFAULT 0,
    created_at              timestamptz NOT NULL DEFAULT now(),
    updated_at              timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, appointment_id),
    UNIQUE (tenant, call_id),
    FOREIGN KEY (tenant, call_id) REFERENCES calls (tenant, call_id) ON UPDATE CASCADE,
    FOREIGN KEY (tenant, lead_id) REFERENCES leads (tenant, lead_id) ON UPDATE CASCADE
);

-- Messages to people, as an operator counts them.  The provider's reports only move provider_status forward.
CREATE FUNCTION delivery_status_rank(status text) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN array_position(ARRAY['blocked', 'accepted', 'queued', 'sending', 'sent', 'delivered', 'read', 'undelivered', 'failed'], status);
CREATE VIEW deliveries WITH (security_invoker = true) AS
    SELECT ask_id AS delivery_id, tenant, stage, event_id, correlation_id, provider, 'whatsapp'::text AS channel, recipient, purpose, subject,
           version, content, state, coalesce(provider_status, state) AS status, provider_id, error_code, error, attempt, created_at, updated_at
    FROM asks WHERE kind = 'once' AND stage = 'notifier';

SELECT protect(ARRAY['contact_cards', 'leads', 'calls', 'call_reports'], ARRAY['switchboard_ingest']);
SELECT protect(ARRAY['recordings', 'call_transcripts'], ARRAY['switchboard_transcribe']);
SELECT protect(ARRAY['call_analyses', 'appointments'], ARRAY['switchboard_analyze']);
GRANT UPDATE (status, status_call_at, updated_at) ON leads TO switchboard_analyze;
CREATE POLICY writer_switchboard_analyze ON leads FOR UPDATE TO switchboard_analyze USING (true) WITH CHECK (true);
GRANT SELECT ON deliveries TO switchboard_api, switchboard_ingest, switchboard_notifier;

-- Full-text search under row-level security would not use the index: this function takes the tenant from the session.
CREATE FUNCTION calls_matching(query text) RETURNS TABLE (tenant text, call_id text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT t.tenant, t.call_id FROM call_transcripts t
    WHERE t.search @@ websearch_to_tsquery('simple', query)
      AND (t.tenant = current_setting('switchboard.tenant', true) OR current_setting('switchboard.tenant', true) = '*')
$$;
REVOKE EXECUTE ON FUNCTION calls_matching(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION calls_matching(text) TO switchboard_api;
