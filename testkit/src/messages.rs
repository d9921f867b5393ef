//! Messages in frames, one at a time.

use std::io::{ErrorKind, Read, Result, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use vmm_proto::frame::{self, HEADER, Header};
use vmm_proto::message::Hello;
use vmm_proto::message::wire::{self, FromWire, ToWire};

use crate::wait::{PATIENCE, until};

/// Writes a message that belongs to `request`.
///
/// # Errors
/// What the stream says, as when the other side has closed.
///
/// # Panics
/// When the message is larger than a frame may be.
pub fn write(stream: &mut impl Write, request: u32, message: &impl ToWire) -> Result<()> {
    let body = wire::encode(message).expect("a message that can be encoded");
    let mut bytes = Vec::new();
    frame::encode(request, &body, &mut bytes).expect("a body that a frame can hold");
    stream.write_all(&bytes)?;
    stream.flush()
}

/// The next message and the request it belongs to; `None` when the other side has closed between two
/// frames. Of TLS that is also when it closed without saying so.
///
/// # Errors
/// What the stream says, [`ErrorKind::WouldBlock`] when its time is up;
/// [`ErrorKind::UnexpectedEof`] when it ends inside a frame.
///
/// # Panics
/// When what comes is no frame, or holds no such message: no part of the suite may send that.
pub fn read<T: FromWire>(stream: &mut impl Read) -> Result<Option<(u32, T)>> {
    let mut header = [0; HEADER];
    // By one byte: an end before it is no error.
    match stream.read_exact(&mut header[..1]) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        begun => begun?,
    }
    stream.read_exact(&mut header[1..])?;
    let Header { length, request } = Header::parse(header).expect("a header");
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Some((request, wire::decode(&body).expect("a message of this type"))))
}

/// The next message, which has to come, and the request it belongs to.
///
/// # Panics
/// When none comes, and as [`read`].
#[track_caller]
pub fn receive<T: FromWire>(stream: &mut impl Read) -> (u32, T) {
    match read(stream) {
        Ok(Some(message)) => message,
        Ok(None) => panic!("closed, and a message was to come"),
        Err(error) => panic!("a message was to come: {error}"),
    }
}

/// Says hello and hears the hello of `name`.
///
/// # Panics
/// When the other side does not take it, or says anything else.
#[track_caller]
pub fn greet(stream: &mut (impl Read + Write), name: &str) {
    if let Err(error) = write(stream, 0, &Hello::of("test")) {
        panic!("{name} takes no hello: {error}");
    }
    let said: (u32, Hello) = receive(stream);
    assert_eq!(said, (0, Hello::of(name)));
}

/// A connection to the daemon `name` after the hellos, as soon as it listens at `path`. What is read
/// from it may take [`PATIENCE`].
///
/// # Panics
/// When nobody listens there within [`PATIENCE`], or somebody else; as [`greet`].
#[track_caller]
pub fn connect(path: &Path, name: &str) -> UnixStream {
    let what = format!("{name} listens at {}", path.display());
    let mut stream = until(&what, || UnixStream::connect(path).ok());
    stream.set_read_timeout(Some(PATIENCE)).expect("a time for reading");
    greet(&mut stream, name);
    stream
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of request 7, as bytes.
    fn frame() -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut bytes, 7, &"some words".to_owned()).unwrap();
        bytes
    }

    #[test]
    fn what_was_written_is_read_again_then_the_end() {
        let bytes = [frame(), frame()].concat();
        let mut stream = &bytes[..];
        for _ in 0..2 {
            assert_eq!(receive(&mut stream), (7, "some words".to_owned()));
        }
        assert_eq!(read::<String>(&mut stream).unwrap(), None);
    }

    #[test]
    fn an_end_inside_a_frame_is_an_error_wherever_it_is() {
        let bytes = frame();
        for end in 1..bytes.len() {
            let error = read::<String>(&mut &bytes[..end]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "after {end} bytes");
        }
    }

    #[test]
    #[should_panic(expected = "a header: TooLong")]
    fn no_memory_is_set_aside_for_a_frame_that_is_too_long() {
        drop(read::<String>(&mut &[0xff; 64][..]));
    }

    #[test]
    #[should_panic(expected = "a message of this type")]
    fn a_message_of_another_type_is_none() {
        drop(read::<u8>(&mut &frame()[..]));
    }

    #[test]
    #[should_panic(expected = "closed, and a message was to come")]
    fn an_end_where_a_message_was_to_come_is_said() {
        receive::<String>(&mut &[][..]);
    }

    #[test]
    fn two_who_greet_each_other_know_that_this_is_a_test() {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        write(&mut there, 0, &Hello::of("vmm-other")).unwrap();
        greet(&mut here, "vmm-other");
        assert_eq!(receive(&mut there), (0, Hello::of("test")));
    }

    #[test]
    #[should_panic(expected = "vmm-another")]
    fn a_greeting_by_another_daemon_is_not_taken() {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        write(&mut there, 0, &Hello::of("vmm-other")).unwrap();
        greet(&mut here, "vmm-another");
    }
}
