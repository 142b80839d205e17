/* SPDX-License-Identifier: Apache-2.0 */
/* What the conductor and a mover say to each other: each message and event by its word, in one place, so that both ends
 * mean the same and a slip of the pen does not compile. docs/control.md has the fields of each.
 *
 * One JSON object a line, over the mover's stdin and stdout; its member "t" is the message's word.
 *
 *   conductor                              mover
 *       <---------------------------------- MESSAGE_HELLO
 *       MESSAGE_SETUP -------------------->
 *       <---------------------------------- MESSAGE_READY
 *       MESSAGE_LISTEN ------------------->                    one of the two movers
 *       <---------------------------------- MESSAGE_LISTENING
 *       MESSAGE_CONNECT ------------------>                    the other, or both listen (through ssh)
 *       <---------------------------------- MESSAGE_REACHED, MESSAGE_LINKED
 *       MESSAGE_START -------------------->
 *       <---------------------------------- MESSAGE_STATS, MESSAGE_EVENT ...
 *       MESSAGE_LIMITS, ... -------------->                    at any time
 *       <---------------------------------- MESSAGE_DONE or MESSAGE_ERROR
 *       MESSAGE_BYE ---------------------->                    the mover ends
 */
#pragma once

#define MESSAGE_TYPE "t"

/* ---- the frame of a move ---- */

#define MESSAGE_HELLO "hello"
#define MESSAGE_SETUP "setup"
#define MESSAGE_READY "ready"
#define MESSAGE_LISTEN "listen"
#define MESSAGE_LISTENING "listening"
#define MESSAGE_CONNECT "connect"
#define MESSAGE_REACHED "reached"
#define MESSAGE_LINKED "linked"
#define MESSAGE_START "start"
#define MESSAGE_STATS "stats"
#define MESSAGE_EVENT "event"
#define MESSAGE_LIMITS "limits"
#define MESSAGE_ABORT "abort"
#define MESSAGE_DONE "done"
#define MESSAGE_ERROR "error"
#define MESSAGE_BYE "bye"

/* ---- questions, and their answers where these have a word of their own ---- */

#define MESSAGE_DISKS "disks"
#define MESSAGE_DISKS_READY "disks-ready"
#define MESSAGE_SEEDS "seeds"
#define MESSAGE_SEEDS_READY "seeds-ready"
#define MESSAGE_HOLD "hold"
#define MESSAGE_HELD "held"
#define MESSAGE_ANNOUNCE "announce"
#define MESSAGE_ANNOUNCED "announced"
#define MESSAGE_PROBE "probe"
#define MESSAGE_PROBED "probed"
#define MESSAGE_MEASURE "measure"
#define MESSAGE_MEASURING "measuring"
#define MESSAGE_MEASURED "measured"
#define MESSAGE_CLOCK "clock"
#define MESSAGE_FILE_TOKEN "file-token"
#define MESSAGE_FINGERPRINT "fingerprint"

/* ---- what the movers are told in the middle ---- */

#define MESSAGE_STOPPED "stopped"
#define MESSAGE_AWAKE "awake"
#define MESSAGE_FINISH "finish"
#define MESSAGE_POSTCOPY "postcopy"
#define MESSAGE_DWELL "dwell"

/* ---- MESSAGE_EVENT: its member "what" ---- */

#define EVENT_WHAT "what"

#define EVENT_CONNECTED "connected"
#define EVENT_OPAQUE "opaque"
#define EVENT_PASS_ENDING "pass-ending"
#define EVENT_PASS_END "pass-end"
#define EVENT_STOPPED "stopped"
#define EVENT_POSTCOPY "postcopy"
#define EVENT_DISAGREED "disagreed"
#define EVENT_LOADED "loaded"
#define EVENT_ASK_AWAKE "ask-awake"
#define EVENT_AGREEING "agreeing"
#define EVENT_AGREED "agreed"
#define EVENT_VERIFIED "verified"
#define EVENT_RELEASED "released"
#define EVENT_REFUSED "refused"
#define EVENT_DISK_OPEN "disk-open"
#define EVENT_DISK_AGREED "disk-agreed"
#define EVENT_DISK_VERIFIED "disk-verified"
#define EVENT_SEED_UNUSABLE "seed-unusable"
#define EVENT_LINK_LOST "link-lost"
#define EVENT_LINK_BACK "link-back"
#define EVENT_DWELLING "dwelling"
#define EVENT_DISKS_DWELLING "disks-dwelling"
#define EVENT_DIGESTS "digests"
#define EVENT_ENDED "ended" /* inside a mover only: its threads have come home */
