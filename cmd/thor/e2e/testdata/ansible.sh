#!/usr/bin/env bash
# What TestAnsibleMakesANetwork does: ansible.sh ROOT PACKAGE THOR ROLE-DIRECTORY WORK. Three
# machines of the Debian in ROOT are booted on a network of their own; Ansible reaches them
# by nsenter in place of ssh.
set -euo pipefail
root=$1 package=$2 thor=$3 ansible=$4 work=$5
if [[ ${THOR_ANSIBLE:-} != yes ]]; then
	THOR_ANSIBLE=yes exec unshare --net --mount --pid --fork --kill-child --mount-proc "$0" "$@"
fi
# All machines end with this process, which is the first of its namespace, and what they
# wrote with the tmpfs: an overlay needs another file system above it than an overlay.
mount -t tmpfs tmpfs "$work"
say() { echo "$SECONDS s  $*"; }
ip link set lo up
ip link add lan type bridge
ip addr add 192.0.2.254/24 dev lan
ip link set lan up
cd "$work"
install -m 755 "$thor" "$root/usr/local/bin/sip" # the service that the role's configuration checks
pids=()
on() { # on N COMMAND…: as root of machine N
	local p
	p=$(<"$work/host$1.pid")
	shift
	nsenter -t "$p" -m -p -n -i -u "$@"
}
finish() {
	local rc=$?
	((rc)) || return 0
	for i in 1 2 3; do
		[[ -s $work/host$i.pid ]] || continue
		echo "FAILED; host$i:"
		on "$i" journalctl --no-pager -n 40 -u 'thor-*' -u sip || true
	done
}
trap finish EXIT
for i in 1 2 3; do
	mkdir -p "up$i" "wd$i" "machine$i"
	mount -t overlay overlay -o "lowerdir=$root,upperdir=$work/up$i,workdir=$work/wd$i" "machine$i"
	rm -f "machine$i/etc/machine-id"
	systemd-nspawn -q -D "machine$i" --register=no --keep-unit --network-bridge=lan --machine="ta$i-$$" --console=pipe -b >"console$i" 2>&1 </dev/null &
	pids+=($!)
done
leader() { pgrep -P "${pids[$(($1 - 1))]}" | head -1; }
for i in 1 2 3; do
	for ((n = 0; ; n++)); do
		p=$(leader "$i") && { timeout 5 nsenter -t "$p" -m -p -n -i -u systemctl is-system-running 2>/dev/null || true; } | grep -qE 'running|degraded' && break
		((n < 600)) || { cat "console$i"; exit 1; }
		sleep 0.1
	done
	echo "$p" >"host$i.pid"
	nsenter -t "$p" -n ip addr add "192.0.2.$i/24" dev host0
	nsenter -t "$p" -n ip link set host0 up
	on "$i" systemd-run --quiet --unit=sip /usr/local/bin/sip sip-responder --listen "192.0.2.$i:5060"
done
cat >ssh <<'SSH'
#!/usr/bin/env bash
# ssh [-o X] [-C …] HOST COMMAND
set -euo pipefail
args=("$@")
host=${args[-2]} command=${args[-1]}
[[ $host == 192.0.2.* ]] || exit 255
exec nsenter -t "$(<"$THOR_WORK/host${host##*.}.pid")" -m -p -n -i -u env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 sh -c "$command"
SSH
chmod +x ssh
export THOR_WORK=$work ANSIBLE_HOST_KEY_CHECKING=False ANSIBLE_NOCOLOR=1 ANSIBLE_LOCAL_TEMP=$work/tmp ANSIBLE_HOME=$work/home ANSIBLE_RETRIES=0 ANSIBLE_PIPELINING=True LC_ALL=C.UTF-8
mkdir -p "$work/bin"
ln -s "$thor" "$work/bin/thor"
export PATH=$work/bin:$PATH
thor ca init --domain example.net
sed -e "s|dist/thor_1.0.0_amd64.deb|$package|" -e 's/\(thor_address: 192.0.2.1\)}/\1, thor_site: ams}/; s/\(thor_address: 192.0.2.2\)}/\1, thor_site: fra}/; s/\(thor_address: 192.0.2.3\)}/\1, thor_site: lon}/' "$ansible/inventory.example.yml" >inventory.yml
mkdir group_vars
cat >group_vars/thor.yml <<YML
ansible_connection: ssh
ansible_user: root
ansible_become: false
ansible_ssh_executable: $work/ssh
ansible_ssh_transfer_method: piped
ansible_ssh_args: ""
ansible_python_interpreter: /usr/bin/python3
thor_ca_dir: $work/ca
YML
play() { ansible-playbook -i inventory.yml "$ansible/site.yml" "$@" | while IFS= read -r line; do say "$line"; done; }
say "== first run"
play
thor ca request --node desk >/dev/null
thor ca sign desk.csr --node desk --role thor_operator --role thor_monitor
export THOR_BROKERS=tls://192.0.2.1:4222,tls://192.0.2.2:4222,tls://192.0.2.3:4222 THOR_CERT=desk.crt THOR_KEY=desk.key THOR_CA=ca/ca.crt
thor wait healthy --timeout 60s
thor status
[[ $(thor members thor_eventserver -o json | grep -o '"node":"host[123]"' | sort -u | wc -l) == 3 ]]
for site in ams fra lon; do thor members thor_eventserver --site "$site" -o json | grep -q "\"site\":\"$site\""; done
for i in 1 2 3; do grep -q '^jetstream_sites = \["ams", "fra", "lon"\]$' "machine$i/etc/thor/thor.toml"; done
say "== second run, to look"
play --check --diff | tee second
[[ $(grep -cE 's  host[123] .*changed=0 .*unreachable=0 .*failed=0 ' second) == 3 ]]
say "== second run"
play | tee third
[[ $(grep -cE 's  host[123] .*changed=0 .*unreachable=0 .*failed=0 ' third) == 3 ]]
say "== an address more: another certificate for the same key"
key=$(thor ca show "machine2/etc/thor/pki/node.crt" | grep key)
play --limit host2 -e '{"thor_addresses": ["192.0.2.2", "192.0.2.22"]}' | tee fourth
grep -qE 's  host2 .*changed=[1-9]' fourth
thor ca show "machine2/etc/thor/pki/node.crt" | tee shown
grep -q 'addresses *192.0.2.2 192.0.2.22' shown
[[ $(grep key shown) == "$key" ]]
thor wait healthy --timeout 60s
echo "all done"
