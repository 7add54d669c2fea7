-- Approvals by several, cases that people take over, and what tells them of it.
--
-- Only new tables, and one function of a trigger that there is. Whoever votes or claims holds an advisory lock of the
-- run before its row, as nobody who holds a run's row ever asks for it.

-- Actors of one person count once. Of whom nothing is known there is no row.
CREATE TABLE penstock.people (
    tenant text COLLATE "C" NOT NULL,
    actor  text COLLATE "C" NOT NULL,
    person text COLLATE "C" NOT NULL,
    roles  text[]  NOT NULL,          -- besides those that their credential says
    mail   text    NOT NULL,
    barred boolean NOT NULL,
    set_by text   NOT NULL,
    set_at bigint NOT NULL,
    PRIMARY KEY (tenant, actor)
);
CREATE INDEX people_mail ON penstock.people (tenant) WHERE mail <> '';

CREATE TABLE penstock.delegations (
    tenant    text COLLATE "C" NOT NULL,
    id        uuid   NOT NULL,
    giver     text COLLATE "C" NOT NULL,
    taker     text COLLATE "C" NOT NULL,
    roles     text[] NOT NULL,
    giver_key uuid,
    reason    text   NOT NULL,
    made_at   bigint NOT NULL,
    until     bigint NOT NULL,
    ended_at  bigint NOT NULL DEFAULT 0,
    ended_by  text   NOT NULL DEFAULT '',
    PRIMARY KEY (tenant, id)
);
CREATE INDEX delegations_given ON penstock.delegations (tenant, giver, until) WHERE ended_at = 0;
CREATE INDEX delegations_taken ON penstock.delegations (tenant, taker, until) WHERE ended_at = 0;

-- Votes before the last that a question needs. No content: words are in the letter that tells the run.
CREATE TABLE penstock.votes (
    tenant   text COLLATE "C" NOT NULL,
    approval text COLLATE "C" NOT NULL,
    run_id   uuid   NOT NULL,
    actor    text COLLATE "C" NOT NULL,
    people   text[] NOT NULL,
    voter    bytea  NOT NULL,  -- JSON of penstock.ports.questions.Voter
    at       bigint NOT NULL,
    PRIMARY KEY (tenant, approval, actor)
);

CREATE TABLE penstock.cases (
    tenant      text COLLATE "C" NOT NULL,
    run_id      uuid    NOT NULL,
    assignee    text COLLATE "C" NOT NULL DEFAULT '',
    assigned_by text    NOT NULL DEFAULT '',
    due         bigint  NOT NULL DEFAULT 0,
    holder      text COLLATE "C" NOT NULL DEFAULT '',
    claimed_at  bigint  NOT NULL DEFAULT 0,
    until       bigint  NOT NULL DEFAULT 0,
    closed_at   bigint  NOT NULL DEFAULT 0,
    closed_by   text    NOT NULL DEFAULT '',
    note        text    NOT NULL DEFAULT '',
    claims      integer NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, run_id)
) WITH (fillfactor = 80);
CREATE INDEX cases_open ON penstock.cases (tenant, run_id) WHERE closed_at = 0;

CREATE TABLE penstock.notices (
    tenant      text COLLATE "C" NOT NULL,
    approval    text COLLATE "C" NOT NULL,
    kind        text    NOT NULL CHECK (kind IN ('asked', 'escalated')),
    run_id      uuid    NOT NULL,
    agent       text    NOT NULL,
    tool        text    NOT NULL,
    question    text    NOT NULL,
    expires     bigint  NOT NULL,
    created_at  bigint  NOT NULL,
    due         bigint  NOT NULL,
    state       text    NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'dead', 'moot')),
    attempts    integer NOT NULL DEFAULT 0,
    last_status text    NOT NULL DEFAULT '',
    token       integer NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, approval, kind)
) WITH (fillfactor = 80);
CREATE INDEX notices_due ON penstock.notices (due) WHERE state = 'waiting';
CREATE INDEX notices_age ON penstock.notices (created_at);

