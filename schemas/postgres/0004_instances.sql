-- What runs, and what it is doing: each stage instance says so every two seconds, and operators look here.  Owner: the runtime
-- (common/stage/instance.c), in every stage; nobody else writes it.  It tells of all tenants, so the API does not read it.
CREATE TABLE instances (
    stage       text        NOT NULL,
    instance    text        NOT NULL,                   -- the setting INSTANCE
    started_at  timestamptz NOT NULL,
    seen_at     timestamptz NOT NULL DEFAULT now(),     -- old: it hangs, died, or cannot reach Postgres
    version     text        NOT NULL,
    pid         integer     NOT NULL,
    host        text        NOT NULL,
    state       jsonb       NOT NULL CHECK (jsonb_typeof(state) = 'object'),    -- common/stage/instance.c says what is in it
    PRIMARY KEY (stage, instance)
);
ALTER TABLE instances ENABLE ROW LEVEL SECURITY;
CREATE POLICY stages ON instances FOR SELECT USING (true);
-- each stage its own rows, and what a stage left that is no more
CREATE POLICY own ON instances FOR ALL USING (current_user = 'switchboard_' || stage) WITH CHECK (current_user = 'switchboard_' || stage);
CREATE POLICY left_behind ON instances FOR DELETE USING (seen_at < now() - interval '1 day');
GRANT SELECT, INSERT, UPDATE, DELETE ON instances
    TO switchboard_ingest, switchboard_transcribe, switchboard_analyze, switchboard_vision, switchboard_notifier;

-- What operators look for: a message by the provider's name for it, whoever the provider is, what was given up, and what happened
-- since some time (rows are written in its order, so a few bytes for many of them will do).
DROP INDEX asks_provider_id;
CREATE INDEX asks_provider_id ON asks (provider_id, provider) WHERE provider_id IS NOT NULL;
CREATE INDEX asks_open ON asks (updated_at) WHERE state IN ('sent', 'uncertain');
CREATE INDEX ledger_rejected ON ledger (stage, event_id) WHERE outcome = 'rejected';
CREATE INDEX ledger_committed ON ledger USING brin (committed_at);
