#!/bin/bash
# What TestPackageBoots does inside the booted machine. The exit code becomes
# that of the machine.
set -euo pipefail
daemons=(thor-broker thor-manager thor-dns thor-node)
export THOR_CA_DIR=/root/ca

say() { echo "$SECONDS s  $*"; }

finish() {
	local rc=$?
	if ((rc)); then
		echo "FAILED"
		systemctl --no-pager --full status 'thor-*' || true
		journalctl --no-pager -n 60 || true
	fi
	systemctl exit "$rc"
}
trap finish EXIT

# await SECONDS WHAT COMMAND…: until the command succeeds
await() {
	local end=$((SECONDS + $1)) what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		if ((SECONDS >= end)); then
			say "not in time: $what"
			"$@" || true
			return 1
		fi
		sleep 0.1
	done
	say "$what"
}

# operator COMMAND…: thor as an operator would run it from a unit, with the key
# as systemd hands it over
operator() {
	# shellcheck disable=SC2016 # the unit's shell expands it
	systemd-run --quiet --wait --pipe -p DynamicUser=yes \
		-p LoadCredential=key:/root/desk.key -p LoadCredential=crt:/root/desk.crt -p LoadCredential=ca:/root/ca/ca.crt \
		bash -c 'd=$CREDENTIALS_DIRECTORY; stat -c "key %a %U" "$d/key" >&2
			exec thor "$@" --brokers tls://127.0.0.1:4222 --cert "$d/crt" --key "$d/key" --ca "$d/ca"' operator "$@"
}

# page N: the block of commands N of docs/operate.md that is for such a machine, word by word
page() {
	local text
	text=$(awk -v n="$1" '/^<!-- run: boot -->/ { k++; next } k == n && /^```sh/ { on = 1; next } k == n && on && /^```/ { exit } k == n && on' /operate.md)
	[[ -n $text ]]
	(cd /root && bash -euo pipefail -c "$text")
	say "docs/operate.md, block $1"
}

[[ $(grep -c '^<!-- run: boot -->' /operate.md) == 4 ]] # all are run below
cp /thor.deb /root/thor_0_amd64.deb
page 1
for old in eventserver manager database dns node monitor; do
	"thor-$old" -h >/dev/null
done
[[ $(stat -c %a /etc/thor/pki) == 711 ]]
if thor config check /etc/thor/thor.toml 2>/dev/null; then
	say "the empty configuration is taken for a good one"
	exit 1
fi
for page in man1/thor.1 man1/thor-ca-sign.1 man5/thor.toml.5 man7/thor.7; do
	[[ -s /usr/share/man/$page.gz ]]
done
for completion in bash-completion/completions/thor zsh/vendor-completions/_thor fish/vendor_completions.d/thor.fish thor/completions/thor.ps1; do
	grep -q __complete "/usr/share/$completion"
done
say "installed: $(thor version | head -1)"

