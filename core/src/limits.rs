//! Every bound of the protocol in one place, tied together by assertions.

use crate::time::Duration;

/// The protocol version in byte 1 of every datagram.
pub const VERSION: u8 = 1;

// --- datagrams ---

/// Largest UDP payload: Ethernet's 1,500 bytes less 20 for IPv4 and 8 for UDP.
pub const MAX_DATAGRAM: usize = 1_472;
/// Header of a transport or session datagram.
pub const DATA_HEADER: usize = 16;
/// Poly1305 tag (RFC 8439).
pub const TAG: usize = 16;
/// Kind, symbol index and block index in front of a symbol, inside the encryption.
pub const SYMBOL_HEADER: usize = 6;
/// Largest symbol: what is left of the largest datagram.
pub const MAX_SYMBOL: usize = MAX_DATAGRAM - DATA_HEADER - TAG - SYMBOL_HEADER;
/// Symbol of a session where the full-size probe fails (1,200-byte datagrams).
pub const SMALL_SYMBOL: usize = 1_200 - DATA_HEADER - TAG - SYMBOL_HEADER;
/// Symbol of a constrained lane (576-byte IP packets, RFC 791's minimum reassembly).
pub const CONSTRAINED_SYMBOL: usize = 576 - 28 - DATA_HEADER - TAG - SYMBOL_HEADER;
/// Largest message body on the unicast channel: fits a 1,200-byte datagram.
pub const MAX_MESSAGE: usize = 1_200 - DATA_HEADER - TAG - FRAME_HEADER;
/// Kind, acknowledgement and sequence in front of a message, inside the encryption.
pub const FRAME_HEADER: usize = 9;

// --- blocks ---

/// Most source symbols of a block.
pub const MAX_SOURCES: usize = 192;
/// Parity symbols of a block that are made in GF(2^8), which has 256 elements for
/// these and the sources.
pub const MAX_PARITY: usize = 256 - MAX_SOURCES;
/// Most parity symbols of a block, with those made in GF(2^16): they are counted in a byte.
pub const ALL_PARITY: usize = 255;
/// Most source symbols of a block on a constrained lane.
pub const CONSTRAINED_SOURCES: usize = 32;
/// Most blocks of a segment; they are interleaved.
pub const MAX_SEGMENT_BLOCKS: usize = 16;
/// Most runs of ordinals that describe one block (all releases together).
pub const MAX_BLOCK_RUNS: usize = 160;
/// Most releases that one session carries chunks for.
pub const MAX_SLOTS: usize = 4;
/// Largest block in bytes.
pub const MAX_BLOCK: usize = MAX_SOURCES * MAX_SYMBOL;

// --- chunks and trees ---

/// Largest chunk before compression.
pub const MAX_CHUNK: usize = 128 * 1024;
/// Most chunks that one chunk is told by in a patch.
pub const MAX_PREDECESSORS: usize = 4;
/// Codec and two lengths in front of a chunk in a block.
pub const RECORD_HEADER: usize = 7;
/// Largest release root, without its signatures.
pub const MAX_ROOT: usize = 4 * 1024;
/// Chunk id and length in an index list.
pub const CHUNK_REF: usize = 36;
/// Most levels of index lists between the root and the entry table.
pub const MAX_INDEX_LEVELS: usize = 4;
/// Longest path component in bytes.
pub const MAX_COMPONENT: usize = 255;
/// Deepest directory nesting of a release.
pub const MAX_DEPTH: usize = 64;

// --- trust ---

/// Most admin keys of an authority document.
pub const MAX_ADMINS: usize = 8;
/// Most controller keys of an authority document.
pub const MAX_CONTROLLERS: usize = 2;
/// Largest authority document, without its signatures.
pub const MAX_AUTHORITY: usize = 1_024;
/// Most signatures on a signed document.
pub const MAX_SIGNATURES: usize = MAX_ADMINS;
/// Largest authority document with its signatures: lengths, body, 72 bytes for each.
pub const MAX_SIGNED_AUTHORITY: usize = 2 + MAX_AUTHORITY + 1 + MAX_SIGNATURES * 72;
/// Most groups that an enrolment voucher names.
pub const MAX_VOUCHER_GROUPS: usize = 8;
/// Longest name of a group, receiver, release or account in bytes.
pub const MAX_NAME: usize = 64;
/// Most requests to join that the server keeps of one receiver, and in all.
pub const MAX_REQUESTS_EACH: usize = 16;
/// See [`MAX_REQUESTS_EACH`].
pub const MAX_REQUESTS: usize = 10_000;

// --- the unicast channel ---

