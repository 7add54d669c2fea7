-- What was spent, and how runs ended, summed up: views of the journal that can be made anew from it at any time.
--
-- One process at a time goes through ended runs in the order of their ends (runs.ended_no) up to settled_ends, so that no
-- end that commits late is passed over. The sums of a step and the place that it comes to are one transaction, which
-- fails when another process has moved the place: a step that is done twice counts once.
--
-- Sums are made anew as a further generation beside the one that is read; then that one becomes the current.

CREATE INDEX runs_quarantined ON penstock.runs (tenant, id) WHERE status = 'quarantined';

CREATE TABLE penstock.usage_turn (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    holder      uuid,
    lease_until timestamptz NOT NULL,
    due_at      timestamptz NOT NULL
);
INSERT INTO penstock.usage_turn (lease_until, due_at) VALUES ('-infinity', '-infinity');

-- How far a tenant's sums go: ends up to ``number``; and, of runs that had ended before ends were numbered, those with
-- ids up to ``unnumbered``.
CREATE TABLE penstock.usage_places (
    tenant     text COLLATE "C" NOT NULL,
    generation integer NOT NULL,
    is_current boolean NOT NULL,
    number     bigint  NOT NULL DEFAULT 0,
    unnumbered uuid    NOT NULL DEFAULT penstock.nil(),
    is_old     boolean NOT NULL DEFAULT true,   -- there may be unnumbered ones beyond
    until_us   bigint  NOT NULL DEFAULT 0,      -- what ended before this is counted
    PRIMARY KEY (tenant, generation)
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX usage_places_current ON penstock.usage_places (tenant) WHERE is_current;

-- ``slot`` is made of the names, which together may be too long for an index. Every run has a row with model '': it
-- counts the run, and what it spent on no model; and one for each model that it called, which counts it in ``used_by``.
-- Everything is there twice, by the hour and (``grain`` 24) by the day: long stretches are read by the day.
CREATE TABLE penstock.usage_hourly (
    tenant          text COLLATE "C" NOT NULL,
    generation      integer NOT NULL,
    grain           smallint NOT NULL CHECK (grain IN (1, 24)),  -- hours
    hour            bigint  NOT NULL,  -- its start, microseconds since the epoch
    slot            uuid    NOT NULL,
    customer        text COLLATE "C" NOT NULL,
    feature         text COLLATE "C" NOT NULL,
    agent           text COLLATE "C" NOT NULL,
    task_type       text COLLATE "C" NOT NULL,
    release         text COLLATE "C" NOT NULL,
    model           text COLLATE "C" NOT NULL,
    runs            bigint  NOT NULL,
    used_by         bigint  NOT NULL,
    model_calls     bigint  NOT NULL,
    tokens_in       bigint  NOT NULL,
    tokens_out      bigint  NOT NULL,
    nano            bigint  NOT NULL,
    nano_at_maximum bigint  NOT NULL,
    dearest         uuid    NOT NULL,
    dearest_nano    bigint  NOT NULL,
    PRIMARY KEY (tenant, generation, grain, hour, slot)
) WITH (fillfactor = 80);

-- How runs ended, by minute: of the last days only. ``roots``: of these runs, those that no run had started. ``code`` is
-- that of the first cause: a run that failed by a child has the child's.
CREATE TABLE penstock.usage_minutes (
    tenant     text COLLATE "C" NOT NULL,
    generation integer NOT NULL,
    minute     bigint  NOT NULL,
    slot       uuid    NOT NULL,
    agent      text COLLATE "C" NOT NULL,
    outcome    text COLLATE "C" NOT NULL,
    code       text COLLATE "C" NOT NULL,
    runs       bigint  NOT NULL,
    roots      bigint  NOT NULL,
    example    uuid    NOT NULL,
    PRIMARY KEY (tenant, generation, minute, slot)
) WITH (fillfactor = 80);

CREATE FUNCTION penstock.take_usage_turn(p_holder uuid, p_lease interval, p_due boolean) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM FROM penstock.usage_turn t
    WHERE (t.holder = p_holder AND t.lease_until > v_now)
       OR (t.lease_until <= v_now AND (NOT p_due OR t.due_at <= v_now))
    FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE penstock.usage_turn SET holder = p_holder, lease_until = v_now + p_lease;
    RETURN true;
END
$$;

-- A tenant's current place; made when it has none.
CREATE FUNCTION penstock.usage_place(p_tenant text) RETURNS penstock.usage_places
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_place penstock.usage_places;
BEGIN
    SELECT * INTO v_place FROM penstock.usage_places p WHERE p.tenant = p_tenant AND p.is_current;
    IF NOT FOUND THEN
        INSERT INTO penstock.usage_places (tenant, generation, is_current)
        VALUES (p_tenant, 1, true) ON CONFLICT DO NOTHING;
        SELECT * INTO v_place FROM penstock.usage_places p WHERE p.tenant = p_tenant AND p.is_current;
    END IF;
    RETURN v_place;
END
$$;

-- Adds a step's sums (JSON lists of objects with the columns' names) and moves the place; false when the place is not
-- where the step began.
CREATE FUNCTION penstock.count_usage(
    p_tenant text, p_generation integer, p_number bigint, p_unnumbered uuid, p_is_old boolean,
    p_to_number bigint, p_to_unnumbered uuid, p_to_is_old boolean, p_until bigint, p_hours text, p_minutes text
) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);  -- a step that is lost is done again
    UPDATE penstock.usage_places p
    SET number = p_to_number, unnumbered = p_to_unnumbered, is_old = p_to_is_old,
        until_us = greatest(p.until_us, p_until)
    WHERE p.tenant = p_tenant AND p.generation = p_generation AND p.number = p_number
      AND p.unnumbered = p_unnumbered AND p.is_old = p_is_old;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO penstock.usage_hourly AS u (
        tenant, generation, grain, hour, slot, customer, feature, agent, task_type, release, model, runs, used_by,
        model_calls, tokens_in, tokens_out, nano, nano_at_maximum, dearest, dearest_nano
    )
    SELECT p_tenant, p_generation, g.grain, n.hour - n.hour % (g.grain * 3600000000), n.slot, min(n.customer),
           min(n.feature), min(n.agent), min(n.task_type), min(n.release), min(n.model), sum(n.runs), sum(n.used_by),
           sum(n.model_calls), sum(n.tokens_in), sum(n.tokens_out), sum(n.nano), sum(n.nano_at_maximum),
           (array_agg(n.dearest ORDER BY n.dearest_nano DESC))[1], max(n.dearest_nano)
    FROM jsonb_to_recordset(p_hours::jsonb) AS n(
        hour bigint, slot uuid, customer text, feature text, agent text, task_type text, release text, model text,
        runs bigint, used_by bigint, model_calls bigint, tokens_in bigint, tokens_out bigint, nano bigint,
        nano_at_maximum bigint, dearest uuid, dearest_nano bigint
    )
    CROSS JOIN (VALUES (1), (24)) AS g(grain)
    GROUP BY 3, 4, 5
    ORDER BY 3, 4, 5
    ON CONFLICT (tenant, generation, grain, hour, slot) DO UPDATE SET
        runs = u.runs + excluded.runs, used_by = u.used_by + excluded.used_by,
        model_calls = u.model_calls + excluded.model_calls, tokens_in = u.tokens_in + excluded.tokens_in,
        tokens_out = u.tokens_out + excluded.tokens_out, nano = u.nano + excluded.nano,
        nano_at_maximum = u.nano_at_maximum + excluded.nano_at_maximum,
        dearest = CASE WHEN excluded.dearest_nano > u.dearest_nano THEN excluded.dearest ELSE u.dearest END,
        dearest_nano = greatest(excluded.dearest_nano, u.dearest_nano);
    INSERT INTO penstock.usage_minutes AS u (
        tenant, generation, minute, slot, agent, outcome, code, runs, roots, example
    )
    SELECT p_tenant, p_generation, n.minute, n.slot, n.agent, n.outcome, n.code, n.runs, n.roots, n.example
    FROM jsonb_to_recordset(p_minutes::jsonb) AS n(
        minute bigint, slot uuid, agent text, outcome text, code text, runs bigint, roots bigint, example uuid
    )
    ORDER BY n.minute, n.slot
    ON CONFLICT (tenant, generation, minute, slot) DO UPDATE SET
        runs = u.runs + excluded.runs, roots = u.roots + excluded.roots,
        example = CASE WHEN excluded.roots > 0 OR u.roots = 0 THEN excluded.example ELSE u.example END;
    RETURN true;
