-- Stops by tool and by environment, and claims of resources that the writes of runs are about.

ALTER TABLE penstock.controls
    DROP CONSTRAINT controls_scope_check,
    ADD CONSTRAINT controls_scope_check CHECK (
        scope IN ('', 'agent', 'release', 'session', 'customer', 'tenant', 'everything', 'tool', 'environment')
    );

-- A stop of a tool is of no runs: workers hold intents against it, and what is asked here of runs leaves it out.
CREATE OR REPLACE FUNCTION penstock.any_scoped() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM penstock.controls c WHERE c.scope <> '' AND c.scope <> 'tool' AND c.lifted_at IS NULL)
$$;

-- As the function of five names, with the environment.
CREATE FUNCTION penstock.scoped_stop(
    p_tenant text, p_agent text, p_release text, p_session text, p_customer text, p_env text
) RETURNS TABLE (action text, id uuid) LANGUAGE sql STABLE AS $$
    SELECT c.action, c.id
    FROM (VALUES
        ('', 'everything', ''), (p_tenant, 'tenant', p_tenant), (p_tenant, 'agent', p_agent),
        (p_tenant, 'release', p_release), (p_tenant, 'session', p_session), (p_tenant, 'customer', p_customer),
        (p_tenant, 'environment', p_env)
    ) AS s(tenant, scope, name)
    JOIN penstock.controls c
      ON coalesce(c.tenant, '') = s.tenant COLLATE "C" AND c.scope = s.scope AND c.name = s.name
      AND c.scope <> '' AND c.lifted_at IS NULL
    ORDER BY c.action, c.id  -- kill before pause
    LIMIT 1
$$;

-- Intents are checked against stops of tools as they are against breakers, by the same version: see 0023_breakers.sql.
CREATE FUNCTION penstock.tool_stop_changed() RETURNS trigger LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM penstock.breakers_changed();
    RETURN NULL;
END
$$;
CREATE TRIGGER controls_of_tools AFTER INSERT OR UPDATE OF lifted_at ON penstock.controls
    FOR EACH ROW WHEN (NEW.scope = 'tool') EXECUTE FUNCTION penstock.tool_stop_changed();

-- Changes a place in a function that is long and otherwise stays as it is, whichever migration wrote it last.
CREATE FUNCTION penstock.amend(p_function text, p_times integer, p_old text, p_new text) RETURNS void
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_text text := pg_get_functiondef(('penstock.' || p_function)::regproc);
BEGIN
    IF length(v_text) - length(replace(v_text, p_old, '')) <> p_times * length(p_old) THEN
        RAISE EXCEPTION 'penstock.% does not say "%" so often: %', p_function, p_old, p_times;
    END IF;
    EXECUTE replace(v_text, p_old, p_new);
END
$$;

SELECT penstock.amend('append', 1, 'r.session, r.customer) AS s', 'r.session, r.customer, r.env) AS s');
SELECT penstock.amend('set_aside', 1, 'q.session, q.customer, q.stop', 'q.session, q.customer, q.env, q.stop');
SELECT penstock.amend('set_aside', 1, 'f.session, f.customer)', 'f.session, f.customer, f.env)');
SELECT penstock.amend('claim', 2, 'q.session, q.customer)', 'q.session, q.customer, q.env)');
SELECT penstock.amend('put_document', 1, 'r.session, r.customer INTO', 'r.session, r.customer, r.env INTO');
SELECT penstock.amend(
    'put_document', 1, 'v_run.session, v_run.customer)', 'v_run.session, v_run.customer, v_run.env)'
);

-- p_intent is by 2^30 higher of workers that hold intents against stops of tools, too. Those of older code do not, and
-- append cannot tell which tool an intent is of: while a tool of the tenant is stopped all of theirs are refused as if
-- the run were paused, and a worker that does takes the run.
SELECT penstock.amend(
    'append', 1,
    '    v_any_scoped  boolean;
',
    '    v_any_scoped  boolean;
    v_tools       text[];              -- the tenants that have a tool stopped
'
);
SELECT penstock.amend(
    'append', 1,
    '           (SELECT b.version FROM penstock.breaker_version b)
    INTO v_everything, v_tenants, v_any_scoped, v_breakers',
    '           (SELECT b.version FROM penstock.breaker_version b),
           (SELECT array_agg(t.tenant) FROM penstock.controls t WHERE t.scope = ''tool'' AND t.lifted_at IS NULL)
    INTO v_everything, v_tenants, v_any_scoped, v_breakers, v_tools'
);
SELECT penstock.amend(
    'append', 1,
    '            ELSIF p_intent[i] > 1 AND p_intent[i] - 2 < v_breakers THEN
                answers[i] := 6;',
    '            ELSIF p_intent[i] BETWEEN 1 AND 1073741823 AND v_tenant[i] = ANY (v_tools) THEN
                answers[i] := 5;
                stops[i] := ''pause'';
            ELSIF (p_intent[i] & 1073741823) > 1 AND (p_intent[i] & 1073741823) - 2 < v_breakers THEN
                answers[i] := 6;'
);
DROP FUNCTION penstock.amend(text, integer, text, text);

