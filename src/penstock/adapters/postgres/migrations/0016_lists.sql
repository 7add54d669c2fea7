-- Lists of runs, results in the order of their ends, questions to people, and how far stops have come.
--
-- Indexes. No column is indexed here that an append without a move writes, so appends go on updating rows in place. All
-- are partial: an ordinary run that succeeds adds an entry to runs_ends when it ends, one to runs_customer when it has
-- a customer, and one for each move to runs_sessions when it has a session.

-- What to show of a run: where it stands, in one word. The stored form of what it waits for has no spaces, and quotes
-- inside its strings are escaped: the search by bytes finds kinds and nothing else.
CREATE FUNCTION penstock.shown(p_status text, p_stop text, p_outcome text, p_waiting bytea) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE
        WHEN p_status = 'ended' THEN coalesce(p_outcome, 'ended')
        WHEN p_stop IN ('cancel', 'kill') THEN 'stopping'
        WHEN p_stop = 'pause' THEN 'paused'
        WHEN p_status <> 'parked' THEN p_status
        WHEN position('"kind":"approval"'::bytea IN p_waiting) > 0 THEN 'waiting_approval'
        WHEN position('"kind":"doubt"'::bytea IN p_waiting) > 0 THEN 'in_doubt'
        WHEN position('"kind":"retry"'::bytea IN p_waiting) > 0 THEN 'retrying'
        ELSE 'waiting'
    END;

CREATE INDEX runs_customer ON penstock.runs (tenant, (tags ->> 'customer'), id)
    WHERE status = 'ended' AND tags ? 'customer';
CREATE INDEX runs_sessions ON penstock.runs (tenant, session, id) WHERE session <> '';
CREATE INDEX runs_trouble ON penstock.runs (tenant, outcome, id) WHERE status = 'ended' AND outcome <> 'succeeded';
CREATE INDEX runs_code ON penstock.runs (tenant, code, id) WHERE code <> '';
-- With runs_kept, all ended runs of an agent.
CREATE INDEX runs_pruned ON penstock.runs (tenant, agent, id) WHERE pruned_at IS NOT NULL;

-- Results. Ends are numbered inside the transaction of the append. Those that commit late are not lost by a reader who
-- goes by the numbers, because it reads no further than all numbers are settled; see settled_ends. Runs that had ended
-- before this migration have no number.
ALTER TABLE penstock.runs ADD COLUMN ended_no bigint;
CREATE SEQUENCE penstock.ends;

CREATE FUNCTION penstock.number_end() RETURNS trigger LANGUAGE plpgsql
AS $$
BEGIN
    NEW.ended_no := nextval('penstock.ends');
    RETURN NEW;
END
$$;
CREATE TRIGGER runs_number_end BEFORE UPDATE OF status ON penstock.runs
    FOR EACH ROW WHEN (NEW.status = 'ended' AND OLD.status <> 'ended') EXECUTE FUNCTION penstock.number_end();

CREATE INDEX runs_ends ON penstock.runs (tenant, ended_no) WHERE ended_no IS NOT NULL;

-- A number up to which every end is committed or will never be. A run ends only in an append, and each append holds its
-- shared lock from before it takes a number until its commit can be seen: so when all that held the lock after the
-- number was read have let go, the ends up to that number can be seen. Neither clocks nor other transactions matter.
-- NULL when one of them does not let go within the wait.
CREATE FUNCTION penstock.settled_ends(p_wait_ms integer) RETURNS bigint
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_last  bigint;
    v_held  text[];
    v_until timestamptz := clock_timestamp() + p_wait_ms * interval '1 millisecond';
BEGIN
    SELECT CASE WHEN s.is_called THEN s.last_value ELSE 0 END INTO v_last FROM penstock.ends s;
    LOOP
        SELECT array_agg(l.virtualtransaction) INTO v_held
        FROM pg_locks l
        WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
          AND ((l.classid::bigint << 32) | l.objid::bigint) = penstock.append_lock()
          AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
          AND (v_held IS NULL OR l.virtualtransaction = ANY (v_held));
        IF v_held IS NULL THEN
            RETURN v_last;
        END IF;
        IF clock_timestamp() > v_until THEN
            RETURN NULL;
        END IF;
        PERFORM pg_sleep(0.001);
    END LOOP;
END
$$;

