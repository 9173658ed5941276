// Package mailflow is the core of Countersign: what a request is, and how it moves.
// [Step] decides everything that happens to a request and is a pure function; the
// engine commits its decisions and does what they demand.
//
// The states of a request:
//
//	draft ──> asking <──> preparing ──> approving ──> sealing ──> signing ──> delivering ──> completed
//	             │            │             │            │           │
//	             └────────────┴─────────────┴────────────┴───────────┴──> rejected, cancelled, expired, failed
//
// A request without approvers passes through approving at once, one without
// signers through signing. From delivering on nothing can stop a request any more:
// its signatures exist and are owed to everyone.
//
// # Invariants
//
// What holds at every instant, whatever fails. The numbers are those that code and
// tests name.
//
//  1. No contract lost: every draft that a rule admits becomes exactly one request
//     and ends in a terminal state or waits visibly.
//  2. One document: per request and signature at most one signed result is released.
//  3. Consent before signature: every approval and code that the rule demanded, from
//     the right person, in the right order, in time.
//  4. What you see is what you sign: one H in preview, approval and code; every
//     intent is made over R0 plus our own recorded increments.
//  5. Completed means handed over: a 250 from our relay for each recipient, or a
//     refusal that the sender was told of (of a refused letter to the sender, the
//     administrator); at least one recipient has the documents.
//  6. Letters: bytes and Message-ID are fixed before the first attempt; copies ≤ 1 +
//     unknown outcomes + crashes, and capped.
//  7. Codes and tries are bounded.
//  8. A code works once, for its request, party, H and time window.
//  9. A mail drives at most one transition, however often it is delivered; none is
//     suppressed by another.
//  10. Terminal stays terminal.
//  11. Nothing stuck: every open request has an outbox entry or a timer.
//  12. Commits are whole after any crash.
//  13. The audit log is append-only and gap-free.
//  14. Every blob named by a state exists with the right hash.
//  15. No commit by a lost lease or a stale claim.
//  16. Clock steps never re-open or mass-expire.
//  17. At most one wrong try per PIN.
//  18. No secret in a log, an error, a metric, an audit entry or the store.
//  19. Memory, files, queues and letters stay bounded.
//  20. Nothing unstamped leaves if the rule demands a timestamp.
//  21. A rebuilt mailbox creates nothing.
//  22. Acknowledged is durable.
//  23. A draft counts only with the sender level its rule demands, an answer only
//     with token, From = party, and that level.
//  24. Restoring a backup cannot cause a second signature.
//  25. No line of a letter of ours is itself a command; automatic mail is never
//     obeyed and never answered.
//  26. Doubt never signs: unclear input changes nothing.
//  27. Signatures that were in a document before stay valid after ours.
//
// Those that hold of single decisions are checked by this package's tests on random
// walks over Step; 1, 6, 9, 12, 20 and 22 by the tests of cmd/countersign that kill the
// daemon; 13 by store/audit; 14 by store/blobs; 25 by mailflow/letter. Not held in
// full yet: 15 (one process only), 16 (a jump forward expires what is due by the new
// time), 17 (no PINs yet), 19 (raw mails of requests are never swept) and 24.
package mailflow
