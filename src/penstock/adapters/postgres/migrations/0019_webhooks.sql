-- Webhooks: endpoints, and the deliveries to be made to them.
--
-- Deliveries are made by triggers, in the transaction that moves a run, records a decision or seals a stop. A reader who
-- follows the journal would have to know which commits are still to come; a row that is written with what it speaks of
-- cannot be late, lost, or of something that was rolled back. The cost for a tenant without endpoints is one look at an
-- index when a run ends, parks or asks. Nothing that these triggers read can fail to be read: a message must never keep
-- a run from going on.

CREATE TABLE penstock.webhook_endpoints (
    tenant        text COLLATE "C" NOT NULL,
    id            uuid    NOT NULL,
    url           text    NOT NULL,
    topics        text[]  NOT NULL,
    agent         text COLLATE "C" NOT NULL,  -- '' = all
    description   text    NOT NULL,
    secret        bytea   NOT NULL,
    created_by    text    NOT NULL,
    created_at    bigint  NOT NULL,
    old_secret    bytea,
    old_until     bigint  NOT NULL DEFAULT 0,
    paused_why    text    NOT NULL DEFAULT '',
    failures      integer NOT NULL DEFAULT 0,
    failing_since bigint,
    hold_until    bigint  NOT NULL DEFAULT 0,
    last_status   text    NOT NULL DEFAULT '',
    PRIMARY KEY (tenant, id)
) WITH (fillfactor = 70);

-- No foreign key: an append must not wait for somebody who removes an endpoint. What is written for one that is gone is
-- never taken, and forgotten with time.
CREATE TABLE penstock.webhook_deliveries (
    tenant      text COLLATE "C" NOT NULL,
    endpoint    uuid    NOT NULL,
    id          text COLLATE "C" NOT NULL,
    topic       text    NOT NULL,
    run_id      uuid,
    facts       bytea   NOT NULL,
    state       text    NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'dead')),
    attempts    integer NOT NULL DEFAULT 0,
    token       integer NOT NULL DEFAULT 0,
    created_at  bigint  NOT NULL,
    next_at     bigint  NOT NULL,
    last_status text    NOT NULL DEFAULT '',
    last_at     bigint,
    PRIMARY KEY (tenant, endpoint, id)
) WITH (fillfactor = 80);
CREATE INDEX webhook_deliveries_due ON penstock.webhook_deliveries (tenant, endpoint, next_at) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_dead ON penstock.webhook_deliveries (tenant, endpoint, created_at, id)
    WHERE state = 'dead';
CREATE INDEX webhook_deliveries_newest ON penstock.webhook_deliveries (tenant, endpoint, created_at, id);
CREATE INDEX webhook_deliveries_age ON penstock.webhook_deliveries (created_at);

CREATE FUNCTION penstock.delivery_id(p_endpoint uuid, p_topic text, p_run uuid, p_what text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 'msg_' || substr(encode(sha256(convert_to(
        p_endpoint::text || '|' || p_topic || '|' || coalesce(p_run::text, '') || '|' || p_what, 'UTF8'
    )), 'hex'), 1, 32);

-- Those who add one at the same time wait for each other, so the bound holds.
CREATE FUNCTION penstock.add_endpoint(
    p_tenant text, p_id uuid, p_url text, p_topics text[], p_agent text, p_description text, p_secret bytea,
    p_created_by text, p_most integer
) RETURNS SETOF penstock.webhook_endpoints
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('webhooks:' || p_tenant, 0));
    IF (SELECT count(*) FROM penstock.webhook_endpoints e WHERE e.tenant = p_tenant) < p_most THEN
        RETURN QUERY INSERT INTO penstock.webhook_endpoints (
            tenant, id, url, topics, agent, description, secret, created_by, created_at
        ) VALUES (
            p_tenant, p_id, p_url, p_topics, p_agent, p_description, p_secret, p_created_by, penstock.now_us()
        ) RETURNING *;
    END IF;
END
$$;

-- Writes a delivery for each endpoint of a tenant that is to be told. ``p_agent`` NULL: it concerns all agents.
CREATE FUNCTION penstock.tell_endpoints(
    p_tenant text, p_topic text, p_run uuid, p_agent text, p_what text, p_facts text
) RETURNS void
    LANGUAGE sql VOLATILE
AS $$
    INSERT INTO penstock.webhook_deliveries (tenant, endpoint, id, topic, run_id, facts, created_at, next_at)
    SELECT e.tenant, e.id, penstock.delivery_id(e.id, p_topic, p_run, p_what), p_topic, p_run,
           convert_to(p_facts, 'UTF8'), penstock.now_us(), penstock.now_us()
    FROM penstock.webhook_endpoints e
    WHERE e.tenant = p_tenant AND p_topic = ANY (e.topics)
      AND (e.agent = '' OR p_agent IS NULL OR e.agent = p_agent)
    ON CONFLICT DO NOTHING
