package broker

import (
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A recordedConn notes what is written to it, and when.
type recordedConn struct {
	net.Conn
	began time.Time

	mu     sync.Mutex
	writes []string
	at     []time.Duration
	fail   error
}

func (c *recordedConn) SetWriteDeadline(time.Time) error { return nil }

func (c *recordedConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		return 0, c.fail
	}
	c.writes = append(c.writes, string(b))
	c.at = append(c.at, time.Since(c.began))
	return len(b), nil
}

func TestLoneWritesToManagersDoNotWaitAndBurstsShareOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &recordedConn{began: time.Now()}
		w := newBatchWriter(c)
		for range 100 { // a beat each millisecond
			if _, err := w.write([]byte("b")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		if _, err := w.write([]byte("end")); err != nil {
			t.Fatal(err)
		}
		if n := len(c.writes); n > 8 {
			t.Errorf("%d writes, want one each %v", n, batchApart)
		}
		if got := strings.Join(c.writes, ""); got != strings.Repeat("b", 100)+"end" {
			t.Errorf("wrote %q", got)
		}
		if c.writes[0] != "b" || c.at[0] != 0 {
			t.Errorf("the first write came after %v", c.at[0])
		}
		if last := len(c.writes) - 1; c.writes[last] != "end" {
			t.Errorf("the lone write %q was held", c.writes[last])
		}
		for i := 1; i < len(c.at); i++ {
			if c.at[i]-c.at[i-1] < batchApart {
				t.Errorf("write %d came %v after the one before", i, c.at[i]-c.at[i-1])
			}
		}
	})
}

func TestManyBytesForManagersDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &recordedConn{began: time.Now()}
		w := newBatchWriter(c)
		big := strings.Repeat("x", batchMost/2)
		for range 4 {
			if _, err := w.write([]byte(big)); err != nil {
				t.Fatal(err)
			}
		}
		if len(c.writes) != 2 || len(c.writes[1]) != batchMost {
			t.Fatalf("%d writes at once, want the first and a full batch", len(c.writes))
		}
		w.close()
		if len(c.writes) != 3 {
			t.Errorf("%d writes after the end, want what was held too", len(c.writes))
		}
		synctest.Wait()
	})
}

func TestLateWriteThatFailsFailsTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &recordedConn{began: time.Now()}
		w := newBatchWriter(c)
		for range 2 {
			if _, err := w.write([]byte("b")); err != nil {
				t.Fatal(err)
			}
		}
		c.mu.Lock()
		c.fail = os.ErrDeadlineExceeded
		c.mu.Unlock()
		time.Sleep(time.Second)
		if _, err := w.write([]byte("b")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("error %v, want that of the write before", err)
		}
	})
}
