-- The stage runtime's own tables.  Owner: the runtime (common/stage), in every stage; nobody else writes them.

-- One role a stage, and one for the API.  Daemons connect with DATABASE_URL and take theirs by SET ROLE.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['switchboard_ingest', 'switchboard_transcribe', 'switchboard_analyze',
                                     'switchboard_vision', 'switchboard_notifier', 'switchboard_api'] LOOP
        -- roles belong to the whole cluster: another database may be migrating at this moment
        IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = role_name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
        -- from Postgres 16 on, whoever makes a role is a member of it and still may not SET ROLE to it
        IF NOT pg_has_role(current_user, role_name, CASE WHEN current_setting('server_version_num')::integer >= 160000
                                                         THEN 'SET' ELSE 'MEMBER' END) THEN
            EXECUTE format('GRANT %I TO CURRENT_USER', role_name);
        END IF;
    END LOOP;
END $$;

-- A statement that must touch n rows and did not: the runtime reruns the handler on fresh reads (stage.h, `must`).
CREATE FUNCTION must(touched bigint, expected bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF touched <> expected THEN
        RAISE EXCEPTION 'touched % rows instead of %', touched, expected USING ERRCODE = 'SB001';
    END IF;
    RETURN true;
END $$;

-- What was handled.  Partitioned by the UTC day of the source record's Kafka timestamp, which is the same at every
-- redelivery; so the same record always meets the same key.
CREATE TABLE ledger (
    stage           text        NOT NULL,
    event_id        uuid        NOT NULL,
    run             integer     NOT NULL DEFAULT 0,
    day             date        NOT NULL,
    event_type      text        NOT NULL,
    topic           text        NOT NULL,
    partition       integer     NOT NULL,
    "offset"        bigint      NOT NULL,
    subject         text        NOT NULL,
    tenant          text,
    cause_id        uuid,
    correlation_id  text,
    outcome         text        NOT NULL CHECK (outcome IN ('done', 'skipped', 'rejected', 'parked')),
    why             text,
    attempts        integer     NOT NULL,
    received_at     timestamptz NOT NULL,               -- the record's Kafka timestamp
    started_at      timestamptz NOT NULL,               -- consumed by the stage
    worked_us       bigint      NOT NULL,               -- in handlers, all attempts
    committed_at    timestamptz NOT NULL DEFAULT now(),
    emitted         integer     NOT NULL DEFAULT 0,
    PRIMARY KEY (event_id, stage, run, day)
) PARTITION BY RANGE (day);
CREATE TABLE ledger_default PARTITION OF ledger DEFAULT;
CREATE INDEX ledger_correlation ON ledger (correlation_id);

-- What was emitted, for as long as its offset can stay unfinished: a redelivered record sends it again.
CREATE TABLE emitted (
    stage       text    NOT NULL,
    cause_id    uuid    NOT NULL,
    run         integer NOT NULL,
    day         date    NOT NULL,
    number      integer NOT NULL,
    tenant      text,
    topic       text    NOT NULL,
    key         text    NOT NULL,
    payload     text    NOT NULL,
    PRIMARY KEY (cause_id, stage, run, number, day)
) PARTITION BY RANGE (day);
CREATE TABLE emitted_default PARTITION OF emitted DEFAULT;

-- Makes the partitions of the days around today and drops those that are over; any stage may call it at any time.
CREATE FUNCTION runtime_partitions(ledger_days integer, emitted_days integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    of_table text;
    keep_days integer;
    of_day date;
    old_partition regclass;
    today date := (now() AT TIME ZONE 'UTC')::date;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('switchboard runtime_partitions'));
    FOR of_table, keep_days IN VALUES ('ledger', ledger_days), ('emitted', emitted_days) LOOP
        FOR of_day IN SELECT today + n FROM generate_series(-1, 2) AS n LOOP
            IF to_regclass(format('%I', of_table || to_char(of_day, '_YYYYMMDD'))) IS NULL
               AND NOT EXISTS (SELECT 1 FROM ledger_default WHERE of_table = 'ledger' AND day = of_day)
               AND NOT EXISTS (SELECT 1 FROM emitted_default WHERE of_table = 'emitted' AND day = of_day) THEN
                EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                               of_table || to_char(of_day, '_YYYYMMDD'), of_table, of_day, of_day + 1);
            END IF;
        END LOOP;
        FOR old_partition IN
            SELECT c.oid::regclass FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = of_table::regclass AND c.relname ~ (of_table || '_\d{8}$')
              AND to_date(right(c.relname, 8), 'YYYYMMDD') < today - keep_days LOOP
            EXECUTE format('DROP TABLE %s', old_partition);
        END LOOP;
    END LOOP;
    DELETE FROM ledger_default WHERE day < today - ledger_days;
    DELETE FROM emitted_default WHERE day < today - emitted_days;
END $$;
SELECT runtime_partitions(31, 2);

