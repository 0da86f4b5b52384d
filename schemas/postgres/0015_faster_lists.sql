-- Long overviews and every list take as long as short ones: figures by month beside those by day, and a search that does not read all
-- that a common word is in.

-- Nobody counts meanwhile: whoever waits here is counted as it is written below.
LOCK TABLE companies, calls, call_analyses, appointments, recording_sessions IN SHARE ROW EXCLUSIVE MODE;

-- Owner: the triggers of 0013_metrics, as of the tables by day.  `month` is its first day.
CREATE TABLE csr_months (LIKE csr_days INCLUDING DEFAULTS INCLUDING INDEXES) WITH (fillfactor = 70);
ALTER TABLE csr_months RENAME day TO month;
CREATE TABLE objection_months (LIKE objection_days INCLUDING DEFAULTS INCLUDING INDEXES) WITH (fillfactor = 70);
ALTER TABLE objection_months RENAME day TO month;
CREATE TABLE rep_months (LIKE rep_days INCLUDING DEFAULTS INCLUDING INDEXES) WITH (fillfactor = 70);
ALTER TABLE rep_months RENAME day TO month;
-- Whoever's calls, appointments and visits: what the trend of a company shows.
CREATE TABLE trend_days (
    tenant          text    NOT NULL,
    day             date    NOT NULL,
    lane            integer NOT NULL,
    total_calls     bigint  NOT NULL DEFAULT 0,
    answered_calls  bigint  NOT NULL DEFAULT 0,
    missed_calls    bigint  NOT NULL DEFAULT 0,
    booked_calls    bigint  NOT NULL DEFAULT 0,
    appointments    bigint  NOT NULL DEFAULT 0,
    visits          bigint  NOT NULL DEFAULT 0,
    won             bigint  NOT NULL DEFAULT 0,
    lost            bigint  NOT NULL DEFAULT 0,
    pending         bigint  NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, day, lane)
) WITH (fillfactor = 70);

-- --- counting -----------------------------------------------------------------------------------------------------------

CREATE FUNCTION metrics_month(day date) RETURNS date LANGUAGE sql IMMUTABLE RETURN date_trunc('month', day::timestamp)::date;

-- Adds what is counted of a day: to the day, to its month and to the company's trend.
CREATE FUNCTION csr_add(counted csr_days) RETURNS void LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO csr_days AS d SELECT counted.*
    ON CONFLICT (tenant, day, csr_user_id, lane) DO UPDATE SET
        total_calls = d.total_calls + EXCLUDED.total_calls, answered_calls = d.answered_calls + EXCLUDED.answered_calls,
        missed_calls = d.missed_calls + EXCLUDED.missed_calls, booked_calls = d.booked_calls + EXCLUDED.booked_calls,
        hot = d.hot + EXCLUDED.hot, warm = d.warm + EXCLUDED.warm, cold = d.cold + EXCLUDED.cold,
        sentiment_micros = d.sentiment_micros + EXCLUDED.sentiment_micros, sop_micros = d.sop_micros + EXCLUDED.sop_micros,
        sop_calls = d.sop_calls + EXCLUDED.sop_calls;
    INSERT INTO trend_days AS t (tenant, day, lane, total_calls, answered_calls, missed_calls, booked_calls)
        VALUES (counted.tenant, counted.day, counted.lane, counted.total_calls, counted.answered_calls, counted.missed_calls, counted.booked_calls)
    ON CONFLICT (tenant, day, lane) DO UPDATE SET
        total_calls = t.total_calls + EXCLUDED.total_calls, answered_calls = t.answered_calls + EXCLUDED.answered_calls,
        missed_calls = t.missed_calls + EXCLUDED.missed_calls, booked_calls = t.booked_calls + EXCLUDED.booked_calls;
    counted.day := metrics_month(counted.day);
    INSERT INTO csr_months AS m SELECT counted.*
    ON CONFLICT (tenant, month, csr_user_id, lane) DO UPDATE SET
        total_calls = m.total_calls + EXCLUDED.total_calls, answered_calls = m.answered_calls + EXCLUDED.answered_calls,
        missed_calls = m.missed_calls + EXCLUDED.missed_calls, booked_calls = m.booked_calls + EXCLUDED.booked_calls,
        hot = m.hot + EXCLUDED.hot, warm = m.warm + EXCLUDED.warm, cold = m.cold + EXCLUDED.cold,
        sentiment_micros = m.sentiment_micros + EXCLUDED.sentiment_micros, sop_micros = m.sop_micros + EXCLUDED.sop_micros,
        sop_calls = m.sop_calls + EXCLUDED.sop_calls;
