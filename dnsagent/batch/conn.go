// Package batch reads and writes the packets of a UDP socket many at a time
// (recvmmsg, sendmmsg). What the kernel does for one packet costs more than
// answering a DNS query, and a call for each packet would add to it. Nothing is
// allocated for a packet.
//
// golang.org/x/net has the same calls, but allocates an address for every packet
// that is read.
//
// The calls never block, so the runtime is not told of them: it would take the
// goroutine's processor away during a longer one, and give it back. With the
// calls that tell it (unix.Syscall6), a packet cost nearly twice the CPU time when
// the server was busy, and five times when packets came one by one.
//
// # What it is not
//
// It does not know what packets hold. It opens and closes no socket.
package batch

import (
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Max is how many packets are read at once.
const Max = 32

// header is struct mmsghdr of recvmmsg(2).
type header struct {
	msg unix.Msghdr
	len uint32
}

// controlSize is room for the control message that says to which address a packet was sent.
const controlSize = 64

// A Conn is a socket with room for Max packets and a reply to each. It is of one
// goroutine.
type Conn struct {
	raw syscall.RawConn

	in, out     [Max]header
	read, write [Max]unix.Iovec
	from        [Max]unix.RawSockaddrInet6 // has room for both families
	control     [Max][controlSize]byte
	packets     []byte
	replies     []byte
	inSize      int
	outSize     int
	n           int // packets of the last Receive
	queued      int // replies since

	receive, send func(fd uintptr) bool // for raw; made once
	errno         syscall.Errno
	failed        int
}

// New is for packets of at most in bytes, longer ones are cut, and replies of at
// most out. If the socket is bound to no single address, its packets must come with
// IP_PKTINFO or IPV6_RECVPKTINFO: replies then leave from the address that was asked.
func New(conn *net.UDPConn, in, out int) (*Conn, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &Conn{raw: raw, packets: make([]byte, Max*in), replies: make([]byte, Max*out), inSize: in, outSize: out}
	for i := range Max {
		c.read[i] = unix.Iovec{Base: &c.packets[i*in]}
		c.read[i].SetLen(in)
		m := &c.in[i].msg
		m.Name, m.Iov, m.Control = (*byte)(unsafe.Pointer(&c.from[i])), &c.read[i], &c.control[i][0]
		m.SetIovlen(1)
	}
	c.receive, c.send = c.recvmmsg, c.sendmmsg
	return c, nil
}

// Receive waits for packets and returns how many there are. It ends with the
// socket's read deadline.
func (c *Conn) Receive() (int, error) {
	c.n, c.queued, c.errno = 0, 0, 0
	for i := range c.in {
		m := &c.in[i].msg
		m.Namelen = unix.SizeofSockaddrInet6
		m.SetControllen(controlSize)
	}
	if err := c.raw.Read(c.receive); err != nil {
		return 0, err
	}
	if c.errno != 0 {
		return 0, c.errno
	}
	return c.n, nil
}

func (c *Conn) recvmmsg(fd uintptr) bool {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&c.in)), Max, unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			c.n = int(n)
			return true
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			c.errno = errno
			return true
		}
	}
}

// Packet is packet i of the last Receive.
func (c *Conn) Packet(i int) []byte {
	return c.packets[i*c.inSize:][:min(int(c.in[i].len), c.inSize)]
}

// From is where packet i came from, invalid if that is no IP address.
func (c *Conn) From(i int) netip.Addr {
	a := &c.from[i]
	switch a.Family {
	case unix.AF_INET:
		return netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(a)).Addr)
	case unix.AF_INET6:
		return netip.AddrFrom16(a.Addr).Unmap()
	}
	return netip.Addr{}
}

// Room is where the next reply is to be written.
func (c *Conn) Room() []byte {
	return c.replies[c.queued*c.outSize:][:c.outSize]
}

// Reply queues the first n bytes of Room as the reply to packet i.
func (c *Conn) Reply(i, n int) {
	k := c.queued
	c.write[k] = unix.Iovec{Base: &c.replies[k*c.outSize]}
	c.write[k].SetLen(n)
	from, m := &c.in[i].msg, &c.out[k].msg
	m.Name, m.Namelen, m.Iov = from.Name, from.Namelen, &c.write[k]
	m.SetIovlen(1)
	m.Control = nil
	m.SetControllen(0)
	if size := int(from.Controllen); size > 0 && leaveFrom(c.control[i][:size]) {
		m.Control = from.Control
		m.SetControllen(size)
	}
	c.queued++
}

// leaveFrom turns the control message that says where a packet arrived into the
// one that says from where the reply leaves: the route is left open.
func leaveFrom(b []byte) bool {
	if len(b) < unix.SizeofCmsghdr {
		return false
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	data := b[unix.CmsgLen(0):]
	switch {
	case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
		binary.NativeEndian.PutUint32(data, 0) // index of the interface; what follows is the address that was asked
	case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
		binary.NativeEndian.PutUint32(data[16:], 0)
	default:
		return false
	}
	return true
}

// Send sends the queued replies and returns how many could not be sent.
func (c *Conn) Send() (failed int) {
	c.failed = 0
	if c.queued == 0 {
		return 0
	}
	if err := c.raw.Write(c.send); err != nil {
		return c.queued
	}
	return c.failed
}

// sendmmsg sends all that can be sent at once. A full send buffer is a failure like
// others: who waited for one client's link would keep all others waiting.
func (c *Conn) sendmmsg(fd uintptr) bool {
	for at := 0; at < c.queued; {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&c.out[at])), uintptr(c.queued-at), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			at += int(n)
		case unix.EINTR:
		default: // of the first that is left
			c.failed++
			at++
		}
	}
	return true
}
