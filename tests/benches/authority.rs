//! `cargo bench -p vmm-tests --bench authority`: what deciding about a chain costs, beside what rustls
//! itself does with the same one, in one run; and what a large revocation list costs. Fails when a
//! figure is over its limit.

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::hint::black_box;
use std::io::{Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use vmm_proto::chain::crl::authorize_crl;
use vmm_proto::chain::{Root, authorize, verify_path};
use vmm_proto::revocation::MAX_SERIALS;
use vmm_tests::forge::crl::{Entries, List};
use vmm_tests::forge::key::{Key, Kind};
use vmm_tests::forge::{Forge, Forged, der};

/// 15 January 2027, in Unix seconds.
const NOW: i64 = 1_800_000_000;

/// How often each thing is measured, in turns with what it is compared with; the median counts.
const RUNS: usize = 301;

/// What authorizing may cost, beside what rustls does to verify the same chain.
const LIMIT: f64 = 1.5;

/// How long a list of 2^20 entries may take, and how much longer one of twice the entries.
const LIST_LIMIT: Duration = Duration::from_secs(2);

/// A client with six delegations above it, and the server it talks to.
struct Pair {
    root: Root,
    client: Forged,
    presented: Vec<CertificateDer<'static>>,
    rustls: Arc<dyn ClientCertVerifier>,
    client_config: Arc<ClientConfig>,
    server_config: Arc<ServerConfig>,
}

impl Pair {
    fn of(kind: Kind) -> Self {
        let key = || Key::generate(kind);
        let mut forge = Forge::root("ca root");
        forge.last().key = key();
        let server = forge.clone().server("host", &["localhost"], &[], |c| c.key = key()).sign();
        for depth in 1..=6 {
            forge = forge.delegation(&format!("d{depth}"), |c| c.key = key());
        }
        let client = forge.permissions("admin", &[0], |c| c.key = key()).sign();
        // An ECDSA signature is random, so this root is not the bytes of the server's.
        let (clients_root, servers_root) = (client.root_der(), server.root_der());
        let provider = Arc::new(vmm_service::tls::provider());
        let rustls =
            WebPkiClientVerifier::builder_with_provider(store(clients_root), Arc::clone(&provider))
                .build()
                .unwrap();
        let presented = certificates(client.chain_der());
        let mut client_config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(store(servers_root))
            .with_client_auth_cert(presented.clone(), private_key(&client))
            .unwrap();
        let server_config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(Arc::clone(&rustls))
            .with_single_cert(certificates(server.chain_der()), private_key(&server))
            .unwrap();
        // A resumed session verifies nothing.
        client_config.resumption = Resumption::disabled();
        Self {
            root: Root::from_der(clients_root).unwrap(),
            client,
            presented,
            rustls,
            client_config: Arc::new(client_config),
            server_config: Arc::new(server_config),
        }
    }

    fn by_rustls(&self) {
        let (leaf, above) = self.presented.split_first().unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW.unsigned_abs()));
        black_box(self.rustls.verify_client_cert(leaf, above, now).unwrap());
    }

    fn by_us(&self) {
        black_box(authorize(&self.presented, &self.root, None, NOW).unwrap());
    }

    fn in_handshake(&self) {
        verify_path(black_box(&self.presented), &self.root, NOW).unwrap();
    }

    /// Both ends in this thread, until the server knows its client.
    fn handshake(&self) {
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(Arc::clone(&self.client_config), name).unwrap();
        let mut server = ServerConnection::new(Arc::clone(&self.server_config)).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).unwrap();
            }
            pass(&bytes, |reader| server.read_tls(reader));
            server.process_new_packets().unwrap();
            bytes.clear();
            while server.wants_write() {
                server.write_tls(&mut bytes).unwrap();
            }
            pass(&bytes, |reader| client.read_tls(reader));
            client.process_new_packets().unwrap();
        }
        assert_eq!(server.peer_certificates().map(<[_]>::len), Some(self.presented.len()));
    }
}

fn pass(mut bytes: &[u8], mut read: impl FnMut(&mut dyn Read) -> std::io::Result<usize>) {
    while !bytes.is_empty() {
        read(&mut bytes).unwrap();
    }
}

