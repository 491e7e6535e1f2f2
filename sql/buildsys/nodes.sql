-- name: node_others :many
-- Where the other nodes are that live now.
SELECT address FROM actors.nodes WHERE id <> :id AND lease_until > actors_now();
