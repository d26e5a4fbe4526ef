package main

import (
	"fmt"
	"os"
	"testing"
)

func TestSamplingOfNATSServerCanBeEnded(t *testing.T) {
	if want := fmt.Sprintf("/proc/%d/stat", os.Getpid()); processFile != want {
		t.Errorf("nats-server samples %q, want %q: what endSampling writes is another variable", processFile, want)
	}
}