END $$;

CREATE OR REPLACE FUNCTION csr_count(c calls, a call_analyses, sign integer) RETURNS void
    LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    of_lane integer := metrics_lane();                  -- first: what is read from here on stays as it is
    of_day date := company_day(c.tenant, c.call_at);
    of_csr text := coalesce(c.csr_user_id, '');
    raised CONSTANT text[] := ARRAY(SELECT DISTINCT o ->> 'category' FROM jsonb_array_elements(a.objections) AS o
                                    WHERE o ->> 'category' IS NOT NULL ORDER BY 1);
BEGIN
    PERFORM csr_add(ROW (
        c.tenant, of_day, of_csr, of_lane, sign,
        sign * (c.status IN ('in_progress', 'completed'))::integer, sign * (c.status = 'missed')::integer,
        sign * (a.booking_status IS NOT DISTINCT FROM 'booked')::integer, sign * (a.lead_qualification IS NOT DISTINCT FROM 'hot')::integer,
        sign * (a.lead_qualification IS NOT DISTINCT FROM 'warm')::integer, sign * (a.lead_qualification IS NOT DISTINCT FROM 'cold')::integer,
        sign * coalesce(round(a.sentiment_score::numeric * 1000000), 0)::bigint,
        sign * coalesce(round(a.sop_score::numeric * 1000000), 0)::bigint, sign * (a.sop_score IS NOT NULL)::integer)::csr_days);
    IF raised <> '{}' THEN
        INSERT INTO objection_days AS d (tenant, day, csr_user_id, category, lane, calls)
            SELECT c.tenant, of_day, of_csr, category, of_lane, sign FROM unnest(raised) AS category
        ON CONFLICT (tenant, day, csr_user_id, category, lane) DO UPDATE SET calls = d.calls + EXCLUDED.calls;
        INSERT INTO objection_months AS m (tenant, month, csr_user_id, category, lane, calls)
            SELECT c.tenant, metrics_month(of_day), of_csr, category, of_lane, sign FROM unnest(raised) AS category
        ON CONFLICT (tenant, month, csr_user_id, category, lane) DO UPDATE SET calls = m.calls + EXCLUDED.calls;
    END IF;
END $$;

CREATE FUNCTION rep_add(counted rep_days) RETURNS void LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO rep_days AS d SELECT counted.*
    ON CONFLICT (tenant, day, rep_user_id, lane) DO UPDATE SET
        appointments = d.appointments + EXCLUDED.appointments, visits = d.visits + EXCLUDED.visits, won = d.won + EXCLUDED.won,
        lost = d.lost + EXCLUDED.lost, pending = d.pending + EXCLUDED.pending;
    INSERT INTO trend_days AS t (tenant, day, lane, appointments, visits, won, lost, pending)
        VALUES (counted.tenant, counted.day, counted.lane, counted.appointments, counted.visits, counted.won, counted.lost, counted.pending)
    ON CONFLICT (tenant, day, lane) DO UPDATE SET
        appointments = t.appointments + EXCLUDED.appointments, visits = t.visits + EXCLUDED.visits, won = t.won + EXCLUDED.won,
        lost = t.lost + EXCLUDED.lost, pending = t.pending + EXCLUDED.pending;
    counted.day := metrics_month(counted.day);
    INSERT INTO rep_months AS m SELECT counted.*
    ON CONFLICT (tenant, month, rep_user_id, lane) DO UPDATE SET
        appointments = m.appointments + EXCLUDED.appointments, visits = m.visits + EXCLUDED.visits, won = m.won + EXCLUDED.won,
        lost = m.lost + EXCLUDED.lost, pending = m.pending + EXCLUDED.pending;
END $$;
CREATE OR REPLACE FUNCTION rep_count(a appointments, sign integer) RETURNS void
    LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    of_lane integer := metrics_lane();
BEGIN
    PERFORM rep_add(ROW (
        a.tenant, company_day(a.tenant, coalesce(a.scheduled_start, a.created_at)), coalesce(a.assigned_rep_id, ''), of_lane,
        sign, 0, sign * (a.outcome = 'won')::integer, sign * (a.outcome = 'lost')::integer,
        sign * (a.outcome = 'pending' AND a.status NOT IN ('cancelled', 'no_show'))::integer)::rep_days);
