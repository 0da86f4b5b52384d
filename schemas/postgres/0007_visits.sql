-- Visits at customers: recorded by the sales rep, transcribed and understood as calls are.

-- Owner: ingest.
CREATE TABLE recording_sessions (
    tenant          text        NOT NULL,
    session_id      uuid        NOT NULL UNIQUE,
    appointment_id  uuid        NOT NULL,
    rep_user_id     text        REFERENCES users (user_id),
    status          text        NOT NULL DEFAULT 'recording' CHECK (status IN ('recording', 'completed', 'failed')),
    audio_url       text,
    started_at      timestamptz NOT NULL,
    stopped_at      timestamptz CHECK (stopped_at >= started_at),
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, session_id),
    FOREIGN KEY (tenant, appointment_id) REFERENCES appointments (tenant, appointment_id) ON UPDATE CASCADE,
    CHECK ((status = 'completed') = (audio_url IS NOT NULL AND stopped_at IS NOT NULL))
);
CREATE UNIQUE INDEX recording_sessions_one_running ON recording_sessions (tenant, appointment_id) WHERE status = 'recording';
CREATE INDEX recording_sessions_appointment ON recording_sessions (tenant, appointment_id);
CREATE FUNCTION recording_sessions_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status <> 'recording' AND NEW.status <> OLD.status THEN
        RAISE EXCEPTION 'session % cannot go from % to %', OLD.session_id, OLD.status, NEW.status USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER recording_sessions_forward BEFORE UPDATE OF status ON recording_sessions
    FOR EACH ROW EXECUTE FUNCTION recording_sessions_forward();

-- Owner: transcribe.  The copy of a visit's audio: where it lies below RECORDINGS_DIR.
CREATE TABLE session_recordings (
    tenant          text        NOT NULL,
    session_id      uuid        NOT NULL,
    path            text        NOT NULL,
    bytes           bigint      NOT NULL CHECK (bytes > 0),
    sha256          text        NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    format          text        NOT NULL,
    channels        integer     NOT NULL CHECK (channels > 0),
    sample_rate_hz  integer     NOT NULL CHECK (sample_rate_hz > 0),
    duration_s      double precision NOT NULL CHECK (duration_s >= 0),
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, session_id),
    FOREIGN KEY (tenant, session_id) REFERENCES recording_sessions (tenant, session_id) ON UPDATE CASCADE
);

-- Owner: transcribe.
CREATE TABLE recording_transcripts (
    tenant      text        NOT NULL,
    session_id  uuid        NOT NULL,
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
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, session_id),
    FOREIGN KEY (tenant, session_id) REFERENCES recording_sessions (tenant, session_id) ON UPDATE CASCADE
);

-- Owner: analyze.
CREATE TABLE recording_analyses (
    tenant                  text        NOT NULL,
    session_id              uuid        NOT NULL,
    provider                text        NOT NULL,
    model                   text,
    prompt_version          text,
    outcome                 text        NOT NULL CHECK (outcome IN ('won', 'lost', 'pending')),
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
    PRIMARY KEY (tenant, session_id),
    FOREIGN KEY (tenant, session_id) REFERENCES recording_sessions (tenant, session_id) ON UPDATE CASCADE
);

SELECT protect(ARRAY['recording_sessions'], ARRAY['switchboard_ingest']);
SELECT protect(ARRAY['session_recordings', 'recording_transcripts'], ARRAY['switchboard_transcribe']);
SELECT protect(ARRAY['recording_analyses'], ARRAY['switchboard_analyze']);
-- Appointments made by hand come through the API.
GRANT INSERT ON appointments TO switchboard_ingest;
CREATE POLICY writer_switchboard_ingest ON appointments FOR INSERT TO switchboard_ingest WITH CHECK (true);
