-- What API clients change, and the lists they read.

-- Owner: ingest.  What became of each change: whoever repeats it, or comes back for it, gets the same answer.
CREATE TABLE api_operations (
    tenant          text        NOT NULL REFERENCES companies (tenant) ON UPDATE CASCADE,   -- of the token
    operation_id    uuid        NOT NULL PRIMARY KEY,           -- the id of its api.requested
    token_id        uuid        NOT NULL,
    user_id         text,
    operation       text        NOT NULL,                       -- operationId of openapi.yaml
    subject         text        NOT NULL,                       -- the conversation it belongs to
    fingerprint     text        NOT NULL CHECK (fingerprint ~ '^[0-9a-f]{64}$'),    -- of what was asked: the key alone does not say
    status          integer     NOT NULL CHECK (status BETWEEN 200 AND 599),
    body            text        NOT NULL,                       -- JSON: the row, or the problem
    requested_at    timestamptz NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX api_operations_age ON api_operations (created_at);
SELECT protect(ARRAY['api_operations'], ARRAY['switchboard_ingest']);

-- Whose token has this SHA-256 (hex).  `user_id` is null for a token that belongs to no person.
DROP FUNCTION token_of(text);
CREATE FUNCTION token_of(hash text) RETURNS TABLE (tenant text, role text, state text, token_id uuid, user_id text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT t.tenant, t.role,
           CASE WHEN t.revoked_at IS NOT NULL THEN 'revoked' WHEN t.expires_at <= now() THEN 'expired' ELSE 'valid' END,
           t.token_id, u.user_id
    FROM api_tokens t LEFT JOIN users u ON u.tenant = t.tenant AND u.email = t.email
    WHERE t.token_hash = decode(hash, 'hex')
$$;
REVOKE EXECUTE ON FUNCTION token_of(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION token_of(text) TO switchboard_api;
ALTER TABLE users ADD CHECK (length(user_id) BETWEEN 1 AND 128);

-- A missed call is to be called back until somebody says that it was.
ALTER TABLE calls ADD callback_done_at timestamptz, ADD callback_done_by text;
CREATE INDEX calls_callback ON calls (tenant, call_at DESC, call_id DESC) WHERE status = 'missed' AND callback_done_at IS NULL;

-- What a person knows better than a model, by field: {"lead_qualification": {"value": …, "was": …, "by": user, "at": time}}.  The field's
-- column has the same value; analyze keeps both when it analyses the call again.
ALTER TABLE call_analyses ADD corrections jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(corrections) = 'object');
GRANT UPDATE (lead_qualification, booking_status, call_outcome_category, sentiment_score, objections, sop_score, sop_missed_steps, summary,
              corrections, updated_at) ON call_analyses TO switchboard_ingest;
CREATE POLICY writer_switchboard_ingest ON call_analyses FOR UPDATE TO switchboard_ingest USING (true) WITH CHECK (true);
-- a booking that was none takes its appointment with it
GRANT DELETE ON appointments TO switchboard_ingest;
CREATE POLICY corrector_switchboard_ingest ON appointments FOR DELETE TO switchboard_ingest USING (true);

-- The orders of the lists.  Columns and not expressions, since row-level security keeps conditions on a COALESCE out of an index.
ALTER TABLE appointments ADD listed_at timestamptz NOT NULL
    GENERATED ALWAYS AS (coalesce(scheduled_start, timestamptz '9999-12-31 00:00:00+00')) STORED;     -- those without a time come last
CREATE INDEX appointments_listed ON appointments (tenant, listed_at, appointment_id);
CREATE INDEX appointments_listed_of_all ON appointments (listed_at, appointment_id, tenant);
CREATE INDEX appointments_lead ON appointments (tenant, lead_id);
CREATE INDEX leads_newest ON leads (tenant, created_at DESC, lead_id DESC);
CREATE INDEX leads_newest_of_all ON leads (created_at DESC, lead_id DESC, tenant DESC);
CREATE INDEX leads_contact ON leads (tenant, contact_id);
CREATE INDEX calls_lead ON calls (tenant, lead_id, call_at DESC);
CREATE INDEX recording_sessions_newest ON recording_sessions (tenant, started_at DESC, session_id DESC);
