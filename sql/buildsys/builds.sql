-- name: build_insert :one
-- A new build with its number, jobs, steps and place in the queue, in one statement; no row where this delivery has
-- led to a build of this workflow before. `number` is given for a further attempt and NULL for a new build.
WITH numbered AS (
    UPDATE projects SET last_number = last_number + (CASE WHEN :number::bigint IS NULL THEN 1 ELSE 0 END)
    WHERE id = :project
      AND NOT EXISTS (SELECT FROM builds WHERE delivery = :delivery AND workflow = :workflow)
    RETURNING id, account, coalesce(:number::bigint, last_number) AS number
), build AS (
    INSERT INTO builds (id, account, project, number, attempt, retry_of, delivery, workflow, event, branch, commit, title, plan, time_limit)
    SELECT :id, account, id, number, :attempt, :retry_of, :delivery, :workflow, :event, :branch, :commit, :title, :plan, :time_limit
    FROM numbered
    RETURNING *
), job AS (
    INSERT INTO jobs (build, id, position, name, needs)
    SELECT build.id, j ->> 'id', n, j ->> 'name', ARRAY(SELECT jsonb_array_elements_text(coalesce(j -> 'needs', '[]')))
    FROM build, jsonb_array_elements(build.plan -> 'jobs') WITH ORDINALITY AS jobs (j, n)
    RETURNING build, id
), step AS (
    INSERT INTO steps (build, job, number, name)
    SELECT build.id, j ->> 'id', 0, 'Set up job'
    FROM build, jsonb_array_elements(build.plan -> 'jobs') AS j
    UNION ALL
    SELECT build.id, j ->> 'id', (s ->> 'number')::integer, s ->> 'name'
    FROM build, jsonb_array_elements(build.plan -> 'jobs') AS j, jsonb_array_elements(j -> 'steps') AS s
), queued AS (
    INSERT INTO queue (build, account, project, priority, queued_at)
    SELECT id, account, project, :priority, queued_at FROM build
)
SELECT id, number, attempt FROM build;

-- name: build_get :one
-- A build with its project's name and, while it is queued, what it waits for.
SELECT b.*, p.name AS project_name, q.waits_for, q.claimed_at
FROM builds b JOIN projects p ON p.id = b.project LEFT JOIN queue q ON q.build = b.id
WHERE b.id = :id;

-- name: build_by_ids :many
-- The builds among these ids, newest first.
SELECT b.*, p.name AS project_name, q.waits_for, q.claimed_at
FROM builds b JOIN projects p ON p.id = b.project LEFT JOIN queue q ON q.build = b.id
WHERE b.id = ANY(:ids)
ORDER BY b.queued_at DESC, b.id DESC;

-- name: build_list :many
-- A page of builds, newest first, older than the given place; of one project where it is given.
SELECT b.*, p.name AS project_name, q.waits_for, q.claimed_at
FROM builds b JOIN projects p ON p.id = b.project LEFT JOIN queue q ON q.build = b.id
WHERE (:project::uuid IS NULL OR b.project = :project)
  AND (:state::text IS NULL OR b.state = :state)
  AND (:before_at::timestamptz IS NULL OR (b.queued_at, b.id) < (:before_at, :before_id::uuid))
ORDER BY b.queued_at DESC, b.id DESC
LIMIT :size;

-- name: build_attempts :one
-- How many attempts of a build there are.
SELECT max(attempt) AS attempts FROM builds WHERE project = :project AND number = :number;

-- name: job_list :many
-- The jobs of a build in the order of its plan.
SELECT * FROM jobs WHERE build = :build ORDER BY position;

-- name: step_list :many
-- The steps of a build's jobs.
SELECT * FROM steps WHERE build = :build ORDER BY job, number;

-- name: active_holders :many
-- The oldest builds that count against a limit now, of a project, an account, or all, and how many there are in all.
SELECT p.name AS project, b.number, count(*) OVER () AS running
FROM builds b JOIN projects p ON p.id = b.project
WHERE b.state IN ('starting', 'running')
  AND (:project::uuid IS NULL OR b.project = :project)
  AND (:account::uuid IS NULL OR b.account = :account)
ORDER BY b.starting_at
LIMIT 3;

-- name: build_update :exec
-- What the build's actor knows of it now; a stopped build never changes.
UPDATE builds
SET state = :state, outcome = :outcome, reason = :reason, cancel_requested_at = :cancel_requested_at,
    stopping = :stopping, starting_at = :starting_at, running_at = :running_at, stopped_at = :stopped_at
WHERE id = :id AND state <> 'stopped';

-- name: job_update :exec
-- What the build's actor knows of a job now; a stopped job never changes.
UPDATE jobs
SET state = :state, outcome = :outcome, reason = :reason, assignment = :assignment, runner = :runner,
    incarnation = :incarnation, container = :container, claimed_at = :claimed_at,
    started_at = :started_at, stopped_at = :stopped_at
WHERE build = :build AND id = :id AND state <> 'stopped';

-- name: step_update :exec
-- What the build's actor knows of a step now; a stopped step never changes.
UPDATE steps
SET state = :state, outcome = :outcome, exit_code = :exit_code, started_at = :started_at, stopped_at = :stopped_at
WHERE build = :build AND job = :job AND number = :number AND state <> 'stopped';
