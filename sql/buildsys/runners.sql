-- name: runner_seen :one
-- A sign of life of a runner; no row where a newer incarnation of it has been here.
INSERT INTO runners (id, name, incarnation, drivers, labels, slots, problem)
VALUES (:id, :name, :incarnation, :drivers, :labels, :slots, :problem)
ON CONFLICT (id) DO UPDATE
SET name = excluded.name, incarnation = excluded.incarnation, drivers = excluded.drivers, labels = excluded.labels,
    slots = excluded.slots, problem = excluded.problem, seen_at = now()
WHERE runners.incarnation <= excluded.incarnation
RETURNING id;

-- name: runner_silence :many
-- For how many seconds these runners have not been heard of.
SELECT id, extract(epoch FROM now() - seen_at)::double precision AS seconds FROM runners WHERE id = ANY(:ids);
