-- name: token_insert :exec
-- Keep a token's digest; one that is kept already stays as it is.
INSERT INTO tokens (id, name, role, digest, expires_at) VALUES (:id, :name, :role, :digest, :expires_at)
ON CONFLICT DO NOTHING;

-- name: token_find :one
-- The valid token of this digest; its use is noted at most once a minute.
WITH used AS (
    UPDATE tokens SET last_used_at = now()
    WHERE digest = :digest AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
)
SELECT id, name, role FROM tokens
WHERE digest = :digest AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now());

-- name: token_list :many
-- All tokens, never their digests.
SELECT id, name, role, created_at, expires_at, last_used_at, revoked_at FROM tokens ORDER BY created_at;

-- name: token_revoke :one
-- End a token's validity.
UPDATE tokens SET revoked_at = coalesce(revoked_at, now()) WHERE id = :id RETURNING id;
