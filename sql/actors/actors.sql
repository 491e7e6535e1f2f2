-- name: actor_acquire :one
-- Become an actor's owner under its next epoch: where it has none, where it is this node's already, or where its owner's
-- lease is over. Waits for a commit of the actor that is under way. Needs a lease that holds.
INSERT INTO actors.actors AS a (namespace, name, owner, owner_incarnation, epoch)
SELECT :namespace, :name, id, incarnation, 1
FROM actors.nodes WHERE id = :node AND incarnation = :incarnation AND lease_until > actors_now()
ON CONFLICT (namespace, name) DO UPDATE
SET owner = excluded.owner, owner_incarnation = excluded.owner_incarnation, epoch = a.epoch + 1
WHERE a.owner IS NULL OR a.owner = excluded.owner OR NOT EXISTS (
    SELECT FROM actors.nodes n
    WHERE n.id = a.owner AND n.incarnation = a.owner_incarnation AND n.lease_until > actors_now()
)
RETURNING epoch, seq;

-- name: actor_owner :one
-- Who owns an actor now; no row where nobody does.
SELECT n.id, n.address FROM actors.actors a
JOIN actors.nodes n ON n.id = a.owner AND n.incarnation = a.owner_incarnation AND n.lease_until > actors_now()
WHERE a.namespace = :namespace AND a.name = :name;

-- name: actor_release :exec
-- Let go of all actors of a node, so that others need not wait for its lease.
UPDATE actors.actors SET owner = NULL, owner_incarnation = NULL
WHERE owner = :node AND owner_incarnation = :incarnation;

-- name: actor_fence :many
-- Open the commit of these actors: lock their rows in the order of their ids and count the commit, for those that this
-- node still owns under these epochs while its lease holds.
WITH locked AS (
    SELECT a.namespace, a.name
    FROM actors.actors a
    JOIN unnest(:namespaces::text[], :names::text[], :epochs::bigint[]) AS e (namespace, name, epoch)
      USING (namespace, name, epoch)
    WHERE EXISTS (
        SELECT FROM actors.nodes WHERE id = :node AND incarnation = :incarnation AND lease_until > actors_now()
    )
    ORDER BY a.namespace, a.name
    FOR UPDATE OF a
)
UPDATE actors.actors a SET seq = seq + 1
FROM locked WHERE a.namespace = locked.namespace AND a.name = locked.name
RETURNING a.namespace, a.name;

-- name: actor_list :many
-- The names of all actors of a namespace.
SELECT name FROM actors.actors WHERE namespace = :namespace ORDER BY name;
