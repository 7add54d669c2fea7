-- Tables of the journal. Tenant leads every key. Text in keys is compared byte by byte: the same order on every server.

CREATE FUNCTION penstock.to_us(moment timestamptz) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (extract(epoch FROM moment) * 1000000)::bigint;

CREATE FUNCTION penstock.from_us(microseconds bigint) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN timestamptz 'epoch' + microseconds * interval '1 microsecond';

-- The queue and the truth. Every append updates its row, and must be able to do so in place (HOT): room is left on
-- each page, and no index mentions a column that an append without a move writes.
CREATE TABLE penstock.runs (
    tenant         text COLLATE "C" NOT NULL,
    id             uuid        NOT NULL,
    agent          text        NOT NULL,
    release        text COLLATE "C" NOT NULL,
    env            text        NOT NULL,
    format         integer     NOT NULL,
    status         text COLLATE "C" NOT NULL DEFAULT 'queued'
        CHECK (status IN ('queued', 'running', 'parked', 'quarantined', 'ended')),
    stop           text COLLATE "C" CHECK (stop IN ('pause', 'cancel', 'kill')),
    outcome        text,
    code           text        NOT NULL DEFAULT '',
    epoch          integer     NOT NULL DEFAULT 0,
    last_seq       integer     NOT NULL,
    head           bytea       NOT NULL,
    subject        text COLLATE "C" NOT NULL,
    subject_key    bytea,      -- of a run that is its own subject; NULL: see subjects, or erased
    key            text COLLATE "C",
    request_digest text        NOT NULL,
    session        text        NOT NULL,
    priority       integer     NOT NULL,
    parent         uuid,
    parent_path    text        NOT NULL,
    root           uuid        NOT NULL,
    worker         uuid,
    claims         integer     NOT NULL DEFAULT 0,
    letters        integer     NOT NULL DEFAULT 0,  -- in the inbox and not yet consumed
    wake_at        timestamptz,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at       timestamptz,
    deadline       bigint      NOT NULL,
    steps          bigint      NOT NULL DEFAULT 0,
    model_calls    bigint      NOT NULL DEFAULT 0,
    tool_calls     bigint      NOT NULL DEFAULT 0,
    tokens         bigint      NOT NULL DEFAULT 0,
    nano           bigint      NOT NULL DEFAULT 0,
    reserved_nano  bigint      NOT NULL DEFAULT 0,
    open_intents   bigint      NOT NULL DEFAULT 0,
    waiting        bytea       NOT NULL DEFAULT '[]',
    tags           jsonb       NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant, id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

CREATE UNIQUE INDEX runs_key ON penstock.runs (tenant, key) WHERE key IS NOT NULL;
-- Claimers cross tenants. Runs of releases that nobody offers and timers of next year cost them nothing.
CREATE INDEX runs_queue ON penstock.runs (release, priority DESC, wake_at)
    WHERE status = 'queued' AND (stop IS NULL OR stop <> 'pause');
CREATE INDEX runs_timers ON penstock.runs (wake_at)
    WHERE status = 'parked' AND wake_at IS NOT NULL AND (stop IS NULL OR stop <> 'pause');
CREATE INDEX runs_held ON penstock.runs (worker) WHERE status = 'running';
CREATE INDEX runs_open ON penstock.runs (tenant, id) WHERE status <> 'ended';
CREATE INDEX runs_family ON penstock.runs (tenant, root, id) WHERE parent IS NOT NULL;

-- Run ids are time-ordered, so ranges of them are months: old ones are dropped whole. Months are added ahead of time
-- by the connecting process; what falls outside (ids made by a simulated clock) goes to the default partition.
CREATE TABLE penstock.events (
    tenant text COLLATE "C" NOT NULL,
    run_id uuid        NOT NULL,
    seq    integer     NOT NULL,
    at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    body   bytea       NOT NULL,
    hash   bytea       NOT NULL,
    PRIMARY KEY (tenant, run_id, seq)
) PARTITION BY RANGE (run_id);

CREATE TABLE penstock.events_default PARTITION OF penstock.events DEFAULT;

-- ``subject`` is mostly a run's id, so that inserts of one run land side by side. The data are compressed before
-- they arrive; a second try by the server would be wasted.
CREATE TABLE penstock.payloads (
    tenant  text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    address bytea   NOT NULL,
    codec   text    NOT NULL,
    size    integer NOT NULL,
    data    bytea   NOT NULL,
    PRIMARY KEY (tenant, subject, address)
);
ALTER TABLE penstock.payloads ALTER COLUMN data SET STORAGE EXTERNAL;

-- Named data subjects, and tombstones of all erased ones: a late writer must not bring their payloads back.
CREATE TABLE penstock.subjects (
    tenant    text COLLATE "C" NOT NULL,
    subject   text COLLATE "C" NOT NULL,
    key       bytea,
    erased_at timestamptz,
    PRIMARY KEY (tenant, subject),
    CHECK ((key IS NULL) = (erased_at IS NOT NULL))
);

-- Consumed letters stay until the run ends, so that a repeated delivery is recognised.
CREATE TABLE penstock.inbox (
    tenant   text COLLATE "C" NOT NULL,
    run_id   uuid        NOT NULL,
    dedup    text COLLATE "C" NOT NULL,
    arrival  bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind     text        NOT NULL,
    body     bytea       NOT NULL,
    consumed boolean     NOT NULL DEFAULT false,
    PRIMARY KEY (tenant, run_id, dedup)
) WITH (fillfactor = 80);

CREATE TABLE penstock.workers (
    id          uuid PRIMARY KEY,
    name        text        NOT NULL,
    lease_until timestamptz NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);

-- Every stop and who asked for it. Rows with a run are a record (the run's row holds the stop itself); rows without
-- one are in force until lifted, for a tenant or (NULL) for everything.
CREATE TABLE penstock.controls (
    id        uuid PRIMARY KEY,
    tenant    text COLLATE "C",
    run_id    uuid,
    action    text        NOT NULL CHECK (action IN ('pause', 'cancel', 'kill', 'release')),
    actor     text        NOT NULL,
    reason    text        NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    lifted_at timestamptz,
    lifted_by text
);
CREATE INDEX controls_wide ON penstock.controls (tenant) WHERE run_id IS NULL AND lifted_at IS NULL;
CREATE INDEX controls_run ON penstock.controls (tenant, run_id) WHERE run_id IS NOT NULL;
