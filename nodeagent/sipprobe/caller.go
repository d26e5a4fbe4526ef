package sipprobe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"thor/nodeagent/datagram"
)

const (
	// repeatMost is the longest time between two sendings of a request, T2 of RFC 3261.
	repeatMost = 4 * time.Second
	// endWithin is how long a call may take to end after its probe, 64 times T1.
	endWithin = 32 * time.Second
	// sendWithin is how long the other end of a stream may leave what is sent unread.
	sendWithin = time.Second
	// quietFor is how long the socket of a call that is over answers what comes again, T4.
	quietFor = 5 * time.Second
	// closeWithin is how long Close waits for calls that are still to be ended.
	closeWithin = 500 * time.Millisecond
	// maxEnding is how many calls may be ending at once.
	maxEnding = 16
)

// Call places a test call, which must ring (180, or 183) or be answered within the
// timeout. It is cancelled then, or ended if it was answered. What remains to be done
// when the verdict is known goes on beside the following probes.
type Call struct {
	*peer
	config  call // what all calls share
	life    context.Context
	end     context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex
	ending []context.CancelFunc // of calls whose probe has ended; the oldest first
}

// NewCall makes a probe.
func NewCall(c Config) (*Call, error) {
	p, err := newPeer(&c)
	if err != nil {
		return nil, err
	}
	caller, err := ParseAccount(c.Account)
	if err != nil {
		return nil, fmt.Errorf("account %w", err)
	}
	callee, err := ParseAccount(c.Callee)
	if err != nil {
		return nil, fmt.Errorf("callee %w", err)
	}
	x := &Call{peer: p, config: call{accepts: c.Accepts, account: newAccount(&c, caller), caller: caller, callee: callee, transport: c.Transport}}
	if x.config.accepts == nil {
		x.config.accepts = reached
	}
	x.life, x.end = context.WithCancel(context.Background())
	return x, nil
}

// Name says what is asked of which service.
func (x *Call) Name() string { return x.name("call") }

// Close ends what is left of the calls.
func (x *Call) Close() {
	x.end()
	x.running.Wait()
	x.peer.Close()
}

// Probe implements check.Prober.
func (x *Call) Probe(ctx context.Context) error {
	l, err := x.connect(ctx)
	if err != nil {
		return err
	}
	c := x.config
	c.local = l.local()
	life, stop := context.WithCancel(x.life)
	verdict := make(chan error, 1)
	x.running.Go(func() {
		defer stop()
		(&dialler{call: &c, link: l, verdict: verdict}).run(ctx, life)
	})
	err = <-verdict
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ending = append(x.ending, stop); len(x.ending) > maxEnding {
		x.ending[0]()
		x.ending = x.ending[1:]
	}
	return err
}

// A dialler runs one call.
type dialler struct {
	call    *call
	link    *link
	verdict chan<- error
	told    bool
}

// run places the call and ends it. The verdict is told as soon as it is known, and before
// the end of ctx; what follows ends soon after life.
func (d *dialler) run(ctx, life context.Context) {
	messages := make(chan sip.Message)
	broken := make(chan error, 1)
	gone := make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() { broken <- d.receive(messages, gone) })
	defer reading.Wait()
	defer func() { close(gone); _ = d.link.conn.Close() }() // nothing is wanted any more
	if err := d.send(d.call.begin()); err != nil {
		d.tell(err)
		return
	}
	pause := datagram.RetransmitAfter
	again, over := time.NewTimer(pause), time.NewTimer(endWithin)
	over.Stop() // it runs from the verdict on, which ctx bounds
	defer again.Stop()
	defer over.Stop()
	ringing, closing := ctx.Done(), life.Done()
	quiet := false
	for {
		wanted := d.call.wanted
		var out [][]byte
		select {
		case m := <-messages:
			out = d.call.receive(m)
		case err := <-broken:
			d.tell(err)
			return
		case <-again.C:
			pause = min(2*pause, repeatMost)
			if d.link.in == nil && d.call.wanted != nil {
				out = [][]byte{d.call.wanted}
			}
			again.Reset(pause)
		case <-ringing:
			ringing = nil
			out = d.call.expire()
		case <-closing:
			closing = nil
			out = d.call.expire() // Close waits for no verdict
			over.Reset(closeWithin)
		case <-over.C:
			return
		}
		if d.call.decided && !d.told {
			d.tell(d.call.verdict)
			if closing != nil {
				over.Reset(endWithin)
			}
		}
		if err := d.send(out...); err != nil {
			d.tell(err)
			return
		}
		if len(d.call.wanted) > 0 && (len(wanted) == 0 || &wanted[0] != &d.call.wanted[0]) {
			pause = datagram.RetransmitAfter
			again.Reset(pause)
		}
		switch {
		case d.told && (d.call.over && (d.link.in != nil || closing == nil) || closing == nil && !d.call.heard):
			return
		case d.told && d.call.over && !quiet:
			quiet = true
			over.Reset(quietFor)
		}
	}
}

// receive hands over what comes until the link ends, or gone is closed.
func (d *dialler) receive(messages chan<- sip.Message, gone <-chan struct{}) error {
	for {
		m, err := d.link.read()
		if errors.Is(err, errStrange) {
			m, err = sip.NewRequest("", sip.Uri{}), nil // what is no SIP belongs to no call
		}
		if err != nil {
			return err
		}
		select {
		case messages <- m:
		case <-gone:
			return io.EOF
		}
	}
}

func (d *dialler) send(requests ...[]byte) error {
	for _, b := range requests {
		if err := d.link.conn.SetWriteDeadline(time.Now().Add(sendWithin)); err != nil {
			return err
		}
		if _, err := d.link.conn.Write(b); err != nil {
			return err
		}
	}
	return nil
}

func (d *dialler) tell(err error) {
	if !d.told {
		d.told = true
		d.verdict <- err
	}
}
