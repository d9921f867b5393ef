//! A disk that is full, or that cannot be written: nothing is lost, nothing is handed out that the
//! database does not know, and nothing has to be repaired when there is room again.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::statvfs;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, mount_remount, unmount,
};
use rustix::process::geteuid;
use vmm_ca::database::{Database, Issued};
use vmm_ca::{Exit, pem};
use vmm_proto::authority::Serial;
use vmm_proto::chain::certificate::Certificate;
use vmm_proto::chain::crl::{Crl, pem::CrlFile};
use vmm_testkit::skipped;

use crate::desk::{Desk, Outcome};

const FULL: &str = "No space left on device";
const READ_ONLY: &str = "Read-only file system";

/// Room for a file's last bytes, at most: more than a record and what is written for it.
const PAGE: usize = 4096;

const SIGN: &str = "sign dev.db dev.bundle dev.key admin.req --renew";
const BATCH: &str = "sign-batch dev.db dev.bundle dev.key many.csv --renew";
const REVOKE: &str = "revoke dev.db dev.bundle dev.key admin";

/// A small file system in memory, at a desk. Unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    /// `None`, said loudly, for somebody who may not mount one; with `CI=true` that is a failure.
    fn at(desk: &Desk) -> Option<Self> {
        if !geteuid().is_root() {
            skipped("full and read-only disks: only root can mount them");
            return None;
        }
        let path = desk.path("");
        mount("vmm-ca-test", &path, "tmpfs", MountFlags::empty(), c"size=1m,mode=0700").unwrap();
        let small = Self(path);
        mount_change(&small.0, MountPropagationFlags::PRIVATE).unwrap();
        Some(small)
    }

    /// Takes all the room there is left, but so many bytes; dropped, it is given back.
    fn fill_but(&self, left: usize) -> Filled {
        room_is_free_again(&self.0);
        let spare = self.0.join("spare");
        std::fs::write(&spare, vec![b'x'; left]).unwrap();
        let filled = Filled(self.0.join("filled"));
        let mut file = File::create(&filled.0).unwrap();
        for piece in [64 << 10, PAGE, 1] {
            while file.write_all(&vec![b'x'; piece]).is_ok() {}
        }
        std::fs::remove_file(spare).unwrap();
        room_is_free_again(&self.0);
        filled
    }

    fn read_only(&self, on: bool) {
        let flags = if on { MountFlags::RDONLY } else { MountFlags::empty() };
        mount_remount(&self.0, flags, "").unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.0, UnmountFlags::DETACH) {
            eprintln!("{} stays mounted: {error}", self.0.display());
        }
    }
}

/// Room that is taken on a disk.
struct Filled(PathBuf);

impl Drop for Filled {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
        room_is_free_again(self.0.parent().unwrap());
    }
}

