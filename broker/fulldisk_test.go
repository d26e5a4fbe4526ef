package broker_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"thor/broker"
	"thor/broker/brokertest"
)

// smallDisk is a file system of so many MiB. It needs root.
func smallDisk(t *testing.T, mib int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mib)); err != nil {
		t.Skipf("no file system of its own: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill leaves no room on a disk, until the returned function is called.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 64<<10); ; {
		if _, err = f.Write(block); err != nil {
			break
		}
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	_ = f.Close()
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

// A broker whose disk is full starts without JetStream, carries messages, and has
// JetStream when there is room again, also where it had its store before.
func TestABrokerStartsOnAFullDisk(t *testing.T) {
	for _, name := range []string{"alone, a new store", "one of three, restarted"} {
		t.Run(name, func(t *testing.T) {
			dir := smallDisk(t, 64)
			var n *brokertest.Net
			var b *brokertest.Server
			if name == "one of three, restarted" {
				n = brokertest.Cluster(t, 3)
				b = n.Brokers[2]
				b.Stop()
				if err := os.CopyFS(filepath.Join(dir, "store"), os.DirFS(b.Config.StoreDir)); err != nil {
					t.Fatal(err)
				}
			} else {
				n = brokertest.New(t)
				b = n.Prepare("b1")
			}
			b.Config.StoreDir = filepath.Join(dir, "store")
			if err := os.MkdirAll(b.Config.StoreDir, 0o700); err != nil {
				t.Fatal(err)
			}
			free := fill(t, dir)
			b.Start()
			if s := b.JetStream(); s != broker.JetStreamOff {
				t.Errorf("JetStream is %s on a full disk", s)
			}
			nc := b.Dial(n.Options("n1", "sip_proxy")...)
			flush(t, nc)
			free()
			brokertest.Eventually(t, soon, "JetStream is back", func() error {
				if s := b.JetStream(); s != broker.JetStreamOK {
					return errors.New(string(s))
				}
				return nil
			})
			n.AwaitJetStream(len(n.Brokers))
			if !nc.IsConnected() {
				t.Error("the client was disconnected")
			}
			if _, err := os.Stat(filepath.Join(b.Config.StoreDir, "jetstream")); err != nil {
				t.Error(err)
			}
		})
	}
}
