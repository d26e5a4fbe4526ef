//go:build e2e && boot

package e2e_test

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// goToRPM are the architectures that just packages makes, and what rpm calls them.
var goToRPM = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}

// packed is one package of dist by the pattern of its name.
func packed(t *testing.T, pattern string) string {
	t.Helper()
	dist, err := filepath.Abs("../../../dist")
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(dist, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%d packages %s in dist (just packages makes one), %v", len(found), pattern, err)
	}
	return found[0]
}

// The deb and the rpm of an architecture hold the same files with the same content,
// modes and links, the same units among them, and run the same scripts.
func TestPackagesDebAndRPMAreTheSame(t *testing.T) {
	need(t, "rpm", "rpm")
	needRoot(t, "rpm --root")
	for arch, other := range goToRPM {
		t.Run(arch, func(t *testing.T) {
			deb, rpm := packed(t, "thor_*_"+arch+".deb"), packed(t, "thor-*."+other+".rpm")
			dir := t.TempDir()
			stdoutOf(t, "dpkg-deb", "-x", deb, filepath.Join(dir, "deb"))
			stdoutOf(t, "rpm", "--root", filepath.Join(dir, "rpm"), "--dbpath", "/var/lib/rpm", "-i", "--nodeps", "--noscripts", "--ignorearch", rpm)
			if err := os.RemoveAll(filepath.Join(dir, "rpm/var")); err != nil { // rpm's own database
				t.Fatal(err)
			}
			// Where each has the completion for zsh.
			from, to := filepath.Join(dir, "deb/usr/share/zsh/vendor-completions"), filepath.Join(dir, "deb/usr/share/zsh/site-functions")
			if err := os.Rename(from, to); err != nil {
				t.Error(err)
			}
			inDeb, inRPM := contents(t, filepath.Join(dir, "deb")), contents(t, filepath.Join(dir, "rpm"))
			for _, f := range slices.Sorted(maps.Keys(inDeb)) {
				if inRPM[f] != inDeb[f] {
					t.Errorf("%s is %s in the deb, %s in the rpm", f, inDeb[f], cmp.Or(inRPM[f], "not there"))
				}
			}
			for _, f := range slices.Sorted(maps.Keys(inRPM)) {
				if inDeb[f] == "" {
					t.Errorf("%s is in the rpm alone", f)
				}
			}
			for _, f := range []string{"/usr/bin/thor", "/usr/bin/thor-node", "/usr/lib/systemd/system/thor-broker.service", "/usr/lib/systemd/system/thor-node.socket", "/etc/thor/pki", "/usr/share/man/man5/thor.toml.5.gz"} {
				if inDeb[f] == "" {
					t.Errorf("no %s in them", f)
				}
			}

			control := filepath.Join(dir, "control")
			stdoutOf(t, "dpkg-deb", "-e", deb, control)
			for script, tag := range map[string]string{"postinst": "POSTIN", "prerm": "PREUN", "postrm": "POSTUN"} {
				a := fileText(t, filepath.Join(control, script))
				b := stdoutOf(t, "rpm", "-qp", "--qf", "%{"+tag+"}", rpm)
				if want := fileText(t, filepath.Join("../../../deploy/debian", script)); strings.TrimSpace(a) != strings.TrimSpace(want) || strings.TrimSpace(b) != strings.TrimSpace(want) {
					t.Errorf("%s is not that of deploy/debian in both:\n%s\n%s", script, a, b)
				}
			}
			if got := fileText(t, filepath.Join(control, "conffiles")); strings.TrimSpace(got) != "/etc/thor/thor.toml" {
				t.Errorf("configuration of the deb: %s", got)
			}
			if got := stdoutOf(t, "rpm", "-qp", "--configfiles", rpm); strings.TrimSpace(got) != "/etc/thor/thor.toml" {
				t.Errorf("configuration of the rpm: %s", got)
			}
			if got := stdoutOf(t, "rpm", "-qp", "--qf", "[%{FILEFLAGS:fflags}]", rpm); got != "cn" { // config, noreplace: one file
				t.Errorf("flags of the files of the rpm: %s", got)
			}
		})
	}
}