/// Waits until only files that have a name take room. A removed one takes it as long as it is open, and
/// children of other tests have it open, too, until they execute their program.
fn room_is_free_again(disk: &Path) {
    let patience = Instant::now() + Duration::from_mins(1);
    loop {
        let room = statvfs(disk).unwrap();
        let named: u64 = std::fs::read_dir(disk)
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().blocks() * 512)
            .sum();
        let taken = (room.f_blocks - room.f_bfree) * room.f_frsize;
        if taken == named {
            return;
        }
        assert!(Instant::now() < patience, "{taken} bytes are taken, {named} of them by files");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What was there before something fails.
struct Before {
    files: Vec<(String, Vec<u8>)>,
    issued: Vec<Issued>,
    revoked: Vec<Serial>,
}

impl Before {
    fn of(desk: &Desk) -> Self {
        let database = database(desk);
        Self {
            files: files(desk),
            issued: database.issued().to_vec(),
            revoked: database.revoked().keys().cloned().collect(),
        }
    }

    /// Every former record is there, whole lines only, and every other file is as it was.
    #[track_caller]
    fn is_kept(&self, desk: &Desk) {
        let database = database(desk);
        assert!(!database.was_torn() && database.issued().starts_with(&self.issued));
        assert!(self.revoked.iter().all(|serial| database.revoked().contains_key(serial)));
        let others = |files: &[(String, Vec<u8>)]| -> Vec<(String, Vec<u8>)> {
            files.iter().filter(|(name, _)| name != "dev.db").cloned().collect()
        };
        assert!(others(&files(desk)) == others(&self.files), "{:?}", desk.files());
    }
}

/// All files but the one that takes the room, with their content.
fn files(desk: &Desk) -> Vec<(String, Vec<u8>)> {
    let names = desk.files().into_iter().filter(|name| name != "filled");
    names.map(|name| (name.clone(), desk.read(&name))).collect()
}

fn database(desk: &Desk) -> Database {
    Database::list(&desk.path("dev.db")).unwrap()
}

/// Every certificate of `dev`, and every serial on its list, is in its database.
#[track_caller]
fn everything_handed_out_is_known(desk: &Desk) {
    let database = database(desk);
    for label in ["admin", "alice", "bob"].iter().filter(|label| desk.has(&format!("{label}.pem")))
    {
        let [certificate, bundle] = ["pem", "bundle"].map(|end| {
            let found = pem::read_certificates(&desk.path(&format!("{label}.{end}"))).unwrap();
            Certificate::parse(&found[0]).unwrap().serial
        });
        assert_eq!(certificate, bundle);
        assert!(database.issued().iter().any(|issued| issued.serial == certificate), "{label}");
    }
    if desk.has("dev.crl") {
        let list = CrlFile::parse(&desk.read("dev.crl")).unwrap();
        let list = Crl::parse(&list.der).unwrap();
        for serial in list.entries() {
            assert!(database.revoked().contains_key(&Serial(serial.unwrap().into())));
        }
    }
}

/// A desk with `dev`, which has signed `admin` and taken one certificate back, and whatever the
/// commands need.
fn furnished(desk: &Desk) {
    for line in [
        "init ca ca.db --server localhost",
        "request delegation dev 9 2048 --cpu 0",
        "sign ca.db cacert.pem ca.key dev.req",
        "request permissions admin --permission info",
        SIGN,
        REVOKE,
        SIGN,
        "request delegation alice 1 64 --cpu 0",
        "request delegation bob 1 64 --cpu 0",
    ] {
        desk.run(line).done();
    }
    desk.write("many.csv", "label,request\nalice,alice.req\nbob,bob.req\n");
}

/// Runs a command on a disk without room, as often as it takes until there is none in the last
/// block of the database either: then it fails, and before that it does whole things.
#[track_caller]
fn fails_without_room(desk: &Desk, small: &Disk, left: usize, line: &str) -> Vec<Outcome> {
    let _filled = small.fill_but(left);
    let mut failed = Vec::new();
    for _ in 0..20 {
        let before = Before::of(desk);
        let outcome = desk.run(line);
        everything_handed_out_is_known(desk);
        // What is done fits into the blocks that files have already.
        if outcome.exit != Exit::Done {
            before.is_kept(desk);
            failed.push(outcome.ended(Exit::Failed, FULL));
        }
    }
    failed
}

fn says(outcomes: &[Outcome], text: &str) -> bool {
    outcomes.iter().any(|outcome| outcome.err.contains(text))
}

#[test]
fn on_a_full_disk_nothing_is_signed_or_taken_back_by_halves() {
    for line in [SIGN, BATCH, REVOKE] {
        let desk = Desk::new();
        let Some(small) = Disk::at(&desk) else { return };
        furnished(&desk);
        let mut failed = Vec::new();
        for left in [0, PAGE, 2 * PAGE] {
            failed.extend(fails_without_room(&desk, &small, left, line));
        }
        assert!(says(&failed, "cannot write"), "{failed:#?}");
        // The disk is as good as before.
        for line in [SIGN, BATCH, REVOKE] {
            desk.run(line).done();
        }
        everything_handed_out_is_known(&desk);
        assert!(!database(&desk).was_torn());
    }
}

#[test]
fn on_a_full_disk_what_was_recorded_and_not_written_is_told() {
    let desk = Desk::new();
    let Some(small) = Disk::at(&desk) else { return };
    furnished(&desk);
    for (line, told) in [(SIGN, "sign it again with --renew"), (REVOKE, "`vmm-ca crl` makes it")] {
        // The database may have room left in its last block, or is given one.
        let failed: Vec<Outcome> = [0, PAGE]
            .iter()
            .flat_map(|left| fails_without_room(&desk, &small, *left, line))
            .collect();
        assert!(says(&failed, told), "{line}: {failed:#?}");
    }
    desk.run("crl dev.db dev.bundle dev.key").done();
    everything_handed_out_is_known(&desk);
}

#[test]
fn on_a_full_disk_no_part_of_an_authority_is_left() {
    let desk = Desk::new();
    let Some(small) = Disk::at(&desk) else { return };
    // As many files as there is room for: a key, two keys, the database, the certificates.
    for blocks in 0..5 {
        let _filled = small.fill_but(blocks * PAGE);
        let said = desk.run("init ca ca.db --server localhost").ended(Exit::Failed, FULL);
        assert_eq!(desk.files(), ["filled"], "{said:?}");
    }
    desk.run("init ca ca.db --server localhost").done();
}

#[test]
fn on_a_full_disk_no_part_of_a_new_database_is_left() {
    let desk = Desk::new();
    let Some(small) = Disk::at(&desk) else { return };
    furnished(&desk);
    desk.remove("dev.db");
    for name in ["admin.pem", "admin.bundle", "dev.crl"] {
        desk.remove(name);
    }
    let _filled = small.fill_but(0);
    let before = files(&desk);
    for line in [SIGN, BATCH, "crl dev.db dev.bundle dev.key"] {
        desk.run(line).ended(Exit::Failed, FULL);
        assert!(files(&desk) == before, "{:?}", desk.files());
    }
}

#[test]
fn on_a_full_disk_a_batch_keeps_the_keys_that_its_database_knows_and_no_others() {
    let desk = Desk::new();
    let Some(small) = Disk::at(&desk) else { return };
    furnished(&desk);
    let (mut kept, mut removed) = (0, 0);
    for blocks in 0..4 {
        let label = format!("own-{blocks}");
        desk.write("many.csv", format!("label,machines,memory,cpus\n{label},1,64,0\n"));
        let filled = small.fill_but(blocks * PAGE);
        let outcome = desk.run("sign-batch dev.db dev.bundle dev.key many.csv");
        drop(filled);
        let known = database(&desk).issued().iter().any(|issued| issued.name == label);
        assert_eq!(desk.has(&format!("{label}.key")), known, "{outcome:?}");
        if outcome.exit != Exit::Done {
            outcome.ended(Exit::Failed, FULL);
            assert!(!desk.has(&format!("{label}.pem")) && !desk.has(&format!("{label}.bundle")));
            *(if known { &mut kept } else { &mut removed }) += 1;
        }
    }
    assert!(kept > 0 && removed > 0, "{kept} {removed}");
}

#[test]
fn on_a_read_only_disk_nothing_changes_and_the_reason_is_named() {
    let desk = Desk::new();
    let Some(small) = Disk::at(&desk) else { return };
    small.read_only(true);
    desk.run("init ca ca.db --server localhost").ended(Exit::Failed, READ_ONLY);
    assert!(desk.files().is_empty());
    small.read_only(false);
    furnished(&desk);
    let before = files(&desk);
    small.read_only(true);
    for line in [SIGN, BATCH, REVOKE] {
        desk.run(line).ended(Exit::Failed, READ_ONLY);
        assert!(files(&desk) == before, "{line}");
    }
    desk.run("list dev.db").done();
    small.read_only(false);
    for line in [SIGN, BATCH, REVOKE] {
        desk.run(line).done();
    }
    everything_handed_out_is_known(&desk);
}
