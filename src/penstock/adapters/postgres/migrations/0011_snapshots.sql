-- Snapshots of long runs: where the state after an event is kept. The state itself is a payload of the run's subject, so
-- that erasing the subject erases it too. One a run: a later one takes the place of the one before.

CREATE TABLE penstock.snapshots (
    tenant   text COLLATE "C" NOT NULL,
    run_id   uuid        NOT NULL,
    epoch    integer     NOT NULL,
    seq      integer     NOT NULL,
    head     bytea       NOT NULL,
    format   integer     NOT NULL,
    release  text COLLATE "C" NOT NULL,
    subject  text COLLATE "C" NOT NULL,
    address  bytea       NOT NULL,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, run_id)
) WITH (fillfactor = 80);

-- Keeps a snapshot whose payload is stored already, and removes the payload of the one before. The run's row is
-- not locked: a claim in between raises the epoch, and the snapshot is as true as before.
-- A snapshot that is lost in a crash costs time and nothing else, so the commit is not flushed.
CREATE FUNCTION penstock.put_snapshot(
    p_tenant text, p_run uuid, p_epoch integer, p_seq integer, p_head bytea, p_format integer, p_release text,
    p_subject text, p_address bytea
) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_old   record;
    v_is_up boolean;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    v_is_up := EXISTS (
        SELECT FROM penstock.runs r
        WHERE r.tenant = p_tenant AND r.id = p_run AND r.epoch = p_epoch AND r.last_seq >= p_seq AND r.status <> 'ended'
    );
    SELECT s.seq, s.subject, s.address INTO v_old
    FROM penstock.snapshots s WHERE s.tenant = p_tenant AND s.run_id = p_run FOR UPDATE;
    IF NOT v_is_up OR v_old.seq >= p_seq THEN
        DELETE FROM penstock.payloads p
        WHERE p.tenant = p_tenant AND p.subject = p_subject AND p.address = p_address
          AND p.address IS DISTINCT FROM v_old.address;
        RETURN false;
    END IF;
    INSERT INTO penstock.snapshots AS s (tenant, run_id, epoch, seq, head, format, release, subject, address)
    VALUES (p_tenant, p_run, p_epoch, p_seq, p_head, p_format, p_release, p_subject, p_address)
    ON CONFLICT (tenant, run_id) DO UPDATE
    SET epoch = p_epoch, seq = p_seq, head = p_head, format = p_format, release = p_release, subject = p_subject,
        address = p_address, at = clock_timestamp()
    WHERE s.seq < p_seq;
    IF v_old.address IS NOT NULL THEN
        DELETE FROM penstock.payloads p
        WHERE p.tenant = p_tenant AND p.subject = v_old.subject AND p.address = v_old.address;
    END IF;
    RETURN true;
END
$$;

-- Forgets a run's snapshot and its payload.
CREATE FUNCTION penstock.drop_snapshot(p_tenant text, p_run uuid) RETURNS boolean
    LANGUAGE sql VOLATILE
AS $$
    WITH gone AS (
        DELETE FROM penstock.snapshots s WHERE s.tenant = p_tenant AND s.run_id = p_run RETURNING subject, address
    ), emptied AS (
        DELETE FROM penstock.payloads p USING gone g
        WHERE p.tenant = p_tenant AND p.subject = g.subject AND p.address = g.address
    )
    SELECT EXISTS (SELECT FROM gone)
$$;
