package pages

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestPagesOfTheProgramAreGivenBack(t *testing.T) {
	before := resident(t)
	if err := Release(); err != nil {
		t.Fatal(err)
	}
	if after := resident(t); after >= before {
		t.Errorf("%d KiB of files were resident, then %d", before, after)
	}
}

// resident is the size of pages of files, in KiB.
func resident(t *testing.T) (kib int) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "RssFile:")
	if _, err := fmt.Sscanf(rest, "%d", &kib); err != nil {
		t.Skip("the kernel does not tell RssFile: ", err)
	}
	return kib
}

func TestOnlyMappingsThatCannotBeWrittenAreGivenBack(t *testing.T) {
	const smaps = `00400000-01243000 r-xp 00000000 fe:00 11 /usr/bin/thor
Rss:                9304 kB
Anonymous:             0 kB
Swap:                  0 kB
01243000-02104000 r--p 00e43000 fe:00 11 /usr/bin/thor
Anonymous:             0 kB
Swap:                  0 kB
02104000-02105000 r--p 01d04000 fe:00 11 /usr/bin/thor
Anonymous:             4 kB
Swap:                  0 kB
02105000-02106000 r--p 01d05000 fe:00 11 /usr/bin/thor
Anonymous:             0 kB
Swap:                  4 kB
02106000-021ee000 rw-p 01d05000 fe:00 11 /usr/bin/thor
Anonymous:             0 kB
Swap:                  0 kB
021ee000-04469000 rw-p 00000000 00:00 0
Anonymous:             0 kB
Swap:                  0 kB
05000000-05001000 r--s 00000000 fe:00 11 /usr/bin/thor
Anonymous:             0 kB
Swap:                  0 kB
7f66cc019000-7f66cc099000 r-xp 00000000 fe:00 12 /usr/lib/libc.so.6
Anonymous:             0 kB
Swap:                  0 kB
7f66cc099000-7f66cc0a9000 r-xp 00000000 fe:00 13 /opt/usr/bin/thor
Anonymous:             0 kB
Swap:                  0 kB
rubbish
`
	got := ofProgram(strings.NewReader(smaps), "/usr/bin/thor")
	if want := []extent{{0x400000, 0x1243000}, {0x1243000, 0x2104000}}; !slices.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
}
