package up

import (
	"os/exec"
	"path/filepath"
)

// systemDirs are where a distribution puts servers, and what the PATH of an
// ordinary user lacks.
var systemDirs = []string{"/usr/local/sbin", "/usr/sbin", "/sbin"}

// program is the path of a program, in PATH or where servers are.
func program(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for _, dir := range systemDirs {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", err
}
