"""A million calls of three companies over 18 months, ever more of them, in working hours, with all that hangs on them.

The rows are put there with triggers off and counted afterwards (metrics_recount), as after a restore."""

from dataclasses import dataclass

CALLS = 1_000_000
DAYS = 548


@dataclass
class Company:
    tenant: str
    time_zone: str
    share: float
    csrs: int
    reps: int


COMPANIES = [Company("big", "America/New_York", 0.75, 20, 12), Company("middle", "Europe/Berlin", 0.2, 8, 5),
             Company("small", "Australia/Lord_Howe", 0.05, 3, 2)]
WORDS = ("thank you for calling how can i help my water heater is leaking need someone today we have nobody free before monday that is too "
         "expensive can you come at ten in the morning what is your address name phone number twenty five oak street yes works no maybe "
         "later let me ask husband wife roof window door furnace heating broken emergency quote estimate price warranty invoice schedule "
         "appointment booked tuesday wednesday thursday friday afternoon evening week month installed repair drain pipe sink toilet "
         "electric outlet painting gutter basement kitchen bathroom garage insurance landlord tenant neighbour reviews technician").split()
SENTENCES = 2000

# $1 tenant, $2 how many of each
ROWS = {
    "contact_cards": """
        INSERT INTO contact_cards (tenant, contact_id, phone, name, created_at)
        SELECT %(tenant)s, md5('contact' || %(tenant)s || k)::uuid, '+1' || (2000000000 + %(base)s + k), 'Customer ' || k,
               now() - random() * make_interval(days => %(days)s) FROM generate_series(1, %(contacts)s) k""",
    "leads": """
        INSERT INTO leads (tenant, lead_id, contact_id, status, status_call_at, created_at)
        SELECT %(tenant)s, md5('lead' || %(tenant)s || k)::uuid, md5('contact' || %(tenant)s || k)::uuid,
               CASE WHEN r < 0.05 THEN 'new' WHEN r < 0.15 THEN 'hot' WHEN r < 0.3 THEN 'warm' WHEN r < 0.6 THEN 'cold' ELSE 'closed' END,
               at, at FROM (SELECT k, random() AS r, now() - random() * make_interval(days => %(days)s) AS at
                            FROM generate_series(1, %(contacts)s) k) l""",
    # the density grows to the end; a few customers call often
    "calls": """
        INSERT INTO calls (tenant, call_id, source, status, direction, tracking_number, customer_number, contact_id, lead_id, csr_user_id,
                           answered, started_at, duration_s, recording_url, created_at, callback_done_at)
        SELECT %(tenant)s, 'CAL' || %(tenant)s || n, 'callrail', status, 'inbound', '+1202' || (5550000 + n %% 40), '+1' || (2000000000 + %(base)s + k),
               md5('contact' || %(tenant)s || k)::uuid, md5('lead' || %(tenant)s || k)::uuid,
               CASE WHEN status = 'completed' AND random() < 0.95 THEN %(tenant)s || '-csr-' || (1 + floor(%(csrs)s * random() * random()))::integer END,
               status = 'completed', at, (random() * 600)::integer, CASE WHEN status = 'completed' THEN 'https://recordings.test/' || n END,
               at, CASE WHEN status = 'missed' AND at < now() - interval '3 days' THEN at + interval '1 day' END
        FROM (SELECT n, 1 + floor(%(contacts)s * random() * random())::integer AS k,
                     CASE WHEN random() < 0.79 THEN 'completed' WHEN random() < 0.95 THEN 'missed' ELSE 'failed' END AS status,
                     date_trunc('day', now() - make_interval(days => 1 + ((%(days)s - 1) * (1 - sqrt(random())))::integer))
                     + interval '13 hours' + random() * interval '10 hours' AS at
              FROM generate_series(1, %(calls)s) n) c""",
    "call_transcripts": """
        INSERT INTO call_transcripts (tenant, call_id, provider, text, segments, speakers, words, source_time)
        SELECT c.tenant, c.call_id, 'local', t.text, '[]', 2, 60, c.call_at
        FROM calls c, LATERAL (SELECT string_agg(s.text, E'\\n') || E'\\nagent: reference ' || c.call_id AS text
                               FROM (SELECT 1 + floor(%(sentences)s * random())::integer AS k
                                     FROM generate_series(1, 6) WHERE c.call_id <> '') p
                               JOIN bench_sentences s ON s.k = p.k) t
        WHERE c.tenant = %(tenant)s AND c.status = 'completed' AND t.text IS NOT NULL""",
    "call_analyses": """
        INSERT INTO call_analyses (tenant, call_id, provider, lead_qualification, booking_status, call_outcome_category, sentiment_score,
                                   objections, sop_score, summary, source_time)
        SELECT tenant, call_id, 'rules', CASE WHEN r < 0.3 OR b < 0.25 THEN 'hot' WHEN r < 0.7 THEN 'warm' ELSE 'cold' END,
               CASE WHEN b < 0.25 THEN 'booked' WHEN b < 0.3 THEN 'service_not_offered' ELSE 'not_booked' END,
               CASE WHEN b < 0.25 THEN 'booked' ELSE 'other' END, round((random() * 2 - 1)::numeric, 3),
               CASE WHEN o < 0.3 THEN jsonb_build_array(jsonb_build_object('category',
                    (ARRAY['price', 'timing', 'trust', 'competitor', 'need', 'authority', 'other'])[1 + floor(7 * random() * random())::integer],
                    'quote', 'that is too much for me')) ELSE '[]' END,
               round(random()::numeric, 2), 'The customer said what is needed, and it was noted.', call_at
        FROM (SELECT tenant, call_id, call_at, random() AS r, random() AS b, random() AS o FROM calls
              WHERE tenant = %(tenant)s AND status = 'completed') c""",
    "appointments": """
        INSERT INTO appointments (tenant, appointment_id, call_id, lead_id, assigned_rep_id, scheduled_start, service_type, status, outcome,
                                  source_time, created_at)
        SELECT tenant, md5('appointment' || call_id)::uuid, call_id, lead_id,
               CASE WHEN random() < 0.9 THEN tenant || '-rep-' || (1 + floor(%(reps)s * random()))::integer END, at, 'repair',
               CASE WHEN at > now() THEN 'scheduled' WHEN random() < 0.9 THEN 'completed' ELSE 'cancelled' END,
               CASE WHEN at > now() OR r < 0.2 THEN 'pending' WHEN r < 0.65 THEN 'won' ELSE 'lost' END, call_at, call_at
        FROM (SELECT c.tenant, c.call_id, c.lead_id, c.call_at, random() AS r, c.call_at + random() * interval '10 days' AS at
              FROM calls c JOIN call_analyses a ON a.tenant = c.tenant AND a.call_id = c.call_id
              WHERE c.tenant = %(tenant)s AND a.booking_status = 'booked') b""",
    "recording_sessions": """
        INSERT INTO recording_sessions (tenant, session_id, appointment_id, rep_user_id, status, audio_url, started_at, stopped_at)
        SELECT tenant, md5('session' || appointment_id)::uuid, appointment_id, assigned_rep_id, 'completed', 'https://audio.test/a.wav',
               scheduled_start, scheduled_start + interval '1 hour'
        FROM appointments WHERE tenant = %(tenant)s AND status = 'completed' AND random() < 0.6""",
}
USERS = """INSERT INTO users (tenant, email, user_id, name, role)
           SELECT %(tenant)s, role || '-' || k || '@' || %(tenant)s || '.test', %(tenant)s || '-' || role || '-' || k, initcap(role) || ' ' || k, role
           FROM (SELECT 'csr' AS role, k FROM generate_series(1, %(csrs)s) k
                 UNION ALL SELECT 'rep', k FROM generate_series(1, %(reps)s) k) people"""
