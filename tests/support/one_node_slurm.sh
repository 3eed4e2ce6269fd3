#!/bin/sh
# one_node_slurm.sh COMMAND...: run the command beside a Slurm of one node, this machine, and stop that Slurm again.
# It is installed where root can; where it cannot be had, or another Slurm answers, the command runs all the same.
set -u
run() {
    "$@"
    exit $?
}
if squeue >/dev/null 2>&1; then
    echo "a Slurm runs here already: the tests use it"
    run "$@"
fi
if [ "$(id -u)" != 0 ]; then
    echo "no Slurm: only root can start one"
    run "$@"
fi
if ! command -v slurmctld >/dev/null; then
    apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends slurm-wlm munge || {
        echo "no Slurm: apt-get cannot install slurm-wlm"
        run "$@"
    }
fi

place=$(mktemp -d)
host=$(hostname -s)
export SLURM_CONF="$place/slurm.conf"
# What is urgent has the other partition's jobs requeued. cred_expire: they start again after seconds, not two minutes.
cat >"$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
AuthType=auth/munge
AuthInfo=cred_expire=6
SlurmUser=root
StateSaveLocation=$place/slurmctld
SlurmdSpoolDir=$place/slurmd
SlurmctldPidFile=$place/slurmctld.pid
SlurmdPidFile=$place/slurmd.pid
SlurmctldLogFile=$place/slurmctld.log
SlurmdLogFile=$place/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=3
ReturnToService=2
$(slurmd -C | grep NodeName) NodeAddr=127.0.0.1 State=UNKNOWN
PartitionName=main Nodes=$host Default=YES PriorityTier=1 State=UP
PartitionName=urgent Nodes=$host PriorityTier=2 State=UP
CONF
mkdir -p "$place/slurmctld" "$place/slurmd" /run/munge
chown munge /run/munge
munge=
if ! munge --no-input >/dev/null 2>&1; then
    su -s /bin/sh munge -c /usr/sbin/munged && munge=/run/munge/munged.pid
fi
stop() {
    for pid in "$place/slurmd.pid" "$place/slurmctld.pid" $munge; do
        if [ -s "$pid" ]; then kill "$(cat "$pid")"; fi
    done
}
trap stop EXIT
trap 'exit 143' HUP INT TERM
slurmctld && slurmd
tries=0
until sinfo --noheader 2>/dev/null | grep -q idle; do
    tries=$((tries + 1))
    if [ $tries -gt 60 ]; then
        echo "no Slurm: it did not start within 60 s; $place has its logs"
        break
    fi
    sleep 1
done
run "$@"
