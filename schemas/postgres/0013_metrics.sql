-- The figures of CSRs and reps, and how long lists are.  Owner: the triggers below; nobody else writes them.
--
-- They are kept by the company's day and person, and changed in the transaction that changes what they count: calls and what was
-- understood of them, appointments, visits.  So they are right at any moment, and an overview reads a row per day and person
-- instead of the calls.  Two transactions that count at once do not wait for each other: each has a lane, and a figure is the sum
-- of its lanes.

CREATE TABLE csr_days (
    tenant              text    NOT NULL,
    day                 date    NOT NULL,               -- of the company's time zone, by calls.call_at
    csr_user_id         text    NOT NULL DEFAULT '',    -- '': nobody is known to have taken it
    lane                integer NOT NULL,
    total_calls         bigint  NOT NULL DEFAULT 0,
    answered_calls      bigint  NOT NULL DEFAULT 0,
    missed_calls        bigint  NOT NULL DEFAULT 0,
    booked_calls        bigint  NOT NULL DEFAULT 0,
    hot                 bigint  NOT NULL DEFAULT 0,
    warm                bigint  NOT NULL DEFAULT 0,
    cold                bigint  NOT NULL DEFAULT 0,
    sentiment_micros    bigint  NOT NULL DEFAULT 0,     -- the sum, in millionths: whole numbers do not drift
    sop_micros          bigint  NOT NULL DEFAULT 0,
    sop_calls           bigint  NOT NULL DEFAULT 0,     -- that have a score
    PRIMARY KEY (tenant, day, csr_user_id, lane)
) WITH (fillfactor = 70);

-- Calls in which an objection of the category was raised.
CREATE TABLE objection_days (
    tenant      text    NOT NULL,
    day         date    NOT NULL,
    csr_user_id text    NOT NULL DEFAULT '',
    category    text    NOT NULL,
    lane        integer NOT NULL,
    calls       bigint  NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, day, csr_user_id, category, lane)
) WITH (fillfactor = 70);

CREATE TABLE rep_days (
    tenant          text    NOT NULL,
    day             date    NOT NULL,                   -- of the appointment, else when it was made; of a visit's start
    rep_user_id     text    NOT NULL DEFAULT '',
    lane            integer NOT NULL,
    appointments    bigint  NOT NULL DEFAULT 0,
    visits          bigint  NOT NULL DEFAULT 0,
    won             bigint  NOT NULL DEFAULT 0,
    lost            bigint  NOT NULL DEFAULT 0,
    pending         bigint  NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, day, rep_user_id, lane)
) WITH (fillfactor = 70);

-- How many rows a list has: calls by the company's day, leads.  A list tells its total with each page.
CREATE TABLE call_days (
    tenant      text    NOT NULL,
    day         date    NOT NULL,                       -- as in csr_days
    status      text    NOT NULL,
    to_call     boolean NOT NULL,                       -- missed, and not called back
    lane        integer NOT NULL,
    calls       bigint  NOT NULL,
    PRIMARY KEY (tenant, day, status, to_call, lane)
) WITH (fillfactor = 70);
CREATE TABLE lead_counts (
    tenant      text    NOT NULL,
    status      text    NOT NULL,
    lane        integer NOT NULL,
    leads       bigint  NOT NULL,
    PRIMARY KEY (tenant, status, lane)
) WITH (fillfactor = 20);

-- --- counting -----------------------------------------------------------------------------------------------------------

-- The lane of this transaction: nobody else counts in it until the end.  With as many at once as there are lanes, one waits.
CREATE FUNCTION metrics_lanes() RETURNS integer LANGUAGE sql IMMUTABLE RETURN 16;
CREATE FUNCTION metrics_lane() RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    of_metrics CONSTANT integer := hashtext('switchboard metrics');
BEGIN
    FOR lane IN 0 .. metrics_lanes() - 1 LOOP
        IF pg_try_advisory_xact_lock(of_metrics, lane) THEN
            RETURN lane;
        END IF;
    END LOOP;
    PERFORM pg_advisory_xact_lock(of_metrics, pg_backend_pid() % metrics_lanes());
    RETURN pg_backend_pid() % metrics_lanes();
END $$;

CREATE FUNCTION company_day(of_tenant text, at timestamptz) RETURNS date LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT (at AT TIME ZONE time_zone)::date FROM companies WHERE tenant = of_tenant
$$;

-- The first moment of a day somewhere.  Where clocks go back over midnight it comes twice, and the first one counts.
CREATE FUNCTION day_begins(day date, of_time_zone text) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT min(moment) FROM (SELECT day::timestamp AT TIME ZONE of_time_zone AS midnight) m,
         unnest(ARRAY[midnight, midnight - interval '30 minutes', midnight - interval '1 hour']) AS moment
    WHERE moment = midnight OR (moment AT TIME ZONE of_time_zone)::date >= day
