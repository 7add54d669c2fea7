-- Circuit breakers: what they are, how their circuits stand, what workers counted, and each time that one tripped.

-- Rises with every change. The check of an intent against the circuits is of one version; see penstock.append below.
CREATE TABLE penstock.breaker_version (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    version integer NOT NULL
) WITH (fillfactor = 10);
INSERT INTO penstock.breaker_version (version) VALUES (0);

CREATE TABLE penstock.breakers (
    tenant text COLLATE "C" NOT NULL,
    name   text COLLATE "C" NOT NULL,
    scope  text COLLATE "C" NOT NULL,
    spec   bytea NOT NULL,              -- JSON of penstock.ports.breakers.Breaker
    set_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    set_by text NOT NULL,
    PRIMARY KEY (tenant, name)
);

CREATE TABLE penstock.breaker_circuits (
    tenant       text COLLATE "C" NOT NULL,
    name         text COLLATE "C" NOT NULL,
    value        text COLLATE "C" NOT NULL,
    is_open      boolean NOT NULL DEFAULT false,
    generation   integer NOT NULL DEFAULT 0,
    opened_at    timestamptz,
    until        timestamptz,           -- when it becomes half-open
    probe_by     uuid,                  -- who has the one probe, and until when
    probe_until  timestamptz,
    probes_ok    integer NOT NULL DEFAULT 0,
    base_samples bigint NOT NULL DEFAULT 0,
    base_nano    bigint NOT NULL DEFAULT 0,
    reference    bytea NOT NULL DEFAULT '',
    trip         uuid,
    PRIMARY KEY (tenant, name, value),
    FOREIGN KEY (tenant, name) REFERENCES penstock.breakers ON DELETE CASCADE
);

CREATE TABLE penstock.breaker_reports (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant     text COLLATE "C" NOT NULL,
    name       text COLLATE "C" NOT NULL,
    value      text COLLATE "C" NOT NULL,
    generation integer NOT NULL,
    holder     uuid NOT NULL,
    at         timestamptz NOT NULL,
    counts     bigint[] NOT NULL,
    evidence   float8[] NOT NULL
);

CREATE TABLE penstock.breaker_trips (
    tenant    text COLLATE "C" NOT NULL,
    id        uuid NOT NULL,
    name      text COLLATE "C" NOT NULL,
    value     text COLLATE "C" NOT NULL,
    at        timestamptz NOT NULL,
    actor     text NOT NULL,
    evidence  bytea NOT NULL,
    sealed    boolean NOT NULL,
    closed_at timestamptz,
    closed_by text NOT NULL DEFAULT '',
    PRIMARY KEY (tenant, id)
);
CREATE INDEX breaker_trips_newest ON penstock.breaker_trips (tenant, at DESC, id DESC);

-- Whoever listens looks again; whoever missed it looks at the version soon.
CREATE FUNCTION penstock.breakers_changed() RETURNS void LANGUAGE sql VOLATILE AS $$
    UPDATE penstock.breaker_version SET version = version + 1;
    SELECT pg_notify('penstock_breakers', '');
$$;

CREATE FUNCTION penstock.put_breaker(p_tenant text, p_name text, p_scope text, p_spec bytea, p_by text, p_most integer)
    RETURNS boolean LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM FROM penstock.breaker_version FOR UPDATE;  -- one after the other: they are counted
    IF NOT EXISTS (SELECT FROM penstock.breakers b WHERE b.tenant = p_tenant AND b.name = p_name)
       AND (SELECT count(*) FROM penstock.breakers) >= p_most THEN
        RETURN false;
    END IF;
    INSERT INTO penstock.breakers (tenant, name, scope, spec, set_by)
    VALUES (p_tenant, p_name, p_scope, p_spec, p_by)
    ON CONFLICT (tenant, name) DO UPDATE
    SET scope = excluded.scope, spec = excluded.spec, set_by = excluded.set_by, set_at = clock_timestamp();
    PERFORM penstock.breakers_changed();
    RETURN true;
END
$$;

