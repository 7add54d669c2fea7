-- The ledger: sums by who used what for what, in classes of tokens. Rows that older workers add are of no kind, and their
-- classes are 0: their money is whole, and sums that are made anew have the rest.

-- Each grain is a table of its own: rows that are read together lie together, and the many of hours do not stand between
-- the few of weeks. Weeks are from Thursdays, as the epoch has it: a month of many tags is read in a third of the rows.
ALTER TABLE penstock.usage_hourly RENAME TO usage_together;
ALTER TABLE penstock.usage_together DROP CONSTRAINT usage_hourly_grain_check;
CREATE TABLE penstock.usage_hourly (
    LIKE penstock.usage_together INCLUDING STORAGE,
    kind         text COLLATE "C" NOT NULL DEFAULT '',
    kind_runs    bigint NOT NULL DEFAULT 0,     -- like used_by, by kind
    used_in      bigint NOT NULL DEFAULT 0,     -- by model and kind
    cached       bigint NOT NULL DEFAULT 0,
    written      bigint NOT NULL DEFAULT 0,
    written_hour bigint NOT NULL DEFAULT 0,
    reasoning    bigint NOT NULL DEFAULT 0,
    audio_in     bigint NOT NULL DEFAULT 0,
    audio_out    bigint NOT NULL DEFAULT 0,
    image_in     bigint NOT NULL DEFAULT 0,
    image_out    bigint NOT NULL DEFAULT 0,
    CONSTRAINT usage_sums_pkey PRIMARY KEY (tenant, generation, grain, hour, slot)
) PARTITION BY LIST (grain);
CREATE TABLE penstock.usage_by_hour PARTITION OF penstock.usage_hourly FOR VALUES IN (1)   WITH (fillfactor = 80);
CREATE TABLE penstock.usage_by_day  PARTITION OF penstock.usage_hourly FOR VALUES IN (24)  WITH (fillfactor = 80);
CREATE TABLE penstock.usage_by_week PARTITION OF penstock.usage_hourly FOR VALUES IN (168) WITH (fillfactor = 80);
INSERT INTO penstock.usage_hourly SELECT u.* FROM penstock.usage_together u;
DROP TABLE penstock.usage_together;

-- The same by user and by tags of one's own besides: there may be nearly as many rows as runs, so what is not asked by
-- these is read from the table above. What older workers count is in it without user and tags.
CREATE TABLE penstock.usage_fine (
    LIKE penstock.usage_hourly INCLUDING DEFAULTS INCLUDING STORAGE,
    by_user text COLLATE "C" NOT NULL DEFAULT '',
    tags    jsonb NOT NULL DEFAULT '{}',  -- those that are counted by
    PRIMARY KEY (tenant, generation, grain, hour, slot)
) PARTITION BY LIST (grain);
CREATE TABLE penstock.usage_fine_by_hour PARTITION OF penstock.usage_fine FOR VALUES IN (1)   WITH (fillfactor = 80);
CREATE TABLE penstock.usage_fine_by_day  PARTITION OF penstock.usage_fine FOR VALUES IN (24)  WITH (fillfactor = 80);
CREATE TABLE penstock.usage_fine_by_week PARTITION OF penstock.usage_fine FOR VALUES IN (168) WITH (fillfactor = 80);
INSERT INTO penstock.usage_hourly (
    tenant, generation, grain, hour, slot, customer, feature, agent, task_type, release, model, runs, used_by,
    model_calls, tokens_in, tokens_out, nano, nano_at_maximum, dearest, dearest_nano
)
SELECT u.tenant, u.generation, 168, u.hour - u.hour % 604800000000, u.slot, min(u.customer), min(u.feature),
       min(u.agent), min(u.task_type), min(u.release), min(u.model), sum(u.runs), sum(u.used_by), sum(u.model_calls),
       sum(u.tokens_in), sum(u.tokens_out), sum(u.nano), sum(u.nano_at_maximum),
       (array_agg(u.dearest ORDER BY u.dearest_nano DESC))[1], max(u.dearest_nano)
FROM penstock.usage_hourly u WHERE u.grain = 24 GROUP BY 1, 2, 4, 5;
INSERT INTO penstock.usage_fine SELECT u.* FROM penstock.usage_hourly u;

