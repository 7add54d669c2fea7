-- Budgets above the task: accounts, and the shares of the processes that spend from them.
--
-- A share's row is changed by its holder alone, in the transaction that writes the events which spend from it: nobody
-- waits for anybody on the way of an append. What is granted to a share is changed under the lock of its account's row.
-- Rows are locked in the order of accounts, then holders, by everybody.

CREATE TABLE penstock.budgets (
    tenant   text COLLATE "C" NOT NULL,
    name     text COLLATE "C" NOT NULL,
    id       bigint NOT NULL,  -- another one when it begins to count anew
    match    text   NOT NULL,  -- JSON
    period   text   NOT NULL CHECK (period IN ('run', 'hour', 'day', 'month', 'total')),
    timezone text   NOT NULL,
    nano     bigint NOT NULL CHECK (nano >= 0),
    tokens   bigint NOT NULL CHECK (tokens >= 0),
    calls    bigint NOT NULL CHECK (calls >= 0),
    at_end   text   NOT NULL CHECK (at_end IN ('stop', 'park')),
    actor    text   NOT NULL,
    set_at   bigint NOT NULL,
    PRIMARY KEY (tenant, name),
    UNIQUE (tenant, id)
);
CREATE SEQUENCE penstock.budget_ids;

-- Grows with every change of a budget: what processes look at to know that they know all.
CREATE TABLE penstock.budget_changes (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    number   bigint  NOT NULL
);
INSERT INTO penstock.budget_changes (number) VALUES (0);

