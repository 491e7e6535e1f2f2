-- name: schedule_due :many
-- The next schedules behind (`at`, `namespace`, `name`, `schedule`) that are due within `ahead` seconds: of this node's
-- actors, and of those without a living owner that fall to this node. Each of those falls to one of the living nodes, by
-- chance that all see alike; one that is `late` seconds overdue, to whoever sees it.
WITH clock AS MATERIALIZED (
    SELECT actors_now() AS now
), living AS MATERIALIZED (
    SELECT id, incarnation, leaving FROM actors.nodes WHERE lease_until > (SELECT now FROM clock)
)
SELECT s.namespace, s.name, s.schedule, s.due_at
FROM actors.schedules s
JOIN actors.actors a USING (namespace, name)
WHERE s.state = 'set' AND s.due_at <= (SELECT now FROM clock) + make_interval(secs => :ahead::float8)
  AND (s.due_at, s.namespace, s.name, s.schedule) > (:at::timestamptz, :namespace::text, :name::text, :schedule::text)
  AND s.namespace = ANY(:namespaces::text[])
  AND CASE
    WHEN a.owner = :node THEN true
    WHEN EXISTS (SELECT FROM living l WHERE l.id = a.owner AND l.incarnation = a.owner_incarnation) THEN false
    WHEN s.due_at < (SELECT now FROM clock) - make_interval(secs => :late::float8) THEN true
    ELSE :node = (
        SELECT l.id FROM living l WHERE NOT l.leaving
        ORDER BY hashtext(l.id || '/' || s.namespace || '/' || s.name), l.id LIMIT 1
    )
  END
ORDER BY s.due_at, s.namespace, s.name, s.schedule
LIMIT :size;

-- name: schedule_exhausted :many
-- Schedules that have used up their attempts.
SELECT name, schedule, due_at, attempt, error FROM actors.schedules
WHERE namespace = :namespace AND state = 'exhausted'
ORDER BY name, schedule;

-- name: schedule_count_exhausted :one
-- How many schedules have used up their attempts.
SELECT count(*) AS count FROM actors.schedules WHERE state = 'exhausted' AND namespace = ANY(:namespaces::text[]);
