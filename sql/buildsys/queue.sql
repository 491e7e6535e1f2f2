-- name: queue_claim :many
-- Claim what the limits allow, at most `size`: within a project, then an account, then the system. The order is fair:
-- priority first, then projects by how many of their builds run already, then age. Builds claimed but not started yet
-- count as running. What belongs to a concurrency group takes its place in the same moment: nobody else holds it, none
-- has waited longer, and none would have it ended at once.
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
      AND NOT EXISTS (
          SELECT FROM group_places g JOIN group_places o USING (project, name)
          WHERE g.build = q.build AND g.holder = ''
            AND (g.lost IS NOT NULL OR o.held
                 OR (o.asked < g.asked AND o.lost IS NULL)
                 OR (o.asked > g.asked AND o.cancel_in_progress))
      )
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
), taken AS (
    UPDATE group_places g SET held = true FROM locked WHERE g.build = locked.build AND g.holder = ''
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
           CASE WHEN EXISTS (
                    SELECT FROM group_places g JOIN group_places h USING (project, name)
                    WHERE g.build = q.build AND g.holder = '' AND h.held
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
), places AS (
    DELETE FROM group_places WHERE build IN (SELECT id FROM stopped)
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
