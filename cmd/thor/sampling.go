package main

import (
	_ "unsafe" // for go:linkname
)

// The package of nats-server that reports the use of the processor reads /proc each
// second from the start of any program that links it, which is an eighth of what
// an agent at rest costs. It ends when there is no such file. Brokers keep it:
// operators ask them.
//
//go:linkname processFile github.com/nats-io/nats-server/v2/server/pse.procStatFile
var processFile string

// endSampling ends that. It is called before the first second is over.
func endSampling() { processFile = "" }