-- What was asked of anybody outside.  Deliveries, model calls and jobs are views of it.
CREATE TABLE asks (
    ask_id          uuid        PRIMARY KEY,            -- of (stage, event, run, name)
    stage           text        NOT NULL,
    event_id        uuid        NOT NULL,
    run             integer     NOT NULL DEFAULT 0,
    name            text        NOT NULL,
    kind            text        NOT NULL CHECK (kind IN ('once', 'again')),
    provider        text        NOT NULL,
    tenant          text,
    correlation_id  text,
    recipient       text,                               -- the business purpose of what must not happen twice …
    purpose         text,
    subject         text,
    version         text,
    resend          integer     NOT NULL DEFAULT 0,     -- … and the run that asked for it to happen again
    content         text,                               -- what was said, in words
    state           text        NOT NULL CHECK (state IN ('sent', 'answered', 'uncertain', 'refused')),
    attempt         integer     NOT NULL DEFAULT 1,
    lease_until     timestamptz,
    answer          text,
    provider_id     text,                               -- a message sid, a job id
    provider_status text,                               -- what the provider reported of it since
    error_code      text,
    error           text,
    model           text,
    tokens_in       bigint      NOT NULL DEFAULT 0,
    tokens_out      bigint      NOT NULL DEFAULT 0,
    cost_micros     bigint      NOT NULL DEFAULT 0,
    took_us         bigint      NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (event_id, stage, run, name),
    CHECK (kind = 'again' OR (recipient IS NOT NULL AND purpose IS NOT NULL AND subject IS NOT NULL AND version IS NOT NULL))
);
CREATE UNIQUE INDEX asks_purpose ON asks (recipient, purpose, subject, version, resend) WHERE kind = 'once';
CREATE INDEX asks_provider_id ON asks (provider, provider_id) WHERE provider_id IS NOT NULL;
CREATE INDEX asks_correlation ON asks (correlation_id);

-- Events that wait longer than a key may be held: in order within their key, resumed by a sweep.
CREATE TABLE parked (
    stage       text        NOT NULL,
    subject     text        NOT NULL,
    number      bigint      GENERATED ALWAYS AS IDENTITY,
    event_id    uuid        NOT NULL,
    run         integer     NOT NULL,
    topic       text        NOT NULL,
    day         date        NOT NULL,                   -- of the ledger row that says it is parked
    message     text        NOT NULL,
    tenant      text,
    why         text        NOT NULL,
    attempts    integer     NOT NULL,
    first_at    timestamptz NOT NULL,                   -- when it was first tried: the limit counts from here
    resume_at   timestamptz NOT NULL,
    parked_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stage, subject, number),
    UNIQUE (stage, event_id, run)
);
CREATE INDEX parked_due ON parked (stage, resume_at);

-- Events that were being worked on when the process crashed.  At three the event is rejected unseen.
CREATE TABLE crashes (
    stage       text        NOT NULL,
    event_id    uuid        NOT NULL,
    run         integer     NOT NULL,
    count       integer     NOT NULL DEFAULT 1,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stage, event_id, run)
);

-- Model calls, as an operator counts them.
CREATE VIEW llm_calls WITH (security_invoker = true) AS
    SELECT ask_id AS llm_call_id, tenant, stage, event_id, run, name, provider, model, state, attempt, tokens_in, tokens_out,
           cost_micros, took_us, error, created_at, updated_at
    FROM asks WHERE tokens_in > 0 OR tokens_out > 0 OR name LIKE 'llm%';

-- Row-level security: a stage sees everything, the API one tenant at a time ('*': a platform administrator).
CREATE FUNCTION protect(tables text[], writers text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    of_table text;
    writer text;
BEGIN
    FOREACH of_table IN ARRAY tables LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', of_table);
        EXECUTE format('CREATE POLICY api ON %I FOR SELECT TO switchboard_api USING '
                       '(tenant = current_setting(''switchboard.tenant'', true) OR current_setting(''switchboard.tenant'', true) = ''*'')',
                       of_table);
        EXECUTE format('GRANT SELECT ON %I TO switchboard_api, switchboard_ingest, switchboard_transcribe, switchboard_analyze, '
                       'switchboard_vision, switchboard_notifier', of_table);
        EXECUTE format('CREATE POLICY stages ON %I FOR SELECT TO switchboard_ingest, switchboard_transcribe, switchboard_analyze, '
                       'switchboard_vision, switchboard_notifier USING (true)', of_table);
        FOREACH writer IN ARRAY writers LOOP
            EXECUTE format('GRANT INSERT, UPDATE, DELETE ON %I TO %I', of_table, writer);
            EXECUTE format('CREATE POLICY %I ON %I FOR ALL TO %I USING (true) WITH CHECK (true)', 'writer_' || writer, of_table, writer);
        END LOOP;
    END LOOP;
END $$;
SELECT protect(ARRAY['ledger', 'emitted', 'asks', 'parked'],
               ARRAY['switchboard_ingest', 'switchboard_transcribe', 'switchboard_analyze', 'switchboard_vision', 'switchboard_notifier']);
GRANT SELECT, INSERT, UPDATE, DELETE ON crashes
    TO switchboard_ingest, switchboard_transcribe, switchboard_analyze, switchboard_vision, switchboard_notifier;
GRANT SELECT ON llm_calls TO switchboard_api, switchboard_ingest, switchboard_analyze;
REVOKE EXECUTE ON FUNCTION protect(text[], text[]), runtime_partitions(integer, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION runtime_partitions(integer, integer)
    TO switchboard_ingest, switchboard_transcribe, switchboard_analyze, switchboard_vision, switchboard_notifier;