dpkg -i /python3-thor.deb
for module in /usr/lib/python3/dist-packages/thor/*.py; do
	name=$(basename "$module" .py)
	[[ $name == __init__ ]] && name=thor || name=thor.$name
	(cd / && /usr/bin/python3 -W error -c "import $name")
done
(cd / && /usr/bin/python3 -c 'import thor; v = tuple(int(x) for x in thor.__version__.split(".")[:3]); assert v >= (1, 1, 21), v')
[[ -n $(find /usr/lib/python3/dist-packages/thor -name "*.pyc") ]] # compiled by the package
say "python3-thor is imported"

thor-ca ca init --domain example.net
roles=(--role thor_eventserver --role thor_manager --role thor_dnsmanager --role sip_proxy)
cp /etc/thor/pki/node.csr /root/host1.csr
(cd /root && thor-ca ca sign host1.csr --node host1 "${roles[@]}" --ip 127.0.0.1 --days 2)
cp /root/host1.crt /etc/thor/pki/node.crt
thor-ca ca issue --node desk --role thor_operator --role thor_monitor --ip 127.0.0.1 --out /root/desk
cp /root/ca/ca.crt /etc/thor/pki/
cat >/etc/thor/thor.toml <<'TOML'
[network]
domain = "example.net"
brokers = ["tls://127.0.0.1:4222"]
certificate = "/etc/thor/pki/node.crt"
key = "/etc/thor/pki/node.key"
ca = "/etc/thor/pki/ca.crt"
state = "/var/lib/thor/all"
[broker]
listen = "127.0.0.1:4222"
[manager]
[dns]
listen = ["127.0.0.1:53"]
[node.subscribers]
[[node.role]]
role = "sip_proxy"
[[node.role.check]]
kind = "sip"
target = "127.0.0.1:5060"
interval = "500ms"
TOML
thor config check /etc/thor/thor.toml
systemd-run --quiet --unit=sip thor sip-responder --listen 127.0.0.1:5060

chmod 640 /etc/thor/pki/node.key
if THOR_STATE=/root/state thor node --config /etc/thor/thor.toml 2>/root/refusal; then exit 1; fi
grep -c . /root/refusal | grep -qx 1
grep -q 'chmod 600 /etc/thor/pki/node.key' /root/refusal
chmod 600 /etc/thor/pki/node.key
say "refused: $(cat /root/refusal)"

page 2
for d in "${daemons[@]}"; do
	systemctl is-active --quiet "$d"
	[[ $(systemctl show -P NotifyAccess "$d") == main ]]
	[[ $(systemctl show -P User "$d")$(systemctl show -P DynamicUser "$d") == *yes ]]
	pid=$(systemctl show -P MainPID "$d")
	(($(stat -c %u "/proc/$pid") > 60000))
done
say "all units are active, under users of their own"

await 30 "thor status: all is well" operator status
operator members sip_proxy | tee /root/members
grep -q 'host1.*127.0.0.1' /root/members
await 10 "thor doctor finds no fault" operator doctor

page 3
cp /etc/thor/pki/renewal.csr /root/
(cd /root && thor-ca ca sign renewal.csr --node host1 --renew --days 20)
cp /root/renewal.crt /etc/thor/pki/node.crt
for d in "${daemons[@]}"; do
	before=$(systemctl show -P MainPID "$d")
	systemctl reload "$d"
	systemctl is-active --quiet "$d"
	[[ $(systemctl show -P MainPID "$d") == "$before" ]]
	await 5 "$d re-read its certificate" bash -c "journalctl --no-pager -u $d | grep -q 'certificate re-read'"
	cmp "/etc/thor/pki/node.crt" "/run/thor/${d#thor-}/node.crt"
done
say "reloaded with the renewed certificate"
page 4
for d in "${daemons[@]}"; do
	await 5 "the reload of $d is in the audit log" bash -c "journalctl --no-pager -t thor-audit _SYSTEMD_UNIT=$d.service THOR_ACT=reload THOR_WHO=local THOR_OUTCOME=ok | grep -q 'local: reload'"
done
grep -q '"act":"renew","what":"node host1 ' /root/ca/audit.log

for d in "${daemons[@]}"; do
	systemctl kill -s KILL "$d"
	await 20 "$d is back after SIGKILL" bash -c "[[ \$(systemctl show -P NRestarts $d) == 1 ]] && systemctl is-active --quiet $d"
done
await 30 "thor status: all is well again" operator status

# What a node's machine is told, and who may hear it.
[[ $(stat -c '%a %G' /etc/thor/local.secret) == '640 thor' ]]
[[ $(stat -c '%a %G' /run/thor/node.sock) == '660 thor' ]]
ask() { setpriv --reuid=65534 --regid=65534 --groups="$1" bash -c 'exec 3<>/dev/tcp/127.0.0.1/9501 && printf "GET /subscriber/a@example.net HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n" >&3 && head -1 <&3'; }
ask 65534 | grep -q 401
# shellcheck disable=SC2016 # perl expands it
connect() { setpriv --reuid=65534 --regid=65534 --groups="$1" perl -MIO::Socket::UNIX -e 'my $s = IO::Socket::UNIX->new("/run/thor/node.sock") or exit 1; print $s "GET /online/sip_proxy/127.0.0.1 HTTP/1.0\r\nHost: localhost\r\n\r\n"; print <$s>'; }
if connect 65534; then exit 1; fi
connect "$(getent group thor | cut -d: -f3)" | grep -q '"online":true'
systemctl kill -s STOP thor-node
systemctl kill -s KILL thor-node
if setpriv --reuid=65534 --regid=65534 --clear-groups perl -MIO::Socket::INET -e 'IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1:9501") or exit 1'; then exit 1; fi
await 20 "the sockets are held while the agent restarts" bash -c "systemctl is-active --quiet thor-node.socket && journalctl --no-pager -u thor-node | grep -c 'profiles of before\|local service listens' | grep -q ."
systemctl restart thor-node
systemctl is-active --quiet thor-node.socket
systemctl stop thor-node
await 5 "a stopped agent holds no sockets" bash -c '! systemctl is-active --quiet thor-node.socket && [[ ! -e /run/thor/node.sock ]]'
systemctl start thor-node
await 30 "thor status: all is well with the agent back" operator status

declare -A pids
for d in "${daemons[@]}"; do pids[$d]=$(systemctl show -P MainPID "$d"); done
# A package of a later version, with another program in it.
dpkg-deb -R /thor.deb /root/next
before=$(dpkg-query -W -f '${Version}' thor)
sed -i "s/^Version: .*/Version: $before.1/" /root/next/DEBIAN/control
printf later >>/root/next/usr/bin/thor
rm -f /root/next/DEBIAN/md5sums
dpkg-deb -Znone -b /root/next /root/next.deb >/dev/null
dpkg -i /root/next.deb | tee /root/upgrade
grep -q 'thor restart' /root/upgrade
[[ $(dpkg-query -W -f '${Version}' thor) == "$before.1" ]]
sleep 3 # a restart that comes late shows
for d in "${daemons[@]}"; do
	systemctl is-active --quiet "$d"
	[[ $(systemctl show -P MainPID "$d") == "${pids[$d]}" ]]
	[[ $(readlink "/proc/${pids[$d]}/exe") == '/usr/bin/thor (deleted)' ]] # still the program before
