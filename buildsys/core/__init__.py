"""The language of CI: what a build, a plan, an assignment and a log are. No I/O, no async bodies.

build       states, outcomes, and what is known of a build, its jobs and steps
workflow    the workflow file, decoded with positions
expressions GitHub's `${{ }}`: read, checked, evaluated (no workflow uses them yet)
plan        what a workflow asks to be run: jobs and steps
trigger     an event, and whether a workflow wants it
assignment  a job offered to runners, and what a runner reports back
commands    workflow commands in the output: groups and annotations
logs        what is appended, what is stored, and the entries that readers get
seal        the chain through a log, and what it proves
archive     a whole log as one object
driver      the seam between a runner and the thing that isolates a job
forge       the seam to a git provider
"""