END $$;
CREATE OR REPLACE FUNCTION rep_count_visit(s recording_sessions, sign integer) RETURNS void
    LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    of_lane integer := metrics_lane();
BEGIN
    PERFORM rep_add(ROW (s.tenant, company_day(s.tenant, s.started_at), coalesce(s.rep_user_id, ''), of_lane, 0, sign, 0, 0, 0)::rep_days);
END $$;

-- Months and trends are the sums of the persons' days.
CREATE FUNCTION metrics_recount_sums(of_tenant text) RETURNS void LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    DELETE FROM csr_months WHERE of_tenant IS NULL OR tenant = of_tenant;
    DELETE FROM objection_months WHERE of_tenant IS NULL OR tenant = of_tenant;
    DELETE FROM rep_months WHERE of_tenant IS NULL OR tenant = of_tenant;
    INSERT INTO csr_months
        SELECT tenant, metrics_month(day), csr_user_id, 0, sum(total_calls), sum(answered_calls), sum(missed_calls), sum(booked_calls),
               sum(hot), sum(warm), sum(cold), sum(sentiment_micros), sum(sop_micros), sum(sop_calls)
        FROM csr_days WHERE of_tenant IS NULL OR tenant = of_tenant GROUP BY 1, 2, 3;
    INSERT INTO objection_months
        SELECT tenant, metrics_month(day), csr_user_id, category, 0, sum(calls)
        FROM objection_days WHERE of_tenant IS NULL OR tenant = of_tenant GROUP BY 1, 2, 3, 4;
    INSERT INTO rep_months
        SELECT tenant, metrics_month(day), rep_user_id, 0, sum(appointments), sum(visits), sum(won), sum(lost), sum(pending)
        FROM rep_days WHERE of_tenant IS NULL OR tenant = of_tenant GROUP BY 1, 2, 3;
    DELETE FROM trend_days WHERE of_tenant IS NULL OR tenant = of_tenant;
    INSERT INTO trend_days
        SELECT tenant, day, 0, sum(total), sum(answered), sum(missed), sum(booked), sum(made), sum(visited), sum(wins), sum(losses), sum(open)
        FROM (SELECT tenant, day, total_calls AS total, answered_calls AS answered, missed_calls AS missed, booked_calls AS booked,
                     0 AS made, 0 AS visited, 0 AS wins, 0 AS losses, 0 AS open FROM csr_days
              UNION ALL SELECT tenant, day, 0, 0, 0, 0, appointments, visits, won, lost, pending FROM rep_days) counted
        WHERE of_tenant IS NULL OR tenant = of_tenant GROUP BY 1, 2;
