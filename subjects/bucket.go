package subjects

import "strconv"

// The forms in which JetStream keeps a key-value bucket (NATS ADR 8): a stream, with
// a subject for each key.
const (
	bucketStream  = "KV_"
	bucketSubject = "$KV."
)

// BucketStream is the name of the stream of a bucket.
func BucketStream(bucket string) string { return bucketStream + bucket }

// BucketKey is the subject of a key of a bucket; key may be a pattern.
func BucketKey(bucket, key string) string { return bucketSubject + bucket + "." + key }

// RoleKeys are the keys of StatusBucket that hold the lists of roles when the status is
// larger than MaxStatusKey: a pattern.
const RoleKeys = roleKey + "*"

const roleKey = "role."

// RoleKey is the key of a part of a role's list, counted from 1. No role has a hyphen in
// its name.
func RoleKey(role Role, part int) string {
	if part == 1 {
		return roleKey + string(role)
	}
	return roleKey + string(role) + "-" + strconv.Itoa(part)
}
