-- name: log_append :exec
-- The next record of a build's sequence; its place is given by the build's actor.
INSERT INTO log_records (build, first, last, kind, at, job, step, source_from, source_to, frame, size, data, mac)
VALUES (:build, :first, :last, :kind, :at, :job, :step, :source_from, :source_to, :frame, :size, :data, :mac);

-- name: log_tail :one
-- Where a build's sequence ends: its last cursor and link, and how many lines and bytes it holds; no row before the first.
SELECT last, mac, lines, size FROM (
    SELECT last, mac, first,
        (sum(last - first + 1) FILTER (WHERE kind = 'lines') OVER ())::bigint AS lines, (sum(size) OVER ())::bigint AS size
    FROM log_records WHERE build = :build
) AS records
ORDER BY first DESC
LIMIT 1;

-- name: log_last :one
-- The cursor of a build's last entry; no row before the first.
SELECT last FROM log_records WHERE build = :build ORDER BY first DESC LIMIT 1;

-- name: log_positions :many
-- Where the stored output of each step ends, whether a limit cut it there, and the last that the log has of it.
SELECT job, step, max(source_to) AS source_to, bool_or(kind = 'truncated') AS truncated, max(first) AS last
FROM log_records
WHERE build = :build AND kind IN ('lines', 'truncated', 'step_started') GROUP BY job, step;

-- name: log_read :many
-- Records that hold entries behind a cursor, in order: at most `size` of them, up to the one that makes them `bytes`.
SELECT first, last, kind, at, job, step, source_from, source_to, frame, size, data, mac FROM (
    SELECT *, sum(coalesce(octet_length(frame), octet_length(data::text), 0))
        OVER (ORDER BY first ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM log_records
    WHERE build = :build
      AND first >= coalesce((SELECT max(first) FROM log_records WHERE build = :build AND first <= :after + 1), 0)
      AND last > :after
    ORDER BY first
    LIMIT :size
) AS records
WHERE coalesce(before, 0) < :bytes
ORDER BY first;

-- name: log_drop :one
-- Delete the first records of a log that is archived, at most `size`, and count them.
WITH dropped AS (
    DELETE FROM log_records WHERE build = :build AND first IN (
        SELECT first FROM log_records WHERE build = :build ORDER BY first LIMIT :size
    ) AND EXISTS (SELECT FROM log_archives WHERE build = :build)
    RETURNING 1
)
SELECT count(*) AS count FROM dropped;
