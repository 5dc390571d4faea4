#!/usr/bin/env bash
# A real SLURM on this one machine, for the tests of hydra/launcher=submitit_slurm.
#
#   tests/slurm/cluster.sh start     install what is missing (as root, through apt), start, wait until the node is idle
#   tests/slurm/cluster.sh stop      cancel all jobs and stop the three daemons that `start` started
#
# Both may be repeated. Needs root: SLURM's own daemons do. A machine that already has a working SLURM is left alone:
# `start` then does nothing, and `stop` stops nothing. State and logs: $IMPRINT_SLURM_STATE, else /var/tmp/imprint-slurm.
set -euo pipefail

STATE=${IMPRINT_SLURM_STATE:-/var/tmp/imprint-slurm}
CONF=/etc/slurm/slurm.conf
MARK="# written by tests/slurm/cluster.sh"

die() { printf 'cluster.sh: %s\n' "$*" >&2; exit 1; }

running() {  # running NAME: is the daemon that we started under this name alive?
    local pid
    pid=$(cat "$STATE/$1.pid" 2>/dev/null) && [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ] \
        && ! gone "$pid"
}

gone() {  # gone PID: ended, also where (in some containers) nobody reaps it
    ! grep -q '^State:[[:space:]]*[^ZX]' "/proc/$1/status" 2>/dev/null
}

await() {  # await SECONDS MESSAGE COMMAND...: until the command succeeds
    local left=$1 message=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || die "$message; see $STATE/*.log"
        sleep 1
    done
}

answers() { timeout 5 scontrol ping 2>/dev/null | grep -q UP; }

usable() { timeout 5 sinfo --noheader --format=%T 2>/dev/null | grep -qE '^(idle|mixed|allocated)'; }

install_packages() {
    local missing=() package
    for package in slurmctld slurmd slurm-client munge; do
        dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    echo "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get install --yes --no-install-recommends "${missing[@]}" >"$STATE/apt.log" 2>&1 || {
        apt-get update >>"$STATE/apt.log" 2>&1
        apt-get install --yes --no-install-recommends "${missing[@]}" >>"$STATE/apt.log" 2>&1
    } || die "cannot install ${missing[*]}; see $STATE/apt.log"
}

configure() {
    local host memory
    host=$(hostname --short)
    memory=$(($(awk '/^MemTotal/ {print $2}' /proc/meminfo) / 1024 * 9 / 10))
    # Without accounting nothing is remembered of a job but what squeue shows; submitit then relies on its own files.
    # A tenth of the memory is left to the system; jobs that do not say what they need get little, so that several fit.
    cat >"$CONF" <<CONF
$MARK
ClusterName=imprint
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SwitchType=switch/none
StateSaveLocation=$STATE/ctld
SlurmdSpoolDir=$STATE/d
SlurmctldPidFile=$STATE/slurmctld.pid
SlurmdPidFile=$STATE/slurmd.pid
SlurmctldLogFile=$STATE/slurmctld.log
SlurmdLogFile=$STATE/slurmd.log
KillWait=5
MinJobAge=60
ReturnToService=2
DefMemPerCPU=256
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$memory State=UNKNOWN
PartitionName=cpu Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
}

start() {
    if usable; then
        echo "SLURM answers already"
        return
    fi
    [ "$(id -u)" -eq 0 ] || die "starting SLURM needs root, or a SLURM that runs already"
    command -v apt-get >/dev/null || command -v slurmctld >/dev/null || die "no slurmctld and no apt-get to install it"
    mkdir -p "$STATE/ctld" "$STATE/d"
    install_packages
    if [ -s "$CONF" ] && ! head -n 1 "$CONF" | grep -qxF "$MARK"; then
        die "$CONF is not ours and its SLURM does not answer; start that one, or move the file away"
    fi
    configure

    [ -s /etc/munge/munge.key ] || die "munge has no key; its package makes one: apt-get install --reinstall munge"
    if ! munge --no-input >/dev/null 2>&1; then
        mkdir -p /run/munge
        chown munge: /run/munge /etc/munge/munge.key /var/log/munge /var/lib/munge
        chmod 0755 /run/munge
        setpriv --reuid munge --regid munge --clear-groups munged --force
        await 10 "munge does not answer" munge --no-input
        cp /run/munge/munged.pid "$STATE/munged.pid"
    fi

    running slurmctld || slurmctld -c
    await 30 "slurmctld does not answer" answers
    running slurmd || slurmd
    await 30 "the node does not become idle" usable
    echo "SLURM runs: $(sinfo --noheader --format='partition %P, %D node, %c CPUs, %m MB, %T')"
}

stop() {
    local name pid
    if running slurmctld; then
        squeue --noheader --format=%A | xargs --no-run-if-empty scancel 2>/dev/null || true
    fi
    for name in slurmd slurmctld munged; do
        running "$name" || continue
        pid=$(cat "$STATE/$name.pid")
        kill "$pid"
        await 30 "$name does not end" gone "$pid"
        rm -f "$STATE/$name.pid"
    done
}

case "${1:-}" in
    start) start ;;
    stop) stop ;;
    *) die "usage: cluster.sh start|stop" ;;
esac
