-- name: assignment_offer :exec
-- Offer a job to runners that have all its labels.
INSERT INTO assignments (id, build, job, labels) VALUES (:id, :build, :job, :labels);

-- name: assignment_claim :many
-- Give a runner the oldest offers that fit it, at most `size`.
UPDATE assignments a SET runner = :runner, incarnation = :incarnation
FROM (
    SELECT id FROM assignments
    WHERE runner IS NULL AND NOT cancel AND labels <@ :labels
    ORDER BY offered_at
    LIMIT :size
    FOR UPDATE SKIP LOCKED
) offered
WHERE a.id = offered.id
RETURNING a.id, a.build, a.job;

-- name: assignment_held :many
-- All that a runner holds, stamped with its present incarnation so that an older life of it can do nothing more.
WITH fenced AS (
    UPDATE assignments SET incarnation = :incarnation WHERE runner = :runner AND incarnation < :incarnation
)
SELECT id, build, job, cancel FROM assignments WHERE runner = :runner AND incarnation <= :incarnation;

-- name: assignment_cancel :exec
-- Ask the runner of an assignment to end it.
UPDATE assignments SET cancel = true WHERE id = :id;

-- name: assignment_drop :exec
-- Forget an assignment that its build does not want run, as long as it is still this life of the runner that holds it.
DELETE FROM assignments WHERE id = :id AND runner = :runner AND incarnation = :incarnation;

-- name: assignment_release :exec
-- Offer again what was given to runners that fell silent before their job began.
UPDATE assignments a SET runner = NULL, incarnation = NULL
FROM runners r
WHERE a.build = :build AND a.job = ANY(:jobs) AND r.id = a.runner AND r.seen_at < now() - make_interval(secs => :seconds);

-- name: assignment_delete :exec
-- The assignment is over; whoever still holds it learns so on its next contact.
DELETE FROM assignments WHERE id = :id;

-- name: assignment_waiting :one
-- What a build's oldest unclaimed offer asks for, and what the runners heard of lately have.
WITH present AS (SELECT name, labels, problem FROM runners WHERE seen_at > now() - interval '2 minutes')
SELECT a.job, a.labels, extract(epoch FROM now() - a.offered_at)::double precision AS seconds,
       (SELECT count(*) FROM present) AS present,
       (SELECT count(*) FROM present p WHERE a.labels <@ p.labels) AS fitting,
       (SELECT min(p.name || ': ' || p.problem) FROM present p WHERE a.labels <@ p.labels) AS problem
FROM assignments a
WHERE a.build = :build AND a.runner IS NULL
ORDER BY a.offered_at
LIMIT 1;
