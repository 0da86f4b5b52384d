-- Erased people, and partitions that are made and dropped without holding anybody up.  Owner: the runtime.

-- Conversations whose person was erased (`sb erase`): the stages pass over their events, however late or often they come, and say
-- so in the ledger.  Only hashes are kept, so that this is no list of people; it knows no tenant, since a conversation's key has one.
CREATE TABLE erased (
    subject_sha256  bytea       PRIMARY KEY CHECK (length(subject_sha256) = 32),    -- of the key of its events: a call, an address
    until           timestamptz,            -- events of after this are a new matter (an address writes again); null: a closed one
    erased_at       timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE erased ENABLE ROW LEVEL SECURITY;
CREATE POLICY stages ON erased FOR SELECT TO switchboard_ingest, switchboard_transcribe, switchboard_analyze, switchboard_vision,
    switchboard_notifier USING (true);
GRANT SELECT ON erased TO switchboard_ingest, switchboard_transcribe, switchboard_analyze, switchboard_vision, switchboard_notifier;

-- An erased contact keeps its calls and leads together, and is nobody.
ALTER TABLE contact_cards ALTER COLUMN phone DROP NOT NULL;

-- One partition made or dropped, or none when its parent is in use for longer than the lock is waited for.  Making and dropping lock
-- the whole table, and whoever waits for such a lock holds up all that come after: a commit, for as long as a backup reads.
CREATE FUNCTION runtime_partition_try(statement text) RETURNS boolean
    LANGUAGE plpgsql SET search_path = public, pg_temp SET lock_timeout = '200ms' AS $$
BEGIN
    EXECUTE statement;
    RETURN true;
EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
    RAISE WARNING 'not now, since the table is in use: %', statement;
    RETURN false;
END $$;
REVOKE EXECUTE ON FUNCTION runtime_partition_try(text) FROM PUBLIC;

-- Makes the partitions of the days around today and drops those that are over.  Every stage calls it each minute, so what could not be
-- done now is done later: partitions are made two days ahead.
CREATE OR REPLACE FUNCTION runtime_partitions(ledger_days integer, emitted_days integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    of_table text;
    keep_days integer;
    of_day date;
    old_partition regclass;
    in_default boolean;
    today date := (now() AT TIME ZONE 'UTC')::date;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('switchboard runtime_partitions')) THEN
        RETURN;
    END IF;
    FOR of_table, keep_days IN VALUES ('ledger', ledger_days), ('emitted', emitted_days) LOOP
        FOR of_day IN SELECT today + n FROM generate_series(-1, 2) AS n LOOP
            CONTINUE WHEN to_regclass(format('%I', of_table || to_char(of_day, '_YYYYMMDD'))) IS NOT NULL;
            -- rows that came before their partition stay where they are
            EXECUTE format('SELECT EXISTS (SELECT 1 FROM %I WHERE day = %L)', of_table || '_default', of_day) INTO in_default;
            CONTINUE WHEN in_default;
            EXIT WHEN NOT runtime_partition_try(format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                                                       of_table || to_char(of_day, '_YYYYMMDD'), of_table, of_day, of_day + 1));
        END LOOP;
        FOR old_partition IN
            SELECT c.oid::regclass FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = of_table::regclass AND c.relname ~ (of_table || '_\d{8}$')
              AND to_date(right(c.relname, 8), 'YYYYMMDD') < today - keep_days ORDER BY c.relname LOOP
            EXIT WHEN NOT runtime_partition_try(format('DROP TABLE %s', old_partition));
        END LOOP;
        EXECUTE format('DELETE FROM %I WHERE day < %L', of_table || '_default', today - keep_days);
    END LOOP;
    -- no topic keeps an event for so long: an address may be forgotten again
    DELETE FROM erased WHERE until < now() - interval '60 days';
END $$;
