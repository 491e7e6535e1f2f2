"""A process that dials out, pulls jobs and runs them; it listens nowhere.

orchestrator  what a runner calls: in this process, or over HTTP
identity      who this runner is, across restarts
runner        polls for assignments and holds one executor a job
executor      the life of one job: set-up, steps, end
interruption  the three ways in which a job is cut short
container     a job's container: started, looked at, ended, gone for sure
folder        a job on disk: what the container sees, and what is ours
git           a commit, fetched into a folder
script        the files of a step that is a script
step_run           a job's steps, one after the other, and those within actions
step_scope         a list of steps and what they find
step_preparation   what a step is to do: its environment, condition, name and work
step_effects       what a step left for those behind it
environment_files  GITHUB_ENV and its like, read
older_commands     `::set-output::` and its like, from before these files
job_contexts       what the expressions of steps can use
journal            what was decided and what came of it, for the next life
shells             a step's shell
checkout           actions/checkout, built in
local_actions      composite actions of the workspace
hash_files         hashFiles
file_patterns      its patterns
beneath            files of a folder that a job may change

reporter      a job's sequence of items, sent in order until all of it counts
follow        a step's log, cut into batches
masking       secrets out of the log
forms         how a secret may be printed
patterns      where any of many byte strings occurs
commands      `::add-mask::` and what stops commands
recall        what an earlier life of the runner knew about secrets
sequence      where the reports stand
pace          how long to wait before looking or trying again
removal       a tree of folders, removed whatever a build made of it
errors        one error out of a group

A job's truth is its folder. Runner and container share nothing else, and every part of a job's life asks the folder
how far it got before it does anything, so a runner that is killed and started again plays the job from the beginning.
"""

from buildsys.runner.orchestrator import HttpOrchestrator, Orchestrator
from buildsys.runner.runner import Runner, RunnerConfig

__all__ = ["HttpOrchestrator", "Orchestrator", "Runner", "RunnerConfig"]
