-- Limits that all workers share, and taking over one run from another worker.

-- One row a limit, with its meters: every call under the limit updates it, so it must be able to change in place.
-- Tenant '*' is all tenants together. A limit of 0 is none. Rings hold one number for each second, at second % 64.
CREATE TABLE penstock.rates (
    tenant         text COLLATE "C" NOT NULL,
    kind           text COLLATE "C" NOT NULL CHECK (kind IN ('model', 'tool')),
    pattern        text COLLATE "C" NOT NULL,
    requests       integer  NOT NULL DEFAULT 0 CHECK (requests >= 0),    -- a minute
    tokens         bigint   NOT NULL DEFAULT 0 CHECK (tokens >= 0),      -- a minute
    concurrent     integer  NOT NULL DEFAULT 0 CHECK (concurrent >= 0),  -- at a time
    burst          integer  NOT NULL DEFAULT 1 CHECK (burst >= 1),       -- requests at the same moment
    actor          text     NOT NULL,
    set_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    arrival        bigint   NOT NULL DEFAULT 0,  -- theoretical arrival time of the next request, microseconds
    latest         bigint   NOT NULL DEFAULT 0,  -- the newest second that the rings hold
    requests_ring  bigint[] NOT NULL DEFAULT array_fill(0::bigint, ARRAY[64]),
    tokens_ring    bigint[] NOT NULL DEFAULT array_fill(0::bigint, ARRAY[64]),
    cooldown_until bigint   NOT NULL DEFAULT 0,  -- microseconds
    cooldown_code  text     NOT NULL DEFAULT '',
    PRIMARY KEY (tenant, kind, pattern)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- What each process has of a limit: calls in flight under it, and calls that wait for it. Over when ``until`` has
-- passed: a process that died gives back what it held.
CREATE TABLE penstock.rate_holders (
    tenant  text COLLATE "C" NOT NULL,
    kind    text COLLATE "C" NOT NULL,
    pattern text COLLATE "C" NOT NULL,
    holder  uuid    NOT NULL,
    held    integer NOT NULL DEFAULT 0,
    waiting integer NOT NULL DEFAULT 0,
    since   bigint  NOT NULL DEFAULT 0,  -- since when its first one waits, microseconds
    asked   bigint  NOT NULL DEFAULT 0,  -- when it last asked for it
    until   bigint  NOT NULL,
    PRIMARY KEY (tenant, kind, pattern, holder)
) WITH (fillfactor = 50);

-- The rings of a limit as of the second ``p_now``: what is older than a turn is zero.
CREATE FUNCTION penstock.turn_ring(p_ring bigint[], p_latest bigint, p_now bigint) RETURNS bigint[]
    LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
    v_ring bigint[] := p_ring;
BEGIN
    IF p_now - p_latest >= 64 THEN
        RETURN array_fill(0::bigint, ARRAY[64]);
    END IF;
    FOR k IN 1 .. (p_now - p_latest)::integer LOOP
        v_ring[(p_latest + k) % 64 + 1] := 0;
    END LOOP;
    RETURN v_ring;
END
$$;

-- Takes permits for calls that need all of some limits, in the order asked, up to the first that must wait.
-- ``p_asks`` are the tokens of each call. Returns for each permit when its call may start (at most p_ahead later), and
-- if not all were given, when to ask again and which limit is in the way. The limits' rows are locked in key order.
--
-- Two bounds, both kept at all times: the seconds of the last p_window hold no more than the limit (a second is
-- counted from its first microsecond, hence a window longer than a minute); and requests keep the spacing of the
-- Generic Cell Rate Algorithm in its virtual scheduling form (ITU-T I.371, annex A), with a tolerance of burst - 1.
CREATE FUNCTION penstock.take_rates(
    p_holder uuid, p_tenant text[], p_kind text[], p_pattern text[], p_asks bigint[], p_since bigint, p_lease bigint,
    p_window integer, p_ahead bigint,
    OUT starts bigint[], OUT retry_at bigint, OUT in_the_way integer, OUT now_us bigint
)
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_n        integer := cardinality(p_pattern);
    v_limit    penstock.rates[];
    v_row      penstock.rates;
    v_free     integer[] := array_fill(2147483647, ARRAY[v_n]);
    v_sum_r    bigint[] := array_fill(0::bigint, ARRAY[v_n]);
    v_sum_t    bigint[] := array_fill(0::bigint, ARRAY[v_n]);
    v_arrival  bigint[] := array_fill(0::bigint, ARRAY[v_n]);
    v_add_r    bigint[] := array_fill(0::bigint, ARRAY[v_n * 64]);
    v_add_t    bigint[] := array_fill(0::bigint, ARRAY[v_n * 64]);
    v_gap      bigint;
    v_start    bigint;
    v_second   bigint;
    v_slot     integer;
    v_need     bigint;
    v_sum      bigint;
    v_given    integer := 0;
    v_places   integer;
BEGIN
    starts := '{}';
    in_the_way := 0;
    FOR i IN 1..v_n LOOP
        SELECT * INTO v_row FROM penstock.rates r
        WHERE r.tenant = p_tenant[i] AND r.kind = p_kind[i] AND r.pattern = p_pattern[i] FOR NO KEY UPDATE;
        v_limit[i] := v_row;
    END LOOP;
    now_us := penstock.to_us(clock_timestamp());
    retry_at := now_us;
    v_second := now_us / 1000000;
    FOR i IN 1..v_n LOOP
        v_row := v_limit[i];
        CONTINUE WHEN v_row.tenant IS NULL;
        v_second := greatest(v_second, v_row.latest);
    END LOOP;
    FOR i IN 1..v_n LOOP
        v_row := v_limit[i];
        CONTINUE WHEN v_row.tenant IS NULL;
        v_row.requests_ring := penstock.turn_ring(v_row.requests_ring, v_row.latest, v_second);
        v_row.tokens_ring := penstock.turn_ring(v_row.tokens_ring, v_row.latest, v_second);
        v_row.latest := v_second;
        v_limit[i] := v_row;
        v_arrival[i] := v_row.arrival;
        FOR k IN 1 - p_window .. 0 LOOP
            v_sum_r[i] := v_sum_r[i] + v_row.requests_ring[(v_second + k) % 64 + 1];
            v_sum_t[i] := v_sum_t[i] + v_row.tokens_ring[(v_second + k) % 64 + 1];
        END LOOP;
        DELETE FROM penstock.rate_holders h
        WHERE h.tenant = v_row.tenant AND h.kind = v_row.kind AND h.pattern = v_row.pattern AND h.until <= now_us;
        IF v_row.concurrent > 0 THEN
            -- Whoever has waited for longer, and still asks, comes first.
            SELECT v_row.concurrent - coalesce(sum(h.held), 0)
                 - count(*) FILTER (WHERE h.holder <> p_holder AND h.waiting > 0 AND h.since < p_since
                                      AND h.asked > now_us - 1000000)
            INTO v_places
            FROM penstock.rate_holders h
            WHERE h.tenant = v_row.tenant AND h.kind = v_row.kind AND h.pattern = v_row.pattern;
            v_free[i] := v_places;
        END IF;
    END LOOP;

    FOR a IN 1..cardinality(p_asks) LOOP
        v_start := now_us;
        FOR i IN 1..v_n LOOP
            v_row := v_limit[i];
            CONTINUE WHEN v_row.tenant IS NULL;
            IF v_row.cooldown_until > now_us THEN
                retry_at := v_row.cooldown_until;
                in_the_way := i;
                EXIT;
            END IF;
            IF v_free[i] <= 0 THEN
                retry_at := now_us + 100000;
                in_the_way := i;
                EXIT;
            END IF;
            v_need := least(p_asks[a], v_row.tokens);
            IF v_row.requests > 0 THEN
                v_gap := (60000000 + v_row.requests - 1) / v_row.requests;
                v_start := greatest(v_start, v_arrival[i] - (v_row.burst - 1) * v_gap);
                IF v_start > now_us + p_ahead THEN
                    retry_at := v_start;
                    in_the_way := i;
                    EXIT;
                END IF;
            END IF;
            IF (v_row.requests > 0 AND v_sum_r[i] >= v_row.requests)
               OR (v_row.tokens > 0 AND v_sum_t[i] + v_need > v_row.tokens) THEN
                -- From when on enough old seconds lie outside the window.
                in_the_way := i;
                v_sum := CASE WHEN v_row.tokens > 0 THEN v_sum_t[i] + v_need - v_row.tokens ELSE 0 END;
                v_need := CASE WHEN v_row.requests > 0 THEN v_sum_r[i] + 1 - v_row.requests ELSE 0 END;
                FOR k IN 1 - p_window .. 0 LOOP
                    v_sum := v_sum - v_row.tokens_ring[(v_second + k) % 64 + 1];
                    v_need := v_need - v_row.requests_ring[(v_second + k) % 64 + 1];
                    retry_at := (v_second + k + p_window) * 1000000;
                    EXIT WHEN v_sum <= 0 AND v_need <= 0;
                END LOOP;
                EXIT;
            END IF;
        END LOOP;
        EXIT WHEN in_the_way > 0;

        v_slot := (v_start / 1000000) % 64 + 1;
        FOR i IN 1..v_n LOOP
            v_row := v_limit[i];
            CONTINUE WHEN v_row.tenant IS NULL;
            IF v_row.requests > 0 THEN
                v_gap := (60000000 + v_row.requests - 1) / v_row.requests;
                v_arrival[i] := greatest(v_arrival[i], v_start) + v_gap;
            END IF;
            v_need := CASE WHEN v_row.tokens > 0 THEN least(p_asks[a], v_row.tokens) ELSE p_asks[a] END;
            v_sum_r[i] := v_sum_r[i] + 1;
            v_sum_t[i] := v_sum_t[i] + v_need;
            v_add_r[(i - 1) * 64 + v_slot] := v_add_r[(i - 1) * 64 + v_slot] + 1;
            v_add_t[(i - 1) * 64 + v_slot] := v_add_t[(i - 1) * 64 + v_slot] + v_need;
            v_free[i] := v_free[i] - 1;
        END LOOP;
        starts := starts || v_start;
        v_given := v_given + 1;
    END LOOP;

    FOR i IN 1..v_n LOOP
        v_row := v_limit[i];
        CONTINUE WHEN v_row.tenant IS NULL;
        IF v_given > 0 THEN
            v_second := greatest(v_row.latest, starts[v_given] / 1000000);
            v_row.requests_ring := penstock.turn_ring(v_row.requests_ring, v_row.latest, v_second);
            v_row.tokens_ring := penstock.turn_ring(v_row.tokens_ring, v_row.latest, v_second);
            FOR s IN 1..64 LOOP
                v_row.requests_ring[s] := v_row.requests_ring[s] + v_add_r[(i - 1) * 64 + s];
                v_row.tokens_ring[s] := v_row.tokens_ring[s] + v_add_t[(i - 1) * 64 + s];
            END LOOP;
            UPDATE penstock.rates r
            SET arrival = v_arrival[i], latest = v_second, requests_ring = v_row.requests_ring,
                tokens_ring = v_row.tokens_ring
            WHERE r.tenant = v_row.tenant AND r.kind = v_row.kind AND r.pattern = v_row.pattern;
        END IF;
        INSERT INTO penstock.rate_holders AS h (tenant, kind, pattern, holder, held, waiting, since, asked, until)
        VALUES (v_row.tenant, v_row.kind, v_row.pattern, p_holder,
                CASE WHEN v_row.concurrent > 0 THEN v_given ELSE 0 END,
                CASE WHEN i = in_the_way THEN cardinality(p_asks) - v_given ELSE 0 END, p_since, now_us,
                now_us + p_lease)
        ON CONFLICT (tenant, kind, pattern, holder) DO UPDATE
        SET held = h.held + excluded.held, waiting = excluded.waiting, since = excluded.since,
            asked = excluded.asked, until = excluded.until;
    END LOOP;
END
$$;

-- Gives back what permits did not use: tokens (negative: more was used than was asked for) to the second they were
-- counted in, and places of calls in flight. Says of the holder that it lives.
CREATE FUNCTION penstock.settle_rates(
    p_holder uuid, p_tenant text[], p_kind text[], p_pattern text[], p_second bigint[], p_tokens bigint[],
    p_places integer[], p_lease bigint
) RETURNS void
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_row  penstock.rates;
    v_now  bigint;
    v_slot integer;
BEGIN
    FOR i IN 1..cardinality(p_pattern) LOOP
        SELECT * INTO v_row FROM penstock.rates r
        WHERE r.tenant = p_tenant[i] AND r.kind = p_kind[i] AND r.pattern = p_pattern[i] FOR NO KEY UPDATE;
        IF FOUND AND p_tokens[i] <> 0 AND p_second[i] > v_row.latest - 64 AND p_second[i] <= v_row.latest THEN
            v_slot := p_second[i] % 64 + 1;
            v_row.tokens_ring[v_slot] := greatest(0, v_row.tokens_ring[v_slot] - p_tokens[i]);
            UPDATE penstock.rates r SET tokens_ring = v_row.tokens_ring
            WHERE r.tenant = v_row.tenant AND r.kind = v_row.kind AND r.pattern = v_row.pattern;
        END IF;
        UPDATE penstock.rate_holders h SET held = greatest(0, h.held - p_places[i])
        WHERE h.tenant = p_tenant[i] AND h.kind = p_kind[i] AND h.pattern = p_pattern[i] AND h.holder = p_holder
          AND p_places[i] <> 0;
    END LOOP;
    v_now := penstock.to_us(clock_timestamp());
    UPDATE penstock.rate_holders h SET until = v_now + p_lease WHERE h.holder = p_holder AND h.until > v_now;
END
$$;
CREATE INDEX rate_holders_of ON penstock.rate_holders (holder);

-- Hands one run from the worker that holds it to another: for a run that is tried in a process of its own, and back
-- from there when that has died. No row when the run is not held by ``p_from`` under that epoch any more.
CREATE FUNCTION penstock.take_over(p_worker uuid, p_tenant text, p_run uuid, p_from uuid, p_epoch integer)
    RETURNS TABLE (
        tenant text, id uuid, epoch integer, last_seq integer, head bytea, agent text, release text, subject text,
        subject_key bytea, parent uuid, parent_path text, claims integer, stop text, now_us bigint, deadline bigint,
        root uuid
    )
    LANGUAGE sql VOLATILE
AS $$
    WITH taken AS (
        UPDATE penstock.runs r SET epoch = r.epoch + 1, worker = p_worker
        WHERE r.tenant = p_tenant AND r.id = p_run AND r.status = 'running' AND r.worker = p_from
          AND r.epoch = p_epoch
          AND EXISTS (SELECT FROM penstock.workers w WHERE w.id = p_worker AND w.lease_until > clock_timestamp())
        RETURNING r.*
    )
    SELECT t.tenant, t.id, t.epoch, t.last_seq, t.head, t.agent, t.release, t.subject,
           coalesce(t.subject_key, s.key, ''), t.parent, t.parent_path, t.claims, t.stop,
           penstock.to_us(clock_timestamp()), t.deadline, t.root
    FROM taken t LEFT JOIN penstock.subjects s ON s.tenant = t.tenant AND s.subject = t.subject
$$;
