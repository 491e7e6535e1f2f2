"""The command `buildsys`.

program    the command itself: finds a subcommand, and turns what goes wrong into one line and an exit code
session    what each command of a running installation shares: which server, which token, text or JSON
client     the HTTP API, asked
events     a build's live log, over any number of broken connections
terminal   what may be shown to a person, and how
follow     a build watched to its end
run        workflows of a folder, run without a server; run_* are what it reads, and how it tells of it
"""

from buildsys.cli.program import Program

main = Program(
    name="buildsys",
    help="""A self-hosted build system: a commit is pushed, a fresh container builds it, everyone watches the log live.

    \b
    Try it, nothing else needed:      buildsys demo
    Run this folder's workflows:      buildsys run
    Run it:                           buildsys up
    Add a repository:                 buildsys project add hello --repo https://example.org/hello.git
    Build it and watch:               buildsys build start hello --follow
    """,
    sources={
        "demo": ("buildsys.cli.demo:demo", "See the whole system at work, once, on this machine."),
        "up": ("buildsys.cli.up:up", "Run an installation: API, orchestrator and runner in one process."),
        "runner": ("buildsys.cli.up:runner", "Run builds for an installation elsewhere."),
        "migrate": ("buildsys.cli.up:migrate", "Bring the database to what this release needs."),
        "run": ("buildsys.cli.run:run", "Run the workflows of this folder on this machine."),
        "lint": ("buildsys.cli.lint:lint", "Say what is wrong with workflow files."),
        "doctor": ("buildsys.cli.doctor:doctor", "Examine this machine and say what is missing."),
        "project": ("buildsys.cli.project:project", "Add, change and remove projects."),
        "build": ("buildsys.cli.build:build", "Start, watch, cancel and retry builds."),
        "logs": ("buildsys.cli.logs:logs", "Print a build's log, or follow it live."),
        "secret": ("buildsys.cli.secret:secret", "Set, list and remove the secrets of builds."),
        "variable": ("buildsys.cli.variable:variable", "Set, list and remove the variables of builds."),
        "token": ("buildsys.cli.token:token", "Create, list and revoke API tokens."),
    },
)
