// Command thor is the whole of thor in one program: the daemons of a network,
// the tools of its operator, and a complete network on one machine to try.
//
// Only this package sees every other; it wires them and decides nothing.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Args, os.Stdout, os.Stderr))
}
