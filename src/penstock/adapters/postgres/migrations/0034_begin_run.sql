-- A run that one call makes and that is held from its creation, in as few statements as it takes.

-- Makes one run that a live worker holds under epoch 1, with its first events, their payloads and what they charge, as
-- put_payloads, begin_held, append and charge_budgets do one after the other for any number, in half their time.
-- It does what nothing stands in the way of: when the run is there already, a stop is in force, or the checks of its
-- intent are of an older version than p_checked, at_us is NULL and nothing is done, and those functions find out what is
-- to be answered. Locks are taken in their order.
--
-- p_summary has seven numbers, p_amounts six: held and spent, of each nano-dollars, tokens, calls; every account, each
-- named once, is charged the same.
CREATE FUNCTION penstock.begin_run(
    p_worker uuid, p_tenant text, p_id uuid, p_agent text, p_release text, p_env text, p_format integer,
    p_subject_key bytea, p_tags jsonb, p_checked integer, p_summary bigint[], p_bodies bytea[], p_hashes bytea[],
    p_addresses bytea[], p_codecs text[], p_sizes integer[], p_data bytea[],
    p_account bigint[], p_holder uuid, p_amounts bigint[],
    OUT at_us bigint
)
    LANGUAGE plpgsql VOLATILE
    SET plan_cache_mode = force_generic_plan
    SET jit = off
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET enable_mergejoin = off
    SET enable_hashjoin = off
AS $$
DECLARE
    v_done     text := set_config('synchronous_commit', 'on', true);
    v_at       timestamptz;
    v_breakers integer;
    v_short    text;
    v_events   integer := cardinality(p_bodies);
BEGIN
    v_done := pg_advisory_xact_lock_shared(penstock.erasure_lock());
    v_done := pg_advisory_xact_lock_shared(penstock.append_lock());
    v_at := clock_timestamp();
    SELECT b.version INTO v_breakers
    FROM penstock.breaker_version b
    WHERE EXISTS (SELECT FROM penstock.workers w WHERE w.id = p_worker AND w.lease_until > v_at)
      AND NOT EXISTS (SELECT FROM penstock.controls c WHERE c.run_id IS NULL AND c.lifted_at IS NULL)
      AND NOT EXISTS (SELECT FROM penstock.controls c WHERE c.scope <> '' AND c.lifted_at IS NULL)
      AND NOT EXISTS (SELECT FROM penstock.runs r WHERE r.tenant = p_tenant AND r.id = p_id)
      AND NOT EXISTS (SELECT FROM penstock.subjects s WHERE s.tenant = p_tenant AND s.subject = p_id::text);
    IF v_breakers IS NULL OR v_breakers > p_checked THEN
        RETURN;
    END IF;
    INSERT INTO penstock.runs (
        tenant, id, agent, release, env, format, status, epoch, worker, last_seq, head, subject, subject_key,
        request_digest, session, priority, parent_path, root, created_at, deadline, tags, customer,
        steps, model_calls, tool_calls, tokens, nano, reserved_nano, open_intents
    ) VALUES (
        p_tenant, p_id, p_agent, p_release, p_env, p_format, 'running', 1, p_worker, v_events, p_hashes[v_events],
        p_id::text, p_subject_key, '', '', 0, '', p_id, v_at, 0, p_tags, coalesce(p_tags ->> 'customer', ''),
        p_summary[1], p_summary[2], p_summary[3], p_summary[4], p_summary[5], p_summary[6], p_summary[7]
    ) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN  -- it was made while this was under way: the same call again will see it
        RAISE EXCEPTION 'run % is being made by another session', p_id USING ERRCODE = 'serialization_failure';
    END IF;
    INSERT INTO penstock.events (tenant, run_id, seq, at, body, hash)
    SELECT p_tenant, p_id, e.seq, v_at, e.body, e.hash
    FROM unnest(p_bodies, p_hashes) WITH ORDINALITY AS e(body, hash, seq);
    INSERT INTO penstock.payloads (tenant, subject, address, codec, size, data)
    SELECT p_tenant, p_id::text, n.address, n.codec, n.size, n.data
    FROM unnest(p_addresses, p_codecs, p_sizes, p_data) AS n(address, codec, size, data)
    ON CONFLICT DO NOTHING;
    IF p_account IS NOT NULL THEN
        WITH changed AS (
            INSERT INTO penstock.budget_shares AS s (
                tenant, account, holder, held_nano, held_tokens, held_calls, nano, tokens, calls
            )
            SELECT p_tenant, a.id, p_holder, p_amounts[1], p_amounts[2], p_amounts[3], p_amounts[4], p_amounts[5],
                   p_amounts[6]
            FROM penstock.budget_accounts a  -- of a removed budget: nothing
            WHERE a.tenant = p_tenant AND a.id = ANY (p_account)
            ORDER BY a.id
            ON CONFLICT (tenant, account, holder) DO UPDATE SET
                held_nano = s.held_nano + excluded.held_nano, held_tokens = s.held_tokens + excluded.held_tokens,
                held_calls = s.held_calls + excluded.held_calls, nano = s.nano + excluded.nano,
                tokens = s.tokens + excluded.tokens, calls = s.calls + excluded.calls
            RETURNING s.account, s.granted_nano - s.nano - s.held_nano AS left_nano,
                      s.granted_tokens - s.tokens - s.held_tokens AS left_tokens,
                      s.granted_calls - s.calls - s.held_calls AS left_calls
        )
        SELECT string_agg(c.account::text, ',') INTO v_short FROM changed c
        WHERE (left_nano < 0 AND p_amounts[1] > 0) OR (left_tokens < 0 AND p_amounts[2] > 0)
           OR (left_calls < 0 AND p_amounts[3] > 0);
        IF v_short IS NOT NULL THEN
            RAISE EXCEPTION 'budget share short: account %', v_short USING ERRCODE = 'check_violation';
        END IF;
    END IF;
    at_us := penstock.to_us(v_at);
END
$$;