CREATE FUNCTION penstock.remove_breaker(p_tenant text, p_name text) RETURNS boolean LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    DELETE FROM penstock.breakers b WHERE b.tenant = p_tenant AND b.name = p_name;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM penstock.breakers_changed();
    RETURN true;
END
$$;

-- The circuit that a value belongs to, made when it is not there: its own, or beyond p_most values that of all others.
-- NULL when the breaker is gone.
CREATE FUNCTION penstock.breaker_circuit(p_tenant text, p_name text, p_value text, p_most integer) RETURNS text
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_value text := p_value;
BEGIN
    IF EXISTS (
        SELECT FROM penstock.breaker_circuits c WHERE c.tenant = p_tenant AND c.name = p_name AND c.value = p_value
    ) THEN
        RETURN p_value;
    END IF;
    PERFORM FROM penstock.breakers b WHERE b.tenant = p_tenant AND b.name = p_name FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF p_value <> '(other)' AND p_most <= (
        SELECT count(*) FROM penstock.breaker_circuits c
        WHERE c.tenant = p_tenant AND c.name = p_name AND c.value <> '(other)'
    ) THEN
        v_value := '(other)';
    END IF;
    INSERT INTO penstock.breaker_circuits (tenant, name, value) VALUES (p_tenant, p_name, v_value)
    ON CONFLICT DO NOTHING;
    RETURN v_value;
END
$$;

-- One worker's report, and what the others reported. The lock makes reports visible in the order of their ids, so that
-- a cursor misses none.
CREATE FUNCTION penstock.share_breakers(
    p_holder uuid, p_cursor bigint, p_keep interval, p_most integer, p_rows integer,
    p_tenant text[], p_name text[], p_value text[], p_generation integer[], p_learn bigint[],
    p_counts bigint[], p_evidence float8[],       -- seven and four a report
    OUT version integer, OUT now_us bigint, OUT cursor_id bigint, OUT others jsonb, OUT bases jsonb
)
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_now   timestamptz;
    v_row   penstock.breaker_circuits;
    v_value text;
BEGIN
    IF cardinality(p_tenant) > 0 THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('penstock.breaker_reports', 0));
    END IF;
    v_now := clock_timestamp();
    bases := '[]';
    FOR i IN 1..cardinality(p_tenant) LOOP
        v_value := penstock.breaker_circuit(p_tenant[i], p_name[i], p_value[i], p_most);
        CONTINUE WHEN v_value IS NULL;
        UPDATE penstock.breaker_circuits c
        SET base_samples = c.base_samples + CASE WHEN c.base_samples < p_learn[i] THEN p_counts[i * 7 - 1] ELSE 0 END,
            base_nano = c.base_nano + CASE WHEN c.base_samples < p_learn[i] THEN p_counts[i * 7] ELSE 0 END
        WHERE c.tenant = p_tenant[i] AND c.name = p_name[i] AND c.value = v_value AND c.generation = p_generation[i]
        RETURNING c.* INTO v_row;
        CONTINUE WHEN NOT FOUND;
        bases := bases || jsonb_build_array(
            jsonb_build_array(v_row.tenant, v_row.name, v_row.value, v_row.base_samples, v_row.base_nano)
        );
        INSERT INTO penstock.breaker_reports (tenant, name, value, generation, holder, at, counts, evidence)
        VALUES (p_tenant[i], p_name[i], v_value, p_generation[i], p_holder, v_now,
                p_counts[i * 7 - 6 : i * 7], p_evidence[i * 4 - 3 : i * 4]);
    END LOOP;
    IF cardinality(p_tenant) > 0 THEN
        DELETE FROM penstock.breaker_reports d WHERE d.id IN (
            SELECT o.id FROM penstock.breaker_reports o WHERE o.at < v_now - p_keep ORDER BY o.id LIMIT 1000
        ) AND d.id < (SELECT min(o.id) + 2000 FROM penstock.breaker_reports o);
    END IF;
    SELECT coalesce(max(r.id), p_cursor),
           coalesce(jsonb_agg(jsonb_build_array(
               r.tenant, r.name, r.value, r.generation, penstock.to_us(r.at), r.counts, r.evidence) ORDER BY r.id
           ) FILTER (WHERE r.holder <> p_holder AND r.at > v_now - p_keep), '[]')
    INTO cursor_id, others
    FROM (
        SELECT n.* FROM penstock.breaker_reports n WHERE n.id > p_cursor ORDER BY n.id DESC LIMIT p_rows
    ) AS r;
    SELECT b.version INTO version FROM penstock.breaker_version b;
    now_us := penstock.to_us(clock_timestamp());