-- As in 0017, with these columns.
CREATE OR REPLACE FUNCTION penstock.count_usage(
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
        model_calls, tokens_in, tokens_out, nano, nano_at_maximum, dearest, dearest_nano, kind, kind_runs, used_in,
        cached, written, written_hour, reasoning, audio_in, audio_out, image_in, image_out
    )
    SELECT p_tenant, p_generation, g.grain, n.hour - n.hour % (g.grain * 3600000000), coalesce(n.coarse, n.slot), min(n.customer),
           min(n.feature), min(n.agent), min(n.task_type), min(n.release), min(n.model), sum(n.runs), sum(n.used_by),
           sum(n.model_calls), sum(n.tokens_in), sum(n.tokens_out), sum(n.nano), sum(n.nano_at_maximum),
           (array_agg(n.dearest ORDER BY n.dearest_nano DESC))[1], max(n.dearest_nano), coalesce(min(n.kind), ''),
           coalesce(sum(n.kind_runs), 0), coalesce(sum(n.used_in), 0), coalesce(sum(n.cached), 0),
           coalesce(sum(n.written), 0), coalesce(sum(n.written_hour), 0), coalesce(sum(n.reasoning), 0),
           coalesce(sum(n.audio_in), 0), coalesce(sum(n.audio_out), 0), coalesce(sum(n.image_in), 0),
           coalesce(sum(n.image_out), 0)
    FROM jsonb_to_recordset(p_hours::jsonb) AS n(
        hour bigint, slot uuid, coarse uuid, customer text, feature text, agent text, task_type text, release text,
        model text, runs bigint, used_by bigint, model_calls bigint, tokens_in bigint, tokens_out bigint, nano bigint,
        nano_at_maximum bigint, dearest uuid, dearest_nano bigint, "user" text, kind text, tags jsonb,
        kind_runs bigint, used_in bigint, cached bigint, written bigint, written_hour bigint, reasoning bigint,
        audio_in bigint, audio_out bigint, image_in bigint, image_out bigint
    )
    CROSS JOIN (VALUES (1), (24), (168)) AS g(grain)
    GROUP BY 3, 4, 5
    ORDER BY 3, 4, 5
    ON CONFLICT (tenant, generation, grain, hour, slot) DO UPDATE SET
        runs = u.runs + excluded.runs, used_by = u.used_by + excluded.used_by,
        model_calls = u.model_calls + excluded.model_calls, tokens_in = u.tokens_in + excluded.tokens_in,
        tokens_out = u.tokens_out + excluded.tokens_out, nano = u.nano + excluded.nano,
        nano_at_maximum = u.nano_at_maximum + excluded.nano_at_maximum,
        dearest = CASE WHEN excluded.dearest_nano > u.dearest_nano THEN excluded.dearest ELSE u.dearest END,
        dearest_nano = greatest(excluded.dearest_nano, u.dearest_nano),
        kind_runs = u.kind_runs + excluded.kind_runs, used_in = u.used_in + excluded.used_in,
        cached = u.cached + excluded.cached, written = u.written + excluded.written,
        written_hour = u.written_hour + excluded.written_hour, reasoning = u.reasoning + excluded.reasoning,
        audio_in = u.audio_in + excluded.audio_in, audio_out = u.audio_out + excluded.audio_out,
        image_in = u.image_in + excluded.image_in, image_out = u.image_out + excluded.image_out;
    INSERT INTO penstock.usage_fine AS u (
        tenant, generation, grain, hour, slot, customer, feature, agent, task_type, release, model, runs, used_by,
        model_calls, tokens_in, tokens_out, nano, nano_at_maximum, dearest, dearest_nano, kind, kind_runs, used_in,
        cached, written, written_hour, reasoning, audio_in, audio_out, image_in, image_out, by_user, tags
    )
    SELECT p_tenant, p_generation, g.grain, n.hour - n.hour % (g.grain * 3600000000), n.slot, min(n.customer),
           min(n.feature), min(n.agent), min(n.task_type), min(n.release), min(n.model), sum(n.runs), sum(n.used_by),
           sum(n.model_calls), sum(n.tokens_in), sum(n.tokens_out), sum(n.nano), sum(n.nano_at_maximum),
           (array_agg(n.dearest ORDER BY n.dearest_nano DESC))[1], max(n.dearest_nano), coalesce(min(n.kind), ''),
           coalesce(sum(n.kind_runs), 0), coalesce(sum(n.used_in), 0), coalesce(sum(n.cached), 0),
           coalesce(sum(n.written), 0), coalesce(sum(n.written_hour), 0), coalesce(sum(n.reasoning), 0),
           coalesce(sum(n.audio_in), 0), coalesce(sum(n.audio_out), 0), coalesce(sum(n.image_in), 0),
           coalesce(sum(n.image_out), 0),
           coalesce(min(n."user"), ''), coalesce((array_agg(n.tags))[1], '{}')
    FROM jsonb_to_recordset(p_hours::jsonb) AS n(
        hour bigint, slot uuid, coarse uuid, customer text, feature text, agent text, task_type text, release text,
        model text, runs bigint, used_by bigint, model_calls bigint, tokens_in bigint, tokens_out bigint, nano bigint,
        nano_at_maximum bigint, dearest uuid, dearest_nano bigint, "user" text, kind text, tags jsonb,
        kind_runs bigint, used_in bigint, cached bigint, written bigint, written_hour bigint, reasoning bigint,
        audio_in bigint, audio_out bigint, image_in bigint, image_out bigint
    )
    CROSS JOIN (VALUES (1), (24), (168)) AS g(grain)
    GROUP BY 3, 4, 5
    ORDER BY 3, 4, 5
    ON CONFLICT (tenant, generation, grain, hour, slot) DO UPDATE SET
        runs = u.runs + excluded.runs, used_by = u.used_by + excluded.used_by,
        model_calls = u.model_calls + excluded.model_calls, tokens_in = u.tokens_in + excluded.tokens_in,
        tokens_out = u.tokens_out + excluded.tokens_out, nano = u.nano + excluded.nano,
        nano_at_maximum = u.nano_at_maximum + excluded.nano_at_maximum,
        dearest = CASE WHEN excluded.dearest_nano > u.dearest_nano THEN excluded.dearest ELSE u.dearest END,
        dearest_nano = greatest(excluded.dearest_nano, u.dearest_nano),
        kind_runs = u.kind_runs + excluded.kind_runs, used_in = u.used_in + excluded.used_in,
        cached = u.cached + excluded.cached, written = u.written + excluded.written,
        written_hour = u.written_hour + excluded.written_hour, reasoning = u.reasoning + excluded.reasoning,
        audio_in = u.audio_in + excluded.audio_in, audio_out = u.audio_out + excluded.audio_out,
        image_in = u.image_in + excluded.image_in, image_out = u.image_out + excluded.image_out;
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

