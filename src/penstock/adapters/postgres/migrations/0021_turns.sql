-- Which run of a session waits for which is said by their turns. It was told by their epochs: a run that nobody had held
-- was taken to wait. But adopting a run and restoring a backup raise the epochs of runs that nobody has held, and then a
-- circle through a session was not seen.

-- The run of a session that the others wait for.
CREATE OR REPLACE FUNCTION penstock.session_holders(p_tenant text, p_session text, p_but uuid) RETURNS SETOF uuid
    LANGUAGE sql STABLE
AS $$
    SELECT r.id FROM penstock.runs r
    WHERE r.tenant = p_tenant AND r.session = p_session AND r.session <> '' AND r.status <> 'ended' AND r.turn = 1
      AND r.id <> p_but
    ORDER BY r.id LIMIT 10
$$;

-- As before, by turns.
CREATE OR REPLACE FUNCTION penstock.wait_circle(
    p_tenant text, p_run uuid, p_alone boolean, p_starts uuid[], p_move boolean, p_most integer
) RETURNS uuid[]
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_up    uuid[];                                    -- p_run, its parent, ...
    v_nodes uuid[] := p_starts;
    v_moves boolean[] := array_fill(p_move, ARRAY[cardinality(p_starts)]);
    v_from  integer[] := array_fill(0, ARRAY[cardinality(p_starts)]);
    v_via   uuid[] := array_fill(NULL::uuid, ARRAY[cardinality(p_starts)]);
    v_row   record;
    v_next  record;
    v_path  uuid[];
    i       integer := 1;
    k       integer;
BEGIN
    WITH RECURSIVE up AS (
        SELECT r.id, r.parent, 1 AS n FROM penstock.runs r WHERE r.tenant = p_tenant AND r.id = p_run
        UNION ALL
        SELECT r.id, r.parent, up.n + 1 FROM up
        JOIN penstock.runs r ON r.tenant = p_tenant AND r.id = up.parent WHERE up.n < 1000
    )
    SELECT array_agg(up.id ORDER BY up.n) INTO v_up FROM up;
    WHILE i <= cardinality(v_nodes) AND i <= p_most LOOP
        SELECT r.id, r.root, r.status, r.turn, r.session, r.waiting INTO v_row
        FROM penstock.runs r WHERE r.tenant = p_tenant AND r.id = v_nodes[i];
        IF NOT FOUND OR v_row.status = 'ended' THEN
            i := i + 1;
            CONTINUE;
        END IF;
        IF (v_moves[i] AND v_row.id = p_run AND p_alone) OR (NOT v_moves[i] AND v_row.id = ANY (v_up)) THEN
            k := i;
            WHILE k > 0 LOOP
                v_path := v_nodes[k] || v_path;
                IF v_via[k] IS NOT NULL THEN
                    v_path := v_via[k] || v_path;
                END IF;
                k := v_from[k];
            END LOOP;
            -- From the run that was reached, through its children, down to the one that asks.
            v_path := (p_run || v_path);
            FOR k IN REVERSE coalesce(array_position(v_up, v_row.id), 1) - 1..2 LOOP
                v_path := v_path || v_up[k];
            END LOOP;
            RETURN CASE WHEN v_path[cardinality(v_path)] = p_run AND cardinality(v_path) > 1
                THEN v_path[1:cardinality(v_path) - 1] ELSE v_path END;
        END IF;
        FOR v_next IN
            SELECT w.run_id AS via, s.id AS target, w.kind = 'event' AS move
            FROM penstock.waits w
            CROSS JOIN LATERAL (
                SELECT w.target AS id WHERE w.kind <> 'child'
                UNION ALL
                SELECT h FROM penstock.session_holders(p_tenant, w.key, w.target) AS h
                WHERE w.kind = 'child' AND NOT EXISTS (
                    SELECT FROM penstock.runs c WHERE c.tenant = p_tenant AND c.id = w.target AND c.turn < 2
                )
            ) AS s
            WHERE NOT v_moves[i] AND w.tenant = p_tenant AND w.root = v_row.root AND w.target IS NOT NULL
              AND w.kind <> 'duty' AND w.until = 0 AND penstock.is_within(p_tenant, w.run_id, v_row.id)
            UNION ALL
            SELECT NULL, h, false FROM penstock.session_holders(p_tenant, v_row.session, v_row.id) AS h
            WHERE v_row.turn = 2
            UNION ALL
            SELECT NULL, w.target, w.kind = 'event' FROM penstock.waits w
            WHERE v_moves[i] AND w.tenant = p_tenant AND w.run_id = v_row.id AND w.kind IN ('event', 'run')
              AND w.target IS NOT NULL AND w.until = 0 AND w.alone
            UNION ALL
            SELECT NULL, (a.one ->> 'id')::uuid, false
            FROM jsonb_array_elements(convert_from(v_row.waiting, 'UTF8')::jsonb) AS a(one)
            WHERE v_moves[i] AND v_row.status = 'parked' AND a.one ->> 'kind' = 'child'
              AND jsonb_array_length(convert_from(v_row.waiting, 'UTF8')::jsonb) = 1
        LOOP
            IF NOT EXISTS (
                SELECT FROM unnest(v_nodes, v_moves) AS known(id, move)
                WHERE known.id = v_next.target AND known.move = v_next.move
            ) THEN
                v_nodes := v_nodes || v_next.target;
                v_moves := v_moves || v_next.move;
                v_from := v_from || i;
                v_via := v_via || NULLIF(v_next.via, v_row.id);
            END IF;
        END LOOP;
        i := i + 1;
    END LOOP;
    RETURN NULL;
END
$$;

-- As before, by turns.
CREATE OR REPLACE FUNCTION penstock.break_circle(
    p_tenant text, p_run uuid, p_path text, p_dedup text, p_body bytea, p_runs uuid[], p_epochs bigint[]
) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM penstock.lock_waits(p_tenant);
    PERFORM 1 FROM penstock.runs r WHERE r.tenant = p_tenant AND r.id = ANY (p_run || p_runs)
    ORDER BY r.id FOR NO KEY UPDATE;
    PERFORM 1 FROM unnest(p_runs, p_epochs) AS seen(id, epoch)
    LEFT JOIN penstock.runs r ON r.tenant = p_tenant AND r.id = seen.id AND r.epoch = seen.epoch
        AND (r.status = 'parked' AND r.wake_at IS NULL OR r.status = 'queued' AND r.turn = 2)
    WHERE r.id IS NULL;
    IF FOUND OR penstock.deliver(p_tenant, p_run, p_dedup, 'wait', p_body) <> 1 THEN
        RETURN false;
    END IF;
    DELETE FROM penstock.waits w WHERE w.tenant = p_tenant AND w.run_id = p_run AND w.path = p_path;
    RETURN true;
END
$$;
