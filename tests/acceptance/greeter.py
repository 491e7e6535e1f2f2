"""A service for workflows, made of the tests' own base image: it says `$GREETING` to whoever connects to port 5432."""

from __future__ import annotations

import functools
import subprocess

import docker_image

TAG = "buildsys-test-greeter:1"
HEALTHY = "--health-cmd 'netstat -ltn | grep -q :5432' --health-interval 200ms --health-retries 50"
NEVER = "--health-cmd 'echo no database >&2; exit 3' --health-interval 200ms --health-retries 2"


@functools.cache
def greeter_image() -> str:
    docker_image.require_engine()
    dockerfile = (
        f"FROM {docker_image.base_image()}\n"
        'RUN printf \'#!/bin/sh\\nprintf "%%s\\\\n" "$GREETING"\\n\' >/usr/bin/greet && chmod 755 /usr/bin/greet\n'
        'CMD ["sh", "-c", "echo greeting with $GREETING; exec nc -ll -p 5432 -e /usr/bin/greet"]\n'
    )
    build = ["docker", "build", "--quiet", "--tag", TAG, "-"]
    subprocess.run(build, input=dockerfile.encode(), check=True, capture_output=True)
    return TAG
