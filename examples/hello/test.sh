#!/bin/sh
# The tests of semver.sh: `sh test.sh`. Exits 1 if one fails.
cd "$(dirname "$0")" || exit 1
count=0
failures=0

is() { # EXPECTED ARGUMENTS...
    expected=$1
    shift
    count=$((count + 1))
    if actual=$(sh semver.sh "$@" 2>&1) && [ "$actual" = "$expected" ]; then
        echo "ok $count - $*"
    else
        echo "not ok $count - $*: expected '$expected', got '$actual'"
        failures=$((failures + 1))
    fi
}

refuses() { # ARGUMENTS...
    count=$((count + 1))
    if sh semver.sh "$@" >/dev/null 2>&1; then
        echo "not ok $count - $*: expected a refusal"
        failures=$((failures + 1))
    else
        echo "ok $count - $* is refused"
    fi
}

is '' valid 1.2.3
is 0 compare 1.2.3 1.2.3
is -1 compare 1.2.3 1.10.0
is 1 compare 2.0.0 1.99.99
is 2.0.0 bump major 1.2.3
is 1.3.0 bump minor 1.2.3
is 1.2.4 bump patch 1.2.3
is 1.10.0 highest 1.2.0 1.10.0 1.9.9
refuses valid 1.2
refuses valid 1.02.3
refuses compare 1.2.3 one
refuses bump nothing 1.2.3

echo "$((count - failures)) of $count tests passed"
[ "$failures" -eq 0 ]