CREATE OR REPLACE FUNCTION penstock.begin_usage(p_tenant text) RETURNS integer
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_current integer := (penstock.usage_place(p_tenant)).generation;
    v_next    integer := v_current + 1;
BEGIN
    DELETE FROM penstock.usage_hourly u WHERE u.tenant = p_tenant AND u.generation <> v_current;
    DELETE FROM penstock.usage_fine u WHERE u.tenant = p_tenant AND u.generation <> v_current;
    DELETE FROM penstock.usage_minutes u WHERE u.tenant = p_tenant AND u.generation <> v_current;
    DELETE FROM penstock.usage_places p WHERE p.tenant = p_tenant AND NOT p.is_current;
    INSERT INTO penstock.usage_places (tenant, generation, is_current) VALUES (p_tenant, v_next, false);
    INSERT INTO penstock.usage_hourly (
        tenant, generation, grain, hour, slot, customer, feature, agent, task_type, release, model, runs, used_by,
        model_calls, tokens_in, tokens_out, nano, nano_at_maximum, dearest, dearest_nano, kind, kind_runs, used_in,
        cached, written, written_hour, reasoning, audio_in, audio_out, image_in, image_out
    )
    SELECT u.tenant, v_next, g.grain, u.hour - u.hour % (g.grain * 3600000000), u.slot, min(u.customer),
           min(u.feature), min(u.agent), min(u.task_type), min(u.release), min(u.model), sum(u.runs), sum(u.used_by),
           sum(u.model_calls), sum(u.tokens_in), sum(u.tokens_out), sum(u.nano), sum(u.nano_at_maximum),
           (array_agg(u.dearest ORDER BY u.dearest_nano DESC))[1], max(u.dearest_nano), min(u.kind),
           sum(u.kind_runs), sum(u.used_in), sum(u.cached), sum(u.written), sum(u.written_hour), sum(u.reasoning),
           sum(u.audio_in), sum(u.audio_out), sum(u.image_in), sum(u.image_out)
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
           min(u.feature), min(u.agent), min(u.task_type), min(u.release), min(u.model), sum(u.runs), sum(u.used_by),
           sum(u.model_calls), sum(u.tokens_in), sum(u.tokens_out), sum(u.nano), sum(u.nano_at_maximum),
           (array_agg(u.dearest ORDER BY u.dearest_nano DESC))[1], max(u.dearest_nano), min(u.kind),
           sum(u.kind_runs), sum(u.used_in), sum(u.cached), sum(u.written), sum(u.written_hour), sum(u.reasoning),
           sum(u.audio_in), sum(u.audio_out), sum(u.image_in), sum(u.image_out), min(u.by_user),
           (array_agg(u.tags))[1]
    FROM penstock.usage_fine u JOIN penstock.usage_kept(p_tenant) k ON k.agent = u.agent AND u.hour < k.until_us
    CROSS JOIN (VALUES (1), (24), (168)) AS g(grain)
    WHERE u.tenant = p_tenant AND u.generation = v_current AND u.grain = 1
    GROUP BY 1, 2, 3, 4, 5;
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
    DELETE FROM penstock.usage_minutes u WHERE u.tenant = p_tenant AND u.generation < p_generation;
    DELETE FROM penstock.usage_places p WHERE p.tenant = p_tenant AND p.generation < p_generation;
    RETURN true;
