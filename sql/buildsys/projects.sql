-- name: account_ensure :one
-- The account of this name, made where it is missing.
INSERT INTO accounts (id, name) VALUES (:id, :name)
ON CONFLICT (name) DO UPDATE SET name = excluded.name
RETURNING id, name, max_running;

-- name: account_limit :exec
-- Set how many builds of an account, made where it is missing, may run at once; NULL is no limit of its own.
INSERT INTO accounts (id, name, max_running) VALUES (:id, :name, :max_running)
ON CONFLICT (name) DO UPDATE SET max_running = excluded.max_running;

-- name: project_insert :one
-- A new project; no row where the name is taken.
INSERT INTO projects (id, account, name, repository, image, build_command, deploy_command, max_running, trusted, webhook_secret, credential)
VALUES (:id, :account, :name, :repository, :image, :build_command, :deploy_command, :max_running, :trusted, :webhook_secret, :credential)
ON CONFLICT (name) DO NOTHING
RETURNING *;

-- name: project_update :one
-- Replace what a user may change of a project; the caller read the rest before.
UPDATE projects
SET repository = :repository, image = :image, build_command = :build_command, deploy_command = :deploy_command,
    max_running = :max_running, trusted = :trusted, credential = :credential, updated_at = now()
WHERE name = :name
RETURNING *;

-- name: project_get :one
-- A project by its name.
SELECT * FROM projects WHERE name = :name;

-- name: project_by_id :one
-- A project by its id.
SELECT * FROM projects WHERE id = :id;

-- name: project_list :many
-- All projects by name, each with its latest build.
SELECT p.*, b.id AS build, b.number, b.state, b.outcome, b.queued_at
FROM projects p
LEFT JOIN LATERAL (
    SELECT id, number, state, outcome, queued_at FROM builds WHERE project = p.id ORDER BY queued_at DESC, id DESC LIMIT 1
) b ON true
WHERE p.name > :after
ORDER BY p.name
LIMIT :size;

-- name: project_delete :one
-- Remove a project with its history, but only where none of its builds is still on its way.
DELETE FROM projects p
WHERE p.name = :name
  AND NOT EXISTS (SELECT FROM builds b WHERE b.project = p.id AND b.state <> 'stopped')
RETURNING p.id;