END
$$;

CREATE FUNCTION penstock.learn_breaker(p_tenant text, p_name text, p_value text, p_reference bytea, p_most integer)
    RETURNS bytea LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_value text := penstock.breaker_circuit(p_tenant, p_name, p_value, p_most);
BEGIN
    UPDATE penstock.breaker_circuits c SET reference = p_reference
    WHERE c.tenant = p_tenant AND c.name = p_name AND c.value = v_value AND c.reference = '';
    IF FOUND THEN
        PERFORM penstock.breakers_changed();
    END IF;
    RETURN coalesce((
        SELECT c.reference FROM penstock.breaker_circuits c
        WHERE c.tenant = p_tenant AND c.name = p_name AND c.value = v_value
    ), p_reference);
END
$$;

CREATE FUNCTION penstock.tell_of_breaker() RETURNS trigger LANGUAGE plpgsql
AS $$
DECLARE
    v_scope text;
BEGIN
    SELECT b.scope INTO v_scope FROM penstock.breakers b WHERE b.tenant = NEW.tenant AND b.name = NEW.name;
    PERFORM penstock.tell_endpoints(
        NEW.tenant, CASE WHEN NEW.closed_at IS NULL THEN 'breaker.opened' ELSE 'breaker.closed' END, NULL,
        CASE WHEN v_scope = 'agent' AND NEW.value <> '(other)' THEN NEW.value END, NEW.id::text,
        CASE WHEN NEW.closed_at IS NULL THEN
            json_build_object('breaker', NEW.name, 'value', NEW.value, 'trip', NEW.id, 'by', NEW.actor, 'until', (
                SELECT penstock.to_us(c.until) FROM penstock.breaker_circuits c
                WHERE c.tenant = NEW.tenant AND c.name = NEW.name AND c.value = NEW.value
            ))
        ELSE json_build_object('breaker', NEW.name, 'value', NEW.value, 'trip', NEW.id, 'by', NEW.closed_by)
        END::text
    );
    RETURN NULL;
END
$$;
CREATE TRIGGER breaker_trips_tell AFTER INSERT OR UPDATE OF closed_at ON penstock.breaker_trips
    FOR EACH ROW EXECUTE FUNCTION penstock.tell_of_breaker();

-- Closes a circuit that is open, and its trip. The caller has its row.
CREATE FUNCTION penstock.close_breaker(p_row penstock.breaker_circuits, p_by text) RETURNS void
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    UPDATE penstock.breaker_circuits c
    SET is_open = false, generation = c.generation + 1, until = NULL, probes_ok = 0, probe_by = NULL, probe_until = NULL
    WHERE c.tenant = p_row.tenant AND c.name = p_row.name AND c.value = p_row.value AND c.is_open;
    IF FOUND THEN
        UPDATE penstock.breaker_trips t SET closed_at = clock_timestamp(), closed_by = p_by
        WHERE t.tenant = p_row.tenant AND t.id = p_row.trip;
        PERFORM penstock.breakers_changed();
    END IF;
END
$$;

-- Opens a circuit, once. With p_wait_ms it first takes the lock that every append shares: who has it can know that no
-- append is under way that missed what is done here. It waits for that lock no longer than p_wait_ms, for all appends
-- wait behind it meanwhile, and raises lock_not_available; with NULL it goes without.
CREATE FUNCTION penstock.trip_breaker(
    p_tenant text, p_name text, p_value text, p_generation integer, p_trip uuid, p_us bigint, p_by text,
    p_evidence bytea, p_most integer, p_wait_ms integer, p_keep interval
) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_row   penstock.breaker_circuits;
    v_value text;
    v_until timestamptz;
