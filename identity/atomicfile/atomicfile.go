// Package atomicfile writes all files of thor that are replaced as a whole: keys,
// certificates, revocation lists, the status, drains, epochs, network.json.
//
// After a crash, of the process or of the machine, such a file has its old content or
// its new content, never a mixture and never nothing; when a function returns without
// an error the content is on disk, under its name. github.com/google/renameio does
// the replacing; it does not sync the directory, which happens here.
//
// A new file belongs to the user who writes it, also where root replaces the file of
// another user: an owner copied from a file that another user can put in place would
// give that user root's secrets.
package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"
)

// Write makes or replaces path. Its mode is mode whatever the umask and the mode of
// the file before. A symbolic link is replaced, not followed.
func Write(path string, data []byte, mode os.FileMode) error {
	f, err := pending(path, data, -1, mode)
	if err != nil {
		return err
	}
	defer f.Cleanup() // a temporary file that cannot be removed does no harm
	if err := f.CloseAtomicallyReplace(); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// Replace is Write for a secret that may be there already: it keeps the group of the file
// and its group's right to read. One that is not there is for its owner alone.
func Replace(path string, data []byte) error {
	mode, gid := os.FileMode(0o600), -1
	if fi, err := os.Stat(path); err == nil {
		mode |= fi.Mode().Perm() & 0o040
		if st, ok := fi.Sys().(*syscall.Stat_t); ok && mode != 0o600 {
			gid = int(st.Gid)
		}
	}
	f, err := pending(path, data, gid, mode)
	if err != nil {
		return err
	}
	defer f.Cleanup() // a temporary file that cannot be removed does no harm
	if err := f.CloseAtomicallyReplace(); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// Create makes path for group gid, or the group of the process if gid is negative. A
// path that exists is left alone: the error is fs.ErrExist then, for all but one of
// several processes that call Create at once.
func Create(path string, data []byte, gid int, mode os.FileMode) error {
	f, err := pending(path, data, gid, mode)
	if err != nil {
		return err
	}
	defer f.Cleanup()
	if err := errors.Join(f.Sync(), os.Link(f.Name(), path)); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// pending is a temporary file beside path with data in it.
func pending(path string, data []byte, gid int, mode os.FileMode) (*renameio.PendingFile, error) {
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path))) // mode 0600
	if err != nil {
		return nil, err
	}
	_, err = f.Write(data)
	if err == nil && gid >= 0 {
		err = f.Chown(-1, gid)
	}
	if err = errors.Join(err, f.Chmod(mode)); err != nil {
		return nil, errors.Join(err, f.Cleanup())
	}
	return f, nil
}

// RemoveTemporary removes what processes that were killed in Write or Create have
// left beside path. The caller knows that no process writes path now.
func RemoveTemporary(path string) {
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"?*"))
	for _, f := range left {
		_ = os.Remove(f) // one that stays does no harm
	}
}

// syncDir makes a rename in dir survive a crash of the machine.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
