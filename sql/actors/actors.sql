-- name: actor_acquire :many
-- Become the owner of actors under their next epochs: of those that have none, that are this node's already, or whose
-- owner's lease is over. Needs a lease that holds. An actor whose row is locked, as by a commit of it that is under way,
-- is left out: nobody waits for it, and a lease that was read is not old by the time the row is had.
WITH me AS (
    SELECT id, incarnation FROM actors.nodes
    WHERE id = :node AND incarnation = :incarnation AND lease_until > actors_now()
), wanted AS (
    SELECT * FROM unnest(:namespaces::text[], :names::text[]) AS w (namespace, name)
), free AS (
    SELECT a.namespace, a.name
    FROM actors.actors a JOIN wanted USING (namespace, name)
    WHERE EXISTS (SELECT FROM me) AND (a.owner IS NULL OR a.owner = :node OR NOT EXISTS (
        SELECT FROM actors.nodes n
        WHERE n.id = a.owner AND n.incarnation = a.owner_incarnation AND n.lease_until > actors_now()
    ))
    ORDER BY a.namespace, a.name
    FOR UPDATE OF a SKIP LOCKED
), taken AS (
    UPDATE actors.actors a SET owner = me.id, owner_incarnation = me.incarnation, epoch = a.epoch + 1
    FROM free, me WHERE a.namespace = free.namespace AND a.name = free.name
    RETURNING a.namespace, a.name, a.epoch, a.seq
), made AS (
    INSERT INTO actors.actors AS a (namespace, name, owner, owner_incarnation, epoch)
    SELECT w.namespace, w.name, me.id, me.incarnation, 1
    FROM wanted w, me
    WHERE NOT EXISTS (SELECT FROM actors.actors a WHERE a.namespace = w.namespace AND a.name = w.name)
    ORDER BY w.namespace, w.name
    ON CONFLICT DO NOTHING
    RETURNING a.namespace, a.name, a.epoch, a.seq
)
SELECT namespace, name, epoch, seq FROM taken UNION ALL SELECT namespace, name, epoch, seq FROM made;

-- name: actor_load :many
-- What actors that were just acquired have stored: their schedules, and, where these are few and small, all their values
-- (`whole`). A statement of its own, after the one that acquires them: it must see the last commit of the owner before.
SELECT w.namespace, w.name, size.whole, held.keys, held.values,
    due.schedules, due.due_ats, due.attempts, due.states, due.errors
FROM unnest(:namespaces::text[], :names::text[]) AS w (namespace, name)
CROSS JOIN LATERAL (
    SELECT count(*) <= :max_keys AND coalesce(sum(octet_length(value)), 0) <= :max_bytes AS whole
    FROM (
        SELECT s.value FROM actors.storage s
        WHERE s.namespace = w.namespace AND s.name = w.name LIMIT :max_keys::bigint + 1
    ) first
) size
CROSS JOIN LATERAL (
    SELECT array_agg(s.key) AS keys, array_agg(s.value) AS values
    FROM actors.storage s WHERE size.whole AND s.namespace = w.namespace AND s.name = w.name
) held
CROSS JOIN LATERAL (
    SELECT array_agg(s.schedule) AS schedules, array_agg(s.due_at) AS due_ats, array_agg(s.attempt) AS attempts,
        array_agg(s.state) AS states, array_agg(s.error) AS errors
    FROM actors.schedules s WHERE s.namespace = w.namespace AND s.name = w.name
) due;

-- name: actor_owner :many
-- Who owns actors now, of those that somebody does.
SELECT a.namespace, a.name, n.id, n.address
FROM actors.actors a JOIN unnest(:namespaces::text[], :names::text[]) AS w (namespace, name) USING (namespace, name)
JOIN actors.nodes n ON n.id = a.owner AND n.incarnation = a.owner_incarnation AND n.lease_until > actors_now();

-- name: actor_elsewhere :one
-- Another node that owns an actor, or, where nobody does, one of those that may take it.
WITH owner AS (
    SELECT o.id FROM actors.actors a
    JOIN actors.nodes o ON o.id = a.owner AND o.incarnation = a.owner_incarnation AND o.lease_until > actors_now()
    WHERE a.namespace = :namespace AND a.name = :name
)
SELECT n.address FROM actors.nodes n
WHERE n.id <> :node AND n.lease_until > actors_now()
  AND CASE WHEN EXISTS (SELECT FROM owner) THEN n.id = (SELECT id FROM owner) ELSE NOT n.leaving END
ORDER BY hashtext(n.id || '/' || :namespace || '/' || :name), n.id LIMIT 1;

-- name: actor_release :exec
-- Let go of actors of a node, so that others need not wait for its lease, and tell the others: of these, or, with
-- `others`, of all but these. Locks their rows in the order of their ids.
WITH mine AS (
    SELECT a.namespace, a.name FROM actors.actors a
    WHERE a.owner = :node AND a.owner_incarnation = :incarnation
      AND :others::boolean <> ((a.namespace, a.name) IN (SELECT * FROM unnest(:namespaces::text[], :names::text[])))
    ORDER BY a.namespace, a.name
    FOR UPDATE
), released AS (
    UPDATE actors.actors a SET owner = NULL, owner_incarnation = NULL
    FROM mine WHERE a.namespace = mine.namespace AND a.name = mine.name
)
SELECT pg_notify('actors_free', '');

-- name: actor_list :many
-- The names of all actors of a namespace.
SELECT name FROM actors.actors WHERE namespace = :namespace ORDER BY name;
