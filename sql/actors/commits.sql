-- name: commit_open :one
-- Open a transaction of one actor: lock its row and count the commit, if it is still under the epoch that its node knows
-- and that node's lease holds. No row comes back where it is not.
UPDATE actors.actors a SET seq = seq + 1
WHERE a.namespace = :namespace AND a.name = :name AND a.epoch = :epoch AND EXISTS (
    SELECT FROM actors.nodes n
    WHERE n.id = a.owner AND n.incarnation = a.owner_incarnation AND n.lease_until > actors_now()
)
RETURNING 0 AS number;

-- name: commit_values :many
-- The commit of one actor that stores nothing but values, as `commit_open` and then `commit_writes` would do it: the one
-- that must be fast. No row comes back, and nothing is written, where the actor is not this node's any more.
WITH fence AS (
    UPDATE actors.actors a SET seq = seq + 1
    WHERE a.namespace = :namespace AND a.name = :name AND a.epoch = :epoch AND EXISTS (
        SELECT FROM actors.nodes n
        WHERE n.id = a.owner AND n.incarnation = a.owner_incarnation AND n.lease_until > actors_now()
    )
    RETURNING a.namespace, a.name
), put AS (
    INSERT INTO actors.storage (namespace, name, key, value)
    SELECT fence.namespace, fence.name, p.key, p.value
    FROM fence, unnest(:keys::text[], :values::bytea[]) AS p (key, value)
    ON CONFLICT (namespace, name, key) DO UPDATE SET value = excluded.value
)
SELECT 0 AS number FROM fence;

-- name: commit_writes :many
-- The commit of many actors: lock their rows in the order of their ids, and if all are still under the epochs that their
-- node knows, and its lease holds, count the commit and write. The numbers of those that are come back; unless it is all
-- of them, nothing is written. `step` is 0 where `commit_open` has counted already.
WITH locked AS (
    SELECT w.number, a.namespace, a.name
    FROM unnest(:namespaces::text[], :names::text[], :epochs::bigint[], :numbers::integer[])
        AS w (namespace, name, epoch, number)
    JOIN actors.actors a USING (namespace, name, epoch)
    WHERE EXISTS (
        SELECT FROM actors.nodes n
        WHERE n.id = a.owner AND n.incarnation = a.owner_incarnation AND n.lease_until > actors_now()
    )
    ORDER BY a.namespace, a.name
    FOR UPDATE OF a
), verdict AS (
    SELECT count(*) = cardinality(:names::text[]) AS passed FROM locked
), counted AS (
    UPDATE actors.actors a SET seq = seq + :step
    FROM locked WHERE a.namespace = locked.namespace AND a.name = locked.name AND (SELECT passed FROM verdict)
), put AS (
    INSERT INTO actors.storage (namespace, name, key, value)
    SELECT * FROM unnest(:put_namespaces::text[], :put_names::text[], :put_keys::text[], :put_values::bytea[])
    WHERE (SELECT passed FROM verdict)
    ON CONFLICT (namespace, name, key) DO UPDATE SET value = excluded.value
), deleted AS (
    DELETE FROM actors.storage s
    USING unnest(:gone_namespaces::text[], :gone_names::text[], :gone_keys::text[]) AS d (namespace, name, key)
    WHERE s.namespace = d.namespace AND s.name = d.name AND s.key = d.key AND (SELECT passed FROM verdict)
), scheduled AS (
    INSERT INTO actors.schedules (namespace, name, schedule, due_at, attempt, state, error)
    SELECT * FROM unnest(
        :set_namespaces::text[], :set_names::text[], :set_schedules::text[], :set_due_ats::timestamptz[],
        :set_attempts::integer[], :set_states::text[], :set_errors::text[]
    )
    WHERE (SELECT passed FROM verdict)
    ON CONFLICT (namespace, name, schedule) DO UPDATE
    SET due_at = excluded.due_at, attempt = excluded.attempt, state = excluded.state, error = excluded.error
), unscheduled AS (
    DELETE FROM actors.schedules s
    USING unnest(:unset_namespaces::text[], :unset_names::text[], :unset_schedules::text[])
        AS d (namespace, name, schedule)
    WHERE s.namespace = d.namespace AND s.name = d.name AND s.schedule = d.schedule AND (SELECT passed FROM verdict)
)
SELECT number FROM locked;