BEGIN
    IF EXISTS (SELECT FROM penstock.breaker_trips t WHERE t.tenant = p_tenant AND t.id = p_trip) THEN
        RETURN true;  -- sent again, after its answer was lost
    END IF;
    IF p_wait_ms IS NOT NULL THEN
        PERFORM set_config('lock_timeout', p_wait_ms || 'ms', true);
        PERFORM pg_advisory_xact_lock(penstock.append_lock());
        PERFORM set_config('lock_timeout', '5s', true);
    END IF;
    v_value := penstock.breaker_circuit(p_tenant, p_name, p_value, p_most);
    SELECT * INTO v_row FROM penstock.breaker_circuits c
    WHERE c.tenant = p_tenant AND c.name = p_name AND c.value = v_value FOR UPDATE;
    IF NOT FOUND OR (p_generation IS NOT NULL AND (v_row.generation <> p_generation OR v_row.is_open)) THEN
        RETURN false;
    END IF;
    v_until := greatest(
        clock_timestamp() + p_us * interval '1 microsecond', CASE WHEN v_row.is_open THEN v_row.until END
    );
    IF v_row.is_open THEN
        PERFORM penstock.close_breaker(v_row, p_by);
    END IF;
    UPDATE penstock.breaker_circuits c
    SET is_open = true, generation = v_row.generation + 1, opened_at = clock_timestamp(), until = v_until,
        probes_ok = 0, probe_by = NULL, probe_until = NULL, trip = p_trip
    WHERE c.tenant = p_tenant AND c.name = p_name AND c.value = v_value;
    INSERT INTO penstock.breaker_trips (tenant, id, name, value, at, actor, evidence, sealed)
    VALUES (p_tenant, p_trip, p_name, v_value, clock_timestamp(), p_by, p_evidence, p_wait_ms IS NOT NULL);
    DELETE FROM penstock.breaker_trips t
    WHERE t.tenant = p_tenant AND t.at < clock_timestamp() - p_keep;
    PERFORM penstock.breakers_changed();
    RETURN true;
END
$$;

CREATE FUNCTION penstock.probe_breaker(
    p_tenant text, p_name text, p_value text, p_generation integer, p_holder uuid, p_us bigint
) RETURNS boolean LANGUAGE sql VOLATILE
AS $$
    WITH taken AS (
        UPDATE penstock.breaker_circuits c
        SET probe_by = p_holder, probe_until = clock_timestamp() + p_us * interval '1 microsecond'
        WHERE c.tenant = p_tenant AND c.name = p_name AND c.value = p_value AND c.generation = p_generation
          AND c.is_open AND c.until <= clock_timestamp()
          AND (c.probe_by IS NULL OR c.probe_until <= clock_timestamp())
        RETURNING 1
    )
    SELECT EXISTS (SELECT FROM taken)
$$;

CREATE FUNCTION penstock.probed_breaker(
    p_tenant text, p_name text, p_value text, p_generation integer, p_holder uuid, p_ok boolean, p_wanted integer,
    p_us bigint
) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_row penstock.breaker_circuits;
BEGIN
    SELECT * INTO v_row FROM penstock.breaker_circuits c
    WHERE c.tenant = p_tenant AND c.name = p_name AND c.value = p_value AND c.generation = p_generation
      AND c.is_open AND c.probe_by = p_holder FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF p_ok AND v_row.probes_ok + 1 >= p_wanted THEN
        PERFORM penstock.close_breaker(v_row, 'probes');
        RETURN;
    END IF;
    UPDATE penstock.breaker_circuits c
    SET probe_by = NULL, probe_until = NULL,
        probes_ok = CASE WHEN p_ok THEN c.probes_ok + 1 WHEN NOT p_ok THEN 0 ELSE c.probes_ok END,
        generation = CASE WHEN NOT p_ok THEN c.generation + 1 ELSE c.generation END,
        until = CASE WHEN NOT p_ok THEN clock_timestamp() + p_us * interval '1 microsecond' ELSE c.until END
    WHERE c.tenant = p_tenant AND c.name = p_name AND c.value = p_value;
    IF NOT p_ok THEN
        PERFORM penstock.breakers_changed();
    END IF;
