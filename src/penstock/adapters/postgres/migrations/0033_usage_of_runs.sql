-- The sums once more, without what only calls know: a question that is not asked by model, kind, user or own tags reads
-- half the rows, and narrower ones.

-- sum() of bigint is a numeric: a hundred bytes and a conversion for each group and column, so that many groups are put
-- off to disk. This one is as exact: it fails where the sum is no bigint, as the conversion does.
CREATE AGGREGATE penstock.total(bigint) (
    SFUNC = int8pl, STYPE = bigint, INITCOND = '0', COMBINEFUNC = int8pl, PARALLEL = SAFE
);

-- Names as one: the first half of the SHA-256 of them as JSON. They may be too long for an index.
CREATE FUNCTION penstock.usage_slot(VARIADIC p_names text[]) RETURNS uuid
    LANGUAGE sql STABLE  -- as its parts are: else it is not put into the statements that use it
AS $$ SELECT encode(substring(sha256(convert_to(array_to_json(p_names)::text, 'UTF8')) FROM 1 FOR 16), 'hex')::uuid $$;

-- What has a fixed width comes first: it is found in a row without going through what comes before it.
CREATE TABLE penstock.usage_of_runs (
    generation      integer  NOT NULL,
    grain           smallint NOT NULL,
    hour            bigint   NOT NULL,  -- its start, microseconds since the epoch
    slot            uuid     NOT NULL,
    runs            bigint   NOT NULL,
    model_calls     bigint   NOT NULL,
    tokens_in       bigint   NOT NULL,
    tokens_out      bigint   NOT NULL,
    nano            bigint   NOT NULL,
    nano_at_maximum bigint   NOT NULL,
    cached          bigint   NOT NULL,
    written         bigint   NOT NULL,
    written_hour    bigint   NOT NULL,
    reasoning       bigint   NOT NULL,
    audio_in        bigint   NOT NULL,
    audio_out       bigint   NOT NULL,
    image_in        bigint   NOT NULL,
    image_out       bigint   NOT NULL,
    dearest_nano    bigint   NOT NULL,
    dearest         uuid     NOT NULL,
    customer        text COLLATE "C" NOT NULL,
    feature         text COLLATE "C" NOT NULL,
    task_type       text COLLATE "C" NOT NULL,
    agent           text COLLATE "C" NOT NULL,
    release         text COLLATE "C" NOT NULL,
    tenant          text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, generation, grain, hour, slot)
) PARTITION BY LIST (grain);
CREATE TABLE penstock.usage_of_runs_by_hour PARTITION OF penstock.usage_of_runs
    FOR VALUES IN (1) WITH (fillfactor = 80);
CREATE TABLE penstock.usage_of_runs_by_day PARTITION OF penstock.usage_of_runs
    FOR VALUES IN (24) WITH (fillfactor = 80);
CREATE TABLE penstock.usage_of_runs_by_week PARTITION OF penstock.usage_of_runs
    FOR VALUES IN (168) WITH (fillfactor = 80);

-- Sums that were made before are carried over hour by hour, by carry_usage: of the generations that stand here, what is
-- of ``hour`` and later is not in the table above yet, and nobody reads them from there. Counting waits at the first
-- line until this is committed, so that none is begun before and counted after.
LOCK TABLE penstock.usage_places IN SHARE ROW EXCLUSIVE MODE;
CREATE TABLE penstock.usage_uncarried (
    tenant     text COLLATE "C" NOT NULL,
    generation integer NOT NULL,
    hour       bigint  NOT NULL,
    PRIMARY KEY (tenant, generation)
);
INSERT INTO penstock.usage_uncarried (tenant, generation, hour)
SELECT p.tenant, p.generation, -9223372036854775808 FROM penstock.usage_places p;

-- Carries over the next hours of some generation, as many as have ``p_limit`` rows, or one; false when none is left.
CREATE FUNCTION penstock.carry_usage(p_limit integer) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_of    penstock.usage_uncarried;
    v_first bigint;
    v_until bigint;
