-- Sample data for a demonstration, and its removal: `sb seed-data`, `sb cleanup-seed-data`.  Owner: sb, under switchboard_operator.
--
-- Every row says that it is sample data: companies are seed-…, calls SEED-…, all other ids begin with 5eed.  What is said, when and by
-- whom is drawn from the call's id, so it is the same each time, counted back from today.

CREATE FUNCTION seed_draw(of_key text, choices integer) RETURNS integer LANGUAGE sql IMMUTABLE
    RETURN ('x' || substr(md5(of_key), 1, 7))::bit(28)::integer % choices;
CREATE FUNCTION seed_id(of_key text) RETURNS uuid LANGUAGE sql IMMUTABLE RETURN ('5eed' || substr(md5('seed ' || of_key), 5))::uuid;

-- The conversations, and what is to be understood of each.  `weight` of them in a hundred.
CREATE FUNCTION seed_conversations() RETURNS TABLE (kind text, weight integer, status text, lines text[], qualification text, booking text,
        category text, sentiment double precision, objection text, objection_line integer, claim_line integer, sop double precision,
        missed text[], summary text)
    LANGUAGE sql IMMUTABLE AS $$ VALUES
    ('booked', 34, 'completed', ARRAY['agent: Thank you for calling, how can I help you?', 'customer: My water heater is leaking and I need someone soon.',
        'agent: I am sorry to hear that. What is your name and your address?', 'customer: It is NAME, twenty five Oak Street.',
        'agent: We can come the day after tomorrow at ten.', 'customer: Yes, that works for me.', 'agent: You are booked, see you then.'],
     'hot', 'booked', 'booked', 0.6::double precision, NULL::text, NULL::integer, 7, 1.0::double precision, ARRAY[]::text[],
     'A leaking water heater; a visit was agreed.'),
    ('price', 20, 'completed', ARRAY['agent: Thank you for calling, how can I help you?', 'customer: How much is a new furnace?',
        'agent: They begin at four thousand dollars, installed.', 'customer: That is too expensive for me.',
        'agent: I understand. Thank you for your call.'],
     'warm', 'not_booked', 'qualified_not_booked', -0.3, 'price', 4, 2, 0.5,
     ARRAY['asks for the customer''s name', 'asks for the address or a phone number', 'offers an appointment'],
     'Asked for the price of a furnace and found it too high.'),
    ('missed', 14, 'missed', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    ('voicemail', 5, 'missed', ARRAY['customer: This is NAME, my pipe is leaking, please call me back today.'],
     'hot', 'not_booked', 'voicemail', -0.1, NULL, NULL, 1, NULL, ARRAY[]::text[], 'A pipe is leaking; the customer asks to be called back.'),
    ('existing', 9, 'completed', ARRAY['agent: Thank you for calling, how can I help you?', 'customer: I have a question about my invoice.',
        'agent: Tell me your name and I look it up.', 'customer: NAME. Thank you, it is clear now.', 'agent: Thank you, have a good day.'],
     'cold', 'not_booked', 'existing_customer', 0.4, NULL, NULL, 2, 0.67, ARRAY['asks for the address or a phone number', 'offers an appointment'],
     'A question about an invoice was answered.'),
    ('wrong', 5, 'completed', ARRAY['agent: Good morning, how can I help?', 'customer: Sorry, I have the wrong number.', 'agent: No problem, have a nice day.'],
     'cold', 'not_booked', 'wrong_number', 0, NULL, NULL, 2, 0.5, ARRAY['asks for the customer''s name', 'offers an appointment'], 'A wrong number.'),
    ('timing', 8, 'completed', ARRAY['agent: Thank you for calling, how can I help you?', 'customer: We have no heat, can you come today?',
        'agent: Our next opening is on Thursday.', 'customer: We cannot wait for so long, I call somebody else.', 'agent: I am sorry.'],
     'hot', 'not_booked', 'qualified_not_booked', -0.7, 'timing', 4, 2, 0.5, ARRAY['asks for the customer''s name', 'repeats what was agreed or thanks'],
     'No heat; the next opening was too late.'),
    ('not offered', 5, 'completed', ARRAY['agent: Thank you for calling, how can I help you?', 'customer: Do you paint houses?',
        'agent: I am sorry, we do not offer that.', 'customer: All right, thank you.'],
     'warm', 'service_not_offered', 'service_not_offered', 0.1, NULL, NULL, 3, 0.67, ARRAY['asks for the customer''s name'], 'Asked for painting, which is not offered.')
$$;

CREATE FUNCTION seed_data_add() RETURNS TABLE (of_table text, rows bigint)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    of_company companies;
    calls_each CONSTANT integer := 100;
    contacts_each CONSTANT integer := 60;
    days CONSTANT integer := 60;
BEGIN
    IF EXISTS (SELECT 1 FROM companies WHERE tenant LIKE 'seed-%') THEN
        RAISE EXCEPTION 'the sample data is there already, or a part of it';
    END IF;
    INSERT INTO companies (tenant, name, time_zone, alert_whatsapp) VALUES
        ('seed-plumbing', 'Sample Plumbing', 'America/New_York', false), ('seed-roofing', 'Sample Roofing', 'America/Denver', false);
    INSERT INTO tracking_numbers (number, tenant, label) VALUES
        ('+12025550140', 'seed-plumbing', 'sample: van doors'), ('+12025550141', 'seed-plumbing', 'sample: website'),
        ('+13035550140', 'seed-roofing', 'sample: website');
    FOR of_company IN SELECT * FROM companies WHERE tenant LIKE 'seed-%' ORDER BY tenant LOOP
        INSERT INTO users (tenant, email, user_id, name, phone, role)
            SELECT of_company.tenant, lower(first) || '@' || of_company.tenant || '.example', of_company.tenant || '-' || lower(first),
                   first || ' ' || last, CASE WHEN role = 'rep' THEN '+1202555016' || number END, role
            FROM (VALUES (1, 'Eve', 'Stone', 'exec'), (2, 'Max', 'Hill', 'admin'), (3, 'Ana', 'Silva', 'csr'), (4, 'Ben', 'Ode', 'csr'),
                         (5, 'Cleo', 'Park', 'csr'), (6, 'Rob', 'Lang', 'rep'), (7, 'Sue', 'West', 'rep')) p (number, first, last, role);
        INSERT INTO contact_cards (tenant, contact_id, phone, name)
            SELECT of_company.tenant, seed_id('contact ' || of_company.tenant || k), '+1720555' || to_char(1000 + k, 'FM0000'),
                   (ARRAY['Bo', 'Mia', 'Lee', 'Kim', 'Zoe', 'Tom', 'Ida', 'Sam'])[1 + k % 8] || ' '
                   || (ARRAY['Reed', 'Fox', 'Hale', 'Moss', 'Dunn', 'Cole', 'Nash'])[1 + k % 7]
            FROM generate_series(1, contacts_each) k;
        INSERT INTO leads (tenant, lead_id, contact_id)
            SELECT tenant, seed_id('lead ' || contact_id), contact_id FROM contact_cards WHERE tenant = of_company.tenant;
        CREATE TEMPORARY TABLE seed_calls ON COMMIT DROP AS
            SELECT of_company.tenant, c.call_id, c.at, seed_id('contact ' || of_company.tenant || c.contact) AS contact_id,
                   (ARRAY['ana', 'ben', 'cleo'])[1 + seed_draw(c.call_id || 'csr', 3)] AS csr, of_kind.*
            FROM (SELECT call_id, 1 + seed_draw(call_id || 'contact', contacts_each) AS contact, seed_draw(call_id || 'kind', 100) AS drawn,
                         ((now() AT TIME ZONE of_company.time_zone)::date - days + (n - 1) * days / calls_each
                          + time '08:00' + make_interval(mins => seed_draw(call_id || 'time', 600))) AT TIME ZONE of_company.time_zone AS at
                  FROM (SELECT n, 'SEED-' || substr(of_company.tenant, 6) || '-' || to_char(n, 'FM000') AS call_id
                        FROM generate_series(1, calls_each) n) numbered) c
            JOIN (SELECT *, sum(weight) OVER (ORDER BY kind) AS until FROM seed_conversations()) of_kind
                ON c.drawn < of_kind.until AND c.drawn >= of_kind.until - of_kind.weight;
        INSERT INTO calls (tenant, call_id, source, status, direction, tracking_number, customer_number, customer_name, contact_id, lead_id,
                           csr_user_id, answered, voicemail, started_at, duration_s)
            SELECT s.tenant, s.call_id, 'callrail', s.status, 'inbound', (SELECT max(number) FROM tracking_numbers n WHERE n.tenant = s.tenant),
                   cc.phone, cc.name, s.contact_id, seed_id('lead ' || s.contact_id),
                   CASE s.status WHEN 'completed' THEN s.tenant || '-' || s.csr END, s.status = 'completed', s.kind = 'voicemail', s.at,
                   CASE WHEN s.lines IS NOT NULL THEN 20 * cardinality(s.lines) + seed_draw(s.call_id || 'duration', 60) END
            FROM seed_calls s JOIN contact_cards cc ON cc.tenant = s.tenant AND cc.contact_id = s.contact_id;
        UPDATE seed_calls s SET lines = (SELECT array_agg(replace(line, 'NAME', cc.name) ORDER BY n) FROM unnest(s.lines) WITH ORDINALITY l (line, n))
            FROM contact_cards cc WHERE cc.tenant = s.tenant AND cc.contact_id = s.contact_id AND s.lines IS NOT NULL;
        INSERT INTO call_transcripts (tenant, call_id, provider, model, language, text, segments, speakers, words, duration_s, source_time)
            SELECT tenant, call_id, 'local', 'seed-data', 'en', array_to_string(lines, E'\n'),
                   (SELECT jsonb_agg(jsonb_build_object('speaker', split_part(line, ': ', 1), 'start_s', 4 * (n - 1), 'end_s', 4 * n - 1,
                                                        'text', substr(line, strpos(line, ': ') + 2)) ORDER BY n)
                    FROM unnest(lines) WITH ORDINALITY l (line, n)),
                   CASE kind WHEN 'voicemail' THEN 1 ELSE 2 END, array_length(regexp_split_to_array(array_to_string(lines, ' '), '\s+'), 1),
                   4 * cardinality(lines), at
            FROM seed_calls WHERE lines IS NOT NULL;
        INSERT INTO call_analyses (tenant, call_id, provider, model, lead_qualification, booking_status, call_outcome_category,
                                   sentiment_score, objections, sop_score, sop_missed_steps, summary, evidence, source_time)
            SELECT tenant, call_id, 'rules', 'seed-data', qualification, booking, category,
                   greatest(-1, least(1, sentiment + (seed_draw(call_id || 'mood', 5) - 2) / 10.0)),
                   CASE WHEN objection IS NULL THEN '[]' ELSE jsonb_build_array(jsonb_build_object('category', objection, 'quote',
                        substr(lines[objection_line], strpos(lines[objection_line], ': ') + 2))) END,
                   sop, to_jsonb(missed), summary, jsonb_build_array(jsonb_build_object('field', 'call_outcome_category', 'quote',
                        substr(lines[claim_line], strpos(lines[claim_line], ': ') + 2))), at
            FROM seed_calls WHERE lines IS NOT NULL;
        INSERT INTO appointments (tenant, appointment_id, call_id, lead_id, assigned_rep_id, scheduled_start, service_type, location, quote,
                                  status, outcome, source_time, created_at)
            SELECT tenant, seed_id('appointment ' || call_id), call_id, seed_id('lead ' || contact_id),
                   tenant || '-' || (ARRAY['rob', 'sue'])[1 + seed_draw(call_id || 'rep', 2)], start, 'repair', '25 Oak Street', 'You are booked, see you then.',
                   CASE WHEN start < now() THEN 'completed' ELSE 'scheduled' END,
                   CASE WHEN start >= now() THEN 'pending' ELSE (ARRAY['won', 'won', 'won', 'lost', 'lost', 'pending'])[1 + seed_draw(call_id || 'end', 6)] END,
                   at, at
            FROM (SELECT *, ((at AT TIME ZONE of_company.time_zone)::date + 1 + seed_draw(call_id || 'day', 6)
                             + make_time(9 + seed_draw(call_id || 'hour', 8), 0, 0)) AT TIME ZONE of_company.time_zone AS start
                  FROM seed_calls WHERE booking = 'booked') b;
        DROP TABLE seed_calls;
        INSERT INTO recording_sessions (tenant, session_id, appointment_id, rep_user_id, status, audio_url, started_at, stopped_at)
            SELECT tenant, seed_id('visit ' || appointment_id), appointment_id, assigned_rep_id, 'completed', 'https://seed.example/visit.wav',
                   scheduled_start, scheduled_start + interval '40 minutes'
            FROM appointments WHERE tenant = of_company.tenant AND status = 'completed' AND seed_draw(call_id || 'visit', 10) < 7
              AND scheduled_start + interval '40 minutes' < now();
        INSERT INTO recording_transcripts (tenant, session_id, provider, model, language, text, segments, speakers, words, duration_s, source_time)
            SELECT tenant, session_id, 'local', 'seed-data', 'en', E'agent: I have looked at everything.\ncustomer: What does it cost?',
                   '[{"speaker": "agent", "start_s": 0, "end_s": 3, "text": "I have looked at everything."},'
                   ' {"speaker": "customer", "start_s": 4, "end_s": 6, "text": "What does it cost?"}]', 2, 9, 6, stopped_at
            FROM recording_sessions WHERE tenant = of_company.tenant;
        INSERT INTO recording_analyses (tenant, session_id, provider, model, outcome, sentiment_score, sop_score, summary, source_time)
            SELECT s.tenant, s.session_id, 'rules', 'seed-data', a.outcome, CASE a.outcome WHEN 'won' THEN 0.7 WHEN 'lost' THEN -0.4 ELSE 0 END, 0.8,
                   'The work was looked at, and its price was asked for.', s.stopped_at
            FROM recording_sessions s JOIN appointments a ON a.tenant = s.tenant AND a.appointment_id = s.appointment_id
            WHERE s.tenant = of_company.tenant;
        PERFORM leads_follow_calls(of_company.tenant, (SELECT array_agg(lead_id) FROM leads WHERE tenant = of_company.tenant));
        UPDATE leads l SET status = 'closed' WHERE l.tenant = of_company.tenant AND EXISTS (
            SELECT 1 FROM appointments a WHERE a.tenant = l.tenant AND a.lead_id = l.lead_id AND a.outcome IN ('won', 'lost')
            AND a.scheduled_start > coalesce(l.status_call_at, '-infinity'));
    END LOOP;
    RETURN QUERY SELECT t.name, t.marked FROM seed_data_marked() t;
END $$;

-- --- what is sample data, and its removal ---------------------------------------------------------------------------------

-- The tables in the order in which they are emptied, how a row of theirs is known, and what it is called.
CREATE FUNCTION seed_tables() RETURNS TABLE (number integer, name text, mark text, called text) LANGUAGE sql IMMUTABLE AS $$ VALUES
    (1, 'recording_analyses', $m$session_id::text LIKE '5eed%'$m$, 'session_id'), (2, 'recording_transcripts', $m$session_id::text LIKE '5eed%'$m$, 'session_id'),
    (3, 'recording_sessions', $m$session_id::text LIKE '5eed%'$m$, 'session_id'), (4, 'call_analyses', $m$call_id LIKE 'SEED-%'$m$, 'call_id'),
    (5, 'call_transcripts', $m$call_id LIKE 'SEED-%'$m$, 'call_id'), (6, 'appointments', $m$appointment_id::text LIKE '5eed%'$m$, 'appointment_id'),
    (7, 'calls', $m$call_id LIKE 'SEED-%'$m$, 'call_id'), (8, 'leads', $m$lead_id::text LIKE '5eed%'$m$, 'lead_id'),
    (9, 'contact_cards', $m$contact_id::text LIKE '5eed%'$m$, 'contact_id'), (10, 'tracking_numbers', $m$label LIKE 'sample: %'$m$, 'number'),
    (11, 'users', $m$email LIKE '%@' || tenant || '.example' AND user_id LIKE 'seed-%'$m$, 'email'), (12, 'companies', 'true', 'tenant')
$$;

CREATE FUNCTION seed_data_marked() RETURNS TABLE (name text, marked bigint) LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    t record;
BEGIN
    FOR t IN SELECT * FROM seed_tables() s ORDER BY s.number LOOP
        name := t.name;
        EXECUTE format('SELECT count(*) FROM %I WHERE tenant LIKE ''seed-%%'' AND %s', t.name, t.mark) INTO marked;
        RETURN NEXT;
    END LOOP;
END $$;

-- The rows of other tables that hang on a row `t` of this one, as conditions.
CREATE FUNCTION seed_hangers(of_table regclass) RETURNS TABLE (child regclass, hangs text) LANGUAGE sql STABLE AS $$
    SELECT f.conrelid::regclass, (SELECT string_agg(format('c.%I = t.%I', theirs.attname, ours.attname), ' AND ')
        FROM unnest(f.conkey, f.confkey) AS k (their, our)
        JOIN pg_attribute theirs ON theirs.attrelid = f.conrelid AND theirs.attnum = k.their
        JOIN pg_attribute ours ON ours.attrelid = f.confrelid AND ours.attnum = k.our)
    FROM pg_constraint f WHERE f.confrelid = of_table AND f.contype = 'f' AND f.confdeltype <> 'c'
$$;

-- Removes it, but for rows that others hang on, which are named.  Not `really`: tells what it would do.
CREATE FUNCTION seed_data_remove(really boolean) RETURNS TABLE (of_table text, removed bigint, kept bigint, because text)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    t record;
    h record;
    of_seed text;
    hanging bigint;
    told text[] := '{}';
    names text[];
BEGIN
    BEGIN
        FOR t IN SELECT * FROM seed_tables() s ORDER BY s.number LOOP
            of_seed := format('t.tenant LIKE ''seed-%%'' AND (%s)', t.mark);
            EXECUTE format('DELETE FROM %I t WHERE %s %s', t.name, of_seed, (
                SELECT coalesce(string_agg(format('AND NOT EXISTS (SELECT 1 FROM %s c WHERE %s)', s.child, s.hangs), ' '), '')
                FROM seed_hangers(t.name::regclass) s));
            GET DIAGNOSTICS removed = ROW_COUNT;
            EXECUTE format('SELECT count(*), (array_agg(%I::text ORDER BY %I))[1:5] FROM %I t WHERE %s', t.called, t.called, t.name, of_seed)
                INTO kept, names;
            because := NULL;
            IF kept > 0 THEN
                because := array_to_string(names, ', ') || CASE WHEN kept > 5 THEN ' …' ELSE '' END || ': ';
                FOR h IN SELECT * FROM seed_hangers(t.name::regclass) LOOP
                    EXECUTE format('SELECT count(*) FROM %s c JOIN %I t ON %s WHERE t.tenant LIKE ''seed-%%'' AND t.%I::text = ANY ($1)',
                                   h.child, t.name, h.hangs, t.called) INTO hanging USING names;
                    IF hanging > 0 THEN
                        because := because || hanging || ' of ' || h.child || ' ';
                    END IF;
                END LOOP;
            END IF;
            told := told || format('%s|%s|%s|%s', t.name, removed, kept, coalesce(trim(because), ''));
        END LOOP;
        IF NOT really THEN
            RAISE EXCEPTION USING ERRCODE = 'SB002';
        END IF;
        PERFORM metrics_recount(s.tenant) FROM (VALUES ('seed-plumbing'), ('seed-roofing')) s (tenant);
    EXCEPTION WHEN SQLSTATE 'SB002' THEN
        NULL;           -- as it was before
    END;
    RETURN QUERY SELECT split_part(line, '|', 1), split_part(line, '|', 2)::bigint, split_part(line, '|', 3)::bigint,
                        nullif(split_part(line, '|', 4), '') FROM unnest(told) AS line;
END $$;

DO $$
DECLARE
    of_seed regprocedure;
BEGIN
    FOR of_seed IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.proname LIKE 'seed\_%' LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', of_seed);
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION seed_data_add(), seed_data_remove(boolean) TO switchboard_operator;