END
$$;

-- Until when each agent's sums cannot be made anew, since records or rows of its runs are gone: to the end of the hour of
-- the last such run; of forgotten ones only the month is known.
CREATE FUNCTION penstock.usage_kept(p_tenant text) RETURNS TABLE (agent text, until_us bigint)
    LANGUAGE sql STABLE
AS $$
    SELECT g.agent, max(penstock.to_us(g.until))
    FROM (
        SELECT t.agent, date_trunc('hour', t.ended_at, 'UTC') + interval '1 hour' AS until
        FROM penstock.tombstones t WHERE t.tenant = p_tenant
        UNION ALL
        SELECT f.agent, ((f.month || '-01')::timestamp + interval '1 month') AT TIME ZONE 'UTC'
        FROM penstock.forgotten f WHERE f.tenant = p_tenant
    ) AS g
    GROUP BY g.agent
$$;

-- Begins a generation beside the current one: what cannot be counted again is taken over as it is.
CREATE FUNCTION penstock.begin_usage(p_tenant text) RETURNS integer
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_current integer := (penstock.usage_place(p_tenant)).generation;
    v_next    integer := v_current + 1;
BEGIN
    DELETE FROM penstock.usage_hourly u WHERE u.tenant = p_tenant AND u.generation <> v_current;
    DELETE FROM penstock.usage_minutes u WHERE u.tenant = p_tenant AND u.generation <> v_current;
    DELETE FROM penstock.usage_places p WHERE p.tenant = p_tenant AND NOT p.is_current;
    INSERT INTO penstock.usage_places (tenant, generation, is_current) VALUES (p_tenant, v_next, false);
    INSERT INTO penstock.usage_hourly
    SELECT u.tenant, v_next, g.grain, u.hour - u.hour % (g.grain * 3600000000), u.slot, min(u.customer),
           min(u.feature), min(u.agent), min(u.task_type), min(u.release), min(u.model), sum(u.runs), sum(u.used_by),
           sum(u.model_calls), sum(u.tokens_in), sum(u.tokens_out), sum(u.nano), sum(u.nano_at_maximum),
           (array_agg(u.dearest ORDER BY u.dearest_nano DESC))[1], max(u.dearest_nano)
    FROM penstock.usage_hourly u JOIN penstock.usage_kept(p_tenant) k ON k.agent = u.agent AND u.hour < k.until_us
    CROSS JOIN (VALUES (1), (24)) AS g(grain)
    WHERE u.tenant = p_tenant AND u.generation = v_current AND u.grain = 1
    GROUP BY 1, 2, 3, 4, 5;
    INSERT INTO penstock.usage_minutes
    SELECT u.tenant, v_next, u.minute, u.slot, u.agent, u.outcome, u.code, u.runs, u.roots, u.example
    FROM penstock.usage_minutes u JOIN penstock.usage_kept(p_tenant) k ON k.agent = u.agent AND u.minute < k.until_us
    WHERE u.tenant = p_tenant AND u.generation = v_current;
    RETURN v_next;
END
$$;

-- Makes a generation the current one, if it goes as far as the one that it takes the place of.
CREATE FUNCTION penstock.finish_usage(p_tenant text, p_generation integer) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM FROM penstock.usage_places p WHERE p.tenant = p_tenant ORDER BY p.generation FOR UPDATE;
    IF NOT EXISTS (
        SELECT FROM penstock.usage_places n JOIN penstock.usage_places o ON o.tenant = n.tenant AND o.is_current
        WHERE n.tenant = p_tenant AND n.generation = p_generation AND NOT n.is_old AND n.number >= o.number
    ) THEN
        RETURN false;
    END IF;
    UPDATE penstock.usage_places p SET is_current = false WHERE p.tenant = p_tenant AND p.is_current;
    UPDATE penstock.usage_places p SET is_current = true WHERE p.tenant = p_tenant AND p.generation = p_generation;
    DELETE FROM penstock.usage_hourly u WHERE u.tenant = p_tenant AND u.generation < p_generation;
    DELETE FROM penstock.usage_minutes u WHERE u.tenant = p_tenant AND u.generation < p_generation;
    DELETE FROM penstock.usage_places p WHERE p.tenant = p_tenant AND p.generation < p_generation;
    RETURN true;
END
$$;
