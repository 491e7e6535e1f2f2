-- name: log_append :exec
-- The next record of a build's sequence; its place is given by the build's actor.
INSERT INTO log_records (build, first, last, kind, at, job, step, source_from, source_to, frame, data)
VALUES (:build, :first, :last, :kind, :at, :job, :step, :source_from, :source_to, :frame, :data);

-- name: log_tail :one
-- The last cursor of a build's sequence, 0 before the first entry.
SELECT coalesce(max(last), 0) AS last FROM log_records WHERE build = :build;

-- name: log_positions :many
-- Where the stored output of each step ends.
SELECT job, step, max(source_to) AS source_to FROM log_records WHERE build = :build AND kind = 'lines' GROUP BY job, step;

-- name: log_read :many
-- Records that hold entries behind a cursor, in order, at most `size` of them.
SELECT first, last, kind, at, job, step, frame, data FROM log_records
WHERE build = :build
  AND first >= coalesce((SELECT max(first) FROM log_records WHERE build = :build AND first <= :after + 1), 0)
  AND last > :after
ORDER BY first
LIMIT :size;
