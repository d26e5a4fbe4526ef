// Package pages gives back memory that a program needed only to start.
//
// All daemons are one program of some 40 MB, most of which a single daemon never runs. While it starts, initialisers of all
// its packages touch pages all over the file, and the kernel maps 15 neighbours with each (fault-around): about 20 MiB of
// resident memory of which a daemon at work needs less than half.
package pages

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// Release gives back the resident pages of the program's own code and constants. They stay in the kernel's cache of the
// file; those that the program goes on to use are mapped again when it touches them, in microseconds and without reading
// the disk. It changes nothing that a program can observe but its resident memory (proc(5): RssFile), and is safe at any time.
func Release() error {
	path, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	for _, r := range ofProgram(f, path) {
		// MADV_DONTNEED drops what a private mapping has of its own: only mappings without such pages come here.
		if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, r.from, r.to-r.from, syscall.MADV_DONTNEED); errno != 0 {
			err = errors.Join(err, fmt.Errorf("madvise %x-%x: %w", r.from, r.to, errno))
		}
	}
	return err
}

// extent is a range of addresses.
type extent struct{ from, to uintptr }

// ofProgram finds the mappings of path in smaps (proc(5)) that cannot be written, and of which no page was: an initialiser
// or the loader may write to pages before they are protected (RELRO). Such a page is in memory (Anonymous) or was swapped
// out since (Swap).
func ofProgram(smaps io.Reader, path string) (out []extent) {
	var now extent // the mapping whose lines are read, empty for one that does not count
	for lines := bufio.NewScanner(smaps); lines.Scan(); {
		line := lines.Text()
		if own, ok := strings.CutPrefix(line, "Anonymous:"); ok {
			if strings.TrimSpace(own) != "0 kB" {
				now = extent{}
			}
			continue
		}
		if own, ok := strings.CutPrefix(line, "Swap:"); ok { // which follows Anonymous
			if strings.TrimSpace(own) == "0 kB" && now != (extent{}) {
				out = append(out, now)
			}
			now = extent{}
			continue
		}
		var r extent
		var perms, offset, device string
		var inode uint64
		if _, err := fmt.Sscanf(line, "%x-%x %s %s %s %d", &r.from, &r.to, &perms, &offset, &device, &inode); err != nil {
			continue
		}
		now = extent{}
		if strings.HasSuffix(line, " "+path) && strings.HasPrefix(perms, "r-") && strings.HasSuffix(perms, "p") {
			now = r
		}
	}
	return out
}