END
$$;

-- The values that sums of a day are told by: the first so many of each dimension; what comes after is summed up as one.
-- ``slot`` is made of the value, which may be too long for an index.
CREATE TABLE penstock.usage_values (
    tenant    text COLLATE "C" NOT NULL,
    day       bigint NOT NULL,  -- its start, microseconds since the epoch
    dimension text COLLATE "C" NOT NULL,
    slot      uuid   NOT NULL,
    PRIMARY KEY (tenant, day, dimension, slot)
);

CREATE FUNCTION penstock.admit_usage(
    p_tenant text, p_day bigint, p_dimensions text[], p_slots uuid[], p_most integer
) RETURNS TABLE (dimension text, slot uuid)
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    INSERT INTO penstock.usage_values (tenant, day, dimension, slot)
    SELECT p_tenant, p_day, w.dimension, w.slot
    FROM (
        SELECT a.dimension, a.slot, row_number() OVER (PARTITION BY a.dimension ORDER BY a.number) AS place
        FROM unnest(p_dimensions, p_slots) WITH ORDINALITY AS a(dimension, slot, number)
        WHERE NOT EXISTS (
            SELECT FROM penstock.usage_values v
            WHERE v.tenant = p_tenant AND v.day = p_day AND v.dimension = a.dimension AND v.slot = a.slot
        )
    ) AS w
    WHERE w.place <= p_most - (
        SELECT count(*) FROM penstock.usage_values v
        WHERE v.tenant = p_tenant AND v.day = p_day AND v.dimension = w.dimension
    )
    ON CONFLICT DO NOTHING;
    RETURN QUERY
    SELECT a.dimension, a.slot FROM unnest(p_dimensions, p_slots) AS a(dimension, slot)
    WHERE EXISTS (
        SELECT FROM penstock.usage_values v
        WHERE v.tenant = p_tenant AND v.day = p_day AND v.dimension = a.dimension AND v.slot = a.slot
    );
END
$$;

-- What calls would have cost at corrected prices, beside what they were billed at: nothing that was recorded changes.
CREATE TABLE penstock.rerates (
    tenant text COLLATE "C" NOT NULL,
    id     uuid  NOT NULL,
    at_us  bigint NOT NULL,
    body   bytea NOT NULL,
    PRIMARY KEY (tenant, id)
);
