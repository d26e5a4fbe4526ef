package membership_test

import (
	"fmt"
	"os"
	"testing"
)

func TestDbg(t *testing.T) {
	if os.Getenv("DBG") == "" {
		t.Skip()
	}
	var seed uint64
	fmt.Sscan(os.Getenv("DBG"), &seed)
	dbg = os.Getenv("NODE")
	w := chaos(seed)
	for _, b := range w.broken {
		t.Error(b)
	}
}