BEGIN
    SELECT * INTO v_of FROM penstock.usage_uncarried c ORDER BY c.tenant, c.generation LIMIT 1;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM set_config('synchronous_commit', 'off', true);
    -- Who counts, and who makes anew, waits here; and this for them.
    PERFORM FROM penstock.usage_places p WHERE p.tenant = v_of.tenant AND p.generation = v_of.generation FOR UPDATE;
    SELECT * INTO v_of FROM penstock.usage_uncarried c WHERE c.tenant = v_of.tenant AND c.generation = v_of.generation;
    IF NOT FOUND THEN
        RETURN true;
    END IF;
    v_first := (
        SELECT u.hour FROM penstock.usage_hourly u
        WHERE u.tenant = v_of.tenant AND u.generation = v_of.generation AND u.grain = 1 AND u.hour >= v_of.hour
        ORDER BY u.hour LIMIT 1
    );
    v_until := (
        SELECT u.hour FROM penstock.usage_hourly u
        WHERE u.tenant = v_of.tenant AND u.generation = v_of.generation AND u.grain = 1 AND u.hour >= v_of.hour
        ORDER BY u.hour OFFSET p_limit LIMIT 1
    );
    IF v_until = v_first THEN
        v_until := v_first + 3600000000;
    END IF;
    INSERT INTO penstock.usage_of_runs AS u (
        tenant, generation, grain, hour, slot, customer, feature, agent, task_type, release, runs, model_calls,
        tokens_in, tokens_out, nano, nano_at_maximum, cached, written, written_hour, reasoning, audio_in, audio_out,
        image_in, image_out, dearest, dearest_nano
    )
    SELECT v_of.tenant, v_of.generation, g.grain, n.hour - n.hour % (g.grain * 3600000000),
           penstock.usage_slot(n.customer, n.feature, n.agent, n.task_type, n.release), n.customer, n.feature,
           n.agent, n.task_type, n.release, penstock.total(n.runs), penstock.total(n.model_calls),
           penstock.total(n.tokens_in), penstock.total(n.tokens_out), penstock.total(n.nano),
           penstock.total(n.nano_at_maximum), penstock.total(n.cached), penstock.total(n.written),
           penstock.total(n.written_hour), penstock.total(n.reasoning), penstock.total(n.audio_in),
           penstock.total(n.audio_out), penstock.total(n.image_in), penstock.total(n.image_out),
           (array_agg(n.dearest ORDER BY n.dearest_nano DESC))[1], max(n.dearest_nano)
    FROM penstock.usage_hourly n CROSS JOIN (VALUES (1), (24), (168)) AS g(grain)
    WHERE n.tenant = v_of.tenant AND n.generation = v_of.generation AND n.grain = 1 AND n.hour >= v_of.hour
      AND n.hour < coalesce(v_until, 9223372036854775807)
    GROUP BY 4, 3, n.customer, n.feature, n.agent, n.task_type, n.release
    ON CONFLICT (tenant, generation, grain, hour, slot) DO UPDATE SET
        runs = u.runs + excluded.runs, model_calls = u.model_calls + excluded.model_calls,
        tokens_in = u.tokens_in + excluded.tokens_in, tokens_out = u.tokens_out + excluded.tokens_out,
        nano = u.nano + excluded.nano, nano_at_maximum = u.nano_at_maximum + excluded.nano_at_maximum,
        cached = u.cached + excluded.cached, written = u.written + excluded.written,
        written_hour = u.written_hour + excluded.written_hour, reasoning = u.reasoning + excluded.reasoning,
        audio_in = u.audio_in + excluded.audio_in, audio_out = u.audio_out + excluded.audio_out,
        image_in = u.image_in + excluded.image_in, image_out = u.image_out + excluded.image_out,
        dearest = CASE WHEN excluded.dearest_nano > u.dearest_nano THEN excluded.dearest ELSE u.dearest END,
        dearest_nano = greatest(excluded.dearest_nano, u.dearest_nano);
    IF v_until IS NULL THEN
        DELETE FROM penstock.usage_uncarried c WHERE c.tenant = v_of.tenant AND c.generation = v_of.generation;
    ELSE
        UPDATE penstock.usage_uncarried c SET hour = v_until
        WHERE c.tenant = v_of.tenant AND c.generation = v_of.generation;
    END IF;
    RETURN true;
END
$$;

