-- name: secret_key_prove :one
-- The proof by which the key can be told; the given one becomes it where there is none yet.
INSERT INTO secret_key (proof) VALUES (:proof)
ON CONFLICT (single) DO UPDATE SET proof = secret_key.proof
RETURNING proof;