END $$;
ALTER FUNCTION metrics_recount(text) RENAME TO metrics_recount_days;
CREATE FUNCTION metrics_recount(of_tenant text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM metrics_recount_days(of_tenant);            -- which waits for those who count
    PERFORM metrics_recount_sums(of_tenant);
END $$;
SELECT metrics_recount_sums(NULL);

-- --- reading ------------------------------------------------------------------------------------------------------------

-- The whole months in a time, from `begins` until before `ends`; and the days in front of them and behind.
CREATE FUNCTION metrics_months(first_day date, last_day date)
    RETURNS TABLE (begins date, ends date, front_ends date, back_begins date)
    LANGUAGE sql IMMUTABLE ROWS 1 SET search_path = public, pg_temp AS $$
    SELECT begins, ends, least(last_day, begins - 1), greatest(ends, begins)
    FROM (SELECT (metrics_month(first_day - 1) + interval '1 month')::date AS begins, metrics_month(last_day + 1) AS ends) whole
$$;

-- What makes the sums of a time: rows by month, and by day where no whole month is asked for.
CREATE FUNCTION csr_counts(of_company text, first_day date, last_day date) RETURNS SETOF csr_days
    LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    WITH span AS MATERIALIZED (SELECT * FROM metrics_months(first_day, last_day))
    SELECT * FROM csr_months WHERE tenant = of_company AND month >= (SELECT begins FROM span) AND month < (SELECT ends FROM span)
    UNION ALL SELECT * FROM csr_days WHERE tenant = of_company AND day BETWEEN first_day AND (SELECT front_ends FROM span)
    UNION ALL SELECT * FROM csr_days WHERE tenant = of_company AND day BETWEEN (SELECT back_begins FROM span) AND last_day
$$;
CREATE FUNCTION objection_counts(of_company text, first_day date, last_day date) RETURNS SETOF objection_days
    LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    WITH span AS MATERIALIZED (SELECT * FROM metrics_months(first_day, last_day))
    SELECT * FROM objection_months WHERE tenant = of_company AND month >= (SELECT begins FROM span) AND month < (SELECT ends FROM span)
    UNION ALL SELECT * FROM objection_days WHERE tenant = of_company AND day BETWEEN first_day AND (SELECT front_ends FROM span)
    UNION ALL SELECT * FROM objection_days WHERE tenant = of_company AND day BETWEEN (SELECT back_begins FROM span) AND last_day
$$;
CREATE FUNCTION rep_counts(of_company text, first_day date, last_day date) RETURNS SETOF rep_days
    LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    WITH span AS MATERIALIZED (SELECT * FROM metrics_months(first_day, last_day))
    SELECT * FROM rep_months WHERE tenant = of_company AND month >= (SELECT begins FROM span) AND month < (SELECT ends FROM span)
    UNION ALL SELECT * FROM rep_days WHERE tenant = of_company AND day BETWEEN first_day AND (SELECT front_ends FROM span)
    UNION ALL SELECT * FROM rep_days WHERE tenant = of_company AND day BETWEEN (SELECT back_begins FROM span) AND last_day
$$;

CREATE OR REPLACE FUNCTION csr_totals(of_company text, of_user text, first_day date, last_day date)
    RETURNS TABLE (total_calls bigint, answered_calls bigint, missed_calls bigint, booked_calls bigint, booking_rate numeric,
                   qualified_calls json, qualification_rate numeric, mean_sentiment numeric, mean_sop_score numeric)
    LANGUAGE sql STABLE ROWS 1 SET search_path = public, pg_temp AS $$
    SELECT f.* FROM (
        SELECT sum(d.total_calls) AS total, sum(d.answered_calls) AS answered, sum(d.missed_calls) AS missed, sum(d.booked_calls) AS booked,
               sum(d.hot) AS hot, sum(d.warm) AS warm, sum(d.cold) AS cold, sum(d.sentiment_micros) AS sentiment,
               sum(d.sop_micros) AS sop, sum(d.sop_calls) AS scored
        FROM csr_counts(of_company, first_day, last_day) d WHERE of_user IS NULL OR d.csr_user_id = of_user) s,
        csr_figures(total, answered, missed, booked, hot, warm, cold, sentiment, sop, scored) f
$$;

CREATE OR REPLACE FUNCTION csr_trend(of_company text, of_user text, first_day date, last_day date) RETURNS json
    LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    WITH counted AS MATERIALIZED (
        SELECT t.day, sum(t.total_calls) AS total, sum(t.answered_calls) AS answered, sum(t.missed_calls) AS missed, sum(t.booked_calls) AS booked
        FROM trend_days t WHERE of_user IS NULL AND t.tenant = of_company AND t.day BETWEEN first_day AND last_day GROUP BY 1
        UNION ALL
        SELECT d.day, sum(d.total_calls), sum(d.answered_calls), sum(d.missed_calls), sum(d.booked_calls)
        FROM csr_days d WHERE d.tenant = of_company AND d.day BETWEEN first_day AND last_day AND d.csr_user_id = of_user GROUP BY 1)
    SELECT json_agg(trend ORDER BY trend.day) FROM (
        SELECT days.day::date AS day, coalesce(c.total, 0)::bigint AS total_calls, coalesce(c.answered, 0)::bigint AS answered_calls,
               coalesce(c.missed, 0)::bigint AS missed_calls, coalesce(c.booked, 0)::bigint AS booked_calls
        FROM generate_series(first_day::timestamp, last_day::timestamp, interval '1 day') AS days (day)
        LEFT JOIN counted c ON c.day = days.day::date) trend
$$;

CREATE OR REPLACE FUNCTION csr_objections(of_company text, of_user text, first_day date, last_day date) RETURNS json
    LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT coalesce(json_agg(top ORDER BY top.calls DESC, top.category), '[]') FROM (
        SELECT d.category, sum(d.calls)::bigint AS calls FROM objection_counts(of_company, first_day, last_day) d
        WHERE of_user IS NULL OR d.csr_user_id = of_user
        GROUP BY d.category HAVING sum(d.calls) > 0 ORDER BY 2 DESC, 1 LIMIT 10) top
$$;

CREATE OR REPLACE FUNCTION csr_people(of_company text, first_day date, last_day date) RETURNS json
    LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    WITH counted AS MATERIALIZED (
        SELECT d.csr_user_id, sum(d.total_calls) AS total, sum(d.answered_calls) AS answered, sum(d.missed_calls) AS missed,
               sum(d.booked_calls) AS booked, sum(d.hot) AS hot, sum(d.warm) AS warm, sum(d.cold) AS cold,
               sum(d.sentiment_micros) AS sentiment, sum(d.sop_micros) AS sop, sum(d.sop_calls) AS scored
        FROM csr_counts(of_company, first_day, last_day) d GROUP BY 1)
    SELECT json_agg(person ORDER BY person.user_id IS NULL, person.name, person.user_id) FROM (
        SELECT nullif(p.user_id, '') AS user_id, CASE p.user_id WHEN '' THEN 'unattributed' ELSE coalesce(u.name, p.user_id) END AS name, f.*
        FROM (SELECT '' AS user_id
              UNION SELECT user_id FROM users WHERE tenant = of_company AND role = 'csr'
              UNION SELECT csr_user_id FROM counted WHERE total > 0) p
        LEFT JOIN users u ON u.user_id = p.user_id
        LEFT JOIN counted s ON s.csr_user_id = p.user_id,
        csr_figures(s.total, s.answered, s.missed, s.booked, s.hot, s.warm, s.cold, s.sentiment, s.sop, s.scored) f) person
$$;

CREATE OR REPLACE FUNCTION rep_totals(of_company text, of_time_zone text, of_user text, first_day date, last_day date)
    RETURNS TABLE (appointments_today bigint, appointments_ahead bigint, appointments bigint, visits bigint, won bigint, lost bigint,
                   pending bigint, win_rate numeric)
    LANGUAGE sql STABLE ROWS 1 SET search_path = public, pg_temp AS $$
    SELECT f.* FROM (
        SELECT sum(r.appointments_today) AS today, sum(r.appointments_ahead) AS ahead FROM rep_ahead(of_company, of_time_zone) r
        WHERE of_user IS NULL OR r.user_id = of_user) n, (
        SELECT sum(d.appointments) AS made, sum(d.visits) AS visited, sum(d.won) AS won, sum(d.lost) AS lost, sum(d.pending) AS pending
        FROM rep_counts(of_company, first_day, last_day) d WHERE of_user IS NULL OR d.rep_user_id = of_user) s,
        rep_figures(n.today, n.ahead, s.made, s.visited, s.won, s.lost, s.pending) f
$$;

CREATE OR REPLACE FUNCTION rep_trend(of_company text, of_user text, first_day date, last_day date) RETURNS json
    LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    WITH counted AS MATERIALIZED (
        SELECT t.day, sum(t.appointments) AS made, sum(t.visits) AS visited, sum(t.won) AS won, sum(t.lost) AS lost, sum(t.pending) AS pending
        FROM trend_days t WHERE of_user IS NULL AND t.tenant = of_company AND t.day BETWEEN first_day AND last_day GROUP BY 1
        UNION ALL
        SELECT d.day, sum(d.appointments), sum(d.visits), sum(d.won), sum(d.lost), sum(d.pending)
        FROM rep_days d WHERE d.tenant = of_company AND d.day BETWEEN first_day AND last_day AND d.rep_user_id = of_user GROUP BY 1)
    SELECT json_agg(trend ORDER BY trend.day) FROM (
        SELECT days.day::date AS day, coalesce(c.made, 0)::bigint AS appointments, coalesce(c.visited, 0)::bigint AS visits,
               coalesce(c.won, 0)::bigint AS won, coalesce(c.lost, 0)::bigint AS lost, coalesce(c.pending, 0)::bigint AS pending
        FROM generate_series(first_day::timestamp, last_day::timestamp, interval '1 day') AS days (day)
        LEFT JOIN counted c ON c.day = days.day::date) trend
$$;

CREATE OR REPLACE FUNCTION rep_people(of_company text, of_time_zone text, first_day date, last_day date) RETURNS json
    LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    WITH ahead AS MATERIALIZED (SELECT * FROM rep_ahead(of_company, of_time_zone)),
    counted AS MATERIALIZED (
        SELECT d.rep_user_id, sum(d.appointments) AS made, sum(d.visits) AS visited, sum(d.won) AS won, sum(d.lost) AS lost,
               sum(d.pending) AS pending
        FROM rep_counts(of_company, first_day, last_day) d GROUP BY 1)
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

-- --- lists --------------------------------------------------------------------------------------------------------------

-- What a list seldom holds is not looked for among all that it does.
CREATE INDEX calls_seldom ON calls (tenant, status, call_at DESC, call_id DESC) WHERE status IN ('ringing', 'in_progress', 'failed');
CREATE INDEX recording_sessions_seldom ON recording_sessions (tenant, started_at DESC, session_id DESC) WHERE status <> 'completed';
CREATE INDEX recording_sessions_newest_of_all ON recording_sessions (started_at DESC, session_id DESC, tenant DESC);

-- A sales rep sees the appointments and visits that are theirs, and those that are nobody's: a session whose switchboard.person is set.
-- To others the company's are all there.  (Said by a number, since the planner takes an unequal one for true, and any other condition
-- for one that hardly a row fulfils.)
CREATE FUNCTION is_persons(of_user text) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN of_user IS NULL OR coalesce(current_setting('switchboard.person', true), '') IN ('', of_user) THEN 1 ELSE 0 END <> 0;
ALTER POLICY api ON appointments USING (
    (tenant = current_setting('switchboard.tenant', true) OR current_setting('switchboard.tenant', true) = '*') AND is_persons(assigned_rep_id));