-- As in 0024, with the table above; the sums are read from their JSON once for all three.
CREATE OR REPLACE FUNCTION penstock.count_usage(
    p_tenant text, p_generation integer, p_number bigint, p_unnumbered uuid, p_is_old boolean,
    p_to_number bigint, p_to_unnumbered uuid, p_to_is_old boolean, p_until bigint, p_hours text, p_minutes text
) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_uncarried bigint;
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
    v_uncarried := (
        SELECT c.hour FROM penstock.usage_uncarried c WHERE c.tenant = p_tenant AND c.generation = p_generation
    );
    WITH n AS MATERIALIZED (
        SELECT r.hour, r.slot, coalesce(r.coarse, r.slot) AS coarse, r.customer, r.feature, r.agent, r.task_type,
               r.release, r.model, r.runs, r.used_by, r.model_calls, r.tokens_in, r.tokens_out, r.nano,
               r.nano_at_maximum, r.dearest, r.dearest_nano, coalesce(r."user", '') AS by_user,
               coalesce(r.kind, '') AS kind, coalesce(r.tags, '{}') AS tags, coalesce(r.kind_runs, 0) AS kind_runs,
               coalesce(r.used_in, 0) AS used_in, coalesce(r.cached, 0) AS cached, coalesce(r.written, 0) AS written,
               coalesce(r.written_hour, 0) AS written_hour, coalesce(r.reasoning, 0) AS reasoning,
               coalesce(r.audio_in, 0) AS audio_in, coalesce(r.audio_out, 0) AS audio_out,
               coalesce(r.image_in, 0) AS image_in, coalesce(r.image_out, 0) AS image_out
        FROM jsonb_to_recordset(p_hours::jsonb) AS r(
            hour bigint, slot uuid, coarse uuid, customer text, feature text, agent text, task_type text, release text,
            model text, runs bigint, used_by bigint, model_calls bigint, tokens_in bigint, tokens_out bigint,
            nano bigint, nano_at_maximum bigint, dearest uuid, dearest_nano bigint, "user" text, kind text, tags jsonb,
            kind_runs bigint, used_in bigint, cached bigint, written bigint, written_hour bigint, reasoning bigint,
            audio_in bigint, audio_out bigint, image_in bigint, image_out bigint
        )
    ), of_calls AS (
        INSERT INTO penstock.usage_hourly AS u (
            tenant, generation, grain, hour, slot, customer, feature, agent, task_type, release, model, runs, used_by,
            model_calls, tokens_in, tokens_out, nano, nano_at_maximum, dearest, dearest_nano, kind, kind_runs,
            used_in, cached, written, written_hour, reasoning, audio_in, audio_out, image_in, image_out
        )
        SELECT p_tenant, p_generation, g.grain, n.hour - n.hour % (g.grain * 3600000000), n.coarse, min(n.customer),
               min(n.feature), min(n.agent), min(n.task_type), min(n.release), min(n.model), penstock.total(n.runs),
               penstock.total(n.used_by), penstock.total(n.model_calls), penstock.total(n.tokens_in),
               penstock.total(n.tokens_out), penstock.total(n.nano), penstock.total(n.nano_at_maximum),
               (array_agg(n.dearest ORDER BY n.dearest_nano DESC))[1], max(n.dearest_nano), min(n.kind),
               penstock.total(n.kind_runs), penstock.total(n.used_in), penstock.total(n.cached),
               penstock.total(n.written), penstock.total(n.written_hour), penstock.total(n.reasoning),
               penstock.total(n.audio_in), penstock.total(n.audio_out), penstock.total(n.image_in),
               penstock.total(n.image_out)
        FROM n CROSS JOIN (VALUES (1), (24), (168)) AS g(grain)
        GROUP BY 3, 4, 5
        ORDER BY 3, 4, 5
        ON CONFLICT (tenant, generation, grain, hour, slot) DO UPDATE SET
            runs = u.runs + excluded.runs, used_by = u.used_by + excluded.used_by,
            model_calls = u.model_calls + excluded.model_calls, tokens_in = u.tokens_in + excluded.tokens_in,
            tokens_out = u.tokens_out + excluded.tokens_out, nano = u.nano + excluded.nano,
            nano_at_maximum = u.nano_at_maximum + excluded.nano_at_maximum,
            kind_runs = u.kind_runs + excluded.kind_runs, used_in = u.used_in + excluded.used_in,
            cached = u.cached + excluded.cached, written = u.written + excluded.written,
            written_hour = u.written_hour + excluded.written_hour, reasoning = u.reasoning + excluded.reasoning,
            audio_in = u.audio_in + excluded.audio_in, audio_out = u.audio_out + excluded.audio_out,
            image_in = u.image_in + excluded.image_in, image_out = u.image_out + excluded.image_out,
            dearest = CASE WHEN excluded.dearest_nano > u.dearest_nano THEN excluded.dearest ELSE u.dearest END,
            dearest_nano = greatest(excluded.dearest_nano, u.dearest_nano)
    ), fine AS (
        INSERT INTO penstock.usage_fine AS u (
            tenant, generation, grain, hour, slot, customer, feature, agent, task_type, release, model, runs, used_by,
            model_calls, tokens_in, tokens_out, nano, nano_at_maximum, dearest, dearest_nano, kind, kind_runs,
            used_in, cached, written, written_hour, reasoning, audio_in, audio_out, image_in, image_out, by_user, tags
        )
        SELECT p_tenant, p_generation, g.grain, n.hour - n.hour % (g.grain * 3600000000), n.slot, min(n.customer),
               min(n.feature), min(n.agent), min(n.task_type), min(n.release), min(n.model), penstock.total(n.runs),
               penstock.total(n.used_by), penstock.total(n.model_calls), penstock.total(n.tokens_in),
               penstock.total(n.tokens_out), penstock.total(n.nano), penstock.total(n.nano_at_maximum),
               (array_agg(n.dearest ORDER BY n.dearest_nano DESC))[1], max(n.dearest_nano), min(n.kind),
               penstock.total(n.kind_runs), penstock.total(n.used_in), penstock.total(n.cached),
               penstock.total(n.written), penstock.total(n.written_hour), penstock.total(n.reasoning),
               penstock.total(n.audio_in), penstock.total(n.audio_out), penstock.total(n.image_in),
               penstock.total(n.image_out), min(n.by_user), (array_agg(n.tags))[1]
        FROM n CROSS JOIN (VALUES (1), (24), (168)) AS g(grain)
        GROUP BY 3, 4, 5
        ORDER BY 3, 4, 5
        ON CONFLICT (tenant, generation, grain, hour, slot) DO UPDATE SET
            runs = u.runs + excluded.runs, used_by = u.used_by + excluded.used_by,
            model_calls = u.model_calls + excluded.model_calls, tokens_in = u.tokens_in + excluded.tokens_in,
            tokens_out = u.tokens_out + excluded.tokens_out, nano = u.nano + excluded.nano,
            nano_at_maximum = u.nano_at_maximum + excluded.nano_at_maximum,
            kind_runs = u.kind_runs + excluded.kind_runs, used_in = u.used_in + excluded.used_in,
            cached = u.cached + excluded.cached, written = u.written + excluded.written,
            written_hour = u.written_hour + excluded.written_hour, reasoning = u.reasoning + excluded.reasoning,
            audio_in = u.audio_in + excluded.audio_in, audio_out = u.audio_out + excluded.audio_out,
            image_in = u.image_in + excluded.image_in, image_out = u.image_out + excluded.image_out,
            dearest = CASE WHEN excluded.dearest_nano > u.dearest_nano THEN excluded.dearest ELSE u.dearest END,
            dearest_nano = greatest(excluded.dearest_nano, u.dearest_nano)
    )
    INSERT INTO penstock.usage_of_runs AS u (
        tenant, generation, grain, hour, slot, customer, feature, agent, task_type, release, runs, model_calls,
        tokens_in, tokens_out, nano, nano_at_maximum, cached, written, written_hour, reasoning, audio_in, audio_out,
        image_in, image_out, dearest, dearest_nano
    )
    SELECT p_tenant, p_generation, g.grain, n.hour - n.hour % (g.grain * 3600000000),
           penstock.usage_slot(n.customer, n.feature, n.agent, n.task_type, n.release), n.customer, n.feature,
           n.agent, n.task_type, n.release, penstock.total(n.runs), penstock.total(n.model_calls),
           penstock.total(n.tokens_in), penstock.total(n.tokens_out), penstock.total(n.nano),
           penstock.total(n.nano_at_maximum), penstock.total(n.cached), penstock.total(n.written),
           penstock.total(n.written_hour), penstock.total(n.reasoning), penstock.total(n.audio_in),
           penstock.total(n.audio_out), penstock.total(n.image_in), penstock.total(n.image_out),
           (array_agg(n.dearest ORDER BY n.dearest_nano DESC))[1], max(n.dearest_nano)
    FROM n CROSS JOIN (VALUES (1), (24), (168)) AS g(grain)
    WHERE v_uncarried IS NULL OR n.hour < v_uncarried
    GROUP BY 4, 3, n.customer, n.feature, n.agent, n.task_type, n.release
    ORDER BY 3, 4, 5
    ON CONFLICT (tenant, generation, grain, hour, slot) DO UPDATE SET
        runs = u.runs + excluded.runs, model_calls = u.model_calls + excluded.model_calls,
        tokens_in = u.tokens_in + excluded.tokens_in, tokens_out = u.tokens_out + excluded.tokens_out,
        nano = u.nano + excluded.nano, nano_at_maximum = u.nano_at_maximum + excluded.nano_at_maximum,
        cached = u.cached + excluded.cached, written = u.written + excluded.written,
        written_hour = u.written_hour + excluded.written_hour, reasoning = u.reasoning + excluded.reasoning,
        audio_in = u.audio_in + excluded.audio_in, audio_out = u.audio_out + excluded.audio_out,
        image_in = u.image_in + excluded.image_in, image_out = u.image_out + excluded.image_out,
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