SENTENCES_MADE = """CREATE TEMPORARY TABLE bench_sentences AS
           SELECT k, CASE k %% 2 WHEN 0 THEN 'agent: ' ELSE 'customer: ' END || string_agg(word, ' ') AS text
           FROM (SELECT k, (%(words)s::text[])[1 + floor(array_length(%(words)s::text[], 1) * random() * random())::integer] AS word
                 FROM generate_series(1, %(sentences)s) k, generate_series(1, 10)) w GROUP BY k"""
SEARCH_INDEX = "CREATE INDEX call_transcripts_search ON call_transcripts USING gin (search)"


def fill(connection, calls):
    """In a database that has the tables alone.  `connection` is the owner's, autocommit."""
    connection.execute("SET session_replication_role = replica")
    connection.execute("SET synchronous_commit = off")
    connection.execute("SET maintenance_work_mem = '256MB'")
    connection.execute("SELECT setseed(0.42)")
    connection.execute(SENTENCES_MADE, {"words": WORDS, "sentences": SENTENCES})
    connection.execute("CREATE INDEX ON bench_sentences (k)")
    connection.execute("ANALYZE bench_sentences")
    connection.execute("DROP INDEX call_transcripts_search")
    for number, company in enumerate(COMPANIES):
        about = {"tenant": company.tenant, "calls": int(calls * company.share), "contacts": max(1, int(calls * company.share * 0.35)),
                 "csrs": company.csrs, "reps": company.reps, "days": DAYS, "base": number * 10_000_000, "sentences": SENTENCES}
        connection.execute("INSERT INTO companies (tenant, name, time_zone) VALUES (%s, %s, %s)",
                           [company.tenant, company.tenant.title(), company.time_zone])
        connection.execute(USERS, about)
        for table, statement in ROWS.items():
            connection.execute(statement, about)
            connection.execute(f"ANALYZE {table}")
    connection.execute(SEARCH_INDEX)
    connection.execute("SET session_replication_role = origin")
    connection.execute("SELECT metrics_recount(NULL)")
    connection.execute("VACUUM ANALYZE")
    connection.execute("CHECKPOINT")