$$;

-- What one call counts for; `sign` takes it away again.  Only calls of CSRs: other sources have figures of their own.
CREATE FUNCTION csr_count(c calls, a call_analyses, sign integer) RETURNS void LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    of_lane integer := metrics_lane();                  -- first: what is read from here on stays as it is
    of_day date := company_day(c.tenant, c.call_at);
    of_csr text := coalesce(c.csr_user_id, '');
BEGIN
    INSERT INTO csr_days AS d VALUES (
        c.tenant, of_day, of_csr, of_lane, sign,
        sign * (c.status IN ('in_progress', 'completed'))::integer, sign * (c.status = 'missed')::integer,
        sign * (a.booking_status IS NOT DISTINCT FROM 'booked')::integer, sign * (a.lead_qualification IS NOT DISTINCT FROM 'hot')::integer,
        sign * (a.lead_qualification IS NOT DISTINCT FROM 'warm')::integer, sign * (a.lead_qualification IS NOT DISTINCT FROM 'cold')::integer,
        sign * coalesce(round(a.sentiment_score::numeric * 1000000), 0)::bigint,
        sign * coalesce(round(a.sop_score::numeric * 1000000), 0)::bigint, sign * (a.sop_score IS NOT NULL)::integer)
    ON CONFLICT (tenant, day, csr_user_id, lane) DO UPDATE SET
        total_calls = d.total_calls + EXCLUDED.total_calls, answered_calls = d.answered_calls + EXCLUDED.answered_calls,
        missed_calls = d.missed_calls + EXCLUDED.missed_calls, booked_calls = d.booked_calls + EXCLUDED.booked_calls,
        hot = d.hot + EXCLUDED.hot, warm = d.warm + EXCLUDED.warm, cold = d.cold + EXCLUDED.cold,
        sentiment_micros = d.sentiment_micros + EXCLUDED.sentiment_micros, sop_micros = d.sop_micros + EXCLUDED.sop_micros,
        sop_calls = d.sop_calls + EXCLUDED.sop_calls;
    INSERT INTO objection_days AS d (tenant, day, csr_user_id, category, lane, calls)
        SELECT c.tenant, of_day, of_csr, category, of_lane, sign
        FROM (SELECT DISTINCT o ->> 'category' AS category FROM jsonb_array_elements(a.objections) AS o) raised
        WHERE category IS NOT NULL
    ON CONFLICT (tenant, day, csr_user_id, category, lane) DO UPDATE SET calls = d.calls + EXCLUDED.calls;
END $$;

-- A call moves (to another time, person, company) with what was understood of it.
CREATE FUNCTION csr_count_call() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    a call_analyses;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        SELECT * INTO a FROM call_analyses WHERE tenant IN (OLD.tenant, NEW.tenant) AND call_id = NEW.call_id;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        PERFORM csr_count(OLD, a, -1);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM csr_count(NEW, a, 1);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER csr_count_new AFTER INSERT ON calls FOR EACH ROW WHEN (NEW.source = 'callrail') EXECUTE FUNCTION csr_count_call();
CREATE TRIGGER csr_count_gone AFTER DELETE ON calls FOR EACH ROW WHEN (OLD.source = 'callrail') EXECUTE FUNCTION csr_count_call();
CREATE TRIGGER csr_count_changed AFTER UPDATE ON calls FOR EACH ROW
    WHEN (NEW.source = 'callrail' AND (OLD.tenant, OLD.status, OLD.csr_user_id, OLD.call_at)
          IS DISTINCT FROM (NEW.tenant, NEW.status, NEW.csr_user_id, NEW.call_at))
    EXECUTE FUNCTION csr_count_call();

-- What is understood of a call counts where the call does now.
CREATE FUNCTION csr_count_analysis() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    c calls;
    nothing call_analyses;
BEGIN
    -- the call stays as it is until this is done: were it changed meanwhile, both would take away what was there before
    SELECT * INTO c FROM calls WHERE tenant = coalesce(NEW.tenant, OLD.tenant) AND call_id = coalesce(NEW.call_id, OLD.call_id) FOR SHARE;
    IF c.source = 'callrail' THEN
        PERFORM csr_count(c, CASE TG_OP WHEN 'INSERT' THEN nothing ELSE OLD END, -1);
        PERFORM csr_count(c, CASE TG_OP WHEN 'DELETE' THEN nothing ELSE NEW END, 1);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER csr_count_new AFTER INSERT OR DELETE ON call_analyses FOR EACH ROW EXECUTE FUNCTION csr_count_analysis();