$$;

-- Of ends and of runs that park only those that somebody submitted, as in the list of results. What a run waits for is
-- read as JSON only where it holds a question, as the index runs_questions does.
CREATE FUNCTION penstock.tell_of_run() RETURNS trigger LANGUAGE plpgsql
AS $$
DECLARE
    v_topic text;
    v_item  jsonb;
BEGIN
    IF NOT EXISTS (SELECT FROM penstock.webhook_endpoints e WHERE e.tenant = NEW.tenant) THEN
        RETURN NULL;
    END IF;
    IF NEW.status <> OLD.status AND NEW.status IN ('ended', 'parked', 'quarantined')
       AND (NEW.status = 'quarantined' OR NEW.parent IS NULL OR NEW.parent_path = 'continued')
       AND NEW.code <> 'continued' THEN
        v_topic := 'run.' || NEW.status;
        PERFORM penstock.tell_endpoints(
            NEW.tenant, v_topic, NEW.id, NEW.agent, NEW.last_seq::text,
            json_build_object(
                'run', NEW.id, 'agent', NEW.agent,
                'shown', penstock.shown(NEW.status, NEW.stop, NEW.outcome, NEW.waiting),
                'outcome', coalesce(NEW.outcome, ''), 'code', NEW.code, 'seq', NEW.last_seq, 'nano', NEW.nano
            )::text
        );
    END IF;
    IF NEW.status <> 'ended' AND NEW.waiting <> OLD.waiting AND (
        position('"kind":"approval"'::bytea IN NEW.waiting) > 0 OR position('"kind":"doubt"'::bytea IN NEW.waiting) > 0
    ) THEN
        FOR v_item IN
            SELECT w.value FROM jsonb_array_elements(convert_from(NEW.waiting, 'UTF8')::jsonb) AS w
            WHERE w.value ->> 'kind' IN ('approval', 'doubt') AND coalesce(w.value ->> 'id', '') <> ''
              AND position(convert_to(w.value ->> 'id', 'UTF8') IN OLD.waiting) = 0
        LOOP
            PERFORM penstock.tell_endpoints(
                NEW.tenant, 'approval.requested', NEW.id, NEW.agent, v_item ->> 'id',
                json_build_object(
                    'run', NEW.id, 'agent', NEW.agent, 'approval', v_item ->> 'id', 'tool',
                    coalesce(v_item ->> 'name', ''), 'question',
                    CASE v_item ->> 'kind' WHEN 'doubt' THEN 'did_it_happen' ELSE 'may_run' END,
                    'until', coalesce((v_item ->> 'until')::bigint, 0)
                )::text
            );
        END LOOP;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER runs_tell AFTER UPDATE OF status, waiting ON penstock.runs
    FOR EACH ROW WHEN (
        (NEW.status <> OLD.status AND NEW.status IN ('ended', 'parked', 'quarantined')) OR NEW.waiting <> OLD.waiting
    ) EXECUTE FUNCTION penstock.tell_of_run();

CREATE FUNCTION penstock.tell_of_decision() RETURNS trigger LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM penstock.tell_endpoints(
        NEW.tenant, 'approval.decided', NEW.run_id, NEW.agent, NEW.approval,
        json_build_object(
            'run', NEW.run_id, 'agent', NEW.agent, 'approval', NEW.approval, 'tool', NEW.tool,
            'question', NEW.question, 'decision', NEW.decision, 'actor', NEW.actor
        )::text
    );
    RETURN NULL;
END
$$;
CREATE TRIGGER decisions_tell AFTER INSERT ON penstock.decisions
    FOR EACH ROW EXECUTE FUNCTION penstock.tell_of_decision();

-- Who stopped everything is not told to the tenants.
CREATE FUNCTION penstock.tell_of_control() RETURNS trigger LANGUAGE plpgsql
AS $$
DECLARE
    v_agent  text;
    v_tenant text;
BEGIN
    SELECT r.agent INTO v_agent FROM penstock.runs r WHERE r.tenant = NEW.tenant AND r.id = NEW.run_id;
    FOR v_tenant IN
        SELECT DISTINCT e.tenant FROM penstock.webhook_endpoints e WHERE NEW.tenant IS NULL OR e.tenant = NEW.tenant
    LOOP
        PERFORM penstock.tell_endpoints(
            v_tenant, 'control.applied', NEW.run_id, v_agent, NEW.id::text,
            json_build_object(
                'run', NEW.run_id, 'control', NEW.id, 'action', NEW.action, 'scope',
                CASE WHEN NEW.run_id IS NOT NULL THEN 'run' WHEN NEW.tenant IS NULL THEN 'everything' ELSE 'tenant' END,
                'actor', CASE WHEN NEW.tenant IS NULL THEN '' ELSE NEW.actor END
            )::text
        );
    END LOOP;
    RETURN NULL;
