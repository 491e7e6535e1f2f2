-- name: schedule_put :exec
-- Set the schedules of a commit.
INSERT INTO actors.schedules (namespace, name, schedule, due_at, attempt, state, error)
SELECT * FROM unnest(
    :namespaces::text[], :names::text[], :schedules::text[], :due_ats::timestamptz[], :attempts::integer[], :states::text[],
    :errors::text[]
)
ON CONFLICT (namespace, name, schedule) DO UPDATE
SET due_at = excluded.due_at, attempt = excluded.attempt, state = excluded.state, error = excluded.error;

-- name: schedule_delete :exec
-- Delete the schedules of a commit.
DELETE FROM actors.schedules s
USING unnest(:namespaces::text[], :names::text[], :schedules::text[]) AS d (namespace, name, schedule)
WHERE s.namespace = d.namespace AND s.name = d.name AND s.schedule = d.schedule;

-- name: schedule_due :many
-- Schedules that are due within `ahead` seconds, of this node's actors and of those without a living owner.
SELECT s.namespace, s.name, s.due_at
FROM actors.schedules s
JOIN actors.actors a USING (namespace, name)
WHERE s.state = 'set' AND s.due_at <= actors_now() + make_interval(secs => :ahead::float8)
  AND s.namespace = ANY(:namespaces::text[])
  AND (a.owner IS NULL OR a.owner = :node OR NOT EXISTS (
    SELECT FROM actors.nodes n
    WHERE n.id = a.owner AND n.incarnation = a.owner_incarnation AND n.lease_until > actors_now()
  ))
ORDER BY s.due_at
LIMIT :size;

-- name: schedule_exhausted :many
-- Schedules that have used up their attempts.
SELECT name, schedule, due_at, attempt, error FROM actors.schedules
WHERE namespace = :namespace AND state = 'exhausted'
ORDER BY name, schedule;

-- name: schedule_count_exhausted :one
-- How many schedules have used up their attempts.
SELECT count(*) AS count FROM actors.schedules WHERE state = 'exhausted' AND namespace = ANY(:namespaces::text[]);
