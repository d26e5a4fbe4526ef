// Package screening decides what the profile of a subscriber says of a
// registration or a call: from where it may come, what may be dialled, whose calls
// get through, and where they go instead. It is pure: profile, request and time
// are arguments.
//
// Where the public clients of provisioning do not tell what a setting means, the
// meaning is ours and is said at the function.
package screening
