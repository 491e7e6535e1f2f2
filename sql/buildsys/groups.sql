-- name: group_ask :exec
-- A job, or what a job calls, wants its place in a concurrency group.
INSERT INTO group_places (project, name, build, holder, cancel_in_progress, queue)
SELECT project, :name, id, :holder, :cancel_in_progress, :queue FROM builds WHERE id = :build;

-- name: group_release :exec
-- The holder of a place is over.
DELETE FROM group_places WHERE build = :build AND holder = :holder AND name = :name;

-- name: group_leave :exec
-- The build is over, with all that it held or waited for.
DELETE FROM group_places WHERE build = :build;

-- name: group_list :many
-- The places of a build.
SELECT holder, name, held, lost, told FROM group_places WHERE build = :build;

-- name: group_told :exec
-- The build's actor knows how a place stands, unless that has changed meanwhile.
UPDATE group_places SET told = true
WHERE build = :build AND holder = :holder AND name = :name AND held = :held AND lost IS NOT DISTINCT FROM :lost;

-- name: group_grant :exec
-- Give each group that nobody holds to the job that has waited for it longest, unless a newer one would have it ended at
-- once. Builds take theirs as they are claimed: one that waits for something else, too, keeps no job waiting.
UPDATE group_places p SET held = true, told = false
FROM (
    SELECT w.build, w.holder, w.name
    FROM group_places w
    WHERE w.holder <> '' AND NOT w.held AND w.lost IS NULL
      AND NOT EXISTS (
          SELECT FROM group_places o
          WHERE o.project = w.project AND o.name = w.name
            AND (o.held
                 OR (o.asked < w.asked AND o.lost IS NULL AND o.holder <> '')
                 OR (o.asked > w.asked AND o.cancel_in_progress))
      )
    FOR UPDATE SKIP LOCKED
) w
WHERE p.build = w.build AND p.holder = w.holder AND p.name = w.name;

-- name: group_supersede :exec
-- Order out of their groups those that a newer one leaves no place for: of those that wait only the newest stays, beside
-- the oldest where the group is free for it, unless they all may wait; and where the newest does not wait for those
-- before it to end by themselves, not even the holder stays.
UPDATE group_places p SET lost = s.reason, told = false
FROM (
    SELECT o.build, o.holder, o.name,
           format(
               'canceled by #%s%s, which is newer in the concurrency group ''%s''',
               b.number, CASE WHEN n.holder <> '' THEN ' / ' || n.holder END, o.name
           ) AS reason
    FROM group_places o
    CROSS JOIN LATERAL (
        SELECT n.build, n.holder
        FROM group_places n
        WHERE n.project = o.project AND n.name = o.name AND n.asked > o.asked AND NOT n.held
          AND (n.cancel_in_progress
               OR (n.queue = 'single' AND NOT o.held
                   AND EXISTS (
                       SELECT FROM group_places e
                       WHERE e.project = o.project AND e.name = o.name
                         AND (e.held OR (e.asked < o.asked AND e.lost IS NULL))
                   )))
        ORDER BY n.asked DESC
        LIMIT 1
    ) n
    JOIN builds b ON b.id = n.build
    WHERE o.lost IS NULL
    FOR UPDATE OF o SKIP LOCKED
) s
WHERE p.build = s.build AND p.holder = s.holder AND p.name = s.name;

-- name: group_overfull :exec
-- Order out of their groups those for which there is no room left to wait in, the newest.
UPDATE group_places p
SET lost = format('canceled: %s wait for the concurrency group ''%s'' already', :size::bigint, p.name), told = false
FROM (
    SELECT build, holder, name, row_number() OVER (PARTITION BY project, name ORDER BY asked) AS turn
    FROM group_places
    WHERE NOT held AND lost IS NULL
) w
WHERE w.turn > :size AND p.build = w.build AND p.holder = w.holder AND p.name = w.name;

-- name: group_untold :many
-- The builds whose actors do not know yet how their places stand.
SELECT DISTINCT build FROM group_places WHERE NOT told;

-- name: group_waiting :many
-- What a build waits for, and who holds that.
SELECT w.holder, w.name, b.number, h.holder AS held_by
FROM group_places w
LEFT JOIN group_places h ON h.project = w.project AND h.name = w.name AND h.held
LEFT JOIN builds b ON b.id = h.build
WHERE w.build = :build AND NOT w.held AND w.lost IS NULL
ORDER BY w.asked;
