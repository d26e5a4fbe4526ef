package identity

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"strings"
)

// ReadSecret reads a file that holds a secret, at most 1 MiB. Only its owner,
// root and the user of this process may have access: a file of systemd's
// LoadCredential= passes, which belongs to root and has an access control list
// that lets the service's user read, and a file of mode 0640 does not. The error
// wraps ErrKeyMode, or ErrFile, and says in one line what to do.
func ReadSecret(path string) ([]byte, error) { return readFile(path, true) }

// ReadPassword is the password that stands alone in a file, one line of at most max bytes,
// without the end of the line. It may be empty. The file is one that [ReadSecret] reads.
func ReadPassword(path string, max int) (string, error) {
	b, err := ReadSecret(path)
	if err != nil {
		return "", err
	}
	p := strings.TrimRight(string(b), "\r\n")
	if len(p) > max || strings.ContainsAny(p, "\r\n\x00") {
		return "", fmt.Errorf("%w: %s is no password: more than one line, or more than %d bytes", ErrFile, path, max)
	}
	return p, nil
}

// Where the kernel keeps the access control list of a file, acl(5), and how.
const (
	aclName    = "system.posix_acl_access"
	aclVersion = 2
	aclHeader  = 4 // bytes: the version
	aclEntry   = 8 // bytes: tag and permission of 16 bits, id of 32
)

const (
	aclUserObj  = 0x01 // the owner
	aclUser     = 0x02
	aclGroupObj = 0x04
	aclGroup    = 0x08
	aclMask     = 0x10
	aclOther    = 0x20
)

// closed reports whether a file with this mode and access control list can be
// read or written by its owner, root and uid alone. Without a list, acl is nil.
// With one, the mode's bits for the group are the list's mask: the most that
// anybody named in it gets.
func closed(mode fs.FileMode, acl []byte, uid int) bool {
	switch {
	case mode.Perm()&0o007 != 0:
		return false
	case mode.Perm()&0o070 == 0:
		return true
	case len(acl) < aclHeader || len(acl)%aclEntry != aclHeader || binary.LittleEndian.Uint32(acl) != aclVersion:
		return false
	}
	mask := uint16(mode.Perm()>>3) & 7
	for e := acl[aclHeader:]; len(e) > 0; e = e[aclEntry:] {
		tag, perm, id := binary.LittleEndian.Uint16(e), binary.LittleEndian.Uint16(e[2:]), binary.LittleEndian.Uint32(e[4:])
		switch tag {
		case aclUserObj, aclMask:
			continue
		case aclUser:
			if id == 0 || int(id) == uid {
				continue
			}
		case aclOther:
			if perm == 0 {
				continue
			}
		case aclGroupObj, aclGroup:
		}
		if perm&mask != 0 {
			return false
		}
	}
	return true
}
