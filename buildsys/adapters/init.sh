# The first process of a job's container: runs the job's steps, one at a time, in the order in which `control` names
# them. What it reads and leaves in the job's folder is told in buildsys/core/driver.py.
#
#   sh -c THIS buildsys LIFETIME TOOL...     LIFETIME in seconds; the TOOLs are the commands that this script uses
#
# Ends with 64 + n when TOOL n is missing, with 63 when the job's folder is not there, by SIGALRM at its lifetime.

root=/buildsys
lifetime=$1
shift

missing=64
for tool; do
  command -v "$tool" >/dev/null 2>&1 || exit "$missing"
  missing=$((missing + 1))
done
[ -p "$root/control" ] || exit 63

umask 022
exec 3<>"$root/control"

# Whatever asks the job's processes to end leaves the init and its own tools alive: they ignore it. Only while a step
# is being started is a signal caught instead, since a shell passes "ignored" on to a step and "caught" as the default.
signals='HUP INT QUIT TERM USR1 USR2'
trap '' $signals

(sleep "$lifetime"; kill -ALRM $$) 3<&- &

# Copies the pipe into the log, up to the limit; from then on into nothing.
drain() {
  (ulimit -f "$log_blocks" && exec cat >>"$step/log") && return
  : >"$step/truncated"
  cat >/dev/null
}

# Whether a text is in the log, at or behind a block. No shell tells what `cat` has still in its hands.
has() {
  case $(dd if="$step/log" bs=65536 skip="$2" 2>/dev/null) in *"$1"*) ;; *) return 1 ;; esac
}

run_step() {
  log_blocks=0 marker=
  while IFS='=' read -r key value; do
    case $key in
      log_blocks) log_blocks=$value ;;
      marker) marker=$value ;;
    esac
  done <"$step/limits"

  mkfifo -m 666 "$step/pipe" || return
  exec 4<>"$step/pipe"
  drain <"$step/pipe" 3<&- 4<&- &
  trap : $signals
  (cd "$root/workspace" && exec sh "$step/run") </dev/null >&4 2>&1 3<&- 4<&-
  status=$?
  trap '' $signals

  # The marker will be behind what the log holds now; the nonce is one that the step could not know and print.
  set -- $(ls -ln "$step/log")
  block=$((${5:-0} / 65536))
  read -r nonce </proc/sys/kernel/random/uuid
  printf %s "$marker$nonce" >&4
  exec 4<&-
  tries=0
  until [ -e "$step/truncated" ] || has "$marker$nonce" "$block" || [ "$tries" -ge 3000 ]; do
    sleep 0.01 || sleep 1
    tries=$((tries + 1))
  done
  echo "$status $nonce" >"$step/status.new" && mv -f "$step/status.new" "$step/status"
}

while :; do
  read -r number <&3 || continue
  case $number in '' | *[!0-9]*) continue ;; esac
  step=$root/steps/$number
  mkdir "$step/started" 2>/dev/null && run_step
done
