package kept

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The form of an area, integers little-endian:
//
//	0    magic           8 bytes
//	8    version         4
//	12   state           4: 1 good; anything else is refused
//	16   sequence        8: of two areas the higher one is newer
//	24   length of the owner's name  4
//	32   the owner's name
//	252  checksum of the above without state  4
//	256  records
//
// A record is length 4, checksum of the payload 4, payload, and zeroes up to a
// multiple of 8. A length of 0 ends the log. A payload is its kind, 1 byte, and a
// profile as JSON, or a key.
const (
	version    = 1
	headerSize = 256
	maxOwner   = 200
	recordHead = 8
	maxSize    = 1 << 30
	maxPayload = 1 << 20
	good       = 1
	seals      = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
)

var (
	magic  = []byte("thorkept")
	tables = crc32.MakeTable(crc32.Castagnoli)
	order  = binary.LittleEndian
)

var errFull = errors.New("the log is full")

// An area is one memory file.
type area struct {
	file *os.File
	mem  []byte
	tail int // where the next record goes
	seq  uint64
}

// newArea makes an empty one of a size.
func newArea(owner string, seq uint64, size int) (*area, error) {
	if len(owner) > maxOwner {
		return nil, errors.New("the owner's name is too long")
	}
	fd, err := unix.MemfdCreate("thor-subscribers", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	a := &area{file: os.NewFile(uintptr(fd), "thor-subscribers"), tail: headerSize, seq: seq}
	size = min(max(size, 64<<10), maxSize) &^ 7
	err = unix.Ftruncate(fd, int64(size))
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	}
	if err == nil {
		a.mem, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err != nil {
		_ = a.file.Close()
		return nil, fmt.Errorf("make the memory file: %w", err)
	}
	copy(a.mem, magic)
	order.PutUint32(a.mem[8:], version)
	order.PutUint32(a.mem[12:], good)
	order.PutUint64(a.mem[16:], seq)
	order.PutUint32(a.mem[24:], uint32(len(owner)))
	copy(a.mem[32:], owner)
	order.PutUint32(a.mem[252:], headerSum(a.mem))
	return a, nil
}

func headerSum(mem []byte) uint32 {
	return crc32.Update(crc32.Checksum(mem[:12], tables), tables, mem[16:252])
}

// openArea takes over one that an earlier process wrote, to go on in it. It calls
// each with every payload, once all are known to be whole.
func openArea(f *os.File, owner string, each func(payload []byte) error) (_ *area, err error) {
	got, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	if err != nil || got&seals != seals {
		return nil, fmt.Errorf("not a sealed memory file (%#x): %w", got, errors.Join(err, os.ErrInvalid))
	}
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if fi.Size() < headerSize || fi.Size() > maxSize || fi.Size()%8 != 0 {
		return nil, fmt.Errorf("a size of %d bytes", fi.Size())
	}
	a := &area{file: f}
	if a.mem, err = unix.Mmap(int(f.Fd()), 0, int(fi.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	defer func() {
		if err != nil {
			_ = unix.Munmap(a.mem)
		}
	}()
	switch n := int(order.Uint32(a.mem[24:])); {
	case !bytes.Equal(a.mem[:8], magic) || order.Uint32(a.mem[252:]) != headerSum(a.mem):
		return nil, errors.New("no log, or its head is damaged")
	case order.Uint32(a.mem[8:]) != version:
		return nil, fmt.Errorf("version %d", order.Uint32(a.mem[8:]))
	case n > maxOwner || string(a.mem[32:32+n]) != owner:
		return nil, errors.New("the log of another owner")
	case order.Uint32(a.mem[12:]) != good:
		return nil, errors.New("given up by its process")
	}
	a.seq = order.Uint64(a.mem[16:])
	if a.tail, err = scan(a.mem, func([]byte) error { return nil }); err != nil {
		return nil, err
	}
	_, err = scan(a.mem, each)
	return a, err
}

// scan calls each with the payloads, and returns where they end.
func scan(mem []byte, each func([]byte) error) (int, error) {
	at := headerSize
	for at+recordHead <= len(mem) {
		n := int(order.Uint32(mem[at:]))
		if n == 0 {
			break
		}
		if n > maxPayload || at+recordHead+n > len(mem) {
			return 0, fmt.Errorf("damaged at %d: a record of %d bytes", at, n)
		}
		payload := mem[at+recordHead : at+recordHead+n]
		if crc32.Checksum(payload, tables) != order.Uint32(mem[at+4:]) {
			return 0, fmt.Errorf("damaged at %d: wrong checksum", at)
		}
		if err := each(payload); err != nil {
			return 0, fmt.Errorf("at %d: %w", at, err)
		}
		at += recordSize(n)
	}
	return at, nil
}

func recordSize(payload int) int { return (recordHead + payload + 7) &^ 7 }

// append adds a record. Its length is written last, in one store: a process that
// dies before has written nothing.
func (a *area) append(kind byte, data []byte) error {
	n := 1 + len(data)
	size := recordSize(n)
	switch {
	case n > maxPayload:
		return fmt.Errorf("a record of %d bytes", n)
	case a.tail+size+recordHead > len(a.mem):
		return errFull
	}
	r := a.mem[a.tail:]
	r[recordHead] = kind
	copy(r[recordHead+1:], data)
	order.PutUint32(r[4:], crc32.Checksum(r[recordHead:recordHead+n], tables))
	order.PutUint32(r[size:], 0) // one that was cut short may have left something there
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&r[0])), uint32(n))
	a.tail += size
	return nil
}

// giveUp has it refused from now on, and lets go of it.
func (a *area) giveUp() {
	order.PutUint32(a.mem[12:], 0)
	_ = unix.Munmap(a.mem)
	_ = a.file.Close()
	a.mem = nil
}

// unmap lets go of the memory and leaves the file as it is.
func (a *area) unmap() {
	_ = unix.Munmap(a.mem)
	a.mem = nil
}