END
$$;

CREATE FUNCTION penstock.reset_breaker(p_tenant text, p_name text, p_value text, p_by text, p_relearn boolean)
    RETURNS integer LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_row  penstock.breaker_circuits;
    v_open integer := 0;
BEGIN
    FOR v_row IN
        SELECT * FROM penstock.breaker_circuits c
        WHERE c.tenant = p_tenant AND c.name = p_name AND (p_value IS NULL OR c.value = p_value)
        ORDER BY c.value FOR UPDATE
    LOOP
        v_open := v_open + v_row.is_open::integer;
        PERFORM penstock.close_breaker(v_row, p_by);
        UPDATE penstock.breaker_circuits c
        SET generation = c.generation + 1,
            base_samples = CASE WHEN p_relearn THEN 0 ELSE c.base_samples END,
            base_nano = CASE WHEN p_relearn THEN 0 ELSE c.base_nano END,
            reference = CASE WHEN p_relearn THEN ''::bytea ELSE c.reference END
        WHERE c.tenant = p_tenant AND c.name = p_name AND c.value = v_row.value;
        PERFORM penstock.breakers_changed();
    END LOOP;
    RETURN v_open;
END
$$;

-- As before, and intents that were checked against circuits that have changed since are refused, to be checked again.
-- p_intent: 0 = the batch holds no intent; 1 = it does; 2 + version = they were checked at that version. Workers of
-- older code send 0 and 1, and breakers do not hold them.
CREATE OR REPLACE FUNCTION penstock.append(
    -- one element a batch; p_tenant has one element when all are of one tenant; p_end counts events up to its end
    p_tenant text[], p_run uuid[], p_epoch integer[], p_last integer[], p_count integer[], p_end integer[],
    p_intent integer[], p_summary bigint[],  -- p_summary: seven a batch; p_intent: see above
    -- one element an event; *_of is the position of its batch, from 1; p_from and p_size say where in p_bodies it is
    p_of integer[], p_seq integer[], p_from integer[], p_size integer[], p_bodies bytea, p_hashes bytea,
    p_blocking boolean,
    -- rare, NULL when there are none
    p_change_of integer[], p_change_status text[], p_change_wake bigint[], p_change_waiting bytea[],
    p_change_outcome text[], p_change_code text[],
    p_letter_of integer[], p_letter text[],
    p_post_of integer[], p_post_tenant text[], p_post_run uuid[], p_post_dedup text[], p_post_kind text[],
    p_post_body bytea[],
    p_child_of integer[], p_child_id uuid[], p_child_agent text[], p_child_release text[], p_child_env text[],
    p_child_format integer[], p_child_subject text[], p_child_subject_key bytea[], p_child_key text[],
    p_child_digest text[], p_child_session text[], p_child_priority integer[], p_child_path text[],
    p_child_root uuid[], p_child_deadline bigint[], p_child_tags text[], p_child_body bytea[], p_child_hash bytea[],
    OUT answers smallint[], OUT letters integer[], OUT stops text[], OUT at_us bigint
)
    LANGUAGE plpgsql VOLATILE
    SET plan_cache_mode = force_generic_plan
    SET jit = off
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET enable_mergejoin = off
    SET enable_hashjoin = off
