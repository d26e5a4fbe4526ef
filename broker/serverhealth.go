package broker

import (
	"strings"
	"syscall"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus"
)

// serverHealth is what nats-server says of itself when it is asked for metrics.
type serverHealth struct {
	in, out    flow
	memory     uint64         // bytes of JetStream
	store      uint64         // bytes of JetStream
	groups     map[string]int // Raft groups by this broker's part in them
	leaderless int
	behind     uint64 // entries decided and not applied here, of the group that is furthest behind
}

type flow struct{ messages, bytes int64 }

// raftStates are this broker's parts in a Raft group, as nats-server calls them.
var raftStates = []string{"leader", "follower", "candidate", "closed"}

func healthOf(s *server.Server) *serverHealth {
	v, err := s.Varz(nil)
	if err != nil {
		return nil
	}
	h := &serverHealth{in: flow{v.InMsgs, v.InBytes}, out: flow{v.OutMsgs, v.OutBytes}, groups: make(map[string]int)}
	if js := v.JetStream.Stats; js != nil {
		h.memory, h.store = js.Memory, js.Store
	}
	for _, account := range []string{AccountSystem, AccountMembers} {
		of := s.Raftz(&server.RaftzOptions{AccountFilter: account})
		if of == nil {
			continue
		}
		for _, groups := range *of {
			for _, g := range groups {
				h.add(&g)
			}
		}
	}
	return h
}

func (h *serverHealth) add(g *server.RaftzGroup) {
	state := strings.ToLower(g.State)
	h.groups[state]++
	if g.Leader == "" && state != "leader" {
		h.leaderless++
	}
	if g.Committed > g.Applied {
		h.behind = max(h.behind, g.Committed-g.Applied)
	}
}

// A disk is the file system of the store directory.
type disk struct{ size, free uint64 }

// diskOf is zero if the system does not say.
func diskOf(dir string) disk {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return disk{}
	}
	block := uint64(st.Bsize)
	// As df counts: what is kept back for others is neither used nor free.
	return disk{size: (st.Blocks - st.Bfree + st.Bavail) * block, free: st.Bavail * block}
}

// used is the share in use, in percent.
func (d disk) used() int {
	if d.size == 0 {
		return 0
	}
	return int(100 * (d.size - min(d.free, d.size)) / d.size)
}

// disk is that of the store directory; zero while it does not answer.
func (b *Broker) disk() disk {
	d, ok := b.disks.answer(func() disk { return diskOf(b.cfg.StoreDir) })
	if !ok {
		return disk{}
	}
	return d
}

// healthCollector asks nats-server once for each scrape.
type healthCollector struct{ b *Broker }

func brokerDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("thor_broker_"+name, help, labels, nil)
}

var (
	messagesDesc   = brokerDesc("messages_total", "Messages that came from clients and other brokers (in), and that went to them (out).", "direction")
	bytesDesc      = brokerDesc("bytes_total", "Bytes of the messages in and out.", "direction")
	memoryDesc     = brokerDesc("jetstream_memory_bytes", "Memory that JetStream's streams use.")
	storageDesc    = brokerDesc("jetstream_storage_bytes", "Disk space that JetStream's streams use.")
	groupsDesc     = brokerDesc("raft_groups", "Raft groups of JetStream that this broker is in, by its part.", "state")
	leaderlessDesc = brokerDesc("raft_leaderless_groups", "Raft groups of JetStream of which this broker knows no leader.")
	behindDesc     = brokerDesc("raft_behind_entries", "Entries that were decided and are not applied here yet, of the group that is furthest behind.")
	diskSizeDesc   = brokerDesc("store_size_bytes", "Size of the file system of the store directory.")
	diskFreeDesc   = brokerDesc("store_free_bytes", "Room left in the file system of the store directory.")
)

// Describe implements prometheus.Collector.
func (c healthCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{messagesDesc, bytesDesc, memoryDesc, storageDesc, groupsDesc, leaderlessDesc, behindDesc, diskSizeDesc, diskFreeDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. What does not answer is left out.
func (c healthCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	if d := c.b.disk(); d.size > 0 {
		gauge(diskSizeDesc, float64(d.size))
		gauge(diskFreeDesc, float64(d.free))
	}
	s := c.b.srv.Load()
	if s == nil {
		return
	}
	h, ok := c.b.healths.answer(func() *serverHealth { return healthOf(s) })
	if !ok || h == nil {
		return
	}
	for direction, t := range map[string]flow{"in": h.in, "out": h.out} {
		ch <- prometheus.MustNewConstMetric(messagesDesc, prometheus.CounterValue, float64(t.messages), direction)
		ch <- prometheus.MustNewConstMetric(bytesDesc, prometheus.CounterValue, float64(t.bytes), direction)
	}
	gauge(memoryDesc, float64(h.memory))
	gauge(storageDesc, float64(h.store))
	for _, state := range raftStates {
		gauge(groupsDesc, float64(h.groups[state]), state)
	}
	gauge(leaderlessDesc, float64(h.leaderless))
	gauge(behindDesc, float64(h.behind))
}
