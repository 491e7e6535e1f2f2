"""What a step of the simulator runs: lines at changing rates. A witness hears of every byte before it is printed."""

from __future__ import annotations

import os
import random
import socket
import sys
import time

BYTES = 1 << 20
"""What a step prints about, at most: readers are compared line by line."""


def main(port: int, name: str, seed: int, seconds: float) -> None:
    chance = random.Random(seed)
    until = time.monotonic() + seconds
    number = size = 0
    with socket.create_connection(("127.0.0.1", port)) as witness:
        witness.sendall(f"{os.environ['BUILDSYS_BUILD_ID']} {name}\n".encode())

        def say(text: bytes) -> None:
            witness.sendall(text)
            while text:
                text = text[os.write(1, text) :]

        def lines(count: int, width: int) -> bytes:
            nonlocal number
            number += count
            return b"".join(
                b"%s %d %s\n" % (name.encode(), each, _filling(chance, chance.randint(0, width)))
                for each in range(number - count + 1, number + 1)
            )

        say(lines(1, 10))
        while time.monotonic() < until:
            match chance.choices(
                ["trickle", "burst", "flood", "silence", "open", "long", "bytes"], [30, 25, 2, 10, 5, 1, 3]
            )[0]:
                case "trickle":
                    for _ in range(chance.randint(1, 20)):
                        say(lines(1, 100))
                        time.sleep(chance.choice([0.001, 0.01, 0.05]))
                case "burst":
                    say(text := lines(chance.randint(10, 300), 80))
                    size += len(text)
                case "flood" if size < BYTES:
                    say(text := lines(5000, 40))
                    size += len(text)
                case "silence":
                    time.sleep(chance.uniform(0.0, 1.0))
                case "open":
                    say(b"open ")
                    time.sleep(chance.choice([0.1, 1.3]))
                    say(lines(1, 10))
                case "long" if size < BYTES:
                    say(b"long " + b"x" * chance.randint(60_000, 300_000) + b"\n")
                    size += 300_000
                case "bytes":
                    for byte in lines(1, 20):
                        say(bytes([byte]))
                case _:
                    time.sleep(0.1)
        if chance.random() < 0.3:
            say(b"the last line has no end")


def _filling(chance: random.Random, width: int) -> bytes:
    return chance.choice(["", "\x1b[32mgreen\x1b[0m ", "größe € \N{ROCKET} ", "."]).encode() * (width // 10)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
