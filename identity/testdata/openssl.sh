#!/bin/sh
# Certificates for thor with nothing but openssl (made and tested with openssl 3.0).
#
#   sh openssl.sh [DIR]
#
# makes in DIR (default: here) an authority for example.net, a certificate for
# the node gw1 with the roles sip_proxy and media_relay at 192.0.2.10, and one
# for the broker ev1; then it revokes a third node, gw2. Nodes need ca.crt and
# their own .crt and .key; brokers need crl.pem too. ca.key stays at home.
set -eu
umask 077 # keys are for their owner only: thor refuses others
cd "${1:-.}"

# A configuration of our own, since the system's adds extensions to what we ask for.
cat > openssl.cnf <<'CNF'
[req]
distinguished_name = dn
prompt             = no
[dn]
[authority]
basicConstraints     = critical,CA:TRUE,pathlen:0
keyUsage             = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[ca]
default_ca = thor
[thor]
database         = index.txt
crlnumber        = crlnumber
default_md       = sha256
default_crl_days = 30
CNF

# 1. The authority: once.
openssl req -x509 -config openssl.cnf -extensions authority -days 3650 \
  -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt \
  -subj "/O=example.net/CN=example.net authority"

# 2. A certificate: for each node. O is the domain; each role is an OU of its own
#    ("/OU=a/OU=b", never "/OU=a+OU=b"). The one URI names domain and node. The
#    IP addresses are those that the node may announce. A weight above 100, or a
#    database's priority below 10, needs an OU of its own: "OU=ROLE:weight:N",
#    "OU=ROLE:priority:N".
#    node NAME SUBJECT NAMES USE
node() {
  openssl req -new -config openssl.cnf -subj "$2" \
    -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.csr"
  cat > "$1.ext" <<EXT
basicConstraints       = critical,CA:FALSE
keyUsage               = critical,digitalSignature
extendedKeyUsage       = $4
subjectAltName         = URI:spiffe://example.net/node/$1,$3
authorityKeyIdentifier = keyid
EXT
  openssl x509 -req -in "$1.csr" -extfile "$1.ext" -days 30 -sha256 \
    -CA ca.crt -CAkey ca.key -CAcreateserial -out "$1.crt"
}
node gw1 "/O=example.net/OU=sip_proxy/OU=sip_proxy:weight:200/OU=media_relay/CN=gw1" "IP:192.0.2.10" clientAuth
node gw2 "/O=example.net/OU=sip_proxy/CN=gw2" "IP:192.0.2.11" clientAuth
#    A broker is called by others: it needs serverAuth too, and its host names.
node ev1 "/O=example.net/OU=thor_eventserver/CN=ev1" "DNS:ev1.example.net,IP:192.0.2.1" clientAuth,serverAuth

# 3. A revocation. The list needs a number that rises, so keep crlnumber.
[ -e index.txt ] || : > index.txt
[ -e crlnumber ] || echo 01 > crlnumber
openssl ca -config openssl.cnf -cert ca.crt -keyfile ca.key -revoke gw2.crt
openssl ca -config openssl.cnf -cert ca.crt -keyfile ca.key -gencrl -out crl.pem
