-- name: runner_seen :one
-- A sign of life of a runner; no row where a newer incarnation of it has been here, or it shows another token than
-- before while that one is still valid.
INSERT INTO runners (id, token, name, incarnation, drivers, labels, slots, problem)
VALUES (:id, :token, :name, :incarnation, :drivers, :labels, :slots, :problem)
ON CONFLICT (id) DO UPDATE
SET token = excluded.token, name = excluded.name, incarnation = excluded.incarnation, drivers = excluded.drivers, labels = excluded.labels,
    slots = excluded.slots, problem = excluded.problem, seen_at = now()
WHERE runners.incarnation <= excluded.incarnation
  AND (runners.token IS NOT DISTINCT FROM excluded.token
       OR EXISTS (SELECT FROM tokens t WHERE t.id = runners.token AND (t.revoked_at IS NOT NULL OR t.expires_at <= now())))
RETURNING id;

-- name: runner_silence :many
-- For how many seconds these runners have not been heard of.
SELECT id, extract(epoch FROM now() - seen_at)::double precision AS seconds FROM runners WHERE id = ANY(:ids);

-- name: runner_token :one
-- The token that a runner shows.
SELECT token FROM runners WHERE id = :id;