-- When the first of the questions to a person that a run waits for ends; those without an end come last. NULL: it asks
-- nothing.
CREATE FUNCTION penstock.first_question(p_waiting bytea) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT min(coalesce(nullif((w.value ->> 'until')::bigint, 0), 9223372036854775807))
    FROM jsonb_array_elements(convert_from(p_waiting, 'UTF8')::jsonb) AS w
    WHERE w.value ->> 'kind' IN ('approval', 'doubt') AND coalesce(w.value ->> 'id', '') <> ''
$$;

CREATE INDEX runs_questions ON penstock.runs (tenant, penstock.first_question(waiting), id)
    WHERE status <> 'ended'
      AND (position('"kind":"approval"'::bytea IN waiting) > 0 OR position('"kind":"doubt"'::bytea IN waiting) > 0);

-- What people decided, for whoever comes second, and for those who decide the next like question. No content: where it
-- is kept. Filled by the transaction that delivers the decision; what has expired, and what older processes delivered,
-- is not in it.
CREATE TABLE penstock.decisions (
    tenant   text COLLATE "C" NOT NULL,
    approval text COLLATE "C" NOT NULL,
    run_id   uuid        NOT NULL,
    agent    text COLLATE "C" NOT NULL,
    tool     text COLLATE "C" NOT NULL,
    question text COLLATE "C" NOT NULL,
    decision text        NOT NULL,
    actor    text        NOT NULL,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    asked_at bigint      NOT NULL,
    seen     real        NOT NULL,  -- seconds that it was on the screen
    subject  text COLLATE "C" NOT NULL,
    args     bytea       NOT NULL,  -- address of the arguments
    reason   bytea,                 -- address of the words; NULL = none were given
    PRIMARY KEY (tenant, approval)
);
CREATE INDEX decisions_like ON penstock.decisions (tenant, agent, tool, question, at);

-- Delivers a decision, once. 1: it counts; 0: there was one before, which is told; -1: no such run waits, or it has
-- ended; of the two that say no, an earlier decision is told when it is known. Of the decisions on a tool of an agent
-- the newest are kept.
CREATE FUNCTION penstock.decide(
    p_tenant text, p_run uuid, p_approval text, p_body bytea, p_agent text, p_tool text, p_question text,
    p_decision text, p_actor text, p_asked_at bigint, p_seen real, p_subject text, p_args bytea, p_reason bytea,
    p_keep integer,
    OUT answer integer, OUT decision text, OUT actor text, OUT at_us bigint
)
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_at timestamptz;
BEGIN
    answer := penstock.deliver(p_tenant, p_run, 'approval:' || p_approval, 'approval', p_body);
    IF answer = 1 THEN
        INSERT INTO penstock.decisions (
            tenant, approval, run_id, agent, tool, question, decision, actor, asked_at, seen, subject, args, reason
        ) VALUES (
            p_tenant, p_approval, p_run, p_agent, p_tool, p_question, p_decision, p_actor, p_asked_at, p_seen,
            p_subject, p_args, p_reason
        )
        ON CONFLICT DO NOTHING;
        SELECT d.at INTO v_at FROM penstock.decisions d
        WHERE d.tenant = p_tenant AND d.agent = p_agent AND d.tool = p_tool AND d.question = p_question
        ORDER BY d.at DESC OFFSET p_keep LIMIT 1;
        IF FOUND THEN
            DELETE FROM penstock.decisions d
            WHERE d.tenant = p_tenant AND d.agent = p_agent AND d.tool = p_tool AND d.question = p_question
              AND d.at <= v_at;
        END IF;
    END IF;
    SELECT d.decision, d.actor, penstock.to_us(d.at) INTO decision, actor, at_us
    FROM penstock.decisions d WHERE d.tenant = p_tenant AND d.approval = p_approval AND d.run_id = p_run;
    IF NOT FOUND THEN  -- an older process delivered it
        SELECT s.said ->> 'decision', s.said ->> 'actor', s.at INTO decision, actor, at_us
        FROM (
            SELECT convert_from(x.body, 'UTF8')::jsonb AS said, penstock.to_us(x.at) AS at FROM penstock.inbox x
            WHERE x.tenant = p_tenant AND x.run_id = p_run AND x.dedup = 'approval:' || p_approval
        ) AS s;
    END IF;
END
$$;

-- How far a stop has come. Of those from before this migration it is not known.
ALTER TABLE penstock.controls
    ADD COLUMN sealed_at timestamptz,
    ADD COLUMN blockers  text[] NOT NULL DEFAULT '{}';
CREATE INDEX controls_newest ON penstock.controls (tenant, at, id);
