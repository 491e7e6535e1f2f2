-- name: storage_get :many
-- Stored values.
SELECT key, value FROM actors.storage WHERE namespace = :namespace AND name = :name AND key = ANY(:keys::text[]);

-- name: storage_list :many
-- Stored values in the order of their keys' bytes, from `start` on, without `after`, and before `stop`. At most `size`
-- rows, of which there are `rows`, and of these no more than `bytes` and one value.
SELECT key, value, rows FROM (
    SELECT key, value, count(*) OVER () AS rows,
        sum(octet_length(value)) OVER (ORDER BY key ROWS UNBOUNDED PRECEDING) - octet_length(value) AS before
    FROM (
        SELECT key, value FROM actors.storage
        WHERE namespace = :namespace AND name = :name
          AND key >= :start AND key < :stop AND key IS DISTINCT FROM :after
        ORDER BY key LIMIT :size
    ) page
) sized
WHERE before < :bytes ORDER BY key;

-- name: storage_list_back :many
-- The same, the last key first.
SELECT key, value, rows FROM (
    SELECT key, value, count(*) OVER () AS rows,
        sum(octet_length(value)) OVER (ORDER BY key DESC ROWS UNBOUNDED PRECEDING) - octet_length(value) AS before
    FROM (
        SELECT key, value FROM actors.storage
        WHERE namespace = :namespace AND name = :name
          AND key >= :start AND key < :stop AND key IS DISTINCT FROM :after
        ORDER BY key DESC LIMIT :size
    ) page
) sized
WHERE before < :bytes ORDER BY key DESC;

-- name: storage_keys :many
-- The first keys of an actor.
SELECT key FROM actors.storage WHERE namespace = :namespace AND name = :name ORDER BY key LIMIT :size;
