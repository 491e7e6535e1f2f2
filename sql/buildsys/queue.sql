-- name: queue_claim :many
-- Claim what the limits allow, at most `size`: within a project, then an account, then the system. The order is fair:
-- priority first, then projects by how many of their builds run already, then age. Builds claimed but not started yet
-- count as running. Of a concurrency group only the oldest is claimed, and only where none of its builds runs.
WITH busy AS (
    SELECT account, project FROM builds WHERE state IN ('starting', 'running')
    UNION ALL
    SELECT account, project FROM queue WHERE claimed_at IS NOT NULL
), by_project AS (
    SELECT q.build, q.account, q.priority, q.queued_at, p.max_running,
           coalesce(b.running, 0) + row_number() OVER (PARTITION BY q.project ORDER BY q.priority DESC, q.queued_at, q.build) AS turn
    FROM queue q
    JOIN projects p ON p.id = q.project
    LEFT JOIN (SELECT project, count(*) AS running FROM busy GROUP BY project) b ON b.project = q.project
    WHERE q.claimed_at IS NULL
      AND (q.concurrency IS NULL OR NOT (
          EXISTS (
              SELECT FROM builds h
              WHERE h.project = q.project AND h.concurrency = q.concurrency AND h.state IN ('starting', 'running')
          ) OR EXISTS (
              SELECT FROM queue o
              WHERE o.project = q.project AND o.concurrency = q.concurrency AND o.build <> q.build
                AND (o.claimed_at IS NOT NULL OR (o.queued_at, o.build) < (q.queued_at, q.build))
          )
      ))
), by_account AS (
    SELECT c.build, c.priority, c.queued_at, c.turn, a.max_running,
           coalesce(b.running, 0)
             + row_number() OVER (PARTITION BY c.account ORDER BY c.priority DESC, c.turn, c.queued_at, c.build) AS account_turn
    FROM by_project c
    JOIN accounts a ON a.id = c.account
    LEFT JOIN (SELECT account, count(*) AS running FROM busy GROUP BY account) b ON b.account = c.account
    WHERE c.max_running IS NULL OR c.turn <= c.max_running
), chosen AS (
    SELECT build
    FROM by_account
    WHERE max_running IS NULL OR account_turn <= max_running
    ORDER BY priority DESC, turn, queued_at, build
    LIMIT least(greatest(:max_running::bigint - (SELECT count(*) FROM busy), 0), :size::bigint)
), locked AS (
    SELECT q.build FROM queue q JOIN chosen USING (build) WHERE q.claimed_at IS NULL FOR UPDATE OF q SKIP LOCKED
)
UPDATE queue q SET claimed_at = now(), waits_for = NULL
FROM locked
WHERE q.build = locked.build
RETURNING q.build;

-- name: queue_explain :exec
-- Write for those left behind which limit holds them back, where that has changed; none does where they only wait for
-- others to be started. Run after queue_claim, in its transaction.
WITH busy AS (
    SELECT account, project FROM builds WHERE state IN ('starting', 'running')
    UNION ALL
    SELECT account, project FROM queue WHERE claimed_at IS NOT NULL
), in_project AS (
    SELECT project, count(*) AS running FROM busy GROUP BY project
), in_account AS (
    SELECT account, count(*) AS running FROM busy GROUP BY account
), reasons AS (
    SELECT q.build,
           CASE WHEN q.concurrency IS NOT NULL AND EXISTS (
                    SELECT FROM builds h
                    WHERE h.project = q.project AND h.concurrency = q.concurrency AND h.state IN ('starting', 'running')
                ) THEN 'concurrency'
                WHEN b.running >= p.max_running THEN 'project'
                WHEN c.running >= a.max_running THEN 'account'
                WHEN (SELECT count(*) FROM busy) >= :max_running::bigint THEN 'system' END AS waits_for
    FROM queue q
    JOIN projects p ON p.id = q.project
    JOIN accounts a ON a.id = q.account
    LEFT JOIN in_project b ON b.project = q.project
    LEFT JOIN in_account c ON c.account = q.account
    WHERE q.claimed_at IS NULL
)
UPDATE queue q SET waits_for = r.waits_for
FROM reasons r
WHERE q.build = r.build AND q.waits_for IS DISTINCT FROM r.waits_for;

-- name: queue_superseded :many
-- Builds that a newer one of their concurrency group leaves no place for, and that one's number: of those that wait
-- only the newest stays, beside the oldest where the group is free for it; and where the newest does not wait for
-- those before it to end by themselves, not even the one that runs stays.
WITH newest AS (
    SELECT DISTINCT ON (q.project, q.concurrency)
           q.project, q.concurrency, q.build, q.cancel_in_progress, b.number,
           first_value(q.build) OVER (PARTITION BY q.project, q.concurrency ORDER BY q.queued_at, q.build) AS oldest,
           EXISTS (
               SELECT FROM builds h
               WHERE h.project = q.project AND h.concurrency = q.concurrency AND h.state IN ('starting', 'running')
           ) AS held
    FROM queue q JOIN builds b ON b.id = q.build
    WHERE q.concurrency IS NOT NULL
    ORDER BY q.project, q.concurrency, q.queued_at DESC, q.build DESC
)
SELECT q.build, n.number, n.concurrency
FROM newest n JOIN queue q USING (project, concurrency)
WHERE q.build <> n.build
  AND (n.cancel_in_progress OR (q.claimed_at IS NULL AND (n.held OR q.build <> n.oldest)))
UNION ALL
SELECT h.id, n.number, n.concurrency
FROM newest n JOIN builds h USING (project, concurrency)
WHERE n.cancel_in_progress AND h.state IN ('starting', 'running') AND h.stopping IS NULL;

-- name: concurrency_holder :one
-- The build that runs of a project's concurrency group.
SELECT number FROM builds
WHERE project = :project AND concurrency = :concurrency AND state IN ('starting', 'running')
LIMIT 1;

-- name: queue_stale :many
-- Claims that have not led to a start for so long (seconds) that it must be tried again, the oldest first, at most `size`.
UPDATE queue SET claimed_at = now(), starts = starts + 1
WHERE build IN (
    SELECT build FROM queue
    WHERE claimed_at < now() - make_interval(secs => :seconds)
    ORDER BY claimed_at
    LIMIT :size
)
RETURNING build;

-- name: queue_give_up :many
-- End the builds whose actor could not start them in so many claims: there is nobody else left to do it. Their logs are
-- still empty, and are to be sealed.
WITH hopeless AS (
    DELETE FROM queue WHERE starts >= :starts AND claimed_at < now() - make_interval(secs => :seconds) RETURNING build
), stopped AS (
    UPDATE builds SET state = 'stopped', outcome = 'errored', reason = :reason, stopped_at = now()
    WHERE id IN (SELECT build FROM hopeless) AND state = 'queued'
    RETURNING id
), jobs AS (
    UPDATE jobs SET state = 'stopped', outcome = 'errored', reason = :reason, stopped_at = now()
    WHERE build IN (SELECT id FROM stopped)
)
SELECT id, now() AS stopped_at FROM stopped;

-- name: queue_length :one
-- How many builds wait.
SELECT count(*) AS length FROM queue WHERE claimed_at IS NULL;

-- name: queue_delete :exec
-- The build has left the queue, by starting or by being canceled.
DELETE FROM queue WHERE build = :build;
