-- name: delivery_insert :one
-- Keep a delivery; no row where this one has been kept before.
INSERT INTO deliveries (id, project, forge, delivery, event, body)
VALUES (:id, :project, :forge, :delivery, :event, :body)
ON CONFLICT (project, forge, delivery) DO NOTHING
RETURNING id;

-- name: delivery_pending :many
-- The delivery of each project that has been due for longest, without the projects that are busy.
SELECT id, project, forge, event, body FROM deliveries
WHERE id = ANY (
    SELECT (array_agg(id ORDER BY due_at, id))[1] FROM deliveries
    WHERE outcome IS NULL AND due_at <= now() AND project <> ALL (:busy::uuid[])
    GROUP BY project
)
ORDER BY due_at
LIMIT :size;

-- name: delivery_attempt :one
-- Count an attempt at processing a delivery, and make it due again later should this one come to nothing.
UPDATE deliveries SET attempts = attempts + 1, due_at = now() + make_interval(secs => 2 ^ (attempts + 1))
WHERE id = :id AND outcome IS NULL
RETURNING attempts;

-- name: delivery_settle :exec
-- Record what became of a delivery, once.
UPDATE deliveries SET outcome = :outcome, reason = :reason WHERE id = :id AND outcome IS NULL;

-- name: delivery_list :many
-- A project's deliveries with the builds they led to, newest first.
SELECT d.id, d.forge, d.delivery, d.event, d.received_at, d.outcome, d.reason,
       ARRAY(SELECT b.id FROM builds b WHERE b.delivery = d.id ORDER BY b.number) AS builds
FROM deliveries d
WHERE d.project = :project
ORDER BY d.received_at DESC
LIMIT :size;
