package overlay_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/nats-io/nats.go"

	"thor/broker/brokertest"
	"thor/identity"
	"thor/overlay"
	"thor/subjects"
)

// A new role: a fax server joins the network, answers a question, and sees what
// everybody sees.
func Example() {
	files, brokers, end := testNetwork() // PEM files from "thor ca issue", "tls://HOST:PORT"…
	defer end()

	credentials, err := identity.Load(files)
	if err != nil {
		panic(err)
	}
	node, err := overlay.New(overlay.Config{Credentials: credentials, Brokers: brokers})
	if err != nil {
		panic(err)
	}
	if _, err := node.Join(overlay.Member{Role: "fax_server", Attrs: subjects.Attrs{"lines": "30"}}); err != nil {
		panic(err)
	}
	node.Handle("fax_server", "pages", func(context.Context, *overlay.Request) *subjects.Reply {
		return &subjects.Reply{Text: "12 pages in the tray"}
	})
	ctx, stop := context.WithCancel(context.Background())
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for view := range node.Watch(ctx) {
			if m := view.Status.Member("fax_server", node.ID()); m != nil {
				fmt.Println(m.Node, "is", m.State, "with", m.Attrs["lines"], "lines")
				stop() // Run leaves and returns
			}
		}
	}()
	fmt.Println("ended with", node.Run(ctx))
	<-watched
	// Unordered output:
	// fax1 is up with 30 lines
	// ended with <nil>
}

// testNetwork is a broker and what passes for a manager, for the Example.
func testNetwork() (files identity.Files, brokers []string, end func()) {
	t := &exampleT{}
	net := brokertest.Start(t)
	nc := net.Dial("m1", subjects.Manager)
	f := newManager(t, nc)
	_, err := nc.Subscribe(subjects.Presence("fax_server", "fax1"), func(m *nats.Msg) {
		a, err := subjects.ParseAnnouncement(m.Subject, m.Data)
		if err != nil || a.State != subjects.Up {
			return
		}
		_, d := f.change(func(s *subjects.Status) {
			s.Put(a.Role, subjects.Member{Node: a.Node, Addresses: a.Addresses, State: a.State, Weight: 100, Since: t0, Attrs: a.Attrs})
		})
		f.delta(d)
	})
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return net.Files("fax1", "fax_server"), net.URLs(), t.end
}

// exampleT is as much of a testing.TB as an Example, which has none, needs.
type exampleT struct {
	testing.TB
	cleanups []func()
}

func (*exampleT) Helper()                      {}
func (*exampleT) Log(...any)                   {}
func (*exampleT) Logf(string, ...any)          {}
func (*exampleT) Errorf(f string, args ...any) { fmt.Printf(f+"\n", args...) }
func (*exampleT) Fatal(args ...any)            { panic(fmt.Sprint(args...)) }
func (*exampleT) Fatalf(f string, a ...any)    { panic(fmt.Sprintf(f, a...)) }

func (t *exampleT) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

func (t *exampleT) TempDir() string {
	dir, err := os.MkdirTemp("", "thor-example")
	if err != nil {
		panic(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (t *exampleT) end() {
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
}
