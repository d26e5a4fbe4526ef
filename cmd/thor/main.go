// Command thor is the whole of thor in one program: the daemons of a network,
// the tools of its operator, and a complete network on one machine to try.
//
// Only this package imports every other. It connects them, reads flags and prints;
// what decides is in the packages below internal and in those of the components.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Args, os.Stdout, os.Stderr))
}
