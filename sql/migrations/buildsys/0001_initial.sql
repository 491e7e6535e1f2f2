-- Everything that buildsys itself keeps. Rows of builds, jobs, steps and log_records are updated by the build's own
-- actor alone; everyone else inserts.

CREATE TABLE accounts (
    id          uuid PRIMARY KEY,
    name        text NOT NULL UNIQUE,
    max_running integer CHECK (max_running > 0),
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE projects (
    id             uuid PRIMARY KEY,
    account        uuid NOT NULL REFERENCES accounts,
    name           text NOT NULL UNIQUE,
    repository     text NOT NULL,
    image          text,
    build_command  text,
    deploy_command text,
    max_running    integer CHECK (max_running > 0),
    trusted        boolean NOT NULL DEFAULT false, -- whether its containers may reach out to the host
    webhook_secret bytea NOT NULL, -- encrypted
    credential     bytea,          -- encrypted
    last_number    bigint NOT NULL DEFAULT 0,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
);

-- Secrets and variables of an account's projects, and of one project, whose own stand before the account's.
CREATE TABLE named_values (
    kind    text NOT NULL CHECK (kind IN ('secret', 'variable')),
    account uuid NOT NULL REFERENCES accounts,
    project uuid REFERENCES projects ON DELETE CASCADE, -- NULL: for all projects of the account
    name    text NOT NULL CHECK (name ~ '^[A-Z_][A-Z0-9_]*$'),
    value   bytea NOT NULL, -- encrypted
    set_at  timestamptz NOT NULL DEFAULT now(),
    set_by  text NOT NULL, -- the name of the token
    UNIQUE NULLS NOT DISTINCT (account, kind, name, project)
);
-- serves the end of a project
CREATE INDEX named_values_by_project ON named_values (project) WHERE project IS NOT NULL;

CREATE TABLE deliveries (
    id          uuid PRIMARY KEY,
    project     uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    forge       text NOT NULL,
    delivery    text NOT NULL,
    event       text NOT NULL,
    body        bytea NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    attempts    integer NOT NULL DEFAULT 0,
    due_at      timestamptz NOT NULL DEFAULT now(), -- not to be worked on before
    outcome     text CHECK (outcome IN ('built', 'skipped', 'failed')), -- NULL: not processed yet
    reason      text,
    UNIQUE (project, forge, delivery)
);
-- serves delivery_pending
CREATE INDEX deliveries_pending ON deliveries (due_at) WHERE outcome IS NULL;

CREATE TABLE builds (
    id                  uuid PRIMARY KEY,
    account             uuid NOT NULL REFERENCES accounts,
    project             uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    number              bigint NOT NULL,
    attempt             integer NOT NULL DEFAULT 1,
    retry_of            uuid REFERENCES builds ON DELETE SET NULL,
    delivery            uuid REFERENCES deliveries ON DELETE SET NULL,
    workflow            text NOT NULL,
    event               text NOT NULL,
    branch              text NOT NULL,
    commit              text NOT NULL,
    title               text NOT NULL,
    plan                json NOT NULL, -- kept as it is written: the order of its keys counts, and texts may have a NUL
    time_limit          double precision NOT NULL CHECK (time_limit > 0), -- seconds
    state               text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'starting', 'running', 'stopped')),
    outcome             text CHECK (outcome IN ('success', 'failed', 'canceled', 'timed_out', 'errored', 'skipped')),
    reason              text,
    cancel_requested_at timestamptz,
    stopping            text CHECK (stopping IN ('canceled', 'timed_out')), -- its jobs have been ordered to end so
    queued_at           timestamptz NOT NULL DEFAULT now(),
    starting_at         timestamptz,
    running_at          timestamptz,
    stopped_at          timestamptz,
    CHECK ((state = 'stopped') = (outcome IS NOT NULL)),
    UNIQUE (project, number, attempt),
    UNIQUE (delivery, workflow)
);
-- serves build_list, newest first, of one project or of all
CREATE INDEX builds_by_project ON builds (project, queued_at DESC, id DESC);
CREATE INDEX builds_by_time ON builds (queued_at DESC, id DESC);
-- serves queue_claim: what counts against the limits now, never the history
CREATE INDEX builds_active ON builds (project) INCLUDE (account) WHERE state IN ('starting', 'running');

CREATE TABLE queue (
    build      uuid PRIMARY KEY REFERENCES builds ON DELETE CASCADE,
    account    uuid NOT NULL,
    project    uuid NOT NULL,
    priority   integer NOT NULL DEFAULT 0,
    queued_at  timestamptz NOT NULL,
    claimed_at timestamptz,
    starts     integer NOT NULL DEFAULT 0, -- claims that came to nothing
    waits_for  text CHECK (waits_for IN ('system', 'account', 'project', 'concurrency')) -- the limit that holds it back
) WITH (fillfactor = 70);

-- Who holds a project's concurrency groups, and who waits for them: builds, jobs, and workflows that jobs call. A
-- build's actor asks for places and gives them back, with the end of what had them; the Scheduler gives them out.
CREATE TABLE group_places (
    project            uuid NOT NULL,
    name               text NOT NULL, -- of the group, in lower case
    build              uuid NOT NULL REFERENCES builds ON DELETE CASCADE,
    holder             text NOT NULL, -- within its build: a job, or the job that calls; empty for all of the build
    asked              bigint GENERATED ALWAYS AS IDENTITY, -- orders those that wait
    cancel_in_progress boolean NOT NULL, -- it does not wait for those before it to end by themselves
    queue              text NOT NULL CHECK (queue IN ('single', 'max')), -- max: it lets others wait beside it
    held               boolean NOT NULL DEFAULT false,
    lost               text, -- why it is to end, or never gets there
    told               boolean NOT NULL DEFAULT true, -- the build's actor knows how it stands
    PRIMARY KEY (build, holder, name)
) WITH (fillfactor = 70);
-- holds that there is one holder at a time, whatever anybody does
CREATE UNIQUE INDEX group_places_held ON group_places (project, name) WHERE held;
-- serves queue_claim, group_grant and group_supersede
CREATE INDEX group_places_by_group ON group_places (project, name, asked);
-- serves group_untold
CREATE INDEX group_places_untold ON group_places (build) WHERE NOT told;