AS $$
DECLARE
    v_n           integer := cardinality(p_run);
    v_tenant      text[] := p_tenant;
    v_posts       integer := coalesce(cardinality(p_post_of), 0);
    v_everything  boolean;
    v_tenants     text[];
    v_any_scoped  boolean;
    v_breakers    integer;             -- the version that checks of intents must be of
    v_scoped      text[];              -- by batch; NULL when there is none in force
    v_row         record;
    v_stop        text;
    v_ok          boolean[] := array_fill(false, ARRAY[v_n]);
    v_plain       boolean[];           -- accepted, and nothing changes but the summary
    v_again       integer[] := '{}';   -- batches whose row does not fit: re-sent, or out of place
    v_found       integer := 0;
    v_accepted    integer := 0;
    v_parent_held boolean[];           -- by post
    v_at          timestamptz;
    i             integer;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    IF cardinality(p_tenant) = 1 THEN
        v_tenant := array_fill(p_tenant[1], ARRAY[v_n]);
    END IF;
    answers := array_fill(0::smallint, ARRAY[v_n]);
    letters := array_fill(0, ARRAY[v_n]);
    stops := array_fill(NULL::text, ARRAY[v_n]);

    PERFORM pg_advisory_xact_lock_shared(penstock.append_lock());

    SELECT bool_or(c.tenant IS NULL), array_agg(c.tenant), penstock.any_scoped(),
           (SELECT b.version FROM penstock.breaker_version b)
    INTO v_everything, v_tenants, v_any_scoped, v_breakers
    FROM penstock.controls c WHERE c.run_id IS NULL AND c.lifted_at IS NULL;
    v_everything := coalesce(v_everything, false);
    v_tenants := coalesce(v_tenants, '{}');
    IF v_any_scoped THEN
        SELECT array_agg(s.action ORDER BY b.i) INTO v_scoped
        FROM unnest(v_tenant, p_run) WITH ORDINALITY AS b(tenant, run, i)
        LEFT JOIN penstock.runs r ON r.tenant = b.tenant AND r.id = b.run
        LEFT JOIN LATERAL penstock.scoped_stop(r.tenant, r.agent, r.release, r.session, r.customer) AS s ON true;
    END IF;

    IF p_blocking THEN  -- what is locked here is not skipped below
        PERFORM 1
        FROM unnest(v_tenant || p_post_tenant, p_run || p_post_run) AS b(tenant, run)
        JOIN penstock.runs r ON r.tenant = b.tenant AND r.id = b.run
        ORDER BY r.id
        FOR NO KEY UPDATE OF r;
    END IF;
    IF v_posts > 0 THEN
        v_parent_held := array_fill(false, ARRAY[v_posts]);
    END IF;
    FOR v_row IN
        SELECT b.i, r.epoch, r.last_seq, r.status, r.stop, r.letters
        FROM unnest(v_tenant || p_post_tenant, p_run || p_post_run) WITH ORDINALITY AS b(tenant, run, i)
        JOIN penstock.runs r ON r.tenant = b.tenant AND r.id = b.run
        ORDER BY r.id
        FOR NO KEY UPDATE OF r SKIP LOCKED
    LOOP
        i := v_row.i;
        IF i > v_n THEN
            v_parent_held[i - v_n] := true;
            CONTINUE;
        END IF;
        v_found := v_found + 1;
        v_stop := CASE
            WHEN v_everything OR v_tenant[i] = ANY (v_tenants) THEN 'kill'
            WHEN v_any_scoped THEN penstock.stronger(v_row.stop, v_scoped[i])
            ELSE v_row.stop
        END;
        letters[i] := v_row.letters;
        stops[i] := v_stop;
        IF v_row.epoch = p_epoch[i] AND v_row.last_seq = p_last[i] AND v_row.status = 'running' THEN
            IF v_stop IS NOT NULL AND p_intent[i] > 0 THEN
                answers[i] := 5;
            ELSIF p_intent[i] > 1 AND p_intent[i] - 2 < v_breakers THEN
                answers[i] := 6;
            ELSE
                answers[i] := 1;
                v_ok[i] := true;
                v_accepted := v_accepted + 1;
            END IF;
        ELSIF v_row.epoch = p_epoch[i] AND v_row.last_seq = p_last[i] AND p_count[i] = 0 THEN
            answers[i] := 1;  -- a move without events that was made before
        ELSE
            answers[i] := CASE WHEN v_row.epoch = p_epoch[i] AND v_row.status = 'running' THEN 2 ELSE 3 END;
            v_again := v_again || i;
        END IF;
    END LOOP;

    IF v_found < v_n THEN
        FOR i IN 1..v_n LOOP
            IF answers[i] = 0 AND NOT EXISTS (
                SELECT FROM penstock.runs r WHERE r.tenant = v_tenant[i] AND r.id = p_run[i]
            ) THEN
                answers[i] := 4;
            END IF;
        END LOOP;
    END IF;
    FOREACH i IN ARRAY v_again LOOP
        IF EXISTS (
            SELECT FROM penstock.events e
            WHERE e.tenant = v_tenant[i] AND e.run_id = p_run[i] AND e.seq = p_last[i] + p_count[i]
              AND e.hash = substring(p_hashes FROM p_end[i] * 32 - 31 FOR 32) AND p_count[i] > 0
        ) THEN
            answers[i] := 1;
        END IF;
    END LOOP;
    FOR k IN 1..v_posts LOOP  -- an end and its letter are written together or not at all
        i := p_post_of[k];
        IF v_ok[i] AND NOT v_parent_held[k] AND EXISTS (
            SELECT FROM penstock.runs r WHERE r.tenant = p_post_tenant[k] AND r.id = p_post_run[k]
        ) THEN
            answers[i] := 0;
            v_ok[i] := false;
            v_accepted := v_accepted - 1;
        END IF;
    END LOOP;

    v_at := clock_timestamp();
    at_us := penstock.to_us(v_at);
    IF v_accepted = 0 THEN
        RETURN;
    END IF;

    IF v_posts > 0 THEN
        WITH posted AS (
            INSERT INTO penstock.inbox (tenant, run_id, dedup, at, kind, body)
            SELECT p.tenant, p.run, p.dedup, v_at, p.kind, p.body
            FROM unnest(p_post_of, p_post_tenant, p_post_run, p_post_dedup, p_post_kind, p_post_body)
                AS p(i, tenant, run, dedup, kind, body)
            JOIN penstock.runs r ON r.tenant = p.tenant AND r.id = p.run AND r.status <> 'ended'
            WHERE v_ok[p.i]
            ON CONFLICT DO NOTHING
            RETURNING tenant, run_id
        ), added AS MATERIALIZED (
            SELECT tenant, run_id, count(*)::integer AS count FROM posted GROUP BY tenant, run_id
        )
        UPDATE penstock.runs r
        SET letters = r.letters + a.count,
            status = CASE r.status WHEN 'parked' THEN 'queued' ELSE r.status END,
            wake_at = CASE r.status WHEN 'parked' THEN v_at ELSE r.wake_at END
        FROM added a WHERE r.tenant = a.tenant AND r.id = a.run_id;
    END IF;
    IF p_letter_of IS NOT NULL THEN
        WITH consumed AS (
            UPDATE penstock.inbox x SET consumed = true
            FROM unnest(p_letter_of, p_letter) AS l(i, dedup)
            WHERE v_ok[l.i] AND x.tenant = v_tenant[l.i] AND x.run_id = p_run[l.i] AND x.dedup = l.dedup
              AND NOT x.consumed
            RETURNING x.tenant, x.run_id
        ), taken AS MATERIALIZED (
            SELECT tenant, run_id, count(*)::integer AS count FROM consumed GROUP BY tenant, run_id
        )
        UPDATE penstock.runs r SET letters = r.letters - t.count
        FROM taken t WHERE r.tenant = t.tenant AND r.id = t.run_id;
    END IF;

    v_plain := v_ok;
    IF p_change_of IS NOT NULL THEN
        FOREACH i IN ARRAY p_change_of LOOP
            v_plain[i] := false;
        END LOOP;
        UPDATE penstock.runs r
        SET last_seq = p_last[c.i] + p_count[c.i],
            head = CASE p_count[c.i]
                WHEN 0 THEN r.head
                ELSE substring(p_hashes FROM p_end[c.i] * 32 - 31 FOR 32)
            END,
            claims = 0,
            steps = p_summary[c.i * 7 - 6], model_calls = p_summary[c.i * 7 - 5], tool_calls = p_summary[c.i * 7 - 4],
            tokens = p_summary[c.i * 7 - 3], nano = p_summary[c.i * 7 - 2], reserved_nano = p_summary[c.i * 7 - 1],
            open_intents = p_summary[c.i * 7],
            waiting = coalesce(c.waiting, r.waiting),
            status = CASE
                WHEN c.status = 'parked' AND (r.letters > 0 OR r.stop IN ('cancel', 'kill')) THEN 'queued'
                ELSE coalesce(c.status, r.status)
            END,
            wake_at = CASE
                WHEN c.status = 'parked' AND (r.letters > 0 OR r.stop IN ('cancel', 'kill')) THEN v_at
                WHEN c.status = 'parked' THEN penstock.from_us(c.wake)
                WHEN c.status = 'queued' THEN coalesce(penstock.from_us(c.wake), v_at)
                WHEN c.status IS NULL THEN r.wake_at
            END,
            worker = CASE WHEN c.status IS NULL THEN r.worker END,
            ended_at = CASE WHEN c.status = 'ended' THEN v_at END,
            outcome = c.outcome,
            code = coalesce(c.code, '')
        FROM unnest(
            p_change_of, p_change_status, p_change_wake, p_change_waiting, p_change_outcome, p_change_code
        ) AS c(i, status, wake, waiting, outcome, code)
        WHERE v_ok[c.i] AND r.tenant = v_tenant[c.i] AND r.id = p_run[c.i];
        DELETE FROM penstock.inbox x
        USING unnest(p_change_of, p_change_status) AS c(i, status)
        WHERE v_ok[c.i] AND c.status = 'ended' AND x.tenant = v_tenant[c.i] AND x.run_id = p_run[c.i]
          AND x.kind <> 'settle';
    END IF;
    UPDATE penstock.runs r
    SET last_seq = b.last + b.count,
        head = CASE b.count WHEN 0 THEN r.head ELSE substring(p_hashes FROM b."end" * 32 - 31 FOR 32) END,
        claims = 0,
        steps = p_summary[b.i * 7 - 6], model_calls = p_summary[b.i * 7 - 5], tool_calls = p_summary[b.i * 7 - 4],
        tokens = p_summary[b.i * 7 - 3], nano = p_summary[b.i * 7 - 2], reserved_nano = p_summary[b.i * 7 - 1],
        open_intents = p_summary[b.i * 7]
    FROM unnest(v_tenant, p_run, p_last, p_count, p_end) WITH ORDINALITY AS b(tenant, run, last, count, "end", i)
    WHERE v_plain[b.i] AND r.tenant = b.tenant AND r.id = b.run;

    IF p_child_of IS NOT NULL THEN
        PERFORM penstock.create_runs(
            array_agg(v_tenant[c.i]), array_agg(c.id), array_agg(c.agent), array_agg(c.release), array_agg(c.env),
            array_agg(c.format), array_agg(c.subject), array_agg(c.subject_key), array_agg(c.key),
            array_agg(c.digest), array_agg(c.session), array_agg(c.priority), array_agg(p_run[c.i]),
            array_agg(c.path), array_agg(c.root), array_agg(c.deadline), array_agg(c.tags), array_agg(c.body),
            array_agg(c.hash)
        )
        FROM unnest(
            p_child_of, p_child_id, p_child_agent, p_child_release, p_child_env, p_child_format, p_child_subject,
            p_child_subject_key, p_child_key, p_child_digest, p_child_session, p_child_priority, p_child_path,
            p_child_root, p_child_deadline, p_child_tags, p_child_body, p_child_hash
        ) AS c(
            i, id, agent, release, env, format, subject, subject_key, key, digest, session, priority, path, root,
            deadline, tags, body, hash
        )
        WHERE v_ok[c.i]
        HAVING count(*) > 0;
    END IF;

    INSERT INTO penstock.events (tenant, run_id, seq, at, body, hash)
    SELECT v_tenant[e.i], p_run[e.i], e.seq, v_at, substring(p_bodies FROM e.start FOR e.size),
           substring(p_hashes FROM e.k::integer * 32 - 31 FOR 32)
    FROM unnest(p_of, p_seq, p_from, p_size) WITH ORDINALITY AS e(i, seq, start, size, k)
    WHERE v_ok[e.i];

    IF v_posts > 0 OR p_letter_of IS NOT NULL THEN
        FOR i IN 1..v_n LOOP
            letters[i] := (SELECT r.letters FROM penstock.runs r WHERE r.tenant = v_tenant[i] AND r.id = p_run[i]);
        END LOOP;
    END IF;
END
$$;

