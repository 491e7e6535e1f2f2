-- name: token_insert :exec
-- A new token, by its digest.
INSERT INTO tokens (id, name, role, digest, expires_at) VALUES (:id, :name, :role, :digest, :expires_at);

-- name: token_keep_administrator :exec
-- Make the token of an installation's file valid and those that were there before it invalid. A token that is known
-- stays as it is, a revoked one revoked.
WITH replaced AS (
    UPDATE tokens SET revoked_at = coalesce(revoked_at, now()) WHERE installation = :installation AND digest <> :digest
)
INSERT INTO tokens (id, name, role, digest, installation) VALUES (:id, :name, 'admin', :digest, :installation)
ON CONFLICT (digest) DO NOTHING;

-- name: token_find :one
-- The valid token of this digest, and whether its use has not been noted for a minute.
SELECT id, name, role, coalesce(last_used_at < now() - interval '1 minute', true) AS unnoted FROM tokens
WHERE digest = :digest AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now());

-- name: token_used :exec
-- Note that a token has been used.
UPDATE tokens SET last_used_at = now() WHERE id = :id;

-- name: token_list :many
-- All tokens, never their digests.
SELECT id, name, role, created_at, expires_at, last_used_at, revoked_at FROM tokens ORDER BY created_at;

-- name: token_revoke :one
-- End a token's validity.
UPDATE tokens SET revoked_at = coalesce(revoked_at, now()) WHERE id = :id RETURNING id;
