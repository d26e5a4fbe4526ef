package broker

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"

	"thor/overlay/setting"
)

// What a broker needs of memory, from measurements of docs/adr/0016.
const (
	baseMemory       = 128 << 20 // nats-server with an idle cluster, and room for what waits for slow clients
	connectionMemory = 128 << 10 // one client with TLS
	compressedMemory = 60 << 20  // another broker, with CompressRoutes (ADR 65)
	mostConnections  = 20_000
)

// connectionsFit is how many clients have room in the memory that the process may use, with
// defaults filled in.
func (c *Config) connectionsFit() int {
	if c.ProcessMemory == 0 { // no limit
		return mostConnections
	}
	left := c.ProcessMemory - c.MemoryLimit - baseMemory
	if c.CompressRoutes {
		left -= compressedMemory * int64(len(c.Routes)) // this broker's own may be among them
	}
	return int(max(0, min(mostConnections, left/connectionMemory)))
}

// processMemory is the memory limit of this process in bytes, 0 for none.
func processMemory() int64 {
	limit := debug.SetMemoryLimit(-1)
	for _, dir := range controlGroups() {
		data, err := os.ReadFile(filepath.Join(dir, "memory.max"))
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64); err == nil && n > 0 {
			limit = min(limit, n)
		}
	}
	if limit == math.MaxInt64 {
		return 0
	}
	return limit
}

// controlGroups are the directories of the process's control group (version 2)
// and those above it, each of which may limit memory.
func controlGroups() []string {
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	const root = "/sys/fs/cgroup"
	for line := range strings.Lines(string(data)) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		var dirs []string
		for dir := filepath.Join(root, path); strings.HasPrefix(dir, root); dir = filepath.Dir(dir) {
			dirs = append(dirs, dir)
		}
		return dirs
	}
	return nil
}

// checkLimits returns what contradicts itself in limits that are filled in.
func (c *Config) checkLimits() (ps []setting.Problem) {
	bad := func(key, format string, args ...any) {
		ps = append(ps, setting.Problem{Key: key, Text: fmt.Sprintf(format, args...)})
	}
	if c.ProcessMemory > 0 {
		if fit := c.connectionsFit(); fit == 0 {
			bad("limits.memory", "%d MiB of memory leave no room for clients beside %d MiB for JetStream", c.ProcessMemory>>20, c.MemoryLimit>>20)
		} else if c.MaxConnections > fit {
			bad("limits.max_connections", "%d connections do not fit in %d MiB of memory: %d do", c.MaxConnections, c.ProcessMemory>>20, fit)
		}
	}
	if c.MaxPending > 0 && c.MaxPending < 2*maxPayload {
		bad("limits.max_pending", "%d bytes pending are less than two of the largest messages (%d bytes)", c.MaxPending, 2*maxPayload)
	}
	return ps
}

// frontLimits are those of the client port.
func (c *Config) frontLimits() frontLimits {
	return frontLimits{
		clients: c.MaxConnections, waiting: c.Unauthenticated, bySource: c.UnauthenticatedBySource,
		handshakes: c.Handshakes, descriptor: descriptors(),
	}
}
