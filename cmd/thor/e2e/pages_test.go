//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thor/cmd/thor/internal/docblocks"
)

// The commands of README and docs/operate.md that are for a running network are run in
// one, in the order of the pages: a network and a /tmp of its own, thor in the current
// directory and in the path. After each block what was stopped is started again.
func TestCommandsOfThePagesRun(t *testing.T) {
	need(t, "unshare", "util-linux")
	need(t, "dig", "bind9-dnsutils")
	need(t, "jq", "jq")
	need(t, "kamailio", "kamailio") // thor drain --wait counts its calls
	need(t, "nft", "nftables")
	needRoot(t, "namespaces")
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := docblocks.Of(root, docblocks.Up)
	if err != nil {
		t.Fatal(err)
	}
	var first, last []docblocks.Block
	for _, b := range blocks {
		if b.Has("last") {
			last = append(last, b)
		} else {
			first = append(first, b)
		}
	}
	if len(first) < 5 || len(last) < 1 {
		t.Fatalf("%d blocks, %d that come last", len(first), len(last))
	}
	var s strings.Builder
	s.WriteString(pagesPrelude)
	for _, b := range append(first, last...) {
		fmt.Fprintf(&s, "began '%s:%d'\n", b.Page, b.Line)
		fmt.Fprintf(&s, "cat >/mnt/block.sh <<'END-OF-BLOCK'\n%sEND-OF-BLOCK\nbash -euo pipefail /mnt/block.sh\n", b.Text)
		if !b.Has("last") {
			s.WriteString("mend\n")
		}
	}
	s.WriteString("echo all blocks ran\n")
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "bash", "-euo", "pipefail", "-s")
	cmd.Stdin = strings.NewReader(s.String())
	cmd.Env = append(os.Environ(), "THOR_PROGRAM="+thor, "NATS_PROGRAM="+filepath.Join(goBin(t), "nats"))
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	t.Logf("\n%s", lastOf(out.String(), 250))
	if err != nil || !strings.Contains(out.String(), "all blocks ran") {
		t.Errorf("not all blocks ran: %v", err)
	}
}

func goBin(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOPATH").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "bin")
}

func lastOf(s string, lines int) string {
	l := strings.Split(s, "\n")
	return strings.Join(l[max(0, len(l)-lines):], "\n")
}

// pagesPrelude makes the network in which the blocks run.
const pagesPrelude = `
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /mnt
cp "$THOR_PROGRAM" /mnt/thor
cp "$NATS_PROGRAM" /mnt/nats
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs tmpfs /run
cd /mnt
export HOME=/mnt PATH=/mnt:$PATH TERM=dumb XDG_CONFIG_HOME=/mnt/config
unset THOR_DIR THOR_BROKERS THOR_CERT THOR_KEY THOR_CA THOR_CONFIG
ip link set lo up
# The pages ask a node at its usual addresses; those of thor up have each an address of their own.
nft -f - <<'NFT'
table ip pages {
	chain out {
		type nat hook output priority -100
		ip daddr 127.0.0.1 tcp dport { 9500, 9501 } dnat to 127.83.20.1
	}
}
NFT
mkdir /run/thor
ln -s "/tmp/thor-up-$(id -u)/node1/node.sock" /run/thor/node.sock
thor up --restart-after 0 >/mnt/up.log 2>&1 &
until grep -q '^ready' /mnt/up.log; do
	kill -0 $! || { cat /mnt/up.log; exit 1; }
	sleep 0.1
done
export THOR_DIR=/tmp/thor-up-$(id -u)
thor context >/dev/null
thor wait healthy --timeout 60s 2>/dev/null
began() { echo "== $1"; }
mend() {
	jq -r '.processes[].name' "$THOR_DIR/network.json" | xargs thor up start >/dev/null
	thor wait healthy --timeout 60s
}
`
