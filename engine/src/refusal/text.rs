//! The words of refusals.

use std::fmt::Write as _;

use jiff::Timestamp;
use vmm_proto::authority::Validity;
use vmm_proto::name::Path;
use vmm_proto::resource::{BridgeName, CpuSet};

use super::{Context, Quantity};

/// At most so many machines are named in a message.
const NAMED: usize = 4;

/// A path as people know it.
pub(super) fn place(path: &Path) -> String {
    if path.is_host() { "this host".to_owned() } else { format!("delegation \"{path}\"") }
}

/// RFC 3339 in UTC.
pub(super) fn time(unix_ms: u64) -> String {
    let timestamp = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    timestamp.map_or_else(|| format!("{unix_ms} ms"), |timestamp| format!("{timestamp:.0}"))
}

pub(super) fn when(validity: Validity, now_s: i64) -> String {
    if now_s < validity.not_before {
        format!("is not valid for another {} s", validity.not_before.saturating_sub(now_s))
    } else {
        format!("expired {} s ago", now_s.saturating_sub(validity.not_after))
    }
}

pub(super) fn way(validity: Validity, now_s: i64) -> &'static str {
    if now_s < validity.not_before {
        "wait, or compare the clocks"
    } else {
        "ask its issuer for a new certificate"
    }
}

pub(super) fn cpu(path: &Path, cpus: &CpuSet, allowed: &CpuSet) -> String {
    let noun = if cpus.ids().len() == 1 { "CPU" } else { "CPUs" };
    format!("{noun} {cpus} may not be used: {} has {allowed}", place(path))
}

/// A bridge that is not usable.
pub(super) fn no_bridge(path: &Path, bridge: &BridgeName) -> String {
    let text = format!("bridge \"{bridge}\" may not be used: {} has no", place(path));
    if path.is_host() {
        format!(
            "{text} such bridge for machines now; name another one, or ask the host's admin, whom \
             `vmm-client host network list` tells why a network of the host is down; another \
             bridge is offered with vmm-spawn --bridge"
        )
    } else {
        format!("{text} bridge of that name")
    }
}

/// `1 machine`, `512 MiB of memory`.
fn amount(quantity: Quantity, count: u64) -> String {
    match (quantity, count) {
        (Quantity::Machines, 1) => "1 machine".to_owned(),
        (Quantity::Machines, count) => format!("{count} machines"),
        (Quantity::Memory, count) => format!("{count} MiB of memory"),
    }
}

/// A limit that would be exceeded: what fits in a line, and below it what explains it.
pub(super) fn quota(
    path: &Path,
    quantity: Quantity,
    limit: u64,
    (asked, held): (u64, u64),
    used: Option<u64>,
    context: &Context,
) -> String {
    let limit_of = format!("the limit of {} is {}", place(path), amount(quantity, limit));
    let mut text = match used {
        _ if asked > limit => format!("{limit_of}, and this machine alone asks for {asked}"),
        Some(used) => format!("{limit_of}: {}", beside(quantity, limit, (asked, held), used)),
        None if held > 0 => format!(
            "{limit_of}, and {asked} in the place of {held} do not fit now; ask whoever manages it"
        ),
        None if asked == 1 => {
            format!("{limit_of}, and 1 more does not fit now; ask whoever manages it")
        }
        None => format!("{limit_of}, and {asked} more do not fit now; ask whoever manages it"),
    };
    details(context, &mut text);
    text
}

/// What is used beside the machine, and what would fit.
fn beside(quantity: Quantity, limit: u64, (asked, held): (u64, u64), used: u64) -> String {
    let left = limit.saturating_sub(used.saturating_sub(held));
    if held == 0 {
        let less = match quantity {
            Quantity::Memory if left > 0 => format!("ask for {left} or less, or "),
            Quantity::Memory | Quantity::Machines => String::new(),
        };
        return format!(
            "{used} in use, {left} left, {asked} asked for; {less}stop a machine first"
        );
    }
    let taken = format!("{used} in use, {held} of it by the machine that would be replaced");
    if held > left {
        format!(
            "{taken}; until that one has ended the larger of the two counts, which is too much \
             already: stop a machine first"
        )
    } else {
        format!(
            "{taken}, so that {left} are left for the new one, which asks for {asked}; ask for \
             {left} or less, or stop another machine first"
        )
    }
}

fn details(Context { shares, users }: &Context, text: &mut String) {
    if !shares.is_empty() {
        let share = |share: &super::Share| {
            let machines = amount(Quantity::Machines, share.machines);
            format!("{} ({machines}, {} MiB)", share.path, share.memory_mib)
        };
        let shares: Vec<_> = shares.iter().map(share).collect();
        // Writing to a string does not fail.
        let _ = write!(text, "\n  chain: {}", shares.join(" / "));
    }
    if !users.is_empty() {
        let user = |user: &super::User| format!("/{} ({} MiB)", user.name, user.memory_mib);
        let named: Vec<_> = users.iter().take(NAMED).map(user).collect();
        let _ = write!(text, "\n  in use by: {}", named.join(", "));
        if users.len() > NAMED {
            let _ = write!(text, " and {} more", users.len() - NAMED);
        }
    }
    text.push_str("\n  all limits: `vmm-client why …`, with the same command behind it");
}

/// No room to cache an image.
pub(super) fn room(path: &Path, limit: u64, asked: u64, used: Option<u64>) -> String {
    let limit_of = format!("cached images below {} may have {limit} bytes together", place(path));
    match used {
        _ if asked > limit => format!("{limit_of}, and this one alone has {asked}"),
        Some(used) => {
            let left = limit.saturating_sub(used);
            format!(
                "{limit_of}: {used} are in use, {left} left, and this one has {asked}; destroy \
                 machines that are not needed any more, also ended ones"
            )
        }
        None => format!("{limit_of}, and {asked} more do not fit now; ask whoever manages it"),
    }
}
