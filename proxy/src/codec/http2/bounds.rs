//! What one peer may make us hold and do, over HTTP/2, and what becomes of the counts that h2 has of its own.
//!
//! h2 ends a connection over several counts. A count that runs for the life of a connection ends every long one, whichever side is
//! to blame, so none of those is left in force; what stands in their place is a bound on bytes that are held or on work in
//! one turn. All of h2 0.4.20's counts:
//!
//! | what h2 counts | per | who can raise it | what we do |
//! |---|---|---|---|
//! | empty DATA (`MAX_RECV_EMPTY_DATA_FRAMES`, 100) | life | any stream | no setting: the I/O layer hides them, and counts those in a row as Envoy does ([`flood`](super::flood)) |
//! | small DATA unread (`data_frame_budget`) | unread at a time | a slow reader | off; what lies unread is copied together ([`incoming`](super::incoming)) and stays within the windows |
//! | streams h2 reset for an error, or refused (`max_local_error_reset_streams`) | life | any malformed message, and responses that cross our resets | off; [`PENDING_REPLIES_MAX`] bounds resets that have yet to leave |
//! | streams we reset, remembered (`max_concurrent_reset_streams`) | at a time | our own resets | [`RESET_STREAMS_MAX`] for [`RESET_STREAM_AGE_MAX`]; past it a stream is forgotten, and h2's RST_STREAM for its late frames is not sent |
//! | streams reset before they were accepted (`max_pending_accept_reset_streams`) | at a time | a client | off; nothing is read while accepted streams wait, so [`TURN_FRAMES_MAX`] bounds them; the connection manager judges the rate |
//! | streams opened by the peer (`max_concurrent_streams`) | at a time | a client | Envoy's setting; more are refused one by one |
//! | CONTINUATION frames of a head | head | a peer's head | never reached: the I/O layer counts them, with Envoy's limit, and puts heads of many together |
//! | bytes of a decoded head (`header_list_way_too_large`) | head | a peer's head | never reached: the I/O layer decodes heads first, and refuses those over our size |
//! | header list over our size | head | a peer's head | left: it costs its stream |
//! | heads that came and were not taken | at a time | an upstream | one for each stream, of [`RESPONSE_LIMIT`](super::RESPONSE_LIMIT) at most |
//! | bytes queued of one stream (`max_send_buffer_size`) | at a time | a slow peer | [`STREAM_BUFFER_BYTES_MAX`], and [`SMALL_PIECES_MAX`] small pieces |
//! | PING and SETTINGS to be acknowledged | at a time | a peer | left: h2 reads on only when the acknowledgement has room |
//! | stream ids | life | our own requests | a client's connection is replaced before they end |

use std::time::Duration;

/// Payload of one stream that h2 may hold while the peer's window is open and the socket is not.
pub(super) const STREAM_BUFFER_BYTES_MAX: usize = 256 * 1024; // as much as a Linux socket buffer soaks up by default

/// Pieces of one stream below [`LARGE_BYTES_MIN`](super::pieces::LARGE_BYTES_MIN) that h2 may hold. It keeps about 300 bytes
/// for each, and its read buffer with it; more wait with us, where they are copied together.
pub(super) const SMALL_PIECES_MAX: u32 = 16;

/// Payload of one stream that may wait for the peer's window before its source is held back. A response that fits is over
/// for its upstream as soon as it is here.
pub(super) const QUEUE_BYTES_MAX: usize = 64 * 1024;

/// What h2 may hold of all streams of one connection before it gets more: heads by the memory they take, and payload. One
/// head or one piece may come on top. While it is reached no response head is read from an upstream for the connection, and
/// nothing is read of the peer if its socket takes nothing. As much as for one stream, since the socket's own buffer
/// comes behind it, and more than the 65,535 bytes that can be under way before a peer has announced its windows.
pub(super) const CONNECTION_BUFFER_BYTES_MAX: usize = 256 * 1024;

/// Payload of all streams of one connection that may wait for the peer's windows. Beyond it a stream queues one piece, at
/// most what one read brings, and no second one before that has left. Eight responses that fit in [`QUEUE_BYTES_MAX`].
pub(super) const CONNECTION_QUEUE_BYTES_MAX: usize = 512 * 1024;

/// Streams that h2 remembers after a reset, so that frames which were under way are ignored. About 600 bytes each.
pub(super) const RESET_STREAMS_MAX: usize = 1024;
/// For how long. h2 takes this time from the system, not from tokio: it has to be longer than a simulation runs.
pub(super) const RESET_STREAM_AGE_MAX: Duration = Duration::from_secs(30);

/// Frames that a connection reads in one turn, those aside that came with the last read (2,000 at most: its buffer has two
/// frames of 16 KiB). Then new streams are accepted, the readers run, and what they leave is copied together. h2 keeps
/// about 300 bytes for each frame of a turn.
pub(super) const TURN_FRAMES_MAX: u32 = 256;

/// New streams that a connection hands out in one turn of the event loop, while more of them are there. Each costs 50 to 200 µs
/// until its response is under way; clients of other connections wait behind these, not behind all that a client can open.
pub(super) const TURN_STREAMS_MAX: u32 = 4;

/// Frames that may call for a reply and were read since the socket last took something. Beyond it a peer that does not
/// read is not read either: h2 would queue its replies without a bound, and a head is up to 60 KiB. Each write that the
/// socket takes begins the count anew, so one that reads does not notice.
pub(super) const PENDING_REPLIES_MAX: u32 = 128;

/// Frames of a response whose head has not been fetched. Its reader waits for it all the time, so only an attack reaches it;
/// the stream is reset.
pub(super) const UNCLAIMED_FRAMES_MAX: u32 = 4096;

/// What a peer has sent as padding of empty frames before it gets credit for it. h2 does not see such frames and gives
/// none. A quarter of the smallest window there is. Bytes.
pub(super) const CREDIT_BYTES_MIN: u32 = 16 * 1024;
