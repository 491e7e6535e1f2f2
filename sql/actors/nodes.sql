-- name: node_register :one
-- Take a node's id with a new incarnation. `mine` is the incarnation held before, NULL at a process's start, when
-- whatever held the id is dead; no row comes back where another process has taken the id since.
INSERT INTO actors.nodes AS n (id, incarnation, address, lease_until)
SELECT :id, 1, :address, actors_now() + make_interval(secs => :ttl::float8)
ON CONFLICT (id) DO UPDATE
SET incarnation = n.incarnation + 1, address = excluded.address, lease_until = excluded.lease_until
WHERE :mine::bigint IS NULL OR n.incarnation = :mine
RETURNING incarnation, actors_now() AS now;

-- name: lease_renew :one
-- Prolong a lease that still holds; an expired one is never renewed.
UPDATE actors.nodes SET lease_until = actors_now() + make_interval(secs => :ttl::float8)
WHERE id = :id AND incarnation = :incarnation AND lease_until > actors_now()
RETURNING actors_now() AS now;

-- name: lease_end :exec
-- Give up a lease at once.
UPDATE actors.nodes SET lease_until = actors_now() WHERE id = :id AND incarnation = :incarnation;
