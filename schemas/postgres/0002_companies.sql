-- Companies and the people in them.  Owner: ingest; written by sb and, later, by the API through the recorder.

CREATE TABLE companies (
    tenant              text        PRIMARY KEY CHECK (tenant ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    name                text        NOT NULL,
    time_zone           text        NOT NULL DEFAULT 'UTC',
    default_region      text        NOT NULL DEFAULT 'US' CHECK (default_region ~ '^[A-Z]{2}$'),
    callrail_keys       text,                           -- its own account's signing keys, comma-separated; null: the shared ones
    alert_whatsapp      boolean     NOT NULL DEFAULT true,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now()
);
-- Calls to numbers nobody owns wait here until the number is assigned.
INSERT INTO companies (tenant, name, alert_whatsapp) VALUES ('unassigned', 'Unassigned numbers', false);

CREATE TABLE tracking_numbers (
    number      text        PRIMARY KEY CHECK (number ~ '^\+[1-9][0-9]{6,14}$'),
    tenant      text        NOT NULL REFERENCES companies (tenant),
    label       text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE users (
    tenant      text        NOT NULL REFERENCES companies (tenant),
    email       text        NOT NULL CHECK (email = lower(email) AND email LIKE '%_@_%'),
    user_id     text        NOT NULL UNIQUE,
    name        text        NOT NULL,
    phone       text        CHECK (phone ~ '^\+[1-9][0-9]{6,14}$'),
    role        text        NOT NULL CHECK (role IN ('platform', 'admin', 'exec', 'csr', 'rep', 'owner', 'station')),
    answers     text        CHECK (answers ~ '^\+[1-9][0-9]{6,14}$'),   -- the number this person picks up
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, email)
);
CREATE UNIQUE INDEX users_answers ON users (tenant, answers) WHERE answers IS NOT NULL;

-- Bearer tokens: only their SHA-256 is kept.
CREATE TABLE api_tokens (
    token_hash  bytea       PRIMARY KEY CHECK (length(token_hash) = 32),
    token_id    uuid        NOT NULL UNIQUE,
    tenant      text        NOT NULL REFERENCES companies (tenant),
    email       text,
    role        text        NOT NULL CHECK (role IN ('platform', 'admin', 'exec', 'csr', 'rep', 'owner', 'station')),
    label       text        NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz,
    revoked_at  timestamptz,
    FOREIGN KEY (tenant, email) REFERENCES users (tenant, email)
);

SELECT protect(ARRAY['companies', 'tracking_numbers', 'users', 'api_tokens'], ARRAY['switchboard_ingest']);
REVOKE SELECT ON companies, api_tokens FROM switchboard_api, switchboard_transcribe, switchboard_analyze, switchboard_vision, switchboard_notifier;
GRANT SELECT (tenant, name, time_zone, default_region, alert_whatsapp, created_at, updated_at) ON companies
    TO switchboard_api, switchboard_transcribe, switchboard_analyze, switchboard_vision, switchboard_notifier;

-- Whose token has this SHA-256 (hex).  The API knows a token by its hash alone, and sees none it was not shown.
CREATE FUNCTION token_of(hash text) RETURNS TABLE (tenant text, role text, state text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT t.tenant, t.role,
           CASE WHEN t.revoked_at IS NOT NULL THEN 'revoked' WHEN t.expires_at <= now() THEN 'expired' ELSE 'valid' END
    FROM api_tokens t WHERE t.token_hash = decode(hash, 'hex')
$$;
REVOKE EXECUTE ON FUNCTION token_of(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION token_of(text) TO switchboard_api;