CREATE TRIGGER csr_count_changed AFTER UPDATE ON call_analyses FOR EACH ROW
    WHEN ((OLD.booking_status, OLD.lead_qualification, OLD.sentiment_score, OLD.sop_score, OLD.objections)
          IS DISTINCT FROM (NEW.booking_status, NEW.lead_qualification, NEW.sentiment_score, NEW.sop_score, NEW.objections))
    EXECUTE FUNCTION csr_count_analysis();

CREATE FUNCTION call_count(c calls, sign integer) RETURNS void LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    of_lane integer := metrics_lane();
BEGIN
    INSERT INTO call_days AS d VALUES (c.tenant, company_day(c.tenant, c.call_at), c.status,
                                       c.status = 'missed' AND c.callback_done_at IS NULL, of_lane, sign)
    ON CONFLICT (tenant, day, status, to_call, lane) DO UPDATE SET calls = d.calls + EXCLUDED.calls;
END $$;
CREATE FUNCTION call_count_row() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM call_count(OLD, -1);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM call_count(NEW, 1);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER call_count_new AFTER INSERT OR DELETE ON calls FOR EACH ROW EXECUTE FUNCTION call_count_row();
CREATE TRIGGER call_count_changed AFTER UPDATE ON calls FOR EACH ROW
    WHEN ((OLD.tenant, OLD.status, OLD.call_at, OLD.callback_done_at IS NULL)
          IS DISTINCT FROM (NEW.tenant, NEW.status, NEW.call_at, NEW.callback_done_at IS NULL))
    EXECUTE FUNCTION call_count_row();

CREATE FUNCTION lead_count(l leads, sign integer) RETURNS void LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO lead_counts AS c VALUES (l.tenant, l.status, metrics_lane(), sign)
    ON CONFLICT (tenant, status, lane) DO UPDATE SET leads = c.leads + EXCLUDED.leads;
END $$;
CREATE FUNCTION lead_count_row() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM lead_count(OLD, -1);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM lead_count(NEW, 1);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER lead_count_new AFTER INSERT OR DELETE ON leads FOR EACH ROW EXECUTE FUNCTION lead_count_row();
CREATE TRIGGER lead_count_changed AFTER UPDATE ON leads FOR EACH ROW
    WHEN ((OLD.tenant, OLD.status) IS DISTINCT FROM (NEW.tenant, NEW.status)) EXECUTE FUNCTION lead_count_row();

-- An appointment without an agreed time counts on the day on which it was made; one that was called off waits for nothing.
CREATE FUNCTION rep_count(a appointments, sign integer) RETURNS void LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    of_lane integer := metrics_lane();
BEGIN
    INSERT INTO rep_days AS d (tenant, day, rep_user_id, lane, appointments, won, lost, pending) VALUES (
        a.tenant, company_day(a.tenant, coalesce(a.scheduled_start, a.created_at)), coalesce(a.assigned_rep_id, ''), of_lane,
        sign, sign * (a.outcome = 'won')::integer, sign * (a.outcome = 'lost')::integer,
        sign * (a.outcome = 'pending' AND a.status NOT IN ('cancelled', 'no_show'))::integer)
    ON CONFLICT (tenant, day, rep_user_id, lane) DO UPDATE SET
        appointments = d.appointments + EXCLUDED.appointments, won = d.won + EXCLUDED.won, lost = d.lost + EXCLUDED.lost,
        pending = d.pending + EXCLUDED.pending;
END $$;
CREATE FUNCTION rep_count_appointment() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM rep_count(OLD, -1);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM rep_count(NEW, 1);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER rep_count_new AFTER INSERT OR DELETE ON appointments FOR EACH ROW EXECUTE FUNCTION rep_count_appointment();
CREATE TRIGGER rep_count_changed AFTER UPDATE ON appointments FOR EACH ROW
    WHEN ((OLD.tenant, OLD.scheduled_start, OLD.created_at, OLD.assigned_rep_id, OLD.outcome, OLD.status)
          IS DISTINCT FROM (NEW.tenant, NEW.scheduled_start, NEW.created_at, NEW.assigned_rep_id, NEW.outcome, NEW.status))
    EXECUTE FUNCTION rep_count_appointment();

CREATE FUNCTION rep_count_visit(s recording_sessions, sign integer) RETURNS void LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    of_lane integer := metrics_lane();
BEGIN
    INSERT INTO rep_days AS d (tenant, day, rep_user_id, lane, visits)
        VALUES (s.tenant, company_day(s.tenant, s.started_at), coalesce(s.rep_user_id, ''), of_lane, sign)
    ON CONFLICT (tenant, day, rep_user_id, lane) DO UPDATE SET visits = d.visits + EXCLUDED.visits;
