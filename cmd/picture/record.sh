#!/usr/bin/env bash
# The screens of README's picture: thor monitor in a thor up whose SIP server of node2 dies
# and comes back, once a second. record.sh THOR DIR; needs root and tmux. It runs in a network
# and a /tmp of its own.
set -euo pipefail
thor=$(realpath "$1")
out=$(realpath "$2")
if [[ ${THOR_RECORDING:-} != yes ]]; then
	THOR_RECORDING=yes exec unshare --net --mount --pid --fork --kill-child "$0" "$@"
fi
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /mnt
cp "$thor" /mnt/thor
mkdir /mnt/tmp
export TMPDIR=/mnt/tmp THOR_DIR=/mnt/up HOME=/mnt PATH=/mnt:$PATH LC_ALL=C.UTF-8
ip link set lo up
thor up --dir /mnt/up >/mnt/log 2>&1 &
until grep -q '^ready' /mnt/log; do
	kill -0 $!
	sleep 0.2
done
thor wait healthy --timeout 60s 2>/dev/null
export TMUX_TMPDIR=/mnt TERM=xterm-256color
tmux -f /dev/null -L picture new-session -d -x 112 -y 32 'thor monitor'
tmux -L picture set-option -g status off
sleep 3
for i in $(seq -w 1 16); do
	case $i in
	03) thor up stop node2-sip >/dev/null ;;
	10) thor up start node2-sip >/dev/null ;;
	esac
	tmux -L picture capture-pane -e -p -t 0 >"$out/$i.ansi"
	sleep 1
done
tmux -L picture kill-server