/// Reliable messages under way to one peer.
pub const SEND_WINDOW: usize = 4;
/// Counters behind the newest that are still accepted once.
pub const REPLAY_WINDOW: u64 = 1_024;
/// When to send a handshake again that nobody answered.
pub const HANDSHAKE_RETRY: Duration = Duration::from_millis(500);
/// Longest pause between handshake attempts.
pub const HANDSHAKE_RETRY_MAX: Duration = Duration::from_secs(10);
/// When to send an unacknowledged message again, at first.
pub const MESSAGE_RETRY: Duration = Duration::from_millis(200);
/// Longest pause between repetitions of a message.
pub const MESSAGE_RETRY_MAX: Duration = Duration::from_secs(3);
/// When to send a sign of life on a quiet channel.
pub const KEEPALIVE: Duration = Duration::from_secs(8);
/// When a silent peer counts as away.
pub const PEER_TIMEOUT: Duration = Duration::from_secs(25);
/// Least time from a server's goodbye to the first initiation that follows it.
pub const BYE_PAUSE: Duration = Duration::from_secs(1);
/// Longest time over which those who were told goodbye come back.
pub const BYE_SPREAD_MAX: Duration = Duration::from_secs(60);
/// Receivers that a server which says goodbye lets come back per second.
pub const RETURNS_PER_SECOND: u32 = 500;
/// Where beacons go: the site's own scope (RFC 2365), besides all sessions.
pub const DISCOVERY: (core::net::Ipv4Addr, u16) =
    (core::net::Ipv4Addr::new(239, 255, 74, 12), 7_414);
/// How often a server sends its beacon.
pub const BEACON_INTERVAL: Duration = Duration::from_secs(3);
/// How long a responder waits for the first packet after its answer.
pub const HALF_OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a cookie secret is used (twice that it is still honoured).
pub const COOKIE_LIFETIME: Duration = Duration::from_secs(120);
/// Handshakes without a cookie that are answered per second before load demands one.
pub const HANDSHAKES_PER_SECOND: u32 = 200;
/// Initiations without an answer after which a receiver asks for the chain.
pub const CHAIN_AFTER: u32 = 3;
/// When to ask for the chain again, where nobody answered.
pub const CHAIN_RETRY: Duration = Duration::from_secs(1);
/// How often a receiver asks one thing of the chain before it waits for the next initiation.
pub const CHAIN_TRIES: u8 = 3;
/// Requests for the chain that a server answers per second.
pub const CHAIN_ANSWERS_PER_SECOND: u32 = 2_000;

// --- sessions ---

/// When probes are sent, after the session's beginning.
pub const PROBE_TIMES: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(2),
];
/// Who has heard no probe by then is served by catch-up.
pub const PROBE_DEADLINE: Duration = Duration::from_millis(2_500);
/// Segments that a receiver keeps state for.
pub const SEGMENT_WINDOW: usize = 8;
/// Most blocks that one NACK names.
pub const MAX_NACKS: usize = 48;
/// Most blocks that one echo names.
pub const MAX_ECHOES: usize = 64;
/// How often an unsigned echo may put off a receiver's NACK for one block.
pub const MAX_ECHO_DELAYS: u8 = 2;
/// Signature verifications of multicast control per second and receiver.
pub const CONTROL_VERIFICATIONS_PER_SECOND: u32 = 64;
/// The same of digests in strict mode, which only who can keep them verifies: at
/// 110 MB/s there are some 1,000, and as many again where much is repaired.
pub const DIGEST_VERIFICATIONS_PER_SECOND: u32 = 2_048;
/// Share of the rate cap that all catch-up together may take: one fifth.
pub const CATCH_UP_SHARE: u64 = 5;

// --- the chunk store of a board ---

/// Bytes of a sector: the store reads and writes nothing smaller.
pub const SECTOR: usize = 512;
/// Longest chunk that a board keeps, decoded: the largest of the constrained profile.
pub const STORE_CHUNK: usize = 4 * 1_024;
/// Releases on one card: those that are active, their predecessors, one that arrives.
pub const STORE_RELEASES: usize = 6;
/// Groups that a board is a member of.
pub const STORE_GROUPS: usize = 4;
/// Records of the firmware's own in the store's state.
pub const STORE_NOTES: usize = 8;
/// Sectors of each of the two copies of a state record.
pub const STORE_RECORD_SECTORS: usize = 4;
/// Longest content of a state record in bytes.
pub const STORE_NOTE: usize = STORE_RECORD_SECTORS * SECTOR - 32;
/// Directories that a file of a board may be nested in.
pub const STORE_DEPTH: usize = 3;
/// Bytes of the table of free space, one bit per extent of the card.
pub const STORE_EXTENTS: usize = 512;
/// Bytes of chunks that may be lost by a power cut: what is not yet durable.
pub const STORE_UNSYNCED: usize = 16 * 1_024;
/// What the store and the memory lent to it take at most, in bytes.
pub const STORE_MEMORY: usize = 8 * 1_024;

const _: () = {
    assert!(MAX_SYMBOL == 1_434);
    assert!(MAX_SOURCES + MAX_PARITY == 256);
    assert!(MAX_CHUNK + RECORD_HEADER <= MAX_BLOCK);
    assert!(MAX_SEGMENT_BLOCKS <= 16, "a segment's blocks are counted in four bits of bitmaps");
    // One block with the most runs must fit one signed segment header.
    assert!(24 + 8 + MAX_SLOTS + MAX_BLOCK_RUNS * 6 + 64 <= SMALL_SYMBOL + SYMBOL_HEADER);
    // An authority document with all its signatures is sent in two messages at most.
    assert!(MAX_SIGNED_AUTHORITY <= 2 * MAX_MESSAGE);
    assert!(CONSTRAINED_SOURCES <= MAX_SOURCES);
    // An authority document, and a membership with its voucher, fit a state record.
    assert!(MAX_SIGNED_AUTHORITY <= STORE_NOTE);
    assert!(STORE_DEPTH < MAX_DEPTH && STORE_CHUNK <= MAX_CHUNK);
};