END
$$;
CREATE TRIGGER controls_tell AFTER UPDATE OF sealed_at ON penstock.controls
    FOR EACH ROW WHEN (NEW.sealed_at IS NOT NULL AND OLD.sealed_at IS NULL) EXECUTE FUNCTION penstock.tell_of_control();

-- Takes due deliveries. Only endpoints for which something waits are looked at, whatever waits for each: the recursion
-- jumps from one to the next in the index. They come in random order, so that a limit favours none.
CREATE FUNCTION penstock.take_deliveries(
    p_endpoint uuid[], p_under_way integer[], p_each integer, p_limit integer, p_lease bigint
) RETURNS SETOF penstock.webhook_deliveries
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_now bigint := penstock.now_us();
BEGIN
    RETURN QUERY
    WITH RECURSIVE waiting AS (
        (SELECT d.tenant, d.endpoint FROM penstock.webhook_deliveries d
         WHERE d.state = 'waiting' ORDER BY d.tenant, d.endpoint LIMIT 1)
        UNION ALL
        SELECT n.tenant, n.endpoint FROM waiting w CROSS JOIN LATERAL (
            SELECT d.tenant, d.endpoint FROM penstock.webhook_deliveries d
            WHERE d.state = 'waiting' AND (d.tenant, d.endpoint) > (w.tenant, w.endpoint)
            ORDER BY d.tenant, d.endpoint LIMIT 1
        ) AS n
    ), open AS MATERIALIZED (
        SELECT e.tenant, e.id,
               CASE WHEN e.failing_since IS NULL THEN p_each ELSE 1 END - coalesce(u.count, 0) AS free
        FROM waiting w JOIN penstock.webhook_endpoints e ON e.tenant = w.tenant AND e.id = w.endpoint
            LEFT JOIN unnest(p_endpoint, p_under_way) AS u(endpoint, count) ON u.endpoint = e.id
        WHERE e.paused_why = '' AND e.hold_until <= v_now
        ORDER BY random()
    ), due AS MATERIALIZED (
        SELECT t.tenant, t.endpoint, t.id
        FROM open o CROSS JOIN LATERAL (
            SELECT d.tenant, d.endpoint, d.id FROM penstock.webhook_deliveries d
            WHERE d.tenant = o.tenant AND d.endpoint = o.id AND d.state = 'waiting' AND d.next_at <= v_now
            ORDER BY d.next_at LIMIT greatest(o.free, 0) FOR NO KEY UPDATE SKIP LOCKED
        ) AS t
        LIMIT p_limit
    )
    UPDATE penstock.webhook_deliveries d
    SET token = d.token + 1, attempts = d.attempts + 1, next_at = v_now + p_lease
    FROM due WHERE d.tenant = due.tenant AND d.endpoint = due.endpoint AND d.id = due.id
    RETURNING d.*;
END
$$;

-- Writes down what became of an attempt; false when the delivery has been taken, or asked for, again.
CREATE FUNCTION penstock.settle_delivery(
    p_tenant text, p_endpoint uuid, p_id text, p_token integer, p_state text, p_status text, p_again bigint,
    p_hold bigint, p_gone text, p_failing integer
) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_now bigint := penstock.now_us();
BEGIN
    UPDATE penstock.webhook_deliveries d
    SET state = p_state, next_at = v_now + p_again, last_status = p_status, last_at = v_now
    WHERE d.tenant = p_tenant AND d.endpoint = p_endpoint AND d.id = p_id AND d.token = p_token
      AND d.state = 'waiting';
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF p_state = 'delivered' THEN
        UPDATE penstock.webhook_endpoints e SET failures = 0, failing_since = NULL, last_status = p_status
        WHERE e.tenant = p_tenant AND e.id = p_endpoint AND (e.failures > 0 OR e.last_status <> p_status);
    ELSE
        UPDATE penstock.webhook_endpoints e
        SET failures = least(e.failures + 1, 1000000000), last_status = p_status,
            failing_since = CASE WHEN e.failures + 1 >= p_failing THEN coalesce(e.failing_since, v_now) END,
            hold_until = greatest(e.hold_until, v_now + p_hold),
            paused_why = CASE WHEN p_gone <> '' AND e.paused_why = '' THEN p_gone ELSE e.paused_why END
        WHERE e.tenant = p_tenant AND e.id = p_endpoint;
    END IF;
    RETURN true;
END
$$;