-- Which family of runs has a resource to itself. A row holds while a run of the family has not ended.
CREATE TABLE penstock.resource_claims (
    tenant   text COLLATE "C" NOT NULL,
    resource text COLLATE "C" NOT NULL,
    root     uuid NOT NULL,
    run_id   uuid NOT NULL,               -- which of them asked first
    tool     text NOT NULL,
    at       timestamptz NOT NULL,
    PRIMARY KEY (tenant, resource)
);
CREATE INDEX resource_claims_oldest ON penstock.resource_claims (at);
CREATE INDEX resource_claims_family ON penstock.resource_claims (tenant, root);

CREATE FUNCTION penstock.is_going_on(p_tenant text, p_root uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM penstock.runs r WHERE r.tenant = p_tenant AND r.id = p_root AND r.status <> 'ended')
        OR EXISTS (
            SELECT FROM penstock.runs r
            WHERE r.tenant = p_tenant AND r.root = p_root AND r.parent IS NOT NULL AND r.status <> 'ended'
        )
$$;

-- held: the resource is the run's family's; taken: it is of the run ``holder`` since then; fenced: who asks does not
-- hold the run. The row is locked before it is asked whether its family goes on, in a statement of its own that sees
-- what was committed until then.
CREATE FUNCTION penstock.claim_resource(
    p_tenant text, p_run uuid, p_epoch integer, p_resource text, p_tool text,
    OUT answer text, OUT holder uuid, OUT held_by_tool text, OUT since bigint, OUT has_others boolean
)
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_root uuid;
    v_row  penstock.resource_claims;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    SELECT r.root INTO v_root FROM penstock.runs r
    WHERE r.tenant = p_tenant AND r.id = p_run AND r.epoch = p_epoch AND r.status = 'running';
    IF NOT FOUND THEN
        answer := 'fenced';
        RETURN;
    END IF;
    LOOP
        INSERT INTO penstock.resource_claims (tenant, resource, root, run_id, tool, at)
        VALUES (p_tenant, p_resource, v_root, p_run, p_tool, clock_timestamp())
        ON CONFLICT DO NOTHING;
        IF FOUND THEN
            answer := 'held';
            RETURN;
        END IF;
        SELECT * INTO v_row FROM penstock.resource_claims c
        WHERE c.tenant = p_tenant AND c.resource = p_resource FOR UPDATE;
        EXIT WHEN FOUND;
    END LOOP;
    IF v_row.root = v_root THEN
        answer := 'held';
    ELSIF penstock.is_going_on(p_tenant, v_row.root) THEN
        answer := 'taken';
        holder := v_row.run_id;
        held_by_tool := v_row.tool;
        since := penstock.to_us(v_row.at);
        has_others := EXISTS (
            SELECT FROM penstock.resource_claims c WHERE c.tenant = p_tenant AND c.root = v_root
        );
    ELSE
        UPDATE penstock.resource_claims c
        SET root = v_root, run_id = p_run, tool = p_tool, at = clock_timestamp()
        WHERE c.tenant = p_tenant AND c.resource = p_resource;
        answer := 'held';
    END IF;
END
$$;

-- Forgets the oldest claims of families that have ended, looking at no more than p_most; how many.
CREATE FUNCTION penstock.forget_resources(p_most integer) RETURNS integer LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_gone integer;
BEGIN
    DELETE FROM penstock.resource_claims c
    USING (
        SELECT o.tenant, o.resource, o.root FROM penstock.resource_claims o ORDER BY o.at LIMIT p_most
        FOR UPDATE SKIP LOCKED
    ) AS o
    WHERE c.tenant = o.tenant AND c.resource = o.resource AND NOT penstock.is_going_on(o.tenant, o.root);
    GET DIAGNOSTICS v_gone = ROW_COUNT;
    RETURN v_gone;
END
$$;
