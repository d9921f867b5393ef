//! Who may connect, and who is sent away.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::Errno;
use rustix::process::geteuid;
use vmm_proto::message::spawn::{FromSpawn, MAX_PACKET, Role, ToSpawn};
use vmm_proto::message::{Exit, VERSION, wire};
use vmm_testkit::skipped;

use crate::harness::{Client, Daemon, id, run_of, start};

#[test]
fn the_welcome_says_what_of_the_jail_is_missing_and_so_does_the_log() {
    let daemon = Daemon::start();
    let supervisor = daemon.supervisor();
    assert!(!supervisor.jail.is_empty());
    for missing in &supervisor.jail {
        daemon.logs(missing);
    }
}

#[test]
fn the_console_may_not_give_orders() {
    let daemon = Daemon::start();
    let image = daemon.image("image", "say ready");
    let orders = [
        ToSpawn::Stop { id: id(1), run: run_of(id(1)), force: true },
        ToSpawn::EndSeen { id: id(1), run: run_of(id(1)) },
        ToSpawn::Forget { id: id(1) },
        ToSpawn::Ping,
        ToSpawn::HostNetworks { number: 1, networks: Vec::new() },
    ];
    for order in orders {
        let mut console = daemon.console();
        console.send(&order);
        console.is_closed();
    }
    let mut console = daemon.console();
    console.send_with(&ToSpawn::Start(start(id(1), &[])), &[image.as_fd()]);
    console.is_closed();
    daemon.logs("it asked as the console for what only the supervisor may ask for");
    assert_eq!(daemon.census().1, 0);
}

#[test]
fn the_supervisor_may_ask_whether_somebody_is_there() {
    let daemon = Daemon::start();
    let mut supervisor = daemon.supervisor();
    for _ in 0..3 {
        supervisor.send(&ToSpawn::Ping);
        assert_eq!(supervisor.next(), FromSpawn::Pong);
    }
}

#[test]
fn nonsense_ends_the_connection_and_nothing_else() {
    let daemon = Daemon::start();
    let mut bystander = daemon.supervisor();
    let census = daemon.census();
    let hello = wire::encode(&ToSpawn::Hello { version: VERSION, role: Role::Console }).unwrap();
    let other = ToSpawn::Hello { version: VERSION + 1, role: Role::Supervisor };
    let order = ToSpawn::Stop { id: id(1), run: run_of(id(1)), force: true };
    let cases = [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "cannot be read"),
        (vec![0xff; 100], "cannot be read"),
        (hello[..hello.len() - 1].to_vec(), "cannot be read"),
        ([&hello[..], b"x"].concat(), "1 bytes follow the end"),
        (vec![0; MAX_PACKET + 1], "more than 32768 bytes"),
        (vec![0; 100_000], "more than 32768 bytes"),
        (wire::encode(&other).unwrap(), "it speaks version 2"),
        (wire::encode(&order).unwrap(), "did not begin with a hello"),
    ];
    for (bytes, logged) in cases {
        let mut client = Client::connect(&daemon.socket());
        client.send_bytes(&bytes, &[]).unwrap();
        client.is_closed();
        daemon.logs(logged);
        daemon.comes_back_to(census);
    }
    bystander.run(id(1), daemon.image("image", "say ready"), &[]);
    assert_eq!(bystander.exit(id(1)).0, Exit::Code(0));
}

#[test]
fn a_second_hello_and_stray_descriptors_end_the_connection() {
    let daemon = Daemon::start();
    let mut client = daemon.supervisor();
    let census = daemon.census();
    client.send(&ToSpawn::Hello { version: VERSION, role: Role::Supervisor });
    client.is_closed();
    daemon.logs("it said hello twice");
    let mut client = daemon.supervisor();
    let image = daemon.image("image", "");
    client.send_with(&ToSpawn::Forget { id: id(1) }, &[image.as_fd()]);
    client.is_closed();
    daemon.logs("it sent descriptors where none belong");
    daemon.comes_back_to((census.0 - 1, 0));
}

#[test]
fn the_longest_start_fits() {
    let daemon = Daemon::start();
    let mut supervisor = daemon.supervisor();
    let image = daemon.image("image", "say ready; exit $#");
    let words = vec!["x".repeat(40); 200];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    supervisor.run(id(1), &image, &words);
    assert_eq!(supervisor.exit(id(1)).0, Exit::Code(200));
}

#[test]
fn a_new_supervisor_replaces_the_old_and_is_told_everything() {
    let daemon = Daemon::start();
    let mut old = daemon.supervisor();
    let stays = daemon.image("stays", "say ready; exec /bin/sleep 1000");
    let ends = daemon.image("ends", "say ready; exit 2");
    let pid = old.run(id(1), &stays, &[]);
    old.run(id(2), &ends, &[]);
    old.exit(id(2));
    let mut new = daemon.supervisor();
    old.is_closed();
    assert_eq!(new.known, 2);
    assert_eq!(new.next(), FromSpawn::Known { id: id(1), run: 1, pid: Some(pid), ready: true });
    assert_eq!(new.next(), FromSpawn::Known { id: id(2), run: 1, pid: None, ready: false });
    assert_eq!(new.exit(id(2)).0, Exit::Code(2));
    new.send(&ToSpawn::Stop { id: id(1), run: run_of(id(1)), force: true });
    assert_eq!(new.exit(id(1)).0, Exit::Signal(9));
}

