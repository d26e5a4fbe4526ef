package identity_test

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"thor/identity"
)

// aclEntry is one line of an access control list, as getfacl shows it.
type aclEntry struct {
	tag, perm uint16
	id        uint32
}

const (
	userObj, user, groupObj, group, mask, other = 1, 2, 4, 8, 16, 32
	nobodyID                                    = 65534
	noID                                        = ^uint32(0)
)

func setACL(t *testing.T, path string, entries ...aclEntry) {
	t.Helper()
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range entries {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	err := syscall.Setxattr(path, "system.posix_acl_access", b, 0)
	if errors.Is(err, syscall.EOPNOTSUPP) && os.Getenv("CI") != "true" {
		t.Skip("the file system of the temporary directory has no access control lists")
	}
	check(t, err)
}

func TestASecretIsClosedToAllButItsOwnerAndThisUser(t *testing.T) {
	me := uint32(os.Geteuid())
	for _, c := range []struct {
		name string
		mode os.FileMode
		acl  []aclEntry
		good bool
	}{
		{"owner reads", 0o400, nil, true},
		{"owner writes", 0o600, nil, true},
		{"group reads", 0o440, nil, false},
		{"others read", 0o404, nil, false},
		{"group writes", 0o620, nil, false},
		{"systemd credential", 0o400, []aclEntry{{userObj, 4, noID}, {user, 4, me}, {groupObj, 0, noID}, {mask, 4, noID}, {other, 0, noID}}, true},
		{"another user reads", 0o400, []aclEntry{{userObj, 4, noID}, {user, 4, nobodyID}, {groupObj, 0, noID}, {mask, 4, noID}, {other, 0, noID}}, false},
		{"another user reads too", 0o400, []aclEntry{{userObj, 4, noID}, {user, 4, me}, {user, 4, nobodyID}, {groupObj, 0, noID}, {mask, 4, noID}, {other, 0, noID}}, false},
		{"another user is masked", 0o400, []aclEntry{{userObj, 4, noID}, {user, 4, nobodyID}, {groupObj, 0, noID}, {mask, 0, noID}, {other, 0, noID}}, true},
		{"the group reads besides", 0o400, []aclEntry{{userObj, 4, noID}, {user, 4, me}, {groupObj, 4, noID}, {mask, 4, noID}, {other, 0, noID}}, false},
		{"a named group reads", 0o400, []aclEntry{{userObj, 4, noID}, {user, 4, me}, {groupObj, 0, noID}, {group, 4, nobodyID}, {mask, 4, noID}, {other, 0, noID}}, false},
		{"others read besides", 0o400, []aclEntry{{userObj, 4, noID}, {user, 4, me}, {groupObj, 0, noID}, {mask, 4, noID}, {other, 4, noID}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := filepath.Join(t.TempDir(), "secret")
			check(t, os.WriteFile(p, []byte("canary"), 0o600))
			check(t, os.Chmod(p, c.mode))
			if c.acl != nil {
				setACL(t, p, c.acl...)
			}
			b, err := identity.ReadSecret(p)
			if c.good && (err != nil || string(b) != "canary") {
				t.Errorf("refused: %v", err)
			}
			if !c.good && (!errors.Is(err, identity.ErrKeyMode) || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "chmod 600")) {
				t.Errorf("got %v, want one line with %v and what to do", err, identity.ErrKeyMode)
			}
		})
	}
}