// contents is each file of a tree with its type, mode, and link or digest. Directories
// that hold others are left out: an rpm does not name those of the system.
func contents(t *testing.T, root string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		name := "/" + strings.TrimPrefix(strings.TrimPrefix(path, root), "/")
		text := fi.Mode().String()
		switch {
		case d.IsDir():
			if name != "/etc/thor" && name != "/etc/thor/pki" {
				return nil
			}
		case fi.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += " " + to
		default:
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			sum := sha256.Sum256(b)
			text += " " + hex.EncodeToString(sum[:8])
		}
		out[name] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The program of each architecture is of that architecture and needs no library; it runs,
// under an emulator where this machine is another.
func TestPackagesHaveTheProgramOfTheirArchitecture(t *testing.T) {
	for arch, x := range map[string]struct {
		machine  elf.Machine
		emulator string
	}{"amd64": {elf.EM_X86_64, "qemu-x86_64-static"}, "arm64": {elf.EM_AARCH64, "qemu-aarch64-static"}} {
		t.Run(arch, func(t *testing.T) {
			dir := t.TempDir()
			stdoutOf(t, "dpkg-deb", "-x", packed(t, "thor_*_"+arch+".deb"), dir)
			program := filepath.Join(dir, "usr/bin/thor")
			f, err := elf.Open(program)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			libs, err := f.ImportedLibraries()
			if f.Machine != x.machine || f.Class != elf.ELFCLASS64 || len(libs) > 0 || err != nil {
				t.Errorf("%s %s, libraries %v, %v", f.Machine, f.Class, libs, err)
			}
			for _, p := range f.Progs {
				if p.Type == elf.PT_INTERP {
					t.Error("it needs a dynamic linker")
				}
			}
			argv := []string{program, "version"}
			if arch != runtime.GOARCH {
				need(t, x.emulator, "qemu-user-static")
				argv = append([]string{x.emulator}, argv...)
			}
			if out := stdoutOf(t, argv[0], argv[1:]...); !strings.HasPrefix(out, "thor ") {
				t.Errorf("thor version says %s", out)
			}
		})
	}
}

// An rpm is installed, upgraded and removed in a root of its own, with its scripts.
func TestPackageRPMIsInstalled(t *testing.T) {
	need(t, "rpm", "rpm")
	need(t, "mmdebstrap", "mmdebstrap")
	needRoot(t, "a root directory of its own")
	var file string
	for arch, other := range goToRPM {
		if arch == runtime.GOARCH {
			file = packed(t, "thor-*."+other+".rpm")
		}
	}
	dist := filepath.Dir(file)
	root := filepath.Join(t.TempDir(), "root")
	unpack(t, debian(t, dist), root, rootOptions...)
	for name, minor := range map[string]string{"null": "3", "urandom": "9"} {
		stdoutOf(t, "mknod", "-m", "666", filepath.Join(root, "dev", name), "c", "1", minor)
	}
	// What it depends on is there as packages of Debian, which this rpm does not know.
	rpm := func(args ...string) string { return stdoutOf(t, "rpm", append([]string{"--root", root}, args...)...) }
	rpm("-i", "--nodeps", file)
	if out := stdoutOf(t, "chroot", root, "thor", "version"); !strings.HasPrefix(out, "thor ") {
		t.Errorf("thor version says %s", out)
	}
	if out := rpm("-V", "--nodeps", "thor"); out != "" {
		t.Errorf("rpm -V: %s", out)
	}
	secret := filepath.Join(root, "etc/thor/local.secret")
	if got := strings.TrimSpace(stdoutOf(t, "chroot", root, "stat", "-c", "%a %G", "/etc/thor/local.secret")); got != "640 thor" {
		t.Errorf("local.secret is %s", got)
	}
	first := fileText(t, secret)
	config := filepath.Join(root, "etc/thor/thor.toml")
	if err := os.WriteFile(config, []byte("# mine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	rpm("-U", "--nodeps", "--replacepkgs", file)
	if fileText(t, secret) != first || fileText(t, config) != "# mine\n" {
		t.Error("an upgrade writes over the secret or the configuration")
	}
	rpm("-e", "--nodeps", "thor")
	if _, err := os.Lstat(filepath.Join(root, "usr/bin/thor")); !os.IsNotExist(err) {
		t.Errorf("the program after the removal: %v", err)
	}
	if got := fileText(t, config+".rpmsave"); got != "# mine\n" {
		t.Errorf("the configuration is kept as %q", got)
	}
}

// stdoutOf is what a program writes; it must succeed.
func stdoutOf(t *testing.T, name string, args ...string) string {
	t.Helper()
	var out, said bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out.String(), said.String())
	}
	return out.String()
}

func fileText(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
