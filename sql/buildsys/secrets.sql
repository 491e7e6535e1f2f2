-- name: value_set :one
-- Set or replace a secret or variable; `made` says which of both it was.
INSERT INTO named_values (kind, account, project, name, value, set_by)
VALUES (:kind, :account, :project, :name, :value, :set_by)
ON CONFLICT (account, kind, name, project)
DO UPDATE SET value = excluded.value, set_at = now(), set_by = excluded.set_by
RETURNING *, xmax = 0 AS made;

-- name: value_remove :one
-- Remove a project's secret or variable, or with NULL that of an account's projects.
DELETE FROM named_values
WHERE kind = :kind AND name = :name AND project IS NOT DISTINCT FROM :project
  AND (project IS NOT NULL OR account = (SELECT id FROM accounts WHERE name = :account))
RETURNING name;

-- name: value_list_account :many
-- What is set for all projects of an account.
SELECT v.* FROM accounts a JOIN named_values v ON v.account = a.id AND v.project IS NULL
WHERE a.name = :account AND v.kind = :kind
ORDER BY v.name;

-- name: value_list_project :many
-- What holds for a project, of these names or, where they are NULL, of all: its own before the account's.
SELECT DISTINCT ON (v.name) v.*
FROM projects p JOIN named_values v ON v.account = p.account AND (v.project = p.id OR v.project IS NULL)
WHERE p.id = :project AND v.kind = :kind AND (:names::text[] IS NULL OR v.name = ANY(:names))
ORDER BY v.name, v.project NULLS LAST;