#[test]
fn exits_are_kept_until_they_are_acknowledged_each_of_them() {
    let daemon = Daemon::start();
    let mut supervisor = daemon.supervisor();
    let image = daemon.image("image", "say ready; exit $1");
    for status in ["1", "2"] {
        supervisor.run(id(1), &image, &[status]);
        supervisor.exit(id(1));
    }
    drop(supervisor);
    let known = FromSpawn::Known { id: id(1), run: 2, pid: None, ready: false };
    let mut supervisor = daemon.supervisor();
    assert_eq!(supervisor.next(), known);
    assert_eq!(supervisor.exit(id(1)).0, Exit::Code(1));
    assert_eq!(supervisor.exit(id(1)).0, Exit::Code(2));
    supervisor.send(&ToSpawn::EndSeen { id: id(1), run: 1 });
    drop(supervisor);
    let mut supervisor = daemon.supervisor();
    assert_eq!(supervisor.next(), known);
    assert_eq!(supervisor.exit(id(1)).0, Exit::Code(2));
}

#[test]
fn without_acknowledgements_a_machine_is_not_started_forever() {
    let daemon = Daemon::start();
    let mut supervisor = daemon.supervisor();
    let image = daemon.image("image", "say ready");
    for _ in 0..8 {
        supervisor.run(id(1), &image, &[]);
        supervisor.exit(id(1));
    }
    supervisor.start(id(1), &image, &[]);
    assert_eq!(supervisor.start_fails(id(1)), "8 of its ends were not acknowledged");
    supervisor.send(&ToSpawn::EndSeen { id: id(1), run: 1 });
    supervisor.run(id(1), &image, &[]);
}

#[test]
fn machines_run_on_while_nobody_supervises_and_their_end_is_told_later() {
    let daemon = Daemon::start();
    let mut supervisor = daemon.supervisor();
    let image = daemon.image("image", "say ready; read line < \"$1\"; echo $line; exit 4");
    let fifo = daemon.dir.path().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    // Machines may have users of their own.
    fs::set_permissions(&fifo, fs::Permissions::from_mode(0o666)).unwrap();
    supervisor.run(id(1), &image, &[fifo.to_str().unwrap()]);
    drop(supervisor);
    fs::write(&fifo, "now\n").unwrap();
    daemon.logs("has ended");
    let mut supervisor = daemon.supervisor();
    assert_eq!(supervisor.next(), FromSpawn::Known { id: id(1), run: 1, pid: None, ready: false });
    assert_eq!(supervisor.exit(id(1)), (Exit::Code(4), 4));
}

#[test]
fn a_peer_that_never_reads_is_sent_away_and_nobody_waits_for_it() {
    let daemon = Daemon::start();
    let census = daemon.census();
    let stuck = daemon.supervisor();
    let mut console = daemon.console();
    // Each is answered: without an image it cannot be.
    let bytes = wire::encode(&ToSpawn::Start(start(id(1), &[]))).unwrap();
    let sent = (0..20_000).take_while(|_| stuck.send_bytes(&bytes, &[]).is_ok()).count();
    assert!((4096..20_000).contains(&sent), "{sent}");
    // A reset is told once, when answers were left unread, before or after the first failed send.
    let closed = [Err(Errno::PIPE), Err(Errno::CONNRESET)];
    assert!(closed.contains(&stuck.send_bytes(&bytes, &[])));
    daemon.logs("it does not read");
    let mut supervisor = daemon.supervisor();
    supervisor.run(id(2), daemon.image("image", "say ready; echo fine"), &[]);
    supervisor.exit(id(2));
    assert_eq!(console.ring().1.text(), "fine\n");
    supervisor.send(&ToSpawn::Forget { id: id(2) });
    drop((stuck, supervisor, console));
    daemon.comes_back_to(census);
}

#[test]
fn only_a_few_may_be_silent_and_none_for_long() {
    let daemon = Daemon::start();
    let census = daemon.census();
    let mut silent: Vec<Client> = (0..8).map(|_| Client::connect(&daemon.socket())).collect();
    daemon.comes_back_to((census.0 + 8, 0));
    Client::connect(&daemon.socket()).is_closed();
    // Whoever has said who it is does not count.
    silent[0].hello(Role::Supervisor);
    silent[1].hello(Role::Console);
    for client in &mut silent[2..] {
        client.is_closed();
    }
    daemon.logs("it did not say hello within 10 s");
    daemon.comes_back_to((census.0 + 2, 0));
}

#[test]
fn foreign_users_are_sent_away() {
    if !geteuid().is_root() {
        return skipped("foreign_users_are_sent_away: only root can be someone else");
    }
    let daemon = Daemon::start();
    // What keeps them out shall not be the mode of the socket alone.
    assert_eq!(fs::metadata(daemon.socket()).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(daemon.socket(), fs::Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(daemon.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // This test program may stand where they cannot reach it.
    let program = daemon.dir.path().join("program");
    // Not by this process: what it writes could be open in a child that another thread starts.
    let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&program).status();
    assert!(copied.unwrap().success());
    let connects = |uid| {
        Command::new(&program)
            .args(["--exact", "peers::connects_and_says_hello", "--ignored"])
            .env("SPAWN_SOCKET", daemon.socket())
            .current_dir("/")
            .uid(uid)
            .gid(uid)
            .output()
            .unwrap()
    };
    let output = connects(65534);
    assert!(!output.status.success(), "{output:?}");
    daemon.logs("a foreign user is sent away");
    // It was that, and nothing else about it.
    let output = connects(0);
    assert!(output.status.success(), "{output:?}");
}

#[test]
#[ignore = "run as another user by foreign_users_are_sent_away"]
fn connects_and_says_hello() {
    let mut client = Client::connect(std::env::var("SPAWN_SOCKET").unwrap().as_ref());
    client.hello(Role::Supervisor);
}
