#!/bin/sh
# renew DIR: give a running daemon the certificate that lies in /etc/thor/pki
# now. DIR is its runtime directory and belongs to its user. Root only reads
# here; what writes in DIR is that user, who could have put a link there.
set -eu
dir=$1
uid=$(stat -c %u "$dir")
gid=$(stat -c %g "$dir")
umask 077
for f in node.key node.crt ca.crt; do
	# shellcheck disable=SC2016 # the inner shell expands it
	setpriv --reuid="$uid" --regid="$gid" --clear-groups --no-new-privs \
		sh -eu -c 'umask 077; cat >"$1.new"; mv -f "$1.new" "$1"' renew "$dir/$f" <"/etc/thor/pki/$f"
done