done
grep -q example.net /etc/thor/thor.toml
say "the upgrade of the package restarts no daemon"
operator restart --dry-run
operator restart
for d in "${daemons[@]}"; do
	systemctl is-active --quiet "$d"
	[[ $(systemctl show -P MainPID "$d") != "${pids[$d]}" ]]
	[[ $(readlink "/proc/$(systemctl show -P MainPID "$d")/exe") == /usr/bin/thor ]]
	[[ $(systemctl show -P Result "$d") == success ]]
	journalctl --no-pager -t thor-audit "_SYSTEMD_UNIT=$d.service" THOR_ACT=restart THOR_WHO=desk THOR_OUTCOME=ok | grep -q 'desk: restart'
done
operator wait healthy --timeout 30s
say "thor restart gave each daemon a new process"

sed -i 's/^listen = \["127.0.0.1:53"\]/listne = []/' /etc/thor/thor.toml
systemctl kill -s KILL thor-dns
await 20 "a daemon with a wrong configuration is not started again and again" bash -c "[[ \$(systemctl show -P ExecMainStatus thor-dns) == 2 ]]"
sleep 3
[[ $(systemctl show -P ActiveState thor-dns) == failed ]]
sed -i 's/^listne = \[\]/listen = ["127.0.0.1:53"]/' /etc/thor/thor.toml
systemctl start thor-dns

dpkg -r thor
for d in "${daemons[@]}"; do
	if systemctl is-active --quiet "$d"; then exit 1; fi
done
[[ ! -e /usr/bin/thor && -s /etc/thor/thor.toml && -s /etc/thor/pki/node.key && -d /var/lib/private/thor ]]
[[ $(dpkg-query -W -f '${db:Status-Status}' thor) == config-files ]]
say "removed: daemons stopped, configuration and state kept"
dpkg -P thor
[[ ! -e /etc/thor/thor.toml && -s /etc/thor/pki/node.key && ! -e /var/lib/private/thor ]]
say "all done"
