-- The test stage's role and tables; put in by the tests, not a migration of the product.
DO $$ BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'switchboard_echo') THEN CREATE ROLE switchboard_echo NOLOGIN; END IF;
END $$;
GRANT switchboard_echo TO CURRENT_USER;
CREATE TABLE IF NOT EXISTS echo_rows (
    subject     text        NOT NULL,
    n           bigint      NOT NULL,
    number      integer     NOT NULL,
    event_id    uuid        NOT NULL,
    run         integer     NOT NULL,
    position    bigint      GENERATED ALWAYS AS IDENTITY,
    at          timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE IF NOT EXISTS echo_counters (name text PRIMARY KEY, value bigint NOT NULL CHECK (value >= 0));
CREATE TABLE IF NOT EXISTS echo_due (id text PRIMARY KEY, next_check_at timestamptz NOT NULL, subject text NOT NULL);
GRANT SELECT, INSERT, UPDATE, DELETE ON echo_rows, echo_counters, echo_due TO switchboard_echo;
DO $$
DECLARE of_table text;
BEGIN
    FOREACH of_table IN ARRAY ARRAY['ledger', 'emitted', 'asks', 'parked'] LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO switchboard_echo', of_table);
        IF NOT EXISTS (SELECT 1 FROM pg_policies WHERE tablename = of_table AND policyname = 'writer_switchboard_echo') THEN
            EXECUTE format('CREATE POLICY writer_switchboard_echo ON %I FOR ALL TO switchboard_echo USING (true) WITH CHECK (true)', of_table);
        END IF;
    END LOOP;
    IF NOT EXISTS (SELECT 1 FROM pg_policies WHERE tablename = 'erased' AND policyname = 'echo') THEN
        CREATE POLICY echo ON erased FOR SELECT TO switchboard_echo USING (true);
    END IF;
END $$;
GRANT SELECT ON erased, restores TO switchboard_echo;
GRANT SELECT, INSERT, UPDATE, DELETE ON crashes, instances TO switchboard_echo;
GRANT SELECT ON pauses TO switchboard_echo;
GRANT EXECUTE ON FUNCTION runtime_partitions(integer, integer) TO switchboard_echo;