CREATE FUNCTION penstock.lock_case(p_tenant text, p_run uuid) RETURNS void
    LANGUAGE sql VOLATILE
AS $$
    SELECT pg_advisory_xact_lock(hashtextextended('case:' || p_tenant || ':' || p_run::text, 0))
$$;

-- Takes a case, or holds it for longer. The row as it stands afterwards.
CREATE FUNCTION penstock.claim_case(p_tenant text, p_run uuid, p_holder text, p_us bigint, p_force boolean)
    RETURNS SETOF penstock.cases
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_now bigint;
BEGIN
    PERFORM penstock.lock_case(p_tenant, p_run);
    v_now := penstock.now_us();
    INSERT INTO penstock.cases (tenant, run_id) VALUES (p_tenant, p_run) ON CONFLICT DO NOTHING;
    UPDATE penstock.cases c
    SET claimed_at = CASE WHEN c.holder = p_holder AND c.until > v_now THEN c.claimed_at ELSE v_now END,
        claims = c.claims + CASE WHEN c.holder = p_holder AND c.until > v_now THEN 0 ELSE 1 END,
        holder = p_holder, until = v_now + p_us, closed_at = 0, closed_by = ''
    WHERE c.tenant = p_tenant AND c.run_id = p_run
      AND (p_force OR c.holder IN ('', p_holder) OR c.until <= v_now);
    RETURN QUERY SELECT c.* FROM penstock.cases c WHERE c.tenant = p_tenant AND c.run_id = p_run;
END
$$;

CREATE FUNCTION penstock.hand_back(p_tenant text, p_run uuid, p_holder text, p_note text, p_close boolean)
    RETURNS SETOF penstock.cases
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_now bigint;
BEGIN
    PERFORM penstock.lock_case(p_tenant, p_run);
    v_now := penstock.now_us();
    RETURN QUERY
    UPDATE penstock.cases c
    SET holder = '', until = 0, note = p_note,
        closed_at = CASE WHEN p_close THEN v_now ELSE 0 END, closed_by = CASE WHEN p_close THEN p_holder ELSE '' END
    WHERE c.tenant = p_tenant AND c.run_id = p_run AND c.holder = p_holder AND c.until > v_now
    RETURNING c.*;
END
$$;

-- A person's answer to a question. ``result``: counts | kept | twice | held | late | unknown.
CREATE FUNCTION penstock.vote(
    p_tenant text, p_run uuid, p_approval text, p_body bytea, p_agent text, p_tool text, p_question text,
    p_decision text, p_actor text, p_asked_at bigint, p_seen real, p_subject text, p_args bytea, p_reason bytea,
    p_keep integer, p_people text[], p_voter bytea, p_dedup text, p_letter bytea, p_needed integer, p_void text[],
    OUT result text, OUT decision text, OUT actor text, OUT at_us bigint, OUT holder text
)
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_said record;
BEGIN
    PERFORM penstock.lock_case(p_tenant, p_run);
    SELECT c.holder INTO holder FROM penstock.cases c
    WHERE c.tenant = p_tenant AND c.run_id = p_run AND c.until > penstock.now_us() AND c.holder NOT IN ('', p_actor);
    IF FOUND THEN
        result := 'held';
        RETURN;
    END IF;
    IF p_needed > 1 AND NOT EXISTS (
        SELECT FROM penstock.inbox x
        WHERE x.tenant = p_tenant AND x.run_id = p_run AND x.dedup = 'approval:' || p_approval
    ) AND EXISTS (
        SELECT FROM penstock.runs r WHERE r.tenant = p_tenant AND r.id = p_run AND r.status <> 'ended'
    ) THEN
        DELETE FROM penstock.votes v
        WHERE v.tenant = p_tenant AND v.approval = p_approval AND v.actor = ANY (p_void);
        IF EXISTS (
            SELECT FROM penstock.votes v
            WHERE v.tenant = p_tenant AND v.approval = p_approval AND v.people && p_people
        ) THEN
            result := 'twice';
            RETURN;
        END IF;
        IF penstock.deliver(p_tenant, p_run, p_dedup, 'approval', p_letter) < 0 THEN
            result := 'unknown';
            RETURN;
        END IF;
        INSERT INTO penstock.votes (tenant, approval, run_id, actor, people, voter, at)
        VALUES (p_tenant, p_approval, p_run, p_actor, p_people, p_voter, penstock.now_us());
        IF (SELECT count(*) FROM penstock.votes v WHERE v.tenant = p_tenant AND v.approval = p_approval) < p_needed THEN
            result := 'kept';
            RETURN;
        END IF;
    END IF;
    SELECT d.* INTO v_said FROM penstock.decide(
        p_tenant, p_run, p_approval, p_body, p_agent, p_tool, p_question, p_decision, p_actor, p_asked_at, p_seen,
        p_subject, p_args, p_reason, p_keep
    ) AS d;
    decision := v_said.decision;
    actor := v_said.actor;
    at_us := v_said.at_us;
    result := CASE
        WHEN v_said.answer = 1 THEN 'counts'
        WHEN v_said.answer < 0 AND v_said.decision IS NULL THEN 'unknown'
        ELSE 'late'
    END;
