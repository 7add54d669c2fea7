-- The append. One autocommit call at READ COMMITTED: each statement of a VOLATILE function takes a snapshot of its
-- own, and so sees what the locks before it waited for. A single statement with the locks inside would not.

CREATE FUNCTION penstock.append_lock() RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 7955997830309;

-- Planner settings: a plan made while the tables are small is kept by the session while they grow, so only plans that
-- stay right (index lookups from the arrays) are allowed.
--
-- Bytes come as one string with positions rather than as arrays: no driver has to look at each element, and nothing is
-- copied twice. Hashes are 32 bytes each.
--
-- Answers: 0 skipped, 1 applied, 2 gap, 3 fenced, 4 absent, 5 stopped.
CREATE FUNCTION penstock.append(
    -- one element a batch; p_tenant has one element when all are of one tenant; p_end counts events up to its end
    p_tenant text[], p_run uuid[], p_epoch integer[], p_last integer[], p_count integer[], p_end integer[],
    p_intent integer[], p_summary bigint[],  -- p_summary: seven a batch
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

    SELECT bool_or(c.tenant IS NULL), array_agg(c.tenant) INTO v_everything, v_tenants
    FROM penstock.controls c WHERE c.run_id IS NULL AND c.lifted_at IS NULL;
    v_everything := coalesce(v_everything, false);
    v_tenants := coalesce(v_tenants, '{}');

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
        v_stop := CASE WHEN v_everything OR v_tenant[i] = ANY (v_tenants) THEN 'kill' ELSE v_row.stop END;
        letters[i] := v_row.letters;
        stops[i] := v_stop;
        IF v_row.epoch = p_epoch[i] AND v_row.last_seq = p_last[i] AND v_row.status = 'running' THEN
            IF v_stop IS NOT NULL AND p_intent[i] = 1 THEN
                answers[i] := 5;
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
