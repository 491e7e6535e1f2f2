# Ends for good all that runs in a job's container beside the init and what the init itself runs; run in the container
# next to the init, with the image's own `sh`.
#
#   sh -c THIS buildsys TOOL...     the TOOLs are the commands that init.sh uses
#
# Ends with 0 once a look finds nothing more, else with 1. All is stopped before the first one dies: what forks on and
# on does so no more.
#
# While a step runs, its first process is the init's child, as the init's own tools are; those are told by their names and
# the signals that they ignore, or by the init's own arguments. A step that passes for one of them is left for a second
# call: once it has ended, what it began is nobody's child, and what is left under the init is the init's.

tools=" $* "

# What /proc says of a process; no state where it is gone.
look() {
  state='' parent='' name=''
  while read -r key value _; do
    case $key in
      Name:) name=$value ;;
      State:) state=$value ;;
      PPid:) parent=$value && return ;;
    esac
  done 2>/dev/null <"/proc/$1/status"
}

first_line() {
  line=''
  read -r line 2>/dev/null <"/proc/$1/cmdline"
}

# Whether it ignores all that the init ignores: HUP, INT, QUIT, USR1, USR2 and TERM.
is_deaf() {
  while read -r key value; do
    case $key in SigIgn:) [ $((0x${value#????????????} & 0x4a07)) = $((0x4a07)) ] && return 0 || return 1 ;; esac
  done 2>/dev/null <"/proc/$1/status"
  return 1
}

# The init is the first that the container's first process started: nothing in a container has a lower number later.
init=
for entry in /proc/[0-9]*; do
  pid=${entry#/proc/}
  [ "$pid" -gt 1 ] && { [ -z "$init" ] || [ "$pid" -lt "$init" ]; } && init=$pid
done
first_line "$init"
script=$line

# Whether a process is to stay: the container's first, the init, we, and what the init runs.
stays() {
  case $1 in 1 | "$init" | "$$") return 0 ;; esac
  ancestor=$1
  look "$ancestor"
  until [ "$parent" = "$init" ]; do
    case $parent in '' | 0 | 1) return 1 ;; esac
    ancestor=$parent
    look "$ancestor"
  done
  case $tools in *" $name "*) is_deaf "$ancestor" && return 0 ;; esac
  first_line "$ancestor"
  [ "$line" = "$script" ]
}

# Signals what is to go and is not in one of the states; says whether there was any.
signal() {
  any=1
  for entry in /proc/[0-9]*; do
    pid=${entry#/proc/}
    look "$pid"
    case $state in '' | [ZX"$2"]) continue ;; esac
    stays "$pid" && continue
    kill "-$1" "$pid" 2>/dev/null && any=0
  done
  return "$any"
}

rounds=0
while [ "$rounds" -lt 100 ]; do
  rounds=$((rounds + 1))
  signal STOP T && continue
  signal KILL '' || exit 0
done
exit 1