CREATE TABLE penstock.budget_accounts (
    tenant       text COLLATE "C" NOT NULL,
    id           bigint   NOT NULL,
    budget       bigint   NOT NULL,
    who          text[]   NOT NULL,
    since        bigint   NOT NULL,
    until        bigint   NOT NULL,  -- 0 = no end
    -- of holders that are no more
    nano         bigint   NOT NULL DEFAULT 0,
    tokens       bigint   NOT NULL DEFAULT 0,
    calls        bigint   NOT NULL DEFAULT 0,
    held_nano    bigint   NOT NULL DEFAULT 0,
    held_tokens  bigint   NOT NULL DEFAULT 0,
    held_calls   bigint   NOT NULL DEFAULT 0,
    wanted_until bigint   NOT NULL DEFAULT 0,
    told         smallint NOT NULL DEFAULT 0,
    touched_at   bigint   NOT NULL,
    PRIMARY KEY (tenant, id)
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX budget_accounts_key ON penstock.budget_accounts (tenant, budget, since, who);
CREATE INDEX budget_accounts_newest ON penstock.budget_accounts (tenant, budget, id);

CREATE TABLE penstock.budget_shares (
    tenant         text COLLATE "C" NOT NULL,
    account        bigint NOT NULL,
    holder         uuid   NOT NULL,
    granted_nano   bigint NOT NULL DEFAULT 0,
    granted_tokens bigint NOT NULL DEFAULT 0,
    granted_calls  bigint NOT NULL DEFAULT 0,
    nano           bigint NOT NULL DEFAULT 0,
    tokens         bigint NOT NULL DEFAULT 0,
    calls          bigint NOT NULL DEFAULT 0,
    -- negative where what another holder had reserved was settled here
    held_nano      bigint NOT NULL DEFAULT 0,
    held_tokens    bigint NOT NULL DEFAULT 0,
    held_calls     bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, account, holder)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE INDEX budget_shares_holder ON penstock.budget_shares (holder, account);

CREATE TABLE penstock.budget_holders (
    holder uuid   PRIMARY KEY,
    until  bigint NOT NULL
);

-- Runs that wait for a budget's change.
CREATE TABLE penstock.budget_waits (
    tenant  text COLLATE "C" NOT NULL,
    account bigint NOT NULL,
    run_id  uuid   NOT NULL,
    dedup   text   NOT NULL,
    PRIMARY KEY (tenant, account, run_id, dedup)
);

CREATE FUNCTION penstock.budget_lock() RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 7955997830310;

-- Makes or changes a budget; its id, or 0 when there are too many. Where a limit is lower now, nothing is left of what
-- was granted and not used: whoever spends from it has to ask anew.
CREATE FUNCTION penstock.put_budget(
    p_tenant text, p_name text, p_match text, p_period text, p_timezone text, p_nano bigint, p_tokens bigint,
    p_calls bigint, p_at_end text, p_actor text, p_most integer, OUT id bigint, OUT anew boolean
)
    LANGUAGE plpgsql VOLATILE
AS $$
#variable_conflict use_column
DECLARE
    v_old     record;
    v_account record;
BEGIN
    PERFORM pg_advisory_xact_lock(penstock.budget_lock());
    SELECT b.id, b.match, b.period, b.timezone, b.nano, b.tokens, b.calls INTO v_old
    FROM penstock.budgets b WHERE b.tenant = p_tenant AND b.name = p_name;
    IF NOT FOUND AND (SELECT count(*) FROM penstock.budgets) >= p_most THEN
        put_budget.id := 0;
        RETURN;
    END IF;
    anew := v_old.id IS NULL OR (v_old.match, v_old.period, v_old.timezone) <> (p_match, p_period, p_timezone);
    put_budget.id := CASE WHEN anew THEN nextval('penstock.budget_ids') ELSE v_old.id END;
    INSERT INTO penstock.budgets AS b (
        tenant, name, id, match, period, timezone, nano, tokens, calls, at_end, actor, set_at
    ) VALUES (
        p_tenant, p_name, put_budget.id, p_match, p_period, p_timezone, p_nano, p_tokens, p_calls, p_at_end, p_actor,
        penstock.now_us()
    ) ON CONFLICT (tenant, name) DO UPDATE SET
        id = excluded.id, match = excluded.match, period = excluded.period, timezone = excluded.timezone,
        nano = excluded.nano, tokens = excluded.tokens, calls = excluded.calls, at_end = excluded.at_end,
        actor = excluded.actor, set_at = excluded.set_at;
    IF NOT anew AND (v_old.nano, v_old.tokens, v_old.calls) <> (p_nano, p_tokens, p_calls) THEN
        FOR v_account IN
            SELECT a.id FROM penstock.budget_accounts a WHERE a.tenant = p_tenant AND a.budget = v_old.id
            ORDER BY a.id FOR NO KEY UPDATE
        LOOP
            UPDATE penstock.budget_accounts a SET told = 0
            WHERE a.tenant = p_tenant AND a.id = v_account.id AND a.told > 0;
            PERFORM 1 FROM penstock.budget_shares s WHERE s.tenant = p_tenant AND s.account = v_account.id
            ORDER BY s.holder FOR NO KEY UPDATE;
            UPDATE penstock.budget_shares s SET
                granted_nano = CASE
                    WHEN p_nano > 0 AND (v_old.nano = 0 OR p_nano < v_old.nano) THEN s.nano + s.held_nano
                    ELSE s.granted_nano
                END,
                granted_tokens = CASE
                    WHEN p_tokens > 0 AND (v_old.tokens = 0 OR p_tokens < v_old.tokens) THEN s.tokens + s.held_tokens
                    ELSE s.granted_tokens
                END,
                granted_calls = CASE
                    WHEN p_calls > 0 AND (v_old.calls = 0 OR p_calls < v_old.calls) THEN s.calls + s.held_calls
                    ELSE s.granted_calls
                END
            WHERE s.tenant = p_tenant AND s.account = v_account.id;
        END LOOP;
    END IF;
    UPDATE penstock.budget_changes SET number = number + 1;
END
$$;

-- The account's id, and whom it is for in fact. A budget with too many accounts has one for all the others.
CREATE FUNCTION penstock.open_budget_account(
    p_tenant text, p_budget bigint, p_who text[], p_since bigint, p_until bigint, p_other text, p_most integer,
    OUT id bigint, OUT who text[]
)
    LANGUAGE plpgsql VOLATILE
    SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
    v_period text;
BEGIN
    open_budget_account.who := p_who;
    SELECT a.id INTO open_budget_account.id FROM penstock.budget_accounts a
    WHERE a.tenant = p_tenant AND a.budget = p_budget AND a.since = p_since AND a.who = p_who;
    IF FOUND THEN
        RETURN;
    END IF;
    -- Those who open accounts of a budget at the same time wait for each other, so the bound holds.
    SELECT b.period INTO v_period FROM penstock.budgets b
    WHERE b.tenant = p_tenant AND b.id = p_budget FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        open_budget_account.id := 0;
        RETURN;
    END IF;
    IF v_period <> 'run' AND cardinality(p_who) > 0 AND (
        SELECT count(*) FROM (
            SELECT FROM penstock.budget_accounts a
            WHERE a.tenant = p_tenant AND a.budget = p_budget AND a.since = p_since LIMIT p_most
        ) AS known
    ) >= p_most THEN
        open_budget_account.who := array_fill(p_other, ARRAY[cardinality(p_who)]);
    END IF;
    INSERT INTO penstock.budget_accounts AS a (tenant, id, budget, who, since, until, touched_at)
    VALUES (
        p_tenant, nextval('penstock.budget_ids'), p_budget, open_budget_account.who, p_since, p_until,
        penstock.now_us()
    )
    ON CONFLICT (tenant, budget, since, who) DO UPDATE SET touched_at = excluded.touched_at
    RETURNING a.id INTO open_budget_account.id;
END
$$;

-- A share goes back to its account: what it has spent and still holds stays charged there.
CREATE FUNCTION penstock.fold_shares(p_tenant text, p_account bigint, p_leaving uuid) RETURNS void
    LANGUAGE sql VOLATILE
AS $$
    WITH dead AS MATERIALIZED (
        SELECT s.holder FROM penstock.budget_shares s
        WHERE s.tenant = p_tenant AND s.account = p_account AND (
            s.holder = p_leaving OR NOT EXISTS (SELECT FROM penstock.budget_holders h WHERE h.holder = s.holder)
        )
        ORDER BY s.holder FOR UPDATE
    ), gone AS (
        DELETE FROM penstock.budget_shares s USING dead
        WHERE s.tenant = p_tenant AND s.account = p_account AND s.holder = dead.holder
        RETURNING s.nano, s.tokens, s.calls, s.held_nano, s.held_tokens, s.held_calls
    ), sums AS MATERIALIZED (
        SELECT sum(nano)::bigint AS nano, sum(tokens)::bigint AS tokens, sum(calls)::bigint AS calls,
               sum(held_nano)::bigint AS held_nano, sum(held_tokens)::bigint AS held_tokens,
               sum(held_calls)::bigint AS held_calls
        FROM gone HAVING count(*) > 0
    )
    UPDATE penstock.budget_accounts a SET
        nano = a.nano + sums.nano, tokens = a.tokens + sums.tokens, calls = a.calls + sums.calls,
        held_nano = a.held_nano + sums.held_nano, held_tokens = a.held_tokens + sums.held_tokens,
        held_calls = a.held_calls + sums.held_calls
    FROM sums WHERE a.tenant = p_tenant AND a.id = p_account
$$;

-- One holder's turn with the store: see ports/budgets.py. The first row is of no account. Each ask has three numbers
-- (nano-dollars, tokens, calls) in each of ``p_least``, ``p_ample`` and ``p_keep``; -1 = nothing is asked.
--
-- Not flushed: a grant that is lost with the server leaves a holder that believes it has more than it has, and the
-- append of an intent would tell it so. The append's own commit flushes the grants it rests on.
CREATE FUNCTION penstock.exchange_shares(
    p_holder uuid, p_lease bigint, p_fresh boolean, p_tenant text[], p_account bigint[], p_least bigint[],
    p_ample bigint[], p_keep bigint[], p_leave boolean[], p_recall bigint, p_spread integer, p_unlimited bigint,
    p_limit integer
) RETURNS TABLE (
    account bigint, gone boolean, wanted boolean, granted bigint[], limits bigint[], used bigint[], held bigint[],
    change bigint, now_us bigint, alive boolean
)
    LANGUAGE plpgsql VOLATILE
    SET plan_cache_mode = force_generic_plan
    SET jit = off
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET enable_mergejoin = off
    SET enable_hashjoin = off
AS $$
#variable_conflict use_column
DECLARE
    v_now     bigint := penstock.now_us();
    v_change  bigint;
    v_budget  record;
    v_sum     record;
    v_taken   bigint[];
    v_own     bigint[];
    v_limits  bigint[];
    v_left    bigint;
    v_need    bigint;
    v_more    bigint[];
    v_ahead   bigint;
    v_enough  boolean;
    v_scarce  boolean;
    v_holders integer;
    v_reached numeric;
    v_level   integer;
    i         integer;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    DELETE FROM penstock.budget_holders h WHERE h.holder IN (
        SELECT d.holder FROM penstock.budget_holders d WHERE d.until <= v_now AND d.holder <> p_holder
        LIMIT 100 FOR UPDATE SKIP LOCKED
    );
    SELECT c.number INTO v_change FROM penstock.budget_changes c;
    IF p_fresh THEN
        INSERT INTO penstock.budget_holders AS h (holder, until) VALUES (p_holder, v_now + p_lease)
        ON CONFLICT (holder) DO UPDATE SET until = excluded.until;
    ELSE
        UPDATE penstock.budget_holders h SET until = v_now + p_lease WHERE h.holder = p_holder AND h.until > v_now;
        IF NOT FOUND THEN
            RETURN QUERY SELECT NULL::bigint, false, false, NULL::bigint[], NULL::bigint[], NULL::bigint[],
                                NULL::bigint[], v_change, v_now, false;
            RETURN;
        END IF;
    END IF;
    RETURN QUERY SELECT NULL::bigint, false, false, NULL::bigint[], NULL::bigint[], NULL::bigint[], NULL::bigint[],
                        v_change, v_now, true;

    FOR i IN 1..coalesce(cardinality(p_account), 0) LOOP
        SELECT b.id, b.name, b.match, b.nano, b.tokens, b.calls, a.who, a.since, a.until, a.told, a.wanted_until
        INTO v_budget
        FROM penstock.budget_accounts a JOIN penstock.budgets b ON b.tenant = a.tenant AND b.id = a.budget
        WHERE a.tenant = p_tenant[i] AND a.id = p_account[i] FOR NO KEY UPDATE OF a;
        IF NOT FOUND THEN
            RETURN QUERY SELECT p_account[i], true, false, ARRAY[0, 0, 0]::bigint[], ARRAY[0, 0, 0]::bigint[],
                                ARRAY[0, 0, 0]::bigint[], ARRAY[0, 0, 0]::bigint[], v_change, v_now, true;
            CONTINUE;
        END IF;
        v_limits := ARRAY[v_budget.nano, v_budget.tokens, v_budget.calls];
        v_scarce := v_budget.wanted_until > v_now;
        PERFORM penstock.fold_shares(p_tenant[i], p_account[i], CASE WHEN p_leave[i] THEN p_holder END);
        IF p_keep[i * 3] >= 0 THEN
            UPDATE penstock.budget_shares s SET
                granted_nano = least(s.granted_nano, greatest(p_keep[i * 3 - 2], s.nano + s.held_nano)),
                granted_tokens = least(s.granted_tokens, greatest(p_keep[i * 3 - 1], s.tokens + s.held_tokens)),
                granted_calls = least(s.granted_calls, greatest(p_keep[i * 3], s.calls + s.held_calls))
            WHERE s.tenant = p_tenant[i] AND s.account = p_account[i] AND s.holder = p_holder;
        END IF;
        IF p_least[i * 3] >= 0 THEN
            INSERT INTO penstock.budget_shares (tenant, account, holder)
            VALUES (p_tenant[i], p_account[i], p_holder) ON CONFLICT DO NOTHING;
            SELECT count(*)::integer, ARRAY[
                sum(greatest(s.granted_nano, s.nano + s.held_nano) % p_unlimited),
                sum(greatest(s.granted_tokens, s.tokens + s.held_tokens) % p_unlimited),
                sum(greatest(s.granted_calls, s.calls + s.held_calls) % p_unlimited)
            ]::bigint[] INTO v_holders, v_taken
            FROM penstock.budget_shares s WHERE s.tenant = p_tenant[i] AND s.account = p_account[i];
            SELECT ARRAY[s.granted_nano, s.granted_tokens, s.granted_calls] INTO v_own
            FROM penstock.budget_shares s
            WHERE s.tenant = p_tenant[i] AND s.account = p_account[i] AND s.holder = p_holder;
            SELECT ARRAY[a.nano + a.held_nano, a.tokens + a.held_tokens, a.calls + a.held_calls] INTO v_more
            FROM penstock.budget_accounts a WHERE a.tenant = p_tenant[i] AND a.id = p_account[i];
            FOR k IN 1..3 LOOP
                v_taken[k] := v_taken[k] + v_more[k];
            END LOOP;
            v_enough := true;
            v_more := ARRAY[0, 0, 0];
            FOR k IN 1..3 LOOP
                IF v_limits[k] = 0 THEN
                    v_more[k] := p_unlimited - v_own[k];
                    CONTINUE;
                END IF;
                v_left := v_limits[k] - v_taken[k];
                v_need := greatest(0, p_least[i * 3 - 3 + k] - v_own[k]);
                v_enough := v_enough AND v_need <= v_left;
                v_ahead := CASE
                    WHEN v_scarce THEN 0
                    ELSE greatest(p_ample[i * 3 - 3 + k] - v_own[k], v_left / p_spread / v_holders)
                END;
                v_more[k] := least(v_left, greatest(v_need, v_ahead));
            END LOOP;
            IF v_enough THEN
                UPDATE penstock.budget_shares s SET
                    granted_nano = s.granted_nano + v_more[1], granted_tokens = s.granted_tokens + v_more[2],
                    granted_calls = s.granted_calls + v_more[3]
                WHERE s.tenant = p_tenant[i] AND s.account = p_account[i] AND s.holder = p_holder;
            ELSE
                v_budget.wanted_until := v_now + p_recall;
            END IF;
        END IF;
        SELECT ARRAY[a.nano + sum(s.nano), a.tokens + sum(s.tokens), a.calls + sum(s.calls)]::bigint[] AS used,
               ARRAY[
                   a.held_nano + sum(s.held_nano), a.held_tokens + sum(s.held_tokens), a.held_calls + sum(s.held_calls)
               ]::bigint[] AS held,
               coalesce(
                   (array_agg(ARRAY[s.granted_nano, s.granted_tokens, s.granted_calls])
                    FILTER (WHERE s.holder = p_holder))[1:1],
                   ARRAY[ARRAY[0, 0, 0]::bigint[]]
               ) AS granted
        INTO v_sum
        FROM penstock.budget_accounts a
        LEFT JOIN LATERAL (
            SELECT s.* FROM penstock.budget_shares s WHERE s.tenant = a.tenant AND s.account = a.id
            UNION ALL SELECT a.tenant, a.id, '00000000-0000-0000-0000-000000000000', 0, 0, 0, 0, 0, 0, 0, 0, 0
        ) AS s ON true
        WHERE a.tenant = p_tenant[i] AND a.id = p_account[i]
        GROUP BY a.tenant, a.id;
        v_reached := 0;
        FOR k IN 1..3 LOOP
            IF v_limits[k] > 0 THEN
                v_reached := greatest(v_reached, 100 * v_sum.used[k]::numeric / v_limits[k]);
            END IF;
        END LOOP;
        v_level := CASE WHEN v_reached >= 100 THEN 100 WHEN v_reached >= 90 THEN 90 WHEN v_reached >= 70 THEN 70 ELSE 0 END;
        UPDATE penstock.budget_accounts a SET
            wanted_until = v_budget.wanted_until, touched_at = v_now, told = greatest(a.told, v_level)
        WHERE a.tenant = p_tenant[i] AND a.id = p_account[i];
        IF v_level > v_budget.told THEN
            PERFORM penstock.tell_endpoints(
                p_tenant[i], 'budget.threshold', NULL, NULL,
                p_account[i] || ':' || v_level || ':' || array_to_string(v_limits, ':'),
                json_build_object(
                    'budget', v_budget.name, 'account', p_account[i], 'who', penstock.account_names(v_budget.match, v_budget.who),
                    'level', v_level, 'since', v_budget.since, 'until', v_budget.until,
                    'nano', v_sum.used[1], 'tokens', v_sum.used[2], 'calls', v_sum.used[3],
                    'limit_nano', v_limits[1], 'limit_tokens', v_limits[2], 'limit_calls', v_limits[3]
                )::text
            );
        END IF;
        RETURN QUERY SELECT
            p_account[i], false, v_budget.wanted_until > v_now,
            ARRAY[v_sum.granted[1][1], v_sum.granted[1][2], v_sum.granted[1][3]],
            v_limits, v_sum.used, v_sum.held, v_change, v_now, true;
    END LOOP;

    RETURN QUERY
    SELECT a.id, false, true, ARRAY[s.granted_nano, s.granted_tokens, s.granted_calls],
           ARRAY[b.nano, b.tokens, b.calls], ARRAY[a.nano, a.tokens, a.calls],
           ARRAY[a.held_nano, a.held_tokens, a.held_calls], v_change, v_now, true
    FROM penstock.budget_shares s
    JOIN penstock.budget_accounts a ON a.tenant = s.tenant AND a.id = s.account AND a.wanted_until > v_now
    JOIN penstock.budgets b ON b.tenant = a.tenant AND b.id = a.budget
    WHERE s.holder = p_holder AND NOT a.id = ANY (p_account)
    ORDER BY a.id LIMIT p_limit;
END
$$;

-- The values that name an account, by dimension; a budget of each run has the run as the last.
CREATE FUNCTION penstock.account_names(p_match text, p_who text[]) RETURNS json LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(json_object_agg(n.name, p_who[n.number]), '{}'::json)
    FROM (
        SELECT d.key AS name, row_number() OVER (ORDER BY d.key COLLATE "C") AS number
        FROM json_each_text(p_match::json) AS d WHERE d.value = '*'
        UNION ALL
        SELECT 'run', cardinality(p_who) WHERE cardinality(p_who) > (
            SELECT count(*) FROM json_each_text(p_match::json) AS d WHERE d.value = '*'
        )
    ) AS n
$$;

-- Charges the batches of an append that were written by this very transaction, each with the number of its batch. One
-- that was written before and is sent again was charged then. Fails when a share does not hold what is reserved.
-- ``p_holder`` has one element when all are of one holder.
CREATE FUNCTION penstock.charge_budgets(
    p_answers smallint[], p_tenant text[], p_run uuid[], p_last integer[], p_count integer[], p_of integer[],
    p_account bigint[], p_holder uuid[], p_amounts bigint[]  -- six a charge: held and spent, of each three
) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET plan_cache_mode = force_generic_plan
    SET jit = off
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET enable_mergejoin = off
    SET enable_hashjoin = off
AS $$
DECLARE
    v_short text;
BEGIN
    WITH written AS MATERIALIZED (
        SELECT w.i, w.tenant FROM (
            SELECT DISTINCT o.i, CASE WHEN cardinality(p_tenant) = 1 THEN p_tenant[1] ELSE p_tenant[o.i] END AS tenant
            FROM unnest(p_of) AS o(i) WHERE p_answers[o.i] = 1
        ) AS w
        WHERE EXISTS (
            SELECT FROM penstock.events e
            WHERE e.tenant = w.tenant AND e.run_id = p_run[w.i] AND e.seq = p_last[w.i] + p_count[w.i]
              AND e.xmin = pg_current_xact_id()::xid
        )
    ), charged AS MATERIALIZED (
        SELECT w.tenant, c.account, n.holder,
               sum(p_amounts[n.k * 6 - 5])::bigint AS held_nano, sum(p_amounts[n.k * 6 - 4])::bigint AS held_tokens,
               sum(p_amounts[n.k * 6 - 3])::bigint AS held_calls, sum(p_amounts[n.k * 6 - 2])::bigint AS nano,
               sum(p_amounts[n.k * 6 - 1])::bigint AS tokens, sum(p_amounts[n.k * 6])::bigint AS calls,
               -- what is reserved has to fit, whatever the batches beside it give back
               bool_or(p_amounts[n.k * 6 - 5] > 0) AS needs_nano, bool_or(p_amounts[n.k * 6 - 4] > 0) AS needs_tokens,
               bool_or(p_amounts[n.k * 6 - 3] > 0) AS needs_calls
        FROM unnest(p_of, p_account) WITH ORDINALITY AS c(i, account, number)
        CROSS JOIN LATERAL (
            SELECT c.number::integer AS k,
                   CASE WHEN cardinality(p_holder) = 1 THEN p_holder[1] ELSE p_holder[c.number::integer] END AS holder
        ) AS n
        JOIN written w ON w.i = c.i
        JOIN penstock.budget_accounts a ON a.tenant = w.tenant AND a.id = c.account  -- of a removed budget: nothing
        GROUP BY w.tenant, c.account, n.holder
        ORDER BY c.account, n.holder
    ), changed AS (
        INSERT INTO penstock.budget_shares AS s (
            tenant, account, holder, held_nano, held_tokens, held_calls, nano, tokens, calls
        )
        SELECT c.tenant, c.account, c.holder, c.held_nano, c.held_tokens, c.held_calls, c.nano, c.tokens, c.calls
        FROM charged c
        ON CONFLICT (tenant, account, holder) DO UPDATE SET
            held_nano = s.held_nano + excluded.held_nano, held_tokens = s.held_tokens + excluded.held_tokens,
            held_calls = s.held_calls + excluded.held_calls, nano = s.nano + excluded.nano,
            tokens = s.tokens + excluded.tokens, calls = s.calls + excluded.calls
        RETURNING s.*
    )
    SELECT string_agg(s.account::text, ',') INTO v_short
    FROM changed s JOIN charged c ON c.tenant = s.tenant AND c.account = s.account AND c.holder = s.holder
    WHERE (c.needs_nano AND s.granted_nano < s.nano + s.held_nano)
       OR (c.needs_tokens AND s.granted_tokens < s.tokens + s.held_tokens)
       OR (c.needs_calls AND s.granted_calls < s.calls + s.held_calls);
    IF v_short IS NOT NULL THEN
        RAISE EXCEPTION 'budget share short: account %', v_short USING ERRCODE = 'check_violation';
    END IF;
END
$$;