-- As in 0024, with the table above.
CREATE OR REPLACE FUNCTION penstock.begin_usage(p_tenant text) RETURNS integer
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_current integer := (penstock.usage_place(p_tenant)).generation;
    v_next    integer := v_current + 1;
BEGIN
    DELETE FROM penstock.usage_hourly u WHERE u.tenant = p_tenant AND u.generation <> v_current;
    DELETE FROM penstock.usage_fine u WHERE u.tenant = p_tenant AND u.generation <> v_current;
    DELETE FROM penstock.usage_of_runs u WHERE u.tenant = p_tenant AND u.generation <> v_current;
    DELETE FROM penstock.usage_minutes u WHERE u.tenant = p_tenant AND u.generation <> v_current;
    DELETE FROM penstock.usage_places p WHERE p.tenant = p_tenant AND NOT p.is_current;
    DELETE FROM penstock.usage_uncarried c WHERE c.tenant = p_tenant AND c.generation <> v_current;
    INSERT INTO penstock.usage_places (tenant, generation, is_current) VALUES (p_tenant, v_next, false);
    INSERT INTO penstock.usage_hourly (
        tenant, generation, grain, hour, slot, customer, feature, agent, task_type, release, model, runs, used_by,
        model_calls, tokens_in, tokens_out, nano, nano_at_maximum, dearest, dearest_nano, kind, kind_runs, used_in,
        cached, written, written_hour, reasoning, audio_in, audio_out, image_in, image_out
    )
    SELECT u.tenant, v_next, g.grain, u.hour - u.hour % (g.grain * 3600000000), u.slot, min(u.customer),
           min(u.feature), min(u.agent), min(u.task_type), min(u.release), min(u.model), penstock.total(u.runs),
           penstock.total(u.used_by), penstock.total(u.model_calls), penstock.total(u.tokens_in),
           penstock.total(u.tokens_out), penstock.total(u.nano), penstock.total(u.nano_at_maximum),
           (array_agg(u.dearest ORDER BY u.dearest_nano DESC))[1], max(u.dearest_nano), min(u.kind),
           penstock.total(u.kind_runs), penstock.total(u.used_in), penstock.total(u.cached),
           penstock.total(u.written), penstock.total(u.written_hour), penstock.total(u.reasoning),
           penstock.total(u.audio_in), penstock.total(u.audio_out), penstock.total(u.image_in),
           penstock.total(u.image_out)
    FROM penstock.usage_hourly u JOIN penstock.usage_kept(p_tenant) k ON k.agent = u.agent AND u.hour < k.until_us
    CROSS JOIN (VALUES (1), (24), (168)) AS g(grain)
    WHERE u.tenant = p_tenant AND u.generation = v_current AND u.grain = 1
    GROUP BY 1, 2, 3, 4, 5;
    INSERT INTO penstock.usage_fine (
        tenant, generation, grain, hour, slot, customer, feature, agent, task_type, release, model, runs, used_by,
        model_calls, tokens_in, tokens_out, nano, nano_at_maximum, dearest, dearest_nano, kind, kind_runs, used_in,
        cached, written, written_hour, reasoning, audio_in, audio_out, image_in, image_out, by_user, tags
    )
    SELECT u.tenant, v_next, g.grain, u.hour - u.hour % (g.grain * 3600000000), u.slot, min(u.customer),
           min(u.feature), min(u.agent), min(u.task_type), min(u.release), min(u.model), penstock.total(u.runs),
           penstock.total(u.used_by), penstock.total(u.model_calls), penstock.total(u.tokens_in),
           penstock.total(u.tokens_out), penstock.total(u.nano), penstock.total(u.nano_at_maximum),
           (array_agg(u.dearest ORDER BY u.dearest_nano DESC))[1], max(u.dearest_nano), min(u.kind),
           penstock.total(u.kind_runs), penstock.total(u.used_in), penstock.total(u.cached),
           penstock.total(u.written), penstock.total(u.written_hour), penstock.total(u.reasoning),
           penstock.total(u.audio_in), penstock.total(u.audio_out), penstock.total(u.image_in),
           penstock.total(u.image_out), min(u.by_user), (array_agg(u.tags))[1]
    FROM penstock.usage_fine u JOIN penstock.usage_kept(p_tenant) k ON k.agent = u.agent AND u.hour < k.until_us
    CROSS JOIN (VALUES (1), (24), (168)) AS g(grain)
    WHERE u.tenant = p_tenant AND u.generation = v_current AND u.grain = 1
    GROUP BY 1, 2, 3, 4, 5;
    INSERT INTO penstock.usage_of_runs (
        tenant, generation, grain, hour, slot, customer, feature, agent, task_type, release, runs, model_calls,
        tokens_in, tokens_out, nano, nano_at_maximum, cached, written, written_hour, reasoning, audio_in, audio_out,
        image_in, image_out, dearest, dearest_nano
    )
    SELECT u.tenant, v_next, g.grain, u.hour - u.hour % (g.grain * 3600000000),
           penstock.usage_slot(u.customer, u.feature, u.agent, u.task_type, u.release), u.customer, u.feature,
           u.agent, u.task_type, u.release, penstock.total(u.runs), penstock.total(u.model_calls),
           penstock.total(u.tokens_in), penstock.total(u.tokens_out), penstock.total(u.nano),
           penstock.total(u.nano_at_maximum), penstock.total(u.cached), penstock.total(u.written),
           penstock.total(u.written_hour), penstock.total(u.reasoning), penstock.total(u.audio_in),
           penstock.total(u.audio_out), penstock.total(u.image_in), penstock.total(u.image_out),
           (array_agg(u.dearest ORDER BY u.dearest_nano DESC))[1], max(u.dearest_nano)
    FROM penstock.usage_hourly u
    CROSS JOIN (VALUES (1), (24), (168)) AS g(grain)
    WHERE u.tenant = p_tenant AND u.generation = v_next AND u.grain = 1
    GROUP BY u.tenant, 4, 3, u.customer, u.feature, u.agent, u.task_type, u.release;
    INSERT INTO penstock.usage_minutes
    SELECT u.tenant, v_next, u.minute, u.slot, u.agent, u.outcome, u.code, u.runs, u.roots, u.example
    FROM penstock.usage_minutes u JOIN penstock.usage_kept(p_tenant) k ON k.agent = u.agent AND u.minute < k.until_us
    WHERE u.tenant = p_tenant AND u.generation = v_current;
    RETURN v_next;
END
$$;

CREATE OR REPLACE FUNCTION penstock.finish_usage(p_tenant text, p_generation integer) RETURNS boolean
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
    DELETE FROM penstock.usage_fine u WHERE u.tenant = p_tenant AND u.generation < p_generation;
    DELETE FROM penstock.usage_of_runs u WHERE u.tenant = p_tenant AND u.generation < p_generation;
    DELETE FROM penstock.usage_minutes u WHERE u.tenant = p_tenant AND u.generation < p_generation;
    DELETE FROM penstock.usage_places p WHERE p.tenant = p_tenant AND p.generation < p_generation;
    DELETE FROM penstock.usage_uncarried c WHERE c.tenant = p_tenant AND c.generation < p_generation;
    RETURN true;
END
$$;