END
$$;

-- As in 0019, and notes each question that begins to wait for those who are written to.
CREATE OR REPLACE FUNCTION penstock.tell_of_run() RETURNS trigger LANGUAGE plpgsql
AS $$
DECLARE
    v_topic text;
    v_item  jsonb;
    v_hooks boolean := EXISTS (SELECT FROM penstock.webhook_endpoints e WHERE e.tenant = NEW.tenant);
    v_mails boolean := false;
BEGIN
    IF v_hooks AND NEW.status <> OLD.status AND NEW.status IN ('ended', 'parked', 'quarantined')
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
        v_mails := EXISTS (SELECT FROM penstock.people p WHERE p.tenant = NEW.tenant AND p.mail <> '') OR EXISTS (
            SELECT FROM penstock.webhook_endpoints e
            WHERE e.tenant = NEW.tenant AND 'approval.escalated' = ANY (e.topics)
        );
        IF NOT v_hooks AND NOT v_mails THEN
            RETURN NULL;
        END IF;
        FOR v_item IN
            SELECT w.value FROM jsonb_array_elements(convert_from(NEW.waiting, 'UTF8')::jsonb) AS w
            WHERE w.value ->> 'kind' IN ('approval', 'doubt') AND coalesce(w.value ->> 'id', '') <> ''
              AND position(convert_to(w.value ->> 'id', 'UTF8') IN OLD.waiting) = 0
        LOOP
            IF v_hooks THEN
                PERFORM penstock.tell_endpoints(
                    NEW.tenant, 'approval.requested', NEW.id, NEW.agent, v_item ->> 'id',
                    json_build_object(
                        'run', NEW.id, 'agent', NEW.agent, 'approval', v_item ->> 'id', 'tool',
                        coalesce(v_item ->> 'name', ''), 'question',
                        CASE v_item ->> 'kind' WHEN 'doubt' THEN 'did_it_happen' ELSE 'may_run' END,
                        'until', coalesce((v_item ->> 'until')::bigint, 0)
                    )::text
                );
            END IF;
            IF v_mails THEN
                INSERT INTO penstock.notices (
                    tenant, approval, kind, run_id, agent, tool, question, expires, created_at, due
                ) VALUES (
                    NEW.tenant, v_item ->> 'id', 'asked', NEW.id, NEW.agent, coalesce(v_item ->> 'name', ''),
                    CASE v_item ->> 'kind' WHEN 'doubt' THEN 'did_it_happen' ELSE 'may_run' END,
                    coalesce((v_item ->> 'until')::bigint, 0), penstock.now_us(), penstock.now_us()
                ) ON CONFLICT DO NOTHING;
            END IF;
        END LOOP;
    END IF;
    RETURN NULL;
END
$$;
