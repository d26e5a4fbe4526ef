package lookup

import "github.com/cespare/xxhash/v2"

// Hash is XXH64 with seed 0: of a normalised key, of a node's name.
func Hash[T ~string](s T) uint64 { return xxhash.Sum64String(string(s)) }

// mix64 is the finaliser of MurmurHash3: a bijection.
func mix64(x uint64) uint64 {
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// slotHash is m(s): what all members' draws for slot s share.
func slotHash(s uint32) uint64 { return mix64(uint64(s) + 0x9e3779b97f4a7c15) }
