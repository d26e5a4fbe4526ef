package atomicfile_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"thor/identity/atomicfile"
)

// writerEnv makes this test binary the program that TestKilledWriter kills: it
// replaces the file of that name for ever.
const writerEnv = "ATOMICFILE_TEST_PATH"

func TestMain(m *testing.M) {
	if path := os.Getenv(writerEnv); path != "" {
		fmt.Fprintln(os.Stderr, writeForEver(path))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeForEver writes versions, each greater than the one in path, and prints the
// number of each that is written.
func writeForEver(path string) error {
	from, err := version(path)
	if err != nil {
		return err
	}
	for v := from + 1; ; v++ {
		if err := atomicfile.Write(path, content(v), 0o600); err != nil {
			return err
		}
		if _, err := fmt.Println(v); err != nil {
			return err
		}
	}
}

// content is version v: its number, 1 byte to 256 KiB, and a checksum.
func content(v uint64) []byte {
	r := rand.New(rand.NewPCG(v, 0))
	b := binary.BigEndian.AppendUint64(nil, v)
	b = append(b, bytes.Repeat([]byte{byte(v)}, 1<<r.IntN(19))...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// version is the number of the version in path; a file that is not whole is an error.
func version(path string) (uint64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	if len(b) < 8 || !bytes.Equal(b, content(binary.BigEndian.Uint64(b))) {
		return 0, fmt.Errorf("not a whole file: %d bytes, %.16x…", len(b), b)
	}
	return binary.BigEndian.Uint64(b), nil
}

// The writer dies at a random moment, again and again. The file is whole then, and not older
// than the last version whose Write had returned.
func TestKilledWriterLeavesAWholeFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "status.json")
	if err := atomicfile.Write(path, content(0), 0o600); err != nil {
		t.Fatal(err)
	}
	const rounds = 60
	during := 0 // writers that died with a temporary file
	for range rounds {
		written := killWriter(t, path, time.Duration(rand.Int64N(int64(10*time.Millisecond))))
		got, err := version(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != written && got != written+1 {
			t.Fatalf("version %d in the file, %d were written", got, written)
		}
		left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
		if len(left) > 0 {
			during++
		}
		atomicfile.RemoveTemporary(path)
		only(t, filepath.Dir(path), filepath.Base(path))
	}
	if during == 0 {
		t.Error("no writer died while it wrote: nothing is tested")
	}
	t.Logf("%d of %d writers died while they wrote", during, rounds)
}

// killWriter starts a writer, kills it life after its first version and returns the
// number of the last version that it has written.
func killWriter(t *testing.T, path string, life time.Duration) (last uint64) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), writerEnv+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	var kill *time.Timer
	for {
		if _, err := fmt.Fscanln(r, &last); err != nil {
			break // of a number that was cut short nothing is taken: each is printed by one write
		}
		if kill == nil {
			kill = time.AfterFunc(life, func() { _ = cmd.Process.Kill() })
		}
	}
	_, _ = io.Copy(io.Discard, r)
	_ = cmd.Wait()
	if kill == nil {
		t.Fatal("the writer wrote nothing")
	}
	kill.Stop()
	return last
}