END $$;
CREATE FUNCTION rep_count_session() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM rep_count_visit(OLD, -1);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM rep_count_visit(NEW, 1);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER rep_count_new AFTER INSERT OR DELETE ON recording_sessions FOR EACH ROW EXECUTE FUNCTION rep_count_session();
CREATE TRIGGER rep_count_changed AFTER UPDATE ON recording_sessions FOR EACH ROW
    WHEN ((OLD.tenant, OLD.started_at, OLD.rep_user_id) IS DISTINCT FROM (NEW.tenant, NEW.started_at, NEW.rep_user_id))
    EXECUTE FUNCTION rep_count_session();

-- Counts a company anew (NULL: all): its days are others when its time zone is, and rows may have been put there with triggers off.
-- Waits for those who count, and holds them up.
CREATE FUNCTION metrics_recount(of_tenant text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    FOR lane IN 0 .. metrics_lanes() - 1 LOOP
        PERFORM pg_advisory_xact_lock(hashtext('switchboard metrics'), lane);
    END LOOP;
    DELETE FROM csr_days WHERE of_tenant IS NULL OR tenant = of_tenant;
    DELETE FROM objection_days WHERE of_tenant IS NULL OR tenant = of_tenant;
    DELETE FROM rep_days WHERE of_tenant IS NULL OR tenant = of_tenant;
    DELETE FROM call_days WHERE of_tenant IS NULL OR tenant = of_tenant;
    DELETE FROM lead_counts WHERE of_tenant IS NULL OR tenant = of_tenant;
    INSERT INTO call_days
        SELECT c.tenant, (c.call_at AT TIME ZONE co.time_zone)::date, c.status, c.status = 'missed' AND c.callback_done_at IS NULL, 0, count(*)
        FROM calls c JOIN companies co ON co.tenant = c.tenant WHERE of_tenant IS NULL OR c.tenant = of_tenant GROUP BY 1, 2, 3, 4;
    INSERT INTO lead_counts SELECT tenant, status, 0, count(*) FROM leads WHERE of_tenant IS NULL OR tenant = of_tenant GROUP BY 1, 2;
    INSERT INTO csr_days
        SELECT c.tenant, (c.call_at AT TIME ZONE co.time_zone)::date, coalesce(c.csr_user_id, ''), 0, count(*),
               count(*) FILTER (WHERE c.status IN ('in_progress', 'completed')), count(*) FILTER (WHERE c.status = 'missed'),
               count(*) FILTER (WHERE a.booking_status = 'booked'), count(*) FILTER (WHERE a.lead_qualification = 'hot'),
               count(*) FILTER (WHERE a.lead_qualification = 'warm'), count(*) FILTER (WHERE a.lead_qualification = 'cold'),
               coalesce(sum(round(a.sentiment_score::numeric * 1000000)), 0), coalesce(sum(round(a.sop_score::numeric * 1000000)), 0),
               count(a.sop_score)
        FROM calls c JOIN companies co ON co.tenant = c.tenant
        LEFT JOIN call_analyses a ON a.tenant = c.tenant AND a.call_id = c.call_id
        WHERE c.source = 'callrail' AND (of_tenant IS NULL OR c.tenant = of_tenant) GROUP BY 1, 2, 3;
    INSERT INTO objection_days
        SELECT tenant, day, csr, category, 0, count(*)
        FROM (SELECT DISTINCT c.tenant, (c.call_at AT TIME ZONE co.time_zone)::date AS day, coalesce(c.csr_user_id, '') AS csr, c.call_id,
                     o ->> 'category' AS category
              FROM calls c JOIN companies co ON co.tenant = c.tenant JOIN call_analyses a ON a.tenant = c.tenant AND a.call_id = c.call_id,
                   jsonb_array_elements(a.objections) AS o
              WHERE c.source = 'callrail' AND (of_tenant IS NULL OR c.tenant = of_tenant)) raised
        WHERE category IS NOT NULL GROUP BY 1, 2, 3, 4;
    INSERT INTO rep_days (tenant, day, rep_user_id, lane, appointments, visits, won, lost, pending)
        SELECT tenant, day, rep, 0, sum(appointments), sum(visits), sum(won), sum(lost), sum(pending)
        FROM (SELECT a.tenant, (coalesce(a.scheduled_start, a.created_at) AT TIME ZONE co.time_zone)::date AS day,
                     coalesce(a.assigned_rep_id, '') AS rep, 1 AS appointments, 0 AS visits, (a.outcome = 'won')::integer AS won,
                     (a.outcome = 'lost')::integer AS lost,
                     (a.outcome = 'pending' AND a.status NOT IN ('cancelled', 'no_show'))::integer AS pending
              FROM appointments a JOIN companies co ON co.tenant = a.tenant
              UNION ALL
              SELECT s.tenant, (s.started_at AT TIME ZONE co.time_zone)::date, coalesce(s.rep_user_id, ''), 0, 1, 0, 0, 0
              FROM recording_sessions s JOIN companies co ON co.tenant = s.tenant) counted
        WHERE of_tenant IS NULL OR tenant = of_tenant GROUP BY 1, 2, 3;
END $$;
CREATE FUNCTION companies_recount() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM metrics_recount(NEW.tenant);
    RETURN NULL;
END $$;
CREATE TRIGGER companies_recount AFTER UPDATE OF time_zone ON companies FOR EACH ROW
    WHEN (OLD.time_zone IS DISTINCT FROM NEW.time_zone) EXECUTE FUNCTION companies_recount();
SELECT metrics_recount(NULL);

-- --- reading ------------------------------------------------------------------------------------------------------------
-- Under row-level security the keys' indexes would not be used: these take the company from the session.  Those that give one row say
-- so: planned as if they gave a thousand, an overview would take ten times as long.

-- The company that is asked for: a session of one company may name none but it.
CREATE FUNCTION metrics_company(wanted text) RETURNS text LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT co.tenant FROM companies co, current_setting('switchboard.tenant', true) AS session
    WHERE co.tenant = CASE WHEN session = '*' OR session = wanted THEN wanted WHEN wanted IS NULL THEN session END
$$;

-- The days that are asked for, in the company's time zone; those that are not named make it the last 30.  No row: no such company.
CREATE FUNCTION metrics_days(wanted_company text, wanted_first date, wanted_last date)
    RETURNS TABLE (tenant text, time_zone text, first_day date, last_day date, days integer)
    LANGUAGE sql STABLE ROWS 1 SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT co.tenant, co.time_zone, chosen.first_day, chosen.last_day, chosen.last_day - chosen.first_day + 1
    FROM companies co, LATERAL (SELECT (now() AT TIME ZONE co.time_zone)::date AS day) today,
         LATERAL (SELECT coalesce(wanted_last, greatest(today.day, wanted_first)) AS last_day) ending,
         LATERAL (SELECT coalesce(wanted_first, greatest(ending.last_day - 29, '0001-01-01')) AS first_day, ending.last_day) chosen
    WHERE co.tenant = metrics_company(wanted_company)
$$;

-- A share, and a mean of millionths, to four digits.  No calls: a share of 0, and no mean.
CREATE FUNCTION metrics_rate(part numeric, whole numeric) RETURNS numeric LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN whole > 0 THEN trim_scale(round(part / whole, 4)) ELSE 0 END;
CREATE FUNCTION metrics_mean(sum_micros numeric, count numeric) RETURNS numeric LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN count > 0 THEN trim_scale(round(sum_micros / count / 1000000, 4)) END;

-- How many there are, for the session's company, or for all with '*'.  NULL: whatever it is.
CREATE FUNCTION calls_total(first_day date, last_day date, of_status text, of_callback text) RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT coalesce(sum(d.calls), 0)::bigint FROM call_days d, current_setting('switchboard.tenant', true) AS session
    WHERE (d.tenant = session OR session = '*') AND d.day BETWEEN coalesce(first_day, '-infinity') AND coalesce(last_day, 'infinity')
      AND (of_status IS NULL OR d.status = of_status)
      AND (of_callback IS NULL OR (d.status = 'missed' AND d.to_call = (of_callback = 'open')))
$$;
CREATE FUNCTION leads_total(of_statuses text[]) RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT coalesce(sum(c.leads), 0)::bigint FROM lead_counts c, current_setting('switchboard.tenant', true) AS session
    WHERE (c.tenant = session OR session = '*') AND (of_statuses IS NULL OR c.status = ANY (of_statuses))
$$;

-- --- of CSRs

-- What is told of calls, whoever's, from their sums.
CREATE FUNCTION csr_figures(total numeric, answered numeric, missed numeric, booked numeric, hot numeric, warm numeric, cold numeric,
                            sentiment numeric, sop numeric, scored numeric)
    RETURNS TABLE (total_calls bigint, answered_calls bigint, missed_calls bigint, booked_calls bigint, booking_rate numeric,
                   qualified_calls json, qualification_rate numeric, mean_sentiment numeric, mean_sop_score numeric)
    LANGUAGE sql IMMUTABLE ROWS 1 AS $$
    SELECT coalesce(total, 0)::bigint, coalesce(answered, 0)::bigint, coalesce(missed, 0)::bigint, coalesce(booked, 0)::bigint,
           metrics_rate(booked, answered),
           json_build_object('hot', coalesce(hot, 0)::bigint, 'warm', coalesce(warm, 0)::bigint, 'cold', coalesce(cold, 0)::bigint),
           metrics_rate(hot + warm, hot + warm + cold), metrics_mean(sentiment, hot + warm + cold), metrics_mean(sop, scored)
$$;

-- Of a company, or of one user in it.
CREATE FUNCTION csr_totals(of_company text, of_user text, first_day date, last_day date)
    RETURNS TABLE (total_calls bigint, answered_calls bigint, missed_calls bigint, booked_calls bigint, booking_rate numeric,
                   qualified_calls json, qualification_rate numeric, mean_sentiment numeric, mean_sop_score numeric)
    LANGUAGE sql STABLE ROWS 1 SET search_path = public, pg_temp AS $$
    SELECT f.* FROM (
        SELECT sum(d.total_calls) AS total, sum(d.answered_calls) AS answered, sum(d.missed_calls) AS missed, sum(d.booked_calls) AS booked,
               sum(d.hot) AS hot, sum(d.warm) AS warm, sum(d.cold) AS cold, sum(d.sentiment_micros) AS sentiment,
               sum(d.sop_micros) AS sop, sum(d.sop_calls) AS scored
        FROM csr_days d WHERE d.tenant = of_company AND d.day BETWEEN first_day AND last_day
          AND (of_user IS NULL OR d.csr_user_id = of_user)) s,
        csr_figures(total, answered, missed, booked, hot, warm, cold, sentiment, sop, scored) f
$$;

CREATE FUNCTION csr_trend(of_company text, of_user text, first_day date, last_day date) RETURNS json
    LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    WITH counted AS MATERIALIZED (
        SELECT d.day, sum(d.total_calls) AS total, sum(d.answered_calls) AS answered, sum(d.missed_calls) AS missed, sum(d.booked_calls) AS booked
        FROM csr_days d WHERE d.tenant = of_company AND d.day BETWEEN first_day AND last_day
          AND (of_user IS NULL OR d.csr_user_id = of_user) GROUP BY d.day)
    SELECT json_agg(trend ORDER BY trend.day) FROM (
        SELECT days.day::date AS day, coalesce(c.total, 0)::bigint AS total_calls, coalesce(c.answered, 0)::bigint AS answered_calls,
               coalesce(c.missed, 0)::bigint AS missed_calls, coalesce(c.booked, 0)::bigint AS booked_calls
        FROM generate_series(first_day::timestamp, last_day::timestamp, interval '1 day') AS days (day)
        LEFT JOIN counted c ON c.day = days.day::date) trend
$$;

-- By how many calls each was raised in.
CREATE FUNCTION csr_objections(of_company text, of_user text, first_day date, last_day date) RETURNS json
    LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT coalesce(json_agg(top ORDER BY top.calls DESC, top.category), '[]') FROM (
        SELECT d.category, sum(d.calls)::bigint AS calls FROM objection_days d
        WHERE d.tenant = of_company AND d.day BETWEEN first_day AND last_day AND (of_user IS NULL OR d.csr_user_id = of_user)
        GROUP BY d.category HAVING sum(d.calls) > 0 ORDER BY 2 DESC, 1 LIMIT 10) top
$$;

-- A row for each CSR, for whoever else took calls, and for the calls that nobody is known to have taken.
CREATE FUNCTION csr_people(of_company text, first_day date, last_day date) RETURNS json
    LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT json_agg(person ORDER BY person.user_id IS NULL, person.name, person.user_id) FROM (
        SELECT nullif(p.user_id, '') AS user_id, CASE p.user_id WHEN '' THEN 'unattributed' ELSE coalesce(u.name, p.user_id) END AS name, f.*
        FROM (SELECT '' AS user_id
              UNION SELECT user_id FROM users WHERE tenant = of_company AND role = 'csr'
              UNION SELECT csr_user_id FROM csr_days WHERE tenant = of_company AND day BETWEEN first_day AND last_day
                    GROUP BY csr_user_id HAVING sum(total_calls) > 0) p
        LEFT JOIN users u ON u.user_id = p.user_id
        LEFT JOIN (SELECT d.csr_user_id, sum(d.total_calls) AS total, sum(d.answered_calls) AS answered, sum(d.missed_calls) AS missed,
                          sum(d.booked_calls) AS booked, sum(d.hot) AS hot, sum(d.warm) AS warm, sum(d.cold) AS cold,
                          sum(d.sentiment_micros) AS sentiment, sum(d.sop_micros) AS sop, sum(d.sop_calls) AS scored
                   FROM csr_days d WHERE d.tenant = of_company AND d.day BETWEEN first_day AND last_day GROUP BY 1) s
             ON s.csr_user_id = p.user_id,
        csr_figures(s.total, s.answered, s.missed, s.booked, s.hot, s.warm, s.cold, s.sentiment, s.sop, s.scored) f) person
$$;

-- The answers of /metrics/csr/overview/self and /metrics/exec/csr/overview.
CREATE FUNCTION csr_overview_self(wanted_company text, of_user text, wanted_first date, wanted_last date) RETURNS json
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT row_to_json(overview) FROM (
        SELECT a.tenant, a.time_zone, a.first_day AS "from", a.last_day AS "to", u.user_id, u.name, t.*,
               csr_objections(a.tenant, u.user_id, a.first_day, a.last_day) AS top_objections,
               csr_trend(a.tenant, u.user_id, a.first_day, a.last_day) AS daily_trend
        FROM metrics_days(wanted_company, wanted_first, wanted_last) a JOIN users u ON u.tenant = a.tenant AND u.user_id = of_user,
             csr_totals(a.tenant, u.user_id, a.first_day, a.last_day) t) overview
$$;
CREATE FUNCTION csr_overview_all(wanted_company text, wanted_first date, wanted_last date) RETURNS json
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT row_to_json(overview) FROM (
        SELECT a.tenant, a.time_zone, a.first_day AS "from", a.last_day AS "to", t.*,
               csr_objections(a.tenant, NULL, a.first_day, a.last_day) AS top_objections,
               csr_trend(a.tenant, NULL, a.first_day, a.last_day) AS daily_trend, csr_people(a.tenant, a.first_day, a.last_day) AS csrs
        FROM metrics_days(wanted_company, wanted_first, wanted_last) a, csr_totals(a.tenant, NULL, a.first_day, a.last_day) t) overview
$$;

-- --- of reps

-- Today's and later ones are found by their time; those that were called off are not ahead of anybody.
CREATE INDEX appointments_ahead ON appointments (tenant, scheduled_start) INCLUDE (assigned_rep_id)
    WHERE status NOT IN ('cancelled', 'no_show');
CREATE FUNCTION rep_ahead(of_company text, of_time_zone text)
    RETURNS TABLE (user_id text, appointments_today bigint, appointments_ahead bigint)
    LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    WITH today AS MATERIALIZED (                        -- once, and not for each appointment
        SELECT day_begins(day, of_time_zone) AS begins, day_begins(day + 1, of_time_zone) AS ends
        FROM (SELECT (now() AT TIME ZONE of_time_zone)::date AS day) d)
    SELECT coalesce(a.assigned_rep_id, ''), count(*) FILTER (WHERE a.scheduled_start < (SELECT ends FROM today)),
           count(*) FILTER (WHERE a.scheduled_start >= (SELECT ends FROM today))
    FROM appointments a
    WHERE a.tenant = of_company AND a.status NOT IN ('cancelled', 'no_show') AND a.scheduled_start >= (SELECT begins FROM today)
    GROUP BY 1
$$;

CREATE FUNCTION rep_figures(today numeric, ahead numeric, made numeric, visited numeric, won numeric, lost numeric, pending numeric)
    RETURNS TABLE (appointments_today bigint, appointments_ahead bigint, appointments bigint, visits bigint, won bigint, lost bigint,
                   pending bigint, win_rate numeric)
    LANGUAGE sql IMMUTABLE ROWS 1 AS $$
    SELECT coalesce(today, 0)::bigint, coalesce(ahead, 0)::bigint, coalesce(made, 0)::bigint, coalesce(visited, 0)::bigint,
           coalesce($5, 0)::bigint, coalesce($6, 0)::bigint, coalesce($7, 0)::bigint, metrics_rate($5, $5 + $6)
$$;

CREATE FUNCTION rep_totals(of_company text, of_time_zone text, of_user text, first_day date, last_day date)
    RETURNS TABLE (appointments_today bigint, appointments_ahead bigint, appointments bigint, visits bigint, won bigint, lost bigint,
                   pending bigint, win_rate numeric)
    LANGUAGE sql STABLE ROWS 1 SET search_path = public, pg_temp AS $$
    SELECT f.* FROM (
        SELECT sum(r.appointments_today) AS today, sum(r.appointments_ahead) AS ahead FROM rep_ahead(of_company, of_time_zone) r
        WHERE of_user IS NULL OR r.user_id = of_user) n, (
        SELECT sum(d.appointments) AS made, sum(d.visits) AS visited, sum(d.won) AS won, sum(d.lost) AS lost, sum(d.pending) AS pending
        FROM rep_days d WHERE d.tenant = of_company AND d.day BETWEEN first_day AND last_day
          AND (of_user IS NULL OR d.rep_user_id = of_user)) s,
        rep_figures(n.today, n.ahead, s.made, s.visited, s.won, s.lost, s.pending) f
$$;

CREATE FUNCTION rep_trend(of_company text, of_user text, first_day date, last_day date) RETURNS json
    LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    WITH counted AS MATERIALIZED (
        SELECT d.day, sum(d.appointments) AS made, sum(d.visits) AS visited, sum(d.won) AS won, sum(d.lost) AS lost, sum(d.pending) AS pending
        FROM rep_days d WHERE d.tenant = of_company AND d.day BETWEEN first_day AND last_day
          AND (of_user IS NULL OR d.rep_user_id = of_user) GROUP BY d.day)
    SELECT json_agg(trend ORDER BY trend.day) FROM (
        SELECT days.day::date AS day, coalesce(c.made, 0)::bigint AS appointments, coalesce(c.visited, 0)::bigint AS visits,
               coalesce(c.won, 0)::bigint AS won, coalesce(c.lost, 0)::bigint AS lost, coalesce(c.pending, 0)::bigint AS pending
        FROM generate_series(first_day::timestamp, last_day::timestamp, interval '1 day') AS days (day)
        LEFT JOIN counted c ON c.day = days.day::date) trend
$$;

-- A row for each rep, for whoever else has appointments or visits, and for those that are nobody's.
CREATE FUNCTION rep_people(of_company text, of_time_zone text, first_day date, last_day date) RETURNS json
    LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    WITH ahead AS MATERIALIZED (SELECT * FROM rep_ahead(of_company, of_time_zone)),
    counted AS MATERIALIZED (
        SELECT d.rep_user_id, sum(d.appointments) AS made, sum(d.visits) AS visited, sum(d.won) AS won, sum(d.lost) AS lost,
               sum(d.pending) AS pending
        FROM rep_days d WHERE d.tenant = of_company AND d.day BETWEEN first_day AND last_day GROUP BY 1)
    SELECT json_agg(person ORDER BY person.user_id IS NULL, person.name, person.user_id) FROM (
        SELECT nullif(p.user_id, '') AS user_id, CASE p.user_id WHEN '' THEN 'unassigned' ELSE coalesce(u.name, p.user_id) END AS name, f.*
        FROM (SELECT '' AS user_id
              UNION SELECT user_id FROM users WHERE tenant = of_company AND role = 'rep'
              UNION SELECT rep_user_id FROM counted WHERE made <> 0 OR visited <> 0
              UNION SELECT user_id FROM ahead) p
        LEFT JOIN users u ON u.user_id = p.user_id
        LEFT JOIN ahead n ON n.user_id = p.user_id LEFT JOIN counted s ON s.rep_user_id = p.user_id,
        rep_figures(n.appointments_today, n.appointments_ahead, s.made, s.visited, s.won, s.lost, s.pending) f) person
$$;

-- The answers of /metrics/sales/rep/overview/self and /metrics/exec/sales/overview.
CREATE FUNCTION sales_overview_self(wanted_company text, of_user text, wanted_first date, wanted_last date) RETURNS json
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT row_to_json(overview) FROM (
        SELECT a.tenant, a.time_zone, a.first_day AS "from", a.last_day AS "to", u.user_id, u.name, t.*,
               rep_trend(a.tenant, u.user_id, a.first_day, a.last_day) AS daily_trend
        FROM metrics_days(wanted_company, wanted_first, wanted_last) a JOIN users u ON u.tenant = a.tenant AND u.user_id = of_user,
             rep_totals(a.tenant, a.time_zone, u.user_id, a.first_day, a.last_day) t) overview
$$;
CREATE FUNCTION sales_overview_all(wanted_company text, wanted_first date, wanted_last date) RETURNS json
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT row_to_json(overview) FROM (
        SELECT a.tenant, a.time_zone, a.first_day AS "from", a.last_day AS "to", t.*,
               rep_trend(a.tenant, NULL, a.first_day, a.last_day) AS daily_trend,
               rep_people(a.tenant, a.time_zone, a.first_day, a.last_day) AS reps
        FROM metrics_days(wanted_company, wanted_first, wanted_last) a,
             rep_totals(a.tenant, a.time_zone, NULL, a.first_day, a.last_day) t) overview
$$;

-- Everybody may run a new function.  These are for the API, and the pieces for nobody but them.
DO $$
DECLARE
    of_metrics regprocedure;
    for_api CONSTANT text[] := ARRAY['metrics_days', 'csr_overview_self', 'csr_overview_all', 'sales_overview_self', 'sales_overview_all',
                                     'calls_total', 'leads_total'];
BEGIN
    FOR of_metrics IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace
                      AND (p.proname ~ '^(csr|rep|metrics|sales)_'
                           OR p.proname IN ('company_day', 'companies_recount', 'call_count', 'lead_count', 'calls_total', 'leads_total')) LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', of_metrics);
    END LOOP;
    FOR of_metrics IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.proname = ANY (for_api) LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO switchboard_api', of_metrics);
    END LOOP;
END $$;
