-- name: node_register :one
-- Take a node's id with a new incarnation. `mine` is the incarnation held before, NULL at a process's start, when
-- whatever held the id is dead; no row comes back where another process has taken the id since. A database that has
-- forgotten the latest gets one behind it all the same.
INSERT INTO actors.nodes AS n (id, incarnation, address, lease_until)
SELECT :id, coalesce(:mine::bigint, 0) + 1, :address, actors_now() + make_interval(secs => :ttl::float8)
ON CONFLICT (id) DO UPDATE
SET incarnation = greatest(n.incarnation, :mine) + 1, address = excluded.address, lease_until = excluded.lease_until, leaving = false
WHERE :mine::bigint IS NULL OR n.incarnation <= :mine
RETURNING incarnation, actors_now() AS now;

-- name: node_others :many
-- The other nodes that live now.
SELECT id, address FROM actors.nodes WHERE id <> :id AND lease_until > actors_now() ORDER BY id;

-- name: node_leave :exec
-- Have nothing fall to a node any more; what it owns it keeps.
UPDATE actors.nodes SET leaving = true WHERE id = :id AND incarnation = :incarnation;

-- name: lease_renew :one
-- Prolong a lease that still holds; an expired one is never renewed. `ends` is when the first of the other leases will be
-- over unless its node renews it.
UPDATE actors.nodes SET lease_until = actors_now() + make_interval(secs => :ttl::float8)
WHERE id = :id AND incarnation = :incarnation AND lease_until > actors_now()
RETURNING actors_now() AS now,
    (SELECT min(o.lease_until) FROM actors.nodes o WHERE o.id <> :id AND o.lease_until > actors_now()) AS ends;

-- name: lease_end :exec
-- Give up a lease at once, and tell the other nodes.
WITH ended AS (
    UPDATE actors.nodes SET lease_until = actors_now() WHERE id = :id AND incarnation = :incarnation
)
SELECT pg_notify('actors_free', '');
