//! What machines use.

use vmm_proto::message::client::{Reply, Usage};
use vmm_proto::message::{Sample, Traffic};

use super::Asked;
use crate::failure::Stop;
use crate::output::table::{Side, Table};
use crate::output::{Screen, full, json};
use crate::time::rfc3339;

/// Shows it once, or each second.
pub(super) async fn statistics(
    asked: &mut Asked<'_>,
    follow: bool,
    screen: &mut Screen,
) -> Result<(), Stop> {
    let mut collected = Vec::new();
    loop {
        match asked.next().await? {
            Reply::Statistics(usages) if follow => {
                show(&usages, screen)?;
                if !screen.is_json() {
                    screen.text("\n")?;
                }
            }
            Reply::Statistics(usages) => collected.extend(usages),
            Reply::Done if follow => return Ok(()),
            Reply::Done => return show(&collected, screen),
            other => return Err(asked.unexpected(&other)),
        }
    }
}

fn show(usages: &[Usage], screen: &mut Screen) -> Result<(), Stop> {
    if screen.is_json() {
        let usages: Vec<_> = usages.iter().map(json::Usage::of).collect();
        return screen.json(&usages);
    }
    screen.text(&table(usages).to_string())?;
    if usages.iter().any(|usage| !usage.interfaces.is_empty()) {
        screen.text(&format!("\n{}", networks(usages)))?;
    }
    Ok(())
}

/// What network interfaces have carried since the start of their machines.
fn networks(usages: &[Usage]) -> Table {
    let mut table = Table::new(&[
        ("NAME", Side::Left),
        ("NETWORK", Side::Left),
        ("RECEIVED PACKETS", Side::Right),
        ("BYTES", Side::Right),
        ("DROPPED", Side::Right),
        ("SENT PACKETS", Side::Right),
        ("BYTES", Side::Right),
        ("DROPPED", Side::Right),
    ]);
    for usage in usages {
        for interface in &usage.interfaces {
            let count = |what: fn(&Traffic) -> u64| {
                interface.traffic.as_ref().map_or_else(|| "-".to_owned(), |it| what(it).to_string())
            };
            table.row(&[
                full(&usage.name),
                interface.device.clone(),
                count(|traffic| traffic.received_packets),
                count(|traffic| traffic.received_bytes),
                count(|traffic| traffic.received_dropped),
                count(|traffic| traffic.sent_packets),
                count(|traffic| traffic.sent_bytes),
                count(|traffic| traffic.sent_dropped),
            ]);
        }
    }
    table
}

fn table(usages: &[Usage]) -> Table {
    let mut table = Table::new(&[
        ("NAME", Side::Left),
        ("TIME", Side::Left),
        ("CPU", Side::Right),
        ("USER s", Side::Right),
        ("SYSTEM s", Side::Right),
        ("RESIDENT KIB", Side::Right),
        ("MINOR FAULTS", Side::Right),
        ("MAJOR FAULTS", Side::Right),
    ]);
    for usage in usages {
        let name = full(&usage.name);
        let Some(last) = usage.samples.last() else {
            let mut cells: [String; 8] = std::array::from_fn(|_| "-".to_owned());
            cells[0] = name;
            table.row(&cells);
            continue;
        };
        table.row(&[
            name,
            rfc3339(last.time_ms),
            load(&usage.samples).unwrap_or_else(|| "-".to_owned()),
            seconds(last.user_us),
            seconds(last.system_us),
            (last.resident >> 10).to_string(),
            last.minor_faults.to_string(),
            last.major_faults.to_string(),
        ]);
    }
    table
}

/// The share of one processor used between the last two samples, in percent.
fn load(samples: &[Sample]) -> Option<String> {
    let [.., before, last] = samples else { return None };
    let used = |sample: &Sample| sample.user_us.saturating_add(sample.system_us);
    let busy_us = used(last).checked_sub(used(before))?;
    let passed_ms = last.time_ms.checked_sub(before.time_ms).filter(|passed| *passed > 0)?;
    // Microseconds in a millisecond are thousandths: tenths of a percent.
    let tenths = busy_us / passed_ms;
    Some(format!("{}.{} %", tenths / 10, tenths % 10))
}

fn seconds(us: u64) -> String {
    format!("{}.{:03}", us / 1_000_000, us / 1000 % 1000)
}

#[cfg(test)]
mod tests {
    use vmm_proto::id::MachineId;

    use super::*;
    use crate::options::Format;
    use crate::output::json::tests::interfaces;

    fn sample(time_ms: u64, user_us: u64) -> Sample {
        Sample { time_ms, user_us, system_us: 1000, resident: 2048, ..Sample::default() }
    }

    #[test]
    fn load_is_what_was_used_between_the_last_two_samples() {
        let history = [sample(0, 0), sample(1000, 250_000), sample(2000, 1_000_000)];
        assert_eq!(load(&history).as_deref(), Some("75.0 %"));
        assert_eq!(load(&history[..1]), None);
        assert_eq!(load(&[sample(5, 0), sample(5, 1)]), None);
        assert_eq!(load(&[sample(5, 9), sample(6, 1)]), None);
    }

    #[test]
    fn a_machine_without_samples_is_listed_all_the_same() {
        let usage = |name: &str, samples| Usage {
            name: name.to_owned(),
            id: MachineId([0; 16]),
            samples,
            interfaces: Vec::new(),
        };
        let usages = [usage("dev/a", vec![sample(1000, 1_234_567)]), usage("dev/b", Vec::new())];
        let expected = "\
NAME    TIME                      CPU  USER s  SYSTEM s  RESIDENT KIB  MINOR FAULTS  MAJOR FAULTS
/dev/a  1970-01-01T00:00:01.000Z    -   1.234     0.001             2             0             0
/dev/b  -                           -       -         -             -             -             -
";
        assert_eq!(table(&usages).to_string(), expected);
    }

    #[test]
    fn each_network_interface_has_a_line_as_the_machine_sees_it() {
        let usage = Usage {
            name: "dev/a".to_owned(),
            id: MachineId([0; 16]),
            samples: Vec::new(),
            interfaces: interfaces(),
        };
        let expected = "\
NAME    NETWORK     RECEIVED PACKETS  BYTES  DROPPED  SENT PACKETS  BYTES  DROPPED
/dev/a  service                    6    700        8             9   1000       11
/dev/a  management                 -      -        -             -      -        -
";
        let (mut screen, answers, _) = Screen::shared(Format::Table);
        show(&[usage], &mut screen).unwrap();
        let shown = answers.text();
        assert_eq!(shown.split_once("\n\n").unwrap().1, expected);
    }
}
