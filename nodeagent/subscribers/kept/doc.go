// Package kept is a log of profiles in memory that outlives the process: a memory
// file, memfd_create(2), which the supervisor holds too (systemd's file descriptor
// store) and hands to the next process. Nothing is on a disk, and a reboot ends it.
//
// # What it keeps
//
// A record is in the memory that the next process will read when Put returns: a
// process that is killed loses nothing that it had put. Whole records or none: the
// length of a record is written last. Every record has a checksum, the log has a
// version and the name of its owner, and its size is sealed; a log in which
// anything is wrong is refused as a whole, since what is missing might be the newer
// revision of a profile.
//
// A log that is nearly full is written anew with what still counts. Until the
// supervisor has confirmed that it holds the new one both get every record.
//
// # What it is not
//
// It knows nothing of what profiles mean, and does not decide what is kept.
package kept