fn store(root: &[u8]) -> Arc<RootCertStore> {
    let mut store = RootCertStore::empty();
    store.add(root.to_vec().into()).unwrap();
    Arc::new(store)
}

fn certificates(chain: Vec<Vec<u8>>) -> Vec<CertificateDer<'static>> {
    chain.into_iter().map(CertificateDer::from).collect()
}

fn private_key(of: &Forged) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(of.key_pkcs8().into())
}

/// Processor time of this thread: what else runs on this machine does not count.
fn time(run: impl FnOnce()) -> Duration {
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let begun = now();
    run();
    now().saturating_sub(begun)
}

/// The medians of several things, each run in turn with the others: a processor that becomes slower
/// meanwhile does so for all of them.
fn medians<const N: usize>(things: [&dyn Fn(); N]) -> [Duration; N] {
    let mut times = things.map(|_| Vec::with_capacity(RUNS));
    for _ in 0..RUNS {
        for (thing, times) in things.iter().zip(&mut times) {
            times.push(time(thing));
        }
    }
    times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    })
}

/// Whether authorizing keeps its limit.
fn chains(out: &mut impl Write, name: &str, kind: Kind) -> bool {
    let pair = Pair::of(kind);
    assert_eq!(pair.client.certificates.len(), 8);
    let [rustls, ours, path, handshake] =
        medians([&|| pair.by_rustls(), &|| pair.by_us(), &|| pair.in_handshake(), &|| {
            pair.handshake();
        }]);
    let ratio = ours.as_secs_f64() / rustls.as_secs_f64();
    let both = (ours + path).as_secs_f64() / handshake.as_secs_f64();
    writeln!(out, "{name}, six delegations and a leaf").unwrap();
    writeln!(out, "  rustls verifies the client's chain      {rustls:>12.1?}").unwrap();
    writeln!(out, "  chain::authorize                        {ours:>12.1?}  {ratio:.2} times that, at most {LIMIT}").unwrap();
    writeln!(out, "  chain::verify_path, in the handshake    {path:>12.1?}").unwrap();
    writeln!(out, "  a whole handshake of rustls, both ends  {handshake:>12.1?}  of which the two are {both:.2}").unwrap();
    ratio <= LIMIT
}

/// So many entries of 16 octets, each another one, the last ones first.
fn entries(count: usize) -> Vec<u8> {
    let entry = |number: u64| {
        let mut entry = vec![der::SEQUENCE, 33, der::INTEGER, 16, 0x40];
        entry.extend([0; 7]);
        entry.extend((count as u64 - number).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        entry.extend([der::UTC_TIME, 13]);
        entry.extend(b"260101000000Z");
        entry
    };
    (0..count as u64).flat_map(entry).collect()
}

/// Whether a large list keeps its limit.
fn list(out: &mut impl Write) -> bool {
    let forge = Forge::root("ca root").delegation("dev", |_| {});
    let forged = forge.sign();
    let root = Root::from_der(forged.root_der()).unwrap();
    let chain = certificates(forged.chain_der());
    let mut list = List::of(1, &[]);
    let mut judge = |count: usize| {
        list.entries = Entries::Raw(entries(count));
        let der = list.sign(&forge.drafts[1]);
        let took = time(|| {
            let authority = authorize_crl(&der, &chain, &root, None, NOW).unwrap();
            assert_eq!(authority.list.serials.len(), count);
        });
        writeln!(out, "a list of {count} entries, {} bytes: {took:.1?}", der.len()).unwrap();
        took
    };
    judge(MAX_SERIALS / 2);
    let largest = judge(MAX_SERIALS);
    writeln!(out, "  at most {LIST_LIMIT:?}").unwrap();
    largest <= LIST_LIMIT
}

fn main() -> ExitCode {
    let mut out = std::io::stdout().lock();
    let kinds = [("Ed25519", Kind::Ed25519), ("P-256", Kind::P256), ("P-384", Kind::P384)];
    let mut right = true;
    for (name, kind) in kinds {
        right &= chains(&mut out, name, kind);
    }
    right &= list(&mut out);
    if right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