ALTER POLICY api ON recording_sessions USING (
    (tenant = current_setting('switchboard.tenant', true) OR current_setting('switchboard.tenant', true) = '*') AND is_persons(rep_user_id));
DO $$
DECLARE
    of_table text;
BEGIN
    FOREACH of_table IN ARRAY ARRAY['session_recordings', 'recording_transcripts', 'recording_analyses'] LOOP
        EXECUTE format('ALTER POLICY api ON %I USING ('
                       '(tenant = current_setting(''switchboard.tenant'', true) OR current_setting(''switchboard.tenant'', true) = ''*'')'
                       ' AND (coalesce(current_setting(''switchboard.person'', true), '''') = '''' OR EXISTS'
                       ' (SELECT 1 FROM recording_sessions s WHERE s.tenant = %I.tenant AND s.session_id = %I.session_id)))',
                       of_table, of_table, of_table);
    END LOOP;
END $$;

-- How many there are for the session.
CREATE FUNCTION appointments_total() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT coalesce(sum(m.appointments), 0)::bigint FROM rep_months m, current_setting('switchboard.tenant', true) AS session
    WHERE (m.tenant = session OR session = '*') AND is_persons(nullif(m.rep_user_id, ''))
$$;
CREATE FUNCTION visits_total() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT coalesce(sum(m.visits), 0)::bigint FROM rep_months m, current_setting('switchboard.tenant', true) AS session
    WHERE (m.tenant = session OR session = '*') AND is_persons(nullif(m.rep_user_id, ''))
