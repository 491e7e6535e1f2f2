"""Measurements: what the product takes, beside what the same thing takes without it, in one run on one machine.

    python -m tests.bench latency   webhook sent -> first byte of a step at a client, against the same by hand
    python -m tests.bench builds    trivial builds a second, beside Buildbot's
    python -m tests.bench actors    calls, durable puts, alarms and memory of actors, beside workerd's
    python -m tests.bench logs      reports of lines until durable, until followers have them, and read again
    python -m tests.bench printing  lines from a program that prints until they are stored and seen, beside Buildbot's
    python -m tests.bench planning  a workflow of 1,000 lines and a matrix of 100 jobs, beside reading the YAML alone

The figures are JSON on stdout, the progress is told on stderr. A figure is worth something only beside the one it is
compared to, measured in the same minutes: whatever else the machine did then, it did to both.
"""
