-- name: archive_insert :exec
-- The build's log is in the blob store, whole and read back; written once.
INSERT INTO log_archives (build, key, size, sha256, records, root)
VALUES (:build, :key, :size, :sha256, :records, :root);

-- name: archive_get :one
-- Where a build's log is kept, or by which rule it was deleted.
SELECT key, size, sha256, records, root, archived_at, deleted_at, rule, deletion FROM log_archives WHERE build = :build;

-- name: archive_expired :many
-- Archived logs that a rule does not keep: those older than `age` seconds, those behind the latest `count` of their
-- project, those behind the latest of their project that fill `size` bytes. NULL switches a rule off.
WITH kept AS (
    SELECT a.build, b.stopped_at,
        row_number() OVER latest AS place, sum(a.size) OVER latest AS filled
    FROM log_archives a JOIN builds b ON b.id = a.build
    WHERE a.deleted_at IS NULL
    WINDOW latest AS (PARTITION BY b.project ORDER BY b.stopped_at DESC, b.id)
)
SELECT build, now() AS at, CASE
    WHEN stopped_at < now() - make_interval(secs => :age::float8) THEN 'age'
    WHEN place > :count::bigint THEN 'count'
    ELSE 'size'
END AS rule
FROM kept
WHERE stopped_at < now() - make_interval(secs => :age::float8) OR place > :count::bigint OR filled > :size::bigint;

-- name: archive_delete :many
-- Declare logs deleted, each by its rule.
UPDATE log_archives a SET deleted_at = given.at, rule = given.rule, deletion = given.deletion
FROM unnest(:builds::uuid[], :moments::timestamptz[], :rules::text[], :deletions::bytea[])
    AS given (build, at, rule, deletion)
WHERE a.build = given.build AND a.deleted_at IS NULL
RETURNING a.build, a.rule;

-- name: archive_deleted :many
-- Logs that are declared deleted, and whose objects may still be there.
SELECT build, deleted_at, rule, deletion FROM log_archives WHERE deleted_at IS NOT NULL AND key IS NOT NULL;

-- name: archive_forget :exec
-- The object is gone.
UPDATE log_archives SET key = NULL WHERE build = :build AND deleted_at IS NOT NULL;

-- name: archive_strays :many
-- Those of these objects, each with its build, that no row knows: the build is no more, or its log is in another object.
SELECT key FROM unnest(:keys::text[], :builds::uuid[]) AS given (key, build)
WHERE NOT EXISTS (SELECT FROM log_archives a WHERE a.build = given.build AND a.key = given.key);