$$;

-- When days begin and end for the session's company; of all companies, for any.
CREATE FUNCTION session_begins(day date) RETURNS timestamptz LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT CASE session WHEN '*' THEN (day - 1)::timestamptz
                        ELSE (SELECT day_begins(day, co.time_zone) FROM companies co WHERE co.tenant = session) END
    FROM current_setting('switchboard.tenant', true) AS session
$$;
CREATE FUNCTION session_ends(day date) RETURNS timestamptz LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT CASE session WHEN '*' THEN (day + 2)::timestamptz
                        ELSE (SELECT day_begins(day + 1, co.time_zone) FROM companies co WHERE co.tenant = session) END
    FROM current_setting('switchboard.tenant', true) AS session
$$;

-- Calls of the session in whose transcripts the words are.  What is not asked for is NULL, and is planned away.
CREATE FUNCTION calls_found(sought tsquery, session text, first_day date, last_day date, begins timestamptz, ends timestamptz,
                            of_status text, of_callback text) RETURNS SETOF calls LANGUAGE sql STABLE AS $$
    SELECT c.* FROM calls c JOIN call_transcripts t ON t.tenant = c.tenant AND t.call_id = c.call_id
    WHERE t.search @@ sought AND (session = '*' OR c.tenant = session) AND (session = '*' OR t.tenant = session)
      AND (begins IS NULL OR c.call_at >= begins) AND (ends IS NULL OR c.call_at < ends)
      AND (session <> '*' OR first_day IS NULL AND last_day IS NULL
           OR (c.call_at AT TIME ZONE (SELECT co.time_zone FROM companies co WHERE co.tenant = c.tenant))::date
              BETWEEN coalesce(first_day, '-infinity') AND coalesce(last_day, 'infinity'))
      AND (of_status IS NULL OR c.status = of_status)
      AND (of_callback IS NULL OR (c.status = 'missed' AND (c.callback_done_at IS NULL) = (of_callback = 'open')))