-- A job, one for each combination of a matrix; before it is decided whether it runs, what stands for all of them.
CREATE TABLE jobs (
    build       uuid NOT NULL REFERENCES builds ON DELETE CASCADE,
    id          text NOT NULL,
    rank        integer[] NOT NULL, -- orders the jobs as their files do
    name        text NOT NULL,
    needs       text[] NOT NULL,
    decided     boolean NOT NULL DEFAULT false,
    state       text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'starting', 'running', 'stopped')),
    outcome     text,
    reason      text,
    outputs     json, -- as they are written, for texts may have a NUL
    held        text, -- why it is not offered to runners yet
    timeout     double precision, -- seconds that it may take, beside its build's limit
    tolerated   boolean NOT NULL DEFAULT false, -- it failed, and that is none of the build
    assignment  uuid,
    runner      uuid,
    incarnation bigint,
    container   text,
    claimed_at  timestamptz,
    ordered_at  timestamptz, -- it has been ordered to end early
    started_at  timestamptz,
    stopped_at  timestamptz,
    PRIMARY KEY (build, id)
);

CREATE TABLE steps (
    build      uuid NOT NULL,
    job        text NOT NULL,
    number     integer NOT NULL,
    name       text NOT NULL,
    parent     integer, -- the step whose action it is within
    state      text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'stopped')),
    outcome    text,
    tolerated  boolean NOT NULL DEFAULT false, -- it failed, and that is none of the job
    exit_code  integer,
    summary    text, -- what it wrote for people, in Markdown
    started_at timestamptz,
    stopped_at timestamptz,
    PRIMARY KEY (build, job, number),
    FOREIGN KEY (build, job) REFERENCES jobs ON DELETE CASCADE
);

-- One row a batch of lines or an event. Frames are compressed already.
CREATE TABLE log_records (
    build       uuid NOT NULL REFERENCES builds ON DELETE CASCADE,
    first       bigint NOT NULL,
    last        bigint NOT NULL CHECK (last >= first),
    kind        text NOT NULL,
    at          timestamptz NOT NULL,
    job         text,
    step        integer,
    source_from bigint,
    source_to   bigint,
    frame       bytea,
    size        integer NOT NULL, -- bytes that the frame unfolds to
    data        jsonb,
    mac         bytea NOT NULL, -- the link in the chain, see buildsys/core/seal.py
    PRIMARY KEY (build, first)
);
ALTER TABLE log_records ALTER COLUMN frame SET STORAGE EXTERNAL;

-- Logs that have left log_records for the blob store. A deleted one keeps its row, which says by which rule.
CREATE TABLE log_archives (
    build       uuid PRIMARY KEY REFERENCES builds ON DELETE CASCADE,
    key         text, -- NULL: deleted, and proven gone
    size        bigint NOT NULL,
    sha256      bytea NOT NULL,
    records     bigint NOT NULL,
    root        bytea NOT NULL,
    archived_at timestamptz NOT NULL DEFAULT now(),
    deleted_at  timestamptz,
    rule        text CHECK (rule IN ('age', 'count', 'size')),
    deletion    bytea, -- the seal of deleted_at and rule, see buildsys/core/seal.py
    CHECK ((deleted_at IS NULL) = (rule IS NULL) AND (rule IS NULL) = (deletion IS NULL))
);
-- serves archive_deleted
CREATE INDEX log_archives_deleted ON log_archives (deleted_at) WHERE deleted_at IS NOT NULL AND key IS NOT NULL;

-- A job offered to runners; the row goes when the job stops.
CREATE TABLE assignments (
    id           uuid PRIMARY KEY,
    build        uuid NOT NULL REFERENCES builds ON DELETE CASCADE,
    job          text NOT NULL,
    labels       text[] NOT NULL,
    offered_at   timestamptz NOT NULL DEFAULT now(),
    runner       uuid,
    incarnation  bigint,
    cancel       boolean NOT NULL DEFAULT false
) WITH (fillfactor = 70);
-- serves assignment_claim
CREATE INDEX assignments_offered ON assignments (offered_at) WHERE runner IS NULL;
-- serves assignment_held
CREATE INDEX assignments_by_runner ON assignments (runner) WHERE runner IS NOT NULL;

CREATE TABLE runners (
    id          uuid PRIMARY KEY,
    token       uuid, -- what it shows; NULL: it runs in a process of ours
    name        text NOT NULL,
    incarnation bigint NOT NULL,
    drivers     text[] NOT NULL,
    labels      text[] NOT NULL,
    slots       integer NOT NULL,
    problem     text, -- why it cannot take jobs now
    seen_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE tokens (
    id           uuid PRIMARY KEY,
    name         text NOT NULL,
    role         text NOT NULL CHECK (role IN ('admin', 'runner')),
    digest       bytea NOT NULL UNIQUE, -- sha256 of the token
    installation uuid, -- whose data folder holds, or held, it as admin.token; NULL: made through the API
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    last_used_at timestamptz,
    revoked_at   timestamptz
);

-- One row: by it the secret.key that encrypts what is encrypted here can be told from another.
CREATE TABLE secret_key (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    proof  bytea NOT NULL -- a known text, encrypted
);
