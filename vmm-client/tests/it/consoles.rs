//! Answers and consoles, when all goes well.

use std::io::Read;
use std::time::Duration;

use vmm_proto::id::{Digest, MachineId};
use vmm_proto::message::client::{ErrorCode, Machine, Reply, Request};
use vmm_proto::message::{ConsoleStart, Exit, Output};

use crate::authority::Authority;
use crate::client::{self, run, with};
use crate::server::Server;

pub(crate) fn machine() -> Machine {
    Machine {
        name: "dev/hello".to_owned(),
        state: "running".to_owned(),
        id: MachineId([7; 16]),
        pid: Some(5),
        kind: "spt".to_owned(),
        memory_mib: 512,
        cpus: vec![1],
        image_sha256: Digest([1; 32]),
        image_size: 9,
        started_ms: Some(0),
        restarts: 0,
        exit: None,
        reason: None,
        over_quota: false,
        jail: Vec::new(),
        run: 1,
        former: None,
        networks: Vec::new(),
    }
}

fn bytes(position: u64, data: &[u8]) -> Reply {
    Reply::Output(Output::Bytes { position, time_ms: 0, data: data.to_vec() })
}

#[tokio::test]
async fn machines_come_as_a_table_or_as_one_document() {
    for (format, expected) in
        [("table", "dev/hello  running"), ("json", "[{\"name\":\"dev/hello\"")]
    {
        let authority = Authority::new();
        let server = Server::new(&authority).await;
        let client = client::to(&authority, &server, &authority.admin());
        let client = tokio::spawn(run(with(client, &["info", "dev/", "--format", format])));
        let mut peer = server.accept().await.unwrap();
        assert_eq!(peer.request().await, Request::Info { name: Some("dev/".to_owned()) });
        let other = Machine { name: "dev/x".to_owned(), ..machine() };
        peer.reply([Reply::Machines(vec![machine()]), Reply::Machines(vec![other]), Reply::Done])
            .await;
        let ran = client.await.unwrap();
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
        assert!(ran.out.contains(expected) && ran.out.contains("dev/x"), "{}", ran.out);
        if format == "json" {
            let document: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
            assert_eq!(document.as_array().unwrap().len(), 2);
        }
    }
}

#[tokio::test]
async fn a_pipe_gets_the_guests_bytes_and_what_was_lost_is_told_beside_them() {
    let authority = Authority::new();
    let server = Server::new(&authority).await;
    let client = client::to(&authority, &server, &authority.admin());
    let client = tokio::spawn(run(with(client, &["attach", "hello", "--count", "3"])));
    let mut peer = server.accept().await.unwrap();
    let start = ConsoleStart::Lines(3);
    let request = Request::Attach { name: "hello".to_owned(), start, follow: true };
    assert_eq!(peer.request().await, request);
    peer.reply([
        bytes(0, b"one\x1b[1m\n"),
        Reply::Output(Output::Gap { position: 8, bytes: 1234 }),
        bytes(1242, b"two\n"),
        Reply::Ended { state: "exited".to_owned(), exit: Some(Exit::Code(3)) },
        Reply::Done,
    ])
    .await;
    let ran = client.await.unwrap();
    // Whatever the guest's own code was.
    assert_eq!(ran.code, Some(0));
    assert_eq!(ran.out, "one\x1b[1m\ntwo\n");
    assert_eq!(ran.err, "[… 1234 bytes of output lost …]\n");
}

#[tokio::test]
async fn a_console_in_json_is_an_event_a_line() {
    let authority = Authority::new();
    let server = Server::new(&authority).await;
    let client = client::to(&authority, &server, &authority.admin());
    let client = tokio::spawn(run(with(client, &["attach", "hello", "--format=json"])));
    let mut peer = server.accept().await.unwrap();
    peer.request().await;
    let ended = Reply::Ended { state: "stopped".to_owned(), exit: Some(Exit::Signal(9)) };
    peer.reply([bytes(0, b"hi\n"), ended, Reply::Done]).await;
    let ran = client.await.unwrap();
    let expected = "\
{\"output\":{\"position\":0,\"time\":\"1970-01-01T00:00:00.000Z\",\"text\":\"hi\\n\"}}
{\"ended\":{\"state\":\"stopped\",\"exit\":{\"signal\":9}}}
";
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), expected));
}

#[tokio::test]
async fn a_log_in_json_is_an_array_or_a_record_a_line() {
    for (words, expected) in [
        (&["log", "--format", "json"][..], "[{\"kind\":\"a\"},\n{\"kind\":\"b\"}]\n"),
        (&["log", "--format", "json", "--follow"], "{\"kind\":\"a\"}\n{\"kind\":\"b\"}\n"),
        (&["log"], " a /\n b /\n"),
    ] {
        let authority = Authority::new();
        let server = Server::new(&authority).await;
        let client = client::to(&authority, &server, &authority.admin());
        let client = tokio::spawn(run(with(client, words)));
        let mut peer = server.accept().await.unwrap();
        peer.request().await;
        let line = |line: &str| Reply::LogLine(line.to_owned());
        peer.reply([line("{\"kind\":\"a\"}"), line("{\"kind\":\"b\"}"), Reply::Done]).await;
        let ran = client.await.unwrap();
        assert_eq!((ran.code, ran.out.as_str()), (Some(0), expected), "{words:?}");
    }
}

#[tokio::test]
async fn a_reader_that_has_had_enough_ends_it_quietly() {
    let authority = Authority::new();
    let server = Server::new(&authority).await;
    let mut client = client::to(&authority, &server, &authority.admin());
    let mut child = client.args(["attach", "hello"]).spawn().unwrap();
    let mut peer = server.accept().await.unwrap();
    peer.request().await;
    peer.reply([bytes(0, b"one\n")]).await;
    let mut out = child.stdout.take().unwrap();
    let mut first = [0; 4];
    out.read_exact(&mut first).unwrap();
    drop(out);
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    // Another test's child has what was dropped, too, until it is another program.
    for position in (4..).step_by(4) {
        // It may have gone just now.
        let _gone = peer.writer.send(1, &bytes(position, b"two\n")).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        if ended.is_finished() {
            break;
        }
        assert!(position < 4 * 10_000, "it goes on");
    }
    let ended = ended.await.unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(ended.stderr, b"");
}

#[tokio::test]
async fn a_machine_that_never_ran_is_a_failure_to_start() {
    let failed = || Reply::Ended { state: "failed".to_owned(), exit: None };
    let error = vmm_proto::message::client::Error::new(ErrorCode::StartFailed, "no such CPU");
    for (replies, expected) in [
        (vec![Reply::Error(error)], "no such CPU"),
        (vec![Reply::Deployed(machine()), failed(), Reply::Done], "failed to start"),
    ] {
        let authority = Authority::new();
        let server = Server::new(&authority).await;
        let image = authority.write("hello.spt", "image");
        let client = client::to(&authority, &server, &authority.admin());
        let image = image.to_str().unwrap();
        let words = ["run", "hello", image, "--memory", "1", "--cpu", "1", "--attach"];
        let client = tokio::spawn(run(with(client, &words)));
        let mut peer = server.accept().await.unwrap();
        peer.request().await;
        peer.reply(replies).await;
        let ran = client.await.unwrap();
        assert_eq!(ran.code, Some(6));
        assert!(ran.err.contains(expected), "{}", ran.err);
    }
}
