"""`python -m buildsys` is the command `buildsys`."""

from buildsys.cli import main

main()
