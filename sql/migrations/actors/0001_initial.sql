-- Nodes, actors with their fences, what they store and when they are due.

-- The one clock that decides who owns what and what is due; a function so that a test can replace it.
CREATE FUNCTION actors_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT clock_timestamp()';

CREATE SCHEMA actors;

CREATE TABLE actors.nodes (
    id          text PRIMARY KEY,
    incarnation bigint NOT NULL,
    address     text NOT NULL,
    lease_until timestamptz NOT NULL,
    leaving     boolean NOT NULL DEFAULT false -- it lets go of what it owns, and takes nothing more
) WITH (fillfactor = 50);

-- A row is the fence of its actor. It is never deleted, so that an epoch never comes back.
CREATE TABLE actors.actors (
    namespace         text COLLATE "C" NOT NULL,
    name              text COLLATE "C" NOT NULL,
    owner             text,
    owner_incarnation bigint,
    epoch             bigint NOT NULL,
    seq               bigint NOT NULL DEFAULT 0, -- commits so far; not indexed, so that raising it stays cheap
    PRIMARY KEY (namespace, name)
) WITH (fillfactor = 70);
-- serves actor_release
CREATE INDEX actors_owner ON actors.actors (owner) WHERE owner IS NOT NULL;

-- No foreign key: only a commit that has locked the actor's row writes here, and that row is never deleted. Room in each
-- page lets a value be replaced without a touch of the index.
CREATE TABLE actors.storage (
    namespace text COLLATE "C" NOT NULL,
    name      text COLLATE "C" NOT NULL,
    key       text COLLATE "C" NOT NULL,
    value     bytea NOT NULL,
    PRIMARY KEY (namespace, name, key)
) WITH (fillfactor = 80);
ALTER TABLE actors.storage ALTER COLUMN value SET STORAGE EXTERNAL;

CREATE TABLE actors.schedules (
    namespace text COLLATE "C" NOT NULL,
    name      text COLLATE "C" NOT NULL,
    schedule  text COLLATE "C" NOT NULL,
    due_at    timestamptz NOT NULL,
    attempt   integer NOT NULL DEFAULT 0, -- failed runs so far
    state     text NOT NULL DEFAULT 'set' CHECK (state IN ('set', 'exhausted')),
    error     text,
    PRIMARY KEY (namespace, name, schedule),
    FOREIGN KEY (namespace, name) REFERENCES actors.actors
);
-- serves schedule_due
CREATE INDEX schedules_due ON actors.schedules (due_at, namespace, name, schedule) WHERE state = 'set';
-- serves schedule_exhausted
CREATE INDEX schedules_exhausted ON actors.schedules (namespace) WHERE state = 'exhausted';
