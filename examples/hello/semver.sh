#!/bin/sh
# Compare and raise version numbers, see https://semver.org.
#
#   semver.sh valid VERSION            exit 0 if it is MAJOR.MINOR.PATCH
#   semver.sh compare ONE OTHER        print -1, 0 or 1
#   semver.sh bump PART VERSION        PART is major, minor or patch
#   semver.sh highest VERSION...       print the highest one
set -eu

valid() {
    case $1 in
        *[!0-9.]* | *.*.*.* | .* | *. | *..*) return 1 ;;
        0[0-9]* | *.0[0-9]*) return 1 ;;
        *.*.*) return 0 ;;
        *) return 1 ;;
    esac
}

require() {
    valid "$1" || { echo "semver.sh: not a version: $1" >&2; exit 2; }
}

split() {
    major=${1%%.*}
    rest=${1#*.}
    minor=${rest%%.*}
    patch=${rest#*.}
}

compare() {
    split "$1"
    set -- "$2" "$major" "$minor" "$patch"
    split "$1"
    for pair in "$2 $major" "$3 $minor" "$4 $patch"; do
        if [ "${pair% *}" -lt "${pair#* }" ]; then echo -1; return; fi
        if [ "${pair% *}" -gt "${pair#* }" ]; then echo 1; return; fi
    done
    echo 0
}

bump() {
    split "$2"
    case $1 in
        major) echo "$((major + 1)).0.0" ;;
        minor) echo "$major.$((minor + 1)).0" ;;
        patch) echo "$major.$minor.$((patch + 1))" ;;
        *) echo "semver.sh: not a part: $1" >&2; exit 2 ;;
    esac
}

highest() {
    best=$1
    for version; do
        require "$version"
        if [ "$(compare "$version" "$best")" = 1 ]; then best=$version; fi
    done
    echo "$best"
}

command=${1:-help}
[ $# -eq 0 ] || shift
case $command in
    valid) valid "$1" ;;
    compare) require "$1"; require "$2"; compare "$1" "$2" ;;
    bump) require "$2"; bump "$1" "$2" ;;
    highest) highest "$@" ;;
    *) sed -n '2,7s/^# \{0,1\}//p' "$0" ;;
esac
