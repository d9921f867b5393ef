//! A stream of frames, and the message in each.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmm_proto::frame::{HEADER, Header, encode};
use vmm_proto::message::client::ToServer;
use vmm_proto::message::wire;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Some((header, behind)) = rest.split_first_chunk::<HEADER>() {
        let Ok(Header { length, request }) = Header::parse(*header) else { return };
        let Some((body, behind)) = behind.split_at_checked(length) else { return };
        let mut again = Vec::new();
        encode(request, body, &mut again).unwrap();
        assert_eq!(again, rest[..again.len()]);
        let _ = wire::decode::<ToServer>(body);
        rest = behind;
    }
});
