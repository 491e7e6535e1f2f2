-- name: build_number :one
-- The number of a project's next build; no row where this delivery has led to a build of this workflow before.
UPDATE projects SET last_number = last_number + 1
WHERE id = :project AND NOT EXISTS (SELECT FROM builds WHERE delivery = :delivery AND workflow = :workflow)
RETURNING last_number AS number;

-- name: build_insert :one
-- A new build with what stands for its jobs and its places in the queue and its concurrency group, in one statement; no
-- row where this delivery has led to a build of this workflow before.
WITH build AS (
    INSERT INTO builds (
        id, account, project, number, attempt, retry_of, delivery, workflow, event, branch, commit, title, plan,
        time_limit
    )
    SELECT :id, account, id, :number, :attempt, :retry_of, :delivery, :workflow, :event, :branch, :commit, :title, :plan,
        :time_limit
    FROM projects WHERE id = :project
    ON CONFLICT (delivery, workflow) DO NOTHING
    RETURNING *
), job AS (
    INSERT INTO jobs (build, id, rank, name, needs)
    SELECT build.id, j.id, j.rank, j.name, j.needs
    FROM build, jsonb_to_recordset(:jobs::jsonb) AS j (id text, rank integer[], name text, needs text[])
), queued AS (
    INSERT INTO queue (build, account, project, priority, queued_at)
    SELECT id, account, project, :priority, queued_at FROM build
), place AS (
    INSERT INTO group_places (project, name, build, holder, cancel_in_progress, queue)
    SELECT project, :concurrency, id, '', :cancel_in_progress, :concurrency_queue FROM build
    WHERE :concurrency::text IS NOT NULL
)
SELECT id, number, attempt FROM build;

-- name: build_get :one
-- A build with its project's name and, while it is queued, what it waits for.
SELECT b.id, b.account, b.project, b.number, b.attempt, b.retry_of, b.workflow, b.event, b.branch, b.commit, b.title,
       b.time_limit, b.state, b.outcome, b.reason, b.cancel_requested_at, b.stopping, b.queued_at,
       b.starting_at, b.running_at, b.stopped_at, p.name AS project_name, q.waits_for, q.claimed_at
FROM builds b JOIN projects p ON p.id = b.project LEFT JOIN queue q ON q.build = b.id
WHERE b.id = :id;

-- name: build_plan :one
-- What a build was fixed to be when it was triggered.
SELECT plan FROM builds WHERE id = :id;

-- name: build_by_ids :many
-- The builds among these ids, newest first.
SELECT b.id, b.account, b.project, b.number, b.attempt, b.retry_of, b.workflow, b.event, b.branch, b.commit, b.title,
       b.time_limit, b.state, b.outcome, b.reason, b.cancel_requested_at, b.stopping, b.queued_at,
       b.starting_at, b.running_at, b.stopped_at, p.name AS project_name, q.waits_for, q.claimed_at
FROM builds b JOIN projects p ON p.id = b.project LEFT JOIN queue q ON q.build = b.id
WHERE b.id = ANY(:ids)
ORDER BY b.queued_at DESC, b.id DESC;

-- name: build_list :many
-- A page of builds, newest first, older than the given place; of one project where it is given.
SELECT b.id, b.account, b.project, b.number, b.attempt, b.retry_of, b.workflow, b.event, b.branch, b.commit, b.title,
       b.time_limit, b.state, b.outcome, b.reason, b.cancel_requested_at, b.stopping, b.queued_at,
       b.starting_at, b.running_at, b.stopped_at, p.name AS project_name, q.waits_for, q.claimed_at
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
-- The jobs of a build in the order of its files.
SELECT * FROM jobs WHERE build = :build ORDER BY rank, id;

-- name: step_list :many
-- The steps of a build's jobs, and how long their summaries are.
SELECT job, number, name, parent, state, outcome, tolerated, exit_code, length(summary) AS summary, started_at, stopped_at
FROM steps WHERE build = :build ORDER BY job, number;

-- name: step_summary :one
-- What a step wrote for people; no row where there is no such step.
SELECT summary FROM steps WHERE build = :build AND job = :job AND number = :number;

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

-- name: job_insert :exec
-- Jobs that have been decided on, and are none of those that stand for others.
INSERT INTO jobs (build, id, rank, name, needs)
SELECT :build, j.id, j.rank, j.name, j.needs
FROM jsonb_to_recordset(:jobs::jsonb) AS j (id text, rank integer[], name text, needs text[]);

-- name: job_replaced :exec
-- What stood for jobs that have been decided on now.
DELETE FROM jobs WHERE build = :build AND id = ANY(:ids) AND NOT decided;

-- name: job_update :exec
-- What the build's actor knows of a job now; a stopped job never changes.
UPDATE jobs
SET name = :name, decided = :decided, state = :state, outcome = :outcome, reason = :reason, outputs = :outputs,
    held = :held, timeout = :timeout, tolerated = :tolerated, assignment = :assignment, runner = :runner,
    incarnation = :incarnation, container = :container, claimed_at = :claimed_at, ordered_at = :ordered_at, started_at = :started_at, stopped_at = :stopped_at
WHERE build = :build AND id = :id AND state <> 'stopped';

-- name: step_insert :exec
-- The steps of a job that a runner has now, or such as are within an action and begin.
INSERT INTO steps (build, job, number, name, parent)
SELECT :build, s.job, s.number, s.name, s.parent
FROM jsonb_to_recordset(:steps::jsonb) AS s (job text, number integer, name text, parent integer);

-- name: step_update :exec
-- What the build's actor knows of a step now; a stopped step never changes.
UPDATE steps
SET name = :name, state = :state, outcome = :outcome, exit_code = :exit_code, started_at = :started_at,
    stopped_at = :stopped_at, tolerated = :tolerated, summary = :summary
WHERE build = :build AND job = :job AND number = :number AND state <> 'stopped';
