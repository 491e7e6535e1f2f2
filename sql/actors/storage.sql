-- name: storage_get :one
-- A stored value.
SELECT value FROM actors.storage WHERE namespace = :namespace AND name = :name AND key = :key;

-- name: storage_list :many
-- Stored values in the order of their keys' bytes, from `start` on and before `stop`.
SELECT key, value FROM actors.storage
WHERE namespace = :namespace AND name = :name AND key >= :start AND (:stop::text IS NULL OR key < :stop)
ORDER BY key LIMIT :size;

-- name: storage_put :exec
-- Store the values of a commit.
INSERT INTO actors.storage (namespace, name, key, value)
SELECT * FROM unnest(:namespaces::text[], :names::text[], :keys::text[], :values::bytea[])
ON CONFLICT (namespace, name, key) DO UPDATE SET value = excluded.value;

-- name: storage_delete :exec
-- Delete the keys of a commit.
DELETE FROM actors.storage s
USING unnest(:namespaces::text[], :names::text[], :keys::text[]) AS d (namespace, name, key)
WHERE s.namespace = d.namespace AND s.name = d.name AND s.key = d.key;