$$;
-- A page of them, newest first, behind a call; and how many there are, counted up to `most`.  There is always a row, for that.
-- Few are all read, by the text index.  Many are looked for in the newest calls first, and all read only when they are not there: the
-- planner, left to itself, would go through all calls for a word that no one says any more.
CREATE FUNCTION calls_search(query text, first_day date, last_day date, of_status text, of_callback text, behind_at timestamptz,
                             behind_id text, behind_tenant text, wanted integer, most integer) RETURNS TABLE (total bigint, found calls)
    LANGUAGE plpgsql STABLE ROWS 50 SECURITY DEFINER SET search_path = public, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    reach CONSTANT integer := 10000;                    -- the newest calls
    sought CONSTANT tsquery := websearch_to_tsquery('simple', query);
    session CONSTANT text := current_setting('switchboard.tenant', true);
    begins CONSTANT timestamptz := session_begins(first_day);
    ends CONSTANT timestamptz := session_ends(last_day);
    newest timestamptz;
    page calls[] := ARRAY(SELECT f FROM calls_found(sought, session, first_day, last_day, begins, ends, of_status, of_callback) f LIMIT most);
BEGIN
    total := cardinality(page);
    IF total = most THEN
        SELECT min(n.call_at) INTO newest FROM (
            SELECT c.call_at FROM calls c WHERE (session = '*' OR c.tenant = session) AND c.call_at < least(ends, behind_at)
            ORDER BY c.call_at DESC LIMIT reach) n;
        page := ARRAY(
            SELECT f FROM calls_found(sought, session, first_day, last_day, greatest(begins, newest), ends, of_status, of_callback) f
            WHERE (f.call_at, f.call_id, f.tenant) < (behind_at, behind_id, behind_tenant)
            ORDER BY f.call_at DESC, f.call_id DESC, f.tenant DESC LIMIT wanted);
        IF cardinality(page) < wanted THEN
            page := ARRAY(
                WITH every AS MATERIALIZED (
                    SELECT f FROM calls_found(sought, session, first_day, last_day, begins, ends, of_status, of_callback) f)
                SELECT f FROM every WHERE ((f).call_at, (f).call_id, (f).tenant) < (behind_at, behind_id, behind_tenant)
                ORDER BY (f).call_at DESC, (f).call_id DESC, (f).tenant DESC LIMIT wanted);
        END IF;
    END IF;
    RETURN QUERY SELECT total, f::calls FROM unnest(page) f
        WHERE (f.call_at, f.call_id, f.tenant) < (behind_at, behind_id, behind_tenant)
        ORDER BY f.call_at DESC, f.call_id DESC, f.tenant DESC LIMIT wanted;
    IF NOT FOUND THEN
        found := NULL;
        RETURN NEXT;
    END IF;
END $$;
DROP FUNCTION calls_matching(text);

REVOKE EXECUTE ON FUNCTION metrics_month(date), csr_add(csr_days), rep_add(rep_days), metrics_recount_sums(text), metrics_recount(text),
    metrics_months(date, date), csr_counts(text, date, date), objection_counts(text, date, date), rep_counts(text, date, date),
    appointments_total(), visits_total(), calls_found(tsquery, text, date, date, timestamptz, timestamptz, text, text), session_begins(date),
    session_ends(date), calls_search(text, date, date, text, text, timestamptz, text, text, integer, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION appointments_total(), visits_total(), session_begins(date), session_ends(date),
    calls_search(text, date, date, text, text, timestamptz, text, text, integer, integer) TO switchboard_api;
